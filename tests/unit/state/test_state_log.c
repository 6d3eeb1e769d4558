/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: whatever a crash or a bad disk leaves of a state log, reopening yields the truth of one
 * committed epoch or refuses. Method: small logs are cut at every length and damaged at every byte,
 * and the answers are compared with what each epoch had committed.
 */
#include "state/state_log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"

enum { EPOCHS = 3, NAME_MAX_BYTES = 256 };

struct bytes {
    char *data;
    size_t size;
};

/* --- a directory of its own per test -----------------------------------------------------------*/

static int enter(void **state)
{
    static char dir[NAME_MAX_BYTES];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/weir-state-XXXXXX", base == NULL ? "/tmp" : base);
    *state = mkdtemp(dir);
    return *state == NULL;
}

static const char *path_of(const char *dir, const char *name)
{
    static char path[NAME_MAX_BYTES + 32];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int leave(void **state)
{
    const char *const names[] = {"state.log", "state.log.next", "state.log.new", "lock"};
    for (size_t i = 0; i < 4; i++) {
        if (unlink(path_of(*state, names[i])) != 0 && errno != ENOENT) {
            return 1;
        }
    }
    return rmdir(*state);
}

static struct bytes load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct stat info;
    assert_int_equal(fstat(fd, &info), 0);
    struct bytes bytes = {weir_calloc((size_t)info.st_size + 1, 1), (size_t)info.st_size};
    assert_int_equal(read(fd, bytes.data, bytes.size), info.st_size);
    close(fd);
    return bytes;
}

static void store(const char *path, const char *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

/* --- logs --------------------------------------------------------------------------------------*/

static struct weir_state_log *open_log(const char *dir)
{
    struct weir_err err = {0};
    struct weir_state_log *log = weir_state_log_open(dir, "orders", &err);
    assert_non_null(log);
    return log;
}

/* What epoch n commits beside frames; a function of n, so that any epoch can be recognised. */
static void commit_plain(struct weir_state_log *log, uint64_t epoch)
{
    struct weir_err err = {0};
    char mark[32];
    int size = snprintf(mark, sizeof(mark), "length %d of out", (int)epoch * 1000);
    weir_state_log_put_position(log, "source.file", "a.jsonl", 0, (int64_t)epoch * 10);
    weir_state_log_put_position(log, "source.file", "b.jsonl", 7, (int64_t)epoch * 100);
    weir_state_log_put_mark(log, "sink.file", (struct weir_slice){mark, (size_t)size});
    assert_int_equal(weir_state_log_commit(log, epoch, &err), WEIR_OK);
}

static void put_frame(struct weir_state_log *log, int32_t partition, uint64_t epoch)
{
    char frame[32];
    int size = snprintf(frame, sizeof(frame), "frame %d", (int)epoch);
    weir_state_log_put_frame(log, "source.file", "b.jsonl", partition,
                             (struct weir_slice){frame, (size_t)size});
}

static void commit_epoch(struct weir_state_log *log, uint64_t epoch)
{
    put_frame(log, 7, epoch);
    put_frame(log, 8, 1000); /* another shard's */
    commit_plain(log, epoch);
}

struct frames {
    uint64_t epochs[64];
    size_t count;
};

static weir_status take_frame(void *context, struct weir_slice frame, struct weir_err *err)
{
    struct frames *frames = context;
    char text[32] = {0};
    (void)err;
    assert_true(frame.size < sizeof(text));
    memcpy(text, frame.data, frame.size);
    assert_memory_equal(text, "frame ", 6);
    assert_true(frames->count < 64);
    frames->epochs[frames->count++] = strtoull(text + 6, NULL, 10);
    return WEIR_OK;
}

/* Every committed frame, in order; behind those that were cut off only the last. */
static void check_frames(struct weir_state_log *log, uint64_t epoch)
{
    struct frames frames = {.count = 0};
    struct weir_err err = {0};
    weir_status status =
        weir_state_log_frames(log, "source.file", "b.jsonl", 7, take_frame, &frames, &err);
    assert_int_equal(status, WEIR_OK);
    for (size_t i = 0; i + 1 < frames.count; i++) {
        assert_int_equal(frames.epochs[i], i + 1);
    }
    if (epoch > 0) {
        assert_true(frames.count > 0);
        assert_int_equal(frames.epochs[frames.count - 1], epoch);
    }
    assert_true(epoch > EPOCHS || frames.count == epoch);
}

/* The log says all that its epoch committed, and nothing else. */
static void check_plain(struct weir_state_log *log, uint64_t epoch)
{
    int64_t position = -1;
    struct weir_slice mark = {NULL, 0};
    assert_int_equal(weir_state_log_epoch(log), epoch);
    bool known = weir_state_log_get_position(log, "source.file", "a.jsonl", 0, &position);
    assert_int_equal(known, epoch > 0);
    if (epoch == 0) {
        assert_false(weir_state_log_get_mark(log, "sink.file", &mark));
        return;
    }
    assert_int_equal(position, epoch * 10);
    assert_true(weir_state_log_get_position(log, "source.file", "b.jsonl", 7, &position));
    assert_int_equal(position, epoch * 100);
    assert_true(weir_state_log_get_mark(log, "sink.file", &mark));
    char expected[32];
    int size = snprintf(expected, sizeof(expected), "length %d of out", (int)epoch * 1000);
    assert_int_equal(mark.size, size);
    assert_memory_equal(mark.data, expected, mark.size);
}

static void check_epoch(struct weir_state_log *log, uint64_t epoch)
{
    check_plain(log, epoch);
    check_frames(log, epoch);
}

/* A log of EPOCHS entries; ends[n] is where epoch n ends. */
static struct bytes small_log(const char *dir, size_t *ends)
{
    struct weir_state_log *log = open_log(dir);
    struct stat info;
    for (uint64_t epoch = 0; epoch <= EPOCHS; epoch++) {
        if (epoch > 0) {
            commit_epoch(log, epoch);
        }
        assert_int_equal(stat(path_of(dir, "state.log"), &info), 0);
        ends[epoch] = (size_t)info.st_size;
    }
    weir_state_log_close(log);
    return load(path_of(dir, "state.log"));
}

/* --- tests -------------------------------------------------------------------------------------*/

static void new_log_knows_nothing(void **state)
{
    struct weir_state_log *log = open_log(*state);
    check_epoch(log, 0);
    assert_int_equal(weir_state_log_cut_bytes(log), 0);
    weir_state_log_close(log);
}

static void reopened_log_tells_the_last_epoch(void **state)
{
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        struct weir_state_log *log = open_log(*state);
        check_epoch(log, epoch - 1);
        commit_epoch(log, epoch);
        check_epoch(log, epoch);
        weir_state_log_close(log);
    }
    struct weir_state_log *log = open_log(*state);
    int64_t position;
    struct weir_slice mark;
    assert_false(weir_state_log_get_position(log, "source.file", "a.jsonl", 1, &position));
    assert_false(weir_state_log_get_position(log, "source.file", "c.jsonl", 0, &position));
    assert_false(weir_state_log_get_position(log, "other", "a.jsonl", 0, &position));
    assert_false(weir_state_log_get_mark(log, "other", &mark));
    weir_state_log_close(log);
}

static void changes_without_commit_are_gone(void **state)
{
    struct weir_state_log *log = open_log(*state);
    commit_epoch(log, 1);
    weir_state_log_put_position(log, "source.file", "a.jsonl", 0, 99);
    weir_state_log_close(log);
    log = open_log(*state);
    check_epoch(log, 1);
    weir_state_log_close(log);
}

static void extreme_values_come_back(void **state)
{
    struct weir_err err = {0};
    static char big[100000];
    memset(big, 0xa5, sizeof(big));
    struct weir_state_log *log = open_log(*state);
    weir_state_log_put_position(log, "", "", INT32_MIN, INT64_MIN);
    weir_state_log_put_position(log, "s", "t", INT32_MAX, INT64_MAX);
    weir_state_log_put_mark(log, "empty", (struct weir_slice){"", 0});
    weir_state_log_put_mark(log, "big", (struct weir_slice){big, sizeof(big)});
    assert_int_equal(weir_state_log_commit(log, UINT64_MAX, &err), WEIR_OK);
    weir_state_log_close(log);
    log = open_log(*state);
    int64_t position;
    struct weir_slice mark;
    assert_true(weir_state_log_epoch(log) == UINT64_MAX);
    assert_true(weir_state_log_get_position(log, "", "", INT32_MIN, &position));
    assert_true(position == INT64_MIN);
    assert_true(weir_state_log_get_position(log, "s", "t", INT32_MAX, &position));
    assert_true(position == INT64_MAX);
    assert_true(weir_state_log_get_mark(log, "empty", &mark));
    assert_int_equal(mark.size, 0);
    assert_true(weir_state_log_get_mark(log, "big", &mark));
    assert_int_equal(mark.size, sizeof(big));
    assert_memory_equal(mark.data, big, sizeof(big));
    weir_state_log_close(log);
}

static void torn_tail_is_cut_at_every_length(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes whole = small_log(*state, ends);
    for (size_t size = ends[0]; size <= whole.size; size++) {
        uint64_t epoch = 0;
        while (epoch < EPOCHS && ends[epoch + 1] <= size) {
            epoch++;
        }
        store(path_of(*state, "state.log"), whole.data, size);
        struct weir_state_log *log = open_log(*state);
        check_epoch(log, epoch);
        assert_int_equal(weir_state_log_cut_bytes(log), size - ends[epoch]);
        commit_epoch(log, 9); /* and what follows is sound again */
        weir_state_log_close(log);
        log = open_log(*state);
        check_epoch(log, 9);
        assert_int_equal(weir_state_log_cut_bytes(log), 0);
        weir_state_log_close(log);
    }
    weir_free(whole.data);
}

static void cut_header_is_refused(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes whole = small_log(*state, ends);
    for (size_t size = 0; size < ends[0]; size++) {
        struct weir_err err = {0};
        store(path_of(*state, "state.log"), whole.data, size);
        assert_null(weir_state_log_open(*state, "orders", &err));
        assert_int_equal(err.status, WEIR_CORRUPT);
        assert_true(err.hint[0] != '\0');
    }
    weir_free(whole.data);
}

/* Damage in the last entry looks like a torn one: the epoch before it. Anywhere else: refused. */
static void damage_at_any_byte_is_noticed(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes whole = small_log(*state, ends);
    for (size_t at = 0; at < whole.size; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            struct weir_err err = {0};
            whole.data[at] = (char)(whole.data[at] ^ (1 << bit));
            store(path_of(*state, "state.log"), whole.data, whole.size);
            whole.data[at] = (char)(whole.data[at] ^ (1 << bit));
            struct weir_state_log *log = weir_state_log_open(*state, "orders", &err);
            if (at < ends[EPOCHS - 1]) {
                assert_null(log);
                assert_int_equal(err.status, WEIR_CORRUPT);
                continue;
            }
            assert_non_null(log);
            check_epoch(log, EPOCHS - 1);
            assert_int_equal(weir_state_log_cut_bytes(log), ends[EPOCHS] - ends[EPOCHS - 1]);
            weir_state_log_close(log);
        }
    }
    weir_free(whole.data);
}

static void refused_log_is_left_as_it_is(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes whole = small_log(*state, ends);
    struct weir_err err = {0};
    whole.data[ends[0] + 20] ^= 1;
    store(path_of(*state, "state.log"), whole.data, whole.size);
    assert_null(weir_state_log_open(*state, "orders", &err));
    struct bytes after = load(path_of(*state, "state.log"));
    assert_int_equal(after.size, whole.size);
    assert_memory_equal(after.data, whole.data, whole.size);
    weir_free(after.data);
    weir_free(whole.data);
}

static void log_of_another_pipeline_is_refused(void **state)
{
    struct weir_state_log *log = open_log(*state);
    commit_epoch(log, 1);
    weir_state_log_close(log);
    const char *const names[] = {"order", "orders2", "ordersX", ""};
    for (size_t i = 0; i < 4; i++) {
        struct weir_err err = {0};
        assert_null(weir_state_log_open(*state, names[i], &err));
        assert_int_equal(err.status, WEIR_CONFIG);
        assert_non_null(strstr(err.message, "belongs to the pipeline \"orders\""));
    }
    log = open_log(*state);
    check_epoch(log, 1);
    weir_state_log_close(log);
}

static void one_process_at_a_time(void **state)
{
    struct weir_state_log *log = open_log(*state);
    commit_epoch(log, 1);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct weir_err err = {0};
        bool refused = weir_state_log_open(*state, "orders", &err) == NULL &&
                       strstr(err.message, "in use by another process") != NULL;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    weir_state_log_close(log);
    log = open_log(*state);
    check_epoch(log, 1);
    weir_state_log_close(log);
}

static void long_log_is_rewritten(void **state)
{
    enum { FILLER = 60000, COMMITS = 40 };
    static char filler[FILLER];
    struct weir_err err = {0};
    struct stat info;
    bool shrunk = false;
    int64_t before = 0;
    struct weir_state_log *log = open_log(*state);
    for (uint64_t epoch = 1; epoch <= COMMITS; epoch++) {
        memset(filler, (int)epoch, sizeof(filler));
        weir_state_log_put_mark(log, "filler", (struct weir_slice){filler, sizeof(filler)});
        commit_plain(log, epoch);
        assert_int_equal(stat(path_of(*state, "state.log"), &info), 0);
        assert_true(info.st_size <= 1 << 20);
        shrunk = shrunk || info.st_size < before;
        before = info.st_size;
    }
    assert_true(shrunk);
    weir_state_log_close(log);
    log = open_log(*state);
    check_plain(log, COMMITS);
    struct weir_slice mark;
    assert_true(weir_state_log_get_mark(log, "filler", &mark));
    assert_memory_equal(mark.data, filler, sizeof(filler));
    assert_int_equal(access(path_of(*state, "state.log.new"), F_OK), -1);
    weir_state_log_close(log);
    (void)err;
}

static bool has_second(const char *dir)
{
    return access(path_of(dir, "state.log.next"), F_OK) == 0;
}

/* Whoever opens it now finds the frames of these epochs, and nothing else; without a lock too. */
static void check_kept(const char *dir, uint64_t first, uint64_t last)
{
    struct weir_err err = {0};
    struct weir_state_log *log = weir_state_log_read(dir, "orders", &err);
    assert_non_null(log);
    struct frames frames = {.count = 0};
    assert_int_equal(
        weir_state_log_frames(log, "source.file", "b.jsonl", 7, take_frame, &frames, &err),
        WEIR_OK);
    assert_int_equal(frames.count, last - first + 1);
    for (size_t i = 0; i < frames.count; i++) {
        assert_int_equal(frames.epochs[i], first + i);
    }
    check_plain(log, last);
    weir_state_log_close(log);
}

static int64_t log_bytes(const char *dir)
{
    struct stat first, second = {0};
    assert_int_equal(stat(path_of(dir, "state.log"), &first), 0);
    assert_true(stat(path_of(dir, "state.log.next"), &second) == 0 || errno == ENOENT);
    return (int64_t)first.st_size + (int64_t)second.st_size;
}

/* Snapshots of two shards begin at TURNED and later; whoever dies in between goes on with both
 * files. Nothing goes before all snapshots are there. */
static void first_file_goes_when_all_snapshots_are_there(void **state)
{
    enum { TURNED = 5, CUT_BY = 12, AGAIN = 15, LAST = 20 };
    for (int reopened = 0; reopened < 2; reopened++) {
        struct weir_state_log *log = open_log(*state);
        int64_t before = 0;
        for (uint64_t epoch = 1; epoch <= LAST; epoch++) {
            if (epoch == TURNED || epoch == TURNED + 1) { /* each shard says so */
                weir_state_log_turn(log);
                weir_state_log_turn(log);
            }
            if (epoch == TURNED + 3) {
                weir_state_log_cut(log, TURNED - 1);
            }
            before = weir_state_log_bytes(log);
            if (epoch == CUT_BY) {
                weir_state_log_cut(log, TURNED + 1);
                assert_true(weir_state_log_bytes(log) < before);
            }
            if (epoch == AGAIN) {
                weir_state_log_turn(log);
            }
            commit_epoch(log, epoch);
            assert_int_equal(has_second(*state),
                             (epoch >= TURNED && epoch < CUT_BY) || epoch >= AGAIN);
            assert_int_equal(weir_state_log_bytes(log), log_bytes(*state));
            check_kept(*state, epoch < CUT_BY ? 1 : TURNED, epoch);
            if (reopened == 1) {
                weir_state_log_close(log);
                log = open_log(*state);
                check_plain(log, epoch);
                check_kept(*state, epoch < CUT_BY ? 1 : TURNED, epoch);
            }
        }
        weir_state_log_close(log);
        assert_int_equal(unlink(path_of(*state, "state.log")), 0);
        assert_int_equal(unlink(path_of(*state, "state.log.next")), 0);
    }
}

/* One is cut and the next begins with the same entry. */
static void files_follow_each_other_at_once(void **state)
{
    struct weir_state_log *log = open_log(*state);
    for (uint64_t epoch = 1; epoch <= 9; epoch++) {
        if (epoch % 3 == 1) {
            weir_state_log_cut(log, epoch - 1);
            weir_state_log_turn(log);
        }
        commit_epoch(log, epoch);
        check_kept(*state, epoch < 4 ? 1 : (epoch - 1) / 3 * 3 - 2, epoch);
    }
    weir_state_log_close(log);
}

/* Both files of a log of 2 * EPOCHS entries, half of them in each; ends[n] is where the n-th entry
 * of the second ends. */
static void two_files(const char *dir, struct bytes files[2], size_t *ends)
{
    struct weir_state_log *log = open_log(dir);
    struct stat info;
    for (uint64_t epoch = 1; epoch <= 2 * EPOCHS; epoch++) {
        if (epoch == EPOCHS + 1) {
            weir_state_log_turn(log);
        }
        commit_epoch(log, epoch);
        if (epoch > EPOCHS) {
            assert_int_equal(stat(path_of(dir, "state.log.next"), &info), 0);
            ends[epoch - EPOCHS] = (size_t)info.st_size;
        }
    }
    weir_state_log_close(log);
    files[0] = load(path_of(dir, "state.log"));
    files[1] = load(path_of(dir, "state.log.next"));
}

static void store_files(const char *dir, const struct bytes files[2])
{
    store(path_of(dir, "state.log"), files[0].data, files[0].size);
    store(path_of(dir, "state.log.next"), files[1].data, files[1].size);
}

static void check_refused(const char *dir)
{
    struct weir_err err = {0};
    assert_null(weir_state_log_open(dir, "orders", &err));
    assert_int_equal(err.status, WEIR_CORRUPT);
    assert_true(err.hint[0] != '\0');
}

static void damage_in_two_files_is_noticed(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes files[2];
    two_files(*state, files, ends);
    for (size_t i = 0; i < 2; i++) {
        for (size_t at = 0; at < files[i].size; at++) {
            files[i].data[at] ^= 0x10;
            store_files(*state, files);
            files[i].data[at] ^= 0x10;
            if (i == 0 || at < ends[EPOCHS - 1]) {
                check_refused(*state);
                continue;
            }
            struct weir_state_log *log = open_log(*state);
            assert_int_equal(weir_state_log_cut_bytes(log), ends[EPOCHS] - ends[EPOCHS - 1]);
            weir_state_log_close(log);
            check_kept(*state, 1, 2 * EPOCHS - 1);
        }
    }
    weir_free(files[0].data);
    weir_free(files[1].data);
}

/* The second is torn where it may be: behind its first entry, which it has since it has its name.
 * The first never is; where whole entries are missing, numbers of frames tell (state/shard_log.h).
 */
static void two_files_cut_at_every_length(void **state)
{
    int accepted = 0;
    size_t ends[EPOCHS + 1];
    struct bytes files[2];
    two_files(*state, files, ends);
    const struct bytes whole[2] = {files[0], files[1]};
    for (files[1].size = 0; files[1].size <= whole[1].size; files[1].size++) {
        store_files(*state, files);
        if (files[1].size < ends[1]) {
            check_refused(*state);
            continue;
        }
        uint64_t found = 1;
        while (found < EPOCHS && ends[found + 1] <= files[1].size) {
            found++;
        }
        struct weir_state_log *log = open_log(*state);
        assert_int_equal(weir_state_log_cut_bytes(log), files[1].size - ends[found]);
        commit_epoch(log, EPOCHS + found + 1);
        weir_state_log_close(log);
        check_kept(*state, 1, EPOCHS + found + 1);
    }
    files[1] = whole[1];
    struct weir_err err = {0};
    for (files[0].size = 0; files[0].size < whole[0].size; files[0].size++) {
        store_files(*state, files);
        struct weir_state_log *log = weir_state_log_open(*state, "orders", &err);
        accepted += log != NULL;
        weir_state_log_close(log);
    }
    assert_int_equal(accepted, EPOCHS);
    store_files(*state, whole);
    assert_int_equal(unlink(path_of(*state, "state.log")), 0);
    check_refused(*state);
    weir_free(whole[0].data);
    weir_free(whole[1].data);
}

/* Died between the first file that holds all and the end of the second. */
static void second_file_of_the_past_is_forgotten(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes files[2];
    two_files(*state, files, ends);
    struct weir_state_log *log = open_log(*state);
    weir_state_log_drop_frames(log);
    commit_epoch(log, 2 * EPOCHS + 1);
    assert_false(has_second(*state));
    weir_state_log_close(log);
    store(path_of(*state, "state.log.next"), files[1].data, files[1].size);
    check_kept(*state, 2 * EPOCHS + 1, 2 * EPOCHS + 1);
    assert_true(has_second(*state)); /* who only looks changes nothing */
    log = open_log(*state);
    assert_false(has_second(*state));
    commit_epoch(log, 2 * EPOCHS + 2);
    weir_state_log_close(log);
    check_kept(*state, 2 * EPOCHS + 1, 2 * EPOCHS + 2);
    weir_free(files[0].data);
    weir_free(files[1].data);
}

/* Who looks opens the second before the first, and it becomes the first in between. */
static void second_file_that_becomes_the_first_counts_once(void **state)
{
    size_t ends[EPOCHS + 1];
    struct bytes files[2];
    two_files(*state, files, ends);
    char second[NAME_MAX_BYTES + 32];
    snprintf(second, sizeof(second), "%s/state.log.next", (const char *)*state);
    assert_int_equal(rename(second, path_of(*state, "state.log")), 0);
    assert_int_equal(link(path_of(*state, "state.log"), second), 0);
    check_kept(*state, EPOCHS + 1, 2 * EPOCHS);
    weir_free(files[0].data);
    weir_free(files[1].data);
}

/* The engine asks again while the group's positions could not be stored. */
static void epoch_is_written_once(void **state)
{
    struct weir_state_log *log = open_log(*state);
    struct weir_err err = {0};
    commit_epoch(log, 1);
    commit_epoch(log, 1);
    put_frame(log, 7, 2);
    assert_int_equal(weir_state_log_commit(log, 1, &err), WEIR_OK);
    commit_epoch(log, 2);
    check_epoch(log, 2);
    weir_state_log_close(log);
    log = open_log(*state);
    check_epoch(log, 2);
    weir_state_log_close(log);
}

static weir_status refuse_frame(void *context, struct weir_slice frame, struct weir_err *err)
{
    (void)frame;
    ++*(int *)context;
    return weir_fail(err, WEIR_CORRUPT, "not this one");
}

static void refused_frame_ends_restoring(void **state)
{
    struct weir_state_log *log = open_log(*state);
    struct weir_err err = {0};
    int calls = 0;
    commit_epoch(log, 1);
    commit_epoch(log, 2);
    weir_status status =
        weir_state_log_frames(log, "source.file", "b.jsonl", 7, refuse_frame, &calls, &err);
    assert_int_equal(status, WEIR_CORRUPT);
    assert_int_equal(calls, 1);
    weir_state_log_close(log);
}

/* Died while the new file was written aside: the old one still counts. */
static void unfinished_rewrite_is_forgotten(void **state)
{
    struct weir_state_log *log = open_log(*state);
    commit_epoch(log, 1);
    weir_state_log_close(log);
    store(path_of(*state, "state.log.new"), "half", 4);
    log = open_log(*state);
    check_epoch(log, 1);
    weir_state_log_close(log);
}

/* After a failed write nothing is committed any more, even when the disk works again. */
static void failed_write_is_final(void **state)
{
    struct weir_err err = {0};
    struct stat info;
    struct weir_state_log *log = open_log(*state);
    commit_epoch(log, 1);
    assert_int_equal(stat(path_of(*state, "state.log"), &info), 0);
    struct rlimit usual, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small = usual;
    small.rlim_cur = (rlim_t)info.st_size + 10;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    weir_state_log_put_position(log, "source.file", "a.jsonl", 0, 99);
    weir_status status = weir_state_log_commit(log, 2, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &usual), 0);
    assert_int_equal(status, WEIR_FATAL);
    assert_true(err.hint[0] != '\0');
    struct weir_err again = {0};
    assert_int_equal(weir_state_log_commit(log, 2, &again), WEIR_FATAL);
    weir_state_log_close(log);
    log = open_log(*state);
    check_epoch(log, 1);
    assert_int_equal(weir_state_log_cut_bytes(log), 10);
    weir_state_log_close(log);
}

static void entry_that_is_too_large_is_refused(void **state)
{
    enum { FRAME = 60 << 20 };
    struct weir_state_log *log = open_log(*state);
    struct weir_err err = {0};
    commit_epoch(log, 1);
    char *frame = weir_calloc(1, FRAME);
    for (int i = 0; i < 5; i++) {
        weir_state_log_put_frame(log, "source.file", "b.jsonl", 7,
                                 (struct weir_slice){frame, FRAME});
    }
    assert_int_equal(weir_state_log_commit(log, 2, &err), WEIR_FATAL);
    assert_non_null(strstr(err.message, "too large"));
    weir_state_log_close(log);
    weir_free(frame);
    log = open_log(*state);
    check_epoch(log, 1);
    weir_state_log_close(log);
}

static void place_that_cannot_be_used_is_an_error(void **state)
{
    struct weir_err err = {0};
    store(path_of(*state, "state.log"), "x", 1);
    char path[NAME_MAX_BYTES];
    snprintf(path, sizeof(path), "%s/state.log", (const char *)*state);
    assert_null(weir_state_log_open(path, "orders", &err));
    assert_int_equal(err.status, WEIR_CONFIG);
    err = (struct weir_err){0};
    snprintf(path, sizeof(path), "%s/no/such", (const char *)*state);
    assert_null(weir_state_log_open(path, "orders", &err));
    assert_int_equal(err.status, WEIR_CONFIG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(new_log_knows_nothing),
        TEST(reopened_log_tells_the_last_epoch),
        TEST(changes_without_commit_are_gone),
        TEST(extreme_values_come_back),
        TEST(torn_tail_is_cut_at_every_length),
        TEST(cut_header_is_refused),
        TEST(damage_at_any_byte_is_noticed),
        TEST(refused_log_is_left_as_it_is),
        TEST(log_of_another_pipeline_is_refused),
        TEST(one_process_at_a_time),
        TEST(long_log_is_rewritten),
        TEST(first_file_goes_when_all_snapshots_are_there),
        TEST(files_follow_each_other_at_once),
        TEST(damage_in_two_files_is_noticed),
        TEST(two_files_cut_at_every_length),
        TEST(second_file_of_the_past_is_forgotten),
        TEST(second_file_that_becomes_the_first_counts_once),
        TEST(epoch_is_written_once),
        TEST(refused_frame_ends_restoring),
        TEST(unfinished_rewrite_is_forgotten),
        TEST(failed_write_is_final),
        TEST(entry_that_is_too_large_is_refused),
        TEST(place_that_cannot_be_used_is_an_error),
    };
    return cmocka_run_group_tests_name("state_log", tests, NULL, NULL);
}

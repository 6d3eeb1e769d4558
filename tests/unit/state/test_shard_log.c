/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a task restores from its frames is what it had committed, or the frames are refused.
 * Method: a task changes two states, commits, aborts and takes snapshots in seeded random order,
 * and after each commit a second one is restored and compared; small logs are damaged at every
 * byte, cut at every length, and robbed of every frame.
 */
#include "state/shard_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weir/random.h>

#include "base/alloc.h"

enum { KEPT = 1 << 24 | 5 }; /* the first layout of a component, and the configuration's */
enum { STEPS = 2, FRAMES_MAX = 4096, PARTITION = 3 };

/* A task, and what lies in its log. */
struct task {
    struct weir_state *states[STEPS];
    struct weir_shard_log *log;
    struct weir_slice frames[FRAMES_MAX];
    size_t count;
    size_t begin;     /* where the snapshot under way began */
    size_t snapshots; /* that were completed */
    int64_t position;
};

static const struct weir_shard_step steps_of_test[STEPS] = {{"count", KEPT, NULL},
                                                            {"window", 7, NULL}};

static void task_open(struct task *task, size_t snapshot_bytes)
{
    struct weir_shard_step steps[STEPS];
    memset(task, 0, sizeof(*task));
    for (size_t i = 0; i < STEPS; i++) {
        steps[i] = steps_of_test[i];
        steps[i].state = task->states[i] = weir_state_new(NULL);
    }
    task->log = weir_shard_log_new(steps, STEPS, snapshot_bytes);
}

static void task_drop_frames(struct task *task, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_free((char *)(uintptr_t)task->frames[i].data);
    }
    task->count -= count;
    memmove(task->frames, task->frames + count, task->count * sizeof(task->frames[0]));
}

static void task_close(struct task *task)
{
    task_drop_frames(task, task->count);
    weir_shard_log_free(task->log);
    for (size_t i = 0; i < STEPS; i++) {
        weir_state_free(task->states[i]);
    }
}

static void task_put(struct task *task, size_t step, const char *key, const char *text)
{
    bool is_new;
    struct weir_state *state = task->states[step];
    struct weir_entry *entry = weir_state_put(state, weir_slice_of(key), 0, &is_new);
    memcpy(weir_state_resize(state, entry, strlen(text)), text, strlen(text));
    weir_state_set_timer(state, entry, (int64_t)strlen(text));
}

static void task_seal(struct task *task, size_t frame_max)
{
    task->position++; /* topics with an id, and without */
    const struct weir_state_position at = {"source", "topic", PARTITION, task->position,
                                           (uint64_t)task->position % 3};
    weir_shard_log_seal(task->log, &at, frame_max);
}

static void task_commit(struct task *task)
{
    struct weir_slice frame;
    if (weir_shard_log_begins(task->log)) {
        task->begin = task->count;
    }
    for (size_t i = 0; weir_shard_log_frame(task->log, i, &frame); i++) {
        assert_true(task->count < FRAMES_MAX);
        task->frames[task->count++] =
            (struct weir_slice){weir_strndup(frame.data, frame.size), frame.size};
    }
    for (size_t i = 0; i < STEPS; i++) {
        weir_state_commit(task->states[i]);
    }
    if (weir_shard_log_committed(task->log)) {
        task->snapshots++;
        task_drop_frames(task, task->begin);
        task->begin = 0;
    }
}

static void task_abort(struct task *task)
{
    for (size_t i = 0; i < STEPS; i++) {
        weir_state_rollback(task->states[i]);
    }
    weir_shard_log_aborted(task->log);
}

static weir_status
task_take(struct task *task, const struct weir_slice *frames, size_t count, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        status = weir_shard_log_take(task->log, frames[i], err);
    }
    return status == WEIR_OK ? weir_shard_log_restored(task->log, err) : status;
}

static void check_same(struct task *task, struct task *other)
{
    for (size_t i = 0; i < STEPS; i++) {
        struct weir_state_cursor cursor = {0};
        struct weir_state *a = task->states[i], *b = other->states[i];
        assert_int_equal(weir_state_count(a), weir_state_count(b));
        assert_int_equal(weir_state_bytes(a), weir_state_bytes(b));
        assert_int_equal(weir_state_clock(a), weir_state_clock(b));
        for (struct weir_entry *entry; (entry = weir_state_next(a, &cursor)) != NULL;) {
            struct weir_entry *twin = weir_state_find(b, weir_entry_key(entry));
            assert_non_null(twin);
            assert_true(weir_slice_equal(weir_entry_value(entry), weir_entry_value(twin)));
            assert_int_equal(weir_entry_timer(entry), weir_entry_timer(twin));
        }
    }
}

/* The successor has what the task has, which stands right behind a commit. */
static void check_successor(struct task *task)
{
    struct task *other = weir_calloc(1, sizeof(*other));
    struct weir_err err = {0};
    struct weir_state_position row = {.position = -1};
    task_open(other, SIZE_MAX);
    assert_int_equal(task_take(other, task->frames, task->count, &err), WEIR_OK);
    check_same(task, other);
    assert_true(weir_shard_log_get_position(other->log, "source", "topic", PARTITION, &row));
    assert_int_equal(row.position, task->position);
    assert_int_equal(row.topic_id, task->position % 3);
    task_close(other);
    weir_free(other);
}

/* --- the truth ---------------------------------------------------------------------------------*/

static void change_something(struct task *task, struct weir_random *random)
{
    for (uint64_t i = weir_random_below(random, 30); i > 0; i--) {
        char key[32], text[600] = {0};
        size_t step = (size_t)weir_random_below(random, STEPS);
        snprintf(key, sizeof(key), "key %d", (int)weir_random_below(random, 200));
        memset(text, 'a' + (int)weir_random_below(random, 26), weir_random_below(random, 599));
        struct weir_entry *entry = weir_state_find(task->states[step], weir_slice_of(key));
        if (entry != NULL && weir_random_below(random, 4) == 0) {
            weir_state_drop(task->states[step], entry);
        } else {
            task_put(task, step, key, text);
        }
        weir_state_set_clock(task->states[step], (int64_t)weir_random_below(random, 100));
    }
}

static void committed_is_restored(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct weir_random random;
        weir_random_init(&random, seed);
        task_open(task, 20000);
        for (int epoch = 0; epoch < 150; epoch++) {
            int64_t position = task->position;
            change_something(task, &random);
            if (weir_random_below(&random, 40) == 0) {
                weir_shard_log_want_snapshot(task->log);
            }
            task_seal(task, 500 + (size_t)weir_random_below(&random, 3000));
            if (weir_random_below(&random, 5) == 0) {
                change_something(task, &random);
                task_abort(task);
                task->position = position;
            } else {
                task_commit(task);
                check_successor(task);
            }
        }
        assert_true(task->snapshots > 0);
        task_close(task);
    }
    weir_free(task);
}

/* More than a piece holds: the snapshot spans epochs, in which the state goes on changing, and
 * aborts, of which there are more than pieces fit between them: it goes on where it stood. */
static void snapshot_over_many_epochs(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    struct weir_random random;
    weir_random_init(&random, 1);
    task_open(task, SIZE_MAX);
    char *text = weir_calloc(10001, 1);
    for (int i = 0; i < 500; i++) {
        char key[32];
        snprintf(key, sizeof(key), "large %d", i);
        memset(text, 'a' + i % 26, 10000);
        task_put(task, (size_t)i % STEPS, key, text);
    }
    task_seal(task, 900000);
    task_commit(task);
    weir_shard_log_want_snapshot(task->log);
    size_t epochs = 0, aborts = 0;
    while (task->snapshots == 0) {
        assert_true(weir_shard_log_has_more(task->log));
        int64_t position = task->position;
        change_something(task, &random);
        task_seal(task, 900000);
        if (epochs % 3 == 2) {
            change_something(task, &random);
            task_abort(task);
            task->position = position;
            aborts++;
        } else {
            task_commit(task);
            check_successor(task);
        }
        assert_true(++epochs < 50);
    }
    assert_true(aborts > 1);
    assert_false(weir_shard_log_has_more(task->log));
    weir_free(text);
    task_close(task);
    weir_free(task);
}

/* A successor goes on writing where the log ends. */
static void successors_write_on(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task)), *next = weir_calloc(1, sizeof(*next));
    struct weir_random random;
    struct weir_err err = {0};
    weir_random_init(&random, 5);
    task_open(task, 20000);
    for (int life = 0; life < 12; life++) {
        for (int epoch = 0; epoch < 10; epoch++) {
            change_something(task, &random);
            task_seal(task, 500);
            task_commit(task);
        }
        check_successor(task);
        task_open(next, 20000);
        assert_int_equal(task_take(next, task->frames, task->count, &err), WEIR_OK);
        memcpy(next->frames, task->frames, sizeof(task->frames));
        next->count = task->count;
        next->position = task->position;
        next->snapshots = task->snapshots;
        task->count = 0;
        task_close(task);
        memcpy(task, next, sizeof(*task));
    }
    assert_true(task->snapshots > 0);
    task_close(task);
    weir_free(task);
    weir_free(next);
}

/* --- damage ------------------------------------------------------------------------------------*/

/* A few epochs, one of them in parts, and a whole snapshot. */
static void make_small_log(struct task *task)
{
    task_open(task, SIZE_MAX);
    task_put(task, 0, "first", "one");
    task_seal(task, 4096);
    task_commit(task);
    task_put(task, 0, "second", "a text that is longer than what the smallest frame may hold");
    task_put(task, 1, "first", "in the other step");
    task_seal(task, 100);
    task_commit(task);
    weir_shard_log_want_snapshot(task->log);
    task_put(task, 1, "third", "with the snapshot");
    task_seal(task, 4096);
    task_commit(task);
    task_put(task, 1, "fourth", "after it");
    task_seal(task, 4096);
    task_commit(task);
}

static weir_status take_frames(const struct weir_slice *frames, size_t count)
{
    struct task *task = weir_calloc(1, sizeof(*task));
    struct weir_err err = {0};
    task_open(task, SIZE_MAX);
    weir_status status = task_take(task, frames, count, &err);
    task_close(task);
    weir_free(task);
    return status;
}

static void each_bit_counts(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    make_small_log(task);
    assert_int_equal(take_frames(task->frames, task->count), WEIR_OK);
    for (size_t i = 0; i < task->count; i++) {
        char *bytes = (char *)(uintptr_t)task->frames[i].data;
        for (size_t at = 0; at < task->frames[i].size; at++) {
            char right = bytes[at];
            bytes[at] = (char)(right ^ 1 << at % 8);
            assert_int_equal(take_frames(task->frames, task->count), WEIR_CORRUPT);
            bytes[at] = right;
        }
        struct weir_slice whole = task->frames[i];
        for (size_t size = 0; size < whole.size; size++) {
            char *cut = weir_strndup(whole.data, size); /* exact, for the sanitizer */
            task->frames[i] = (struct weir_slice){cut, size};
            assert_int_equal(take_frames(task->frames, task->count), WEIR_CORRUPT);
            weir_free(cut);
        }
        task->frames[i] = whole;
    }
    task_close(task);
    weir_free(task);
}

/* Without a frame in the middle, with two exchanged, with one twice. */
static void each_frame_counts(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    struct weir_slice frames[64];
    make_small_log(task);
    assert_true(task->snapshots == 1 && task->count >= 4 && task->count < 60);
    for (size_t i = 0; i + 1 < task->count; i++) {
        memcpy(frames, task->frames, sizeof(frames));
        frames[i] = task->frames[i + 1];
        frames[i + 1] = task->frames[i];
        assert_int_equal(take_frames(frames, task->count), WEIR_CORRUPT);
        frames[i] = task->frames[i];
        assert_int_equal(take_frames(frames, task->count), WEIR_CORRUPT);
        memmove(frames + i, task->frames + i + 1, (task->count - i - 1) * sizeof(frames[0]));
        assert_int_equal(take_frames(frames, task->count - 1), WEIR_CORRUPT);
    }
    task_close(task);
    weir_free(task);
}

/* A log that ends within an epoch of many parts, or begins behind what a snapshot covers. */
static void ends_and_beginnings(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    task_open(task, SIZE_MAX);
    task_put(task, 0, "first", "one");
    task_seal(task, 4096);
    task_commit(task);
    assert_int_equal(task->count, 1);
    task_put(task, 0, "second", "a text that is longer than what the smallest frame may hold");
    task_seal(task, 60);
    task_commit(task);
    assert_true(task->count > 3);
    for (size_t count = 0; count <= task->count; count++) {
        bool is_whole = count <= 1 || count == task->count;
        assert_int_equal(take_frames(task->frames, count), is_whole ? WEIR_OK : WEIR_CORRUPT);
    }
    for (size_t first = 1; first < task->count; first++) {
        assert_int_equal(take_frames(task->frames + first, task->count - first), WEIR_CORRUPT);
    }
    task_close(task);
    weir_free(task);
}

/* --- another pipeline --------------------------------------------------------------------------*/

static weir_status take_as(struct task *task, struct weir_shard_step step, struct weir_err *err)
{
    struct weir_shard_step steps[STEPS] = {step, {"window", 7, weir_state_new(NULL)}};
    steps[0].state = weir_state_new(NULL);
    struct weir_shard_log *log = weir_shard_log_new(steps, STEPS, SIZE_MAX);
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < task->count && status == WEIR_OK; i++) {
        status = weir_shard_log_take(log, task->frames[i], err);
    }
    weir_shard_log_free(log);
    weir_state_free(steps[0].state);
    weir_state_free(steps[1].state);
    return status;
}

static void steps_are_matched_by_name(void **unused)
{
    (void)unused;
    struct task *task = weir_calloc(1, sizeof(*task));
    make_small_log(task);
    struct weir_err err = {0}, other = {0};
    assert_int_equal(take_as(task, (struct weir_shard_step){"count", KEPT, NULL}, &err), WEIR_OK);
    assert_int_equal(take_as(task, (struct weir_shard_step){"counts", KEPT, NULL}, &err),
                     WEIR_CONFIG);
    assert_non_null(strstr(err.message, "\"count\""));
    assert_non_null(strstr(err.hint, "name:"));
    struct weir_err meaning = {0};
    const uint32_t newer = 2u << 24 | 5, beside = KEPT + 1;
    assert_int_equal(take_as(task, (struct weir_shard_step){"count", beside, NULL}, &meaning),
                     WEIR_CONFIG);
    assert_non_null(strstr(meaning.message, "other aggregates"));
    assert_int_equal(take_as(task, (struct weir_shard_step){"count", newer, NULL}, &other),
                     WEIR_CONFIG);
    assert_non_null(strstr(other.message, "layout 1"));
    assert_true(other.hint[0] != '\0');
    task_close(task);
    weir_free(task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_is_restored),     cmocka_unit_test(snapshot_over_many_epochs),
        cmocka_unit_test(successors_write_on),       cmocka_unit_test(each_bit_counts),
        cmocka_unit_test(each_frame_counts),         cmocka_unit_test(ends_and_beginnings),
        cmocka_unit_test(steps_are_matched_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

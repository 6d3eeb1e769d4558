/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what a mover says it has moved lies in the other file, byte for byte; it says when it falls
 * behind and why it ended. Method: real files, one of them a hole of a terabyte, whose copy is
 * never done.
 */
#include "state/log_mover.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"

enum { BEGINS = 1000, SHIFT = -900, FIRST = 20 << 20, MORE = 1 << 20, DEADLINE_S = 60 };

struct files {
    int from, to;
};

static int new_file(void)
{
    const char *base = getenv("TMPDIR");
    int fd = open(base == NULL ? "/tmp" : base, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static void fill(int fd, size_t size)
{
    char *bytes = weir_calloc(1, size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i * 31 + i / 4099);
    }
    assert_int_equal(pwrite(fd, bytes, size, 0), size);
    weir_free(bytes);
}

static void check_moved(struct files files, size_t size)
{
    char *from = weir_calloc(1, size), *to = weir_calloc(1, size);
    assert_int_equal(pread(files.from, from, size, BEGINS), size);
    assert_int_equal(pread(files.to, to, size, BEGINS + SHIFT), size);
    assert_memory_equal(from, to, size);
    weir_free(from);
    weir_free(to);
}

static weir_status wait_for(struct weir_log_mover *mover, int64_t until)
{
    int64_t at = 0;
    weir_status status;
    time_t deadline = time(NULL) + DEADLINE_S;
    while ((status = weir_log_mover_at(mover, &at)) == WEIR_OK && at != until) {
        assert_true(time(NULL) < deadline);
        sched_yield();
    }
    return status;
}

static void all_is_moved_and_what_comes_later(void **state)
{
    (void)state;
    struct weir_err err = {0};
    struct files files = {new_file(), new_file()};
    fill(files.from, BEGINS + FIRST + MORE);
    struct weir_log_mover *mover =
        weir_log_mover_start(files.from, files.to, BEGINS, BEGINS + FIRST, SHIFT, &err);
    assert_non_null(mover);
    assert_int_equal(wait_for(mover, BEGINS + FIRST), WEIR_OK);
    check_moved(files, FIRST);
    weir_log_mover_tell(mover, BEGINS + FIRST + MORE);
    assert_int_equal(wait_for(mover, BEGINS + FIRST + MORE), WEIR_OK);
    assert_true(weir_log_mover_gains(mover));
    check_moved(files, FIRST + MORE);
    assert_int_equal(lseek(files.to, 0, SEEK_END), BEGINS + SHIFT + FIRST + MORE);
    weir_log_mover_free(mover);
    assert_int_equal(close(files.from), 0);
    close(files.to);
}

static void what_is_let_go_is_closed(void **state)
{
    (void)state;
    struct weir_err err = {0};
    struct files files = {new_file(), new_file()};
    struct weir_log_mover *mover = weir_log_mover_start(files.from, files.to, 0, 0, 0, &err);
    assert_non_null(mover);
    weir_log_mover_let_go(mover);
    weir_log_mover_free(mover);
    assert_int_equal(fcntl(files.from, F_GETFD), -1);
    close(files.to);
}

static void who_falls_behind_says_so(void **state)
{
    (void)state;
    enum { HAD = 1 };
    const int64_t terabyte = INT64_C(1) << 40;
    struct weir_err err = {0};
    struct files files = {new_file(), new_file()};
    assert_int_equal(ftruncate(files.from, terabyte), 0);
    struct weir_log_mover *mover = weir_log_mover_start(files.from, files.to, 0, HAD, 0, &err);
    assert_non_null(mover);
    assert_int_equal(wait_for(mover, HAD), WEIR_OK);
    assert_true(weir_log_mover_gains(mover));
    weir_log_mover_tell(mover, terabyte);
    assert_false(weir_log_mover_gains(mover));
    weir_log_mover_free(mover);
    close(files.from);
    close(files.to);
}

static void what_cannot_be_read_or_written_ends_it(void **state)
{
    (void)state;
    int writes = open("/dev/null", O_WRONLY | O_CLOEXEC), full = open("/dev/full", O_WRONLY);
    int file = new_file();
    fill(file, MORE);
    const struct {
        int from, to, error;
        int64_t until;
    } cases[] = {
        {writes, file, EBADF, 1},
        {file, full, ENOSPC, MORE},
        {file, writes, EIO, MORE + 1}, /* shorter than was said */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_err err = {0};
        struct weir_log_mover *mover =
            weir_log_mover_start(cases[i].from, cases[i].to, 0, cases[i].until, 0, &err);
        assert_non_null(mover);
        assert_int_equal(wait_for(mover, cases[i].until), WEIR_IO);
        assert_int_equal(errno, cases[i].error);
        assert_true(weir_log_mover_gains(mover)); /* nobody waits for it */
        weir_log_mover_free(mover);
    }
    close(writes);
    close(full);
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_moved_and_what_comes_later),
        cmocka_unit_test(what_is_let_go_is_closed),
        cmocka_unit_test(who_falls_behind_says_so),
        cmocka_unit_test(what_cannot_be_read_or_written_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

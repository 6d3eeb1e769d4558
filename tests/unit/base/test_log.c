/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a line is one line of valid JSON whatever its fields hold, floods are held back and
 * counted, and threads do not cut into each other's lines. Method: exact lines under a manual
 * clock, hostile bytes, and a pipe read back while threads write to it.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static const int64_t wall_ms = 1385215706123; /* 2013-11-23T14:08:26.123Z */

struct fixture {
    struct weir_clock_manual clock;
    struct weir_log_capture capture;
    struct weir_log log;
};

static int setup(void **state)
{
    static struct fixture fixture;
    weir_clock_manual_init(&fixture.clock, wall_ms);
    weir_log_capture_init(&fixture.capture, WEIR_LEVEL_INFO);
    fixture.capture.sink.clock = &fixture.clock.clock;
    fixture.log = (struct weir_log){&fixture.capture.sink, "revenue", "source.kafka"};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    weir_log_capture_done(&fixture->capture);
    return 0;
}

static void test_line(void **state)
{
    struct fixture *f = *state;
    const struct weir_log *log = &f->log;
    const bool last = true; /* the literal itself is an int in C17 */
    WEIR_LOG_INFO(log, "partition assigned", WEIR_F("topic", "orders"), WEIR_F("partition", 3),
                  WEIR_F("offset", (int64_t)-1), WEIR_F("size", (size_t)18446744073709551615u),
                  WEIR_F("ratio", 0.1), WEIR_F("last", last), WEIR_F("key", WEIR_SLICE("a b")));
    assert_string_equal(
        f->capture.lines.data,
        "{\"time\":\"2013-11-23T14:08:26.123Z\",\"level\":\"info\",\"pipeline\":\"revenue\","
        "\"component\":\"source.kafka\",\"message\":\"partition assigned\",\"topic\":\"orders\","
        "\"partition\":3,\"offset\":-1,\"size\":18446744073709551615,\"ratio\":0.1,"
        "\"last\":true,\"key\":\"a b\"}\n");
}

static void test_text(void **state)
{
    (void)state;
    const struct weir_log_field fields[] = {WEIR_F("topic", "or ders"), WEIR_F("partition", 3),
                                            WEIR_F("id", "\x1b[31m"), WEIR_F_END_};
    const struct weir_log_entry entry = {
        .level = WEIR_LEVEL_WARN,
        .wall_ms = wall_ms,
        .pipeline = "revenue",
        .message = "partition lost",
        .fields = fields,
    };
    char line[WEIR_LOG_LINE_MAX];
    size_t size = weir_log_render_text(&entry, false, line);
    line[size] = '\0';
    assert_string_equal(line,
                        "14:08:26.123 warn  revenue: partition lost topic=\"or ders\" partition=3"
                        " id=\"\\u001b[31m\"\n");
    size = weir_log_render_text(&entry, true, line);
    line[size] = '\0';
    assert_non_null(strstr(line, "\033[33mwarn \033[0m revenue"));
}

static void test_hostile_bytes(void **state)
{
    static const struct {
        struct weir_slice bytes;
        const char *shown;
    } cases[] = {
        {{"a\"b\\c", 5}, "a\\\"b\\\\c"},
        {{"\n\r\t\0\x01\x7f", 6}, "\\n\\r\\t\\u0000\\u0001\\u007f"},
        {{"\xc2\x9b", 2}, "\\u009b"},
        {{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
        {{"\xff", 1}, "\xef\xbf\xbd"},
        {{"\xc0\xaf", 2}, "\xef\xbf\xbd\xef\xbf\xbd"},
        {{"\xed\xa0\x80", 3}, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {{"\xe2\x82", 2}, "\xef\xbf\xbd\xef\xbf\xbd"},
        {{"\xf5\x80\x80\x80", 4}, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {{"", 0}, ""},
    };
    struct fixture *f = *state;
    const struct weir_log *log = &f->log;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weir_strbuf_clear(&f->capture.lines);
        WEIR_LOG_ERROR(log, "seen", WEIR_F("id", cases[i].bytes));
        char expected[128];
        snprintf(expected, sizeof(expected), ",\"id\":\"%s\"}\n", cases[i].shown);
        const char *at = strstr(f->capture.lines.data, ",\"id\"");
        assert_non_null(at);
        assert_string_equal(at, expected);
    }
}

static void test_absent_and_odd_values(void **state)
{
    struct fixture *f = *state;
    const char *nothing = NULL;
    struct weir_log log = {&f->capture.sink, NULL, NULL};
    WEIR_LOG_INFO(&log, "odd", WEIR_F("absent", nothing), WEIR_F("nan", (double)NAN),
                  WEIR_F("third", 1.0 / 3.0));
    const char *at = strstr(f->capture.lines.data, "\"message\"");
    assert_string_equal(at, "\"message\":\"odd\",\"nan\":null,\"third\":0.33333333333333331}\n");
}

static void test_err(void **state)
{
    struct fixture *f = *state;
    struct weir_err err = {0};
    weir_fail(&err, WEIR_DENIED, "topic \"%s\" may not be read", "orders");
    weir_err_hint(&err, "Grant READ on the topic.");
    weir_err_path(&err, "source.kafka");
    WEIR_LOG_ERROR(&f->log, "stopped", WEIR_F_ERR(&err));
    assert_non_null(strstr(f->capture.lines.data,
                           "\"message\":\"stopped\",\"status\":\"denied\",\"path\":\"source.kafka\""
                           ",\"error\":\"topic \\\"orders\\\" may not be read\","
                           "\"hint\":\"Grant READ on the topic.\"}\n"));
}

static void test_values_in_messages_are_hidden(void **state)
{
    static const struct {
        const char *message, *shown;
    } cases[] = {
        {"string (\"Smith\") and number (2) cannot be added",
         "string (\xe2\x80\xa6) and number (\xe2\x80\xa6) cannot be added"},
        {"string (\"a) b(c\") cannot be divided (remainder)",
         "string (\xe2\x80\xa6) cannot be divided (remainder)"},
        {"Cannot iterate over object ({\"a\":\"Smi...)",
         "Cannot iterate over object (\xe2\x80\xa6)"},
        {"array ([\"Smith", "array (\xe2\x80\xa6"},
        {"null (null) has no keys", "null (null) has no keys"},
        {"nothing (to) hide", "nothing (to) hide"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_err err = {0};
        weir_fail(&err, WEIR_EVAL, "%s", cases[i].message);
        WEIR_LOG_WARN(&f->log, "record skipped", WEIR_F_ERR(&err));
        char expected[256];
        snprintf(expected, sizeof(expected), "\"error\":\"%s\"}", cases[i].shown);
        assert_int_equal(weir_log_capture_count(&f->capture, expected), 1);
    }
    assert_int_equal(weir_log_capture_count(&f->capture, "Smi"), 0);
}

static void test_level(void **state)
{
    struct fixture *f = *state;
    int evaluated = 0;
    for (int i = 0; i < 4; i++) {
        static const enum weir_log_level levels[] = {WEIR_LEVEL_INFO, WEIR_LEVEL_DEBUG,
                                                     WEIR_LEVEL_ERROR, WEIR_LEVEL_OFF};
        static const char *const names[] = {"info", "debug", "error", "off"};
        assert_string_equal(weir_log_level_name(levels[i]), names[i]);
        weir_log_set_level(&f->capture.sink, levels[i]);
        WEIR_LOG_DEBUG(&f->log, "fine", WEIR_F("n", ++evaluated));
        WEIR_LOG_ERROR(&f->log, "bad");
    }
    assert_int_equal(evaluated, 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "\"fine\""), 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "\"bad\""), 3);
    WEIR_LOG_ERROR((const struct weir_log *)NULL, "nowhere");
    struct weir_log silent = weir_log_named(NULL, "x");
    WEIR_LOG_ERROR(&silent, "nowhere");
}

static void flood(const struct weir_log *log, int count)
{
    for (int i = 0; i < count; i++) {
        WEIR_LOG_WARN(log, "produce failed", WEIR_F("offset", i));
    }
}

static void test_repeats(void **state)
{
    struct fixture *f = *state;
    flood(&f->log, 1000);
    assert_int_equal(weir_log_capture_count(&f->capture, ""), WEIR_LOG_BURST);
    assert_int_equal(weir_log_capture_count(&f->capture, "suppressed"), 0);
    WEIR_LOG_INFO(&f->log, "another site is not held back");
    assert_int_equal(weir_log_capture_count(&f->capture, "another"), 1);

    weir_clock_manual_advance_ns(&f->clock, WEIR_LOG_WINDOW_MS * WEIR_NS_PER_MS - 1);
    flood(&f->log, 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "produce"), WEIR_LOG_BURST);
    weir_clock_manual_advance_ns(&f->clock, 1);
    flood(&f->log, 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "\"suppressed\":981,\"offset\":0"), 1);
}

static void test_end_of_a_flood_is_told(void **state)
{
    struct fixture *f = *state;
    flood(&f->log, WEIR_LOG_BURST + 7);
    weir_clock_manual_advance_ns(&f->clock, WEIR_LOG_WINDOW_MS * WEIR_NS_PER_MS);
    WEIR_LOG_INFO(&f->log, "something else");
    assert_int_equal(weir_log_capture_count(&f->capture, "\"produce failed\",\"suppressed\":7}"),
                     1);
    flood(&f->log, WEIR_LOG_BURST + 3);
    weir_log_sink_flush(&f->capture.sink);
    assert_int_equal(weir_log_capture_count(&f->capture, "\"produce failed\",\"suppressed\":3}"),
                     1);
    weir_log_sink_flush(&f->capture.sink);
    assert_int_equal(weir_log_capture_count(&f->capture, "suppressed"), 2);
}

static void test_long_line(void **state)
{
    struct fixture *f = *state;
    static char text[WEIR_LOG_TEXT_MAX + 2];
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text + WEIR_LOG_TEXT_MAX - 1, "\xc3\xa9", 2);
    WEIR_LOG_INFO(&f->log, "cut", WEIR_F("text", text));
    assert_int_equal(weir_log_capture_count(&f->capture, "xx\xe2\x80\xa6\"}"), 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "\xc3"), 0);

    WEIR_LOG_INFO(&f->log, "too much", WEIR_F("a", text), WEIR_F("b", text), WEIR_F("c", text),
                  WEIR_F("d", text), WEIR_F("e", 1));
    assert_int_equal(weir_log_capture_count(&f->capture, "\xe2\x80\xa6\",\"truncated\":true}"), 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "\"d\""), 0);
}

enum { THREADS = 4, LINES = 500 };

static void *thread_main(void *argument)
{
    const struct weir_log *log = argument;
    static const char filler[] = "0123456789012345678901234567890123456789012345678901234567890123";
    for (int i = 0; i < LINES; i++) {
        /* Beyond the limit of one site on purpose: written through the sink itself. */
        const struct weir_log_field fields[] = {WEIR_F("filler", filler), WEIR_F_END_};
        const struct weir_log_entry entry = {
            .level = WEIR_LEVEL_INFO, .message = "line", .fields = fields};
        log->sink->write(log->sink, &entry);
        WEIR_LOG_INFO(log, "limited");
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    char path[] = "/tmp/weir-test-log-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    struct weir_log_fd sink;
    weir_log_fd_init(&sink, fd, WEIR_LOG_FORMAT_AUTO, WEIR_LEVEL_INFO);
    struct weir_log log = {&sink.sink, NULL, NULL};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_main, &log), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    weir_log_fd_done(&sink);

    FILE *file = fdopen(fd, "r");
    assert_non_null(file);
    rewind(file);
    char line[1024];
    int lines = 0, limited = 0;
    unsigned long long suppressed = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        lines++;
        assert_int_equal(strncmp(line, "{\"time\":\"", 9), 0);
        assert_string_equal(line + strlen(line) - 2, "}\n");
        limited += strstr(line, "\"limited\"") != NULL;
        const char *at = strstr(line, "\"suppressed\":");
        suppressed += at == NULL ? 0 : strtoull(at + 13, NULL, 10);
    }
    fclose(file);
    assert_int_equal(lines - limited, THREADS * LINES);
    /* Each of the limited lines was written or counted; the last count came with no line. */
    assert_int_equal((unsigned long long)limited - 1 + suppressed, THREADS * LINES);
}

static void test_lost_lines_are_counted(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    struct weir_log_fd sink;
    weir_log_fd_init(&sink, ends[1], WEIR_LOG_FORMAT_JSON, WEIR_LEVEL_INFO);
    const struct weir_log_entry entry = {.level = WEIR_LEVEL_INFO, .message = "line"};
    int written = 0;
    while (sink.lost < 3) {
        sink.sink.write(&sink.sink, &entry);
        assert_true(++written < 100000);
    }
    char bytes[4096];
    while (read(ends[0], bytes, sizeof(bytes)) > 0) {
    }
    assert_int_equal(errno, EAGAIN);
    sink.sink.write(&sink.sink, &entry);
    ssize_t size = read(ends[0], bytes, sizeof(bytes) - 1);
    assert_true(size > 0);
    bytes[size] = '\0';
    assert_non_null(strstr(bytes, "\"message\":\"log lines could not be written\",\"lost\":3}\n{"));
    assert_int_equal(sink.lost, 0);
    weir_log_fd_done(&sink);
    close(ends[0]);
    close(ends[1]);
}

static void set_variable(const char *name, const char *value)
{
    int result = value == NULL ? unsetenv(name) : setenv(name, value, 1);
    assert_int_equal(result, 0);
}

/* AUTO: text with colours on a terminal, unless the environment forbids colours; JSON elsewhere. */
static void test_terminal(void **state)
{
    (void)state;
    static const struct {
        const char *term, *no_color;
        bool colour;
    } cases[] = {
        {"xterm", NULL, true}, {"xterm", "", true}, {"xterm", "1", false},
        {"dumb", NULL, false}, {NULL, NULL, false},
    };
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0);
    assert_int_equal(grantpt(master), 0);
    assert_int_equal(unlockpt(master), 0);
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set_variable("TERM", cases[i].term);
        set_variable("NO_COLOR", cases[i].no_color);
        struct weir_log_fd sink;
        weir_log_fd_init(&sink, terminal, WEIR_LOG_FORMAT_AUTO, WEIR_LEVEL_INFO);
        assert_true(sink.text);
        struct weir_log log = {&sink.sink, NULL, "http"};
        WEIR_LOG_INFO(&log, "hello", WEIR_F("n", 1));
        char line[256];
        ssize_t size = read(master, line, sizeof(line) - 1);
        assert_true(size > 0);
        line[size] = '\0';
        assert_non_null(strstr(line, " http: hello n=1"));
        assert_int_equal(strchr(line, '\033') != NULL, cases[i].colour);
        weir_log_fd_done(&sink);
        weir_log_fd_init(&sink, terminal, WEIR_LOG_FORMAT_JSON, WEIR_LEVEL_INFO);
        assert_false(sink.text);
        weir_log_fd_done(&sink);
    }
    close(terminal);
    close(master);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_line, setup, teardown),
        cmocka_unit_test(test_text),
        cmocka_unit_test_setup_teardown(test_hostile_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent_and_odd_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_err, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_in_messages_are_hidden, setup, teardown),
        cmocka_unit_test_setup_teardown(test_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end_of_a_flood_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_long_line, setup, teardown),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_lost_lines_are_counted),
        cmocka_unit_test(test_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

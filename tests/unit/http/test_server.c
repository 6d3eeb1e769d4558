/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the admin server answers what it should and outlives clients that are slow, many, wrong or
 * hostile. Method: a real server on a free port with a view of its own, spoken to through plain
 * sockets, byte by byte; every wait has a deadline.
 */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/routes.h"

struct fixture {
    struct weir_log_capture capture;
    struct weir_log log;
    struct weir_view view;
    struct weir_http *http;
    _Atomic bool ready, live; /* set by the test, read by the server's thread */
    _Atomic size_t metrics_size;
};

static bool view_live(void *context, struct weir_strbuf *reasons)
{
    struct fixture *f = context;
    weir_strbuf_text(reasons, f->live ? "" : "the lane \"0\" is stuck");
    return f->live;
}

static bool view_ready(void *context, struct weir_strbuf *reasons)
{
    struct fixture *f = context;
    weir_strbuf_text(reasons, f->ready ? "" : "orders/0: not assigned\norders/1: \x01\n");
    return f->ready;
}

static void view_status(void *context, struct weir_strbuf *out)
{
    (void)context;
    weir_strbuf_text(out, "{\"pipelines\":[]}");
}

static void view_metrics(void *context, struct weir_strbuf *out)
{
    struct fixture *f = context;
    for (size_t i = 0; i < f->metrics_size; i++) {
        weir_strbuf_push(out, 'm');
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    weir_log_capture_init(&f->capture, WEIR_LEVEL_INFO);
    f->log = (struct weir_log){&f->capture.sink, NULL, NULL};
    f->view = (struct weir_view){.context = f,
                                 .live = view_live,
                                 .ready = view_ready,
                                 .status = view_status,
                                 .metrics = view_metrics};
    f->live = f->ready = true;
    f->metrics_size = 10;
    struct weir_http_listen listen = {.host = "127.0.0.1", .port = 0};
    struct weir_err err = {0};
    assert_int_equal(weir_http_start(&listen, &f->view, &f->log, &f->http, &err), WEIR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    weir_http_stop(f->http);
    weir_log_capture_done(&f->capture);
    free(f);
    return 0;
}

static int dial(const struct fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(weir_http_port(f->http)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* The server may hang up before it has read everything. */
static void say_bytes(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) {
            assert_true(errno == EPIPE || errno == ECONNRESET);
            return;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

enum { HEARD_MAX = 4 * 1024 * 1024 };

/* All that the server says until it hangs up (whole), or one answer with its body. static memory.
 */
static const char *hear(int fd, bool whole)
{
    static char heard[HEARD_MAX];
    size_t size = 0;
    int64_t deadline = weir_clock_monotonic_ns(weir_clock_system()) + 20 * WEIR_NS_PER_S;
    for (;;) {
        heard[size] = '\0';
        const char *body = strstr(heard, "\r\n\r\n");
        const char *length = strstr(heard, "Content-Length: ");
        if (!whole && body != NULL && length != NULL &&
            size >= (size_t)(body + 4 - heard) + strtoul(length + 16, NULL, 10)) {
            return heard;
        }
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_true(poll(&wait, 1, 10000) > 0);
        assert_true(weir_clock_monotonic_ns(weir_clock_system()) < deadline);
        ssize_t got = recv(fd, heard + size, HEARD_MAX - 1 - size, 0);
        if (got < 0) {
            assert_int_equal(errno, ECONNRESET);
        }
        if (got <= 0) {
            return heard;
        }
        size += (size_t)got;
    }
}

/* One request on a connection of its own; the answer. */
static const char *ask(const struct fixture *f, const char *request)
{
    int fd = dial(f);
    say(fd, request);
    shutdown(fd, SHUT_WR);
    const char *answer = hear(fd, true);
    close(fd);
    return answer;
}

static void assert_answer(const char *answer, int status)
{
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
    if (strncmp(answer, line, strlen(line)) != 0) {
        print_error("expected %s, heard: %.200s\n", line, answer);
        fail();
    }
}

static const char *get(const struct fixture *f, const char *path)
{
    char request[1024];
    snprintf(request, sizeof(request),
             "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    return ask(f, request);
}

static void test_routes(void **state)
{
    struct fixture *f = *state;
    const char *answer = get(f, "/metrics");
    assert_answer(answer, 200);
    assert_non_null(strstr(answer, "\r\n\r\nmmmmmmmmmm"));
    assert_non_null(strstr(answer, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(answer, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(answer, "Content-Security-Policy: default-src 'none'"));
    assert_non_null(strstr(answer, "Cache-Control: no-store\r\n"));
    assert_null(strstr(answer, "Access-Control"));
    answer = get(f, "/status?pretty=1");
    assert_answer(answer, 200);
    assert_non_null(strstr(answer, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(answer, "\r\n\r\n{\"pipelines\":[]}\n"));
    answer = get(f, "/");
    assert_answer(answer, 200);
    assert_non_null(strstr(answer, "\n/readyz"));
}

static void test_health(void **state)
{
    struct fixture *f = *state;
    assert_non_null(strstr(get(f, "/livez"), "\r\n\r\n{\"live\":true,\"reasons\":[]}\n"));
    assert_non_null(strstr(get(f, "/readyz"), "\r\n\r\n{\"ready\":true,\"reasons\":[]}\n"));
    f->ready = f->live = false;
    const char *answer = get(f, "/readyz");
    assert_answer(answer, 503);
    assert_non_null(strstr(answer,
                           "\r\n\r\n{\"ready\":false,\"reasons\":[\"orders/0: not assigned\","
                           "\"orders/1: \\u0001\"]}\n"));
    answer = get(f, "/livez");
    assert_answer(answer, 503);
    assert_non_null(strstr(answer, "[\"the lane \\\"0\\\" is stuck\"]"));
}

static void test_paths_are_exact(void **state)
{
    static const char *const paths[] = {
        "/nope",
        "/metrics/",
        "//metrics",
        "/METRICS",
        "/%6detrics",
        "/metrics%00",
        "/../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/metrics/../status",
        "/./metrics",
        "/metrics;x=1",
        "metrics",
        "*",
        "http://localhost/metrics",
        "/\xff",
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        assert_answer(get(f, paths[i]), 404);
    }
}

static void test_methods(void **state)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X"};
    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        char request[256];
        snprintf(request, sizeof(request),
                 "%s /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
                 methods[i]);
        const char *answer = ask(f, request);
        assert_answer(answer, 405);
        assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
    }
    const char *answer =
        ask(f, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_answer(answer, 200);
    assert_non_null(strstr(answer, "Content-Length: 10\r\n"));
    assert_string_equal(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void test_hosts(void **state)
{
    struct fixture *f = *state;
    assert_answer(ask(f, "GET /status HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 421);
    assert_answer(ask(f, "GET /status HTTP/1.1\r\nHost: evil.example:9600\r\n\r\n"), 421);
    assert_answer(ask(f, "GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"),
                  421);
    assert_answer(ask(f, "GET /status HTTP/1.1\r\nHost:\r\n\r\n"), 421);
    assert_answer(ask(f, "GET /status HTTP/1.1\r\n\r\n"), 400);
    assert_answer(ask(f, "GET /status HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n"),
                  200);
    assert_answer(ask(f, "GET /status HTTP/1.0\r\n\r\n"), 200);
}

static void test_keep_alive(void **state)
{
    struct fixture *f = *state;
    int fd = dial(f);
    for (int i = 0; i < 3; i++) {
        say(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
        const char *answer = hear(fd, false);
        assert_answer(answer, 200);
        assert_non_null(strstr(answer, "{\"live\":true,"));
    }
    say(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
            "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const char *both = hear(fd, true); /* a refusal ends the connection */
    assert_answer(both, 200);
    assert_non_null(strstr(both, "\nHTTP/1.1 404 "));
    close(fd);
}

static void test_headers_are_limited(void **state)
{
    struct fixture *f = *state;
    static const struct {
        size_t size;
        int status;
    } cases[] = {{7000, 200}, {9000, 431}, {15000, 431}, {100000, 431}};
    struct weir_strbuf request;
    weir_strbuf_init(&request, 200000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weir_strbuf_clear(&request);
        weir_strbuf_text(&request, "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: ");
        for (size_t j = 0; j < cases[i].size; j++) {
            weir_strbuf_push(&request, 'x');
        }
        weir_strbuf_text(&request, "\r\nConnection: close\r\n\r\n");
        int fd = dial(f);
        say(fd, request.data);
        const char *answer = hear(fd, true);
        close(fd);
        /* A reset may overtake the answer when much was left unread. */
        if (answer[0] != '\0' || cases[i].size < 16000) {
            assert_answer(answer, cases[i].status);
        }
    }
    weir_strbuf_clear(&request);
    weir_strbuf_text(&request, "GET ");
    for (size_t i = 0; i < 100000; i++) {
        weir_strbuf_push(&request, '/');
    }
    weir_strbuf_text(&request, " HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_null(strstr(ask(f, request.data), " 200 "));
    weir_strbuf_done(&request);
    assert_answer(get(f, "/livez"), 200);
}

static void test_bodies_are_limited(void **state)
{
    struct fixture *f = *state;
    assert_answer(ask(f, "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n"),
                  413);
    assert_answer(
        ask(f,
            "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999\r\n\r\n"),
        413);
    /* Without a length: too many pieces. */
    int fd = dial(f);
    say(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
    static char piece[4096 + 8];
    memcpy(piece, "1000\r\n", 6);
    memset(piece + 6, 'x', 4096);
    memcpy(piece + 6 + 4096, "\r\n", 2);
    for (int i = 0; i < 64; i++) {
        say_bytes(fd, piece, 6 + 4096 + 2);
    }
    say(fd, "0\r\n\r\n");
    assert_null(strstr(hear(fd, true), " 200 "));
    close(fd);
    assert_answer(ask(f, "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
                  200);
}

/* The bytes of a literal, as a constant initialiser. */
#define BYTES(text)                                                                                \
    {                                                                                              \
        "" text, sizeof(text) - 1                                                                  \
    }

static void test_malformed(void **state)
{
    struct fixture *f = *state;
    static const struct weir_slice requests[] = {
        BYTES("\r\n\r\n\r\n"),
        BYTES("GET\r\n\r\n"),
        BYTES("GET /livez\r\n\r\n"),
        BYTES("\0\0\0\0\r\n\r\n"),
        BYTES("GET /livez HTTP/1.1\r\nHost localhost\r\n\r\n"),
        BYTES("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n"),
        BYTES("GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"),
        BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        BYTES("GET /livez HTTP/9.9\r\nHost: localhost\r\n\r\n"),
    };
    enum { COUNT = sizeof(requests) / sizeof(requests[0]) };
    int fds[COUNT]; /* all at once: some are given the whole time to say more */
    for (size_t i = 0; i < COUNT; i++) {
        fds[i] = dial(f);
        say_bytes(fds[i], requests[i].data, requests[i].size);
        shutdown(fds[i], SHUT_WR);
    }
    for (size_t i = 0; i < COUNT; i++) {
        const char *answer = hear(fds[i], true);
        close(fds[i]);
        if (strstr(answer, " 200 ") != NULL) {
            print_error("request %zu was answered: %.100s\n", i, answer);
            fail();
        }
    }
    assert_answer(get(f, "/livez"), 200);
}

/* A byte now and then must not hold a connection beyond its time. */
static void test_slow_clients(void **state)
{
    struct fixture *f = *state;
    const struct weir_clock *clock = weir_clock_system();
    int64_t start = weir_clock_monotonic_ns(clock);
    int silent = dial(f), trickle = dial(f);
    say(trickle, "GET /livez HTTP/1.1\r\nX: ");
    bool over = false;
    while (!over) {
        struct pollfd wait = {.fd = trickle, .events = POLLIN};
        over = poll(&wait, 1, 200) > 0;
        if (!over) {
            say(trickle, "x");
        }
        assert_true(weir_clock_monotonic_ns(clock) - start < 15 * WEIR_NS_PER_S);
    }
    assert_string_equal(hear(trickle, true), "");
    assert_string_equal(hear(silent, true), "");
    int64_t took = weir_clock_monotonic_ns(clock) - start;
    assert_true(took >= (WEIR_HTTP_TIMEOUT_MS - 10) * WEIR_NS_PER_MS);
    close(silent);
    close(trickle);
}

/* One that does not read its answer is hung up on, and others are served meanwhile. */
static void test_slow_reader(void **state)
{
    struct fixture *f = *state;
    f->metrics_size = 32 * 1024 * 1024;
    int fd = dial(f);
    const struct weir_clock *clock = weir_clock_system();
    int64_t start = weir_clock_monotonic_ns(clock);
    say(fd, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_answer(get(f, "/livez"), 200);
    struct pollfd wait = {.fd = fd}; /* a reset comes through unread bytes, an end would not */
    assert_int_equal(poll(&wait, 1, 15000), 1);
    assert_true(weir_clock_monotonic_ns(clock) - start > WEIR_NS_PER_S);
    close(fd);
    f->metrics_size = 10;
    assert_answer(get(f, "/metrics"), 200);
}

/* More than the limit: the surplus waits and is served when the others' time is up. */
static void test_many_connections(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 3 * WEIR_HTTP_CONNECTIONS_MAX };
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++) {
        fds[i] = dial(f);
        if (i >= WEIR_HTTP_CONNECTIONS_MAX) {
            say(fds[i], "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        }
    }
    for (int i = 0; i < COUNT; i++) {
        const char *answer = hear(fds[i], true);
        if (i < WEIR_HTTP_CONNECTIONS_MAX) {
            assert_string_equal(answer, "");
        } else {
            assert_answer(answer, 200);
        }
        close(fds[i]);
    }
}

static void test_ports(void **state)
{
    struct fixture *f = *state;
    struct weir_http *second = NULL;
    struct weir_err err = {0};
    struct weir_http_listen listen = {
        .host = "127.0.0.1", .port = weir_http_port(f->http), .exact = true};
    assert_int_equal(weir_http_start(&listen, &f->view, &f->log, &second, &err), WEIR_UNAVAILABLE);
    assert_null(second);
    char expected[128];
    snprintf(expected, sizeof(expected), "cannot listen on 127.0.0.1 port %u: ", listen.port);
    assert_non_null(strstr(err.message, expected));
    assert_true(err.hint[0] != '\0');

    listen.exact = false;
    weir_err_clear(&err);
    assert_int_equal(weir_http_start(&listen, &f->view, &f->log, &second, &err), WEIR_OK);
    assert_int_equal(err.status, WEIR_OK);
    assert_int_not_equal(weir_http_port(second), listen.port);
    snprintf(expected, sizeof(expected), "\"address\":\"127.0.0.1:%u\"}", weir_http_port(second));
    assert_int_equal(weir_log_capture_count(&f->capture, expected), 1);
    assert_int_equal(weir_log_capture_count(&f->capture, "http port is taken"), 1);
    weir_http_stop(second);
}

static void test_docs_name_every_route(void **state)
{
    (void)state;
    struct weir_strbuf docs;
    weir_strbuf_init(&docs, 100000);
    weir_http_docs(&docs);
    static const char *const paths[] = {"/", "/livez", "/readyz", "/status", "/metrics"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char row[32];
        snprintf(row, sizeof(row), "| `%s` |", paths[i]);
        assert_non_null(strstr(docs.data, row));
        assert_non_null(weir_http_route_find(paths[i]));
    }
    weir_strbuf_done(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_routes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_health, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths_are_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_methods, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hosts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_headers_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies_are_limited, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test(test_docs_name_every_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

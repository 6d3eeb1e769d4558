/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: only loopback addresses are listened on without a token, and only requests that name one of
 * them, or the configured host, are answered. Method: tables of addresses and of Host headers.
 */
#include "http/listen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_accepted(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        int port;
        bool exact;
    } cases[] = {
        {"127.0.0.1:9600", "127.0.0.1", 9600, true},
        {"127.0.0.1", "127.0.0.1", 9600, false},
        {"127.8.9.1:1", "127.8.9.1", 1, true},
        {"localhost:0", "localhost", 0, true},
        {"LocalHost:65535", "LocalHost", 65535, true},
        {":9700", "127.0.0.1", 9700, true},
        {"[::1]:9600", "::1", 9600, true},
        {"[::1]", "::1", 9600, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_http_listen listen;
        struct weir_err err = {0};
        assert_int_equal(weir_http_listen_parse(weir_slice_of(cases[i].text), NULL, NULL, &listen, &err),
                         WEIR_OK);
        assert_false(listen.off);
        assert_string_equal(listen.host, cases[i].host);
        assert_int_equal(listen.port, cases[i].port);
        assert_int_equal(listen.exact, cases[i].exact);
    }
    struct weir_http_listen off;
    assert_int_equal(weir_http_listen_parse(WEIR_SLICE("off"), NULL, NULL, &off, NULL), WEIR_OK);
    assert_true(off.off);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        struct weir_slice text;
        const char *message;
    } cases[] = {
        {{"0.0.0.0:9600", 12}, "0.0.0.0 can be reached from other machines"},
        {{"192.168.1.5:9600", 16}, "192.168.1.5 can be reached from other machines"},
        {{"[::]:9600", 9}, ":: can be reached from other machines"},
        {{"[::ffff:127.0.0.1]:1", 20}, "::ffff:127.0.0.1 can be reached from other machines"},
        {{"128.0.0.1", 9}, "128.0.0.1 can be reached from other machines"},
        {{"example.org:9600", 16}, "\"example.org\" is not an address"},
        {{"127.1:9600", 10}, "\"127.1\" is not an address"},
        {{"", 0}, "\"\" is not an address"},
        {{"::1:9600", 8}, "\":1:9600\" is not a port"},
        {{"[::1", 4}, "\"[::1\" is not an address"},
        {{"[127.0.0.1]:1", 13}, "\"[127.0.0.1]:1\" is not an address"},
        {{"[::1]9600", 9}, "\"[::1]9600\" is not an address"},
        {{"127.0.0.1\0x:1", 13}, "\"127.0.0.1\" is not an address"},
        {{"127.0.0.1:", 10}, "\"\" is not a port"},
        {{"127.0.0.1:65536", 15}, "\"65536\" is not a port"},
        {{"127.0.0.1:99999999999", 21}, "\"99999999999\" is not a port"},
        {{"127.0.0.1:-1", 12}, "\"-1\" is not a port"},
        {{"127.0.0.1:http", 14}, "\"http\" is not a port"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weir_http_listen listen;
        struct weir_err err = {0};
        assert_int_equal(weir_http_listen_parse(cases[i].text, NULL, NULL, &listen, &err), WEIR_CONFIG);
        assert_string_equal(err.message, cases[i].message);
        assert_true(err.hint[0] != '\0');
    }
}

static void test_elsewhere(void **state)
{
    (void)state;
    static const char *const addresses[] = {"0.0.0.0:9600", "[::]:9600", "192.168.1.5:0"};
    struct weir_http_listen listen, loopback;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_int_equal(
            weir_http_listen_parse(weir_slice_of(addresses[i]), "token", NULL, &listen, NULL), WEIR_OK);
        assert_true(weir_http_host_allowed(&listen, "10.1.2.3:9600"));
        assert_true(weir_http_host_allowed(&listen, "[fe80::1]"));
        assert_true(weir_http_host_allowed(&listen, "localhost"));
        assert_false(weir_http_host_allowed(&listen, "evil.example"));
        assert_false(weir_http_host_allowed(&listen, "10.1.2.3.evil.example"));
    }
    assert_int_equal(weir_http_listen_parse(WEIR_SLICE("127.0.0.1"), "token", NULL, &loopback, NULL),
                     WEIR_OK);
    assert_false(weir_http_host_allowed(&loopback, "10.1.2.3:9600"));
    assert_false(weir_http_listen_equal(&listen, &loopback));
    loopback = listen;
    assert_true(weir_http_listen_equal(&listen, &loopback));
    loopback.token = "other";
    assert_false(weir_http_listen_equal(&listen, &loopback));
}

static void test_encrypted(void **state)
{
    (void)state;
    const struct weir_http_tls open = {.cert = "c", .key = "k"};
    const struct weir_http_tls mutual = {.cert = "c", .key = "k", .clients = "a"};
    struct weir_http_listen listen, other;
    struct weir_err err = {0};
    struct weir_slice text = WEIR_SLICE("0.0.0.0:9600");
    assert_int_equal(weir_http_listen_parse(text, NULL, &open, &listen, &err), WEIR_CONFIG);
    assert_int_equal(weir_http_listen_parse(text, NULL, &mutual, &listen, NULL), WEIR_OK);
    assert_int_equal(weir_http_listen_parse(text, "token", &open, &other, NULL), WEIR_OK);
    assert_false(weir_http_listen_equal(&listen, &other));
    other = listen;
    other.tls = &open;
    assert_false(weir_http_listen_equal(&listen, &other));
}

static void test_token(void **state)
{
    (void)state;
    assert_true(weir_http_token_matches("abc", "Bearer abc"));
    assert_true(weir_http_token_matches("abc", "bearer abc"));
    static const char *const wrong[] = {
        NULL,         "",           "abc",           "Bearer",      "Bearer ",   "Bearer ab",
        "Bearer abd", "Bearer xbc", "Bearer abcabc", "Bearer  abc", "Basic abc", "Bearer abc ",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(weir_http_token_matches("abc", wrong[i]));
    }
}

static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        bool allowed;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.0.0.1:9600", true},
        {"127.0.0.2:1234", true},
        {"localhost", true},
        {"LOCALHOST:9600", true},
        {"[::1]:9600", true},
        {"[::1]", true},
        {"localhost:", true},
        {"evil.example", false},
        {"evil.example:9600", false},
        {"localhost.evil.example", false},
        {"127.0.0.1.evil.example:9600", false},
        {"127.0.0.1@evil.example", false},
        {"evil.example#127.0.0.1", false},
        {"127.0.0.1:9600, evil.example", false},
        {"127.0.0.1:evil", false},
        {"0.0.0.0:9600", false},
        {"192.168.1.1", false},
        {"[::ffff:127.0.0.1]", false},
        {"::1", false},
        {"[::1", false},
        {"2130706433", false},
        {"0x7f.0.0.1", false},
        {" 127.0.0.1", false},
        {"", false},
        {":9600", false},
    };
    struct weir_http_listen listen = weir_http_listen_default();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(weir_http_host_allowed(&listen, cases[i].header), cases[i].allowed);
    }
    char longest[600];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_false(weir_http_host_allowed(&listen, longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_elsewhere), cmocka_unit_test(test_encrypted), cmocka_unit_test(test_token),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

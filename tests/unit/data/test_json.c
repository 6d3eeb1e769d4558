/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: JSON is read and printed by jq's rules: numbers keep their digits, doubled keys keep the
 * first place and the last value, broken text is an error that says where. Method: pairs of text in
 * and text out, and hostile sizes.
 */
#include <weir/json.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/scan.h"

static weir_status round_trip(struct weir_slice text, struct weir_strbuf *buf, struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value value;
    weir_arena_init(&arena, 0);
    weir_status status = weir_json_parse(&arena, text, NULL, &value, err);
    if (status == WEIR_OK) {
        weir_value_write(value, buf, WEIR_WRITE_COMPACT);
    }
    weir_arena_done(&arena);
    return status;
}

static void values_print_as_jq_prints_them(void **state)
{
    (void)state;
    static const struct {
        const char *text, *printed;
    } cases[] = {
        {"1.10", "1.10"},
        {"1e2", "1E+2"},
        {"1e1000", "1E+1000"},
        {"-0", "-0"},
        {"0.0000001", "1E-7"},
        {"0.000001", "0.000001"},
        {"100000000000000000000", "100000000000000000000"},
        {"12345678901234567890.123456789012345678901e5",
         "1234567890123456789012345.6789012345678901"},
        {" [ 1 , 2 ] ", "[1,2]"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"{\"a\":1,\"a\":2,\"a\":3}", "{\"a\":3}"},
        {"\"\\u00e9\\ud83d\\ude00\\u007f\\n/\\/\"", "\"\u00e9\U0001f600\\u007f\\n//\""},
        {"\"\\udc00x\"", "\"\ufffdx\""},
        {"\"a\xff\xc3(\"", "\"a\ufffd\ufffd(\""},
        {"nan", "null"},
        {"[nan]", "[null]"},
        {"{}", "{}"},
        {"{\"a\":{\"b\":[1,{\"c\":2,\"c\":3}]},\"d\":[1.50]}",
         "{\"a\":{\"b\":[1,{\"c\":3}]},\"d\":[1.50]}"},
        {"[[1, 2],[3,4],\"\\u0041\",[\"\u65e5\"],[\"\x7f\"],[\"\\/\"]]",
         "[[1,2],[3,4],\"A\",[\"\u65e5\"],[\"\\u007f\"],[\"/\"]]"},
        {"[0.0000001,[0.000001],[-0.0],[1E2],[0.10]]", "[1E-7,[0.000001],[-0.0],[1E+2],[0.10]]"},
        {"{\"ab\":1,\"ba\":2,\"ab\" :3,\"abcdefgh1\":4,\"abcdefgh2\":5}",
         "{\"ab\":3,\"ba\":2,\"abcdefgh1\":4,\"abcdefgh2\":5}"},
        {"\xef\xbb\xbf 1", "1"},
        {"01", "1"},
        {".5", "0.5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_strbuf buf;
        struct weir_err err = {0};
        weir_strbuf_init(&buf, 10000);
        assert_int_equal(round_trip(weir_slice_of(cases[i].text), &buf, &err), WEIR_OK);
        assert_string_equal(buf.data, cases[i].printed);
        weir_strbuf_done(&buf);
    }
}

/* Every kind of byte at every place of texts of all small sizes, wherever they begin in memory. */
static void plain_runs_end_at_the_first_byte_that_needs_care(void **state)
{
    (void)state;
    enum { SIZE_MAX_HERE = 40 };
    for (int size = 0; size <= SIZE_MAX_HERE; size++) {
        char *text = malloc(size == 0 ? 1 : (size_t)size);
        memset(text, 'x', (size_t)size);
        for (int at = 0; at < size; at++) {
            for (int c = 0; c < 256; c++) {
                bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
                text[at] = (char)c;
                const char *stop = text + (plain ? size : at);
                assert_ptr_equal(weir_scan_plain(text, text + size), stop);
                assert_ptr_equal(weir_scan_words(text, text + size), stop);
            }
            text[at] = 'x';
        }
        free(text);
    }
}

/* Without a terminator behind it, and without a copy. */
static void texts_lie_in_the_document(void **state)
{
    (void)state;
    static const char document[] = "{\"key\":\"value\",\"e\":\"\\n\",\"n\":12.50}";
    size_t size = sizeof document - 1;
    char *bytes = malloc(size);
    memcpy(bytes, document, size);
    struct weir_arena arena;
    struct weir_value value;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    struct weir_slice text = {bytes, size};
    assert_int_equal(weir_json_parse_in_place(&arena, text, NULL, &value, &err), WEIR_OK);
    struct weir_slice found = weir_value_text(weir_value_get(value, WEIR_SLICE("key")));
    assert_ptr_equal(found.data, bytes + 8);
    found = weir_value_text(weir_value_get(value, WEIR_SLICE("e")));
    assert_int_equal(found.size, 1);
    assert_memory_equal(found.data, "\n", 1);
    for (size_t cut = 0; cut < size; cut++) { /* no byte behind the end is looked at */
        char *part = malloc(cut == 0 ? 1 : cut);
        memcpy(part, document, cut);
        text = (struct weir_slice){part, cut};
        assert_int_equal(weir_json_parse_in_place(&arena, text, NULL, &value, &err), WEIR_INVALID);
        weir_err_clear(&err);
        free(part);
    }
    assert_int_equal(weir_json_parse(&arena, (struct weir_slice){bytes, size}, NULL, &value, &err),
                     WEIR_OK);
    memset(bytes, 0, size);
    assert_memory_equal(weir_value_text(weir_value_get(value, WEIR_SLICE("key"))).data, "value", 5);
    free(bytes);
    weir_arena_done(&arena);
}

static void broken_text_says_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "not JSON: Expected JSON value"},
        {"[1,2", "not JSON: Unfinished JSON term at EOF at line 1, column 4"},
        {"{\"a\" 1}", "not JSON: Expected separator between values at line 1, column 7"},
        {"[1,]", "not JSON: Expected another array element at line 1, column 4"},
        {"1 2", "not JSON: Unexpected extra JSON values"},
        {"\"a", "not JSON: Unfinished string at EOF at line 1, column 2"},
        {"tru", "not JSON: Invalid literal at EOF at line 1, column 3"},
        {"[1\n,x]", "not JSON: Invalid numeric literal at line 2, column 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_strbuf buf;
        struct weir_err err = {0};
        weir_strbuf_init(&buf, 10000);
        assert_int_equal(round_trip(weir_slice_of(cases[i].text), &buf, &err), WEIR_INVALID);
        assert_string_equal(err.message, cases[i].message);
        weir_strbuf_done(&buf);
    }
}

static void depth_is_limited(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    char *text = malloc(2 * DEEP);
    struct weir_strbuf buf;
    struct weir_err err = {0};
    weir_strbuf_init(&buf, 1000000);
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    assert_int_equal(round_trip((struct weir_slice){text, (size_t)2 * DEEP}, &buf, &err),
                     WEIR_LIMIT);
    weir_err_clear(&err);
    assert_int_equal(round_trip((struct weir_slice){text, DEEP}, &buf, &err), WEIR_LIMIT);
    weir_err_clear(&err);
    char *middle = text + DEEP - 10000;
    assert_int_equal(round_trip((struct weir_slice){middle, 20000}, &buf, &err), WEIR_OK);
    assert_int_equal(buf.size, 20000);
    struct weir_arena arena;
    struct weir_value value;
    struct weir_json_limits limits = {.depth = 3};
    weir_arena_init(&arena, 0);
    assert_int_equal(weir_json_parse(&arena, WEIR_SLICE("[[[[]]]]"), &limits, &value, &err),
                     WEIR_LIMIT);
    weir_err_clear(&err);
    assert_int_equal(weir_json_parse(&arena, WEIR_SLICE("[[[]]]"), &limits, &value, &err), WEIR_OK);
    weir_arena_done(&arena);
    weir_strbuf_done(&buf);
    free(text);
}

/* An object of many members with every key twice must not take quadratic time. */
static void doubled_keys_of_large_objects_are_resolved(void **state)
{
    (void)state;
    struct weir_strbuf text, buf;
    struct weir_err err = {0};
    weir_strbuf_init(&text, 100000000);
    weir_strbuf_init(&buf, 100000000);
    weir_strbuf_push(&text, '{');
    for (int i = 0; i < 200000; i++) {
        weir_strbuf_printf(&text, "%s\"k%d\":%d", i == 0 ? "" : ",", i % 100000, i);
    }
    weir_strbuf_push(&text, '}');
    assert_int_equal(round_trip(weir_strbuf_view(&text), &buf, &err), WEIR_OK);
    assert_memory_equal(buf.data, "{\"k0\":100000,\"k1\":100001,", 24);
    weir_strbuf_done(&text);
    weir_strbuf_done(&buf);
}

static void arena_limit_is_an_error(void **state)
{
    (void)state;
    struct weir_arena arena;
    struct weir_value value;
    struct weir_err err = {0};
    char text[20000];
    memset(text, ' ', sizeof text);
    memcpy(text, "[1]", 3);
    weir_arena_init(&arena, 8192);
    assert_int_equal(
        weir_json_parse(&arena, (struct weir_slice){text, sizeof text}, NULL, &value, &err),
        WEIR_TOO_LARGE);
    weir_arena_done(&arena);
}

static void flags_change_the_form(void **state)
{
    (void)state;
    struct weir_arena arena;
    struct weir_value value;
    struct weir_strbuf buf;
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&buf, 1000);
    assert_int_equal(
        weir_json_parse(&arena, WEIR_SLICE("{\"b\":[1,{}],\"a\":\"\u00e9\"}"), NULL, &value, NULL),
        WEIR_OK);
    weir_value_write(value, &buf, WEIR_WRITE_SORTED | WEIR_WRITE_ASCII);
    assert_string_equal(buf.data, "{\"a\":\"\\u00e9\",\"b\":[1,{}]}");
    weir_strbuf_clear(&buf);
    weir_value_write(value, &buf, 2u << WEIR_WRITE_INDENT_SHIFT);
    assert_string_equal(buf.data, "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": \"\u00e9\"\n}");
    weir_strbuf_done(&buf);
    weir_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_print_as_jq_prints_them),
        cmocka_unit_test(plain_runs_end_at_the_first_byte_that_needs_care),
        cmocka_unit_test(texts_lie_in_the_document),
        cmocka_unit_test(broken_text_says_where),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(doubled_keys_of_large_objects_are_resolved),
        cmocka_unit_test(arena_limit_is_an_error),
        cmocka_unit_test(flags_change_the_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: only UTF-8 is taken for UTF-8, and any bytes become one valid JSON string. Method: every
 * code point and every pair of bytes against the definition; fixed texts for the quotes.
 */
#include "base/quote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static size_t encode(uint32_t point, char *text)
{
    if (point < 0x80) {
        text[0] = (char)point;
        return 1;
    }
    size_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = size - 1; i > 0; i--) {
        text[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    text[0] = (char)(heads[size] | point);
    return size;
}

static void test_every_code_point(void **state)
{
    (void)state;
    for (uint32_t point = 0; point < 0x120000; point++) {
        char text[4];
        size_t size = encode(point, text);
        bool valid = point < 0x110000 && !(point >= 0xd800 && point < 0xe000);
        assert_int_equal(weir_utf8_size(text, size), valid ? size : 0);
        if (size > 1) {
            assert_int_equal(weir_utf8_size(text, size - 1), 0);
        }
    }
}

static void test_every_pair(void **state)
{
    (void)state;
    for (int first = 0; first < 256; first++) {
        for (int second = 0; second < 256; second++) {
            const char text[2] = {(char)first, (char)second};
            bool two = first >= 0xc2 && first <= 0xdf && second >= 0x80 && second <= 0xbf;
            assert_int_equal(weir_utf8_size(text, 2), first < 0x80 ? 1 : two ? 2 : 0);
        }
    }
}

static void test_quotes(void **state)
{
    (void)state;
    static const struct {
        struct weir_slice text;
        const char *quoted;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{NULL, 0}, "\"\""},
        {{"a\"\\\n\0\x1f\x7f", 7}, "\"a\\\"\\\\\\n\\u0000\\u001f\\u007f\""},
        {{"\xe2\x82\xac\xe2\x82", 5}, "\"\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    struct weir_strbuf out;
    weir_strbuf_init(&out, 1000);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weir_strbuf_clear(&out);
        weir_quote_json(cases[i].text, &out);
        assert_string_equal(out.data, cases[i].quoted);
    }
    weir_strbuf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_pair),
        cmocka_unit_test(test_quotes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

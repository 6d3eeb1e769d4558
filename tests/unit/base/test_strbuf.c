/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a string buffer holds what was appended, is terminated, never passes its maximum and fails
 * softly there. Method: append in every way around the boundaries of growth and limit.
 */
#include <weir/strbuf.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void appends_join(void **state)
{
    (void)state;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1024);
    weir_strbuf_text(&buf, "lane");
    weir_strbuf_push(&buf, ' ');
    weir_strbuf_slice(&buf, (struct weir_slice){"12345", 2});
    weir_strbuf_append(&buf, "", 0);
    weir_strbuf_printf(&buf, " of %d", 7);
    assert_string_equal(buf.data, "lane 12 of 7");
    assert_int_equal(buf.size, 12);
    assert_false(buf.failed);
    weir_strbuf_done(&buf);
    assert_null(buf.data);
}

static void empty_buffer_has_an_empty_view(void **state)
{
    (void)state;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 16);
    struct weir_slice view = weir_strbuf_view(&buf);
    assert_non_null(view.data);
    assert_int_equal(view.size, 0);
    weir_strbuf_append(&buf, "", 0);
    assert_false(buf.failed);
    weir_strbuf_done(&buf);
}

static void limit_is_exact(void **state)
{
    (void)state;
    for (size_t limit = 0; limit <= 300; limit++) {
        struct weir_strbuf buf;
        weir_strbuf_init(&buf, limit);
        for (size_t i = 0; i < limit; i++) {
            weir_strbuf_push(&buf, (char)('a' + i % 26));
            assert_false(buf.failed);
            assert_true(buf.capacity <= limit + 1);
        }
        weir_strbuf_push(&buf, '!');
        assert_true(buf.failed);
        assert_int_equal(buf.size, limit);
        for (size_t i = 0; i < limit; i++) {
            assert_int_equal(buf.data[i], 'a' + i % 26);
        }
        weir_strbuf_done(&buf);
    }
}

static void a_failed_buffer_ignores_appends_until_cleared(void **state)
{
    (void)state;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 8);
    weir_strbuf_text(&buf, "1234567");
    weir_strbuf_text(&buf, "89");
    assert_true(buf.failed);
    assert_string_equal(buf.data, "1234567");
    assert_false(weir_strbuf_reserve(&buf, 0));
    weir_strbuf_printf(&buf, "%d", 100);
    assert_string_equal(buf.data, "1234567");
    weir_strbuf_clear(&buf);
    assert_false(buf.failed);
    weir_strbuf_text(&buf, "12345678");
    assert_false(buf.failed);
    assert_string_equal(buf.data, "12345678");
    weir_strbuf_done(&buf);
}

static void absurd_sizes_fail(void **state)
{
    (void)state;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, SIZE_MAX / 4);
    weir_strbuf_push(&buf, 'x');
    assert_false(weir_strbuf_reserve(&buf, SIZE_MAX));
    assert_true(buf.failed);
    assert_string_equal(buf.data, "x");
    weir_strbuf_done(&buf);
}

static void printf_grows_over_several_blocks(void **state)
{
    (void)state;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        weir_strbuf_printf(&buf, "%0*d", i, 0);
    }
    assert_int_equal(buf.size, 999 * 1000 / 2 + 1); /* "%0*d" of width 0 still prints one digit */
    assert_int_equal(buf.data[buf.size], '\0');
    weir_strbuf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_join),
        cmocka_unit_test(empty_buffer_has_an_empty_view),
        cmocka_unit_test(limit_is_exact),
        cmocka_unit_test(a_failed_buffer_ignores_appends_until_cleared),
        cmocka_unit_test(absurd_sizes_fail),
        cmocka_unit_test(printf_grows_over_several_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

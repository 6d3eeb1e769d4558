/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: every example in the table of builtins is true, and the table is complete enough for the
 * reference. Method: each example is compiled as in a pipeline, run, and its results compared.
 */
#include <weir/jq.h>
#include <weir/json.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static weir_status keep(void *context, struct weir_value value, struct weir_err *err)
{
    (void)err;
    struct weir_strbuf *buf = context;
    weir_value_write(value, buf, WEIR_WRITE_COMPACT);
    return WEIR_OK;
}

static bool check_example(const struct weir_jq_builtin *builtin)
{
    struct weir_arena arena;
    struct weir_strbuf buf;
    struct weir_value input;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&buf, 1 << 20);
    bool same = false;
    struct weir_jq *program = weir_jq_compile(weir_slice_of(builtin->program), NULL, NULL, &err);
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    if (program != NULL &&
        weir_json_parse(&arena, weir_slice_of(builtin->input), NULL, &input, &err) == WEIR_OK &&
        weir_jq_each(run, program, input, keep, &buf, &err) == WEIR_OK) {
        same = weir_slice_equal(weir_strbuf_view(&buf), weir_slice_of(builtin->output));
    }
    if (!same) {
        fprintf(stderr, "%s/%d: %s on %s: expected %s, got %s %s\n", builtin->name, builtin->arity,
                builtin->program, builtin->input, builtin->output, buf.data == NULL ? "" : buf.data,
                err.message);
    }
    weir_jq_run_free(run);
    weir_jq_free(program);
    weir_strbuf_done(&buf);
    weir_arena_done(&arena);
    return same;
}

static void examples_are_true(void **state)
{
    (void)state;
    size_t wrong = 0, examples = 0;
    const struct weir_jq_builtin *builtin;
    for (size_t i = 0; (builtin = weir_jq_builtin_at(i)) != NULL; i++) {
        assert_non_null(builtin->doc);
        if (builtin->program != NULL) {
            struct weir_jq_builtin copy = *builtin;
            examples++;
            wrong += !check_example(&copy);
        }
    }
    assert_int_equal(wrong, 0);
    assert_true(examples > 180);
}

static void left_out_builtins_say_why(void **state)
{
    (void)state;
    static const char *const programs[] = {"input",  "inputs", "debug",      "debug(1)",
                                           "stderr", "halt",   "halt_error", "input_filename"};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct weir_err err = {0};
        assert_null(weir_jq_compile(weir_slice_of(programs[i]), NULL, NULL, &err));
        assert_non_null(strstr(err.message, "is not available in a pipeline"));
        struct weir_jq_options options = {.eval = true};
        weir_err_clear(&err);
        struct weir_jq *program = weir_jq_compile(weir_slice_of(programs[i]), &options, NULL, &err);
        assert_non_null(program);
        weir_jq_free(program);
    }
}

static void environment_is_closed_unless_opened(void **state)
{
    (void)state;
    struct weir_err err = {0};
    assert_null(weir_jq_compile(WEIR_SLICE("$ENV.HOME"), NULL, NULL, &err));
    assert_non_null(strstr(err.message, "environment is closed"));
    weir_err_clear(&err);
    assert_null(weir_jq_compile(WEIR_SLICE("env"), NULL, NULL, &err));
    struct weir_jq_options options = {.environment = true};
    struct weir_jq *program = weir_jq_compile(WEIR_SLICE("env"), &options, NULL, NULL);
    assert_non_null(program);
    assert_false(weir_jq_facts(program).deterministic);
    weir_jq_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_are_true),
        cmocka_unit_test(left_out_builtins_say_why),
        cmocka_unit_test(environment_is_closed_unless_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

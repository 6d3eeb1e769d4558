/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: runs keep their limits against hostile programs, loops are linear and bounded in memory,
 * facts about programs are right, errors point at the right place. Method: small programs, and the
 * statuses, messages and values they must give.
 */
#include <weir/jq.h>
#include <weir/json.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static weir_status count(void *context, struct weir_value value, struct weir_err *err)
{
    (void)value;
    (void)err;
    ++*(size_t *)context;
    return WEIR_OK;
}

static weir_status run_limited(const char *text,
                               const struct weir_jq_limits *limits,
                               size_t *ret_results,
                               struct weir_err *err)
{
    struct weir_jq *program = weir_jq_compile(weir_slice_of(text), NULL, NULL, err);
    assert_non_null(program);
    struct weir_jq_run *run = weir_jq_run_new(limits);
    *ret_results = 0;
    weir_status status = weir_jq_each(run, program, weir_value_null(), count, ret_results, err);
    weir_jq_run_free(run);
    weir_jq_free(program);
    return status;
}

static void hostile_programs_are_stopped(void **state)
{
    (void)state;
    static const struct {
        const char *program, *message;
    } cases[] = {
        {"def f: f; f", "steps"},
        {"last(repeat(1))", "steps"},
        {"[recurse(1)] | length", "steps"},
        {"def f: 1 + f; f", "deep"},
        {"def f(g): f(g | g); f(1)", "deep"},
        {"[range(1e12)]", "bytes"},
        {"\"x\" * 1e9", "bytes"},
        {"reduce range(1e9) as $i (\"xxxxxxxxxxxxxxxxxxxxxx\"; . + .)", "bytes"},
        {".[200000000] = 1", "bytes"},
        {"range(1e9)", "results"},
        {"\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\" | test(\"^(a+)+$\")", "steps back"},
        {"[limit(5; repeat(1))] | combinations(1e9)", ""},
    };
    struct weir_jq_limits limits = {.steps = 3000000,
                                    .depth = 5000,
                                    .results = 1000,
                                    .memory_bytes = 16 << 20,
                                    .regex_steps = 100000};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_err err = {0};
        size_t results;
        weir_status status = run_limited(cases[i].program, &limits, &results, &err);
        if (strstr(err.message, cases[i].message) == NULL) {
            fprintf(stderr, "%s: %s %s\n", cases[i].program, weir_status_name(status), err.message);
        }
        if (cases[i].message[0] != '\0') {
            assert_int_equal(status, WEIR_LIMIT);
            assert_non_null(strstr(err.message, cases[i].message));
        } else {
            assert_int_not_equal(status, WEIR_OK);
        }
    }
}

static void deep_recursion_goes_on_another_stack(void **state)
{
    (void)state;
    struct weir_err err = {0};
    size_t results;
#ifdef __SANITIZE_THREAD__ /* which gives up on a stack of 65536 frames */
    const char *program = "def f: if . > 20000 then . else (. + 1 | f) + 0 end; 0 | f";
#else
    const char *program = "def f: if . > 90000 then . else (. + 1 | f) + 0 end; 0 | f";
#endif
    assert_int_equal(run_limited(program, NULL, &results, &err), WEIR_OK);
    assert_int_equal(results, 1);
}

static void loops_run_in_constant_memory(void **state)
{
    (void)state;
    static const char *const programs[] = {
        "reduce range(300000) as $i (null; [$i, {a: $i}])",
        "0 | until(. >= 300000; . + 1)",
        "last(0 | while(. < 300000; . + 1))",
        "def f: if . >= 300000 then . else . + 1 | f end; 0 | f",
        "last(foreach range(300000) as $i ([]; [$i]; .))",
        "reduce range(100000) as $i ({}; .a.b = $i | .c[0] += 1)",
        "last(label $out | foreach range(300000) as $i (0; $i; .))",
        "[limit(300000; repeat(1)) | select(. > 1)]",
    };
    struct weir_jq_limits limits = {.memory_bytes = 3 << 20, .results = 1000000};
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct weir_err err = {0};
        size_t results;
        weir_status status = run_limited(programs[i], &limits, &results, &err);
        if (status != WEIR_OK) {
            fprintf(stderr, "%s: %s\n", programs[i], err.message);
        }
        assert_int_equal(status, WEIR_OK);
    }
}

static void growing_in_place_is_linear(void **state)
{
    (void)state;
    static const char *const programs[] = {
        "reduce range(200000) as $i ([]; . + [$i]) | length",
        "reduce range(200000) as $i ([]; .[$i] = $i) | length",
        "reduce range(200000) as $i ({}; .[$i | tostring] = $i) | length",
        "reduce range(200000) as $i (\"\"; . + \"x\") | length",
        "reduce range(200000) as $i ({}; .n += 1)",
        "reduce range(200000) as $i ({l: []}; .l += [$i]) | .l | length",
    };
    /* Quadratic work would take more steps of copying than the memory limit allows to waste, and
     * minutes: ctest's time limit is the judge. */
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        struct weir_err err = {0};
        size_t results;
        assert_int_equal(run_limited(programs[i], NULL, &results, &err), WEIR_OK);
    }
}

static void facts_are_right(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        bool single, deterministic, constant, uses_record;
    } cases[] = {
        {".", true, true, false, false},
        {".a.b", true, true, false, false},
        {".[]", false, true, false, false},
        {"{a: .b, c: [.d[]]}", true, true, false, false},
        {"select(.a)", false, true, false, false},
        {"1, 2", false, true, false, false},
        {"[1, {a: 2}]", true, true, true, false},
        {"\"x\"", true, true, true, false},
        {"now", true, false, false, false},
        {"$record.topic", true, true, false, true},
        {"def f: if . > 5 then . else . + 1 | f end; f", true, true, false, false},
        {"def f: f, 1; f", false, true, false, false},
        {"map(.a)", true, true, false, false},
        {".a // .b", true, true, false, false},
        {"reduce .[] as $x (0; . + $x)", true, true, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_jq *program =
            weir_jq_compile(weir_slice_of(cases[i].program), NULL, NULL, NULL);
        assert_non_null(program);
        struct weir_jq_facts facts = weir_jq_facts(program);
        assert_int_equal(facts.single, cases[i].single);
        assert_int_equal(facts.deterministic, cases[i].deterministic);
        assert_int_equal(facts.constant, cases[i].constant);
        assert_int_equal(facts.uses_record, cases[i].uses_record);
        weir_jq_free(program);
    }
}

static void compile_errors_point_at_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *program;
        size_t offset, size;
        const char *message, *hint;
    } cases[] = {
        {".a | lenght", 5, 6, "lenght/0 is not defined", "did you mean length?"},
        {"map(.a; .b)", 0, 3, "map/2 is not defined", "there is map/1"},
        {". as $x | $y", 10, 2, "$y is not defined", ""},
        {"[1, 2", 5, 1, "unexpected the end of the program, expected ']'", ""},
        {"if . then 1 els 2 end", 12, 3, "unexpected 'els', expected 'elif', 'else' or 'end'", ""},
        {"{a b}", 3, 1, "unexpected 'b', expected ',' or '}'", ""},
        {"\"abc", 0, 1, "string without an end", ""},
        {"1 == 2 == 3", 7, 2,
         "unexpected '==', expected parentheses, because this operator does not chain", ""},
        {".a\n| foo", 5, 3, "foo/0 is not defined", ""},
        {"import \"a\" as a; 1", 7, 3, "modules cannot be imported here", ""},
        {"def f($a): $a; f", 15, 1, "f/0 is not defined", "f takes 1 arguments"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_jq_fault fault = {0};
        struct weir_err err = {0};
        assert_null(weir_jq_compile(weir_slice_of(cases[i].program), NULL, &fault, &err));
        assert_int_equal(err.status, WEIR_CONFIG);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(fault.offset, cases[i].offset);
        assert_int_equal(fault.size, cases[i].size);
        if (cases[i].hint[0] != '\0') {
            assert_string_equal(err.hint, cases[i].hint);
        }
    }
}

static void record_is_visible(void **state)
{
    (void)state;
    struct weir_jq *program = weir_jq_compile(
        WEIR_SLICE("[$record | .key, .topic, .partition, .offset, .time, .headers.h]"), NULL, NULL,
        NULL);
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    struct weir_jq_header header = {WEIR_SLICE("h"), WEIR_SLICE("v")};
    struct weir_jq_record record = {.key = WEIR_SLICE("k"),
                                    .topic = WEIR_SLICE("t"),
                                    .partition = 3,
                                    .offset = 4,
                                    .time_ms = 5,
                                    .has_time = true,
                                    .headers = &header,
                                    .header_count = 1};
    weir_jq_run_set_record(run, &record);
    struct weir_value value;
    assert_int_equal(weir_jq_one(run, program, weir_value_null(), &value, NULL), WEIR_OK);
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1000);
    weir_value_write(value, &buf, 0);
    assert_string_equal(buf.data, "[\"k\",\"t\",3,4,5,\"v\"]");
    weir_strbuf_done(&buf);
    weir_jq_run_free(run);
    weir_jq_free(program);
}

static void one_value_is_asked_for_and_given(void **state)
{
    (void)state;
    static const struct {
        const char *program, *message;
    } cases[] = {
        {"empty", "expression yields no value where one is needed"},
        {"1, 2", "expression yields several values where one is needed"},
        {"error(\"no\")", "no"},
        {"error({a: 1})", "(not a string) {\"a\":1}"},
        {"1 + \"a\"", "number (1) and string (\"a\") cannot be added"},
    };
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_jq *program =
            weir_jq_compile(weir_slice_of(cases[i].program), NULL, NULL, NULL);
        struct weir_value value;
        struct weir_err err = {0};
        assert_int_equal(weir_jq_one(run, program, weir_value_null(), &value, &err), WEIR_EVAL);
        assert_string_equal(err.message, cases[i].message);
        weir_jq_free(program);
    }
    weir_jq_run_free(run);
}

static void *run_many(void *context)
{
    const struct weir_jq *program = context;
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    size_t wrong = 0;
    for (int i = 0; i < 20000; i++) {
        struct weir_value input, value;
        if (weir_json_parse(&arena, WEIR_SLICE("{\"a\":[1,2,3],\"b\":\"x\"}"), NULL, &input,
                            NULL) != WEIR_OK ||
            weir_jq_one(run, program, input, &value, NULL) != WEIR_OK ||
            weir_value_double(weir_value_get(value, WEIR_SLICE("sum"))) != 9) {
            wrong++;
        }
        if (i % 100 == 0) {
            weir_jq_run_reset(run);
            weir_arena_reset(&arena);
        }
    }
    weir_jq_run_free(run);
    weir_arena_done(&arena);
    return (void *)wrong;
}

static void threads_share_a_program(void **state)
{
    (void)state;
    struct weir_jq *program = weir_jq_compile(
        WEIR_SLICE("{sum: ([.a[] , {c: 3}.c] | add), m: (.b | test(\"x\")), k: [1, [2]]}"), NULL,
        NULL, NULL);
    assert_non_null(program);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, program), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *wrong;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    weir_jq_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_programs_are_stopped),
        cmocka_unit_test(deep_recursion_goes_on_another_stack),
        cmocka_unit_test(loops_run_in_constant_memory),
        cmocka_unit_test(growing_in_place_is_linear),
        cmocka_unit_test(facts_are_right),
        cmocka_unit_test(compile_errors_point_at_their_place),
        cmocka_unit_test(record_is_visible),
        cmocka_unit_test(one_value_is_asked_for_and_given),
        cmocka_unit_test(threads_share_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: weir prints what jq 1.8.2 prints, byte for byte, and fails with its words. Method: 463
 * recorded programs with input, output and error (tests/oracle/jq/cases.jsonl), each compiled, run
 * and compared; a case whose last digits depend on the C library is compared as numbers.
 */
#include <weir/jq.h>
#include <weir/json.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/reader.h"

enum { CASES_MIN = 463 };

struct outcome {
    struct weir_strbuf lines; /* each result and a NUL */
    size_t count;
    const char *kind; /* of the failure, or NULL */
    char message[512];
};

static struct weir_slice field(struct weir_value object, const char *name)
{
    return weir_value_text(weir_value_get(object, weir_slice_of(name)));
}

static weir_status keep(void *context, struct weir_value value, struct weir_err *err)
{
    struct outcome *outcome = context;
    (void)err;
    weir_value_write(value, &outcome->lines, WEIR_WRITE_COMPACT);
    weir_strbuf_push(&outcome->lines, '\0');
    outcome->count++;
    return WEIR_OK;
}

static void fail_with(struct outcome *outcome, const char *kind, const char *message)
{
    outcome->kind = kind;
    snprintf(outcome->message, sizeof outcome->message, "%s", message);
}

static void run_program(struct outcome *outcome, struct weir_jq *program, struct weir_slice input)
{
    struct weir_heap heap;
    weir_heap_init(&heap, 0);
    struct weir_reader *reader = weir_reader_new(&heap, 0, 0);
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    weir_reader_feed(reader, input, true);
    struct weir_value value;
    enum weir_reader_result result;
    while ((result = weir_reader_next(reader, &value)) == WEIR_READER_VALUE) {
        struct weir_err err = {0};
        if (weir_jq_each(run, program, value, keep, outcome, &err) != WEIR_OK) {
            fail_with(outcome, "runtime", err.message);
        }
    }
    if (result == WEIR_READER_ERROR) {
        fail_with(outcome, "input", weir_reader_message(reader));
    }
    weir_jq_run_free(run);
    weir_reader_free(reader);
    weir_heap_done(&heap);
}

static bool same_numbers(const char *a, const char *b)
{
    double x = strtod(a, NULL), y = strtod(b, NULL);
    return x == y || fabs(x - y) <= 1e-12 * fabs(x);
}

/* True if the results are those of the case. */
static bool same_results(const struct outcome *outcome, struct weir_value expected, bool tolerant)
{
    if (outcome->count != weir_value_count(expected)) {
        return false;
    }
    const char *line = outcome->lines.data;
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, expected);
    for (struct weir_value want; weir_value_iter_next(&iter, NULL, &want);) {
        struct weir_slice text = weir_value_text(want);
        bool same = weir_slice_equal(weir_slice_of(line), text);
        if (!same && !(tolerant && same_numbers(line, text.data))) {
            return false;
        }
        line += strlen(line) + 1;
    }
    return true;
}

/* True if the failure is that of the case. Compile errors have words of their own. */
static bool same_failure(const struct outcome *outcome, struct weir_value expected)
{
    struct weir_slice kind = field(expected, "error_kind");
    if (outcome->kind == NULL || kind.data == NULL) {
        return outcome->kind == NULL && kind.data == NULL;
    }
    if (!weir_slice_equal(kind, weir_slice_of(outcome->kind))) {
        return false;
    }
    struct weir_slice message = field(expected, "error_message");
    return strcmp(outcome->kind, "compile") == 0 || strcmp(outcome->kind, "input") == 0 ||
           weir_slice_equal(message, weir_slice_of(outcome->message));
}

static bool check_case(struct weir_value expected)
{
    struct outcome outcome = {0};
    struct weir_err err = {0};
    struct weir_jq_options options = {.eval = true, .environment = true};
    weir_strbuf_init(&outcome.lines, SIZE_MAX / 2);
    struct weir_jq *program = weir_jq_compile(field(expected, "program"), &options, NULL, &err);
    if (program == NULL) {
        fail_with(&outcome, "compile", err.message);
    } else {
        run_program(&outcome, program, field(expected, "input_text"));
    }
    bool tolerant = weir_value_get(expected, WEIR_SLICE("libm")).kind == WEIR_KIND_TRUE;
    struct weir_value texts = weir_value_get(expected, WEIR_SLICE("output_text"));
    bool same = same_results(&outcome, texts, tolerant) && same_failure(&outcome, expected);
    if (!same) {
        struct weir_strbuf buf;
        weir_strbuf_init(&buf, SIZE_MAX / 2);
        weir_value_write(expected, &buf, WEIR_WRITE_COMPACT);
        fprintf(stderr, "expected: %s\n     got: %zu results, first %s; %s: %s\n", buf.data,
                outcome.count, outcome.count == 0 ? "none" : outcome.lines.data,
                outcome.kind == NULL ? "no failure" : outcome.kind, outcome.message);
        weir_strbuf_done(&buf);
    }
    weir_jq_free(program);
    weir_strbuf_done(&outcome.lines);
    return same;
}

static void every_case_prints_what_jq_prints(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    FILE *file = fopen("tests/oracle/jq/cases.jsonl", "rb");
    assert_non_null(file);
    char *line = NULL;
    size_t room = 0, cases = 0, different = 0;
    for (ssize_t size; (size = getline(&line, &room, file)) > 0;) {
        struct weir_arena arena;
        struct weir_err err = {0};
        struct weir_value expected;
        weir_arena_init(&arena, 0);
        assert_int_equal(
            weir_json_parse(&arena, (struct weir_slice){line, (size_t)size}, NULL, &expected, &err),
            WEIR_OK);
        cases++;
        different += !check_case(expected);
        weir_arena_done(&arena);
    }
    free(line);
    fclose(file);
    assert_int_equal(different, 0);
    assert_true(cases >= CASES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_prints_what_jq_prints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

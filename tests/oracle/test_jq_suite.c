/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: weir passes jq's own test-suite but for a short list with reasons
 * (tests/oracle/jq/exceptions.txt). Method: the *.test files of jq 1.8.2, fetched by
 * tests/support/jq_suite, are read as jq's runner reads them: a program, an input, the values it
 * must yield; or, behind %%FAIL, a program that must not compile.
 */
#include <weir/jq.h>

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/reader.h"

enum { LINE_MAX_SIZE = 1 << 20, EXCEPTIONS_MAX = 64, CASES_MIN = 500 };

struct suite {
    FILE *file;
    char line[LINE_MAX_SIZE]; /* without its end */
    const char *modules;      /* folder */
    unsigned cases, failures;
    char exceptions[EXCEPTIONS_MAX][200];
    bool used[EXCEPTIONS_MAX];
    unsigned exception_count;
};

static bool next_line(struct suite *suite)
{
    if (fgets(suite->line, LINE_MAX_SIZE, suite->file) == NULL) {
        return false;
    }
    suite->line[strcspn(suite->line, "\n")] = '\0';
    return true;
}

static bool is_blank(const char *line)
{
    line += strspn(line, " \t\r");
    return *line == '\0' || *line == '#';
}

static bool is_exception(struct suite *suite, const char *program)
{
    for (unsigned i = 0; i < suite->exception_count; i++) {
        if (strcmp(suite->exceptions[i], program) == 0) {
            suite->used[i] = true;
            return true;
        }
    }
    return false;
}

static struct weir_jq *compile(struct suite *suite, const char *program, struct weir_err *err)
{
    const char *paths[] = {suite->modules};
    struct weir_jq_options options = {
        .eval = true, .environment = true, .paths = paths, .path_count = 1};
    return weir_jq_compile(weir_slice_of(program), &options, NULL, err);
}

static void report(struct suite *suite, const char *program, const char *what, bool passed)
{
    suite->cases++;
    bool expected_to_fail = is_exception(suite, program);
    if (passed == expected_to_fail) {
        suite->failures++;
        fprintf(stderr, "%s: %s\n", program, passed ? "passes, though listed" : what);
    }
}

static weir_status keep(void *context, struct weir_value value, struct weir_err *err)
{
    struct weir_value *results = context;
    struct weir_heap *heap = (struct weir_heap *)(uintptr_t)results[1].as.container;
    (void)err;
    results[0] = weir_array_push(heap, results[0], weir_heap_copy(heap, value));
    return WEIR_OK;
}

/* What the program yields for the input, in an array of the heap. */
static struct weir_value run(struct weir_jq *program, const char *input, struct weir_heap *heap)
{
    struct weir_value results[2] = {weir_array_new(heap, 4), {.as.container = heap}};
    struct weir_jq_run *evaluation = weir_jq_run_new(NULL);
    struct weir_strbuf message;
    struct weir_err err = {0};
    weir_strbuf_init(&message, 10000);
    struct weir_value value = weir_reader_parse(heap, weir_slice_of(input), 0, &message);
    if (!weir_value_is_absent(value) &&
        weir_jq_each(evaluation, program, value, keep, results, &err) != WEIR_OK) {
        weir_strbuf_clear(&message); /* its results count, its failure does not */
    }
    weir_jq_run_free(evaluation);
    weir_strbuf_done(&message);
    return results[0];
}

static void check_results(struct suite *suite, const char *program, const char *input)
{
    struct weir_heap heap;
    struct weir_err err = {0};
    struct weir_strbuf message;
    weir_heap_init(&heap, 0);
    weir_strbuf_init(&message, 10000);
    struct weir_jq *compiled = compile(suite, program, &err);
    struct weir_value results = weir_array_new(&heap, 0);
    if (compiled != NULL) {
        results = run(compiled, input, &heap);
    }
    size_t index = 0;
    bool same = compiled != NULL;
    while (next_line(suite) && suite->line[0] != '\0') {
        if (suite->line[0] == '#') {
            continue;
        }
        struct weir_value expected =
            weir_reader_parse(&heap, weir_slice_of(suite->line), 0, &message);
        same = same && weir_value_equal(expected, weir_value_at(results, index));
        index++;
    }
    same = same && index == weir_value_count(results);
    report(suite, program, compiled == NULL ? err.message : "yields something else", same);
    weir_jq_free(compiled);
    weir_strbuf_done(&message);
    weir_heap_done(&heap);
}

static void run_file(struct suite *suite, const char *path)
{
    suite->file = fopen(path, "rb");
    assert_non_null(suite->file);
    while (next_line(suite)) {
        if (is_blank(suite->line)) {
            continue;
        }
        if (strncmp(suite->line, "%%FAIL", 6) == 0) {
            assert_true(next_line(suite));
            struct weir_jq *compiled = compile(suite, suite->line, NULL);
            report(suite, suite->line, "compiles, but must not", compiled == NULL);
            weir_jq_free(compiled);
            while (next_line(suite) && suite->line[0] != '\0') {
            }
            continue;
        }
        char *program = strdup(suite->line);
        assert_true(next_line(suite));
        char *input = strdup(suite->line);
        check_results(suite, program, input);
        free(program);
        free(input);
    }
    fclose(suite->file);
}

static void read_exceptions(struct suite *suite)
{
    suite->file = fopen("tests/oracle/jq/exceptions.txt", "rb");
    assert_non_null(suite->file);
    while (next_line(suite)) {
        if (!is_blank(suite->line)) {
            assert_true(suite->exception_count < EXCEPTIONS_MAX);
            snprintf(suite->exceptions[suite->exception_count++], sizeof suite->exceptions[0],
                     "%.190s", suite->line);
        }
    }
    fclose(suite->file);
}

static void the_suite_passes(void **state)
{
    static struct suite suite;
    char folder[4096], pattern[4200], modules[4200], *old_folder = getcwd(NULL, 0);
    (void)state;
    setenv("TZ", "UTC", 1);
    setenv("PAGER", "less", 1);
    FILE *fetch = popen("tests/support/jq_suite", "r");
    assert_non_null(fetch);
    assert_non_null(fgets(folder, sizeof folder, fetch));
    assert_int_equal(pclose(fetch), 0);
    folder[strcspn(folder, "\n")] = '\0';
    read_exceptions(&suite);
    snprintf(pattern, sizeof pattern, "%s/*.test", folder);
    snprintf(modules, sizeof modules, "%s/modules", folder);
    suite.modules = modules;
    glob_t files;
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        run_file(&suite, files.gl_pathv[i]);
    }
    assert_int_equal(chdir(old_folder), 0);
    free(old_folder);
    globfree(&files);
    if (strstr(folder, "jq-1.8.2") == NULL) {
        /* The older suite disagrees where 1.8 changed its mind; most of it must pass. */
        fprintf(stderr, "jq 1.7.1: %u of %u differ\n", suite.failures, suite.cases);
        assert_true(suite.failures * 20 < suite.cases);
        return;
    }
    for (unsigned i = 0; i < suite.exception_count; i++) {
        if (!suite.used[i]) {
            fprintf(stderr, "no such case: %s\n", suite.exceptions[i]);
            suite.failures++;
        }
    }
    assert_int_equal(suite.failures, 0);
    assert_true(suite.cases >= CASES_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_suite_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

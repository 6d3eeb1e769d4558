/* SPDX-License-Identifier: Apache-2.0
 *
 * weir's side of test_differential.py, which describes what goes in and out. Inputs are parsed as
 * records are; what that parser refuses, it hands to the lenient one.
 */
#include <weir/arena.h>
#include <weir/jq.h>
#include <weir/json.h>
#include <weir/strbuf.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESULTS_MAX = 100, SECONDS_MAX = 60 };

struct results {
    struct weir_strbuf line;
    int count;
};

static void print(struct results *results, struct weir_value value)
{
    weir_value_write(value, &results->line, WEIR_WRITE_COMPACT);
    weir_strbuf_push(&results->line, '\t');
}

static weir_status keep(void *context, struct weir_value value, struct weir_err *err)
{
    struct results *results = context;
    (void)err;
    print(results, value);
    return ++results->count < RESULTS_MAX ? WEIR_OK : WEIR_END;
}

static void run(struct weir_jq_run *run, const struct weir_jq *program, const char *input)
{
    struct weir_arena arena;
    struct weir_err err = {0};
    struct weir_value value;
    struct results results = {0};
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&results.line, SIZE_MAX / 2);
    if (weir_json_parse(&arena, weir_slice_of(input), NULL, &value, &err) != WEIR_OK) {
        weir_strbuf_text(&results.line, "input");
    } else {
        weir_status status = weir_jq_each(run, program, value, keep, &results, &err);
        if (results.count == RESULTS_MAX) {
            weir_strbuf_text(&results.line, "and so on");
        } else if (status != WEIR_OK) {
            struct weir_value error = weir_jq_error_value(run);
            weir_strbuf_text(&results.line, "error ");
            if (status == WEIR_EVAL && !weir_value_is_absent(error)) {
                print(&results, error);
            } else {
                weir_strbuf_text(&results.line, err.message);
            }
        }
    }
    weir_strbuf_push(&results.line, '\n');
    fwrite(results.line.data, 1, results.line.size, stdout);
    weir_strbuf_done(&results.line);
    weir_jq_run_reset(run);
    weir_arena_done(&arena);
}

int main(void)
{
    struct weir_jq_options options = {.eval = true, .environment = true};
    struct weir_jq_run *evaluation = weir_jq_run_new(NULL);
    struct weir_jq *program = NULL;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t size; (size = getline(&line, &room, stdin)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == 'P') {
            fflush(stdout);
            alarm(SECONDS_MAX);
            weir_jq_free(program);
            program = weir_jq_compile(weir_slice_of(line + 1), &options, NULL, NULL);
        } else if (program != NULL) {
            run(evaluation, program, line + 1);
        } else {
            puts("compile");
        }
    }
    free(line);
    weir_jq_free(program);
    weir_jq_run_free(evaluation);
    return 0;
}

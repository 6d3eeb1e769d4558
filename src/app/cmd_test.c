/* SPDX-License-Identifier: Apache-2.0
 *
 * weir test: cases of a pipeline, run by the real engine over sources and sinks in memory.
 *
 * A case is run a record at a time first, and what comes out is compared with what it expects. The
 * two options then run it again and compare with that first run: whatever batches and commits there
 * are, and wherever the process is killed, the outputs must be the same.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/args.h"
#include "app/test_answers.h"
#include "app/test_compare.h"
#include "app/test_report.h"
#include "app/test_run.h"
#include "app/test_update.h"
#include "base/alloc.h"
#include "base/failpoint.h"
#include "conf/scalar.h"

enum { SHUFFLES = 20, OUTPUT_BYTES_MAX = 64 << 20 };

struct testing {
    const struct weir_args *args;
    struct weir_test_report report;
    struct weir_test_world world;
    const char *filter; /* NULL: all cases */
    uint64_t seed;
    bool shuffles, crashes, updates, as_json;
    bool broken;     /* a file that cannot be run, or a report that cannot be written */
    size_t selected; /* cases of all files that the filter lets through */
};

static bool print(struct weir_strbuf *text, FILE *out)
{
    struct weir_slice bytes = weir_strbuf_view(text);
    return !text->failed && fwrite(bytes.data, 1, bytes.size, out) == bytes.size;
}

/* --- the other runs of a case ------------------------------------------------------------------*/

static bool run_again(struct testing *testing,
                      struct weir_test_file *file,
                      const struct weir_test_case *one,
                      const struct weir_test_mode *mode,
                      const struct weir_test_result *first,
                      const char **ret_crashed_in,
                      struct weir_strbuf *difference)
{
    struct weir_arena arena;
    struct weir_test_result result;
    weir_arena_init(&arena, 0);
    weir_test_run(file, &testing->world, one, mode, &arena, &result);
    *ret_crashed_in = result.crashed_in;
    bool same = weir_test_same(file, first, &result, difference);
    weir_arena_done(&arena);
    return same;
}

static bool shuffle(struct testing *testing,
                    struct weir_test_file *file,
                    const struct weir_test_case *one,
                    const struct weir_test_result *first,
                    struct weir_strbuf *out)
{
    struct weir_strbuf difference;
    weir_strbuf_init(&difference, OUTPUT_BYTES_MAX);
    bool same = true;
    for (uint64_t i = 0; i < SHUFFLES && same; i++) {
        const struct weir_test_mode mode = {.shuffles = true, .seed = testing->seed + i};
        const char *ignored;
        same = run_again(testing, file, one, &mode, first, &ignored, &difference);
        if (!same) {
            weir_strbuf_printf(out,
                               "  other batches and commits change the outputs (--seed %llu)\n",
                               (unsigned long long)mode.seed);
            weir_strbuf_slice(out, weir_strbuf_view(&difference));
        }
    }
    weir_strbuf_done(&difference);
    return same;
}

/* Until a run completes because there are no more calls to crash at. */
static bool crash(struct testing *testing,
                  struct weir_test_file *file,
                  const struct weir_test_case *one,
                  const struct weir_test_result *first,
                  struct weir_strbuf *out)
{
    struct weir_strbuf difference;
    weir_strbuf_init(&difference, OUTPUT_BYTES_MAX);
    bool same = true;
    for (int when = 0; when < WEIR_TEST_CRASH_COUNT; when++) {
        const char *crashed_in = "";
        for (uint64_t nth = 1; same && crashed_in != NULL; nth++) {
            const struct weir_test_mode mode = {.crash_at = nth,
                                                .crash = (enum weir_test_crash)when};
            same = run_again(testing, file, one, &mode, first, &crashed_in, &difference);
            if (!same) {
                weir_strbuf_printf(out, "  a crash %s call %llu (%s) changes the outputs\n",
                                   when == WEIR_TEST_CRASH_BEFORE ? "before" : "after",
                                   (unsigned long long)nth, crashed_in == NULL ? "" : crashed_in);
                weir_strbuf_slice(out, weir_strbuf_view(&difference));
            }
        }
    }
    weir_strbuf_done(&difference);
    return same;
}

/* --- a file ------------------------------------------------------------------------------------*/

static void judge(struct testing *testing,
                  struct weir_test_file *file,
                  size_t index,
                  bool passed,
                  struct weir_strbuf *text)
{
    const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file->cases, index);
    if (text->failed) { /* too long to be told */
        weir_strbuf_clear(text);
        weir_strbuf_text(text, "  the outputs differ\n");
    }
    const struct weir_test_verdict *verdict =
        weir_test_report_add(&testing->report, file->path, weir_test_file_line(file, index),
                             one->name, passed, weir_strbuf_view(text).data);
    if (!testing->as_json) {
        weir_strbuf_clear(text);
        weir_test_report_put_text(verdict, text);
        testing->broken |= !print(text, stdout);
    }
}

/* True when nothing else is wrong than what is written anew. edit->end is 0 without an edit. */
static bool update_case(struct weir_test_file *file,
                        size_t index,
                        const struct weir_test_result *result,
                        struct weir_test_edit *edit,
                        struct weir_strbuf *text)
{
    const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file->cases, index);
    bool is_about_sinks = false;
    for (unsigned i = 0; i < file->plan.sink_count; i++) {
        is_about_sinks = is_about_sinks || !weir_test_sink_matches(file, one, result, i);
    }
    if (!is_about_sinks) {
        return false;
    }
    if (!weir_test_update_case(file, index, result, edit)) {
        weir_strbuf_done(&edit->text);
        *edit = (struct weir_test_edit){0};
        weir_strbuf_text(text,
                         "  not updated: write the case in lines of its own, without braces or "
                         "an alias around `expect`\n");
        return false;
    }
    weir_strbuf_clear(text);
    return weir_test_compare_rest(file, one, result, text);
}

static void run_case(struct testing *testing,
                     struct weir_test_file *file,
                     size_t index,
                     struct weir_test_edit *edits,
                     size_t *edit_count)
{
    const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file->cases, index);
    const struct weir_test_mode plain = {0};
    struct weir_arena arena;
    struct weir_test_result result;
    struct weir_strbuf text;
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&text, OUTPUT_BYTES_MAX);
    weir_test_run(file, &testing->world, one, &plain, &arena, &result);
    bool passed = weir_test_compare(file, one, &result, &text);
    if (!passed && testing->updates && result.problem == NULL) {
        passed = update_case(file, index, &result, &edits[*edit_count], &text);
        *edit_count += edits[*edit_count].end > 0;
    }
    if (result.problem == NULL) {
        passed &= !testing->shuffles || shuffle(testing, file, one, &result, &text);
        passed &= !testing->crashes || crash(testing, file, one, &result, &text);
    }
    judge(testing, file, index, passed, &text);
    weir_strbuf_done(&text);
    weir_arena_done(&arena);
}

static void update(struct testing *testing,
                   const struct weir_test_file *file,
                   const struct weir_test_edit *edits,
                   size_t count)
{
    struct weir_err err = {0};
    if (count > 0 && weir_test_update_write(file, edits, count, &err) != WEIR_OK) {
        fprintf(stderr, "weir test: %s\n", err.message);
        testing->broken = true;
    } else if (count > 0) {
        fprintf(stderr, "%s: %zu case%s updated\n", file->path, count, count == 1 ? "" : "s");
    }
}

static void run_file(struct testing *testing, const char *path)
{
    struct weir_test_file file;
    bool is_sound = weir_test_file_load(&file, path);
    is_sound = is_sound && weir_test_run_check(&file) && weir_test_answers_check(&file) &&
               weir_test_compare_check(&file);
    weir_test_file_report(&file);
    testing->broken |= !is_sound;
    if (is_sound) {
        struct weir_test_edit *edits = weir_calloc(file.cases.count, sizeof(*edits));
        size_t edit_count = 0;
        weir_test_world_replace(&testing->world, &file);
        for (size_t i = 0; i < file.cases.count; i++) {
            const struct weir_test_case *one = WEIR_ITEMS_AT(struct weir_test_case, &file.cases, i);
            if (testing->filter == NULL || strstr(one->name, testing->filter) != NULL) {
                testing->selected++;
                run_case(testing, &file, i, edits, &edit_count);
            }
        }
        update(testing, &file, edits, edit_count);
        for (size_t i = 0; i < edit_count; i++) {
            weir_strbuf_done(&edits[i].text);
        }
        weir_free(edits);
    }
    weir_test_file_done(&file);
}

/* --- the command -------------------------------------------------------------------------------*/

static void write_junit(struct testing *testing, const char *path)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, OUTPUT_BYTES_MAX);
    weir_test_report_put_junit(&testing->report, &text);
    FILE *out = fopen(path, "we");
    bool ok = out != NULL && print(&text, out);
    ok = out != NULL && fclose(out) == 0 && ok;
    if (!ok) {
        fprintf(stderr, "weir test: %s: %s\n", path, strerror(errno));
        testing->broken = true;
    }
    weir_strbuf_done(&text);
}

static void conclude(struct testing *testing)
{
    const struct weir_test_report *report = &testing->report;
    struct weir_strbuf text;
    weir_strbuf_init(&text, OUTPUT_BYTES_MAX);
    if (testing->as_json) {
        weir_test_report_put_json(report, &text);
    } else if (report->count > 0) {
        weir_strbuf_printf(&text, "%zu passed, %zu failed\n", report->count - report->failed,
                           report->failed);
    }
    testing->broken |= !print(&text, stdout) || fflush(stdout) != 0;
    weir_strbuf_done(&text);
    if (weir_args_get(testing->args, "junit") != NULL) {
        write_junit(testing, weir_args_get(testing->args, "junit"));
    }
    if (testing->filter != NULL && testing->selected == 0 && !testing->broken) {
        fprintf(stderr, "weir test: no case has \"%s\" in its name\n", testing->filter);
        testing->broken = true;
    }
}

int weir_cmd_test(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *unknown = weir_failpoint_init();
    if (unknown != NULL) {
        return weir_args_wrong(&args, "unknown failpoint or fault \"%s\"", unknown);
    }
    const char *format = weir_args_get(&args, "format"), *seed = weir_args_get(&args, "seed");
    int64_t number = 1;
    if (seed != NULL && (!weir_parse_int(weir_slice_of(seed), &number) || number < 0)) {
        return weir_args_wrong(&args, "--seed is a number, not \"%s\"", seed);
    }
    struct testing testing = {
        .args = &args,
        .filter = weir_args_get(&args, "case"),
        .seed = (uint64_t)number,
        .shuffles = weir_args_has(&args, "shuffle-batches"),
        .crashes = weir_args_has(&args, "crash"),
        .updates = weir_args_has(&args, "update"),
        .as_json = format != NULL && strcmp(format, "json") == 0,
    };
    weir_test_world_reset(&testing.world, 0);
    for (size_t i = 0; i < args.count; i++) {
        run_file(&testing, args.operands[i]);
    }
    conclude(&testing);
    code = testing.broken || testing.report.failed > 0 ? WEIR_EXIT_FAILED : WEIR_EXIT_OK;
    weir_test_world_done(&testing.world);
    weir_test_report_done(&testing.report);
    return code;
}

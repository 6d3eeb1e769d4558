/* SPDX-License-Identifier: Apache-2.0
 *
 * weir check: every error of every file at once. Text goes to standard error, for people; JSON to
 * standard output, for editors and pipelines of other kinds.
 */
#include <stdio.h>
#include <string.h>

#include "app/args.h"
#include "app/loading.h"
#include "app/state_store.h"

static bool print_json(const struct weir_diags *diags)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, (size_t)64 << 20);
    weir_diags_render_json(diags, &out);
    struct weir_slice text = weir_strbuf_view(&out);
    bool ok =
        !out.failed && fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    weir_strbuf_done(&out);
    return ok;
}

/* Leaves the errors in loading->diags. */
static void check_file(struct weir_loading *loading, const char *path, bool say_ok)
{
    struct weir_plan plan;
    size_t errors = loading->diags.errors;
    (void)weir_loading_pipeline(loading, path, &plan);
    if (say_ok && loading->diags.errors == errors) {
        printf("%s: ok\n", path);
    }
    weir_loaded_free(loading->loaded);
    loading->loaded = NULL;
}

/* What a start would do with the state that is kept. */
static int check_state(const char *path)
{
    struct weir_store store;
    struct weir_err err = {0};
    int code = WEIR_EXIT_OK;
    if (weir_store_open(&store, "check", path, &code)) {
        if (weir_store_read(&store, &err) != WEIR_OK) {
            code = weir_standing_fail("check", path, &err);
        } else {
            struct weir_strbuf plan;
            weir_strbuf_init(&plan, 64 << 20);
            bool fits = weir_store_plan(&store, &plan);
            printf("%s:\n%.*s", path, (int)plan.size, plan.size == 0 ? "" : plan.data);
            weir_strbuf_done(&plan);
            if (!fits) {
                puts("Steps are found again by their `name:`. Give a step its old name, or begin "
                     "anew "
                     "under another `name` of the pipeline.");
            }
            code = fits ? WEIR_EXIT_OK : WEIR_EXIT_CONFIG;
        }
    }
    weir_store_close(&store);
    return code;
}

int weir_cmd_check(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *format = weir_args_get(&args, "format");
    bool as_json = format != NULL && strcmp(format, "json") == 0;
    if (weir_args_has(&args, "state")) {
        if (as_json) {
            return weir_args_wrong(&args, "--state prints text");
        }
        for (size_t i = 0; i < args.count; i++) {
            int one = check_state(args.operands[i]);
            code = one > code ? one : code;
        }
        return code;
    }
    struct weir_loading loading;
    weir_loading_init(&loading);
    loading.connects = weir_args_has(&args, "connect");
    for (size_t i = 0; i < args.count; i++) {
        check_file(&loading, args.operands[i], !as_json);
    }
    bool told = true;
    if (as_json) {
        weir_diags_sort(&loading.diags);
        told = print_json(&loading.diags);
    } else {
        told = fflush(stdout) == 0;
        weir_loading_report(&loading);
    }
    code = loading.diags.errors > 0 ? WEIR_EXIT_CONFIG : told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
    weir_loading_done(&loading);
    return code;
}

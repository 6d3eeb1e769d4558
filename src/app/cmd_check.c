/* SPDX-License-Identifier: Apache-2.0
 *
 * weir check: every error of every file at once. Text goes to standard error, for people; JSON to
 * standard output, for editors and pipelines of other kinds.
 */
#include <stdio.h>
#include <string.h>

#include "app/args.h"
#include "app/loading.h"

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

int weir_cmd_check(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *format = weir_args_get(&args, "format");
    bool as_json = format != NULL && strcmp(format, "json") == 0;
    struct weir_loading loading;
    weir_loading_init(&loading);
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

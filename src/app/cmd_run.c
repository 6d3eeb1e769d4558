/* SPDX-License-Identifier: Apache-2.0
 *
 * weir run: loads the pipelines of files, or the one of the environment, and runs them (running.c)
 * until their sources end or a signal asks them to.
 */
#include <string.h>

#include "app/args.h"
#include "app/reload.h"
#include "app/running.h"

/* Something that can be read again; not standard input. */
static bool is_file(const char *path)
{
    return path != NULL && strcmp(path, "-") != 0;
}

int weir_cmd_run(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    if (!weir_running_prepare("run")) {
        return WEIR_EXIT_USAGE;
    }
    bool watches = weir_args_has(&args, "watch");
    if (args.count > WEIR_PIPELINES_MAX) {
        return weir_args_wrong(&args, "at most %d files", WEIR_PIPELINES_MAX);
    }
    struct weir_running what[WEIR_PIPELINES_MAX];
    struct weir_loading loadings[WEIR_PIPELINES_MAX];
    size_t count = args.count > 0 ? args.count : 1;
    bool any_file = false;
    for (size_t i = 0; i < count; i++) {
        const char *path = args.count > 0 ? args.operands[i] : NULL;
        if (watches && !is_file(path)) {
            return weir_args_wrong(&args, "--watch needs a file");
        }
        any_file = any_file || is_file(path);
    }
    if (any_file) {
        weir_reload_catch();
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_plan plan;
        const char *path = args.count > 0 ? args.operands[i] : NULL;
        weir_loading_init(&loadings[i]);
        what[i] =
            (struct weir_running){.loading = &loadings[i], .path = is_file(path) ? path : NULL};
        what[i].is_sound = weir_loading_pipeline(&loadings[i], path, &plan);
    }
    code = weir_running_run(what, count, watches);
    for (size_t i = 0; i < count; i++) {
        weir_loading_done(&loadings[i]);
    }
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir run: loads the pipeline of a file, or of the environment, and runs it (running.c) until its
 * sources end or a signal asks it to.
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
    struct weir_loading loading;
    struct weir_plan plan;
    const char *path = args.count > 0 ? args.operands[0] : NULL;
    bool watches = weir_args_has(&args, "watch");
    if (watches && !is_file(path)) {
        return weir_args_wrong(&args, "--watch needs a file");
    }
    if (is_file(path)) {
        weir_reload_catch();
    }
    weir_loading_init(&loading);
    bool is_sound = weir_loading_pipeline(&loading, path, &plan);
    code = is_file(path) ? weir_running_file(&loading, is_sound, path, watches)
                         : weir_running_loaded(&loading, is_sound);
    weir_loading_done(&loading);
    return code;
}

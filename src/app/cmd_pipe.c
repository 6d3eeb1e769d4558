/* SPDX-License-Identifier: Apache-2.0
 *
 * weir pipe: a one-liner. It is written out as the file that it amounts to, and that file is run
 * like any other, so there is nothing a one-liner can do differently; `--explain` prints the file.
 *
 * Positions of files are not kept: who types the same line twice wants the same output twice.
 */
#include <stdio.h>

#include "app/args.h"
#include "app/builtin.h"
#include "app/running.h"
#include "conf/made.h"

static bool keeps_positions_in_log(const struct weir_described *described)
{
    const struct weir_component *component = NULL;
    for (size_t i = 0; (component = weir_builtin_at(i)) != NULL; i++) {
        if (&component->described == described) {
            return component->positions == WEIR_POSITIONS_LOG;
        }
    }
    return false;
}

static struct weir_text *make_text(const struct weir_args *args, struct weir_diags *diags)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    const char *name = weir_args_get(args, "name");
    struct weir_made made;
    weir_made_init(&made, "pipe", diags);
    weir_made_line(&made, NULL, "name: ", name == NULL ? "pipe" : name);
    const struct weir_described *source =
        weir_made_place(&made, registry, WEIR_ROLE_SOURCE, "SOURCE", args->operands[0]);
    if (args->count == 3) {
        weir_made_line(&made, NULL, "steps:", NULL);
        weir_made_line(&made, "JQ", "  - map: ", args->operands[1]);
    }
    (void)weir_made_place(&made, registry, WEIR_ROLE_SINK, "SINK", args->operands[args->count - 1]);
    if (source != NULL && keeps_positions_in_log(source)) {
        weir_made_line(&made, NULL, "state: {log: none}", NULL);
    }
    weir_made_line(&made, NULL, "http: off", NULL);
    weir_made_line(&made, NULL, "log: {level: warn, format: text}", NULL);
    return weir_made_finish(&made);
}

static int explain(struct weir_loading *loading, const struct weir_text *text, bool is_sound)
{
    weir_loading_report(loading);
    if (!is_sound) {
        return WEIR_EXIT_CONFIG;
    }
    printf("%.*s", WEIR_SLICE_ARG(text->bytes));
    return fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

int weir_cmd_pipe(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    if (!weir_running_prepare("pipe")) {
        return WEIR_EXIT_USAGE;
    }
    struct weir_loading loading;
    struct weir_plan plan;
    weir_loading_init(&loading);
    struct weir_text *text = make_text(&args, &loading.diags);
    bool is_sound = text != NULL && weir_loading_text(&loading, text, &plan);
    code = weir_args_has(&args, "explain") ? explain(&loading, text, is_sound)
                                           : weir_running_run(&(struct weir_running){&loading, is_sound, NULL}, 1, false);
    weir_loading_done(&loading);
    return code;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir list: the sources, steps and sinks of this build, one line each.
 */
#include <stdio.h>
#include <string.h>

#include "app/args.h"
#include "app/builtin.h"
#include "conf/table.h"

static void list_role(enum weir_role role, bool is_only)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    const struct weir_described *described = NULL;
    if (!is_only) {
        printf("%s%s\n", role == WEIR_ROLE_SOURCE ? "" : "\n", weir_role_plural(role));
    }
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        printf("%s%-10s %s\n", is_only ? "" : "  ", described->name, described->summary);
    }
}

int weir_cmd_list(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    const char *only = args.count > 0 ? args.operands[0] : NULL;
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        if (only == NULL || strcmp(only, weir_role_plural(role)) == 0) {
            list_role(role, only != NULL);
        }
    }
    return fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The arguments of a command, read by its row of the table (commands.h).
 */
#ifndef WEIR_APP_ARGS_H
#define WEIR_APP_ARGS_H

#include "app/commands.h"

struct weir_args {
    const struct weir_command *command;
    const char *values[WEIR_OPTIONS_MAX]; /* per option; "" for a flag, NULL: not given */
    const char **operands;                /* into argv */
    size_t count;
};

/* argv[0] is the command's name. False: nothing is left to do but to return *ret_code, for help was
 * shown or wrong use was told. Moves operands to the front of argv. */
bool weir_args_parse(struct weir_args *args, int argc, char **argv, int *ret_code);
/* The value of an option by its name; NULL: not given. */
const char *weir_args_get(const struct weir_args *args, const char *name);
static inline bool weir_args_has(const struct weir_args *args, const char *name)
{
    return weir_args_get(args, name) != NULL;
}
/* Says what is wrong with the use of the command and where to look; returns WEIR_EXIT_USAGE. */
int weir_args_wrong(const struct weir_args *args, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

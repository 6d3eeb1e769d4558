/* SPDX-License-Identifier: Apache-2.0
 *
 * What the table of commands looks like on a terminal.
 */
#ifndef WEIR_APP_HELP_H
#define WEIR_APP_HELP_H

#include <weir/strbuf.h>

#include "app/commands.h"

/* --help of a command. */
void weir_help_render(const struct weir_command *command, struct weir_strbuf *out);
/* Prints it; returns the exit code. */
int weir_help_show(const struct weir_command *command);
/* "-h, --help", "--format text|json". */
void weir_help_option(const struct weir_option *option, struct weir_strbuf *out);
/* --help and --version of every command, ends like any list of options. */
extern const struct weir_option weir_help_options[];
/* docs/reference/commands.md. */
void weir_help_docs(struct weir_strbuf *out);
/* Prints a text; false when it could not be written. */
bool weir_help_print(const struct weir_strbuf *text);

#endif

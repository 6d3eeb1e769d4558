/* SPDX-License-Identifier: Apache-2.0
 *
 * weir: the program. Finds the command in the table (commands.c); everything else is in it.
 */
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/help.h"
#include "conf/near.h"

static int unknown_command(const char *name)
{
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(name));
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        weir_near_offer(&near, command->name);
    }
    bool is_option = name[0] == '-';
    fprintf(stderr, "weir: there is no %s \"%s\"", is_option ? "option" : "command", name);
    if (near.best != NULL && !is_option) {
        fprintf(stderr, "; did you mean \"%s\"?", near.best);
    }
    fputs("\nTry `weir help`.\n", stderr);
    return WEIR_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static char help[] = "help", version[] = "version";
    if (argc < 2) {
        char *arguments[] = {help, NULL};
        (void)weir_cmd_help(1, arguments);
        return WEIR_EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        argv[1] = help;
    } else if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        argv[1] = version;
    }
    const struct weir_command *command = weir_command_find(argv[1]);
    if (command == NULL) {
        return unknown_command(argv[1]);
    }
    if (argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0)) {
        return weir_help_show(command);
    }
    return command->run(argc - 1, argv + 1);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The commands, as data: one table with everything that can be said about a command. Who reads it:
 * main (which function runs), args.c (options, wrong use, nearest names), help.c (--help), man.c
 * (manual pages), completion.c (shells), and the reference. Nothing restates it.
 *
 * A command gets its own name as argv[0] and returns the exit code.
 */
#ifndef WEIR_APP_COMMANDS_H
#define WEIR_APP_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

enum { WEIR_EXIT_OK = 0, WEIR_EXIT_FAILED = 1, WEIR_EXIT_USAGE = 2, WEIR_EXIT_CONFIG = 78 };
enum { WEIR_OPTIONS_MAX = 40, WEIR_OPERANDS_MAX = 4 };

struct weir_option {
    const char *name;         /* without --; NULL: only a letter */
    char letter;              /* without -; 0: only a name */
    const char *argument;     /* as help shows it: "NAME"; NULL: a flag */
    const char *const *words; /* the only values of the argument; NULL: any text */
    const char *help;         /* without full stop */
};

/* What completion can offer for an operand. */
enum weir_operand_kind {
    WEIR_OPERAND_TEXT, /* nothing */
    WEIR_OPERAND_FILE,
    WEIR_OPERAND_WORD,      /* one of words */
    WEIR_OPERAND_COMPONENT, /* a source, step or sink */
    WEIR_OPERAND_COMMAND,
};

struct weir_operand {
    const char *name; /* NULL ends the list */
    enum weir_operand_kind kind;
    const char *const *words; /* WORD; args.c checks it */
    bool is_optional, is_repeated;
};

struct weir_example {
    const char *command; /* NULL ends the list */
    const char *about;   /* what it does, without full stop; may be NULL */
};

struct weir_exit {
    const char *code; /* NULL ends the list */
    const char *when;
};

struct weir_variable {
    const char *name; /* NULL ends the list */
    const char *help;
};

struct weir_command {
    const char *name;
    const char *summary;      /* half a sentence, lower case */
    const char *const *usage; /* lines without "weir", NULL-terminated */
    const char *description;  /* paragraphs; lines that begin with two spaces stay as they are */
    const struct weir_option
        *options; /* ends with neither name nor letter; --help is every command's */
    struct weir_operand operands[WEIR_OPERANDS_MAX + 1];
    const struct weir_example *examples;
    const struct weir_exit *exits;
    const struct weir_variable *variables; /* of the environment; may be NULL */
    int (*run)(int argc, char **argv);
};

/* The index-th, NULL behind the last. */
const struct weir_command *weir_command_at(size_t index);
/* NULL: there is none. */
const struct weir_command *weir_command_find(const char *name);

int weir_cmd_run(int argc, char **argv);
int weir_cmd_check(int argc, char **argv);
int weir_cmd_explain(int argc, char **argv);
int weir_cmd_eval(int argc, char **argv);
int weir_cmd_test(int argc, char **argv);
int weir_cmd_pipe(int argc, char **argv);
int weir_cmd_lag(int argc, char **argv);
int weir_cmd_positions(int argc, char **argv);
int weir_cmd_state(int argc, char **argv);
int weir_cmd_list(int argc, char **argv);
int weir_cmd_schema(int argc, char **argv);
int weir_cmd_docs(int argc, char **argv);
int weir_cmd_man(int argc, char **argv);
int weir_cmd_completion(int argc, char **argv);
int weir_cmd_version(int argc, char **argv);
int weir_cmd_help(int argc, char **argv);

#endif

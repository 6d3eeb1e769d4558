/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading arguments by the table. Options and operands may be mixed; `--` ends the options; `-` is
 * an operand. Names are never abbreviated: a script that says --form would break when --format gets
 * a sister; the nearest name is suggested instead. `eval` takes jq's options, which no table of
 * ours describes well enough, and reads them itself.
 */
#include "app/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "app/help.h"
#include "base/assert.h"
#include "conf/near.h"

static size_t option_count(const struct weir_command *command)
{
    size_t count = 0;
    const struct weir_option *options = command->options;
    while (options != NULL && (options[count].name != NULL || options[count].letter != 0)) {
        count++;
    }
    WEIR_ASSERT(count <= WEIR_OPTIONS_MAX);
    return count;
}

int weir_args_wrong(const struct weir_args *args, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fprintf(stderr, "weir %s: ", args->command->name);
    vfprintf(stderr, format, list);
    fprintf(stderr, "\nTry `weir %s --help`.\n", args->command->name);
    va_end(list);
    return WEIR_EXIT_USAGE;
}

const char *weir_args_get(const struct weir_args *args, const char *name)
{
    size_t count = option_count(args->command);
    for (size_t i = 0; i < count; i++) {
        const char *own = args->command->options[i].name;
        if (own != NULL && strcmp(own, name) == 0) {
            return args->values[i];
        }
    }
    WEIR_ASSERT(false);
    return NULL;
}

/* --- words -------------------------------------------------------------------------------------*/

static bool is_word(const char *const *words, const char *text)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static int wrong_word(const struct weir_args *args,
                      const char *what,
                      const char *const *words,
                      const char *text)
{
    struct weir_near near;
    weir_near_init(&near, weir_slice_of(text));
    fprintf(stderr, "weir %s: %s is ", args->command->name, what);
    for (size_t i = 0; words[i] != NULL; i++) {
        fprintf(stderr, "%s%s", i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ", words[i]);
        weir_near_offer(&near, words[i]);
    }
    fprintf(stderr, ", not \"%s\"", text);
    if (near.best != NULL) {
        fprintf(stderr, "; did you mean \"%s\"?", near.best);
    }
    fprintf(stderr, "\nTry `weir %s --help`.\n", args->command->name);
    return WEIR_EXIT_USAGE;
}

/* --- options -----------------------------------------------------------------------------------*/

static int unknown_option(const struct weir_args *args, struct weir_slice name)
{
    struct weir_near near;
    weir_near_init(&near, name);
    weir_near_offer(&near, "help");
    size_t count = option_count(args->command);
    for (size_t i = 0; i < count; i++) {
        if (args->command->options[i].name != NULL) {
            weir_near_offer(&near, args->command->options[i].name);
        }
    }
    if (near.best == NULL) {
        return weir_args_wrong(args, "there is no option --%.*s", WEIR_SLICE_ARG(name));
    }
    return weir_args_wrong(args, "there is no option --%.*s; did you mean --%s?",
                           WEIR_SLICE_ARG(name), near.best);
}

/* The option that an argument names, its value behind = if there is one; -1: unknown. */
static int find_option(const struct weir_command *command, const char *text, const char **ret_value)
{
    bool is_long = text[1] == '-';
    const char *name = text + (is_long ? 2 : 1);
    size_t size = is_long ? strcspn(name, "=") : 1;
    *ret_value = name[size] == '\0' ? NULL : name + size + (is_long ? 1 : 0);
    size_t count = option_count(command);
    for (size_t i = 0; i < count; i++) {
        const struct weir_option *option = &command->options[i];
        if (is_long ? option->name != NULL && strlen(option->name) == size &&
                          memcmp(option->name, name, size) == 0
                    : option->letter != 0 && option->letter == name[0]) {
            return (int)i;
        }
    }
    return -1;
}

/* Takes argv[*at], and its value if that is the next one. False: *ret_code. */
static bool take_option(struct weir_args *args, int argc, char **argv, int *at, int *ret_code)
{
    const char *text = argv[*at];
    if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
        *ret_code = weir_help_show(args->command);
        return false;
    }
    const char *value = NULL;
    int index = find_option(args->command, text, &value);
    if (index < 0) {
        struct weir_slice name = {text + 2, strcspn(text + 2, "=")};
        *ret_code = text[1] == '-' ? unknown_option(args, name)
                                   : weir_args_wrong(args, "there is no option %s", text);
        return false;
    }
    const struct weir_option *option = &args->command->options[index];
    int size = (int)(text[1] == '-' ? 2 + strcspn(text + 2, "=") : 2);
    if (option->argument == NULL && value != NULL) {
        *ret_code = weir_args_wrong(args, "%.*s takes no value", size, text);
        return false;
    }
    if (option->argument != NULL && value == NULL) {
        if (*at + 1 == argc) {
            *ret_code =
                weir_args_wrong(args, "%.*s needs a value: %s", size, text, option->argument);
            return false;
        }
        value = argv[++*at];
    }
    if (option->words != NULL && !is_word(option->words, value)) {
        char what[64];
        (void)snprintf(what, sizeof(what), "%.*s", size, text);
        *ret_code = wrong_word(args, what, option->words, value);
        return false;
    }
    args->values[index] = value == NULL ? "" : value;
    return true;
}

/* --- operands ----------------------------------------------------------------------------------*/

static bool check_operands(const struct weir_args *args, int *ret_code)
{
    const struct weir_operand *operand = args->command->operands;
    for (size_t i = 0; i < args->count; i++) {
        if (operand->name == NULL) {
            *ret_code = i == 0 ? weir_args_wrong(args, "takes no arguments")
                               : weir_args_wrong(args, "\"%s\" is one argument too many",
                                                 args->operands[i]);
            return false;
        }
        if (operand->words != NULL && !is_word(operand->words, args->operands[i])) {
            *ret_code = wrong_word(args, operand->name, operand->words, args->operands[i]);
            return false;
        }
        operand += operand->is_repeated && i + 1 < args->count ? 0 : 1;
    }
    if (operand->name != NULL && !operand->is_optional) {
        *ret_code = weir_args_wrong(args, "%s is missing", operand->name);
        return false;
    }
    return true;
}

bool weir_args_parse(struct weir_args *args, int argc, char **argv, int *ret_code)
{
    *args = (struct weir_args){.command = weir_command_find(argv[0]),
                               .operands = (const char **)(void *)(argv + 1)};
    WEIR_ASSERT(args->command != NULL);
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
            args->operands[args->count++] = argv[i];
        } else if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
        } else if (!take_option(args, argc, argv, &i, ret_code)) {
            return false;
        }
    }
    return check_operands(args, ret_code);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir completion: what a shell needs to complete weir's commands, made from the table of commands
 * and the registry. The scripts hold everything as data: completing starts no process, so it is
 * quick and works while weir itself is being rebuilt.
 */
#include <stdio.h>
#include <string.h>

#include "app/args.h"
#include "app/builtin.h"
#include "app/help.h"
#include "conf/table.h"

enum { SCRIPT_MAX = 1 << 20 };

static const struct weir_option *option_at(const struct weir_command *command, size_t index)
{
    size_t count = 0;
    const struct weir_option *options = command->options;
    while (options != NULL && (options[count].name != NULL || options[count].letter != 0)) {
        if (count++ == index) {
            return &options[index];
        }
    }
    return index == count ? &weir_help_options[0] : NULL;
}

/* --- words -------------------------------------------------------------------------------------*/

static void put_words(const char *const *words, struct weir_strbuf *out)
{
    for (size_t i = 0; words[i] != NULL; i++) {
        weir_strbuf_printf(out, "%s%s", i == 0 ? "" : " ", words[i]);
    }
}

static bool is_first_of_its_name(enum weir_role role, const char *name)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    for (enum weir_role r = WEIR_ROLE_SOURCE; r < role; r++) {
        if (weir_registry_find(registry, r, name) != NULL) {
            return false;
        }
    }
    return true;
}

static void put_components(struct weir_strbuf *out)
{
    const struct weir_registry *registry = &weir_builtin_registry;
    weir_strbuf_text(out, "pipeline jq");
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
            if (is_first_of_its_name(role, described->name)) {
                weir_strbuf_printf(out, " %s", described->name);
            }
        }
    }
}

static void put_commands(struct weir_strbuf *out)
{
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        weir_strbuf_printf(out, "%s%s", i == 0 ? "" : " ", command->name);
    }
}

/* The words an operand can be, if they are known. */
static void put_operand(const struct weir_operand *operand, struct weir_strbuf *out)
{
    switch (operand->kind) {
    case WEIR_OPERAND_WORD:
        put_words(operand->words, out);
        break;
    case WEIR_OPERAND_COMPONENT:
        put_components(out);
        break;
    case WEIR_OPERAND_COMMAND:
        put_commands(out);
        break;
    case WEIR_OPERAND_TEXT:
    case WEIR_OPERAND_FILE:
        break;
    }
}

static bool takes_files(const struct weir_command *command)
{
    for (const struct weir_operand *o = command->operands; o->name != NULL; o++) {
        if (o->kind == WEIR_OPERAND_FILE) {
            return true;
        }
    }
    return false;
}

/* 'text' for a shell; fish and zsh both take '\'' too. */
static void put_quoted(const char *text, struct weir_strbuf *out)
{
    weir_strbuf_push(out, '\'');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\'') {
            weir_strbuf_text(out, "'\\''");
        } else {
            weir_strbuf_push(out, *p == '\n' ? ' ' : *p);
        }
    }
    weir_strbuf_push(out, '\'');
}

/* --- bash --------------------------------------------------------------------------------------*/

static void bash_command(const struct weir_command *command, struct weir_strbuf *out)
{
    const struct weir_option *option = NULL;
    weir_strbuf_printf(out, "    %s)\n        options='", command->name);
    for (size_t i = 0; (option = option_at(command, i)) != NULL; i++) {
        if (option->name != NULL) {
            weir_strbuf_printf(out, "%s--%s", i == 0 ? "" : " ", option->name);
        }
    }
    weir_strbuf_text(out, "'\n        case $previous in\n");
    for (size_t i = 0; (option = option_at(command, i)) != NULL; i++) {
        if (option->argument == NULL || option->name == NULL) {
            continue;
        }
        weir_strbuf_printf(out, "        --%s) words='", option->name);
        if (option->words != NULL) {
            put_words(option->words, out);
        }
        weir_strbuf_printf(out, "' files=%d value=1 ;;\n", option->words == NULL);
    }
    weir_strbuf_text(out, "        *) words='");
    put_operand(&command->operands[0], out);
    weir_strbuf_printf(out, "' files=%d value= ;;\n        esac\n        ;;\n",
                       takes_files(command));
}

static void render_bash(struct weir_strbuf *out)
{
    weir_strbuf_text(out, "# bash completion of weir; made by `weir completion bash`\n"
                          "_weir() {\n"
                          "    local current=${COMP_WORDS[COMP_CWORD]} "
                          "previous=${COMP_WORDS[COMP_CWORD-1]}\n"
                          "    local options= words= files= value=\n"
                          "    COMPREPLY=()\n"
                          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                          "        COMPREPLY=($(compgen -W '");
    put_commands(out);
    weir_strbuf_text(out, " --help --version' -- \"$current\"))\n"
                          "        return\n"
                          "    fi\n"
                          "    case ${COMP_WORDS[1]} in\n");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        bash_command(command, out);
    }
    weir_strbuf_text(out, "    *) return ;;\n"
                          "    esac\n"
                          "    if [ -z \"$value\" ] && [[ $current == -* ]]; then\n"
                          "        words=$options files=0\n"
                          "    elif [ -z \"$value\" ] && [ \"$COMP_CWORD\" -gt 2 ] && "
                          "[ \"$files\" = 1 ]; then\n"
                          "        words=\n"
                          "    fi\n"
                          "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
                          "    if [ \"$files\" = 1 ] && [ ${#COMPREPLY[@]} -eq 0 ]; then\n"
                          "        compopt -o default 2>/dev/null\n"
                          "    fi\n"
                          "}\n"
                          "complete -F _weir weir\n");
}

/* --- zsh ---------------------------------------------------------------------------------------*/

/* Brackets and colons have a meaning in _arguments. */
static void zsh_text(const char *text, struct weir_strbuf *out)
{
    for (const char *p = text; *p != '\0' && *p != '\n'; p++) {
        if (*p == '\'') {
            weir_strbuf_text(out, "'\\''");
            continue;
        }
        if (strchr("[]:\\", *p) != NULL) {
            weir_strbuf_push(out, '\\');
        }
        weir_strbuf_push(out, *p);
    }
}

static void zsh_option(const struct weir_option *option, struct weir_strbuf *out)
{
    const char *name = option->name;
    if (name == NULL) {
        return;
    }
    weir_strbuf_printf(out, " \\\n            '--%s%s[", name, option->argument != NULL ? "=" : "");
    zsh_text(option->help, out);
    weir_strbuf_push(out, ']');
    if (option->argument != NULL) {
        weir_strbuf_push(out, ':');
        zsh_text(option->argument, out);
        weir_strbuf_text(out, option->words != NULL ? ":(" : ":_files");
        if (option->words != NULL) {
            put_words(option->words, out);
            weir_strbuf_push(out, ')');
        }
    }
    weir_strbuf_push(out, '\'');
}

static void zsh_operand(const struct weir_operand *operand, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, " \\\n            '%s:%s:", operand->is_repeated ? "*" : "",
                       operand->name);
    if (operand->kind == WEIR_OPERAND_FILE) {
        weir_strbuf_text(out, "_files'");
    } else if (operand->kind == WEIR_OPERAND_TEXT) {
        weir_strbuf_text(out, " '");
    } else {
        weir_strbuf_push(out, '(');
        put_operand(operand, out);
        weir_strbuf_text(out, ")'");
    }
}

static void render_zsh(struct weir_strbuf *out)
{
    weir_strbuf_text(out, "#compdef weir\n"
                          "# zsh completion of weir; made by `weir completion zsh`\n"
                          "_weir() {\n"
                          "    if (( CURRENT == 2 )); then\n"
                          "        local -a commands=(");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        weir_strbuf_printf(out, "\n            '%s:", command->name);
        zsh_text(command->summary, out);
        weir_strbuf_push(out, '\'');
    }
    weir_strbuf_text(out, ")\n        _describe command commands\n        return\n    fi\n"
                          "    shift words\n    (( CURRENT-- ))\n    case $words[1] in\n");
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        weir_strbuf_printf(out, "    %s)\n        _arguments", command->name);
        const struct weir_option *option = NULL;
        for (size_t k = 0; (option = option_at(command, k)) != NULL; k++) {
            zsh_option(option, out);
        }
        for (const struct weir_operand *o = command->operands; o->name != NULL; o++) {
            zsh_operand(o, out);
        }
        weir_strbuf_text(out, "\n        ;;\n");
    }
    weir_strbuf_text(out, "    esac\n}\n"
                          "if [ \"$funcstack[1]\" = _weir ]; then\n    _weir \"$@\"\nelse\n"
                          "    compdef _weir weir\nfi\n");
}

/* --- fish --------------------------------------------------------------------------------------*/

static void fish_command(const struct weir_command *command, struct weir_strbuf *out)
{
    const char *seen = "__fish_seen_subcommand_from";
    const struct weir_option *option = NULL;
    weir_strbuf_printf(out, "complete -c weir -f -n __fish_use_subcommand -a %s -d ",
                       command->name);
    put_quoted(command->summary, out);
    weir_strbuf_push(out, '\n');
    for (size_t i = 0; (option = option_at(command, i)) != NULL; i++) {
        weir_strbuf_printf(out, "complete -c weir -n '%s %s'", seen, command->name);
        if (option->name != NULL) {
            weir_strbuf_printf(out, " -l %s", option->name);
        }
        if (option->letter != 0) {
            weir_strbuf_printf(out, " -s %c", option->letter);
        }
        if (option->words != NULL) {
            weir_strbuf_text(out, " -x -a '");
            put_words(option->words, out);
            weir_strbuf_push(out, '\'');
        } else if (option->argument != NULL) {
            weir_strbuf_text(out, " -r");
        }
        weir_strbuf_text(out, " -d ");
        put_quoted(option->help, out);
        weir_strbuf_push(out, '\n');
    }
    const struct weir_operand *first = &command->operands[0];
    if (first->name != NULL && first->kind != WEIR_OPERAND_FILE &&
        first->kind != WEIR_OPERAND_TEXT) {
        weir_strbuf_printf(out, "complete -c weir%s -n '%s %s' -a '",
                           takes_files(command) ? "" : " -f", seen, command->name);
        put_operand(first, out);
        weir_strbuf_text(out, "'\n");
    }
}

static void render_fish(struct weir_strbuf *out)
{
    weir_strbuf_text(out, "# fish completion of weir; made by `weir completion fish`\n");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        fish_command(command, out);
    }
}

int weir_cmd_completion(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, SCRIPT_MAX);
    const char *shell = args.operands[0];
    if (strcmp(shell, "bash") == 0) {
        render_bash(&out);
    } else if (strcmp(shell, "zsh") == 0) {
        render_zsh(&out);
    } else {
        render_fish(&out);
    }
    bool told = weir_help_print(&out);
    weir_strbuf_done(&out);
    return told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

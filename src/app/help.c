/* SPDX-License-Identifier: Apache-2.0
 *
 * --help, `weir help` and the page of the reference, from the table of commands. The texts are
 * written once, at the width of a terminal; nothing here breaks lines, so what an author sees in
 * the table is what a reader gets.
 */
#include "app/help.h"

#include <stdio.h>
#include <string.h>

#include "conf/near.h"

enum { TEXT_MAX = 1 << 20, OPTION_COLUMN = 24 };

const struct weir_option weir_help_options[] = {
    {.name = "help", .letter = 'h', .help = "this text"},
    {0},
};

void weir_help_option(const struct weir_option *option, struct weir_strbuf *out)
{
    if (option->letter != 0) {
        weir_strbuf_printf(out, "-%c", option->letter);
    }
    if (option->name != NULL) {
        weir_strbuf_printf(out, "%s--%s", option->letter != 0 ? ", " : "", option->name);
    }
    if (option->argument != NULL) {
        weir_strbuf_printf(out, " %s", option->argument);
    }
}

/* The characters of UTF-8 text, which take one column each here. */
static size_t columns(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) {
        count += ((unsigned char)text[i] & 0xC0u) != 0x80u;
    }
    return count;
}

static void put_options(const struct weir_option *options, struct weir_strbuf *out)
{
    for (; options != NULL && (options->name != NULL || options->letter != 0); options++) {
        weir_strbuf_text(out, "  ");
        size_t start = out->size;
        weir_help_option(options, out);
        size_t width = columns(out->data + start, out->size - start);
        if (width >= OPTION_COLUMN) {
            weir_strbuf_text(out, "\n  ");
            width = 0;
        }
        weir_strbuf_printf(out, "%*s", (int)(OPTION_COLUMN - width), "");
        for (const char *p = options->help; *p != '\0'; p++) {
            weir_strbuf_push(out, *p);
            if (*p == '\n') {
                weir_strbuf_printf(out, "%*s", OPTION_COLUMN + 2, "");
            }
        }
        weir_strbuf_push(out, '\n');
    }
}

static void put_usage(const struct weir_command *command, struct weir_strbuf *out)
{
    for (size_t i = 0; command->usage[i] != NULL; i++) {
        weir_strbuf_printf(out, "%s weir %s\n", i == 0 ? "Usage:" : "      ", command->usage[i]);
    }
}

static void put_examples(const struct weir_command *command, struct weir_strbuf *out)
{
    for (const struct weir_example *e = command->examples; e->command != NULL; e++) {
        weir_strbuf_printf(out, "  %s\n", e->command);
        if (e->about != NULL) {
            weir_strbuf_printf(out, "      %s\n", e->about);
        }
    }
}

void weir_help_render(const struct weir_command *command, struct weir_strbuf *out)
{
    put_usage(command, out);
    weir_strbuf_printf(out, "\n%s\nOptions:\n", command->description);
    put_options(command->options, out);
    put_options(weir_help_options, out);
    if (command->variables != NULL) {
        weir_strbuf_text(out, "\nEnvironment:\n");
        for (const struct weir_variable *v = command->variables; v->name != NULL; v++) {
            weir_strbuf_printf(out, "  %-22s  %s\n", v->name, v->help);
        }
    }
    weir_strbuf_text(out, command->examples[1].command == NULL ? "\nExample:\n" : "\nExamples:\n");
    put_examples(command, out);
    weir_strbuf_text(out, "\nExit:\n");
    for (const struct weir_exit *e = command->exits; e->code != NULL; e++) {
        weir_strbuf_printf(out, "  %-3s %s\n", e->code, e->when);
    }
}

bool weir_help_print(const struct weir_strbuf *text)
{
    struct weir_slice view = weir_strbuf_view(text);
    return !text->failed && fwrite(view.data, 1, view.size, stdout) == view.size &&
           fflush(stdout) == 0;
}

int weir_help_show(const struct weir_command *command)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, TEXT_MAX);
    weir_help_render(command, &out);
    bool told = weir_help_print(&out);
    weir_strbuf_done(&out);
    return told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* --- the reference -----------------------------------------------------------------------------*/

static void put_exits(const struct weir_command *command, struct weir_strbuf *out)
{
    for (const struct weir_exit *e = command->exits; e->code != NULL; e++) {
        weir_strbuf_printf(out, "%s%s %s", e == command->exits ? "" : ", ", e->code, e->when);
    }
    weir_strbuf_text(out, ".\n");
}

static void docs_command(const struct weir_command *command, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "\n## weir %s\n\n%c%s.\n\n```\n", command->name,
                       command->summary[0] - 'a' + 'A', command->summary + 1);
    for (size_t i = 0; command->usage[i] != NULL; i++) {
        weir_strbuf_printf(out, "weir %s\n", command->usage[i]);
    }
    weir_strbuf_printf(out, "```\n\n%s\n```\n", command->description);
    put_options(command->options, out);
    put_options(weir_help_options, out);
    weir_strbuf_text(out, "```\n\n");
    for (const struct weir_variable *v = command->variables; v != NULL && v->name != NULL; v++) {
        weir_strbuf_printf(out, "- `%s`: %s\n%s", v->name, v->help, v[1].name == NULL ? "\n" : "");
    }
    weir_strbuf_text(out, "```sh\n");
    for (const struct weir_example *e = command->examples; e->command != NULL; e++) {
        if (e->about != NULL) {
            weir_strbuf_printf(out, "# %s\n", e->about);
        }
        weir_strbuf_printf(out, "%s\n", e->command);
    }
    weir_strbuf_text(out, "```\n\nExit: ");
    put_exits(command, out);
}

void weir_help_docs(struct weir_strbuf *out)
{
    weir_strbuf_text(out, "# Commands\n\nThe same texts are shown by `weir COMMAND --help` and by "
                          "the manual pages (`man weir-run`).\n");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        docs_command(command, out);
    }
}

/* --- weir help ---------------------------------------------------------------------------------*/

static void overview(struct weir_strbuf *out)
{
    weir_strbuf_text(out, "weir: stream processing for Kafka, NATS JetStream and Redis Streams in one small binary\n\n"
                          "Usage: weir COMMAND [ARGUMENTS]\n\n");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        weir_strbuf_printf(out, "  %-11s %s\n", command->name, command->summary);
    }
    weir_strbuf_text(out, "\n`weir COMMAND --help` tells more and gives examples.\n");
}

int weir_cmd_help(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (name != NULL && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        name = "help";
    }
    if (argc > 2) {
        fputs("weir help: one command at a time\n", stderr);
        return WEIR_EXIT_USAGE;
    }
    const struct weir_command *command = name == NULL ? NULL : weir_command_find(name);
    if (command != NULL) {
        return weir_help_show(command);
    }
    if (name != NULL) {
        struct weir_near near;
        weir_near_init(&near, weir_slice_of(name));
        const struct weir_command *other = NULL;
        for (size_t i = 0; (other = weir_command_at(i)) != NULL; i++) {
            weir_near_offer(&near, other->name);
        }
        fprintf(stderr, "weir help: there is no command \"%s\"", name);
        if (near.best != NULL) {
            fprintf(stderr, "; did you mean \"%s\"?", near.best);
        }
        fputs("\nTry `weir help`.\n", stderr);
        return WEIR_EXIT_USAGE;
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, TEXT_MAX);
    overview(&out);
    bool told = weir_help_print(&out);
    weir_strbuf_done(&out);
    return told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

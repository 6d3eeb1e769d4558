/* SPDX-License-Identifier: Apache-2.0
 *
 * weir man: manual pages in man(7)'s language, from the table of commands. Made when weir is built,
 * by weir, and installed beside it; they carry no date, so that a build can be repeated.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/args.h"
#include "app/help.h"

enum { PAGE_MAX = 1 << 20, PATH_BYTES_MAX = 4096 };

/* --- roff --------------------------------------------------------------------------------------*/

/* Text in which nothing is a command; `code` becomes bold. The table has no characters beyond ASCII
 * but those of three bytes (…). */
static void put_text(const char *text, struct weir_strbuf *out)
{
    bool is_code = false, is_line_start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '`') {
            is_code = !is_code;
            weir_strbuf_text(out, is_code ? "\\fB" : "\\fR");
            is_line_start = false;
            continue;
        }
        if (is_line_start && (*p == '.' || *p == '\'')) {
            weir_strbuf_text(out, "\\&");
        }
        unsigned char lead = (unsigned char)*p;
        if (lead >= 0xE0 && lead < 0xF0 && p[1] != '\0' && p[2] != '\0') {
            weir_strbuf_printf(out, "\\[u%04X]",
                               (unsigned)((lead & 0x0Fu) << 12 |
                                          ((unsigned char)p[1] & 0x3Fu) << 6 |
                                          ((unsigned char)p[2] & 0x3Fu)));
            p += 2;
        } else if (*p == '\\') {
            weir_strbuf_text(out, "\\e");
        } else if (*p == '-') {
            weir_strbuf_text(out, "\\-");
        } else if (*p == '\'') {
            weir_strbuf_text(out, "\\(aq");
        } else {
            weir_strbuf_push(out, *p);
        }
        is_line_start = *p == '\n';
    }
}

/* Paragraphs; lines that begin with two spaces stay lines. */
static void put_description(const char *text, struct weir_strbuf *out)
{
    bool is_verbatim = false;
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        bool starts_verbatim = strncmp(text, "  ", 2) == 0;
        if (size > 0 && starts_verbatim != is_verbatim) {
            weir_strbuf_text(out, starts_verbatim ? ".nf\n" : ".fi\n");
            is_verbatim = starts_verbatim;
        }
        char line[512];
        (void)snprintf(line, sizeof(line), "%.*s", (int)size, text);
        if (size == 0) {
            weir_strbuf_text(out, is_verbatim ? ".fi\n.PP\n" : ".PP\n");
            is_verbatim = false;
        } else {
            put_text(line, out);
            weir_strbuf_push(out, '\n');
        }
        text += size + (text[size] == '\n');
    }
    weir_strbuf_text(out, is_verbatim ? ".fi\n" : "");
}

static void put_head(const char *name, const char *summary, struct weir_strbuf *out)
{
    weir_strbuf_text(out, ".TH ");
    for (const char *p = name; *p != '\0'; p++) {
        weir_strbuf_push(out, *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p);
    }
    weir_strbuf_text(out, " 1 \"\" \"weir " WEIR_VERSION "\" \"weir\"\n.SH NAME\n");
    put_text(name, out);
    weir_strbuf_text(out, " \\- ");
    put_text(summary, out);
    weir_strbuf_push(out, '\n');
}

static void put_options(const struct weir_option *options, struct weir_strbuf *out)
{
    for (; options != NULL && (options->name != NULL || options->letter != 0); options++) {
        struct weir_strbuf label;
        weir_strbuf_init(&label, 1024);
        weir_help_option(options, &label);
        weir_strbuf_text(out, ".TP\n\\fB");
        put_text(weir_strbuf_view(&label).data, out);
        weir_strbuf_text(out, "\\fR\n");
        put_text(options->help, out);
        weir_strbuf_push(out, '\n');
        weir_strbuf_done(&label);
    }
}

static void put_pairs(const char *label, const char *text, struct weir_strbuf *out)
{
    weir_strbuf_text(out, ".TP\n\\fB");
    put_text(label, out);
    weir_strbuf_text(out, "\\fR\n");
    put_text(text, out);
    weir_strbuf_push(out, '\n');
}

static void put_examples(const struct weir_command *command, struct weir_strbuf *out)
{
    weir_strbuf_text(out, ".SH EXAMPLES\n");
    for (const struct weir_example *e = command->examples; e->command != NULL; e++) {
        if (e->about != NULL) {
            put_text(e->about, out);
            weir_strbuf_text(out, ":\n");
        }
        weir_strbuf_text(out, ".PP\n.RS\n.nf\n");
        put_text(e->command, out);
        weir_strbuf_text(out, "\n.fi\n.RE\n.PP\n");
    }
}

/* --- pages -------------------------------------------------------------------------------------*/

static void render_command(const struct weir_command *command, struct weir_strbuf *out)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "weir-%s", command->name);
    put_head(name, command->summary, out);
    weir_strbuf_text(out, ".SH SYNOPSIS\n");
    for (size_t i = 0; command->usage[i] != NULL; i++) {
        weir_strbuf_text(out, i == 0 ? "\\fBweir\\fR " : ".br\n\\fBweir\\fR ");
        put_text(command->usage[i], out);
        weir_strbuf_push(out, '\n');
    }
    weir_strbuf_text(out, ".SH DESCRIPTION\n");
    put_description(command->description, out);
    weir_strbuf_text(out, ".SH OPTIONS\n");
    put_options(command->options, out);
    put_options(weir_help_options, out);
    weir_strbuf_text(out, ".SH EXIT STATUS\n");
    for (const struct weir_exit *e = command->exits; e->code != NULL; e++) {
        put_pairs(e->code, e->when, out);
    }
    if (command->variables != NULL) {
        weir_strbuf_text(out, ".SH ENVIRONMENT\n");
        for (const struct weir_variable *v = command->variables; v->name != NULL; v++) {
            put_pairs(v->name, v->help, out);
        }
    }
    put_examples(command, out);
    weir_strbuf_text(out, ".SH SEE ALSO\n\\fBweir\\fR(1)\n");
}

static void render_overview(struct weir_strbuf *out)
{
    put_head("weir", "stream processing for Kafka, NATS JetStream and Redis Streams in one small binary", out);
    weir_strbuf_text(out, ".SH SYNOPSIS\n\\fBweir\\fR COMMAND [ARGUMENTS]\n.SH COMMANDS\n");
    const struct weir_command *command = NULL;
    for (size_t i = 0; (command = weir_command_at(i)) != NULL; i++) {
        char label[64];
        (void)snprintf(label, sizeof(label), "weir-%s(1)", command->name);
        put_pairs(label, command->summary, out);
    }
    weir_strbuf_text(out, ".SH ENVIRONMENT\n");
    put_pairs("NO_COLOR", "set to anything, no output has colours", out);
    weir_strbuf_text(out,
                     ".PP\nVariables that describe a pipeline stand in \\fBweir\\-run\\fR(1).\n");
}

static bool write_page(const char *folder, const char *name, const struct weir_strbuf *page)
{
    char path[PATH_BYTES_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s.1", folder, name);
    if (size < 0 || (size_t)size >= sizeof(path) || page->failed) {
        fprintf(stderr, "weir man: %s: too long\n", name);
        return false;
    }
    FILE *file = fopen(path, "w");
    struct weir_slice text = weir_strbuf_view(page);
    bool ok = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
    if (file != NULL) {
        ok = fclose(file) == 0 && ok;
    }
    if (!ok) {
        fprintf(stderr, "weir man: %s: %s\n", path, strerror(errno));
    }
    return ok;
}

static int write_all(const char *folder)
{
    bool ok = mkdir(folder, 0777) == 0 || errno == EEXIST;
    if (!ok) {
        fprintf(stderr, "weir man: %s: %s\n", folder, strerror(errno));
    }
    struct weir_strbuf page;
    weir_strbuf_init(&page, PAGE_MAX);
    render_overview(&page);
    ok = ok && write_page(folder, "weir", &page);
    const struct weir_command *command = NULL;
    for (size_t i = 0; ok && (command = weir_command_at(i)) != NULL; i++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "weir-%s", command->name);
        weir_strbuf_clear(&page);
        render_command(command, &page);
        ok = write_page(folder, name, &page);
    }
    weir_strbuf_done(&page);
    return ok ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

int weir_cmd_man(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    bool all = weir_args_has(&args, "all");
    const char *folder = weir_args_get(&args, "out");
    if (all != (folder != NULL) || (all && args.count > 0)) {
        return weir_args_wrong(&args, "--all and --out belong together, without COMMAND");
    }
    if (all) {
        return write_all(folder);
    }
    const struct weir_command *command =
        args.count > 0 ? weir_command_find(args.operands[0]) : NULL;
    if (args.count > 0 && command == NULL) {
        return weir_args_wrong(&args, "there is no command \"%s\"", args.operands[0]);
    }
    struct weir_strbuf page;
    weir_strbuf_init(&page, PAGE_MAX);
    if (command == NULL) {
        render_overview(&page);
    } else {
        render_command(command, &page);
    }
    bool told = weir_help_print(&page);
    weir_strbuf_done(&page);
    return told ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

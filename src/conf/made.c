/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a configuration text. Everything that comes from outside is put into single quotes, in
 * which YAML knows one special character, so that no value can become structure.
 */
#include "conf/made.h"

#include <stdarg.h>
#include <stdio.h>

#include "conf/memory.h"

enum { TEXT_MAX = 256 * 1024, MESSAGE_MAX = 512 };

void weir_made_init(struct weir_made *made, const char *name, struct weir_diags *diags)
{
    *made = (struct weir_made){.name = name, .diags = diags, .errors = diags->errors};
    weir_strbuf_init(&made->text, TEXT_MAX);
}

struct weir_diag *weir_made_error(struct weir_made *made, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(message, sizeof(message), format, list);
    va_end(list);
    struct weir_diag *diag = weir_diag_add(made->diags, NULL, 0, 0, "%s", message);
    diag->file = made->name;
    return diag;
}

static void add_line(
    struct weir_made *made, const char *origin, const char *before, const char *value, bool is_open)
{
    if (made->line_count == WEIR_MADE_LINES_MAX) {
        made->text.failed = true;
        return;
    }
    made->origins[made->line_count++] = origin;
    weir_strbuf_text(&made->text, before);
    if (value != NULL) {
        weir_strbuf_push(&made->text, '\'');
        for (const char *p = value; *p != '\0'; p++) {
            bool is_opening = !is_open && p[0] == '$' && p[1] == '{';
            weir_strbuf_text(&made->text, *p == '\'' ? "'" : is_opening ? "$" : "");
            weir_strbuf_push(&made->text, *p == '\n' || *p == '\r' ? ' ' : *p);
        }
        weir_strbuf_push(&made->text, '\'');
    }
    weir_strbuf_push(&made->text, '\n');
}

void weir_made_line(struct weir_made *made,
                    const char *origin,
                    const char *before,
                    const char *value)
{
    add_line(made, origin, before, value, false);
}

void weir_made_line_open(struct weir_made *made,
                         const char *origin,
                         const char *before,
                         const char *value)
{
    add_line(made, origin, before, value, true);
}

struct weir_text *weir_made_finish(struct weir_made *made)
{
    struct weir_diags *diags = made->diags;
    struct weir_text *text = NULL;
    if (diags->errors == made->errors && made->text.failed) {
        (void)weir_made_error(made, "the values are too long");
    }
    if (diags->errors == made->errors) {
        struct weir_err err = {0};
        text = weir_text_new(diags->arena, made->name, weir_strbuf_view(&made->text), &err);
        if (text == NULL) {
            (void)weir_diag_add_err(diags, made->name, &err);
        }
    }
    if (text != NULL) {
        size_t count = (size_t)text->line_count;
        const char **origins = weir_conf_alloc(diags->arena, count, sizeof(const char *));
        for (size_t i = 0; i < count && i < made->line_count; i++) {
            origins[i] = made->origins[i];
        }
        text->variables = origins;
    }
    weir_strbuf_done(&made->text);
    return text;
}

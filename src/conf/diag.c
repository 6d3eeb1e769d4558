/* SPDX-License-Identifier: Apache-2.0
 *
 * Diagnostics are collected without giving up at the first, because a file with ten mistakes should
 * cost one round and not ten. A diagnostic keeps byte offsets; lines, columns and excerpts are made
 * when it is shown, by which time the binder knows which bytes of the texts are secrets and masks
 * them. Control characters never reach the terminal.
 *
 *     pipeline.yaml:4:23: error: unknown option "topc" of source kafka
 *        4 |   kafka: {brokers: x, topc: orders}
 *          |                       ^~~~
 *          = did you mean "topic"?
 */
#include "conf/diag.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/quote.h"
#include "conf/limits.h"
#include "conf/memory.h"
#include "conf/text.h"

enum { EXCERPT_COLUMNS = 120, MESSAGE_BYTES = 1024 };

void weir_diags_init(struct weir_diags *diags, struct weir_arena *arena)
{
    *diags = (struct weir_diags){.arena = arena};
}

static const char *format_text(struct weir_arena *arena, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static const char *format_text(struct weir_arena *arena, const char *format, va_list args)
{
    char text[MESSAGE_BYTES];
    int size = vsnprintf(text, sizeof(text), format, args);
    WEIR_ASSERT(size >= 0);
    return weir_conf_strdup(arena, text);
}

static struct weir_diag *append(struct weir_diags *diags)
{
    if (diags->count == diags->capacity) {
        size_t capacity = diags->capacity == 0 ? 16 : diags->capacity * 2;
        struct weir_diag *items = weir_conf_alloc(diags->arena, capacity, sizeof(*items));
        if (diags->count > 0) {
            memcpy(items, diags->items, diags->count * sizeof(*items));
        }
        diags->items = items;
        diags->capacity = capacity;
    }
    diags->errors++;
    if (diags->count == WEIR_CONF_DIAGS_MAX) {
        diags->more = true;
        return weir_conf_alloc(diags->arena, 1, sizeof(struct weir_diag));
    }
    return &diags->items[diags->count++];
}

struct weir_diag *weir_diag_add(struct weir_diags *diags,
                                const struct weir_text *text,
                                size_t start,
                                size_t end,
                                const char *format,
                                ...)
{
    va_list args;
    va_start(args, format);
    struct weir_diag *diag = append(diags);
    *diag = (struct weir_diag){.text = text,
                               .file = text == NULL ? NULL : text->name,
                               .start = start,
                               .end = end > start ? end : start,
                               .message = format_text(diags->arena, format, args)};
    va_end(args);
    return diag;
}

struct weir_diag *
weir_diag_add_err(struct weir_diags *diags, const char *file, const struct weir_err *err)
{
    struct weir_diag *diag = append(diags);
    *diag = (struct weir_diag){.file = weir_conf_strdup(diags->arena, file),
                               .message = weir_conf_strdup(diags->arena, err->message)};
    if (err->hint[0] != '\0') {
        diag->hint = weir_conf_strdup(diags->arena, err->hint);
    }
    return diag;
}

void weir_diag_hint(struct weir_diags *diags, struct weir_diag *diag, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    diag->hint = format_text(diags->arena, format, args);
    va_end(args);
}

void weir_diag_warn(struct weir_diags *diags, struct weir_diag *diag)
{
    WEIR_ASSERT(diags->errors > 0);
    WEIR_ASSERT(!diag->is_warning);
    diag->is_warning = true;
    diags->errors--;
}

/* --- order ------------------------------------------------------------------------------------ */

static size_t text_rank(const struct weir_diags *diags, const char *file)
{
    size_t rank = 0;
    while (rank < diags->count && file != NULL &&
           (diags->items[rank].file == NULL || strcmp(diags->items[rank].file, file) != 0)) {
        rank++;
    }
    return rank;
}

struct ranked {
    size_t rank, index;
    struct weir_diag diag;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *left = a;
    const struct ranked *right = b;
    if (left->rank != right->rank) {
        return left->rank < right->rank ? -1 : 1;
    }
    if (left->diag.start != right->diag.start) {
        return left->diag.start < right->diag.start ? -1 : 1;
    }
    return left->index < right->index ? -1 : left->index > right->index;
}

static bool is_repeat(const struct weir_diag *a, const struct weir_diag *b)
{
    return a->text == b->text && a->text != NULL && a->start == b->start && a->end == b->end &&
           strcmp(a->message, b->message) == 0;
}

void weir_diags_sort(struct weir_diags *diags)
{
    if (diags->count == 0) {
        return;
    }
    struct ranked *ranked = weir_calloc(diags->count, sizeof(*ranked));
    for (size_t i = 0; i < diags->count; i++) {
        ranked[i] = (struct ranked){text_rank(diags, diags->items[i].file), i, diags->items[i]};
    }
    qsort(ranked, diags->count, sizeof(*ranked), compare_ranked);
    size_t kept = 0;
    for (size_t i = 0; i < diags->count; i++) {
        if (kept > 0 && is_repeat(&diags->items[kept - 1], &ranked[i].diag)) {
            diags->errors -= !ranked[i].diag.is_warning;
            continue;
        }
        diags->items[kept++] = ranked[i].diag;
    }
    diags->count = kept;
    weir_free(ranked);
}

/* --- text ------------------------------------------------------------------------------------- */

static bool is_masked(const struct weir_text *text, size_t offset)
{
    for (const struct weir_text_mask *mask = text->masks; mask != NULL; mask = mask->next) {
        if (offset >= mask->start && offset < mask->end) {
            return true;
        }
    }
    return false;
}

static size_t char_length(const char *p, const char *end)
{
    size_t length = 1;
    while (p + length < end && ((unsigned char)p[length] & 0xc0u) == 0x80u) {
        length++;
    }
    return length;
}

/* C0, DEL and C1: what a terminal would obey. */
static bool is_control(const char *p, size_t length)
{
    unsigned char c = (unsigned char)p[0];
    return c < 0x20 || c == 0x7f || (length == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

static void put_printable(struct weir_strbuf *out, const char *text)
{
    const char *end = text + strlen(text);
    while (text < end) {
        size_t length = char_length(text, end);
        if (is_control(text, length)) {
            weir_strbuf_printf(out, "\\x%02x", (unsigned char)text[length - 1]);
        } else {
            weir_strbuf_append(out, text, length);
        }
        text += length;
    }
}

static const char *colour(bool use_colour, const char *code)
{
    return use_colour ? code : "";
}

/* The part of a line around the columns [from, to), and the column it begins with. */
static size_t excerpt_start(size_t columns, size_t from)
{
    if (columns <= EXCERPT_COLUMNS || from < EXCERPT_COLUMNS / 2) {
        return 0;
    }
    size_t start = from - EXCERPT_COLUMNS / 2;
    size_t last = columns - EXCERPT_COLUMNS;
    return start < last ? start : last;
}

static size_t count_chars(const char *p, const char *end)
{
    size_t count = 0;
    while (p < end) {
        p += char_length(p, end);
        count++;
    }
    return count;
}

static void
put_excerpt(const struct weir_diag *diag, int line_no, bool colours, struct weir_strbuf *out)
{
    const struct weir_text *text = diag->text;
    struct weir_slice line = weir_text_line(text, line_no);
    const char *line_end = line.data + line.size;
    const char *mark = text->bytes.data + diag->start;
    const char *mark_end = text->bytes.data + diag->end;
    mark = mark > line_end ? line_end : mark;
    mark_end = mark_end > line_end ? line_end : mark_end;
    size_t from = count_chars(line.data, mark);
    size_t width = count_chars(mark, mark_end);
    size_t columns = from + width + count_chars(mark_end > mark ? mark_end : mark, line_end);
    size_t first = excerpt_start(columns, from);
    size_t last = first + EXCERPT_COLUMNS;

    weir_strbuf_printf(out, "%s%5d |%s%s", colour(colours, "\033[2m"), line_no,
                       colour(colours, "\033[0m"), line.size > 0 ? " " : "");
    weir_strbuf_text(out, first > 0 ? "…" : "");
    struct weir_strbuf under;
    weir_strbuf_init(&under, (size_t)EXCERPT_COLUMNS * 4);
    size_t column = 0;
    for (const char *p = line.data; p < line_end && column < last; column++) {
        size_t length = char_length(p, line_end);
        if (column >= first) {
            bool masked = is_masked(text, (size_t)(p - text->bytes.data));
            if (masked) {
                weir_strbuf_push(out, '*');
            } else if (*p != '\t' && is_control(p, length)) {
                weir_strbuf_push(out, '?');
            } else {
                weir_strbuf_append(out, p, length);
            }
            if (column < from) {
                weir_strbuf_push(&under, *p == '\t' ? '\t' : ' ');
            }
        }
        p += length;
    }
    weir_strbuf_text(out, columns > last ? "…\n" : "\n");
    if (first > 0) {
        weir_strbuf_push(out, ' ');
    }
    weir_strbuf_printf(out, "%s      |%s %s", colour(colours, "\033[2m"),
                       colour(colours, "\033[0m"), under.data == NULL ? "" : under.data);
    weir_strbuf_printf(out, "%s^", colour(colours, "\033[1;31m"));
    for (size_t i = 1; i < width && from + i < last; i++) {
        weir_strbuf_push(out, '~');
    }
    weir_strbuf_printf(out, "%s\n", colour(colours, "\033[0m"));
    weir_strbuf_done(&under);
}

static void put_note(
    struct weir_strbuf *out, bool colours, const char *before, const char *text, const char *after)
{
    if (text != NULL && text[0] != '\0') {
        weir_strbuf_printf(out, "      %s=%s ", colour(colours, "\033[2m"),
                           colour(colours, "\033[0m"));
        weir_strbuf_text(out, before);
        put_printable(out, text);
        weir_strbuf_text(out, after);
        weir_strbuf_push(out, '\n');
    }
}

static void render_one(const struct weir_diag *diag, bool colours, struct weir_strbuf *out)
{
    int line = 0;
    weir_strbuf_text(out, colour(colours, "\033[1m"));
    if (diag->text != NULL) {
        int column = 0;
        weir_text_locate(diag->text, diag->start, &line, &column);
        put_printable(out, diag->text->name);
        weir_strbuf_printf(out, ":%d:%d: ", line, column);
    } else if (diag->file != NULL) {
        put_printable(out, diag->file);
        weir_strbuf_text(out, ": ");
    }
    weir_strbuf_printf(out, "%s%s:%s%s ",
                       colour(colours, diag->is_warning ? "\033[33m" : "\033[31m"),
                       diag->is_warning ? "warning" : "error", colour(colours, "\033[0m"),
                       colour(colours, "\033[1m"));
    put_printable(out, diag->message);
    weir_strbuf_printf(out, "%s\n", colour(colours, "\033[0m"));
    if (diag->text != NULL) {
        put_excerpt(diag, line, colours, out);
    }
    put_note(out, colours, "did you mean \"", diag->suggestion, "\"?");
    put_note(out, colours, "allowed: ", diag->allowed, "");
    put_note(out, colours, "hint: ", diag->hint, "");
}

void weir_diags_render_text(const struct weir_diags *diags,
                            bool use_colour,
                            struct weir_strbuf *out)
{
    for (size_t i = 0; i < diags->count; i++) {
        render_one(&diags->items[i], use_colour, out);
    }
    if (diags->more) {
        weir_strbuf_printf(out, "and %zu more\n", diags->errors - diags->count);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void put_json_text(struct weir_strbuf *out, const char *key, const char *text)
{
    if (text == NULL) {
        return;
    }
    weir_strbuf_printf(out, ",\"%s\":", key);
    weir_quote_json(weir_slice_of(text), out);
}

void weir_diags_render_json(const struct weir_diags *diags, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "{\"errors\":%zu,\"diagnostics\":[", diags->errors);
    for (size_t i = 0; i < diags->count; i++) {
        const struct weir_diag *diag = &diags->items[i];
        weir_strbuf_printf(out, "%s\n{\"severity\":\"%s\"", i > 0 ? "," : "",
                           diag->is_warning ? "warning" : "error");
        put_json_text(out, "file", diag->file);
        if (diag->text != NULL) {
            int line = 0;
            int column = 0;
            weir_text_locate(diag->text, diag->start, &line, &column);
            weir_strbuf_printf(out, ",\"line\":%d,\"column\":%d", line, column);
            weir_text_locate(diag->text, diag->end, &line, &column);
            weir_strbuf_printf(out, ",\"end_line\":%d,\"end_column\":%d", line, column);
        }
        put_json_text(out, "path", diag->path);
        put_json_text(out, "message", diag->message);
        put_json_text(out, "suggestion", diag->suggestion);
        put_json_text(out, "allowed", diag->allowed);
        put_json_text(out, "hint", diag->hint);
        weir_strbuf_push(out, '}');
    }
    weir_strbuf_text(out, diags->count > 0 ? "\n]}\n" : "]}\n");
}

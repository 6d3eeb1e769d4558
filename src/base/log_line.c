/* SPDX-License-Identifier: Apache-2.0
 *
 * How a line looks. It is built in a buffer of fixed size on the caller's stack: logging must work
 * when memory does not. A field that does not fit is taken back whole, so that a JSON line is
 * always valid JSON; the room for "truncated" and the closing brace is kept back from the start.
 *
 * Whatever a field holds, one call makes one line: control characters are escaped in both forms
 * (in text also those of C1, so that data cannot drive the terminal), and bytes that are not UTF-8
 * become U+FFFD.
 */
#include "base/log.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/quote.h"

enum { RESERVE = 64 }; /* for the end of the line */

struct line {
    char *data;
    size_t size;
    bool full; /* an append did not fit since this was cleared */
};

static void put(struct line *line, const char *bytes, size_t size)
{
    if (line->full || WEIR_LOG_LINE_MAX - RESERVE - line->size < size) {
        line->full = true;
        return;
    }
    memcpy(line->data + line->size, bytes, size);
    line->size += size;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void __attribute__((format(printf, 2, 3)))
put_printf(struct line *line, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    WEIR_ASSERT(size >= 0 && (size_t)size < sizeof(text));
    put(line, text, (size_t)size);
}

/* The inside of a JSON string; also what stands inside quotes in the text form. */
static void put_escaped(struct line *line, struct weir_slice text)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    size_t shown = text.size <= WEIR_LOG_TEXT_MAX ? text.size : WEIR_LOG_TEXT_MAX;
    for (size_t i = 0; i < shown;) {
        size_t size = weir_utf8_size(text.data + i, text.size - i);
        if (size > shown - i) {
            break; /* the cut must not split a character */
        }
        if (size == 0) {
            put_text(line, WEIR_UTF8_REPLACEMENT);
            i++;
        } else if (bytes[i] == '"' || bytes[i] == '\\') {
            put_printf(line, "\\%c", bytes[i]);
            i++;
        } else if (bytes[i] == '\n' || bytes[i] == '\t' || bytes[i] == '\r') {
            put_text(line, bytes[i] == '\n' ? "\\n" : bytes[i] == '\t' ? "\\t" : "\\r");
            i++;
        } else if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
            put_printf(line, "\\u%04x", bytes[i]);
            i++;
        } else if (size == 2 && bytes[i] == 0xc2 && bytes[i + 1] < 0xa0) {
            put_printf(line, "\\u%04x", bytes[i + 1]);
            i += size;
        } else {
            put(line, text.data + i, size);
            i += size;
        }
    }
    if (shown < text.size) {
        put_text(line, "\xe2\x80\xa6");
    }
}

static void put_quoted(struct line *line, struct weir_slice text)
{
    put_text(line, "\"");
    put_escaped(line, text);
    put_text(line, "\"");
}

static void put_double(struct line *line, double value)
{
    char text[40];
    int size = 0;
    for (int digits = 15; digits <= 17; digits += 2) {
        size = snprintf(text, sizeof(text), "%.*g", digits, value);
        double back = 0;
        if (sscanf(text, "%lf", &back) == 1 && !(back < value) && !(back > value)) {
            break;
        }
    }
    put(line, text, (size_t)size);
}

/* A text may stand without quotes in the text form if nobody could misread it. */
static bool is_plain(struct weir_slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == '=' || c == '\\') {
            return false;
        }
    }
    return text.size > 0 && text.size <= WEIR_LOG_TEXT_MAX;
}

static void put_value(struct line *line, const struct weir_log_field *field, bool json)
{
    switch (field->kind) {
    case WEIR_LOG_TEXT:
        if (!json && is_plain(field->as.text)) {
            put(line, field->as.text.data, field->as.text.size);
        } else {
            put_quoted(line, field->as.text);
        }
        break;
    case WEIR_LOG_INT:
        put_printf(line, "%lld", (long long)field->as.integer);
        break;
    case WEIR_LOG_UINT:
        put_printf(line, "%llu", (unsigned long long)field->as.natural);
        break;
    case WEIR_LOG_DOUBLE:
        if (isfinite(field->as.real)) {
            put_double(line, field->as.real);
        } else {
            put_text(line, json ? "null" : "none");
        }
        break;
    case WEIR_LOG_BOOL:
        put_text(line, field->as.truth ? "true" : "false");
        break;
    case WEIR_LOG_END:
    case WEIR_LOG_ERR:
        WEIR_UNREACHABLE();
    }
}

/* One name and value, or nothing and the line's `full`. */
static void put_field(struct line *line, const struct weir_log_field *field, bool json)
{
    if (line->full || (field->kind == WEIR_LOG_TEXT && field->as.text.data == NULL)) {
        return;
    }
    size_t before = line->size;
    if (json) {
        put_text(line, ",");
        put_quoted(line, weir_slice_of(field->name));
        put_text(line, ":");
    } else {
        put_text(line, " ");
        put_text(line, field->name);
        put_text(line, "=");
    }
    put_value(line, field, json);
    if (line->full) {
        line->size = before;
    }
}

static void put_text_field(struct line *line, const char *name, const char *text, bool json)
{
    if (text != NULL && text[0] != '\0') {
        const struct weir_log_field field = weir_log_field_text(name, text);
        put_field(line, &field, json);
    }
}

/* The end of the value at text: the first ")" behind which a message goes on or ends. */
static const char *value_end(const char *text)
{
    static const char *const onward[] = {" and ", " cannot ", " is ", " has ", " as ", ", ", ": "};
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != ')') {
            continue;
        }
        bool ends = at[1] == '\0';
        for (size_t i = 0; !ends && i < sizeof(onward) / sizeof(onward[0]); i++) {
            ends = strncmp(at + 1, onward[i], strlen(onward[i])) == 0;
        }
        if (ends) {
            return at;
        }
    }
    return text + strlen(text);
}

/* Messages of expressions show values as jq does: string ("Smith") and number (2) cannot be added.
 * What stands in those brackets is a record's, and stays out of the log. */
static void hide_values(const char *message, char *ret_text, size_t room)
{
    static const char *const types[] = {"string (", "number (", "object (", "array (", "boolean ("};
    size_t used = 0;
    while (*message != '\0' && used + 8 < room) {
        size_t shown = 0;
        for (size_t i = 0; shown == 0 && i < sizeof(types) / sizeof(types[0]); i++) {
            size_t size = strlen(types[i]);
            shown = strncmp(message, types[i], size) == 0 ? size : 0;
        }
        if (shown == 0) {
            ret_text[used++] = *message++;
        } else if (used + shown + 8 < room) {
            memcpy(ret_text + used, message, shown);
            memcpy(ret_text + used + shown, "\xe2\x80\xa6", 3);
            used += shown + 3;
            message = value_end(message + shown);
        } else {
            break;
        }
    }
    ret_text[used] = '\0';
}

static void put_err(struct line *line, const struct weir_err *err, bool json)
{
    if (err == NULL || err->status == WEIR_OK) {
        return;
    }
    put_text_field(line, "status", weir_status_name(err->status), json);
    put_text_field(line, "path", err->path, json);
    char shown[2 * sizeof(err->message)];
    hide_values(err->message, shown, sizeof(shown));
    put_text_field(line, "error", err->status == WEIR_EVAL ? shown : err->message, json);
    put_text_field(line, "hint", err->hint, json);
}

static void put_fields(struct line *line, const struct weir_log_entry *entry, bool json)
{
    if (entry->suppressed > 0) {
        const struct weir_log_field field = WEIR_F("suppressed", entry->suppressed);
        put_field(line, &field, json);
    }
    for (const struct weir_log_field *field = entry->fields;
         field != NULL && field->kind != WEIR_LOG_END; field++) {
        if (field->kind == WEIR_LOG_ERR) {
            put_err(line, field->as.err, json);
        } else {
            put_field(line, field, json);
        }
    }
}

static size_t line_end(struct line *line, const char *truncated, const char *end)
{
    bool full = line->full;
    char *at = line->data + line->size; /* RESERVE bytes are left */
    int size = snprintf(at, RESERVE, "%s%s", full ? truncated : "", end);
    WEIR_ASSERT(size > 0 && size < RESERVE);
    return line->size + (size_t)size;
}

size_t weir_log_render_json(const struct weir_log_entry *entry, char *buffer)
{
    struct line line = {.data = buffer};
    char time[WEIR_TIME_TEXT_SIZE];
    weir_time_format(entry->wall_ms, time);
    put_text(&line, "{\"time\":\"");
    put_text(&line, time);
    put_text(&line, "\",\"level\":\"");
    put_text(&line, weir_log_level_name(entry->level));
    put_text(&line, "\"");
    put_text_field(&line, "pipeline", entry->pipeline, true);
    put_text_field(&line, "component", entry->component, true);
    put_text_field(&line, "message", entry->message, true);
    put_fields(&line, entry, true);
    return line_end(&line, ",\"truncated\":true", "}\n");
}

size_t weir_log_render_text(const struct weir_log_entry *entry, bool colour, char *buffer)
{
    static const char *const colours[] = {
        [WEIR_LEVEL_DEBUG] = "\033[2m", [WEIR_LEVEL_INFO] = "\033[32m",
        [WEIR_LEVEL_WARN] = "\033[33m", [WEIR_LEVEL_ERROR] = "\033[1;31m",
        [WEIR_LEVEL_OFF] = "",
    };
    struct line line = {.data = buffer};
    char time[WEIR_TIME_TEXT_SIZE];
    weir_time_format(entry->wall_ms, time);
    const char *level = weir_log_level_name(entry->level);
    put(&line, time + 11, 12); /* the time of day, UTC */
    put_text(&line, " ");
    put_text(&line, colour ? colours[entry->level] : "");
    put_printf(&line, "%-5s", level);
    put_text(&line, colour ? "\033[0m" : "");
    put_text(&line, entry->pipeline == NULL ? "" : " ");
    put_escaped(&line, weir_slice_of(entry->pipeline == NULL ? "" : entry->pipeline));
    put_text(&line, entry->component == NULL ? "" : " ");
    put_escaped(&line, weir_slice_of(entry->component == NULL ? "" : entry->component));
    put_text(&line, entry->pipeline == NULL && entry->component == NULL ? " " : ": ");
    put_escaped(&line, weir_slice_of(entry->message));
    put_fields(&line, entry, false);
    return line_end(&line, " truncated=true", "\n");
}

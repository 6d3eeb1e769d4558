/* SPDX-License-Identifier: Apache-2.0
 *
 * Values to JSON text, byte for byte as jq 1.8.2 prints: members in order of insertion, numbers
 * that were not computed with in their own digits, DEL escaped, containers deeper than 10,000
 * replaced by a remark. What the parser has found to stand in the document as jq would print it is
 * copied; other strings are copied in runs between bytes that need an escape.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "data/heap.h"
#include "data/node.h"
#include "data/number.h"
#include "data/reader.h"
#include "data/scan.h"

#define DEPTH_MAX 10000
#define SORT_ON_STACK 32
#define COLOR_RESET "\033[0m"

struct writer {
    struct weir_strbuf *buf;
    unsigned flags;
    unsigned indent; /* spaces per level, or 1 for tabs; 0: compact */
};

static void write_value(struct writer *writer, struct weir_value value, int depth);

/* ── strings ── */

static void write_escape(struct weir_strbuf *buf, uint32_t codepoint)
{
    if (codepoint > 0xffff) {
        codepoint -= 0x10000;
        write_escape(buf, 0xd800 | codepoint >> 10);
        write_escape(buf, 0xdc00 | (codepoint & 0x3ff));
        return;
    }
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\',
                    'u',
                    digits[codepoint >> 12],
                    digits[codepoint >> 8 & 15],
                    digits[codepoint >> 4 & 15],
                    digits[codepoint & 15]};
    weir_strbuf_append(buf, text, sizeof text);
}

static void write_control(struct weir_strbuf *buf, unsigned char c)
{
    switch (c) {
    case '"':
        weir_strbuf_append(buf, "\\\"", 2);
        break;
    case '\\':
        weir_strbuf_append(buf, "\\\\", 2);
        break;
    case '\b':
        weir_strbuf_append(buf, "\\b", 2);
        break;
    case '\t':
        weir_strbuf_append(buf, "\\t", 2);
        break;
    case '\r':
        weir_strbuf_append(buf, "\\r", 2);
        break;
    case '\n':
        weir_strbuf_append(buf, "\\n", 2);
        break;
    case '\f':
        weir_strbuf_append(buf, "\\f", 2);
        break;
    default:
        write_escape(buf, c);
    }
}

/* Strings with something to escape: runs between escapes are copied. */
static void write_escaped(struct weir_strbuf *buf, const char *run, const char *end, bool ascii)
{
    const char *at = run;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8 && (memcpy(&word, at, 8), !weir_scan_word(word))) {
            at += 8;
            continue;
        }
        unsigned char c = (unsigned char)*at;
        if (c >= 0x80 ? !ascii : c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            at++;
            continue;
        }
        weir_strbuf_append(buf, run, (size_t)(at - run));
        if (c >= 0x80) {
            int32_t codepoint = weir_utf8_next(&at, end);
            write_escape(buf, codepoint < 0 ? 0xfffd : (uint32_t)codepoint);
        } else {
            write_control(buf, c);
            at++;
        }
        run = at;
    }
    weir_strbuf_append(buf, run, (size_t)(end - run));
}

/* Copies plain bytes until one needs care; there is room. */
static void write_string(struct weir_strbuf *buf, struct weir_value text, bool ascii)
{
    const char *at = text.as.bytes, *end = at + text.size;
    size_t needed = (size_t)text.size + 2 + 8;
    if (buf->capacity - buf->size <= needed && !weir_strbuf_reserve(buf, needed)) {
        return;
    }
    char *out = buf->data + buf->size;
    *out++ = '"';
    const char *stop =
        (text.flags & WEIR_VALUE_PLAIN) != 0 && !ascii ? end : weir_scan_plain(at, end);
    memcpy(out, at, (size_t)(stop - at));
    out += stop - at;
    if (stop == end) {
        *out++ = '"';
        buf->size = (size_t)(out - buf->data);
        buf->data[buf->size] = '\0';
        return;
    }
    buf->size = (size_t)(out - buf->data);
    write_escaped(buf, stop, end, ascii);
    weir_strbuf_push(buf, '"');
}

/* ── containers ── */

enum { COLOR_KEY = WEIR_KIND_OBJECT + 1, COLOR_COUNT, COLOR_SIZE = 64 };

static char colors[COLOR_COUNT][COLOR_SIZE] = {"",           "\033[0;90m", "\033[0;39m",
                                               "\033[0;39m", "\033[0;39m", "\033[0;32m",
                                               "\033[1;39m", "\033[1;39m", "\033[1;34m"};

bool weir_value_set_colors(const char *text)
{
    char changed[COLOR_COUNT][COLOR_SIZE];
    memcpy(changed, colors, sizeof changed);
    for (int kind = WEIR_KIND_NULL; kind < COLOR_COUNT; kind++) {
        size_t size = strspn(text, "0123456789;");
        if (size + sizeof "\033[m" > COLOR_SIZE ||
            (text[size] != ':' && text[size] != '\0' && kind < COLOR_KEY)) {
            return false;
        }
        if (size > 0 || text[size] == ':') { /* an empty one at the end is left out */
            snprintf(changed[kind], COLOR_SIZE, "\033[%.*sm", (int)size, text);
        }
        if (text[size] != ':') {
            break;
        }
        text += size + 1;
    }
    memcpy(colors, changed, sizeof colors);
    return true;
}

static const char *color_of(struct weir_value value)
{
    return colors[value.kind & 7];
}

static void color(struct writer *writer, const char *text)
{
    if ((writer->flags & WEIR_WRITE_COLOR) != 0) {
        weir_strbuf_text(writer->buf, text);
    }
}

static bool is_pretty(const struct writer *writer)
{
    return writer->indent > 0 || (writer->flags & WEIR_WRITE_LINES) != 0;
}

static void new_line(struct writer *writer, int depth)
{
    if (!is_pretty(writer)) {
        return;
    }
    weir_strbuf_push(writer->buf, '\n');
    char filler = (writer->flags & WEIR_WRITE_TAB) != 0 ? '\t' : ' ';
    for (unsigned i = 0; i < writer->indent * (unsigned)depth; i++) {
        weir_strbuf_push(writer->buf, filler);
    }
}

static void write_array(struct writer *writer, struct weir_value array, int depth)
{
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, array);
    const char *start = color_of(array);
    if (iter.count == 0) {
        weir_strbuf_append(writer->buf, "[]", 2);
        return;
    }
    weir_strbuf_push(writer->buf, '[');
    bool first = true;
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item); first = false) {
        if (!first) {
            color(writer, start);
            weir_strbuf_push(writer->buf, ',');
        }
        color(writer, COLOR_RESET);
        new_line(writer, depth + 1);
        write_value(writer, item, depth + 1);
    }
    new_line(writer, depth);
    color(writer, start);
    weir_strbuf_push(writer->buf, ']');
}

static void write_member(struct writer *writer,
                         struct weir_value key,
                         struct weir_value value,
                         const char *start,
                         bool first,
                         int depth)
{
    if (!first) {
        color(writer, start);
        weir_strbuf_push(writer->buf, ',');
    }
    color(writer, COLOR_RESET);
    new_line(writer, depth + 1);
    color(writer, colors[COLOR_KEY]);
    write_string(writer->buf, key, (writer->flags & WEIR_WRITE_ASCII) != 0);
    color(writer, COLOR_RESET);
    color(writer, start);
    weir_strbuf_push(writer->buf, ':');
    color(writer, COLOR_RESET);
    if (is_pretty(writer)) {
        weir_strbuf_push(writer->buf, ' ');
    }
    write_value(writer, value, depth + 1);
}

static void write_sorted(struct writer *writer, struct weir_value object, int depth)
{
    size_t count = weir_value_count(object);
    struct weir_member *members = weir_calloc(count + 1, sizeof *members);
    weir_object_sorted(object, members);
    for (size_t i = 0; i < count; i++) {
        write_member(writer, members[i].key, members[i].value, color_of(object), i == 0, depth);
    }
    weir_free(members);
}

static void write_object(struct writer *writer, struct weir_value object, int depth)
{
    const char *start = color_of(object);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, object);
    if (iter.form == WEIR_FORM_NODE ? iter.count == 0 : weir_object_of(object)->count == 0) {
        weir_strbuf_append(writer->buf, "{}", 2);
        return;
    }
    weir_strbuf_push(writer->buf, '{');
    if ((writer->flags & WEIR_WRITE_SORTED) != 0) {
        write_sorted(writer, object, depth);
    } else {
        struct weir_value key, value;
        for (bool first = true; weir_value_iter_next(&iter, &key, &value); first = false) {
            write_member(writer, key, value, start, first, depth);
        }
    }
    new_line(writer, depth);
    color(writer, start);
    weir_strbuf_push(writer->buf, '}');
}

static void write_number(struct weir_strbuf *buf, struct weir_value number)
{
    if ((number.flags & WEIR_VALUE_PLAIN) != 0) {
        weir_strbuf_append(buf, number.as.bytes, number.size);
        return;
    }
    if ((number.form & WEIR_FORM_TEXT) != 0) {
        weir_number_write_text(number.as.bytes, number.size, buf);
        return;
    }
    char text[WEIR_NUMBER_TEXT_MAX];
    weir_strbuf_append(buf, text, weir_number_format(number.as.number, text));
}

static void write_value(struct writer *writer, struct weir_value value, int depth)
{
    if (value.kind == WEIR_KIND_ABSENT) {
        return;
    }
    color(writer, color_of(value));
    if (depth > DEPTH_MAX) {
        weir_strbuf_text(writer->buf, "<skipped: too deep>");
        color(writer, COLOR_RESET);
        return;
    }
    switch (weir_value_kind(value)) {
    case WEIR_KIND_NULL:
        weir_strbuf_append(writer->buf, "null", 4);
        break;
    case WEIR_KIND_FALSE:
        weir_strbuf_append(writer->buf, "false", 5);
        break;
    case WEIR_KIND_TRUE:
        weir_strbuf_append(writer->buf, "true", 4);
        break;
    case WEIR_KIND_NUMBER:
        write_number(writer->buf, value);
        break;
    case WEIR_KIND_STRING:
        write_string(writer->buf, value, (writer->flags & WEIR_WRITE_ASCII) != 0);
        break;
    case WEIR_KIND_ARRAY:
        write_array(writer, value, depth);
        break;
    case WEIR_KIND_OBJECT:
        write_object(writer, value, depth);
        break;
    case WEIR_KIND_ABSENT:
    default:
        break;
    }
    color(writer, COLOR_RESET);
}

/* ── compact, the way into every sink: no colours, no indentation, no escapes above DEL ── */

static bool write_compact(struct weir_strbuf *buf, struct weir_value value, int depth);

static inline void put(struct weir_strbuf *buf, char c)
{
    if (__builtin_expect(buf->capacity - buf->size > 1, 1)) {
        buf->data[buf->size++] = c;
    } else {
        weir_strbuf_push(buf, c);
    }
}

static bool write_nodes(struct weir_strbuf *buf, const struct weir_json_node *node, int depth)
{
    bool is_object = node->kind == WEIR_KIND_OBJECT, done = true;
    const struct weir_json_node *item = weir_node_first(node);
    put(buf, is_object ? '{' : '[');
    for (uint32_t i = 0; done && i < node->size; i++) {
        if (i > 0) {
            put(buf, ',');
        }
        if (is_object) {
            write_string(buf, weir_node_value(item++), false);
            put(buf, ':');
        }
        done = write_compact(buf, weir_node_value(item), depth + 1);
        item = weir_node_next(item);
    }
    put(buf, is_object ? '}' : ']');
    return done;
}

/* A parsed container, by one copy where its text is what is to be printed. A text deep within
 * others may pass the depth only if it is long. */
static bool write_parsed(struct weir_strbuf *buf, const struct weir_json_node *node, int depth)
{
    struct weir_slice text = weir_node_text(node);
    if (text.data != NULL && (depth == 0 || text.size / 2 + (size_t)depth < DEPTH_MAX)) {
        weir_strbuf_slice(buf, text);
        return true;
    }
    return !weir_node_is_doubled(node) && write_nodes(buf, node, depth);
}

static bool write_built_array(struct weir_strbuf *buf, const struct weir_array *array, int depth)
{
    bool done = true;
    put(buf, '[');
    for (uint32_t i = 0; done && i < array->size; i++) {
        if (i > 0) {
            put(buf, ',');
        }
        done = write_compact(buf, array->items[i], depth + 1);
    }
    put(buf, ']');
    return done;
}

static bool write_built_object(struct weir_strbuf *buf, const struct weir_object *object, int depth)
{
    bool done = true, first = true;
    put(buf, '{');
    for (uint32_t i = 0; done && i < object->size; i++) {
        const struct weir_member *member = &object->members[i];
        if (member->key.kind == WEIR_KIND_ABSENT) {
            continue;
        }
        if (!first) {
            put(buf, ',');
        }
        first = false;
        write_string(buf, member->key, false);
        put(buf, ':');
        done = write_compact(buf, member->value, depth + 1);
    }
    put(buf, '}');
    return done;
}

/* False: something rare (doubled keys, great depth) wants the general way; what was written up to
 * there is to be dropped. */
static bool write_compact(struct weir_strbuf *buf, struct weir_value value, int depth)
{
    if (depth > DEPTH_MAX) {
        return false;
    }
    switch (weir_value_kind(value)) {
    case WEIR_KIND_NULL:
        weir_strbuf_append(buf, "null", 4);
        return true;
    case WEIR_KIND_FALSE:
        weir_strbuf_append(buf, "false", 5);
        return true;
    case WEIR_KIND_TRUE:
        weir_strbuf_append(buf, "true", 4);
        return true;
    case WEIR_KIND_NUMBER:
        write_number(buf, value);
        return true;
    case WEIR_KIND_STRING:
        write_string(buf, value, false);
        return true;
    case WEIR_KIND_ARRAY:
        return value.form == WEIR_FORM_NODE ? write_parsed(buf, value.as.container, depth)
                                            : write_built_array(buf, value.as.container, depth);
    case WEIR_KIND_OBJECT:
        return value.form == WEIR_FORM_NODE ? write_parsed(buf, value.as.container, depth)
                                            : write_built_object(buf, value.as.container, depth);
    case WEIR_KIND_ABSENT:
    default:
        return true;
    }
}

void weir_value_write(struct weir_value value, struct weir_strbuf *buf, unsigned flags)
{
    size_t start = buf->size;
    if (flags == WEIR_WRITE_COMPACT && write_compact(buf, value, 0)) {
        if (buf->data != NULL) {
            buf->data[buf->size] = '\0';
        }
        return;
    }
    buf->size = start;
    struct writer writer = {.buf = buf, .flags = flags};
    writer.indent = (flags & WEIR_WRITE_TAB) != 0 ? 1 : flags >> WEIR_WRITE_INDENT_SHIFT & 0xff;
    write_value(&writer, value, 0);
}

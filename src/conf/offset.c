/* SPDX-License-Identifier: Apache-2.0
 *
 * From a byte of a scalar's value back to the byte of the text where it was written.
 *
 * YAML's styles only ever change white space, quotes and escapes: folding turns line ends into
 * spaces, blocks lose their indentation, '' is a quote and \x41 a letter. So instead of a second
 * scanner per style, value and text are walked side by side: white space may be missing on either
 * side, everything else must come in the same order. Non-blank bytes are therefore exact; a blank
 * byte leads to the place behind the byte before it.
 */
#include "conf/tree.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The first byte of the scalar's content: behind anchor, tag, quote or block header. */
static size_t content_start(const struct weir_node *node, size_t end)
{
    const char *bytes = node->text->bytes.data;
    size_t at = node->start;
    while (at < end && (bytes[at] == '&' || bytes[at] == '!')) {
        while (at < end && !is_blank(bytes[at])) {
            at++;
        }
        while (at < end && is_blank(bytes[at])) {
            at++;
        }
    }
    if (node->style == WEIR_STYLE_SINGLE || node->style == WEIR_STYLE_DOUBLE) {
        return at < end ? at + 1 : at;
    }
    if (node->style == WEIR_STYLE_LITERAL || node->style == WEIR_STYLE_FOLDED) {
        while (at < end && bytes[at] != '\n' && bytes[at] != '\r') {
            at++;
        }
    }
    return at;
}

/* Bytes of text and bytes of value that the escape at p stands for. */
static size_t escape_length(const char *p, size_t left, size_t *ret_made)
{
    size_t digits = left < 2 ? 0 : p[1] == 'x' ? 2 : p[1] == 'u' ? 4 : p[1] == 'U' ? 8 : 0;
    *ret_made = 1;
    if (left < 2 || digits + 2 > left) {
        return left;
    }
    if (digits > 0) {
        unsigned long code = 0;
        for (size_t i = 0; i < digits; i++) {
            char c = p[2 + i];
            unsigned digit = c <= '9' ? (unsigned)(c - '0') : ((unsigned)c | 0x20u) - 'a' + 10;
            code = code * 16 + digit;
        }
        *ret_made = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    } else if (p[1] == 'N' || p[1] == '_') {
        *ret_made = 2;
    } else if (p[1] == 'L' || p[1] == 'P') {
        *ret_made = 3;
    }
    return digits + 2;
}

/* One step in a double-quoted scalar at a backslash: how much text, how much value. */
static size_t step_escape(const char *p, size_t left, size_t *ret_made)
{
    if (left >= 2 && (p[1] == '\n' || p[1] == '\r')) {
        *ret_made = 0;
        return 2;
    }
    return escape_length(p, left, ret_made);
}

static size_t raw_to_text(const struct weir_node *node, size_t offset)
{
    const char *bytes = node->text->bytes.data;
    size_t end = node->end;
    size_t at = content_start(node, end);
    size_t behind = at; /* the text behind the last byte that matched */
    size_t value_at = 0;
    while (value_at < node->raw.size && at < end) {
        if (node->style == WEIR_STYLE_DOUBLE && bytes[at] == '\\') {
            size_t made = 0;
            size_t length = step_escape(bytes + at, end - at, &made);
            if (made > 0 && offset < value_at + made) {
                return at;
            }
            value_at += made;
            at += length;
            behind = made > 0 ? at : behind;
        } else if (is_blank(node->raw.data[value_at])) {
            if (value_at == offset) {
                return behind;
            }
            value_at++;
            at += bytes[at] == ' ' || bytes[at] == '\t';
        } else if (is_blank(bytes[at])) {
            at++;
        } else {
            if (value_at == offset) {
                return at;
            }
            bool is_pair = node->style == WEIR_STYLE_SINGLE && bytes[at] == '\'';
            at += is_pair ? 2 : 1;
            value_at++;
            behind = at;
        }
    }
    return behind < end ? behind : end;
}

size_t weir_node_offset(const struct weir_node *node, size_t offset)
{
    if (node->type != WEIR_NODE_SCALAR) {
        return node->start;
    }
    size_t shift = 0; /* raw offset = offset + shift, behind a substitution; may wrap, on purpose */
    for (const struct weir_substitution *made = node->substitutions; made != NULL;
         made = made->next) {
        if (node->is_broken || offset < made->start) {
            break;
        }
        if (offset < made->end) {
            return raw_to_text(node, made->raw_start);
        }
        shift = made->raw_end - made->end;
    }
    return raw_to_text(node, offset + shift);
}

const struct weir_substitution *weir_node_substitution(const struct weir_node *node, size_t offset)
{
    const struct weir_substitution *made = node->substitutions;
    while (made != NULL && !(offset >= made->start && offset < made->end)) {
        made = made->next;
    }
    return made;
}

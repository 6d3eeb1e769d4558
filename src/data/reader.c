/* SPDX-License-Identifier: Apache-2.0
 *
 * The lenient JSON reader: a pushdown automaton fed byte by byte, so that a text may be cut
 * anywhere. The stack holds open containers and, above an open object, the key that waits for its
 * value; `next` is a finished value that nobody has taken yet. A literal ends when something that
 * is no literal begins; a value on the top level is given out when the next byte shows that it
 * ended.
 *
 * With WEIR_READER_STREAM no containers are built (reader_stream.c): `path` says where the reader
 * is and each leaf is given out with its path. Messages, lines and columns are jq's.
 */
#include "data/reader_private.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "data/number.h"

#define TOKEN_MAX ((size_t)1 << 30)
#define RECORD_SEPARATOR '\036'

struct weir_reader *weir_reader_new(struct weir_heap *heap, unsigned flags, uint32_t depth)
{
    struct weir_reader *reader = weir_calloc(1, sizeof *reader);
    reader->heap = heap;
    reader->flags = flags;
    if ((flags & WEIR_READER_STREAM) == 0) {
        reader->flags &= ~(unsigned)WEIR_READER_STREAM_ERRORS;
    }
    reader->depth = depth == 0 ? 10000 : depth;
    reader->line = 1;
    reader->state = (flags & WEIR_READER_SEQ) != 0 ? READER_RESYNC : READER_NORMAL;
    weir_strbuf_init(&reader->token, TOKEN_MAX);
    weir_strbuf_init(&reader->clean, TOKEN_MAX);
    weir_strbuf_init(&reader->message, TOKEN_MAX);
    if ((flags & WEIR_READER_STREAM) != 0) {
        reader->path = weir_array_new(heap, 8);
    }
    return reader;
}

void weir_reader_free(struct weir_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    weir_strbuf_done(&reader->token);
    weir_strbuf_done(&reader->clean);
    weir_strbuf_done(&reader->message);
    weir_free(reader->stack);
    weir_free(reader);
}

static void reset(struct weir_reader *reader)
{
    if ((reader->flags & WEIR_READER_STREAM) != 0) {
        weir_release(reader->heap, reader->path);
        reader->path = weir_array_new(reader->heap, 8);
        reader->path_size = 0;
    }
    reader->last = LAST_NONE;
    weir_release(reader->heap, reader->output);
    weir_release(reader->heap, reader->next);
    reader->output = reader->next = (struct weir_value){0};
    while (reader->stack_size > 0) {
        weir_release(reader->heap, reader->stack[--reader->stack_size]);
    }
    weir_strbuf_clear(&reader->token);
    reader->state = READER_NORMAL;
}

static void push(struct weir_reader *reader, struct weir_value value)
{
    if (reader->stack_size == reader->stack_capacity) {
        reader->stack_capacity = reader->stack_capacity * 2 + 16;
        reader->stack = weir_realloc(reader->stack, reader->stack_capacity, sizeof *reader->stack);
    }
    reader->stack[reader->stack_size++] = value;
}

static struct weir_value *top(struct weir_reader *reader)
{
    return reader->stack_size == 0 ? NULL : &reader->stack[reader->stack_size - 1];
}

static const char *have_value(struct weir_reader *reader, struct weir_value value)
{
    bool streaming = (reader->flags & WEIR_READER_STREAM) != 0;
    if (!weir_value_is_absent(reader->next) || (streaming && reader->last == LAST_VALUE)) {
        weir_release(reader->heap, value);
        return "Expected separator between values";
    }
    if (streaming) {
        reader->last = reader->path_size > 0 ? LAST_VALUE : LAST_NONE;
    }
    reader->next = value;
    return NULL;
}

static struct weir_value take_next(struct weir_reader *reader)
{
    struct weir_value value = reader->next;
    reader->next = (struct weir_value){0};
    return value;
}

static const char *open_container(struct weir_reader *reader, struct weir_value container)
{
    if (reader->stack_size >= reader->depth) {
        return "Exceeds depth limit for parsing";
    }
    if (!weir_value_is_absent(reader->next)) {
        return "Expected separator between values";
    }
    push(reader, container);
    return NULL;
}

static void set_member(struct weir_reader *reader)
{
    struct weir_value key = reader->stack[--reader->stack_size];
    WEIR_ASSERT(reader->stack_size > 0);
    struct weir_value *object = &reader->stack[reader->stack_size - 1];
    *object = weir_object_set(reader->heap, *object, key, take_next(reader));
}

static const char *on_colon(struct weir_reader *reader)
{
    if (weir_value_is_absent(reader->next)) {
        return "Expected string key before ':'";
    }
    if (top(reader) == NULL || top(reader)->kind != WEIR_KIND_OBJECT) {
        return "':' not as part of an object";
    }
    if (reader->next.kind != WEIR_KIND_STRING) {
        return "Object keys must be strings";
    }
    push(reader, take_next(reader));
    return NULL;
}

static const char *on_comma(struct weir_reader *reader)
{
    if (weir_value_is_absent(reader->next)) {
        return "Expected value before ','";
    }
    struct weir_value *open = top(reader);
    if (open == NULL) {
        return "',' not as part of an object or array";
    }
    if (open->kind == WEIR_KIND_ARRAY) {
        *open = weir_array_push(reader->heap, *open, take_next(reader));
        return NULL;
    }
    if (open->kind != WEIR_KIND_STRING) {
        return "Objects must consist of key:value pairs";
    }
    set_member(reader);
    return NULL;
}

static const char *on_bracket(struct weir_reader *reader)
{
    struct weir_value *open = top(reader);
    if (open == NULL || open->kind != WEIR_KIND_ARRAY) {
        return "Unmatched ']'";
    }
    if (!weir_value_is_absent(reader->next)) {
        *open = weir_array_push(reader->heap, *open, take_next(reader));
    } else if (weir_value_count(*open) != 0) {
        return "Expected another array element";
    }
    reader->next = reader->stack[--reader->stack_size];
    return NULL;
}

static const char *on_brace(struct weir_reader *reader)
{
    struct weir_value *open = top(reader);
    if (open == NULL) {
        return "Unmatched '}'";
    }
    if (!weir_value_is_absent(reader->next)) {
        if (open->kind != WEIR_KIND_STRING) {
            return "Objects must consist of key:value pairs";
        }
        set_member(reader);
    } else if (open->kind != WEIR_KIND_OBJECT) {
        return "Unmatched '}'";
    } else if (weir_value_count(*open) != 0) {
        return "Expected another key-value pair";
    }
    reader->next = reader->stack[--reader->stack_size];
    return NULL;
}

static const char *on_structure(struct weir_reader *reader, char c)
{
    if ((reader->flags & WEIR_READER_STREAM) != 0) {
        return weir_reader_stream_token(reader, c);
    }
    switch (c) {
    case '[':
        return open_container(reader, weir_array_new(reader->heap, 4));
    case '{':
        return open_container(reader, weir_object_new(reader->heap, 4));
    case ':':
        return on_colon(reader);
    case ',':
        return on_comma(reader);
    case ']':
        return on_bracket(reader);
    default:
        return on_brace(reader);
    }
}

static int hex4(const char *at)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Decodes \uXXXX at *at (behind the u) into `out`; moves *at. */
static const char *unescape_unicode(const char **at, const char *end, char **out)
{
    if (end - *at < 4) {
        return "Invalid \\uXXXX escape";
    }
    int code = hex4(*at);
    if (code < 0) {
        return "Invalid characters in \\uXXXX escape";
    }
    *at += 4;
    uint32_t codepoint = (uint32_t)code;
    if (codepoint >= 0xd800 && codepoint <= 0xdbff) {
        int low = end - *at >= 6 && (*at)[0] == '\\' && (*at)[1] == 'u' ? hex4(*at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            return "Invalid \\uXXXX\\uXXXX surrogate pair escape";
        }
        *at += 6;
        codepoint = 0x10000 + ((codepoint - 0xd800) << 10 | ((uint32_t)low - 0xdc00));
    }
    *out += weir_utf8_put(codepoint, *out);
    return NULL;
}

/* Unescapes the token in place: what comes out is never longer. */
static const char *unescape(struct weir_strbuf *token)
{
    const char *at = token->data, *end = token->data + token->size;
    char *out = token->data;
    while (at < end) {
        char c = *at++;
        if ((unsigned char)c < 0x20) {
            return "Invalid string: control characters from U+0000 through U+001F must be escaped";
        }
        if (c != '\\') {
            *out++ = c;
            continue;
        }
        if (at == end) {
            return "Expected escape character at end of string";
        }
        static const char names[] = "\\\"/bftnr", meanings[] = "\\\"/\b\f\t\n\r";
        c = *at++;
        const char *name = c == '\0' ? NULL : strchr(names, c);
        if (name != NULL) {
            *out++ = meanings[name - names];
        } else if (c == 'u') {
            const char *problem = unescape_unicode(&at, end, &out);
            if (problem != NULL) {
                return problem;
            }
        } else {
            return "Invalid escape";
        }
    }
    token->size = (size_t)(out - token->data);
    return NULL;
}

static const char *finish_string(struct weir_reader *reader)
{
    const char *problem = reader->token.size == 0 ? NULL : unescape(&reader->token);
    if (problem != NULL) {
        return problem;
    }
    struct weir_slice bytes = weir_strbuf_view(&reader->token);
    if (!weir_utf8_valid(bytes)) {
        weir_strbuf_clear(&reader->clean);
        weir_utf8_clean(bytes, &reader->clean);
        bytes = weir_strbuf_view(&reader->clean);
    }
    problem = have_value(reader, weir_string_new(reader->heap, bytes));
    weir_strbuf_clear(&reader->token);
    return problem;
}

static bool is_nan(struct weir_slice token)
{
    if (token.size > 0 && (token.data[0] == '-' || token.data[0] == '+')) {
        token.data++;
        token.size--;
    }
    return token.size == 3 && strncasecmp(token.data, "nan", 3) == 0;
}

static const char *finish_literal(struct weir_reader *reader)
{
    struct weir_slice token = weir_strbuf_view(&reader->token);
    if (token.size == 0) {
        return NULL;
    }
    struct weir_value value;
    struct weir_decimal decimal;
    if (token.data[0] == 't' || token.data[0] == 'f' ||
        (token.data[0] == 'n' && token.size > 1 && token.data[1] == 'u')) {
        if (weir_slice_equal(token, WEIR_SLICE("true"))) {
            value = weir_value_bool(true);
        } else if (weir_slice_equal(token, WEIR_SLICE("false"))) {
            value = weir_value_bool(false);
        } else if (weir_slice_equal(token, WEIR_SLICE("null"))) {
            value = weir_value_null();
        } else {
            return "Invalid literal";
        }
    } else if (token.data[0] == '\'') {
        return "Invalid string literal; expected \", but got '";
    } else if (is_nan(token)) {
        value = weir_value_number(weir_number_parse("nan", 3));
    } else if (weir_decimal_parse(token, &decimal)) {
        value = weir_number_text(reader->heap, token);
    } else {
        return "Invalid numeric literal";
    }
    const char *problem = have_value(reader, value);
    weir_strbuf_clear(&reader->token);
    return problem;
}

/* A finished value on the top level, or the next event. */
static bool take_done(struct weir_reader *reader, struct weir_value *ret)
{
    if ((reader->flags & WEIR_READER_STREAM) != 0) {
        return weir_reader_stream_done(reader, ret);
    }
    if (reader->stack_size > 0 || weir_value_is_absent(reader->next)) {
        return false;
    }
    *ret = take_next(reader);
    return true;
}

static bool is_truncated(const struct weir_reader *reader)
{
    enum weir_kind kind = weir_value_kind(reader->next);
    if ((reader->flags & WEIR_READER_STREAM) != 0) {
        return reader->path_size > 0 || (kind >= WEIR_KIND_NULL && kind <= WEIR_KIND_NUMBER);
    }
    return !reader->after_space &&
           (reader->stack_size > 0 || reader->token.size > 0 || kind == WEIR_KIND_NUMBER);
}

static bool is_top_number(const struct weir_reader *reader)
{
    size_t open =
        (reader->flags & WEIR_READER_STREAM) != 0 ? reader->path_size : reader->stack_size;
    return open == 0 && reader->next.kind == WEIR_KIND_NUMBER;
}

static const char *on_separator(struct weir_reader *reader, struct weir_value *ret, bool *done)
{
    if (is_truncated(reader)) {
        return finish_literal(reader) == NULL && is_top_number(reader)
                   ? "Potentially truncated top-level numeric value"
                   : "Truncated value";
    }
    const char *problem = finish_literal(reader);
    if (problem != NULL) {
        return problem;
    }
    *done = reader->state == READER_NORMAL && take_done(reader, ret);
    if (!*done) {
        reset(reader);
    }
    return NULL;
}

static const char *on_text(struct weir_reader *reader, char c, struct weir_value *ret, bool *done)
{
    bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    bool structure = c == '[' || c == '{' || c == ':' || c == ',' || c == ']' || c == '}';
    reader->after_space = space;
    if (!space && !structure && c != '"') {
        weir_strbuf_push(&reader->token, c);
        return reader->token.failed ? "Token too long" : NULL;
    }
    const char *problem = finish_literal(reader);
    if (problem != NULL) {
        return problem;
    }
    *done = take_done(reader, ret);
    if (c == '"') {
        reader->state = READER_STRING;
    } else if (structure) {
        problem = on_structure(reader, c);
        if (problem == NULL && !*done) {
            *done = take_done(reader, ret);
        }
    }
    return problem;
}

static const char *on_byte(struct weir_reader *reader, char c, struct weir_value *ret, bool *done)
{
    reader->column++;
    if (c == '\n') {
        reader->line++;
        reader->column = 0;
    }
    if ((reader->flags & WEIR_READER_SEQ) != 0 && c == RECORD_SEPARATOR) {
        return on_separator(reader, ret, done);
    }
    if (reader->state == READER_NORMAL) {
        return on_text(reader, c, ret, done);
    }
    reader->after_space = false;
    if (c == '"' && reader->state == READER_STRING) {
        const char *problem = finish_string(reader);
        reader->state = READER_NORMAL;
        if (problem == NULL) {
            *done = take_done(reader, ret);
        }
        return problem;
    }
    weir_strbuf_push(&reader->token, c);
    bool escape = c == '\\' && reader->state == READER_STRING;
    reader->state = escape ? READER_ESCAPE : READER_STRING;
    return reader->token.failed ? "Token too long" : NULL;
}

void weir_reader_feed(struct weir_reader *reader, struct weir_slice bytes, bool last)
{
    static const char mark[] = "\xef\xbb\xbf";
    while (bytes.size > 0 && reader->mark_size < 3) {
        if (bytes.data[0] == mark[reader->mark_size]) {
            bytes.data++;
            bytes.size--;
            reader->mark_size++;
        } else {
            reader->mark_size = reader->mark_size == 0 ? 3 : 4; /* 4: cut off, malformed */
        }
    }
    reader->bytes = bytes;
    reader->is_last = last;
}

/* An error as the caller asked for it: a message, or a [message, path] value. */
static enum weir_reader_result
fail(struct weir_reader *reader, struct weir_value *ret, const char *problem, const char *suffix)
{
    weir_strbuf_clear(&reader->message);
    weir_strbuf_printf(&reader->message, "%s at line %d, column %d%s", problem, reader->line,
                       reader->column, suffix);
    if ((reader->flags & WEIR_READER_STREAM_ERRORS) == 0) {
        return WEIR_READER_ERROR;
    }
    struct weir_value pair = weir_array_new(reader->heap, 2);
    pair = weir_array_push(reader->heap, pair,
                           weir_string_new(reader->heap, weir_strbuf_view(&reader->message)));
    *ret = weir_array_push(reader->heap, pair, weir_retain(reader->path));
    return WEIR_READER_VALUE;
}

static enum weir_reader_result at_end(struct weir_reader *reader, struct weir_value *ret)
{
    reader->ended = true;
    enum weir_reader_result result;
    const char *problem = NULL;
    if (reader->state == READER_RESYNC) {
        return fail(reader, ret, "Unfinished abandoned text at EOF", "");
    }
    char text[128];
    bool streaming = (reader->flags & WEIR_READER_STREAM) != 0;
    if (reader->state != READER_NORMAL) {
        problem = "Unfinished string at EOF";
    } else if ((problem = finish_literal(reader)) != NULL) {
        snprintf(text, sizeof text, "%s at EOF", problem);
        problem = text;
    } else if ((streaming ? reader->path_size : reader->stack_size) != 0) {
        problem = "Unfinished JSON term at EOF";
    }
    if (problem != NULL) {
        result = fail(reader, ret, problem, "");
        reset(reader);
        return result;
    }
    if (weir_value_is_absent(reader->next)) {
        return WEIR_READER_END;
    }
    if ((reader->flags & WEIR_READER_SEQ) != 0 && !reader->after_space &&
        reader->next.kind == WEIR_KIND_NUMBER) {
        return fail(reader, ret, "Potentially truncated top-level numeric value at EOF", "");
    }
    *ret = take_next(reader);
    if (streaming) {
        struct weir_value pair = weir_array_new(reader->heap, 2);
        pair = weir_array_push(reader->heap, pair, weir_retain(reader->path));
        *ret = weir_array_push(reader->heap, pair, *ret);
    }
    return WEIR_READER_VALUE;
}

static enum weir_reader_result
on_problem(struct weir_reader *reader, struct weir_value *ret, const char *problem, char c)
{
    bool seq = (reader->flags & WEIR_READER_SEQ) != 0;
    bool resync = seq && c != RECORD_SEPARATOR;
    enum weir_reader_result result =
        fail(reader, ret, problem, resync ? " (need RS to resync)" : "");
    reset(reader);
    if (resync) {
        reader->state = READER_RESYNC;
    }
    if (!seq) {
        /* Nothing behind the error can be trusted. */
        reader->bytes.size = 0;
        reader->ended = true;
    }
    return result;
}

enum weir_reader_result weir_reader_next(struct weir_reader *reader, struct weir_value *ret)
{
    if (reader->ended) {
        return WEIR_READER_END;
    }
    if (reader->mark_size == 4) {
        reader->mark_size = 3;
        if ((reader->flags & WEIR_READER_SEQ) == 0) {
            weir_strbuf_clear(&reader->message);
            weir_strbuf_text(&reader->message, "Malformed BOM");
            reader->ended = true;
            return WEIR_READER_ERROR;
        }
        reset(reader);
        reader->state = READER_RESYNC;
    }
    if ((reader->flags & WEIR_READER_STREAM) != 0 && weir_reader_stream_done(reader, ret)) {
        return WEIR_READER_VALUE;
    }
    while (reader->bytes.size > 0) {
        char c = *reader->bytes.data++;
        reader->bytes.size--;
        if (reader->state == READER_RESYNC) {
            reader->column = c == '\n' ? 0 : reader->column + 1;
            reader->line += c == '\n';
            if (c == RECORD_SEPARATOR) {
                reader->state = READER_NORMAL;
            }
            continue;
        }
        bool done = false;
        const char *problem = on_byte(reader, c, ret, &done);
        if (problem != NULL) {
            return on_problem(reader, ret, problem, c);
        }
        if (done) {
            return WEIR_READER_VALUE;
        }
    }
    return reader->is_last ? at_end(reader, ret) : WEIR_READER_MORE;
}

const char *weir_reader_message(const struct weir_reader *reader)
{
    return reader->message.data;
}

struct weir_value weir_reader_parse(struct weir_heap *heap,
                                    struct weir_slice bytes,
                                    uint32_t depth,
                                    struct weir_strbuf *ret_message)
{
    struct weir_reader *reader = weir_reader_new(heap, 0, depth);
    weir_reader_feed(reader, bytes, true);
    struct weir_value value = {0}, extra = {0};
    enum weir_reader_result result = weir_reader_next(reader, &value);
    const char *problem = NULL;
    if (result == WEIR_READER_VALUE) {
        result = weir_reader_next(reader, &extra);
        if (result == WEIR_READER_VALUE) {
            problem = "Unexpected extra JSON values";
        } else if (result == WEIR_READER_ERROR) {
            problem = weir_reader_message(reader);
        }
    } else {
        problem = result == WEIR_READER_ERROR ? weir_reader_message(reader) : "Expected JSON value";
    }
    if (problem != NULL) {
        weir_strbuf_text(ret_message, problem);
        weir_release(heap, value);
        weir_release(heap, extra);
        value = (struct weir_value){0};
    }
    weir_reader_free(reader);
    return value;
}

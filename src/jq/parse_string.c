/* SPDX-License-Identifier: Apache-2.0
 *
 * String literals. Text between interpolations becomes constants, with escapes read by the JSON
 * reader; what is interpolated is a query, formatted. The lexer only knows the opening quote:
 * positions in between are found here.
 */
#include "jq/parser.h"

#include "data/reader.h"

/* The escapes at `at` (a backslash) as bytes; moves *at. False: reported. */
static bool parse_escapes(struct jq_parser *parser, uint32_t *at, struct weir_strbuf *buf)
{
    uint32_t start = *at;
    const char *data = parser->text.data;
    while (*at + 1 < parser->text.size && data[*at] == '\\' && data[*at + 1] != '(') {
        *at += 2;
        if (data[*at - 1] == 'u') {
            for (int i = 0;
                 i < 4 && *at < parser->text.size && data[*at] != '"' && data[*at] != '\\'; i++) {
                ++*at;
            }
        }
    }
    if (*at == start) {
        jq_build_fail(parser->build, start, 1, "unfinished escape at the end of the program");
        return false;
    }
    struct weir_strbuf quoted, message;
    weir_strbuf_init(&quoted, SIZE_MAX / 2);
    weir_strbuf_init(&message, 4096);
    weir_strbuf_push(&quoted, '"');
    weir_strbuf_append(&quoted, data + start, *at - start);
    weir_strbuf_push(&quoted, '"');
    struct weir_value value =
        weir_reader_parse(parser->build->heap, weir_strbuf_view(&quoted), 0, &message);
    if (weir_value_is_absent(value)) {
        jq_build_fail(parser->build, start, *at - start, "invalid escape in a string");
    } else {
        weir_strbuf_slice(buf, weir_value_text(value));
    }
    weir_strbuf_done(&quoted);
    weir_strbuf_done(&message);
    return !weir_value_is_absent(value);
}

static void flush_text(struct jq_parser *parser,
                       struct jq_node *string,
                       uint32_t offset,
                       struct weir_strbuf *buf)
{
    if (buf->size > 0 || string->count == 0) {
        jq_append(parser, string, jq_text_literal(parser, offset, weir_strbuf_view(buf)));
    }
    weir_strbuf_clear(buf);
}

/* Reads a string whose opening quote is the next token. Parts alternate as they come. */
static bool
parse_string_parts(struct jq_parser *parser, struct jq_node *string, struct weir_strbuf *buf)
{
    uint32_t open = parser->token.offset, at = open + 1;
    for (;;) {
        if (at >= parser->text.size) {
            jq_build_fail(parser->build, open, 1, "string without an end");
            return false;
        }
        char c = parser->text.data[at];
        if (c == '"') {
            flush_text(parser, string, open, buf);
            parser->end = at + 1;
            parser->token = jq_lex(parser->text, parser->end);
            return true;
        }
        if (c != '\\') {
            weir_strbuf_push(buf, c);
            at++;
        } else if (at + 1 < parser->text.size && parser->text.data[at + 1] == '(') {
            flush_text(parser, string, open, buf);
            parser->end = at + 2;
            parser->token = jq_lex(parser->text, at + 2);
            struct jq_node *inner = jq_parse_query(parser);
            if (inner == NULL) {
                return false;
            }
            if (!jq_is(parser, TOKEN_CLOSE_PAREN)) {
                jq_unexpected(parser, "')' behind the interpolation");
                return false;
            }
            struct jq_node *format = jq_parsed(parser, JQ_FORMAT, inner->offset, inner, NULL);
            format->text = string->text;
            jq_append(parser, string, format);
            at = parser->token.offset + 1;
        } else if (!parse_escapes(parser, &at, buf)) {
            return false;
        }
    }
}

/* A string literal, with an optional format before it that has been taken. */
struct jq_node *jq_parse_string(struct jq_parser *parser, uint32_t offset, struct weir_slice format)
{
    if (++parser->nesting > JQ_NESTING_MAX) {
        return jq_build_fail(parser->build, offset, 1, "the program is nested too deeply");
    }
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, UINT32_MAX);
    struct jq_node *string = jq_parsed(parser, JQ_STRING, offset, NULL, NULL);
    string->text = format;
    bool done = parse_string_parts(parser, string, &buf);
    weir_strbuf_done(&buf);
    parser->nesting--;
    if (!done) {
        return NULL;
    }
    if (string->count == 1 && string->list[0]->op == JQ_LITERAL) {
        struct jq_node *only = string->list[0];
        only->size = parser->end - offset;
        return only;
    }
    string->size = parser->end - offset;
    return jq_node_adopt(parser->build, string) ? string : NULL;
}

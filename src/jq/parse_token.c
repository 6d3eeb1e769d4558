/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens and nodes for the parser: looking one token ahead, taking it, saying what was expected
 * instead, and making nodes that know where they stand.
 */
#include "jq/parser.h"

/* ── tokens ── */

struct jq_token jq_take(struct jq_parser *parser)
{
    struct jq_token token = parser->token;
    parser->end = token.offset + token.size;
    parser->token = jq_lex(parser->text, parser->end);
    return token;
}

bool jq_is(const struct jq_parser *parser, enum jq_token_kind kind)
{
    return parser->token.kind == kind;
}

bool jq_accept(struct jq_parser *parser, enum jq_token_kind kind)
{
    if (!jq_is(parser, kind)) {
        return false;
    }
    jq_take(parser);
    return true;
}

void *jq_unexpected(struct jq_parser *parser, const char *expected)
{
    char room[64];
    return jq_build_fail(parser->build, parser->token.offset,
                         parser->token.size == 0 ? 1 : parser->token.size,
                         "unexpected %s, expected %s",
                         jq_token_describe(parser->token, room, sizeof room), expected);
}

bool jq_expect(struct jq_parser *parser, enum jq_token_kind kind, const char *expected)
{
    if (jq_is(parser, kind)) {
        jq_take(parser);
        return true;
    }
    jq_unexpected(parser, expected);
    return false;
}

struct jq_node *jq_parsed(
    struct jq_parser *parser, enum jq_op op, uint32_t offset, struct jq_node *a, struct jq_node *b)
{
    struct jq_node *made = jq_node_new(parser->build, op, offset, a, b);
    made->size = parser->end > offset ? parser->end - offset : 1;
    return made;
}

/* Appends to a list that grows by doubling in the arena. */
void jq_append(struct jq_parser *parser, struct jq_node *owner, struct jq_node *item)
{
    uint32_t count = owner->count;
    if ((count & (count - 1)) == 0) {
        struct jq_node **list =
            jq_build_alloc(parser->build, (count == 0 ? 1 : (size_t)count * 2) * sizeof *list);
        if (count > 0) {
            memcpy(list, owner->list, count * sizeof *list);
        }
        owner->list = list;
    }
    owner->list[owner->count++] = item;
}

struct jq_node *jq_literal(struct jq_parser *parser, uint32_t offset, struct weir_value value)
{
    struct jq_node *made = jq_parsed(parser, JQ_LITERAL, offset, NULL, NULL);
    made->value = value;
    return made;
}

struct jq_node *jq_text_literal(struct jq_parser *parser, uint32_t offset, struct weir_slice text)
{
    return jq_literal(parser, offset,
                      weir_value_string(weir_arena_copy(parser->build->arena, text)));
}

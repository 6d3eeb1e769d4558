/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the parser share: the position, tokens, making nodes, and each other's entry.
 */
#ifndef WEIR_JQ_PARSER_H
#define WEIR_JQ_PARSER_H

#include "jq/lexer.h"
#include "jq/node.h"

#define JQ_NESTING_MAX 1000

struct jq_parser {
    const struct jq_build *build;
    struct weir_slice text;
    struct jq_token token; /* the next one */
    uint32_t end;          /* of the last one taken */
    int nesting;
};

struct jq_token jq_take(struct jq_parser *parser);
bool jq_is(const struct jq_parser *parser, enum jq_token_kind kind);
/* Takes the next token if it is of this kind. */
bool jq_accept(struct jq_parser *parser, enum jq_token_kind kind);
/* As jq_accept; reports what was expected if it is not. */
bool jq_expect(struct jq_parser *parser, enum jq_token_kind kind, const char *expected);
/* Reports; returns NULL. */
void *jq_unexpected(struct jq_parser *parser, const char *expected);

/* A node from `offset` to the last token taken. */
struct jq_node *jq_parsed(
    struct jq_parser *parser, enum jq_op op, uint32_t offset, struct jq_node *a, struct jq_node *b);
/* Appends to the list of the owner. */
void jq_append(struct jq_parser *parser, struct jq_node *owner, struct jq_node *item);
struct jq_node *jq_literal(struct jq_parser *parser, uint32_t offset, struct weir_value value);
/* Copies the text. */
struct jq_node *jq_text_literal(struct jq_parser *parser, uint32_t offset, struct weir_slice text);

/* All return NULL when something was reported. */
struct jq_node *jq_parse_query(struct jq_parser *parser);
struct jq_node *jq_parse_expr(struct jq_parser *parser);
struct jq_node *jq_parse_term(struct jq_parser *parser);
/* A query and the bracket behind it. */
struct jq_node *jq_parse_bracketed(struct jq_parser *parser, enum jq_token_kind close);
/* A string whose opening quote is the next token; `format` applies to what is interpolated. */
struct jq_node *
jq_parse_string(struct jq_parser *parser, uint32_t offset, struct weir_slice format);
/* A pattern and its alternatives behind ?//. */
struct jq_pattern *jq_parse_patterns(struct jq_parser *parser);

#endif

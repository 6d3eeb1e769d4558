/* SPDX-License-Identifier: Apache-2.0
 *
 * Terms: something in brackets, a path, a literal, if, try, reduce …, and the accesses and question
 * marks behind it. Access by a constant key is a step in a chain; other accesses hold their target.
 */
#include "jq/parser.h"

/* ── terms ── */

struct jq_node *jq_parse_bracketed(struct jq_parser *parser, enum jq_token_kind close)
{
    struct jq_node *inner = jq_parse_query(parser);
    const char *expected = close == TOKEN_CLOSE_PAREN     ? "')'"
                           : close == TOKEN_CLOSE_BRACKET ? "']'"
                                                          : "'}'";
    return inner != NULL && jq_expect(parser, close, expected) ? inner : NULL;
}

/* Access by a constant key becomes a step of its own, so that paths are chains of steps. */
static struct jq_node *
access_key(struct jq_parser *parser, uint32_t offset, struct jq_node *target, struct jq_node *key)
{
    if (key->op != JQ_LITERAL) {
        return jq_parsed(parser, JQ_INDEX, offset, target, key);
    }
    struct jq_node *field = jq_parsed(parser, JQ_FIELD, offset, NULL, NULL);
    field->value = key->value;
    return field;
}

static struct jq_node *step(struct jq_parser *parser, struct jq_node *target, struct jq_node *made)
{
    if (made->op == JQ_INDEX || made->op == JQ_SLICE || target->op == JQ_IDENTITY) {
        return made;
    }
    return jq_parsed(parser, JQ_PIPE, target->offset, target, made);
}

/* What stands in [ ] behind a term: nothing, an index or a slice. The '[' has been taken. */
static struct jq_node *parse_brackets(struct jq_parser *parser, struct jq_node *target, bool slices)
{
    uint32_t offset = target->offset;
    if (jq_accept(parser, TOKEN_CLOSE_BRACKET)) {
        return jq_parsed(parser, JQ_EACH, offset, NULL, NULL);
    }
    struct jq_node *from = NULL, *to = NULL;
    if (!jq_is(parser, TOKEN_COLON) && (from = jq_parse_query(parser)) == NULL) {
        return NULL;
    }
    if (!slices && jq_is(parser, TOKEN_COLON)) {
        return jq_unexpected(parser, "']'; a slice is written without the '.' before '['");
    }
    if (!jq_accept(parser, TOKEN_COLON)) {
        return jq_expect(parser, TOKEN_CLOSE_BRACKET, "']'")
                   ? access_key(parser, offset, target, from)
                   : NULL;
    }
    if (!jq_is(parser, TOKEN_CLOSE_BRACKET) || from == NULL) {
        to = jq_parse_query(parser);
        if (to == NULL) {
            return NULL;
        }
    }
    if (!jq_expect(parser, TOKEN_CLOSE_BRACKET, "']'")) {
        return NULL;
    }
    struct jq_node *slice = jq_parsed(parser, JQ_SLICE, offset, target, from);
    slice->c = to;
    return jq_node_adopt(parser->build, slice) ? slice : NULL;
}

/* One of .name ."name" [ … ] .[ … ] behind a term; the caller has seen that one stands there. */
static struct jq_node *parse_access(struct jq_parser *parser, struct jq_node *target)
{
    if (jq_is(parser, TOKEN_FIELD)) {
        struct jq_token name = jq_take(parser);
        struct jq_node *key = jq_text_literal(parser, name.offset, name.text);
        return access_key(parser, name.offset, target, key);
    }
    jq_accept(parser, TOKEN_DOT);
    if (jq_accept(parser, TOKEN_OPEN_BRACKET)) {
        return parse_brackets(parser, target, false);
    }
    struct jq_token format = {0};
    uint32_t offset = parser->token.offset;
    if (jq_is(parser, TOKEN_FORMAT)) {
        format = jq_take(parser);
    }
    if (!jq_is(parser, TOKEN_QUOTE)) {
        return jq_unexpected(parser, "a field name, a string or '[' behind '.'");
    }
    struct jq_node *key = jq_parse_string(
        parser, offset, format.text.data == NULL ? WEIR_SLICE("text") : format.text);
    return key == NULL ? NULL : access_key(parser, offset, target, key);
}

/* A single '?', also where the lexer saw the start of "?//". */
static bool accept_question(struct jq_parser *parser)
{
    if (jq_is(parser, TOKEN_ALTERNATION)) {
        parser->end = parser->token.offset + 1;
        parser->token = jq_lex(parser->text, parser->end);
        return true;
    }
    return jq_accept(parser, TOKEN_QUESTION);
}

static struct jq_node *parse_postfix(struct jq_parser *parser, struct jq_node *term)
{
    while (term != NULL) {
        if (jq_is(parser, TOKEN_FIELD) || jq_is(parser, TOKEN_DOT) ||
            jq_is(parser, TOKEN_OPEN_BRACKET)) {
            if (jq_is(parser, TOKEN_OPEN_BRACKET)) {
                jq_take(parser);
                struct jq_node *access = parse_brackets(parser, term, true);
                if (access != NULL) {
                    access->opt = accept_question(parser);
                    access = step(parser, term, access);
                }
                term = access;
                continue;
            }
            struct jq_node *access = parse_access(parser, term);
            if (access != NULL) {
                access->opt = accept_question(parser);
                access = step(parser, term, access);
            }
            term = access;
        } else if (accept_question(parser)) {
            term = jq_parsed(parser, JQ_TRY, term->offset, term, NULL);
        } else {
            break;
        }
    }
    return term;
}

/* '.' with what belongs to it: ."name" is a field, .[ is left to the postfix. */
static struct jq_node *parse_dot(struct jq_parser *parser)
{
    struct jq_token dot = jq_take(parser);
    struct jq_node *identity = jq_parsed(parser, JQ_IDENTITY, dot.offset, NULL, NULL);
    if (jq_is(parser, TOKEN_NAME) || jq_token_is_keyword(parser->token.kind)) {
        if (parser->token.kind == TOKEN_NAME) {
            return jq_unexpected(parser,
                                 "an operator; try .[\"field\"] for unusually named fields");
        }
        return identity;
    }
    struct jq_token format = {0};
    if (jq_is(parser, TOKEN_FORMAT)) {
        format = jq_take(parser);
    }
    if (!jq_is(parser, TOKEN_QUOTE)) {
        return format.text.data == NULL ? identity : jq_unexpected(parser, "a string");
    }
    struct jq_node *key = jq_parse_string(
        parser, dot.offset, format.text.data == NULL ? WEIR_SLICE("text") : format.text);
    if (key == NULL) {
        return NULL;
    }
    struct jq_node *access = access_key(parser, dot.offset, identity, key);
    access->opt = accept_question(parser);
    return access;
}

static struct jq_node *parse_format(struct jq_parser *parser)
{
    struct jq_token format = jq_take(parser);
    if (jq_is(parser, TOKEN_QUOTE)) {
        return jq_parse_string(parser, format.offset, format.text);
    }
    struct jq_node *input = jq_parsed(parser, JQ_IDENTITY, format.offset, NULL, NULL);
    struct jq_node *made = jq_parsed(parser, JQ_FORMAT, format.offset, input, NULL);
    made->text = format.text;
    return made;
}

static struct jq_node *parse_number(struct jq_parser *parser)
{
    struct jq_token number = jq_take(parser);
    struct weir_slice text = weir_arena_copy(parser->build->arena, number.text);
    return jq_literal(parser, number.offset,
                      (struct weir_value){.kind = WEIR_KIND_NUMBER,
                                          .form = WEIR_FORM_TEXT,
                                          .size = (uint32_t)text.size,
                                          .as.bytes = text.data});
}

/* `$__loc__`: {"file": …, "line": …}. */
static struct jq_node *location(struct jq_parser *parser, uint32_t offset)
{
    const struct jq_source *source = parser->build->source;
    uint32_t line = source->line;
    for (uint32_t i = 0; i < offset; i++) {
        line += parser->text.data[i] == '\n';
    }
    struct jq_node *object = jq_parsed(parser, JQ_OBJECT, offset, NULL, NULL);
    jq_append(parser, object, jq_text_literal(parser, offset, WEIR_SLICE("file")));
    jq_append(parser, object, jq_text_literal(parser, offset, weir_slice_of(source->name)));
    jq_append(parser, object, jq_text_literal(parser, offset, WEIR_SLICE("line")));
    jq_append(parser, object, jq_literal(parser, offset, weir_value_number(line)));
    return object;
}

static struct jq_node *parse_variable(struct jq_parser *parser)
{
    struct jq_token token = jq_take(parser);
    if (weir_slice_equal(token.text, WEIR_SLICE("__loc__"))) {
        return location(parser, token.offset);
    }
    struct jq_node *variable = jq_parsed(parser, JQ_VARIABLE, token.offset, NULL, NULL);
    variable->text = token.text;
    return variable;
}

static struct jq_node *parse_name(struct jq_parser *parser)
{
    struct jq_token token = jq_take(parser);
    if (!jq_is(parser, TOKEN_OPEN_PAREN)) {
        if (weir_slice_equal(token.text, WEIR_SLICE("null"))) {
            return jq_literal(parser, token.offset, weir_value_null());
        }
        if (weir_slice_equal(token.text, WEIR_SLICE("true"))) {
            return jq_literal(parser, token.offset, weir_value_bool(true));
        }
        if (weir_slice_equal(token.text, WEIR_SLICE("false"))) {
            return jq_literal(parser, token.offset, weir_value_bool(false));
        }
    }
    struct jq_node *call = jq_parsed(parser, JQ_CALL, token.offset, NULL, NULL);
    call->text = token.text;
    call->size = token.size;
    if (!jq_accept(parser, TOKEN_OPEN_PAREN)) {
        return call;
    }
    do {
        struct jq_node *argument = jq_parse_query(parser);
        if (argument == NULL) {
            return NULL;
        }
        jq_append(parser, call, argument);
    } while (jq_accept(parser, TOKEN_SEMICOLON));
    if (!jq_expect(parser, TOKEN_CLOSE_PAREN, "';' or ')' behind the argument")) {
        return NULL;
    }
    return jq_node_adopt(parser->build, call) ? call : NULL;
}

/* ── objects ── */

static struct jq_node *parse_object_value(struct jq_parser *parser)
{
    struct jq_node *value = jq_parse_expr(parser);
    while (value != NULL && jq_accept(parser, TOKEN_PIPE)) {
        struct jq_node *more = parse_object_value(parser);
        value = more == NULL ? NULL : jq_parsed(parser, JQ_PIPE, value->offset, value, more);
    }
    return value;
}

/* The key of a member; *ret_value: what the member is when no ':' follows, NULL if it must. */
static struct jq_node *parse_object_key(struct jq_parser *parser, struct jq_node **ret_value)
{
    struct jq_token token = parser->token;
    *ret_value = NULL;
    if (token.kind == TOKEN_NAME || jq_token_is_keyword(token.kind)) {
        jq_take(parser);
        struct jq_node *key = jq_text_literal(parser, token.offset, token.text);
        *ret_value = access_key(parser, token.offset, NULL, key);
        return key;
    }
    if (token.kind == TOKEN_VARIABLE) {
        bool is_location = weir_slice_equal(token.text, WEIR_SLICE("__loc__"));
        struct jq_node *variable = parse_variable(parser);
        if (jq_is(parser, TOKEN_COLON) && !is_location) {
            return variable;
        }
        *ret_value = variable;
        return jq_text_literal(parser, token.offset, token.text);
    }
    if (token.kind == TOKEN_QUOTE || token.kind == TOKEN_FORMAT) {
        struct weir_slice format = WEIR_SLICE("text");
        if (token.kind == TOKEN_FORMAT) {
            format = jq_take(parser).text;
            if (!jq_is(parser, TOKEN_QUOTE)) {
                return jq_unexpected(parser, "a string behind the format");
            }
        }
        struct jq_node *key = jq_parse_string(parser, token.offset, format);
        if (key != NULL) {
            struct jq_node *input = jq_parsed(parser, JQ_IDENTITY, token.offset, NULL, NULL);
            *ret_value = access_key(parser, token.offset, input, key);
        }
        return key;
    }
    if (token.kind == TOKEN_OPEN_PAREN) {
        jq_take(parser);
        struct jq_node *key = jq_parse_bracketed(parser, TOKEN_CLOSE_PAREN);
        if (key != NULL && key->op == JQ_LITERAL && key->value.kind != WEIR_KIND_STRING) {
            return jq_build_fail(parser->build, token.offset, parser->end - token.offset,
                                 "a %s cannot be an object key", weir_value_kind_name(key->value));
        }
        return key;
    }
    return jq_unexpected(parser, "an object key (other keys need parentheses) or '}'");
}

static struct jq_node *parse_object(struct jq_parser *parser)
{
    struct jq_node *object = jq_parsed(parser, JQ_OBJECT, jq_take(parser).offset, NULL, NULL);
    while (!jq_is(parser, TOKEN_CLOSE_BRACE)) {
        struct jq_node *implied;
        struct jq_node *key = parse_object_key(parser, &implied);
        if (key == NULL) {
            return NULL;
        }
        struct jq_node *value = implied;
        if (implied == NULL || jq_is(parser, TOKEN_COLON)) {
            value = jq_expect(parser, TOKEN_COLON, "':' behind the object key")
                        ? parse_object_value(parser)
                        : NULL;
        }
        if (value == NULL) {
            return NULL;
        }
        jq_append(parser, object, key);
        jq_append(parser, object, value);
        if (!jq_accept(parser, TOKEN_COMMA)) {
            break;
        }
    }
    if (!jq_expect(parser, TOKEN_CLOSE_BRACE, "',' or '}'")) {
        return NULL;
    }
    object->size = parser->end - object->offset;
    return jq_node_adopt(parser->build, object) ? object : NULL;
}

/* ── keywords ── */

static struct jq_node *parse_if(struct jq_parser *parser)
{
    uint32_t offset = jq_take(parser).offset; /* if or elif */
    struct jq_node *condition = jq_parse_query(parser);
    if (condition == NULL || !jq_expect(parser, TOKEN_THEN, "'then'")) {
        return NULL;
    }
    struct jq_node *then = jq_parse_query(parser);
    if (then == NULL) {
        return NULL;
    }
    struct jq_node *otherwise = NULL;
    if (jq_is(parser, TOKEN_ELIF)) {
        if (++parser->nesting > JQ_NESTING_MAX) {
            return jq_build_fail(parser->build, offset, 4, "the program is nested too deeply");
        }
        otherwise = parse_if(parser);
        parser->nesting--;
        if (otherwise == NULL) {
            return NULL;
        }
    } else if (jq_accept(parser, TOKEN_ELSE)) {
        otherwise = jq_parse_query(parser);
        if (otherwise == NULL || !jq_expect(parser, TOKEN_END, "'end' of the 'if'")) {
            return NULL;
        }
    } else if (!jq_is(parser, TOKEN_END)) {
        return jq_unexpected(parser, "'elif', 'else' or 'end'");
    } else {
        jq_take(parser);
    }
    struct jq_node *made = jq_parsed(parser, JQ_IF, offset, condition, then);
    made->c = otherwise;
    return jq_node_adopt(parser->build, made) ? made : NULL;
}

static struct jq_node *parse_try(struct jq_parser *parser)
{
    uint32_t offset = jq_take(parser).offset;
    struct jq_node *body = jq_parse_term(parser);
    struct jq_node *handler = NULL;
    if (body != NULL && jq_accept(parser, TOKEN_CATCH)) {
        handler = jq_parse_term(parser);
        if (handler == NULL) {
            return NULL;
        }
    }
    return body == NULL ? NULL : jq_parsed(parser, JQ_TRY, offset, body, handler);
}

static struct jq_node *parse_loop(struct jq_parser *parser)
{
    struct jq_token keyword = jq_take(parser);
    enum jq_op op = keyword.kind == TOKEN_REDUCE ? JQ_REDUCE : JQ_FOREACH;
    struct jq_node *source = jq_parse_expr(parser);
    if (source == NULL || !jq_expect(parser, TOKEN_AS, "'as'")) {
        return NULL;
    }
    struct jq_pattern *pattern = jq_parse_patterns(parser);
    if (pattern == NULL || !jq_expect(parser, TOKEN_OPEN_PAREN, "'('")) {
        return NULL;
    }
    struct jq_node *loop = jq_parsed(parser, op, keyword.offset, source, jq_parse_query(parser));
    if (loop->b == NULL || !jq_expect(parser, TOKEN_SEMICOLON, "';' behind the initial value")) {
        return NULL;
    }
    loop->c = jq_parse_query(parser);
    if (loop->c == NULL) {
        return NULL;
    }
    if (op == JQ_FOREACH && jq_accept(parser, TOKEN_SEMICOLON)) {
        loop->d = jq_parse_query(parser);
        if (loop->d == NULL) {
            return NULL;
        }
    }
    if (!jq_expect(parser, TOKEN_CLOSE_PAREN, op == JQ_REDUCE ? "')'" : "';' or ')'")) {
        return NULL;
    }
    loop->pattern = pattern;
    loop->size = parser->end - keyword.offset;
    loop->binds = true;
    return jq_node_adopt(parser->build, loop) ? loop : NULL;
}

static struct jq_node *parse_break(struct jq_parser *parser)
{
    struct jq_token keyword = jq_take(parser);
    if (!jq_is(parser, TOKEN_VARIABLE)) {
        return jq_unexpected(parser, "the label to break to ($name)");
    }
    struct jq_node *made = jq_parsed(parser, JQ_BREAK, keyword.offset, NULL, NULL);
    made->text = jq_take(parser).text;
    made->size = parser->end - keyword.offset;
    return made;
}

static struct jq_node *parse_array(struct jq_parser *parser)
{
    uint32_t offset = jq_take(parser).offset;
    struct jq_node *items = NULL;
    if (!jq_accept(parser, TOKEN_CLOSE_BRACKET)) {
        items = jq_parse_bracketed(parser, TOKEN_CLOSE_BRACKET);
        if (items == NULL) {
            return NULL;
        }
    }
    return jq_parsed(parser, JQ_ARRAY, offset, items, NULL);
}

// clang-format off
static struct jq_node *parse_primary(struct jq_parser *parser)
{
    struct jq_token token = parser->token;
    switch ((int)token.kind) {
    case TOKEN_DOT: return parse_dot(parser);
    case TOKEN_DOTS: jq_take(parser); return jq_parsed(parser, JQ_RECURSE, token.offset, NULL, NULL);
    case TOKEN_FIELD: {
        struct jq_node *input = jq_parsed(parser, JQ_IDENTITY, token.offset, NULL, NULL);
        struct jq_node *access = parse_access(parser, input);
        if (access != NULL) {
            access->opt = accept_question(parser);
        }
        return access;
    }
    case TOKEN_NUMBER: return parse_number(parser);
    case TOKEN_QUOTE: return jq_parse_string(parser, token.offset, WEIR_SLICE("text"));
    case TOKEN_FORMAT: return parse_format(parser);
    case TOKEN_VARIABLE: return parse_variable(parser);
    case TOKEN_NAME: return parse_name(parser);
    case TOKEN_OPEN_PAREN: jq_take(parser); return jq_parse_bracketed(parser, TOKEN_CLOSE_PAREN);
    case TOKEN_OPEN_BRACKET: return parse_array(parser);
    case TOKEN_OPEN_BRACE: return parse_object(parser);
    case TOKEN_IF: return parse_if(parser);
    case TOKEN_TRY: return parse_try(parser);
    case TOKEN_REDUCE:
    case TOKEN_FOREACH: return parse_loop(parser);
    case TOKEN_BREAK: return parse_break(parser);
    case TOKEN_MINUS: {
        jq_take(parser);
        struct jq_node *operand = jq_parse_term(parser);
        return operand == NULL ? NULL : jq_parsed(parser, JQ_NEGATE, token.offset, operand, NULL);
    }
    default: return jq_unexpected(parser, "a value or a path");
    }
}
// clang-format on

struct jq_node *jq_parse_term(struct jq_parser *parser)
{
    if (++parser->nesting > JQ_NESTING_MAX) {
        return jq_build_fail(parser->build, parser->token.offset, 1,
                             "the program is nested too deeply");
    }
    bool negated = jq_is(parser, TOKEN_MINUS);
    struct jq_node *term = parse_primary(parser);
    parser->nesting--;
    return negated ? term : parse_postfix(parser, term);
}

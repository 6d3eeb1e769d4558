/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser: recursive descent over the grammar of jq 1.8.
 *
 *     query   def … query · expr as patterns | query · label $x | query · query | query · , · expr
 *     expr    binary operators by precedence over terms
 *     term    something in brackets, a path, a literal, if, try, reduce …, with what follows it
 *
 * `def`, `as` and `label` reach as far to the right as they can, which makes them the last operand
 * of the pipe or comma they stand in. Every function returns NULL after the first error, which has
 * been reported by then with what stands there and what was expected.
 */
#include "jq/parser.h"

/* ── operators ── */

struct operator
{
    int binding; /* tighter is larger; 0: no operator */
    bool left, right;
    enum jq_op op;
    enum jq_binary binary;
};

// clang-format off
static struct operator operator_of(enum jq_token_kind kind)
{
    switch ((int)kind) {
    case TOKEN_DEFINED_OR: return (struct operator){1, false, true, JQ_ALT, 0};
    case TOKEN_ASSIGN: return (struct operator){2, false, false, JQ_ASSIGN, 0};
    case TOKEN_UPDATE: return (struct operator){2, false, false, JQ_UPDATE, 0};
    case TOKEN_PLUS_ASSIGN: return (struct operator){2, false, false, JQ_MODIFY, JQ_PLUS};
    case TOKEN_MINUS_ASSIGN: return (struct operator){2, false, false, JQ_MODIFY, JQ_MINUS};
    case TOKEN_TIMES_ASSIGN: return (struct operator){2, false, false, JQ_MODIFY, JQ_TIMES};
    case TOKEN_DIVIDE_ASSIGN: return (struct operator){2, false, false, JQ_MODIFY, JQ_DIVIDE};
    case TOKEN_MODULO_ASSIGN: return (struct operator){2, false, false, JQ_MODIFY, JQ_MODULO};
    case TOKEN_DEFINED_OR_ASSIGN:
        return (struct operator){2, false, false, JQ_MODIFY, JQ_ALTERNATIVE};
    case TOKEN_OR: return (struct operator){3, true, false, JQ_OR, 0};
    case TOKEN_AND: return (struct operator){4, true, false, JQ_AND, 0};
    case TOKEN_EQUAL: return (struct operator){5, false, false, JQ_BINARY, JQ_EQUAL};
    case TOKEN_NOT_EQUAL: return (struct operator){5, false, false, JQ_BINARY, JQ_UNEQUAL};
    case TOKEN_LESS: return (struct operator){5, false, false, JQ_BINARY, JQ_LESS};
    case TOKEN_GREATER: return (struct operator){5, false, false, JQ_BINARY, JQ_GREATER};
    case TOKEN_LESS_EQUAL: return (struct operator){5, false, false, JQ_BINARY, JQ_LESS_EQUAL};
    case TOKEN_GREATER_EQUAL:
        return (struct operator){5, false, false, JQ_BINARY, JQ_GREATER_EQUAL};
    case TOKEN_PLUS: return (struct operator){6, true, false, JQ_BINARY, JQ_PLUS};
    case TOKEN_MINUS: return (struct operator){6, true, false, JQ_BINARY, JQ_MINUS};
    case TOKEN_TIMES: return (struct operator){7, true, false, JQ_BINARY, JQ_TIMES};
    case TOKEN_DIVIDE: return (struct operator){7, true, false, JQ_BINARY, JQ_DIVIDE};
    case TOKEN_MODULO: return (struct operator){7, true, false, JQ_BINARY, JQ_MODULO};
    default: return (struct operator){0};
    }
}
// clang-format on

/* Operators that bind at least as tightly as `binding`. */
static struct jq_node *parse_binary(struct jq_parser *parser, int binding)
{
    if (++parser->nesting > JQ_NESTING_MAX) {
        return jq_build_fail(parser->build, parser->token.offset, 1,
                             "the program is nested too deeply");
    }
    struct jq_node *left = jq_parse_term(parser);
    for (;;) {
        struct operator operator= operator_of(parser->token.kind);
        if (left == NULL || operator.binding == 0 || operator.binding<binding) {
            break;
        }
        jq_take(parser);
        struct jq_node *right =
            parse_binary(parser, operator.right ? operator.binding : operator.binding + 1);
        if (right == NULL) {
            left = NULL;
            break;
        }
        left = jq_parsed(parser, operator.op, left->offset, left, right);
        left->sub = (uint8_t) operator.binary;
        left->binds |= operator.op == JQ_MODIFY || operator.op == JQ_ASSIGN;
        if (!operator.left && !operator.right && operator_of(parser->token.kind).binding ==
            operator.binding) {
            left = jq_unexpected(parser, "parentheses, because this operator does not chain");
        }
    }
    parser->nesting--;
    return left;
}

struct jq_node *jq_parse_expr(struct jq_parser *parser)
{
    return parse_binary(parser, 1);
}

/* ── queries ── */

static struct jq_function *parse_definition(struct jq_parser *parser)
{
    jq_take(parser); /* def */
    struct jq_function *function = jq_build_alloc(parser->build, sizeof *function);
    function->offset = parser->token.offset;
    function->size = parser->token.size;
    if (!jq_is(parser, TOKEN_NAME) && !jq_token_is_keyword(parser->token.kind)) {
        return jq_unexpected(parser, "the name of the function");
    }
    function->name = jq_take(parser).text;
    if (jq_accept(parser, TOKEN_OPEN_PAREN)) {
        struct jq_param params[256];
        do {
            struct jq_token token = parser->token;
            bool by_value = token.kind == TOKEN_VARIABLE;
            if ((token.kind != TOKEN_NAME && !by_value) || function->param_count == 255) {
                return jq_unexpected(parser, "a parameter: name or $name");
            }
            jq_take(parser);
            params[function->param_count++] =
                (struct jq_param){.name = token.text, .by_value = by_value};
            function->value_count += by_value;
        } while (jq_accept(parser, TOKEN_SEMICOLON));
        if (!jq_expect(parser, TOKEN_CLOSE_PAREN, "';' or ')'")) {
            return NULL;
        }
        size_t size = function->param_count * sizeof params[0];
        function->params = jq_build_alloc(parser->build, size);
        memcpy(function->params, params, size);
    }
    if (!jq_expect(parser, TOKEN_COLON, "':'")) {
        return NULL;
    }
    function->body = jq_parse_query(parser);
    if (function->body == NULL ||
        !jq_expect(parser, TOKEN_SEMICOLON, "';' behind the definition")) {
        return NULL;
    }
    return function;
}

/* A definition and what follows it. In a library nothing may follow: identity stands there. */
static struct jq_node *parse_defined(struct jq_parser *parser, bool top, bool *ret_query)
{
    struct jq_node *first = NULL, **place = &first;
    struct jq_node *chain = NULL;
    while (jq_is(parser, TOKEN_DEF)) {
        uint32_t offset = parser->token.offset;
        struct jq_function *function = parse_definition(parser);
        if (function == NULL) {
            return NULL;
        }
        struct jq_node *define = jq_parsed(parser, JQ_DEFINE, offset, NULL, NULL);
        define->function = function;
        define->binds = true;
        define->b = chain; /* the one before, until the chain is complete */
        chain = define;
        *place = define;
        place = &define->a;
    }
    struct jq_node *rest;
    *ret_query = !top || !jq_is(parser, TOKEN_EOF);
    if (*ret_query) {
        rest = jq_parse_query(parser);
    } else {
        rest = jq_parsed(parser, JQ_IDENTITY, parser->token.offset, NULL, NULL);
    }
    if (rest == NULL) {
        return NULL;
    }
    while (chain != NULL) {
        struct jq_node *before = chain->b;
        chain->b = NULL;
        chain->a = rest;
        if (!jq_node_adopt(parser->build, chain)) {
            return NULL;
        }
        rest = chain;
        chain = before;
    }
    return first == NULL ? rest : first;
}

static struct jq_node *parse_label(struct jq_parser *parser)
{
    uint32_t offset = jq_take(parser).offset;
    if (!jq_is(parser, TOKEN_VARIABLE)) {
        return jq_unexpected(parser, "the name of the label ($name)");
    }
    struct weir_slice name = jq_take(parser).text;
    if (!jq_expect(parser, TOKEN_PIPE, "'|' behind the label")) {
        return NULL;
    }
    struct jq_node *body = jq_parse_query(parser);
    if (body == NULL) {
        return NULL;
    }
    struct jq_node *label = jq_parsed(parser, JQ_LABEL, offset, body, NULL);
    label->text = name;
    label->binds = true;
    return label;
}

/* One operand of pipes and commas; *ret_last: it reached as far as it could. */
static struct jq_node *parse_operand(struct jq_parser *parser, bool *ret_last)
{
    bool query;
    *ret_last = true;
    if (jq_is(parser, TOKEN_DEF)) {
        return parse_defined(parser, false, &query);
    }
    if (jq_is(parser, TOKEN_LABEL)) {
        return parse_label(parser);
    }
    struct jq_node *expr = jq_parse_expr(parser);
    if (expr == NULL || !jq_is(parser, TOKEN_AS)) {
        *ret_last = false;
        return expr;
    }
    jq_take(parser);
    struct jq_pattern *pattern = jq_parse_patterns(parser);
    if (pattern == NULL || !jq_expect(parser, TOKEN_PIPE, "'|' behind the pattern")) {
        return NULL;
    }
    struct jq_node *body = jq_parse_query(parser);
    if (body == NULL) {
        return NULL;
    }
    struct jq_node *bind = jq_parsed(parser, JQ_BIND, expr->offset, expr, body);
    bind->pattern = pattern;
    bind->binds = true;
    return bind;
}

/* Pipes are gathered in a list and nested to the right at the end. */
static struct jq_node *parse_stages(struct jq_parser *parser)
{
    struct jq_node stages = {0};
    bool last = false;
    do {
        struct jq_node *stage = parse_operand(parser, &last);
        while (stage != NULL && !last && jq_accept(parser, TOKEN_COMMA)) {
            struct jq_node *more = parse_operand(parser, &last);
            stage = more == NULL ? NULL : jq_parsed(parser, JQ_COMMA, stage->offset, stage, more);
        }
        if (stage == NULL) {
            return NULL;
        }
        jq_append(parser, &stages, stage);
    } while (!last && jq_accept(parser, TOKEN_PIPE));
    struct jq_node *whole = stages.list[stages.count - 1];
    for (uint32_t i = stages.count - 1; i-- > 0;) {
        whole = jq_parsed(parser, JQ_PIPE, stages.list[i]->offset, stages.list[i], whole);
    }
    return whole;
}

struct jq_node *jq_parse_query(struct jq_parser *parser)
{
    if (++parser->nesting > JQ_NESTING_MAX) {
        return jq_build_fail(parser->build, parser->token.offset, 1,
                             "the program is nested too deeply");
    }
    struct jq_node *query = parse_stages(parser);
    parser->nesting--;
    return parser->build->err != NULL && parser->build->err->status != WEIR_OK ? NULL : query;
}

/* ── modules ── */

static struct jq_node *parse_metadata(struct jq_parser *parser)
{
    uint32_t offset = parser->token.offset;
    struct jq_node *meta = jq_parse_query(parser);
    if (meta != NULL && meta->op != JQ_OBJECT) {
        return jq_build_fail(parser->build, offset, parser->end - offset,
                             "module metadata must be a constant object");
    }
    return meta;
}

static struct jq_import *parse_import(struct jq_parser *parser)
{
    struct jq_token keyword = jq_take(parser);
    struct jq_import *import = jq_build_alloc(parser->build, sizeof *import);
    import->offset = parser->token.offset;
    if (!jq_is(parser, TOKEN_QUOTE)) {
        return jq_unexpected(parser, "the path of the module, a string");
    }
    struct jq_node *path = jq_parse_string(parser, parser->token.offset, WEIR_SLICE("text"));
    if (path == NULL) {
        return NULL;
    }
    import->size = parser->end - import->offset;
    if (path->op != JQ_LITERAL) {
        return jq_build_fail(parser->build, import->offset, import->size,
                             "the path of a module must be constant");
    }
    import->path = weir_value_text(path->value);
    if (keyword.kind == TOKEN_IMPORT) {
        if (!jq_expect(parser, TOKEN_AS, "'as'")) {
            return NULL;
        }
        import->is_data = jq_is(parser, TOKEN_VARIABLE);
        if (!import->is_data && !jq_is(parser, TOKEN_NAME)) {
            return jq_unexpected(parser, "the name of the module: name or $name");
        }
        import->alias = jq_take(parser).text;
    }
    if (!jq_is(parser, TOKEN_SEMICOLON) && (import->meta = parse_metadata(parser)) == NULL) {
        return NULL;
    }
    return jq_expect(parser, TOKEN_SEMICOLON, "';'") ? import : NULL;
}

struct jq_module *jq_parse(const struct jq_build *build)
{
    struct jq_parser parser = {.build = build, .text = build->source->text};
    if (parser.text.size > UINT32_MAX / 2) {
        return jq_build_fail(build, 0, 1, "the program is too large");
    }
    parser.token = jq_lex(parser.text, 0);
    struct jq_module *module = jq_build_alloc(build, sizeof *module);
    if (jq_accept(&parser, TOKEN_MODULE)) {
        module->meta = parse_metadata(&parser);
        if (module->meta == NULL || !jq_expect(&parser, TOKEN_SEMICOLON, "';'")) {
            return NULL;
        }
    }
    struct jq_import **place = &module->imports;
    while (jq_is(&parser, TOKEN_IMPORT) || jq_is(&parser, TOKEN_INCLUDE)) {
        *place = parse_import(&parser);
        if (*place == NULL) {
            return NULL;
        }
        place = &(*place)->next;
    }
    if (jq_is(&parser, TOKEN_DEF)) {
        module->body = parse_defined(&parser, true, &module->has_query);
    } else if (jq_is(&parser, TOKEN_EOF)) {
        module->body = jq_parsed(&parser, JQ_IDENTITY, 0, NULL, NULL);
    } else {
        module->has_query = true;
        module->body = jq_parse_query(&parser);
    }
    if (module->body != NULL && !jq_is(&parser, TOKEN_EOF)) {
        return jq_unexpected(&parser, "an operator or the end of the program");
    }
    return module->body == NULL || (build->err != NULL && build->err->status != WEIR_OK) ? NULL
                                                                                         : module;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Patterns of `as`, reduce and foreach: $name, [ … ], { … }, and alternatives behind ?//.
 */
#include "jq/parser.h"

static struct jq_pattern *jq_parse_pattern(struct jq_parser *parser);

static bool
add_entry(struct jq_parser *parser, struct jq_pattern *pattern, struct jq_pattern_entry it)
{
    uint32_t count = pattern->count;
    if ((count & (count - 1)) == 0) {
        struct jq_pattern_entry *entries =
            jq_build_alloc(parser->build, (count == 0 ? 1 : (size_t)count * 2) * sizeof *entries);
        if (count > 0) {
            memcpy(entries, pattern->entries, count * sizeof *entries);
        }
        pattern->entries = entries;
    }
    pattern->entries[pattern->count++] = it;
    return true;
}

static bool parse_array_pattern(struct jq_parser *parser, struct jq_pattern *pattern)
{
    do {
        struct jq_pattern *item = jq_parse_pattern(parser);
        if (item == NULL) {
            return false;
        }
        add_entry(parser, pattern, (struct jq_pattern_entry){.pattern = item});
    } while (jq_accept(parser, TOKEN_COMMA));
    for (uint32_t i = 0; i < pattern->count / 2; i++) {
        struct jq_pattern_entry *other = &pattern->entries[pattern->count - 1 - i];
        struct jq_pattern_entry entry = pattern->entries[i];
        pattern->entries[i] = *other;
        *other = entry;
    }
    return jq_expect(parser, TOKEN_CLOSE_BRACKET, "',' or ']'");
}

static bool parse_pattern_entry(struct jq_parser *parser, struct jq_pattern_entry *entry)
{
    struct jq_token token = parser->token;
    if (token.kind == TOKEN_VARIABLE) {
        entry->name = jq_take(parser).text;
        entry->key = jq_text_literal(parser, token.offset, token.text);
        if (!jq_accept(parser, TOKEN_COLON)) {
            return true;
        }
        entry->pattern = jq_parse_pattern(parser);
        return entry->pattern != NULL;
    }
    if (token.kind == TOKEN_NAME || jq_token_is_keyword(token.kind)) {
        jq_take(parser);
        entry->key = jq_text_literal(parser, token.offset, token.text);
    } else if (token.kind == TOKEN_QUOTE || token.kind == TOKEN_FORMAT) {
        struct weir_slice format = WEIR_SLICE("text");
        if (token.kind == TOKEN_FORMAT) {
            format = jq_take(parser).text;
            if (!jq_is(parser, TOKEN_QUOTE)) {
                jq_unexpected(parser, "a string behind the format");
                return false;
            }
        }
        entry->key = jq_parse_string(parser, token.offset, format);
    } else if (token.kind == TOKEN_OPEN_PAREN) {
        jq_take(parser);
        entry->key = jq_parse_bracketed(parser, TOKEN_CLOSE_PAREN);
        if (entry->key != NULL && entry->key->op == JQ_LITERAL &&
            entry->key->value.kind != WEIR_KIND_STRING) {
            jq_build_fail(parser->build, token.offset, parser->end - token.offset,
                          "a %s cannot be an object key", weir_value_kind_name(entry->key->value));
            return false;
        }
    } else {
        jq_unexpected(parser, "$name or a key (other keys need parentheses)");
        return false;
    }
    if (entry->key == NULL || !jq_expect(parser, TOKEN_COLON, "':' behind the key")) {
        return false;
    }
    entry->pattern = jq_parse_pattern(parser);
    return entry->pattern != NULL;
}

static struct jq_pattern *jq_parse_pattern(struct jq_parser *parser)
{
    struct jq_token token = parser->token;
    struct jq_pattern *pattern = jq_build_alloc(parser->build, sizeof *pattern);
    pattern->offset = token.offset;
    if (++parser->nesting > JQ_NESTING_MAX) {
        return jq_build_fail(parser->build, token.offset, 1, "the program is nested too deeply");
    }
    bool done = true;
    if (token.kind == TOKEN_VARIABLE) {
        pattern->kind = JQ_PATTERN_VARIABLE;
        pattern->name = jq_take(parser).text;
    } else if (jq_accept(parser, TOKEN_OPEN_BRACKET)) {
        pattern->kind = JQ_PATTERN_ARRAY;
        done = parse_array_pattern(parser, pattern);
    } else if (jq_accept(parser, TOKEN_OPEN_BRACE)) {
        pattern->kind = JQ_PATTERN_OBJECT;
        do {
            struct jq_pattern_entry entry = {0};
            done = parse_pattern_entry(parser, &entry) && add_entry(parser, pattern, entry);
        } while (done && jq_accept(parser, TOKEN_COMMA));
        done = done && jq_expect(parser, TOKEN_CLOSE_BRACE, "',' or '}'");
    } else {
        return jq_unexpected(parser, "a pattern: $name, [ or {");
    }
    parser->nesting--;
    return done ? pattern : NULL;
}

struct jq_pattern *jq_parse_patterns(struct jq_parser *parser)
{
    struct jq_pattern *first = jq_parse_pattern(parser), *last = first;
    while (last != NULL && jq_accept(parser, TOKEN_ALTERNATION)) {
        last->next = jq_parse_pattern(parser);
        last = last->next;
    }
    return last == NULL ? NULL : first;
}

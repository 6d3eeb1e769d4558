/* SPDX-License-Identifier: Apache-2.0
 *
 * The lexer. It has no state: a token is a function of the text and an offset. The longest sign
 * wins, so signs are tried in the order of their table, longest first. A string literal is only its
 * opening quote here; the parser reads the rest, because programs stand inside of strings.
 */
#include "jq/lexer.h"

#include <stdio.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char at(struct weir_slice source, uint32_t offset)
{
    return offset < source.size ? source.data[offset] : '\0';
}

/* A comment goes to the end of the line; an odd number of backslashes there continues it. */
static uint32_t skip_comment(struct weir_slice source, uint32_t offset)
{
    while (offset < source.size) {
        char c = at(source, offset);
        if (c == '\\') {
            char next = at(source, offset + 1);
            bool carriage = next == '\r' && at(source, offset + 2) == '\n';
            offset += carriage ? 3 : 2;
            continue;
        }
        if (c == '\n') {
            return offset;
        }
        offset++;
    }
    return (uint32_t)source.size;
}

static uint32_t skip_blanks(struct weir_slice source, uint32_t offset)
{
    while (offset < source.size) {
        char c = at(source, offset);
        if (c == '#') {
            offset = skip_comment(source, offset);
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            offset++;
        } else {
            break;
        }
    }
    return offset;
}

/* The end of name(::name)*, or offset if there is none. */
static uint32_t name_end(struct weir_slice source, uint32_t offset, bool modules)
{
    if (!is_letter(at(source, offset))) {
        return offset;
    }
    while (is_letter(at(source, offset)) || is_digit(at(source, offset))) {
        offset++;
    }
    if (modules && at(source, offset) == ':' && at(source, offset + 1) == ':' &&
        is_letter(at(source, offset + 2))) {
        return name_end(source, offset + 2, true);
    }
    return offset;
}

static uint32_t digits_end(struct weir_slice source, uint32_t offset)
{
    while (is_digit(at(source, offset))) {
        offset++;
    }
    return offset;
}

/* The end of a number, or offset. */
static uint32_t number_end(struct weir_slice source, uint32_t offset)
{
    uint32_t end = digits_end(source, offset);
    bool digits = end > offset;
    if (at(source, end) == '.' && (digits || is_digit(at(source, end + 1)))) {
        end = digits_end(source, end + 1);
        digits = true;
    }
    if (!digits) {
        return offset;
    }
    char c = at(source, end);
    if (c == 'e' || c == 'E') {
        uint32_t exponent = end + 1;
        if (at(source, exponent) == '+' || at(source, exponent) == '-') {
            exponent++;
        }
        if (is_digit(at(source, exponent))) {
            return digits_end(source, exponent);
        }
    }
    return end;
}

static struct jq_token token(
    struct weir_slice source, enum jq_token_kind kind, uint32_t offset, uint32_t end, uint32_t skip)
{
    return (struct jq_token){.kind = kind,
                             .offset = offset,
                             .size = end - offset,
                             .text = {source.data + offset + skip, end - offset - skip}};
}

static enum jq_token_kind keyword(struct weir_slice name)
{
#define X(kind, text)                                                                              \
    if (weir_slice_equal(name, WEIR_SLICE(text))) {                                                \
        return TOKEN_##kind;                                                                       \
    }
    JQ_KEYWORD_MAP(X)
#undef X
    return TOKEN_NAME;
}

static struct jq_token sign(struct weir_slice source, uint32_t offset)
{
    size_t left = source.size - offset;
    const char *here = source.data + offset;
#define X(kind, text)                                                                              \
    if (left >= sizeof text - 1 && memcmp(here, text, sizeof text - 1) == 0) {                     \
        return token(source, TOKEN_##kind, offset, offset + (uint32_t)sizeof text - 1, 0);         \
    }
    JQ_SIGN_MAP(X)
#undef X
    return token(source, TOKEN_INVALID, offset, offset + 1, 0);
}

struct jq_token jq_lex(struct weir_slice source, uint32_t offset)
{
    offset = skip_blanks(source, offset);
    if (offset >= source.size) {
        return token(source, TOKEN_EOF, (uint32_t)source.size, (uint32_t)source.size, 0);
    }
    char c = at(source, offset);
    uint32_t end = name_end(source, offset, true);
    if (end > offset) {
        struct jq_token name = token(source, TOKEN_NAME, offset, end, 0);
        name.kind = keyword(name.text);
        return name;
    }
    end = number_end(source, offset);
    if (end > offset) {
        return token(source, TOKEN_NUMBER, offset, end, 0);
    }
    if (c == '.') {
        end = name_end(source, offset + 1, false);
        if (end > offset + 1) {
            return token(source, TOKEN_FIELD, offset, end, 1);
        }
    }
    if (c == '$') {
        end = name_end(source, offset + 1, true);
        if (end > offset + 1) {
            return token(source, TOKEN_VARIABLE, offset, end, 1);
        }
    }
    if (c == '@') {
        end = offset + 1;
        while (is_letter(at(source, end)) || is_digit(at(source, end))) {
            end++;
        }
        if (end > offset + 1) {
            return token(source, TOKEN_FORMAT, offset, end, 1);
        }
    }
    return sign(source, offset);
}

const char *jq_token_describe(struct jq_token token, char *room, uint32_t size)
{
    if (token.kind == TOKEN_EOF) {
        return "the end of the program";
    }
    const char *dot = token.kind == TOKEN_FIELD      ? "."
                      : token.kind == TOKEN_VARIABLE ? "$"
                      : token.kind == TOKEN_FORMAT   ? "@"
                                                     : "";
    int shown = token.text.size > 40 ? 40 : (int)token.text.size;
    snprintf(room, size, "'%s%.*s'", dot, shown, token.text.data);
    return room;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens of jq, read on demand from a position, so that the parser can go into a string literal
 * and come back.
 */
#ifndef WEIR_JQ_LEXER_H
#define WEIR_JQ_LEXER_H

#include <stdint.h>

#include <weir/slice.h>

// clang-format off
#define JQ_KEYWORD_MAP(X) \
    X(AS, "as") X(DEF, "def") X(MODULE, "module") X(IMPORT, "import") X(INCLUDE, "include") \
    X(IF, "if") X(THEN, "then") X(ELSE, "else") X(ELIF, "elif") X(END, "end") X(AND, "and") \
    X(OR, "or") X(REDUCE, "reduce") X(FOREACH, "foreach") X(TRY, "try") X(CATCH, "catch") \
    X(LABEL, "label") X(BREAK, "break")
#define JQ_SIGN_MAP(X) \
    X(DEFINED_OR_ASSIGN, "//=") X(ALTERNATION, "?//") X(NOT_EQUAL, "!=") X(EQUAL, "==") \
    X(DEFINED_OR, "//") X(UPDATE, "|=") X(PLUS_ASSIGN, "+=") X(MINUS_ASSIGN, "-=") \
    X(TIMES_ASSIGN, "*=") X(DIVIDE_ASSIGN, "/=") X(MODULO_ASSIGN, "%=") X(LESS_EQUAL, "<=") \
    X(GREATER_EQUAL, ">=") X(DOTS, "..") X(DOT, ".") X(QUESTION, "?") X(ASSIGN, "=") \
    X(SEMICOLON, ";") X(COMMA, ",") X(COLON, ":") X(PIPE, "|") X(PLUS, "+") X(MINUS, "-") \
    X(TIMES, "*") X(DIVIDE, "/") X(MODULO, "%") X(DOLLAR, "$") X(LESS, "<") X(GREATER, ">") \
    X(OPEN_BRACKET, "[") X(CLOSE_BRACKET, "]") X(OPEN_BRACE, "{") X(CLOSE_BRACE, "}") \
    X(OPEN_PAREN, "(") X(CLOSE_PAREN, ")") X(QUOTE, "\"")
// clang-format on

enum jq_token_kind {
    TOKEN_EOF,
    TOKEN_INVALID,
    TOKEN_NAME,     /* text: name or module::name */
    TOKEN_VARIABLE, /* text without $ */
    TOKEN_FIELD,    /* text without the dot */
    TOKEN_NUMBER,   /* text */
    TOKEN_FORMAT,   /* text without @ */
#define X(name, text) TOKEN_##name,
    JQ_KEYWORD_MAP(X) JQ_SIGN_MAP(X)
#undef X
};

struct jq_token {
    enum jq_token_kind kind;
    uint32_t offset, size; /* in the source */
    struct weir_slice text;
};

/* The token at or behind the offset, blanks and comments skipped. */
struct jq_token jq_lex(struct weir_slice source, uint32_t offset);
/* How the token reads in a message: 'text', end of the program. */
const char *jq_token_describe(struct jq_token token, char *room, uint32_t size);
static inline bool jq_token_is_keyword(enum jq_token_kind kind)
{
    return kind >= TOKEN_AS && kind <= TOKEN_BREAK;
}

#endif

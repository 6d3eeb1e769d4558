/* SPDX-License-Identifier: Apache-2.0
 *
 * A YAML document as a tree whose nodes know where they stand, down to the byte of a scalar's value
 * (so that an error inside a jq program points into the file). Lives in an arena; immutable once
 * loaded. An alias is the anchor's node again, so the tree shares nodes but has no cycles.
 */
#ifndef WEIR_CONF_TREE_H
#define WEIR_CONF_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/fields.h>

#include "conf/diag.h"
#include "conf/text.h"

enum weir_node_type {
    WEIR_NODE_SCALAR,
    WEIR_NODE_LIST,
    WEIR_NODE_MAPPING,
};

enum weir_scalar_style {
    WEIR_STYLE_PLAIN,
    WEIR_STYLE_SINGLE,
    WEIR_STYLE_DOUBLE,
    WEIR_STYLE_LITERAL,
    WEIR_STYLE_FOLDED,
};

/* value[start, end) was made by ${…} from raw[raw_start, raw_end). */
struct weir_substitution {
    size_t start, end, raw_start, raw_end;
    struct weir_substitution *next;
};

struct weir_member {
    struct weir_node *key, *value;
    bool is_merged; /* came through << */
};

struct weir_node {
    enum weir_node_type type;
    enum weir_scalar_style style;
    struct weir_text *text;
    size_t start, end;                       /* bytes of the text, quotes and | included */
    int line, column;                        /* of start, 1-based */
    struct weir_slice value;                 /* SCALAR: after substitution; NUL-terminated */
    struct weir_slice raw;                   /* SCALAR: before */
    struct weir_substitution *substitutions; /* in order */
    const char *variable;     /* the first environment variable that was substituted, or NULL */
    const char *secret_file;  /* the path of the first ${file:…}, or NULL: never show the value */
    unsigned secret_mode;     /* its permission bits */
    struct weir_node **items; /* LIST */
    struct weir_member *members; /* MAPPING: own ones in order, then merged ones */
    size_t count;
    size_t weight;  /* nodes below and itself, aliases expanded */
    bool is_flow;   /* {…} or […] */
    bool is_broken; /* an error was reported for this scalar; readers say no more about it */
};

/* Looks up ${NAME}; NULL: unset. */
typedef const char *weir_getenv(const void *context, const char *name);

/* Parses one document, substitutes ${…}. NULL (and diagnostics) when there is no tree; a tree may
 * come with diagnostics too (duplicate keys, unset variables). */
struct weir_node *weir_tree_parse(struct weir_arena *arena,
                                  struct weir_text *text,
                                  weir_getenv *env,
                                  const void *env_context,
                                  struct weir_diags *diags);

/* The value of a key, or NULL. */
struct weir_node *weir_node_find(const struct weir_node *mapping, const char *key);
/* "a mapping", "a list", "text", "nothing" … for messages. */
const char *weir_node_text(const struct weir_node *node);
/* An empty plain scalar, ~ or null. */
bool weir_node_is_null(const struct weir_node *node);
struct weir_place weir_node_place(const struct weir_node *node);
/* The byte of the text where byte `offset` of a scalar's value was written. */
size_t weir_node_offset(const struct weir_node *node, size_t offset);

/* The substitution that made byte `offset` of the value, or NULL. */
const struct weir_substitution *weir_node_substitution(const struct weir_node *node, size_t offset);

/* Reads a text without file: a default of a field table. NULL when it does not parse. */
struct weir_node *weir_tree_of(struct weir_arena *arena, const char *name, const char *yaml);

/* Replaces ${…} in a scalar (substitute.c). */
struct weir_substituter {
    struct weir_arena *arena;
    weir_getenv *env;
    const void *env_context;
    struct weir_diags *diags;
    size_t total_bytes;
};
void weir_substitute(struct weir_substituter *self, struct weir_node *node);

#endif

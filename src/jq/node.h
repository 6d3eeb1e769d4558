/* SPDX-License-Identifier: Apache-2.0
 *
 * The tree of a program. The parser makes it, the resolver fills in what names mean, the optimiser
 * folds and fuses, the evaluator walks it. Nodes live in the program's arena and are immutable when
 * compiling is done.
 */
#ifndef WEIR_JQ_NODE_H
#define WEIR_JQ_NODE_H

#include <weir/arena.h>
#include <weir/jq.h>

#include "data/heap.h"

// clang-format off
/* name, what explain prints, and which of a, b, c, d and list are used. */
#define JQ_OP_MAP(X) \
    X(IDENTITY, ".")           \
    X(LITERAL,  "literal")     /* value */ \
    X(FIELD,    "field")       /* .value of the input; opt */ \
    X(PATH,     "path")        /* keys[0 … slot): several fields in a row */ \
    X(INDEX,    "index")       /* a[b]; opt; a == NULL: the input */ \
    X(SLICE,    "slice")       /* a[b:c]; b or c may be NULL; opt */ \
    X(EACH,     "each")        /* .[] of the input; opt */ \
    X(RECURSE,  "recurse")     /* .. */ \
    X(PIPE,     "pipe")        /* a | b */ \
    X(COMMA,    "comma")       /* a , b */ \
    X(NEGATE,   "negate")      /* -a */ \
    X(BINARY,   "binary")      /* a binary b */ \
    X(AND,      "and")         \
    X(OR,       "or")          \
    X(ALT,      "alternative") /* a // b */ \
    X(ASSIGN,   "assign")      /* a = b */ \
    X(UPDATE,   "update")      /* a |= b */ \
    X(MODIFY,   "modify")      /* a binary= b; JQ_ALT for //= */ \
    X(IF,       "if")          /* a then b else c (NULL: .) */ \
    X(TRY,      "try")         /* a catch b (NULL: empty) */ \
    X(ARRAY,    "array")       /* [a]; a == NULL: [] */ \
    X(OBJECT,   "object")      /* list: key, value, key, value … */ \
    X(STRING,   "string")      /* list: parts; format name in text */ \
    X(FORMAT,   "format")      /* text */ \
    X(REDUCE,   "reduce")      /* a as pattern (b; c) */ \
    X(FOREACH,  "foreach")     /* a as pattern (b; c; d); d == NULL: . */ \
    X(BIND,     "bind")        /* a as pattern | b */ \
    X(VARIABLE, "variable")    /* text; level, slot */ \
    X(GLOBAL,   "global")      /* $ENV, $record: slot */ \
    X(LABEL,    "label")       /* text, a; slot */ \
    X(BREAK,    "break")       /* text; level, slot */ \
    X(DEFINE,   "define")      /* function; a: where it is known */ \
    X(CALL,     "call")        /* text, list: arguments; function, level */ \
    X(CLOSURE,  "parameter")   /* a parameter called: level, slot */ \
    X(NATIVE,   "native")      /* native, list: arguments */ \
    X(EMPTY,    "empty")       \
    X(ERROR,    "error")       /* fails with the input */ \
    X(NOT,      "not")         \
    X(PATHS_OF, "path of")     /* path(a) */ \
    X(GETPATH,  "getpath")     /* getpath(a) */ \
    X(RANGE,    "range")       /* range(a; b) */ \
    X(FIRST,    "first")       /* first(a) */ \
    X(LAST,     "last")        /* last(a) */ \
    X(LIMIT,    "limit")       /* limit(a; b) */ \
    X(ISEMPTY,  "isempty")     /* isempty(a) */ \
    X(ADD,      "add")         /* add(a) */ \
    X(SORTING,  "sorting")     /* sort_by(a) and its like; sub */ \
    X(INPUT,    "input")
// clang-format on

enum jq_op {
#define X(name, text) JQ_##name,
    JQ_OP_MAP(X)
#undef X
};

enum jq_binary {
    JQ_PLUS,
    JQ_MINUS,
    JQ_TIMES,
    JQ_DIVIDE,
    JQ_MODULO,
    JQ_EQUAL,
    JQ_UNEQUAL,
    JQ_LESS,
    JQ_GREATER,
    JQ_LESS_EQUAL,
    JQ_GREATER_EQUAL,
    JQ_ALTERNATIVE, /* only in MODIFY */
};

enum jq_sorting {
    JQ_SORT_BY,
    JQ_GROUP_BY,
    JQ_UNIQUE_BY,
    JQ_MIN_BY,
    JQ_MAX_BY,
};

/* How many results a node can have. */
enum jq_many {
    JQ_ONE,
    JQ_MAYBE, /* none or one */
    JQ_MANY,
};

enum jq_pattern_kind { JQ_PATTERN_VARIABLE, JQ_PATTERN_ARRAY, JQ_PATTERN_OBJECT };

/* One entry of an object pattern: {$name}, {$name: pattern}, {key: pattern}. */
struct jq_pattern_entry {
    struct jq_node *key;        /* NULL: the name of the variable; arrays: NULL */
    struct weir_slice name;     /* of a variable to bind to the member; data == NULL: none */
    uint32_t slot;              /* of that variable */
    struct jq_pattern *pattern; /* NULL: none */
};

struct jq_pattern {
    enum jq_pattern_kind kind;
    struct weir_slice name; /* JQ_PATTERN_VARIABLE */
    uint32_t slot;
    uint32_t offset;
    struct jq_pattern_entry *entries; /* as they are bound: those of an array from the last on */
    uint32_t count;
    struct jq_pattern *next; /* behind ?// */
    /* In the first of several alternatives: the slots of all variables of all of them. */
    uint32_t *all_slots;
    uint32_t all_count;
};

struct jq_function;

struct jq_node {
    uint8_t op;            /* enum jq_op */
    uint8_t sub;           /* enum jq_binary or enum jq_sorting */
    uint8_t many;          /* enum jq_many */
    bool opt;              /* ? behind an access */
    bool binds;            /* binds variables or labels somewhere below */
    bool captures;         /* uses the frame it stands in */
    bool framed;           /* an argument that needs a frame of its own */
    bool distinct;         /* an object whose keys are constant and different */
    bool stepwise;         /* an assignment along fields and each, one value at a time */
    uint16_t depth;        /* height of the tree */
    uint16_t level;        /* static links to follow */
    uint32_t offset, size; /* in the text */
    uint32_t slot;
    uint32_t count; /* of list */
    struct jq_node *a, *b, *c, *d;
    struct jq_node **list;
    struct weir_value value;
    struct weir_slice text;
    struct jq_pattern *pattern;
    struct jq_function *function;
    const struct jq_native *native;
    struct jq_frame_info *frame; /* framed */
    struct weir_value *keys;
};

/* What a frame holds; one per function and per framed argument. */
struct jq_frame_info {
    uint32_t depth;      /* static nesting; 0: the main program */
    uint32_t slot_count; /* variables and labels */
    uint32_t param_count;
};

struct jq_param {
    struct weir_slice name;
    bool by_value; /* $name */
    bool called;   /* the body calls it as a function */
    uint32_t slot;
};

struct jq_function {
    struct weir_slice name;
    uint32_t offset, size;
    struct jq_param *params;
    uint32_t param_count, value_count;
    struct jq_node *body;
    struct jq_frame_info frame;
    struct jq_function *next; /* all of the program */
    uint8_t many;
    bool resolved;
    bool uses_outer; /* looks at frames outside its own */
};

/* A module: its definitions, in order, and its metadata. */
struct jq_import {
    struct weir_slice path, alias; /* alias.data == NULL: include */
    bool is_data;                  /* import … as $alias */
    struct jq_node *meta;
    uint32_t offset, size;
    struct jq_import *next;
};

struct jq_module {
    struct jq_node *meta; /* of `module {…};` */
    struct jq_import *imports;
    struct jq_node *body; /* DEFINE …; with identity at the end in a library */
    bool has_query;       /* not only definitions */
};

/* The text being compiled and where to complain. */
struct jq_source {
    const char *name;
    struct weir_slice text;
    uint32_t line;   /* of the first line, for $__loc__ */
    bool is_builtin; /* may use hidden builtins */
};

struct jq_build {
    struct weir_arena *arena;
    struct weir_heap *heap; /* for constants while compiling */
    const struct jq_source *source;
    struct weir_jq_fault *fault;
    struct weir_err *err;
};

/* Reports at bytes [offset, offset + size) of the source; returns NULL. First one wins. */
void *
jq_build_fail(const struct jq_build *build, uint32_t offset, uint32_t size, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What was reported in a module's file: says so ("FILE:LINE:COLUMN: …") and points at its import.
 */
void jq_build_move_fault(const struct jq_build *build,
                         uint32_t offset,
                         uint32_t size,
                         const char *file);
/* Memory of the program; never NULL (the arena has no limit below the text's own size). */
void *jq_build_alloc(const struct jq_build *build, size_t size);

struct jq_node *jq_node_new(const struct jq_build *build,
                            enum jq_op op,
                            uint32_t offset,
                            struct jq_node *a,
                            struct jq_node *b);
/* Takes binds and the height from all children again; false and an error when it is too high. */
bool jq_node_adopt(const struct jq_build *build, struct jq_node *node);
const char *jq_op_name(enum jq_op op);

/* NULL on a syntax error. */
struct jq_module *jq_parse(const struct jq_build *build);

#endif

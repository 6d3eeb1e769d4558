/* SPDX-License-Identifier: Apache-2.0
 *
 * A compiled program, and the table of builtins that the resolver looks names up in.
 */
#ifndef WEIR_JQ_PROGRAM_H
#define WEIR_JQ_PROGRAM_H

#include "jq/node.h"

enum jq_global { JQ_GLOBAL_ENV, JQ_GLOBAL_RECORD, JQ_GLOBAL_ANSWER };

struct weir_jq {
    struct weir_arena arena;
    struct jq_node *body;
    struct jq_frame_info frame; /* of the main program */
    struct weir_jq_facts facts;
    struct weir_jq_options modules; /* for get_search_list and modulemeta: paths and origin */
    bool environment;
};

struct weir_jq_run;

/* Consumes input and arguments; absent: failed (jq_fail), or no result for functions that say so.
 */
typedef struct weir_value (*jq_native_fn)(struct weir_jq_run *run,
                                          struct weir_value input,
                                          struct weir_value *arguments);

enum jq_native_flags {
    JQ_UNSTABLE = 1,  /* not deterministic */
    JQ_EVAL_ONLY = 2, /* refused in pipelines */
    JQ_WEIR = 4,      /* weir's own */
    JQ_HIDDEN = 8,    /* a part of another builtin */
    JQ_OPTIONAL = 16, /* may yield nothing */
    JQ_ENVIRONMENT = 32,
};

struct jq_native {
    const char *name;
    uint8_t arity;
    uint8_t flags;
    uint8_t op; /* a node of its own; arguments become a, b, c */
    uint8_t sub;
    jq_native_fn fn;
    const char *source; /* or its definition in jq */
    const char *doc;
    const char *program, *input, *output; /* an example */
};

struct jq_native_family {
    const struct jq_native *natives;
    size_t count;
};

extern const struct jq_native_family jq_core_natives, jq_text_natives, jq_math_natives,
    jq_date_natives, jq_regex_natives, jq_collection_natives, jq_defined_natives, jq_host_natives,
    jq_weir_natives;

/* NULL if there is none. */
const struct jq_native *jq_native_find(struct weir_slice name, size_t arity);
/* The i-th of all, NULL behind the last. */
const struct jq_native *jq_native_at(size_t index);
/* A name that looks like it; NULL if none does. */
const char *jq_native_near(struct weir_slice name);

struct jq_named_function;

/* Fills in what names mean. False: reported. */
struct jq_resolver {
    struct jq_build build;
    const struct weir_jq_options *options;
    struct weir_jq *program;
    struct jq_function *functions; /* all, newest first */
    struct jq_scope *builtins;     /* those of the table that were defined in jq and are used */
    uint32_t module_depth;
    struct weir_jq_run *folder; /* evaluates constants; made when the first one is met */
    const char *loading[64];    /* files of the modules being loaded */
};
bool jq_resolve_program(struct jq_resolver *resolver, struct jq_module *module);

/* The least number of results, if it does not fail: 0, 1, or 2 for several. */
unsigned jq_least(const struct jq_node *node);
/* Counts results, marks frames, folds constants, fuses paths. */
void jq_optimise(struct jq_resolver *resolver, struct jq_node **body);

#endif

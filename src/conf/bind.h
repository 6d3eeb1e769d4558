/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding: a YAML tree and a field table become a filled struct, or diagnostics. One thread. What
 * the struct points at lives in the binder's arena; compiled jq programs live until
 * weir_binder_done.
 */
#ifndef WEIR_CONF_BIND_H
#define WEIR_CONF_BIND_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/fields.h>
#include <weir/status.h>

#include "conf/diag.h"
#include "conf/tree.h"

/* Compiles jq programs. On failure fills err and the bytes of the text that it is about. */
struct weir_compiler {
    struct weir_jq *(*compile)(void *context,
                               struct weir_slice text,
                               size_t *ret_start,
                               size_t *ret_end,
                               struct weir_err *err);
    void (*release)(void *context, struct weir_jq *program);
    void *context;
    /* True if the program never has less than two results. NULL: nobody knows. */
    bool (*has_several)(const struct weir_jq *program);
    /* It reads $answer. NULL: none does. */
    bool (*reads_answer)(const struct weir_jq *program);
};

/* Where a member's value comes from. */
struct weir_origin {
    const void *member;
    enum weir_origin_type {
        WEIR_ORIGIN_DEFAULT,
        WEIR_ORIGIN_FILE,
        WEIR_ORIGIN_INHERITED, /* from the component before: place is there */
    } type;
    struct weir_place place;
    const char *variable; /* environment variable that it is made from, or NULL */
    bool is_secret;       /* never show the value */
};

/* A component with its bound configuration, in the order of binding. */
struct weir_bound {
    const struct weir_described *described;
    void *config;
    const char *path;
    bool *is_set;                       /* per field: written, or inherited in turn */
    const struct weir_node *key, *node; /* where it is written; key may be NULL */
};

struct weir_binder {
    struct weir_arena *arena;
    struct weir_diags *diags;
    const struct weir_registry *registry;
    const struct weir_compiler *compiler;
    struct weir_origin *origins;
    size_t origin_count, origin_capacity;
    struct weir_bound *bounds;
    size_t bound_count, bound_capacity;
    struct weir_jq **programs;
    size_t program_count, program_capacity;
    int default_depth; /* > 0: binding a default */
};

void weir_binder_init(struct weir_binder *binder,
                      struct weir_arena *arena,
                      struct weir_diags *diags,
                      const struct weir_registry *registry,
                      const struct weir_compiler *compiler);
/* Releases the programs. */
void weir_binder_done(struct weir_binder *binder);

/* Binds a whole document. config is zeroed. Problems go to the diagnostics. */
void weir_bind(struct weir_binder *binder,
               const struct weir_field *fields,
               const struct weir_rule *rules,
               struct weir_node *node,
               void *config);

/* The bytes of a component's text that a path such as "properties.linger.ms" leads to, as far as it
 * leads: at least the component's key. False: nothing was bound to config. */
bool weir_binder_locate(const struct weir_binder *binder,
                        const void *config,
                        const char *path,
                        size_t *ret_start,
                        size_t *ret_end);

/* The origin of a member by its address; NULL: it was never bound. */
const struct weir_origin *weir_binder_origin(const struct weir_binder *binder, const void *member);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Names while a program is resolved.
 */
#ifndef WEIR_JQ_SCOPE_H
#define WEIR_JQ_SCOPE_H

#include "jq/program.h"

enum jq_scope_kind {
    JQ_SCOPE_VARIABLE,
    JQ_SCOPE_CONSTANT, /* a variable whose value is known */
    JQ_SCOPE_LABEL,
    JQ_SCOPE_PARAM,
    JQ_SCOPE_FUNCTION,
};

struct jq_scope {
    struct jq_scope *up;
    enum jq_scope_kind kind;
    struct weir_slice name;
    struct jq_frame_info *frame; /* where it lives */
    uint32_t slot;
    struct jq_param *param;
    struct jq_function *function;
    const struct jq_native *native;
    struct weir_value value;
};

/* Where a node stands. */
struct jq_place {
    struct jq_scope *scope;
    struct jq_frame_info *frame;
};

struct jq_scope *jq_scope_push(struct jq_resolver *self,
                               struct jq_scope *up,
                               enum jq_scope_kind kind,
                               struct weir_slice name);
bool jq_resolve_define(struct jq_resolver *self,
                       struct jq_function *function,
                       struct jq_place *place);
/* A constant into the program's arena. False: reported. */
bool jq_build_freeze(const struct jq_build *build,
                     struct weir_value value,
                     struct weir_value *ret_value);

#endif

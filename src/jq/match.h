/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding patterns, and the loops that do.
 */
#ifndef WEIR_JQ_MATCH_H
#define WEIR_JQ_MATCH_H

#include "jq/run.h"

/* What runs with the variables bound; once per combination of keys. */
struct jq_next {
    bool (*fn)(struct jq_next *self);
};

/* Binds the value (consumed) to the pattern or the first of its alternatives that does not fail. */
bool jq_match(struct weir_jq_run *run,
              struct jq_frame *frame,
              const struct jq_pattern *pattern,
              struct weir_value value,
              struct jq_next *next);

static inline bool jq_is_plain(const struct jq_pattern *pattern)
{
    return pattern->kind == JQ_PATTERN_VARIABLE && pattern->next == NULL;
}

/* Puts a value into a slot. */
static inline void jq_assign_slot(struct weir_jq_run *run,
                                  struct jq_frame *frame,
                                  uint32_t slot,
                                  struct weir_value value)
{
    struct weir_value old = frame->slots[slot];
    frame->slots[slot] = value;
    weir_release(&run->heap, old);
}

bool jq_bind(struct weir_jq_run *run,
             const struct jq_node *node,
             struct jq_frame *frame,
             struct weir_value input,
             const struct jq_track *track,
             struct jq_emit *emit);
bool jq_reduce(struct weir_jq_run *run,
               const struct jq_node *node,
               struct jq_frame *frame,
               struct weir_value input,
               const struct jq_track *track,
               struct jq_emit *emit);
bool jq_foreach(struct weir_jq_run *run,
                const struct jq_node *node,
                struct jq_frame *frame,
                struct weir_value input,
                const struct jq_track *track,
                struct jq_emit *emit);

/* ── calls ── */

/* Enters a function: its frame with closures and value parameters, all of which have at most one
 * result. Borrows the input. NULL: no result, or failed. */
struct jq_frame *jq_enter(struct weir_jq_run *run,
                          const struct jq_node *call,
                          struct jq_frame *frame,
                          struct weir_value input);
struct weir_value jq_call_one(struct weir_jq_run *run,
                              const struct jq_node *call,
                              struct jq_frame *frame,
                              struct weir_value input);
/* Enters a function inside a generator's loop: the node to go on with, and *frame; or NULL, and
 * *ret_more. `owns_frame`: the frame was made by the same loop, behind *own. */
const struct jq_node *jq_call_tail(struct weir_jq_run *run,
                                   const struct jq_node *call,
                                   struct jq_frame **frame,
                                   struct weir_value *input,
                                   const struct jq_track *track,
                                   struct jq_emit *emit,
                                   struct jq_mark *own,
                                   bool owns_frame,
                                   bool *ret_more);
/* An argument, in a frame of its own if it needs one. */
bool jq_eval_argument(struct weir_jq_run *run,
                      const struct jq_node *node,
                      struct jq_frame *frame,
                      struct weir_value input,
                      const struct jq_track *track,
                      struct jq_emit *emit);

/* ── updates ── */

struct weir_value jq_update_one(struct weir_jq_run *run,
                                const struct jq_node *node,
                                struct jq_frame *frame,
                                struct weir_value input);
bool jq_update(struct weir_jq_run *run,
               const struct jq_node *node,
               struct jq_frame *frame,
               struct weir_value input,
               struct jq_emit *emit);

/* ── constructions, several results ── */

bool jq_object_many(struct weir_jq_run *run,
                    const struct jq_node *node,
                    struct jq_frame *frame,
                    struct weir_value input,
                    struct jq_emit *emit);
/* Natives and strings: the last argument varies slowest. */
bool jq_arguments_many(struct weir_jq_run *run,
                       const struct jq_node *node,
                       struct jq_frame *frame,
                       struct weir_value input,
                       struct jq_emit *emit);
struct weir_value jq_apply(struct weir_jq_run *run,
                           const struct jq_node *node,
                           struct weir_value input,
                           struct weir_value *arguments);

/* Collects all results of the node in an array; absent: failed. Consumes the input. */
struct weir_value jq_collect(struct weir_jq_run *run,
                             const struct jq_node *node,
                             struct jq_frame *frame,
                             struct weir_value input);
struct weir_value jq_add_all(struct weir_jq_run *run,
                             const struct jq_node *node,
                             struct jq_frame *frame,
                             struct weir_value input);
/* The first result; absent: none, or failed. */
struct weir_value jq_first_of(struct weir_jq_run *run,
                              const struct jq_node *node,
                              struct jq_frame *frame,
                              struct weir_value input);

#define JQ_ARGUMENTS_MAX 8

#endif

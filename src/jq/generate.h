/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of the general evaluator, one file per family of nodes. Each consumes the input,
 * borrows the track (NULL: not tracking), and returns false when the evaluation is to stop.
 */
#ifndef WEIR_JQ_GENERATE_H
#define WEIR_JQ_GENERATE_H

#include "jq/match.h"

#define JQ_GENERATOR(name)                                                                         \
    bool name(struct weir_jq_run *run, const struct jq_node *node, struct jq_frame *frame,         \
              struct weir_value input, const struct jq_track *track, struct jq_emit *emit)

/* track.c */
JQ_GENERATOR(jq_eval_field);
JQ_GENERATOR(jq_eval_keys);
JQ_GENERATOR(jq_eval_index);
JQ_GENERATOR(jq_eval_each);
JQ_GENERATOR(jq_eval_recurse);
JQ_GENERATOR(jq_eval_getpath);

/* limit.c */
JQ_GENERATOR(jq_eval_limit); /* first too */
JQ_GENERATOR(jq_eval_last);
JQ_GENERATOR(jq_eval_range);

/* values.c: nodes that are no paths */
bool jq_eval_values(struct weir_jq_run *run,
                    const struct jq_node *node,
                    struct jq_frame *frame,
                    struct weir_value input,
                    struct jq_emit *emit);
/* if, and, or with several conditions */
JQ_GENERATOR(jq_eval_condition);

#endif

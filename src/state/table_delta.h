/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the table and its deltas: writing one, change by change, and the way in which changes
 * that were committed before are taken back.
 */
#ifndef WEIR_STATE_TABLE_DELTA_H
#define WEIR_STATE_TABLE_DELTA_H

#include "state/table.h"

void weir_delta_clock(struct weir_strbuf *out, int64_t clock);
void weir_delta_put(struct weir_strbuf *out,
                    int64_t timer,
                    struct weir_slice key,
                    struct weir_slice value,
                    bool is_mark);
void weir_delta_put_entry(struct weir_strbuf *out, const struct weir_entry *entry);
void weir_delta_drop(struct weir_strbuf *out, const struct weir_entry *entry);

/* While it is set, changes count as committed when they are made, and caps do not refuse them.
 * Layers must be empty. */
void weir_state_set_restoring(struct weir_state *state, bool restoring);

#endif

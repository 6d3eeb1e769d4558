/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's side of a step's state (include/weir/state.h): the memory table and its two layers
 * of changes.
 *
 *     open      since the last seal            undone by rollback
 *     closing   sealed, being committed        undone by rollback, kept by commit
 *     table     committed
 *
 * Entries change in place. The first change of an entry within an epoch saves what it was, or notes
 * that it was not there; the same lists say what has changed, so that seal can write the delta.
 * Commit forgets the closing layer; rollback undoes the open one, then that. So a record costs one
 * lookup, and an abort costs what was changed.
 *
 * A delta: absolute values, so that applying it twice, or over a newer snapshot part, does no harm.
 *     u8 1 | i64 clock                                     the clock, when it has moved
 *     u8 2 | i64 timer | varint key size | varint value size | key | value        put
 *     u8 3 | varint key size | key                         dropped
 *     u8 4 | i64 timer | varint key size | key             put, never with a value
 * A snapshot part is the same (puts only), some slabs at a time, while the table goes on changing;
 * restoring = parts of a snapshot with base epoch b, then every delta after b.
 */
#ifndef WEIR_STATE_TABLE_H
#define WEIR_STATE_TABLE_H

#include <weir/state.h>
#include <weir/strbuf.h>

struct weir_state_limits {
    size_t keys_max, bytes_max; /* 0: none */
};

/* limits may be NULL. */
struct weir_state *weir_state_new(const struct weir_state_limits *limits);
/* At once after it was made: what is above the budget goes to the disk, which lives longer. */
struct weir_disk;
void weir_state_use_disk(struct weir_state *state, struct weir_disk *disk, size_t budget_bytes);
void weir_state_set_budget(struct weir_state *state, size_t budget_bytes);
/* The lane between two batches, or paused: sends what is above the budget to the disk. */
void weir_state_trim(struct weir_state *state);
/* More is in memory than twice the budget, because the layers have changed it. */
bool weir_state_is_crowded(const struct weir_state *state);
void weir_state_free(struct weir_state *state);

/* paused, or the lane. Something has changed since the last seal. */
bool weir_state_is_dirty(const struct weir_state *state);
/* About how large the delta since the last seal would be, and the memory that keeps it undoable. */
size_t weir_state_changed_bytes(const struct weir_state *state);
/* Open becomes closing; appends the delta (nothing when nothing changed; out may be NULL: not
 * wanted). Closing must be empty. */
void weir_state_seal(struct weir_state *state, struct weir_strbuf *out);
/* The closing layer is durable. */
void weir_state_commit(struct weir_state *state);
/* Both layers are undone; timers are as they were. */
void weir_state_rollback(struct weir_state *state);
/* Applies a delta or a snapshot part, as committed. Layers must be empty. WEIR_CORRUPT: not well
 * formed; the state is then useless. */
WEIR_MUST_USE weir_status weir_state_apply(struct weir_state *state,
                                           struct weir_slice delta,
                                           struct weir_err *err);
/* Before it, if that is known: of `coming` bytes to apply in all so many came before, so that the
 * index need not grow step by step. Behind the last: what was expected too much is given back. */
void weir_state_expect(struct weir_state *state, size_t came, size_t coming);
void weir_state_restored(struct weir_state *state);
/* Appends puts of entries from the cursor on until about `bytes` are appended; false when the end
 * was reached. May be called between batches over many epochs. Includes the clock in the first
 * part. Values are those of the open layer: the caller writes parts only right after a seal, or
 * knows that deltas follow. Behind a rollback: with the cursor as it was at the last commit. */
bool weir_state_snapshot_part(struct weir_state *state,
                              struct weir_state_cursor *cursor,
                              size_t bytes,
                              struct weir_strbuf *out);

#endif

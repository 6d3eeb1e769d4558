/* SPDX-License-Identifier: Apache-2.0
 *
 * What makes a table larger than memory: entries that were not used lately leave for a disk and
 * come back when they are asked for. Only committed entries leave, so both layers of changes, the
 * log and the snapshots are as they are without a disk. A set that fits into memory never touches
 * the disk.
 *
 *     space 'e'   key                     → i64 timer | u8 is a mark | value
 *     space 't'   u64 timer | key         → nothing
 *
 * A row of 't' is a hint: it may be older than the entry, and is thrown away when it is read.
 */
#ifndef WEIR_STATE_SPILL_H
#define WEIR_STATE_SPILL_H

#include "state/disk.h"
#include "state/table.h"

struct weir_spill;

/* Frees the entries of the table on disk too. NULL: nothing. */
void weir_spill_free(struct weir_spill *spill);

/* The rest is the table's. resident: what memory has of the key. */
struct weir_entry *weir_spill_find(struct weir_state *state,
                                   struct weir_slice key,
                                   uint32_t hash,
                                   struct weir_entry *resident);
struct weir_entry *weir_spill_next(struct weir_state *state, struct weir_state_cursor *cursor);
/* The row of a dropped entry goes with the commit. */
void weir_spill_drop(struct weir_spill *spill, struct weir_slice key);
void weir_spill_committed(struct weir_spill *spill);
/* A snapshot goes on where the last commit found it. */
void weir_spill_rolled_back(struct weir_spill *spill);
/* No timer of an entry on disk is earlier. */
int64_t weir_spill_next_timer(const struct weir_spill *spill);
/* Brings entries of the earliest timer back, not all at once; how many. */
size_t weir_spill_load_due(struct weir_state *state);
/* Is there an entry on disk that is due before (time, key), or may be? */
bool weir_spill_comes_before(const struct weir_spill *spill, int64_t time, struct weir_slice key);
/* Rows of a snapshot, from where the last call ended; from the beginning with `begins`. False: the
 * end was reached. */
bool weir_spill_snapshot(struct weir_state *state,
                         bool begins,
                         size_t bytes,
                         struct weir_strbuf *out);
/* Shows so many rows from `from` on, which moves behind them. False: none is left. */
bool weir_spill_look(const struct weir_state *state,
                     struct weir_strbuf *from,
                     size_t count,
                     void (*see)(void *context,
                                 struct weir_slice key,
                                 struct weir_slice value,
                                 int64_t timer),
                     void *context);

#endif

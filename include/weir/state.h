/* SPDX-License-Identifier: Apache-2.0
 *
 * A step's keyed state in one task: entries (key, value, at most one timer) and a clock. All
 * changes belong to the open epoch: they are committed together with the positions and outputs of
 * the records that made them, or undone with them. The step neither logs nor restores anything.
 *
 *     struct weir_state *state = weir_run_state(run);
 *     struct weir_entry *entry = weir_state_put(state, key, sizeof(struct counter), &is_new);
 *     struct counter *counter = weir_state_edit(state, entry);      the old value is kept for undo
 *     counter->n++;
 *     weir_state_set_timer(state, entry, window_end + grace);
 *     …
 *     while ((entry = weir_state_due(state, watermark)) != NULL) { emit …; weir_state_drop(state,
 *         entry); }
 *
 * An entry's address is stable from put to drop within a batch. Between two batches an abort, or a
 * table that is larger than memory, may invalidate every address, so steps keep none. Values begin
 * at an address divisible by 8. What a value means is the step's own business; it is stored as it
 * lies in memory (little-endian), so a step that changes its layout raises `state_version`.
 *
 * Everything here is for the lane that owns the task.
 */
#ifndef WEIR_STATE_H
#define WEIR_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>

struct weir_run;
struct weir_state;
struct weir_entry;

#define WEIR_NO_TIMER INT64_MAX

enum { WEIR_STATE_KEY_MAX = 65535, WEIR_STATE_VALUE_MAX = (1 << 24) - 1 }; /* bytes */

/* The state of the step under way in the task of the batch under way. */
struct weir_state *weir_run_state(struct weir_run *run);

/* NULL: there is none. */
struct weir_entry *weir_state_find(struct weir_state *state, struct weir_slice key);
/* Finds or makes the entry; a new one has a zeroed value of `size` bytes and no timer. NULL: the
 * state's cap of keys or bytes is reached (policy `reject`), nothing was changed. key: 1 byte to
 * WEIR_STATE_KEY_MAX; size: 0 to WEIR_STATE_VALUE_MAX. */
struct weir_entry *
weir_state_put(struct weir_state *state, struct weir_slice key, size_t size, bool *ret_new);
/* The same for an entry that never gets a value: it takes 8 bytes less. */
struct weir_entry *
weir_state_put_mark(struct weir_state *state, struct weir_slice key, bool *ret_new);
/* Removes the entry and its timer. The pointer is dead. */
void weir_state_drop(struct weir_state *state, struct weir_entry *entry);

struct weir_slice weir_entry_key(const struct weir_entry *entry);
/* For looking. Valid until the entry is resized or dropped. */
struct weir_slice weir_entry_value(const struct weir_entry *entry);
/* For changing in place, within this batch; valid until the entry is resized or dropped. */
void *weir_state_edit(struct weir_state *state, struct weir_entry *entry);
/* Changes the size of the value: the first bytes stay, new ones are zero. Returns the value for
 * changing; NULL: the cap is reached, nothing was changed. The entry keeps its address. */
void *weir_state_resize(struct weir_state *state, struct weir_entry *entry, size_t size);

/* One timer per entry, in any unit of time that grows; WEIR_NO_TIMER: none. */
void weir_state_set_timer(struct weir_state *state, struct weir_entry *entry, int64_t time);
int64_t weir_entry_timer(const struct weir_entry *entry);
/* An entry whose timer is ≤ now, its timer removed; NULL: none (left). They come in the order of
 * (timer, key bytes), whatever order they were made in. Entries may be put, edited and dropped
 * between calls. */
struct weir_entry *weir_state_due(struct weir_state *state, int64_t now);
/* The earliest timer; WEIR_NO_TIMER: none. */
int64_t weir_state_next_timer(struct weir_state *state);

/* A durable number of the step's own: the greatest time seen. INT64_MIN at first. */
int64_t weir_state_clock(const struct weir_state *state);
void weir_state_set_clock(struct weir_state *state, int64_t clock);

/* Visits all entries in no order; nothing may be put or dropped meanwhile, and an entry is valid
 * until the next call. Start with a zeroed cursor. NULL at the end. */
struct weir_state_cursor {
    size_t slab, offset;
};
struct weir_entry *weir_state_next(struct weir_state *state, struct weir_state_cursor *cursor);

/* Entries, and bytes of keys, values and bookkeeping. */
size_t weir_state_count(const struct weir_state *state);
size_t weir_state_bytes(const struct weir_state *state);

/* For who wants many entries and would wait for the memory of each: the first asks for the place
 * where a key is looked up, the second, best for several keys later, for the entry itself, and the
 * third finds it. `place` is what the first said of the same key. */
uint32_t weir_state_prefetch(const struct weir_state *state, struct weir_slice key);
void weir_state_prefetch_entry(const struct weir_state *state, uint32_t place);
struct weir_entry *
weir_state_find_at(struct weir_state *state, struct weir_slice key, uint32_t place);

#endif

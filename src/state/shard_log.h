/* SPDX-License-Identifier: Apache-2.0
 *
 * What a task writes into the state log and reads from it again, whatever the medium: frames.
 *
 *     frame    magic "WSF1" | u8 kind | u8 0 | u16 part | u16 parts | u16 0 | u32 0
 *              | u64 number | u64 first | payload | u64 checksum (XXH3 of all before)
 *     delta    what an epoch changed: positions, and per step its table's delta (state/table.h)
 *     piece    some entries of one step, for a snapshot that is written over many epochs
 *     end      a snapshot is complete: its pieces lie in the frames from `first` (the first of the
 *              epoch in which it began, which has the position) to here
 *
 * Frames of a shard are numbered without gaps; a delta that is larger than an entry of the medium
 * is split into parts. Pieces and deltas are both absolute, so restoring applies every frame in
 * order. A log that does not begin with number 0 was cut, and is whole only if a complete snapshot
 * begins in it; anything else (a gap, a bad checksum, a piece of another format) is refused with
 * WEIR_CORRUPT and never used.
 *
 * Steps are matched by name. A step that the pipeline has and the log does not begins empty; state
 * of a step that the pipeline does not have is refused, as is another version (the component's in
 * the first byte, then its layout's): WEIR_CONFIG.
 *
 * Owned by the control thread; seal and rollback while the task's lane stands still.
 */
#ifndef WEIR_STATE_SHARD_LOG_H
#define WEIR_STATE_SHARD_LOG_H

#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>

#include "state/state_log.h"
#include "state/table.h"

struct weir_shard_log;

/* Borrowed. */
struct weir_shard_step {
    const char *name;
    uint32_t version;
    struct weir_state *state;
};

/* snapshot_bytes: how much is written, at least, before the next snapshot begins; 0: the default;
 * SIZE_MAX: only when it is wanted. */
struct weir_shard_log *
weir_shard_log_new(const struct weir_shard_step *steps, size_t count, size_t snapshot_bytes);
/* For looking at a log whose pipeline is not known: every step that it speaks of gets a table,
 * which is the log's. */
struct weir_shard_log *weir_shard_log_new_discovering(void);
void weir_shard_log_free(struct weir_shard_log *log);

/* Of a discovering log: the step of that name, made with that layout if need be. NULL: its layout
 * is another, or it is not there and version is UINT32_MAX. */
const struct weir_shard_step *
weir_shard_log_step(struct weir_shard_log *log, struct weir_slice name, uint32_t version);
/* The index-th position that was restored; false behind the last. Borrowed. */
bool weir_shard_log_position_at(const struct weir_shard_log *log,
                                size_t index,
                                struct weir_state_position *ret_position);
/* The index-th step, in the order of the pipeline or of the log; NULL behind the last. */
const struct weir_shard_step *weir_shard_log_step_at(const struct weir_shard_log *log,
                                                     size_t index);

/* Restoring: how many bytes of frames there will be, if that is known; each frame in order; then
 * the end. */
void weir_shard_log_expect(struct weir_shard_log *log, size_t bytes);
WEIR_MUST_USE weir_status weir_shard_log_take(struct weir_shard_log *log,
                                              struct weir_slice frame,
                                              struct weir_err *err);
WEIR_MUST_USE weir_status weir_shard_log_restored(struct weir_shard_log *log, struct weir_err *err);
bool weir_shard_log_get_position(const struct weir_shard_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 struct weir_state_position *ret_position);
/* The bytes and frames that were taken. */
size_t weir_shard_log_bytes(const struct weir_shard_log *log);

/* Seals the steps' states and makes the frames of the epoch, none larger than frame_max: what was
 * changed, the position, and a piece of a snapshot when one is due. They stay until the next seal.
 */
void weir_shard_log_seal(struct weir_shard_log *log,
                         const struct weir_state_position *at,
                         size_t frame_max);
/* Nothing to write this time. */
void weir_shard_log_skip(struct weir_shard_log *log);
/* Begins a snapshot with the next seal. */
void weir_shard_log_want_snapshot(struct weir_shard_log *log);
/* A snapshot is under way: seal although nothing has changed. */
bool weir_shard_log_has_more(const struct weir_shard_log *log);
/* False behind the last. */
bool weir_shard_log_frame(const struct weir_shard_log *log, size_t index, struct weir_slice *ret);
/* A snapshot begins with the frames of the last seal. */
bool weir_shard_log_begins(const struct weir_shard_log *log);
/* The frames of the last seal are durable. True: a snapshot has become complete with them; frames
 * before those with which it began are not needed. */
bool weir_shard_log_committed(struct weir_shard_log *log);
/* They are not: the next seal begins where the last committed one ended. */
void weir_shard_log_aborted(struct weir_shard_log *log);

#endif

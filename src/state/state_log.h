/* SPDX-License-Identifier: Apache-2.0
 *
 * The state log: what weir itself remembers durably about a pipeline, one entry per epoch. The same
 * bytes on every medium; this is the medium `file`.
 *
 *     header   magic "weirlog1" | u32 format | u32 size | pipeline name | u64 checksum
 *     entry    magic "WEPO" | u32 size | u64 epoch | sections … | u64 checksum
 *     section  u8 type | u32 size | content
 *                1 position   source \0 topic \0 | i32 partition | i64 position
 *                2 mark       sink \0 | bytes (a file sink's name and length)
 *                3 shard      source \0 topic \0 | i32 partition | u32 size | a frame of the task's
 *                             state (state/shard_log.h)
 *
 * Little-endian; checksums are XXH3 (64 bits) over everything before them in the header or entry.
 * Positions and marks of an entry are the whole truth as of its epoch, so restoring reads the last
 * one; frames of shards add up, from the first entry to the last. Where snapshots of them begin,
 * the log goes on in a second file, `state.log.next`, which takes the name of the first when that
 * is not needed any more; it begins with a sound entry of a later epoch. A torn tail (the crash
 * happened while it was written) is recognised by its checksum and cut; damage in front of a sound
 * entry is refused, never used. An entry is committed when fdatasync returned; after a failed sync
 * the log answers nothing but that failure (the kernel may have dropped the pages).
 *
 * One process at a time: the directory is locked. Owned by the control thread; a thread of its own
 * closes a file that is not needed any more.
 */
#ifndef WEIR_STATE_STATE_LOG_H
#define WEIR_STATE_STATE_LOG_H

#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>

struct weir_state_log;

/* Creates the directory if needed. NULL: WEIR_CONFIG (another process has it, or it belongs to
 * another pipeline), WEIR_CORRUPT, WEIR_FATAL. */
struct weir_state_log *
weir_state_log_open(const char *dir, const char *pipeline, struct weir_err *err);
/* The same for looking only, also while another process has it: takes no lock, creates and changes
 * nothing, and may not be committed. An empty log when there is none. */
struct weir_state_log *
weir_state_log_read(const char *dir, const char *pipeline, struct weir_err *err);
void weir_state_log_close(struct weir_state_log *log);

/* The epoch of the last committed entry; 0: there is none. */
uint64_t weir_state_log_epoch(const struct weir_state_log *log);
/* How many bytes of a torn entry were cut at opening. */
size_t weir_state_log_cut_bytes(const struct weir_state_log *log);
bool weir_state_log_get_position(const struct weir_state_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 int64_t *ret_position);
/* The index-th position, in no order; false behind the last. Names are borrowed until close. */
struct weir_state_position {
    const char *source, *topic;
    int32_t partition;
    int64_t position;
    uint64_t topic_id; /* of a topic that may be made again; 0: unknown */
};
bool weir_state_log_position_at(const struct weir_state_log *log,
                                size_t index,
                                struct weir_state_position *ret_position);
/* When the last entry was written, by the file's time; 0: there is none. */
int64_t weir_state_log_written_ms(const struct weir_state_log *log);
/* Borrowed until the next put of the same sink. */
bool weir_state_log_get_mark(const struct weir_state_log *log,
                             const char *sink,
                             struct weir_slice *ret_mark);

/* How many bytes of frames there are of a shard. */
size_t weir_state_log_frame_bytes(const struct weir_state_log *log,
                                  const char *source,
                                  const char *topic,
                                  int32_t partition);
/* Hands over the frames of a shard, oldest first; any thread, while nobody commits. Other than
 * WEIR_OK from `take` ends it. */
WEIR_MUST_USE weir_status weir_state_log_frames(const struct weir_state_log *log,
                                                const char *source,
                                                const char *topic,
                                                int32_t partition,
                                                weir_status (*take)(void *context,
                                                                    struct weir_slice frame,
                                                                    struct weir_err *err),
                                                void *context,
                                                struct weir_err *err);
/* Snapshots of all shards begin: the next entry goes into the second file, if there is none yet. */
void weir_state_log_turn(struct weir_state_log *log);
/* Entries before that epoch are not needed any more (all shards have a newer snapshot). */
void weir_state_log_cut(struct weir_state_log *log, uint64_t epoch);
/* All frames go, with the next entry: shards begin empty. Positions and marks stay. */
void weir_state_log_drop_frames(struct weir_state_log *log);
/* Bytes that restoring would read, 0 without frames. */
int64_t weir_state_log_bytes(const struct weir_state_log *log);

/* Changes go into the next entry. */
void weir_state_log_put_frame(struct weir_state_log *log,
                              const char *source,
                              const char *topic,
                              int32_t partition,
                              struct weir_slice frame);
void weir_state_log_put_position(struct weir_state_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 int64_t position);
void weir_state_log_put_mark(struct weir_state_log *log, const char *sink, struct weir_slice mark);
/* Epochs grow. One that is committed already, because what followed could not be done yet, is not
 * written again: frames must not come twice. */
WEIR_MUST_USE weir_status weir_state_log_commit(struct weir_state_log *log,
                                                uint64_t epoch,
                                                struct weir_err *err);

#endif

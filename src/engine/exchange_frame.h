/* SPDX-License-Identifier: Apache-2.0
 *
 * What an exchange sends in front of each value, little-endian, 56 bytes:
 *
 *     magic "WX1" | u8 flags | i32 shard | u64 stream | i32 partition | i32 partitions
 *     | i64 clock | i64 time | i64 position | u64 epoch | the value's bytes
 *
 * stream and partition name the source partition (stream: a hash of the source's name and topic);
 * partitions: how many the pipeline's sources have together, 0: whoever was to speak has spoken;
 * clock: the partition's, before this record; a mark's: all that it has to say.
 */
#ifndef WEIR_ENGINE_EXCHANGE_FRAME_H
#define WEIR_ENGINE_EXCHANGE_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/slice.h>

enum { WEIR_EXCHANGE_FRAME_BYTES = 56 };

enum weir_exchange_flags {
    WEIR_EXCHANGE_MARK = 1,      /* no record */
    WEIR_EXCHANGE_IDLE = 2,      /* the partition holds nothing back until it speaks again */
    WEIR_EXCHANGE_TOMBSTONE = 4, /* the value is null, not empty */
};

struct weir_exchange_frame {
    uint8_t flags;
    int32_t shard;
    uint64_t stream;
    int32_t partition, partitions;
    int64_t clock, time_ms, position;
    uint64_t epoch;
};

void weir_exchange_frame_write(const struct weir_exchange_frame *frame,
                               char bytes[WEIR_EXCHANGE_FRAME_BYTES]);
/* False: not a frame. *ret_value: what follows it; data == NULL: a tombstone, or a mark. */
bool weir_exchange_frame_read(struct weir_slice bytes,
                              struct weir_exchange_frame *ret_frame,
                              struct weir_slice *ret_value);
uint64_t weir_exchange_stream(const char *source, const char *topic);
/* Which shard a key belongs to. */
int32_t weir_exchange_shard(struct weir_slice key, int32_t shards);

#endif

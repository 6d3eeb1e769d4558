/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of the exchange. Written field by field: what lies in a topic must not depend on how a
 * compiler lays out a struct.
 */
#include "engine/exchange_frame.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[3] = {'W', 'X', '1'};

static char *put_u32(char *at, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        *at++ = (char)(value >> (8 * i));
    }
    return at;
}

static char *put_u64(char *at, uint64_t value)
{
    return put_u32(put_u32(at, (uint32_t)value), (uint32_t)(value >> 32));
}

static uint32_t take_u32(const char **at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value |= (uint32_t)(uint8_t) * (*at)++ << (8 * i);
    }
    return value;
}

static uint64_t take_u64(const char **at)
{
    uint64_t low = take_u32(at);
    return low | (uint64_t)take_u32(at) << 32;
}

void weir_exchange_frame_write(const struct weir_exchange_frame *frame,
                               char bytes[WEIR_EXCHANGE_FRAME_BYTES])
{
    memcpy(bytes, magic, sizeof(magic));
    bytes[3] = (char)frame->flags;
    char *at = put_u32(bytes + 4, (uint32_t)frame->shard);
    at = put_u64(at, frame->stream);
    at = put_u32(at, (uint32_t)frame->partition);
    at = put_u32(at, (uint32_t)frame->partitions);
    at = put_u64(at, (uint64_t)frame->clock);
    at = put_u64(at, (uint64_t)frame->time_ms);
    at = put_u64(at, (uint64_t)frame->position);
    (void)put_u64(at, frame->epoch);
}

bool weir_exchange_frame_read(struct weir_slice bytes,
                              struct weir_exchange_frame *ret_frame,
                              struct weir_slice *ret_value)
{
    if (bytes.size < WEIR_EXCHANGE_FRAME_BYTES || memcmp(bytes.data, magic, sizeof(magic)) != 0) {
        return false;
    }
    const char *at = bytes.data + 4;
    ret_frame->flags = (uint8_t)bytes.data[3];
    ret_frame->shard = (int32_t)take_u32(&at);
    ret_frame->stream = take_u64(&at);
    ret_frame->partition = (int32_t)take_u32(&at);
    ret_frame->partitions = (int32_t)take_u32(&at);
    ret_frame->clock = (int64_t)take_u64(&at);
    ret_frame->time_ms = (int64_t)take_u64(&at);
    ret_frame->position = (int64_t)take_u64(&at);
    ret_frame->epoch = take_u64(&at);
    bool none = (ret_frame->flags & (WEIR_EXCHANGE_TOMBSTONE | WEIR_EXCHANGE_MARK)) != 0;
    *ret_value = none ? (struct weir_slice){NULL, 0}
                      : (struct weir_slice){at, bytes.size - WEIR_EXCHANGE_FRAME_BYTES};
    return true;
}

uint64_t weir_exchange_stream(const char *source, const char *topic)
{
    return XXH3_64bits_withSeed(topic, strlen(topic), XXH3_64bits(source, strlen(source)));
}

int32_t weir_exchange_shard(struct weir_slice key, int32_t shards)
{
    uint64_t hash = XXH3_64bits(key.data == NULL ? "" : key.data, key.size);
    return (int32_t)((hash >> 32) * (uint64_t)shards >> 32);
}

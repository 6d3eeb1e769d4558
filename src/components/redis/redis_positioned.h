/* SPDX-License-Identifier: Apache-2.0
 *
 * A source that reads streams by position: what reading ahead (redis_ahead.c) and owning streams
 * and committing (redis_positioned.c) share.
 */
#ifndef WEIR_REDIS_POSITIONED_H
#define WEIR_REDIS_POSITIONED_H

#include "redis_commit.h"
#include "redis_reader.h"

struct redis_positioned {
    struct weir_leased leased; /* first */
    const struct redis_source_config *config;
    struct weir_ctx *ctx;
    char group[REDIS_NAME_MAX + 1];
    char name[REDIS_KEYS_NAME_MAX]; /* of the keys */
    struct redis_part *parts;
    uint32_t part_count;
    const char **tags;
    uint64_t nonce;
    struct redis_lease_medium medium;
    struct redis_reader reader;      /* its lock guards the windows */
    redisContext *asker, *committer; /* control */
};

/* Reads all streams that this process has, while there is room: the reader's `serve`. */
weir_status redis_read_ahead(void *instance, redisContext *context, struct weir_err *err);

#endif

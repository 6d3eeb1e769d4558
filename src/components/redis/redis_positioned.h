/* SPDX-License-Identifier: Apache-2.0
 *
 * A source that reads streams by position: what reading ahead (redis_ahead.c) and owning streams
 * and committing (redis_positioned.c) share.
 */
#ifndef WEIR_REDIS_POSITIONED_H
#define WEIR_REDIS_POSITIONED_H

#include "redis_commit.h"
#include "redis_reader.h"

struct redis_positioned;

/* A thread that reads some of the streams: all of them, or in a cluster, where a question can be
 * about one slot only, one. */
struct redis_ahead {
    struct redis_positioned *source;
    struct redis_part *parts;
    uint32_t part_count;
    struct redis_reader reader; /* its lock guards the windows of these parts */
    char server[REDIS_SERVER_MAX]; /* the thread's: what it reads from */
};

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
    struct redis_ahead *aheads;
    uint32_t ahead_count;
    struct redis_nodes asker, committer; /* control */
};

/* Reads those streams that this process has, while there is room: the reader's `serve`, of a struct
 * redis_ahead. */
weir_status redis_read_ahead(void *instance, redisContext *context, struct weir_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What control, lane and reader thread of the shared mode have in common.
 */
#ifndef WEIR_COMPONENTS_REDIS_SHARED_H
#define WEIR_COMPONENTS_REDIS_SHARED_H

#include "redis_chunk.h"
#include "redis_reader.h"

struct redis_shared {
    const struct redis_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    char group[REDIS_NAME_MAX + 1], consumer[REDIS_NAME_MAX + 1];
    bool is_nameless; /* the consumer's name is of this start only */
    struct redis_reader reader;
    bool is_alone;    /* the thread: a last try; nothing is read until all is acknowledged */
    int64_t renew_ns; /* the thread: when it looks next for entries to be renewed */
    bool has_group; /* the thread: it was there; when it is gone, entries may have come meanwhile */
    redisContext *acks; /* control */
    int64_t gauged_ns;  /* control */
    int64_t next;       /* lane, or paused: what is delivered next */

    /* The reader's lock. */
    struct weir_window window;
    int64_t acked;     /* entries before it are acknowledged */
    int64_t again_end; /* behind the last entry that was delivered before */
    bool asking;       /* an answer under way may name entries that are acknowledged meanwhile */
};

/* Entries that are acknowledged leave the window, but not while an answer may still name them: they
 * would be taken for new ones. Under the lock. */
void redis_shared_trim(struct redis_shared *self);

/* This source's row of an answer of XINFO GROUPS; NULL: it has none. */
const redisReply *redis_shared_find_group(const struct redis_shared *self,
                                          const redisReply *groups);

/* The reader's serve, see redis_reader.h. */
weir_status redis_shared_serve(void *instance, redisContext *context, struct weir_err *err);

#endif

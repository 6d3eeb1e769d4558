/* SPDX-License-Identifier: Apache-2.0
 *
 * What the transaction needs to know of a source that reads by position. control.
 */
#ifndef WEIR_REDIS_POSITIONED_H
#define WEIR_REDIS_POSITIONED_H

#include "redis_commit.h"

struct redis_positioned;

/* Commits `closing` of those partitions that moved, or have outputs or frames; stands (may be
 * NULL): which do, when not all do. Fails otherwise. */
weir_status redis_positioned_commit(struct redis_positioned *self,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    bool *stands,
                                    int64_t timeout_ms,
                                    struct weir_err *err);
/* Forgets the outputs and frames of the open epoch. */
void redis_positioned_abort(struct redis_positioned *self);
/* The part of that number; its lease may be another's. */
struct redis_part *redis_positioned_part(struct redis_positioned *self, int32_t index);
/* A connection for questions; NULL and err on failure. */
redisContext *redis_positioned_asker(struct redis_positioned *self, struct weir_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a task: a stream beside its position, to which frames are added in the EXEC that
 * moves the position (redis_commit.h). What weir_leased_ops says of state. control.
 */
#ifndef WEIR_REDIS_STATE_LOG_H
#define WEIR_REDIS_STATE_LOG_H

#include "redis_commit.h"

enum { REDIS_FRAME_BYTES_MAX = 1 << 20, REDIS_ASIDE_KEY_MAX = REDIS_KEY_MAX + 8 };

/* Where an import collects the state of a stream before it puts it in its place. */
void redis_state_aside(const struct redis_part *part, char key[REDIS_ASIDE_KEY_MAX]);

WEIR_MUST_USE weir_status redis_state_restore(struct redis_part *part,
                                              redisContext *context,
                                              weir_status (*take)(void *context,
                                                                  struct weir_slice entry,
                                                                  struct weir_err *err),
                                              void *take_context,
                                              struct weir_err *err);
void redis_state_append(struct redis_part *part, struct weir_slice entry);
WEIR_MUST_USE weir_status redis_state_cut(struct redis_part *part,
                                          redisContext *context,
                                          int64_t place,
                                          struct weir_err *err);

#endif

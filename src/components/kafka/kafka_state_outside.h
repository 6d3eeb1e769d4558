/* SPDX-License-Identifier: Apache-2.0
 *
 * The state topic from outside, for `weir state`: see weir/positions.h.
 */
#ifndef WEIR_KAFKA_STATE_OUTSIDE_H
#define WEIR_KAFKA_STATE_OUTSIDE_H

#include <weir/positions.h>

#include "kafka_state_log.h"

extern const struct weir_positions_ops kafka_positions_ops;

weir_status kafka_state_outside_read(const struct weir_positions_call *call,
                                     const char *name,
                                     int32_t *ret_shards,
                                     weir_status (*take)(void *context,
                                                         int32_t shard,
                                                         struct weir_slice entry,
                                                         struct weir_err *err),
                                     void *context,
                                     struct weir_err *err);
weir_status kafka_state_outside_write(const struct weir_positions_call *call,
                                      const char *name,
                                      const struct weir_position *items,
                                      size_t count,
                                      const struct weir_state_entries *entries,
                                      struct weir_err *err);

weir_status kafka_state_outside_drop(const struct weir_positions_call *call,
                                     const char *name,
                                     struct weir_err *err);

#endif

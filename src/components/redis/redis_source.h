/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two ways to read a Redis stream share: the configuration, and how one is chosen.
 */
#ifndef WEIR_REDIS_SOURCE_H
#define WEIR_REDIS_SOURCE_H

#include <weir/positions.h>

#include "redis_topology.h"
#include "source/modal.h"

enum { REDIS_START_EARLIEST = 1, REDIS_START_LATEST };
enum { REDIS_LOSS_STOP, REDIS_LOSS_SKIP };
enum { REDIS_MODE_AUTO, REDIS_MODE_SHARED, REDIS_MODE_POSITIONED };

struct redis_source_config {
    struct redis_connection connection;
    const char *stream, *group, *consumer, *field, *key_field;
    int mode, on_data_loss;
    struct weir_moment start;
    int64_t count, partitions, max_deliveries;
    weir_duration claim_idle, lease;
};

/* The id behind which reading begins; "$" for the end. */
void redis_start_id(const struct weir_moment *start, char id[REDIS_ID_MAX]);

extern const struct weir_mode redis_shared_mode, redis_positioned_mode;

extern const struct weir_positions_ops redis_positions_ops;

#endif

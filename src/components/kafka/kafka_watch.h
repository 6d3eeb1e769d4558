/* SPDX-License-Identifier: Apache-2.0
 *
 * Notices that a topic that is read was deleted and made again. Its partitions have the same names
 * and perhaps more records than were read of the old ones, so nothing fails, and what lies before
 * the old position would never be read. A topic has an id (KIP-516) that another one of its name
 * has not; it is asked for every two seconds.
 */
#ifndef WEIR_KAFKA_WATCH_H
#define WEIR_KAFKA_WATCH_H

#include "kafka_lane.h"
#include "kafka_question.h"

/* All of it is control's. */
struct kafka_watch {
    struct kafka_question question;
    bool asks;
    int64_t due_ms; /* of the next question */
};

/* Never waits. Partitions whose topic's id is not known yet learn it. Another id: *ret_part is one
 * such partition, which has the new id from now on; NULL: none. */
void kafka_watch_poll(struct kafka_watch *self,
                      rd_kafka_t *rk,
                      struct kafka_lane *lanes,
                      unsigned lane_count,
                      struct kafka_partition **ret_part);
void kafka_watch_end(struct kafka_watch *self);

#endif

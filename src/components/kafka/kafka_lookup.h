/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the partitions begin that the group has assigned, or whose next record is gone: positions that
 * nobody knows yet, asked for in a thread, so that control goes on meanwhile.
 */
#ifndef WEIR_KAFKA_LOOKUP_H
#define WEIR_KAFKA_LOOKUP_H

#include <pthread.h>

#include "kafka_source.h"

enum { KAFKA_START_EARLIEST = 1, KAFKA_START_LATEST };
enum { KAFKA_LOSS_STOP, KAFKA_LOSS_EARLIEST };
#define KAFKA_LOSS_REMEDY "To go on with what is there, set `on_data_loss: earliest`."

struct kafka_lookup {
    rd_kafka_t *rk;
    struct weir_ctx *ctx;
    const struct kafka_source_config *config;
    rd_kafka_topic_partition_list_t *wanted; /* control: assigned, and not yet taken */
    bool outdated;                           /* control: of what is asked for, something left */
    bool running;                            /* control */
    pthread_t thread;
    atomic_bool stop, done;
    /* While the thread runs its own, else control's: what it asks for (an offset: of a record that is
     * gone) and was told. */
    rd_kafka_topic_partition_list_t *asked, *found;
    int32_t partition_count;
    uint64_t topic_id;
    int32_t total;
    struct weir_err err;
};

/* All of them: control. */
void kafka_lookup_init(struct kafka_lookup *self,
                       rd_kafka_t *rk,
                       struct weir_ctx *ctx,
                       const struct kafka_source_config *config);
/* Waits for the answer to one question, if there is one under way: a few seconds at most. */
void kafka_lookup_done(struct kafka_lookup *self);
/* lost: the broker has not any more what lies at the list's offsets. */
void kafka_lookup_add(struct kafka_lookup *self,
                      const rd_kafka_topic_partition_list_t *list,
                      bool lost);
/* Its position may be another by the time it comes back. False: it is not wanted. */
bool kafka_lookup_remove(struct kafka_lookup *self, const char *topic, int32_t index);
/* To be called often. *ret_list: partitions with their positions, the caller's; NULL: none for now.
 * Those that had lost records have an opaque that is not NULL.
 * An error is final; a broker that does not answer is none. */
weir_status kafka_lookup_take(struct kafka_lookup *self,
                              rd_kafka_topic_partition_list_t **ret_list,
                              struct weir_err *err);

#endif

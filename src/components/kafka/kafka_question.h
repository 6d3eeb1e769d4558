/* SPDX-License-Identifier: Apache-2.0
 *
 * A request to the cluster's administration, whose answer comes as an event. Waits in the caller's
 * thread.
 */
#ifndef WEIR_KAFKA_QUESTION_H
#define WEIR_KAFKA_QUESTION_H

#include "kafka_client.h"

struct kafka_question {
    int timeout_ms;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event; /* NULL: no answer */
};

/* The request is then made with its options, into its queue. */
void kafka_question_begin(struct kafka_question *self,
                          rd_kafka_t *rk,
                          rd_kafka_admin_op_t operation,
                          int timeout_ms);
/* Waits for the event; the error of the request as a whole. */
rd_kafka_resp_err_t kafka_question_answer(struct kafka_question *self);
void kafka_question_end(struct kafka_question *self);

/* Tells a topic from others that had its name. 0: the brokers know none. */
uint64_t kafka_topic_id(const rd_kafka_TopicDescription_t *topic);

/* A topic's partitions, and its id (may be NULL). */
rd_kafka_resp_err_t kafka_topic_describe(
    rd_kafka_t *rk, const char *name, int timeout_ms, int32_t *ret_count, uint64_t *ret_id);

/* The same, as whoever can wait needs it. WEIR_AGAIN: nobody answers within that time. */
WEIR_MUST_USE weir_status kafka_topic_await(rd_kafka_t *rk,
                                            const char *name,
                                            int timeout_ms,
                                            int32_t *ret_count,
                                            uint64_t *ret_id,
                                            struct weir_err *err);

/* Makes a topic with as many replicas as the cluster likes. settings: pairs of name and value that
 * end in NULL. */
rd_kafka_resp_err_t kafka_topic_create(
    rd_kafka_t *rk, const char *name, int partitions, const char *const *settings, int timeout_ms);

#endif

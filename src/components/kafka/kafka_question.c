/* SPDX-License-Identifier: Apache-2.0
 *
 * librdkafka ends a request by itself when its time is over, so the queue is listened to for a
 * little longer than that.
 */
#include "kafka_question.h"

#include "base/assert.h"

enum { ANSWER_MARGIN_MS = 1000 };

void kafka_question_begin(struct kafka_question *self,
                          rd_kafka_t *rk,
                          rd_kafka_admin_op_t operation,
                          int timeout_ms)
{
    char text[128];
    *self = (struct kafka_question){.timeout_ms = timeout_ms,
                                    .queue = rd_kafka_queue_new(rk),
                                    .options = rd_kafka_AdminOptions_new(rk, operation)};
    (void)rd_kafka_AdminOptions_set_request_timeout(self->options, timeout_ms, text, sizeof(text));
}

rd_kafka_resp_err_t kafka_question_answer(struct kafka_question *self)
{
    self->event = rd_kafka_queue_poll(self->queue, self->timeout_ms + ANSWER_MARGIN_MS);
    return self->event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(self->event);
}

void kafka_question_end(struct kafka_question *self)
{
    if (self->event != NULL) {
        rd_kafka_event_destroy(self->event);
    }
    rd_kafka_queue_destroy(self->queue);
    rd_kafka_AdminOptions_destroy(self->options);
}

uint64_t kafka_topic_id(const rd_kafka_TopicDescription_t *topic)
{
    const rd_kafka_Uuid_t *id = rd_kafka_TopicDescription_topic_id(topic);
    return (uint64_t)(rd_kafka_Uuid_most_significant_bits(id) ^
                      rd_kafka_Uuid_least_significant_bits(id));
}

rd_kafka_resp_err_t kafka_topic_describe(
    rd_kafka_t *rk, const char *name, int timeout_ms, int32_t *ret_count, uint64_t *ret_id)
{
    rd_kafka_TopicCollection_t *names = rd_kafka_TopicCollection_of_topic_names(&name, 1);
    struct kafka_question question;
    kafka_question_begin(&question, rk, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout_ms);
    rd_kafka_DescribeTopics(rk, names, question.options, question.queue);
    rd_kafka_resp_err_t code = kafka_question_answer(&question);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_TopicDescription_t **topics = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(question.event), &count);
        code = count == 1 ? rd_kafka_error_code(rd_kafka_TopicDescription_error(topics[0]))
                          : RD_KAFKA_RESP_ERR__FAIL;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            (void)rd_kafka_TopicDescription_partitions(topics[0], &count);
            *ret_count = (int32_t)count;
        }
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && ret_id != NULL) {
            *ret_id = kafka_topic_id(topics[0]);
        }
    }
    kafka_question_end(&question);
    rd_kafka_TopicCollection_destroy(names);
    return code;
}

weir_status kafka_topic_await(rd_kafka_t *rk,
                              const char *name,
                              int timeout_ms,
                              int32_t *ret_count,
                              uint64_t *ret_id,
                              struct weir_err *err)
{
    rd_kafka_resp_err_t code = kafka_topic_describe(rk, name, timeout_ms, ret_count, ret_id);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? WEIR_OK
               : weir_fail(err, WEIR_AGAIN, "nobody tells how many partitions %s has: %s", name,
                           rd_kafka_err2str(code));
}

rd_kafka_resp_err_t kafka_topic_create(
    rd_kafka_t *rk, const char *name, int partitions, const char *const *settings, int timeout_ms)
{
    char text[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, -1, text, sizeof(text));
    WEIR_ASSERT(topic != NULL);
    for (size_t i = 0; settings[i] != NULL; i += 2) {
        rd_kafka_NewTopic_set_config(topic, settings[i], settings[i + 1]);
    }
    struct kafka_question question;
    kafka_question_begin(&question, rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms);
    rd_kafka_CreateTopics(rk, &topic, 1, question.options, question.queue);
    rd_kafka_resp_err_t code = kafka_question_answer(&question);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_topic_result_t **results = rd_kafka_CreateTopics_result_topics(
            rd_kafka_event_CreateTopics_result(question.event), &count);
        code = count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__FAIL;
    }
    kafka_question_end(&question);
    rd_kafka_NewTopic_destroy(topic);
    return code;
}

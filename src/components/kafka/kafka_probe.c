/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pipeline may do is asked, not tried: brokers tell which operations they allow on a topic
 * and a group, so nothing is joined or written. They do not tell it of transactional ids, and
 * taking one would fence the pipeline that runs; that right shows at the start only.
 */
#include "kafka_probe.h"

#include <string.h>

enum { ASK_MS = 10000 };

struct answers {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
    rd_kafka_event_t *event;
};

static void answers_open(struct answers *self, rd_kafka_t *rk, rd_kafka_admin_op_t operation)
{
    char text[128];
    *self = (struct answers){.rk = rk, .queue = rd_kafka_queue_new(rk)};
    self->options = rd_kafka_AdminOptions_new(rk, operation);
    (void)rd_kafka_AdminOptions_set_request_timeout(self->options, ASK_MS, text, sizeof(text));
    rd_kafka_error_destroy(
        rd_kafka_AdminOptions_set_include_authorized_operations(self->options, 1));
}

/* Waits for the answer; its error as a whole. */
static weir_status answers_wait(struct answers *self, const char *what, struct weir_err *err)
{
    self->event = rd_kafka_queue_poll(self->queue, ASK_MS + 1000);
    if (self->event == NULL) {
        return weir_fail(err, WEIR_UNAVAILABLE, "%s: no answer", what);
    }
    rd_kafka_resp_err_t code = rd_kafka_event_error(self->event);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ? WEIR_OK
                                              : weir_fail(err, kafka_status(code), "%s: %s", what,
                                                          rd_kafka_event_error_string(self->event));
}

static void answers_close(struct answers *self)
{
    if (self->event != NULL) {
        rd_kafka_event_destroy(self->event);
    }
    rd_kafka_AdminOptions_destroy(self->options);
    rd_kafka_queue_destroy(self->queue);
}

/* Brokers that do not tell allow everything, as far as we know. */
static bool
allows(const rd_kafka_AclOperation_t *list, size_t count, rd_kafka_AclOperation_t wanted)
{
    bool is_allowed = count == 0;
    for (size_t i = 0; i < count; i++) {
        is_allowed = is_allowed || list[i] == wanted || list[i] == RD_KAFKA_ACL_OPERATION_ALL;
    }
    return is_allowed;
}

/* --- topics ------------------------------------------------------------------------------------*/

static weir_status judge_topic(const struct kafka_probe *probe,
                               const rd_kafka_TopicDescription_t *topic,
                               struct weir_err *err)
{
    const char *name = rd_kafka_TopicDescription_name(topic);
    const rd_kafka_error_t *error = rd_kafka_TopicDescription_error(topic);
    rd_kafka_resp_err_t code =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    weir_status status = WEIR_OK;
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        status = weir_fail(err, WEIR_CONFIG, "the topic %s does not exist", name);
        weir_err_hint(err, "Create it, or mend the name.");
    } else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED) {
        status = weir_fail(err, WEIR_DENIED, "the topic %s is not there, or may not be seen", name);
        weir_err_hint(err, "Allow Describe on it.");
    } else if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = weir_fail(err, kafka_status(code), "topic %s: %s", name, rd_kafka_err2str(code));
    } else {
        size_t count;
        const rd_kafka_AclOperation_t *list =
            rd_kafka_TopicDescription_authorized_operations(topic, &count);
        rd_kafka_AclOperation_t wanted =
            probe->writes ? RD_KAFKA_ACL_OPERATION_WRITE : RD_KAFKA_ACL_OPERATION_READ;
        if (!allows(list, count, wanted)) {
            status = weir_fail(err, WEIR_DENIED, "the topic %s may not be %s", name,
                               probe->writes ? "written" : "read");
            weir_err_hint(err, "Allow %s on it.", probe->writes ? "Write" : "Read");
        }
    }
    if (status != WEIR_OK) {
        weir_err_path(err, probe->field);
    }
    return status;
}

static weir_status try_topics(const struct kafka_probe *probe, rd_kafka_t *rk, struct weir_err *err)
{
    struct answers answers;
    answers_open(&answers, rk, RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    rd_kafka_TopicCollection_t *names = rd_kafka_TopicCollection_of_topic_names(
        (const char **)(uintptr_t)probe->topics, probe->topic_count);
    rd_kafka_DescribeTopics(rk, names, answers.options, answers.queue);
    rd_kafka_TopicCollection_destroy(names);
    weir_status status = answers_wait(&answers, "asking for topics", err);
    size_t count = 0;
    const rd_kafka_TopicDescription_t **topics = NULL;
    if (status == WEIR_OK) {
        topics = rd_kafka_DescribeTopics_result_topics(
            rd_kafka_event_DescribeTopics_result(answers.event), &count);
    }
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        status = judge_topic(probe, topics[i], err);
    }
    answers_close(&answers);
    return status;
}

/* --- the group ---------------------------------------------------------------------------------*/

static weir_status judge_group(const struct kafka_probe *probe,
                               const rd_kafka_ConsumerGroupDescription_t *group,
                               struct weir_err *err)
{
    const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(group);
    rd_kafka_resp_err_t code =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    size_t count = 0;
    const rd_kafka_AclOperation_t *list =
        code != RD_KAFKA_RESP_ERR_NO_ERROR
            ? NULL
            : rd_kafka_ConsumerGroupDescription_authorized_operations(group, &count);
    if (code != RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED &&
        allows(list, count, RD_KAFKA_ACL_OPERATION_READ)) {
        return WEIR_OK; /* also one that is not there yet */
    }
    weir_status status =
        weir_fail(err, WEIR_DENIED, "the consumer group %s may not be used", probe->group);
    weir_err_hint(err, "Allow Read on it.");
    return status;
}

static weir_status try_group(const struct kafka_probe *probe, rd_kafka_t *rk, struct weir_err *err)
{
    struct answers answers;
    answers_open(&answers, rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    const char *names[] = {probe->group};
    rd_kafka_DescribeConsumerGroups(rk, names, 1, answers.options, answers.queue);
    weir_status status = answers_wait(&answers, "asking for the group", err);
    size_t count = 0;
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    if (status == WEIR_OK) {
        groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(answers.event), &count);
    }
    for (size_t i = 0; i < count && status == WEIR_OK; i++) {
        status = judge_group(probe, groups[i], err);
    }
    answers_close(&answers);
    return status;
}

weir_status kafka_probe_try(const struct kafka_probe *probe, struct weir_err *err)
{
    struct kafka_client client = {0};
    const char *const none[] = {NULL};
    rd_kafka_conf_t *conf = kafka_conf_new(probe->connection, &client, none, err);
    rd_kafka_t *rk = conf == NULL ? NULL : kafka_client_new(&client, RD_KAFKA_PRODUCER, conf, err);
    if (rk == NULL) {
        return err->status;
    }
    char *id = kafka_cluster_id(&client, rk, err);
    weir_status status = id == NULL ? err->status : WEIR_OK;
    if (id != NULL) {
        rd_kafka_mem_free(rk, id);
    }
    if (status == WEIR_OK && probe->topic_count > 0) {
        status = try_topics(probe, rk, err);
    }
    if (status == WEIR_OK && probe->group != NULL) {
        status = try_group(probe, rk, err);
    }
    rd_kafka_destroy(rk);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The positions of a Kafka consumer group, from outside. A consumer with the group's name that
 * never subscribes is no member: it may read the group's positions at any time, and write them
 * while the group is empty; the coordinator itself refuses the write when a member is there, so
 * between asking who reads and committing nothing can slip in.
 *
 * Committed positions are asked for through this consumer and not through the admin interface,
 * whose request needs a group of its own handle. It reads as the pipeline does (read_committed):
 * positions of a transaction that is still open make it wait, and fail rather than guess.
 */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/positions.h>

#include "base/assert.h"
#include "kafka_source.h"
#include "kafka_state_outside.h"

enum { TIMEOUT_MS = 15000 };

/* A handle for one call. */
struct asker {
    struct kafka_client client; /* first: librdkafka's opaque */
    rd_kafka_t *rk;
};

void kafka_source_pattern(const char *pattern, char text[KAFKA_PATTERN_MAX])
{
    (void)snprintf(text, KAFKA_PATTERN_MAX, "%s%.500s", pattern[0] == '^' ? "" : "^", pattern);
}

static const char *group_of(const struct weir_positions_call *call)
{
    const struct kafka_source_config *config = call->config;
    return config->group == NULL ? call->pipeline : config->group;
}

static weir_status
asker_open(struct asker *self, const struct weir_positions_call *call, struct weir_err *err)
{
    const struct kafka_source_config *config = call->config;
    const char *const settings[] = {
        "group.id",       group_of(call), "enable.auto.commit", "false", "isolation.level",
        "read_committed", NULL,
    };
    self->client.log = call->log;
    rd_kafka_conf_t *conf = kafka_conf_new(&config->connection, &self->client, settings, err);
    if (conf == NULL) {
        return err->status;
    }
    self->rk = kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err);
    if (self->rk == NULL) {
        return err->status;
    }
    return WEIR_OK;
}

static void asker_close(struct asker *self)
{
    if (self->rk != NULL) {
        rd_kafka_destroy(self->rk);
    }
}

static weir_status asker_fail(const char *what, rd_kafka_resp_err_t code, struct weir_err *err)
{
    weir_status status = kafka_status(code);
    return weir_fail(err, status == WEIR_OK ? WEIR_UNAVAILABLE : status, "%s: %s", what,
                     rd_kafka_err2str(code));
}

/* --- which partitions --------------------------------------------------------------------------*/

static bool names_topic(const struct kafka_source_config *config, const char *topic)
{
    if (config->topic != NULL && strcmp(config->topic, topic) == 0) {
        return true;
    }
    for (size_t i = 0; i < config->topics.count; i++) {
        if (strcmp(config->topics.items[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

static void add_topic(rd_kafka_topic_partition_list_t *list, const rd_kafka_metadata_topic_t *topic)
{
    for (int i = 0; i < topic->partition_cnt; i++) {
        rd_kafka_topic_partition_list_add(list, topic->topic, topic->partitions[i].id);
    }
}

static weir_status missing_topic(const struct kafka_source_config *config,
                                 const rd_kafka_topic_partition_list_t *list,
                                 struct weir_err *err)
{
    for (size_t i = 0; i <= config->topics.count; i++) {
        const char *name = i == config->topics.count ? config->topic : config->topics.items[i];
        bool is_there = name == NULL;
        for (int k = 0; k < list->cnt && !is_there; k++) {
            is_there = strcmp(list->elems[k].topic, name) == 0;
        }
        if (!is_there) {
            return weir_fail(err, WEIR_REJECTED, "the topic \"%s\" does not exist", name);
        }
    }
    return WEIR_OK;
}

/* All partitions of the topics that the source reads; the caller destroys *ret_list. */
static weir_status asker_partitions(struct asker *self,
                                    const struct kafka_source_config *config,
                                    rd_kafka_topic_partition_list_t **ret_list,
                                    struct weir_err *err)
{
    *ret_list = rd_kafka_topic_partition_list_new(16);
    char text[KAFKA_PATTERN_MAX];
    regex_t pattern;
    if (config->pattern != NULL) {
        kafka_source_pattern(config->pattern, text);
        if (regcomp(&pattern, text, REG_EXTENDED | REG_NOSUB) != 0) {
            return weir_fail(err, WEIR_CONFIG, "the pattern is no regular expression");
        }
    }
    const struct rd_kafka_metadata *metadata = NULL;
    int64_t until_ms = kafka_now_ms() + TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_metadata(self->rk, 1, NULL, &metadata, TIMEOUT_MS);
    } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && kafka_ask_again(code, until_ms));
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < metadata->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *topic = &metadata->topics[i];
        if (names_topic(config, topic->topic) ||
            (config->pattern != NULL && regexec(&pattern, topic->topic, 0, NULL, 0) == 0)) {
            add_topic(*ret_list, topic);
        }
    }
    if (config->pattern != NULL) {
        regfree(&pattern);
    }
    if (metadata != NULL) {
        rd_kafka_metadata_destroy(metadata);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        (void)!weir_fail(err, kafka_status(code), "no answer from %s: %s",
                         config->connection.brokers.items[0], rd_kafka_err2str(code));
        return err->status;
    }
    rd_kafka_topic_partition_list_sort(*ret_list, NULL, NULL);
    return missing_topic(config, *ret_list, err);
}

/* --- asking ------------------------------------------------------------------------------------*/

static weir_status asker_ends(struct asker *self,
                              const rd_kafka_topic_partition_t *item,
                              struct weir_position *position,
                              struct weir_err *err)
{
    int64_t until_ms = kafka_now_ms() + TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_query_watermark_offsets(self->rk, item->topic, item->partition,
                                                &position->first, &position->end, TIMEOUT_MS);
    } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && kafka_ask_again(code, until_ms));
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? WEIR_OK
               : asker_fail("cannot read the ends of the topic", code, err);
}

static weir_status asker_list(struct asker *self,
                              const struct weir_positions_call *call,
                              rd_kafka_topic_partition_list_t *list,
                              struct weir_position *items,
                              struct weir_err *err)
{
    rd_kafka_resp_err_t code = list->cnt == 0
                                   ? RD_KAFKA_RESP_ERR_NO_ERROR
                                   : kafka_committed(self->rk, list, kafka_now_ms() + TIMEOUT_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return asker_fail("cannot read the committed positions", code, err);
    }
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];
        items[i] = (struct weir_position){
            .topic = weir_arena_strdup(call->arena, item->topic),
            .partition = item->partition,
            .committed = item->offset < 0 ? -1 : item->offset,
        };
        weir_status status = asker_ends(self, item, &items[i], err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

static weir_status kafka_positions_list(const struct weir_positions_call *call,
                                        struct weir_position **ret_items,
                                        size_t *ret_count,
                                        struct weir_err *err)
{
    struct asker asker = {0};
    rd_kafka_topic_partition_list_t *list = NULL;
    weir_status status = asker_open(&asker, call, err);
    if (status == WEIR_OK) {
        status = asker_partitions(&asker, call->config, &list, err);
    }
    if (status == WEIR_OK) {
        *ret_count = (size_t)list->cnt;
        *ret_items = weir_arena_calloc(call->arena, *ret_count + 1, sizeof(**ret_items));
        WEIR_ASSERT(*ret_items != NULL);
        status = asker_list(&asker, call, list, *ret_items, err);
    }
    if (list != NULL) {
        rd_kafka_topic_partition_list_destroy(list);
    }
    asker_close(&asker);
    return status;
}

static weir_status kafka_positions_find(const struct weir_positions_call *call,
                                        int64_t time_ms,
                                        struct weir_position *items,
                                        size_t count,
                                        struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    if (status != WEIR_OK) {
        asker_close(&asker);
        return status;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, items[i].topic, items[i].partition)->offset =
            time_ms;
    }
    int64_t until_ms = kafka_now_ms() + TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_offsets_for_times(asker.rk, list, TIMEOUT_MS);
    } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && kafka_ask_again(code, until_ms));
    for (size_t i = 0; i < count && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        code = list->elems[i].err;
        items[i].target = list->elems[i].offset < 0 ? items[i].end : list->elems[i].offset;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = asker_fail("cannot look for that time", code, err);
    }
    rd_kafka_topic_partition_list_destroy(list);
    asker_close(&asker);
    return status;
}

/* --- who reads ---------------------------------------------------------------------------------*/

static void put_member(const rd_kafka_MemberDescription_t *member, struct weir_strbuf *out)
{
    const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(member);
    const rd_kafka_topic_partition_list_t *parts =
        assignment == NULL ? NULL : rd_kafka_MemberAssignment_partitions(assignment);
    const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
    const char *host = rd_kafka_MemberDescription_host(member);
    int count = parts == NULL ? 0 : parts->cnt;
    weir_strbuf_printf(out, "%s at %s with %d partition%s\n",
                       instance != NULL ? instance : rd_kafka_MemberDescription_client_id(member),
                       host == NULL     ? "?"
                       : host[0] == '/' ? host + 1
                                        : host,
                       count, count == 1 ? "" : "s");
}

static weir_status put_group(const rd_kafka_ConsumerGroupDescription_t *group,
                             struct weir_strbuf *out,
                             struct weir_err *err)
{
    const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(group);
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
        return WEIR_OK;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return asker_fail("cannot ask who reads", code, err);
    }
    size_t count = rd_kafka_ConsumerGroupDescription_member_count(group);
    for (size_t i = 0; i < count; i++) {
        put_member(rd_kafka_ConsumerGroupDescription_member(group, i), out);
    }
    return WEIR_OK;
}

static weir_status kafka_positions_readers(const struct weir_positions_call *call,
                                           struct weir_strbuf *out,
                                           struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    if (status != WEIR_OK) {
        asker_close(&asker);
        return status;
    }
    const char *group = group_of(call);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(asker.rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(asker.rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    char text[256];
    (void)rd_kafka_AdminOptions_set_request_timeout(options, TIMEOUT_MS, text, sizeof(text));
    rd_kafka_DescribeConsumerGroups(asker.rk, &group, 1, options, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS * 2);
    const rd_kafka_DescribeConsumerGroups_result_t *result =
        event == NULL ? NULL : rd_kafka_event_DescribeConsumerGroups_result(event);
    if (result == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = asker_fail(
            "cannot ask who reads",
            event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event), err);
    } else {
        size_t count = 0;
        const rd_kafka_ConsumerGroupDescription_t **groups =
            rd_kafka_DescribeConsumerGroups_result_groups(result, &count);
        for (size_t i = 0; i < count && status == WEIR_OK; i++) {
            status = put_group(groups[i], out, err);
        }
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    asker_close(&asker);
    return status;
}

/* --- moving ------------------------------------------------------------------------------------*/

static weir_status commit_failed(rd_kafka_resp_err_t code, struct weir_err *err)
{
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
        code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
        code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS) {
        return weir_fail(err, WEIR_REJECTED, "the group has got members meanwhile");
    }
    return asker_fail("cannot commit the positions", code, err);
}

static weir_status kafka_positions_commit(const struct weir_positions_call *call,
                                          const struct weir_position *items,
                                          size_t count,
                                          struct weir_err *err)
{
    struct asker asker = {0};
    weir_status status = asker_open(&asker, call, err);
    if (status == WEIR_OK && count > 0) {
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
        for (size_t i = 0; i < count; i++) {
            rd_kafka_topic_partition_list_add(list, items[i].topic, items[i].partition)->offset =
                items[i].target;
        }
        rd_kafka_resp_err_t code = rd_kafka_commit(asker.rk, list, 0);
        for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
            code = list->elems[i].err;
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = commit_failed(code, err);
        }
        rd_kafka_topic_partition_list_destroy(list);
    }
    asker_close(&asker);
    return status;
}

const struct weir_positions_ops kafka_positions_ops = {
    .unit = "records",
    .list = kafka_positions_list,
    .find = kafka_positions_find,
    .readers = kafka_positions_readers,
    .commit = kafka_positions_commit,
    .read_state = kafka_state_outside_read,
    .write_state = kafka_state_outside_write,
    .state_entry_max = KAFKA_STATE_ENTRY_MAX,
    .drop_state = kafka_state_outside_drop,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The topic is made by weir, never compacted, never expired: an entry is a delta, so none may go
 * before a snapshot has replaced it. What a snapshot has replaced is deleted with DeleteRecords.
 */
#include "kafka_state_log.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kafka_question.h"

enum {
    REQUEST_MS = 5000,
    PATIENCE_MS = 60000,
    READ_MS = 5,
    PROGRESS_MS = 5000,
    READ_BATCH = 256,
};

static int64_t now_ms(const struct kafka_state_log *self)
{
    return weir_clock_monotonic_ns(self->ctx->clock) / 1000000;
}

/* A command, from outside, has no engine and no hurry. */
static bool must_hurry(const struct kafka_state_log *self)
{
    return self->ctx->engine != NULL && weir_ctx_must_hurry(self->ctx);
}

/* --- administration ----------------------------------------------------------------------------*/

static rd_kafka_resp_err_t create_topic(struct kafka_state_log *self, int32_t shards)
{
    static const char *const settings[] = {
        "cleanup.policy", "delete", "retention.ms", "-1", "retention.bytes", "-1", NULL,
    };
    return kafka_topic_create(self->producer->rk, self->topic, shards, settings, REQUEST_MS);
}

/* Its partitions; 0: there is no such topic; -1: nobody answers. A producer's question for metadata
 * would make the topic, with settings of the broker's own; this one does not. */
static int count_partitions(struct kafka_state_log *self)
{
    int32_t count = 0;
    rd_kafka_resp_err_t code =
        kafka_topic_describe(self->producer->rk, self->topic, REQUEST_MS, &count, NULL);
    bool is_answered =
        code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    return is_answered ? count : -1;
}

/* Settings under which the broker would delete what is still needed. */
static weir_status check_settings(struct kafka_state_log *self, struct weir_err *err)
{
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, self->topic);
    struct kafka_question question;
    kafka_question_begin(&question, self->producer->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, REQUEST_MS);
    rd_kafka_DescribeConfigs(self->producer->rk, &resource, 1, question.options, question.queue);
    weir_status status = WEIR_OK;
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources = NULL;
    if (kafka_question_answer(&question) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        resources = rd_kafka_DescribeConfigs_result_resources(
            rd_kafka_event_DescribeConfigs_result(question.event), &count);
    }
    const rd_kafka_ConfigEntry_t **entries =
        count == 1 ? rd_kafka_ConfigResource_configs(resources[0], &count) : NULL;
    for (size_t i = 0; entries != NULL && i < count && status == WEIR_OK; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        bool bad = value != NULL &&
                   ((strcmp(name, "cleanup.policy") == 0 && strcmp(value, "delete") != 0) ||
                    (strcmp(name, "retention.ms") == 0 && strcmp(value, "-1") != 0) ||
                    (strcmp(name, "retention.bytes") == 0 && strcmp(value, "-1") != 0));
        if (bad) {
            status =
                weir_fail(err, WEIR_CONFIG, "the topic %s has %s=%s", self->topic, name, value);
            weir_err_hint(err, "Records would be deleted while they are needed: set "
                               "cleanup.policy=delete, retention.ms=-1 and retention.bytes=-1.");
        }
    }
    kafka_question_end(&question);
    rd_kafka_ConfigResource_destroy(resource);
    return status;
}

/* Asks once. */
static rd_kafka_resp_err_t ask_offset(struct kafka_state_log *self,
                                      int32_t shard,
                                      rd_kafka_OffsetSpec_t which,
                                      int64_t *ret_offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, shard)->offset = (int64_t)which;
    struct kafka_question question;
    kafka_question_begin(&question, self->producer->rk, RD_KAFKA_ADMIN_OP_LISTOFFSETS, REQUEST_MS);
    rd_kafka_error_t *error = rd_kafka_AdminOptions_set_isolation_level(
        question.options, RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED);
    WEIR_ASSERT(error == NULL);
    rd_kafka_ListOffsets(self->producer->rk, list, question.options, question.queue);
    rd_kafka_resp_err_t code = kafka_question_answer(&question);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_ListOffsetsResultInfo_t **infos = rd_kafka_ListOffsets_result_infos(
            rd_kafka_event_ListOffsets_result(question.event), &count);
        const rd_kafka_topic_partition_t *item =
            count == 1 ? rd_kafka_ListOffsetsResultInfo_topic_partition(infos[0]) : NULL;
        code = item == NULL ? RD_KAFKA_RESP_ERR__FAIL : item->err;
        *ret_offset = item == NULL ? -1 : item->offset;
    }
    kafka_question_end(&question);
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* Leaders move, new topics take a moment: until the patience is over. */
static weir_status find_offset(struct kafka_state_log *self,
                               int32_t shard,
                               rd_kafka_OffsetSpec_t which,
                               int64_t *ret_offset,
                               struct weir_err *err)
{
    int64_t until_ms = now_ms(self) + PATIENCE_MS;
    rd_kafka_resp_err_t code;
    while ((code = ask_offset(self, shard, which, ret_offset)) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        weir_status status = kafka_status(code);
        if (status == WEIR_DENIED || now_ms(self) > until_ms || must_hurry(self)) {
            return weir_fail(err, status == WEIR_DENIED ? status : WEIR_UNAVAILABLE,
                             "the state topic %s, partition %d: %s", self->topic, shard,
                             rd_kafka_err2str(code));
        }
        rd_kafka_poll(self->producer->rk, KAFKA_PAUSE_MS);
    }
    return WEIR_OK;
}

weir_status kafka_state_log_make(struct kafka_state_log *self, int32_t shards, struct weir_err *err)
{
    int64_t until_ms = now_ms(self) + PATIENCE_MS;
    int count = count_partitions(self);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    while (count <= 0 && now_ms(self) < until_ms && !must_hurry(self)) {
        code = count == 0 ? create_topic(self, shards) : RD_KAFKA_RESP_ERR__TRANSPORT;
        if (kafka_status(code) == WEIR_DENIED || kafka_status(code) == WEIR_REJECTED) {
            break;
        }
        rd_kafka_poll(self->producer->rk, KAFKA_PAUSE_MS);
        count = count_partitions(self);
    }
    if (count <= 0) {
        weir_status status = kafka_status(code);
        (void)!weir_fail(err, status == WEIR_DENIED ? status : WEIR_UNAVAILABLE,
                         "cannot make the topic %s: %s", self->topic, rd_kafka_err2str(code));
        weir_err_hint(err,
                      "Allow this user to create it, or create it with %d partitions, "
                      "retention.ms=-1 and retention.bytes=-1.",
                      shards);
        return err->status;
    }
    if (count != shards && self->is_exchange) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the topic %s has %d partitions, the exchange %d shards",
                      self->topic, count, shards);
        weir_err_hint(err,
                      "State belongs to shards: write `shards: %d`, or begin anew under "
                      "another `name`.",
                      count);
        return status;
    }
    if (count != shards) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the state topic %s has %d partitions, the source has %d",
                      self->topic, count, shards);
        weir_err_hint(err,
                      "State belongs to partitions: begin anew under another `name`, or delete "
                      "the state topic and set the positions to where it should begin.");
        return status;
    }
    return check_settings(self, err);
}

weir_status kafka_state_log_open(struct kafka_state_log *self,
                                 struct weir_ctx *ctx,
                                 const struct kafka_connection *connection,
                                 struct kafka_producer *producer,
                                 const char *name,
                                 int32_t shards,
                                 size_t *ret_entry_max,
                                 struct weir_err *err)
{
    kafka_state_log_close(self);
    *self = (struct kafka_state_log){.client = {.log = ctx->log},
                                     .ctx = ctx,
                                     .connection = connection,
                                     .producer = producer,
                                     .topic = weir_strdup(name),
                                     .generation = UINT64_MAX};
    *ret_entry_max = KAFKA_STATE_ENTRY_MAX;
    return kafka_state_log_make(self, shards, err);
}

int kafka_state_log_shards(struct kafka_state_log *self)
{
    int64_t until_ms = now_ms(self) + PATIENCE_MS;
    int count;
    while ((count = count_partitions(self)) < 0 && now_ms(self) < until_ms) {
        rd_kafka_poll(self->producer->rk, KAFKA_PAUSE_MS);
    }
    return count;
}

weir_status
kafka_state_log_check_empty(struct kafka_state_log *self, int32_t shards, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (int32_t shard = 0; shard < shards && status == WEIR_OK; shard++) {
        int64_t begin = 0, end = 0;
        status = find_offset(self, shard, RD_KAFKA_OFFSET_SPEC_EARLIEST, &begin, err);
        if (status == WEIR_OK) {
            status = find_offset(self, shard, RD_KAFKA_OFFSET_SPEC_LATEST, &end, err);
        }
        if (status == WEIR_OK && begin < end) {
            status = weir_fail(err, WEIR_REJECTED, "the state topic %s is not empty", self->topic);
            weir_err_hint(err, "Delete it, or give the pipeline another `name`.");
        }
    }
    return status;
}

void kafka_state_log_close(struct kafka_state_log *self)
{
    if (self->reader != NULL) {
        rd_kafka_destroy(self->reader);
        self->reader = NULL;
    }
    weir_free(self->topic);
    self->topic = NULL;
}

/* --- restoring ---------------------------------------------------------------------------------*/

static weir_status open_reader(struct kafka_state_log *self, struct weir_err *err)
{
    char group[300];
    snprintf(group, sizeof(group), "%s.state", self->ctx->pipeline);
    const char *const settings[] = {
        /* assign() wants the name of a group, which is never joined and never committed to. */
        "group.id",
        group,
        "enable.auto.commit",
        "false",
        "isolation.level",
        "read_committed",
        "enable.partition.eof",
        "true",
        "check.crcs",
        "true",
        "auto.offset.reset",
        "error",
        "fetch.wait.max.ms",
        "10",
        "queued.max.messages.kbytes",
        "16384",
        "fetch.queue.backoff.ms",
        "5",
        NULL,
    };
    rd_kafka_conf_t *conf = kafka_conf_new(self->connection, &self->client, settings, err);
    if (conf == NULL) {
        return err->status;
    }
    self->reader = kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err);
    if (self->reader == NULL) {
        return err->status;
    }
    rd_kafka_poll_set_consumer(self->reader);
    return WEIR_OK;
}

struct reading {
    int64_t begin, at, end;
    int64_t shown_ms, moved_ms;
    bool begin_again; /* the beginning was cut off meanwhile */
};

static weir_status
read_message(struct kafka_state_log *self,
             struct reading *reading,
             const rd_kafka_message_t *message,
             weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
             void *context,
             struct weir_err *err)
{
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        reading->at = message->offset + 1;
        reading->moved_ms = now_ms(self);
        return take(context, (struct weir_slice){message->payload, message->len}, err);
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        reading->at = message->offset > reading->at ? message->offset : reading->at;
        return WEIR_OK;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
        message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the state topic was cut while it was read");
    }
    weir_status status = kafka_status(message->err);
    if (status == WEIR_DENIED || status == WEIR_FATAL) {
        return weir_fail(err, status, "cannot read the state topic %s: %s", self->topic,
                         rd_kafka_err2str(message->err));
    }
    return WEIR_OK; /* librdkafka tries again */
}

static void show_progress(struct kafka_state_log *self, struct reading *reading, int32_t shard)
{
    if (now_ms(self) - reading->shown_ms > PROGRESS_MS) {
        reading->shown_ms = now_ms(self);
        WEIR_LOG_INFO(self->ctx->log, "restoring state", WEIR_F("topic", (const char *)self->topic),
                      WEIR_F("partition", shard), WEIR_F("entries", reading->at - reading->begin),
                      WEIR_F("of", reading->end - reading->begin));
    }
}

static weir_status
read_all(struct kafka_state_log *self,
         int32_t shard,
         struct reading *reading,
         weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
         void *context,
         struct weir_err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(self->reader);
    weir_status status = WEIR_OK;
    while (reading->at < reading->end && status == WEIR_OK) {
        rd_kafka_message_t *messages[READ_BATCH];
        kafka_client_tend(&self->client, self->reader);
        ssize_t count = rd_kafka_consume_batch_queue(queue, READ_MS, messages, READ_BATCH);
        for (ssize_t i = 0; i < count; i++) {
            bool ours = messages[i]->partition == shard || messages[i]->rkt == NULL;
            if (status == WEIR_OK && ours) {
                status = read_message(self, reading, messages[i], take, context, err);
            }
            rd_kafka_message_destroy(messages[i]);
        }
        show_progress(self, reading, shard);
        bool stuck = now_ms(self) - reading->moved_ms > PATIENCE_MS;
        if (status == WEIR_OK && reading->at < reading->end && (stuck || must_hurry(self))) {
            status =
                weir_fail(err, WEIR_UNAVAILABLE,
                          "the state topic %s, partition %d, cannot be read beyond %lld of %lld",
                          self->topic, shard, (long long)reading->at, (long long)reading->end);
        }
    }
    rd_kafka_queue_destroy(queue);
    return status;
}

weir_status kafka_state_log_restore(struct kafka_state_log *self,
                                    int32_t shard,
                                    weir_status (*take)(void *context,
                                                        struct weir_slice entry,
                                                        struct weir_err *err),
                                    void *context,
                                    struct weir_err *err)
{
    struct reading reading = {.moved_ms = now_ms(self), .shown_ms = now_ms(self)};
    weir_status status =
        find_offset(self, shard, RD_KAFKA_OFFSET_SPEC_EARLIEST, &reading.begin, err);
    if (status == WEIR_OK) {
        status = find_offset(self, shard, RD_KAFKA_OFFSET_SPEC_LATEST, &reading.end, err);
    }
    reading.at = reading.begin;
    if (status != WEIR_OK || reading.begin == reading.end) {
        return status;
    }
    if (self->reader == NULL) {
        status = open_reader(self, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, shard)->offset = reading.begin;
    rd_kafka_resp_err_t code = rd_kafka_assign(self->reader, list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        status = weir_fail(err, kafka_status(code), "cannot read the state topic %s: %s",
                           self->topic, rd_kafka_err2str(code));
    }
    if (status == WEIR_OK) {
        status = read_all(self, shard, &reading, take, context, err);
    }
    rd_kafka_assign(self->reader, NULL);
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

/* --- writing -----------------------------------------------------------------------------------*/

weir_status kafka_state_log_append(struct kafka_state_log *self,
                                   int32_t shard,
                                   struct weir_slice entry,
                                   struct weir_err *err)
{
    if (self->generation != self->producer->generation) {
        self->generation = self->producer->generation;
        self->handle = kafka_producer_topic(self->producer, self->topic);
    }
    int64_t until_ms = now_ms(self) + self->ctx->transaction_timeout_ms / 2;
    for (;;) {
        int failed = rd_kafka_produce(self->handle, shard, RD_KAFKA_MSG_F_COPY,
                                      (void *)(uintptr_t)entry.data, entry.size, NULL, 0, NULL);
        rd_kafka_resp_err_t code = failed == 0 ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_last_error();
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return WEIR_OK;
        }
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL || now_ms(self) > until_ms) {
            /* About the epoch, never about a record. */
            weir_status status = kafka_status(code);
            return weir_fail(err, status == WEIR_FENCED ? status : WEIR_UNAVAILABLE,
                             "cannot write the state topic %s: %s", self->topic,
                             rd_kafka_err2str(code));
        }
        rd_kafka_poll(self->producer->rk, 10);
    }
}

weir_status kafka_state_log_place(struct kafka_state_log *self,
                                  int32_t shard,
                                  int64_t *ret_place,
                                  struct weir_err *err)
{
    rd_kafka_resp_err_t code = ask_offset(self, shard, RD_KAFKA_OFFSET_SPEC_LATEST, ret_place);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? WEIR_OK
               : weir_fail(err, WEIR_UNAVAILABLE, "%s", rd_kafka_err2str(code));
}

void kafka_state_log_cut(struct kafka_state_log *self, int32_t shard, int64_t place)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, self->topic, shard)->offset = place;
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(list);
    struct kafka_question question;
    kafka_question_begin(&question, self->producer->rk, RD_KAFKA_ADMIN_OP_DELETERECORDS, REQUEST_MS);
    rd_kafka_DeleteRecords(self->producer->rk, &records, 1, question.options, question.queue);
    rd_kafka_resp_err_t code = kafka_question_answer(&question);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) { /* the next snapshot cuts more */
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the state topic",
                      WEIR_F("topic", (const char *)self->topic), WEIR_F("partition", shard),
                      WEIR_F("detail", rd_kafka_err2str(code)));
    } else {
        WEIR_LOG_INFO(self->ctx->log, "state topic cut behind a snapshot",
                      WEIR_F("topic", (const char *)self->topic), WEIR_F("partition", shard),
                      WEIR_F("offset", place));
    }
    kafka_question_end(&question);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(list);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The state topic, read and filled by a command while no engine is there. Reading goes the way of a
 * restore, so what is shown is what a start would find. A log is filled in one transaction: a
 * command that dies half-way leaves a topic that counts as empty for every reader, but not for the
 * next filling, which is refused until the topic is deleted.
 */
#include "kafka_state_outside.h"

#include <stdio.h>

#include "kafka_source.h"

enum { TRANSACTION_MS = 600000, REQUEST_MS = 60000 };

/* The log with what the engine would have given it. */
struct outside {
    struct weir_ctx ctx;
    struct kafka_producer producer;
    struct kafka_state_log log;
};

static weir_status outside_open(struct outside *self,
                                const struct weir_positions_call *call,
                                const char *name,
                                bool to_write,
                                struct weir_err *err)
{
    const struct kafka_source_config *config = call->config;
    char id[300], timeout[24];
    snprintf(id, sizeof(id), "%s.import", name);
    snprintf(timeout, sizeof(timeout), "%d", TRANSACTION_MS);
    const char *const plain[] = {NULL};
    const char *const writing[] = {
        "transactional.id", id, "transaction.timeout.ms", timeout, "compression.codec", "lz4", NULL,
    };
    self->ctx = (struct weir_ctx){.pipeline = call->pipeline,
                                  .log = call->log,
                                  .clock = weir_clock_system(),
                                  .transaction_timeout_ms = TRANSACTION_MS};
    self->producer.client.log = call->log;
    self->producer.ctx = &self->ctx;
    rd_kafka_conf_t *conf = kafka_conf_new(&config->connection, &self->producer.client,
                                           to_write ? writing : plain, err);
    if (conf == NULL) {
        return err->status;
    }
    self->producer.rk = kafka_client_new(&self->producer.client, RD_KAFKA_PRODUCER, conf, err);
    if (self->producer.rk == NULL) {
        return err->status;
    }
    self->log = (struct kafka_state_log){.client = {.log = call->log},
                                         .ctx = &self->ctx,
                                         .connection = &config->connection,
                                         .producer = &self->producer,
                                         .topic = weir_arena_strdup(call->arena, name)};
    return self->log.topic != NULL ? WEIR_OK : weir_fail(err, WEIR_FATAL, "no memory");
}

static void outside_close(struct outside *self)
{
    if (self->log.reader != NULL) {
        rd_kafka_destroy(self->log.reader);
    }
    if (self->log.handle != NULL) {
        rd_kafka_topic_destroy(self->log.handle);
    }
    if (self->producer.rk != NULL) {
        rd_kafka_destroy(self->producer.rk);
    }
}

struct taking {
    int32_t shard;
    weir_status (*take)(void *context,
                        int32_t shard,
                        struct weir_slice entry,
                        struct weir_err *err);
    void *context;
};

static weir_status take_entry(void *context, struct weir_slice entry, struct weir_err *err)
{
    const struct taking *self = context;
    return self->take(self->context, self->shard, entry, err);
}

weir_status kafka_state_outside_read(const struct weir_positions_call *call,
                                     const char *name,
                                     int32_t *ret_shards,
                                     weir_status (*take)(void *context,
                                                         int32_t shard,
                                                         struct weir_slice entry,
                                                         struct weir_err *err),
                                     void *context,
                                     struct weir_err *err)
{
    struct outside self = {0};
    weir_status status = outside_open(&self, call, name, false, err);
    int shards = status == WEIR_OK ? kafka_state_log_shards(&self.log) : 0;
    if (shards < 0) {
        status =
            weir_fail(err, WEIR_UNAVAILABLE, "no broker says whether there is a topic %s", name);
    }
    *ret_shards = shards < 0 ? 0 : shards;
    struct taking taking = {.take = take, .context = context};
    for (; taking.shard < *ret_shards && status == WEIR_OK; taking.shard++) {
        status = kafka_state_log_restore(&self.log, taking.shard, take_entry, &taking, err);
    }
    outside_close(&self);
    return status;
}

static weir_status outside_check(const char *what, rd_kafka_error_t *error, struct weir_err *err)
{
    if (error == NULL) {
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_UNAVAILABLE, "%s: %s", what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return status;
}

static weir_status
append_entry(void *context, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    struct outside *self = context;
    return kafka_state_log_append(&self->log, shard, entry, err);
}

static weir_status fill(struct outside *self,
                        const struct weir_state_entries *entries,
                        struct weir_err *err)
{
    rd_kafka_t *rk = self->producer.rk;
    weir_status status =
        outside_check("cannot begin", rd_kafka_init_transactions(rk, REQUEST_MS), err);
    if (status == WEIR_OK) {
        status = outside_check("cannot begin", rd_kafka_begin_transaction(rk), err);
    }
    if (status == WEIR_OK) {
        status = entries->each(entries->self, append_entry, self, err);
    }
    if (status == WEIR_OK) {
        status = outside_check("it is not known whether all was written",
                               rd_kafka_commit_transaction(rk, TRANSACTION_MS), err);
    }
    return status;
}

weir_status kafka_state_outside_write(const struct weir_positions_call *call,
                                      const char *name,
                                      const struct weir_position *items,
                                      size_t count,
                                      const struct weir_state_entries *entries,
                                      struct weir_err *err)
{
    (void)items; /* positions are the group's */
    const int32_t shards = (int32_t)count;
    struct outside self = {0};
    weir_status status = outside_open(&self, call, name, true, err);
    if (status == WEIR_OK) {
        status = kafka_state_log_make(&self.log, shards, err);
    }
    if (status == WEIR_OK) {
        status = kafka_state_log_check_empty(&self.log, shards, err);
    }
    if (status == WEIR_OK) {
        self.log.handle = rd_kafka_topic_new(self.producer.rk, self.log.topic, NULL);
        status = fill(&self, entries, err);
    }
    outside_close(&self);
    return status;
}

/* --- emptying it -------------------------------------------------------------------------------*/

static weir_status
delete_records(rd_kafka_t *rk, const char *topic, int shards, struct weir_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(shards);
    for (int i = 0; i < shards; i++) {
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_END;
    }
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TRANSACTION_MS);
    rd_kafka_resp_err_t code =
        event == NULL ? RD_KAFKA_RESP_ERR__TIMED_OUT : rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *answers = NULL;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        answers = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    }
    for (int i = 0; answers != NULL && i < answers->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR;
         i++) {
        code = answers->elems[i].err;
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? WEIR_OK
               : weir_fail(err, WEIR_UNAVAILABLE, "%s cannot be emptied: %s", topic,
                           rd_kafka_err2str(code));
}

weir_status kafka_state_outside_drop(const struct weir_positions_call *call,
                                     const char *name,
                                     struct weir_err *err)
{
    struct outside self = {0};
    weir_status status = outside_open(&self, call, name, false, err);
    int shards = status == WEIR_OK ? kafka_state_log_shards(&self.log) : 0;
    if (shards < 0) {
        status =
            weir_fail(err, WEIR_UNAVAILABLE, "no broker says whether there is a topic %s", name);
    } else if (shards > 0) {
        status = delete_records(self.producer.rk, name, shards, err);
    }
    outside_close(&self);
    return status;
}

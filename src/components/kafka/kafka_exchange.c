/* SPDX-License-Identifier: Apache-2.0
 *
 * An exchange's topic is internal: written and read inside of the pipeline's transactions, by a
 * group of its own (the topic's name), and emptied behind the committed positions. Nothing in it
 * expires, or what waits for a slow step would be lost.
 *
 * Deleting is best effort: what is not deleted this time is the next time, by whoever owns the
 * partition then.
 */
#include "kafka_exchange.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "kafka_question.h"
#include "kafka_state_log.h"

enum { CUT_EVERY_MS = 5000, CUT_TIMEOUT_MS = 10000, FETCH_BYTES = 8 << 20 };
enum { START_EARLIEST = 1, LZ4 = 3, LINGER_MS = 5, BATCH_BYTES = 1000000 };

static weir_status exchange_configure(const void *source_,
                                      const void *like,
                                      const char *topic,
                                      int32_t shards,
                                      struct weir_arena *arena,
                                      const void **ret_source,
                                      const void **ret_sink,
                                      struct weir_err *err)
{
    const struct kafka_source_config *source = source_;
    if (source->pattern != NULL) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "with `pattern` nobody knows which partitions to wait for");
        weir_err_hint(err, "Name the `topics`.");
        return status;
    }
    struct kafka_source_config *reads = weir_arena_calloc(arena, 1, sizeof(*reads));
    struct kafka_sink_config *writes = weir_arena_calloc(arena, 1, sizeof(*writes));
    WEIR_ASSERT(reads != NULL && writes != NULL);
    *reads = (struct kafka_source_config){
        .connection = source->connection,
        .topic = topic,
        .group = topic,
        .start = {.word = START_EARLIEST},
        .session_timeout = source->session_timeout,
        .fetch_bytes = FETCH_BYTES,
        .is_exchange = true,
    };
    *writes = (struct kafka_sink_config){
        .connection = source->connection,
        .compression = LZ4,
        .linger = LINGER_MS,
        .batch_bytes = BATCH_BYTES,
    };
    if (like != NULL) { /* one transaction has one producer */
        *writes = *(const struct kafka_sink_config *)like;
    }
    writes->topic = (struct weir_template){.text = topic};
    writes->key = (struct weir_expr){.program = NULL};
    writes->shards = shards;
    *ret_source = reads;
    *ret_sink = writes;
    return WEIR_OK;
}

extern const struct weir_component weir_component_kafka_source, weir_component_kafka_sink;

const struct weir_exchange_ops kafka_exchange_ops = {
    .source = &weir_component_kafka_source,
    .sink = &weir_component_kafka_sink,
    .configure = exchange_configure,
};

weir_status kafka_exchange_make(struct weir_ctx *ctx,
                                struct kafka_producer *producer,
                                const struct kafka_sink_config *config,
                                struct weir_err *err)
{
    struct kafka_state_log log = {
        .ctx = ctx,
        .connection = &config->connection,
        .producer = producer,
        .topic = (char *)(uintptr_t)config->topic.text,
        .is_exchange = true,
    };
    return kafka_state_log_make(&log, config->shards, err);
}

weir_status
kafka_exchange_join(struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    struct weir_slice frame = record->target, value = record->raw;
    char *bytes = weir_arena_alloc(weir_batch_arena(weir_run_batch(run)), frame.size + value.size);
    if (bytes == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    memcpy(bytes, frame.data, frame.size);
    if (value.size > 0) {
        memcpy(bytes + frame.size, value.data, value.size);
    }
    record->raw = (struct weir_slice){bytes, frame.size + value.size};
    return WEIR_OK;
}

weir_status kafka_exchange_count(rd_kafka_t *rk,
                                 const struct weir_ctx *ctx,
                                 const struct kafka_source_config *config,
                                 int timeout_ms,
                                 int32_t *ret_total,
                                 struct weir_err *err)
{
    *ret_total = 0;
    size_t topics = ctx->feeds_exchange ? config->topics.count + (config->topic != NULL) : 0;
    for (size_t i = 0; i < topics; i++) {
        const char *topic = config->topic != NULL ? config->topic : config->topics.items[i];
        int32_t count;
        weir_status status = kafka_topic_await(rk, topic, timeout_ms, &count, NULL, err);
        if (status != WEIR_OK) {
            return status;
        }
        *ret_total += count;
    }
    return WEIR_OK;
}

/* --- deleting ----------------------------------------------------------------------------------*/

bool kafka_cutting_is_due(struct kafka_cutting *self, const struct weir_ctx *ctx, rd_kafka_t *rk)
{
    int64_t now_ns = weir_clock_monotonic_ns(ctx->clock);
    if (self->queue == NULL) {
        self->queue = rd_kafka_queue_new(rk);
        self->asked_ns = now_ns;
    }
    rd_kafka_event_t *event = self->is_asked ? rd_kafka_queue_poll(self->queue, 0) : NULL;
    if (event != NULL) {
        self->is_asked = false;
        if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            WEIR_LOG_WARN(ctx->log, "what was read of the exchange is not deleted yet",
                          WEIR_F("detail", rd_kafka_event_error_string(event)));
        }
        rd_kafka_event_destroy(event);
    }
    if (self->is_asked || now_ns - self->asked_ns < CUT_EVERY_MS * INT64_C(1000000)) {
        return false;
    }
    self->asked_ns = now_ns;
    return true;
}

void kafka_cutting_add(struct kafka_cutting *self, const struct weir_partition *part, int64_t *cut)
{
    if (self->list == NULL) {
        self->list = rd_kafka_topic_partition_list_new(16);
    }
    if (part->committed > *cut) {
        *cut = part->committed;
        rd_kafka_topic_partition_list_add(self->list, part->topic, part->index)->offset = *cut;
    }
}

void kafka_cutting_begin(struct kafka_cutting *self, rd_kafka_t *rk)
{
    if (self->list != NULL && self->list->cnt > 0) {
        char text[128];
        rd_kafka_AdminOptions_t *options =
            rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DELETERECORDS);
        (void)rd_kafka_AdminOptions_set_request_timeout(options, CUT_TIMEOUT_MS, text,
                                                        sizeof(text));
        rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(self->list);
        rd_kafka_DeleteRecords(rk, &records, 1, options, self->queue);
        rd_kafka_DeleteRecords_destroy(records);
        rd_kafka_AdminOptions_destroy(options);
        self->is_asked = true;
    }
    if (self->list != NULL) {
        rd_kafka_topic_partition_list_destroy(self->list);
        self->list = NULL;
    }
}

void kafka_cutting_end(struct kafka_cutting *self)
{
    if (self->queue != NULL) {
        rd_kafka_queue_destroy(self->queue);
        self->queue = NULL;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The Kafka sink: hands records to the pipeline's producer and knows which of them are confirmed.
 *
 * Confirmations are counted per epoch in two slots that alternate: lanes write into one while the
 * other, sealed, is waited for. A record's delivery report carries the address of its slot, so the
 * answer finds the epoch it belongs to without a look-up.
 *
 * A record that the topic would refuse for its size is refused here first, where it can still get
 * its own verdict: the broker refuses the whole batch around it.
 */
#include "kafka_sink.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kafka_exchange.h"
#include "kafka_lease.h"
#include "kafka_probe.h"
#include "kafka_question.h"

enum { RECORD_OVERHEAD_BYTES = 100, DESCRIBE_TIMEOUT_MS = 5000 };
enum { TOPIC_TRIES = 15, TOPIC_WAIT_MS = 200, TOPIC_NAME_MAX = 249, HEADER_OVERHEAD_BYTES = 10 };
enum { COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_SNAPPY, COMPRESSION_LZ4, COMPRESSION_ZSTD };

static const struct weir_choice compression_choices[] = {
    {"none", COMPRESSION_NONE, "Bytes as they are."},
    {"gzip", COMPRESSION_GZIP, "Small and slow."},
    {"snappy", COMPRESSION_SNAPPY, "Fast."},
    {"lz4", COMPRESSION_LZ4, "Fast and smaller than snappy."},
    {"zstd", COMPRESSION_ZSTD, "The smallest at moderate cost."},
    WEIR_CHOICES_END,
};

/* The choice's value is the index of librdkafka's name. */
static const char *const partitioner_names[] = {"murmur2_random", "consistent_random",
                                                "fnv1a_random", "random"};
static const struct weir_choice partitioner_choices[] = {
    {"murmur2_random", 0, "As Kafka's Java clients; records without a key go anywhere."},
    {"consistent_random", 1, "CRC32, as librdkafka's default."},
    {"fnv1a_random", 2, "FNV-1a, as Sarama."},
    {"random", 3, "Any partition, whatever the key."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct kafka_sink_config
static const struct weir_field kafka_sink_fields[] = {
    KAFKA_CONNECTION_FIELDS(S),
    WEIR_F_TEMPLATE(S, topic, .flags = WEIR_REQUIRED, .example = "orders",
                    .help = "The topic to write, or `{jq: EXPR}` to compute it from the record."),
    WEIR_F_JQ(S, key, .unset = "the input's key", .example = ".country",
              .help = "The record's key: a string as it is, other values as JSON, null for none."),
    WEIR_F_ENUM(S, compression, compression_choices, .fallback = "none",
                .help = "How batches are compressed."),
    WEIR_F_ENUM(S, partitioner, partitioner_choices, .fallback = "murmur2_random",
                .help = "How a key chooses its partition."),
    WEIR_F_DURATION(S, linger, .fallback = "5ms", .min = 0, .max = 900000,
                    .help = "How long a batch waits for more records."),
    WEIR_F_SIZE(S, batch_bytes, .fallback = "1MB", .min = 16384, .max = 1048576,
                .help = "Most bytes of a batch."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct kafka_sink {
    const struct kafka_sink_config *config;
    struct weir_ctx *ctx;
    struct kafka_producer *producer;
    struct kafka_deliveries slots[2];
    atomic_uint open_slot;   /* changes only while lanes are stopped */
    uint64_t generation;     /* of the producer that topic belongs to */
    rd_kafka_topic_t *topic; /* of a constant topic */
    size_t record_bytes_max;
    struct weir_err failure; /* control: told by every poll */
    bool is_fitted;          /* control: batches are no larger than the topic takes */
};

struct kafka_producer *kafka_sink_producer(struct kafka_sink *self)
{
    return self->producer;
}

/* --- open and close; control -------------------------------------------------------------------*/

static size_t topic_config_bytes(const rd_kafka_ConfigResource_t *resource)
{
    size_t count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0 &&
            value != NULL) {
            size_t bytes = 0;
            for (; *value >= '0' && *value <= '9' && bytes < ((size_t)1 << 40); value++) {
                bytes = bytes * 10 + (size_t)(*value - '0');
            }
            return bytes;
        }
    }
    return 0;
}

/* The topic's max.message.bytes; 0 when the broker does not tell: then it is the judge. */
static size_t topic_bytes_max(rd_kafka_t *rk, const char *topic)
{
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    struct kafka_question question;
    kafka_question_begin(&question, rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, DESCRIBE_TIMEOUT_MS);
    rd_kafka_DescribeConfigs(rk, &resource, 1, question.options, question.queue);
    size_t bytes = 0;
    if (kafka_question_answer(&question) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        size_t count;
        const rd_kafka_ConfigResource_t **resources =
            rd_kafka_DescribeConfigs_result_resources(
                rd_kafka_event_DescribeConfigs_result(question.event), &count);
        if (count == 1 &&
            rd_kafka_ConfigResource_error(resources[0]) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            bytes = topic_config_bytes(resources[0]);
        }
    }
    kafka_question_end(&question);
    rd_kafka_ConfigResource_destroy(resource);
    return bytes;
}

static weir_status
kafka_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct kafka_sink *self = instance;
    self->config = config;
    self->ctx = ctx;
    const struct kafka_producer_settings settings = {
        .connection = &self->config->connection,
        .compression = compression_choices[self->config->compression].name,
        .partitioner = partitioner_names[self->config->partitioner],
        .linger_ms = self->config->linger,
        .batch_bytes = self->config->batch_bytes,
    };
    self->producer = kafka_producer_get(ctx, &settings, err);
    if (self->producer == NULL) {
        return err->status;
    }
    self->generation = UINT64_MAX;
    return self->config->shards == 0 ? WEIR_OK
                                     : kafka_exchange_make(ctx, self->producer, self->config, err);
}

static void kafka_sink_close(void *instance)
{
    struct kafka_sink *self = instance;
    self->topic = NULL; /* the producer's */
}

static bool sink_is_refused(const struct kafka_sink *self)
{
    struct weir_err ignored = {0};
    return kafka_client_refused(&self->producer->client, self->producer->rk, &ignored) != WEIR_OK;
}

/* Asks in pieces: a login that is refused shows between them, and then nobody will answer. */
static rd_kafka_resp_err_t sink_ask_topic(const struct kafka_sink *self)
{
    const int64_t until_ms = kafka_now_ms() + DESCRIBE_TIMEOUT_MS;
    rd_kafka_resp_err_t code;
    do {
        const struct rd_kafka_metadata *metadata;
        code = rd_kafka_metadata(self->producer->rk, 0, self->topic, &metadata, TOPIC_WAIT_MS);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            code = metadata->topic_cnt == 1 ? metadata->topics[0].err : code;
            rd_kafka_metadata_destroy(metadata);
            return code;
        }
        rd_kafka_poll(self->producer->rk, 0);
    } while (kafka_now_ms() < until_ms && !sink_is_refused(self));
    return code;
}

/* A constant topic that does not exist is a mistake to hear of now, not after a time-out. The
 * question itself makes the topic where the broker is set so; the answer then takes a moment. */
static void sink_check_topic(struct kafka_sink *self, const char *name)
{
    for (int tries = 0; tries < TOPIC_TRIES; tries++) {
        if (sink_ask_topic(self) != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
            return; /* it is there; or nobody answers, and that shows elsewhere */
        }
        rd_kafka_poll(self->producer->rk, TOPIC_WAIT_MS);
    }
    (void)!weir_fail(&self->failure, WEIR_FATAL, "the topic %s does not exist", name);
    weir_err_hint(&self->failure, "Create it, or mend the name.");
}

/* The constant topic's handle is asked for anew after the producer was replaced. */
void kafka_sink_refresh(struct kafka_sink *self)
{
    const char *name = self->config->topic.text;
    if (name == NULL || self->generation == self->producer->generation) {
        return;
    }
    self->generation = self->producer->generation;
    self->topic = kafka_producer_topic(self->producer, name);
    sink_check_topic(self, name);
    if (self->record_bytes_max == 0 && self->config->compression == COMPRESSION_NONE &&
        !sink_is_refused(self)) {
        self->record_bytes_max = topic_bytes_max(self->producer->rk, name);
    }
}

/* --- writing; lane -----------------------------------------------------------------------------*/

/* What a computed topic must be; a broker would refuse the whole batch or make us wait. */
static weir_status
check_target(struct kafka_sink *self, struct weir_slice name, struct weir_err *err)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (name.size == 0) {
        return weir_fail(err, WEIR_EVAL, "the topic is empty");
    }
    bool dots = name.size <= 2 && memcmp(name.data, "..", name.size) == 0;
    bool is_legal = name.size <= TOPIC_NAME_MAX && !dots;
    for (size_t i = 0; i < name.size && is_legal; i++) {
        is_legal = memchr(legal, name.data[i], sizeof(legal) - 1) != NULL;
    }
    if (!is_legal) {
        return weir_fail(err, WEIR_REJECTED, "\"%.*s\" is no name of a topic",
                         (int)(name.size < 100 ? name.size : 100), (const char *)name.data);
    }
    if (kafka_producer_misses(self->producer, name)) {
        return weir_fail(err, WEIR_REJECTED, "the topic %.*s does not exist", (int)name.size,
                         (const char *)name.data);
    }
    return WEIR_OK;
}

static size_t headers_bytes(const struct weir_record *record)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < record->header_count; i++) {
        bytes +=
            record->headers[i].key.size + record->headers[i].value.size + HEADER_OVERHEAD_BYTES;
    }
    return bytes;
}

static weir_status kafka_sink_prepare(void *instance,
                                      struct weir_run *run,
                                      struct weir_record *record,
                                      struct weir_err *err)
{
    struct kafka_sink *self = instance;
    const struct kafka_sink_config *config = self->config;
    if (config->key.program != NULL) {
        weir_status status = weir_expr_text(run, &config->key, record, &record->key, err);
        if (status != WEIR_OK) {
            weir_err_path(err, "key");
            return status;
        }
    }
    if (config->topic.text == NULL) {
        weir_status status = weir_expr_text(run, &config->topic.expr, record, &record->target, err);
        if (status == WEIR_OK) {
            status = check_target(self, record->target, err);
        }
        if (status != WEIR_OK) {
            weir_err_path(err, "topic");
            return status;
        }
    }
    struct weir_slice bytes;
    weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
    if (status == WEIR_OK) {
        status = weir_record_read_headers(weir_run_batch(run), record, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (config->shards > 0 && record->raw.data != record->target.data) {
        status = kafka_exchange_join(run, record, err);
        bytes = record->raw;
    }
    if (status != WEIR_OK) {
        return status;
    }
    size_t size = bytes.size + record->key.size + headers_bytes(record) + RECORD_OVERHEAD_BYTES;
    if ((int64_t)size > kafka_producer_bytes(self->ctx)) {
        status = weir_fail(err, WEIR_TOO_LARGE, "the record has %zu bytes, in_flight allows %lld",
                           size, (long long)kafka_producer_bytes(self->ctx));
        weir_err_hint(err, "Raise `in_flight` to more than twice the largest record.");
        return status;
    }
    if (self->record_bytes_max != 0 && size > self->record_bytes_max) {
        status = weir_fail(err, WEIR_TOO_LARGE, "the record has %zu bytes, the topic %s takes %zu",
                           size, config->topic.text, self->record_bytes_max);
        weir_err_hint(err, "Raise max.message.bytes of the topic.");
    }
    return status;
}

static rd_kafka_headers_t *sink_headers(const struct weir_record *record)
{
    if (record->header_count == 0) {
        return NULL;
    }
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->header_count);
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct weir_header *header = &record->headers[i];
        rd_kafka_header_add(headers, header->key.data, (ssize_t)header->key.size,
                            header->value.data, (ssize_t)header->value.size);
    }
    return headers;
}

static rd_kafka_resp_err_t sink_produce(struct kafka_sink *self,
                                        const struct weir_record *record,
                                        struct kafka_deliveries *slot)
{
    char name[TOPIC_NAME_MAX + 1];
    rd_kafka_vu_t values[8];
    size_t count = 0;
    if (self->topic != NULL) {
        values[count].vtype = RD_KAFKA_VTYPE_RKT;
        values[count++].u.rkt = self->topic;
    } else {
        memcpy(name, record->target.data, record->target.size);
        name[record->target.size] = '\0';
        values[count].vtype = RD_KAFKA_VTYPE_TOPIC;
        values[count++].u.cstr = name;
    }
    if (self->config->shards > 0) {
        values[count].vtype = RD_KAFKA_VTYPE_PARTITION;
        values[count++].u.i32 = weir_record_shard(record);
    }
    values[count].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    values[count++].u.i = RD_KAFKA_MSG_F_COPY;
    values[count].vtype = RD_KAFKA_VTYPE_VALUE;
    values[count].u.mem.ptr = (void *)(uintptr_t)record->raw.data;
    values[count++].u.mem.size = record->raw.size;
    values[count].vtype = RD_KAFKA_VTYPE_KEY;
    values[count].u.mem.ptr = (void *)(uintptr_t)record->key.data;
    values[count++].u.mem.size = record->key.size;
    values[count].vtype = RD_KAFKA_VTYPE_OPAQUE;
    values[count++].u.ptr = slot;
    if ((record->flags & WEIR_RECORD_NO_TIME) == 0) {
        values[count].vtype = RD_KAFKA_VTYPE_TIMESTAMP;
        values[count++].u.i64 = record->time_ms;
    }
    rd_kafka_headers_t *headers = sink_headers(record);
    if (headers != NULL) {
        values[count].vtype = RD_KAFKA_VTYPE_HEADERS;
        values[count++].u.headers = headers;
    }
    rd_kafka_error_t *error = rd_kafka_produceva(self->producer->rk, values, count);
    if (error == NULL) {
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    if (headers != NULL) {
        rd_kafka_headers_destroy(headers);
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return code;
}

static weir_status kafka_sink_write(void *instance,
                                    unsigned lane,
                                    struct weir_batch *batch,
                                    struct weir_record *const *records,
                                    size_t count,
                                    size_t *cursor,
                                    struct weir_err *err)
{
    (void)lane;
    (void)batch;
    struct kafka_sink *self = instance;
    struct kafka_deliveries *slot =
        &self->slots[atomic_load_explicit(&self->open_slot, memory_order_relaxed)];
    struct kafka_deliveries *opaque = self->ctx->transactional ? NULL : slot;
    size_t first = *cursor;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    while (*cursor < count) {
        code = sink_produce(self, records[*cursor], opaque);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            break;
        }
        (*cursor)++;
    }
    /* Relaxed: read only while the lanes are stopped, or by the waiting control thread after. */
    atomic_fetch_add_explicit(&slot->written, *cursor - first, memory_order_relaxed);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        return WEIR_OK;
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL || code == RD_KAFKA_RESP_ERR__STATE ||
        code == RD_KAFKA_RESP_ERR__FATAL || code == RD_KAFKA_RESP_ERR__FENCED) {
        return WEIR_AGAIN; /* full, or the transaction has failed already: its commit tells */
    }
    if (self->topic == NULL && (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
                                code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)) {
        const struct weir_slice *name = &records[*cursor]->target;
        return weir_fail(err, WEIR_REJECTED, "the topic %.*s does not exist", (int)name->size,
                         (const char *)name->data);
    }
    return weir_fail(err, kafka_status(code), "%s", rd_kafka_err2str(code));
}

/* --- epochs; control ---------------------------------------------------------------------------*/

static weir_status kafka_sink_poll(void *instance, struct weir_err *err)
{
    struct kafka_sink *self = instance;
    kafka_sink_refresh(self);
    if (!self->is_fitted) { /* in the first tick, before anything is begun or written */
        self->is_fitted = true;
        if (self->record_bytes_max != 0 &&
            (int64_t)self->record_bytes_max < self->config->batch_bytes) {
            weir_status status =
                kafka_producer_limit_batches(self->producer, self->record_bytes_max, err);
            if (status != WEIR_OK) {
                return status;
            }
            kafka_sink_refresh(self);
        }
    }
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
        return err->status;
    }
    return kafka_producer_poll(self->producer, err);
}

static void kafka_sink_seal(void *instance)
{
    struct kafka_sink *self = instance;
    unsigned open = atomic_load_explicit(&self->open_slot, memory_order_relaxed);
    struct kafka_deliveries *next = &self->slots[1 - open];
    WEIR_ASSERT(self->ctx->transactional ||
                next->done == atomic_load_explicit(&next->written, memory_order_relaxed));
    next->done = 0;
    atomic_store_explicit(&next->written, 0, memory_order_relaxed);
    atomic_store_explicit(&self->open_slot, 1 - open, memory_order_relaxed);
}

static weir_status kafka_sink_confirm(void *instance, struct weir_err *err)
{
    struct kafka_sink *self = instance;
    weir_status status = kafka_producer_poll(self->producer, err);
    if (status != WEIR_OK) {
        return status;
    }
    unsigned sealed = 1 - atomic_load_explicit(&self->open_slot, memory_order_relaxed);
    struct kafka_deliveries *slot = &self->slots[sealed];
    return slot->done == atomic_load_explicit(&slot->written, memory_order_relaxed) ? WEIR_OK
                                                                                    : WEIR_AGAIN;
}

static weir_status kafka_sink_abort(void *instance, struct weir_err *err)
{
    struct kafka_sink *self = instance;
    weir_status status = WEIR_OK;
    if (!self->ctx->transactional) {
        /* What is under way cannot be taken back; let it arrive, or drop it with the producer. */
        rd_kafka_flush(self->producer->rk, 2000);
        if (rd_kafka_outq_len(self->producer->rk) > 0 ||
            rd_kafka_fatal_error(self->producer->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = kafka_producer_replace(self->producer, err);
        }
        kafka_producer_forget_failure(self->producer);
    }
    memset(self->slots, 0, sizeof(self->slots));
    kafka_sink_refresh(self);
    return status;
}

static weir_status
kafka_sink_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    const struct kafka_sink_config *self = config;
    return kafka_domain_name(&self->connection, connect, out, err);
}

static weir_status kafka_sink_check(const void *config, struct weir_err *err)
{
    const struct kafka_sink_config *self = config;
    return kafka_connection_check(&self->connection, err);
}

static const struct weir_sink_ops kafka_sink_ops = {
    .prepare = kafka_sink_prepare,
    .write = kafka_sink_write,
    .poll = kafka_sink_poll,
    .seal = kafka_sink_seal,
    .confirm = kafka_sink_confirm,
    .abort = kafka_sink_abort,
};

static weir_status kafka_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct kafka_sink_config *self = config;
    const struct kafka_probe probe = {
        .connection = &self->connection,
        .topics = &self->topic.text,
        .topic_count = self->topic.text != NULL ? 1 : 0, /* else records name them */
        .field = "topic",
        .writes = true,
    };
    return kafka_probe_try(&probe, err);
}

extern const struct weir_domain_ops kafka_transaction_ops;

const struct weir_component weir_component_kafka_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "kafka",
            .summary = "Writes to topics of a Kafka cluster.",
            .help = "The producer is idempotent and waits for all in-sync replicas. Together with "
                    "a Kafka source of the same cluster outputs and positions are one transaction.",
            .example = "kafka: {topic: orders-by-country, key: .country, compression: lz4}",
            .fields = kafka_sink_fields,
            .config_size = sizeof(struct kafka_sink_config),
        },
    .self_size = sizeof(struct kafka_sink),
    .leases = &kafka_lease_ops,
    .durable = true,
    .needs = KAFKA_NEEDS,
    .domain = &kafka_transaction_ops,
    .open = kafka_sink_open,
    .close = kafka_sink_close,
    .domain_name = kafka_sink_domain,
    .check = kafka_sink_check,
    .probe = kafka_sink_probe,
    .ops = {.sink = &kafka_sink_ops},
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS key-value sink. A bucket is a stream with a subject per key, of which it keeps the last
 * messages; a put is a message, a delete one without a body and with a header that says so. Written
 * again after a failure, the last value of each key is what it would have been: a bucket needs no
 * revision checks for that, only order, and a lane publishes in order.
 */
#include "nats_api.h"
#include "nats_publisher.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

enum { BUCKET_MAX = 200, PREFIX_MAX = BUCKET_MAX + 16 };

struct nats_kv_sink_config {
    struct nats_address address;
    const char *bucket;
    struct weir_expr key, delete;
    int64_t history;
    int manage;
    weir_duration ack_timeout;
};

static const struct weir_choice manage_choices[] = {
    {"create", NATS_MANAGE_CREATE, "The bucket is made if it does not exist."},
    {"bind", NATS_MANAGE_BIND, "It must be there."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct nats_kv_sink_config
static const struct weir_field nats_kv_sink_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_STR(S, bucket, .flags = WEIR_REQUIRED, .min = 1, .max = BUCKET_MAX,
               .example = "customers", .help = "The bucket to write to."),
    WEIR_F_JQ(S, key, .unset = "the input's key", .example = ".id",
              .help = "The key: letters, digits, `-`, `_`, `=`, `/`, and dots between them."),
    WEIR_F_JQ(S, delete, .unset = "only records without a value", .example = ".deleted",
              .help = "Where this holds, the key is deleted. A record without a value (a tombstone) "
                      "deletes in any case."),
    WEIR_F_ENUM(S, manage, manage_choices, .fallback = "create",
                .help = "What weir does about the bucket."),
    WEIR_F_INT(S, history, .min = 1, .max = 64, .fallback = "1",
               .help = "How many values of a key a bucket keeps that is made."),
    WEIR_F_DURATION(S, ack_timeout, .fallback = "10s", .min = 100, .max = 600000,
                    .help = "How long an acknowledgement may take before the records are written "
                            "again."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct nats_kv_sink {
    struct nats_publisher publisher; /* first */
    const struct nats_kv_sink_config *config;
    struct nats_message_config message; /* nothing of the record but its value */
    char stream[PREFIX_MAX], prefix[PREFIX_MAX];
};

static weir_status kv_sink_ensure(void *instance, struct nats_client *client, struct weir_err *err)
{
    const struct nats_kv_sink *self = instance;
    char subjects[PREFIX_MAX + 2];
    snprintf(subjects, sizeof(subjects), "%s>", self->prefix);
    const char *const list[] = {subjects};
    const struct nats_stream_spec spec = {
        .name = self->stream,
        .subjects = {.items = (const char **)(uintptr_t)list, .count = 1},
        .manage = (enum nats_manage)self->config->manage,
        .is_direct = true,
        .is_bucket = true,
        .history = self->config->history,
    };
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    weir_arena_done(&arena);
    return status;
}

/* --- records; lane -----------------------------------------------------------------------------*/

static weir_status make_key(struct nats_kv_sink *self,
                            struct weir_run *run,
                            struct weir_record *record,
                            struct weir_err *err)
{
    if (self->config->key.program != NULL &&
        weir_expr_text(run, &self->config->key, record, &record->key, err) != WEIR_OK) {
        weir_err_path(err, "key");
        return err->status;
    }
    if (!nats_key_is_legal(record->key)) {
        weir_status status = weir_fail(err, WEIR_REJECTED, "\"%.*s\" is no key of a bucket",
                                       record->key.size < 60 ? (int)record->key.size : 60,
                                       record->key.data == NULL ? "" : record->key.data);
        weir_err_hint(err, "Letters, digits, -, _, =, / and single dots between them.");
        weir_err_path(err, "key");
        return status;
    }
    size_t prefix = strlen(self->prefix);
    char subject[PREFIX_MAX + NATS_NAME_MAX];
    WEIR_ASSERT(prefix + record->key.size <= sizeof(subject));
    memcpy(subject, self->prefix, prefix);
    memcpy(subject + prefix, record->key.data, record->key.size);
    record->target = weir_arena_copy(weir_batch_arena(weir_run_batch(run)),
                                     (struct weir_slice){subject, prefix + record->key.size});
    return record->target.data != NULL ? WEIR_OK
                                       : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

/* A record that deletes has no value afterwards. */
static weir_status kv_sink_prepare(void *instance,
                                   struct weir_run *run,
                                   struct weir_record *record,
                                   struct weir_err *err)
{
    struct nats_kv_sink *self = instance;
    struct weir_slice bytes;
    bool deletes = false;
    weir_status status = make_key(self, run, record, err);
    if (status == WEIR_OK && self->config->delete.program != NULL) {
        status = weir_expr_test(run, &self->config->delete, record, &deletes, err);
        if (status != WEIR_OK) {
            weir_err_path(err, "delete");
        }
    }
    if (status == WEIR_OK) {
        status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (deletes) {
        record->raw = (struct weir_slice){0};
    }
    record->header_count = 0; /* a bucket's values have none */
    return nats_publisher_target(&self->publisher, run, record, err);
}

static natsStatus
kv_sink_dress(const void *instance, const struct weir_record *record, natsMsg *message)
{
    const struct nats_kv_sink *self = instance;
    const char *id = nats_publisher_id(&self->publisher, record);
    natsStatus code =
        record->raw.data == NULL ? natsMsgHeader_Set(message, "KV-Operation", "DEL") : NATS_OK;
    return code == NATS_OK && id != NULL ? natsMsgHeader_Set(message, "Nats-Msg-Id", id) : code;
}

/* --- open and close; control -------------------------------------------------------------------*/

static weir_status
kv_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    static const struct nats_publisher_ops ops = {.ensure = kv_sink_ensure, .dress = kv_sink_dress};
    struct nats_kv_sink *self = instance;
    self->config = config;
    self->message.subject.text = self->prefix; /* for messages */
    snprintf(self->stream, sizeof(self->stream), "KV_%s", self->config->bucket);
    snprintf(self->prefix, sizeof(self->prefix), "$KV.%s.", self->config->bucket);
    const struct nats_publisher_settings settings = {
        .ops = &ops,
        .ctx = ctx,
        .address = &self->config->address,
        .message = &self->message,
        .stream = self->stream,
        .timeout_ms = self->config->ack_timeout,
    };
    weir_status status = nats_publisher_init(&self->publisher, &settings, err);
    return status == WEIR_OK ? nats_publisher_start(&self->publisher, err) : status;
}

static void kv_sink_close(void *instance)
{
    nats_publisher_done(instance);
}

static weir_status kv_sink_check(const void *config, struct weir_err *err)
{
    const struct nats_kv_sink_config *self = config;
    weir_status status = nats_bucket_check(self->bucket, err);
    return status == WEIR_OK ? nats_address_check(&self->address, err) : status;
}

static weir_status kv_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_kv_sink_config *self = config;
    struct nats_client *client = nats_client_open(&self->address, "weir check", err);
    if (client == NULL) {
        return err->status;
    }
    struct weir_arena arena;
    struct weir_value info;
    char stream[PREFIX_MAX];
    snprintf(stream, sizeof(stream), "KV_%s", self->bucket);
    const struct nats_stream_spec spec = {.name = stream, .manage = NATS_MANAGE_BIND};
    weir_arena_init(&arena, 0);
    if (self->manage == NATS_MANAGE_BIND &&
        nats_stream_ensure(client, &spec, &arena, &info, err) != WEIR_OK) {
        weir_err_path(err, "bucket");
    }
    weir_arena_done(&arena);
    nats_client_free(client);
    return err->status;
}

static const struct weir_sink_ops kv_sink_ops = {
    .prepare = kv_sink_prepare,
    .write = nats_publisher_write,
    .poll = nats_publisher_poll,
    .seal = nats_publisher_seal,
    .confirm = nats_publisher_confirm,
    .abort = nats_publisher_abort,
};

const struct weir_component weir_component_nats_kv_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "nats_kv",
            .system = "nats",
            .summary = "Puts and deletes keys of a NATS key-value bucket.",
            .help = "A record's value becomes the value of its key. Writes do not wait for each "
                    "other; an epoch is safe when the server has acknowledged all of them. What is "
                    "written again after a failure leaves the same last value of each key. Headers "
                    "are not written.",
            .example = "nats_kv: {url: localhost:4222, bucket: customers, key: .id}",
            .fields = nats_kv_sink_fields,
            .config_size = sizeof(struct nats_kv_sink_config),
        },
    .self_size = sizeof(struct nats_kv_sink),
    .durable = true,
    .needs = NATS_NEEDS,
    .drops_repeats = "their Nats-Msg-Id, within the duplicate_window of the bucket",
    .open = kv_sink_open,
    .close = kv_sink_close,
    .check = kv_sink_check,
    .probe = kv_sink_probe,
    .ops = {.sink = &kv_sink_ops},
};

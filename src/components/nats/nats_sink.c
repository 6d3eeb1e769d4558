/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS sink: messages for subjects that a JetStream stream keeps. What it shares with the other
 * sinks that publish, and what an acknowledgement is worth, is in nats_publisher.
 */
#include "nats_sink.h"
#include "nats_api.h"
#include "nats_lease.h"
#include "nats_positioned.h"
#include "nats_probe.h"
#include "nats_publisher.h"

#include <string.h>

#include "base/assert.h"
#include "source/leased.h"

struct nats_sink_config {
    struct nats_address address;
    struct nats_message_config message;
    const char *stream;
    struct weir_strs subjects;
    int manage;
    bool atomic;
    weir_duration ack_timeout;
};

static const struct weir_choice manage_choices[] = {
    {"create", NATS_MANAGE_CREATE, "`stream` is made from `subjects` if it does not exist."},
    {"bind", NATS_MANAGE_BIND, "It must be there."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct nats_sink_config
static const struct weir_field nats_sink_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    NATS_MESSAGE_FIELDS(S, "The subject to publish to, or `{jq: EXPR}` to compute it from the "
                           "record. A stream must keep it."),
    WEIR_F_STR(S, stream, .unset = "whichever keeps the subject", .min = 1, .max = NATS_NAME_MAX,
               .example = "ORDERS",
               .help = "The stream that is meant: another one that keeps the subject ends the "
                       "pipeline."),
    WEIR_F_STRS(S, subjects, .max = 1000, .example = "orders.>", .unset = "the stream must exist",
                .help = "If `stream` does not exist, it is made and keeps these subjects."),
    WEIR_F_ENUM(S, manage, manage_choices, .fallback = "create",
                .help = "What weir does about the stream."),
    WEIR_F_BOOL(S, atomic, .fallback = "false",
                .help = "Outputs are committed with state and position of their source, as one batch "
                        "of `stream`: exactly-once. Needs nats-server 2.12, a `nats` source of the "
                        "same `url` that is read by position, and a stream without limits that takes "
                        "batches (`allow_atomic`) and keeps `weir.NAME.task.>`, where the positions "
                        "lie; weir makes it so."),
    WEIR_F_DURATION(S, ack_timeout, .fallback = "10s", .min = 100, .max = 600000,
                    .help = "How long an acknowledgement may take before the records are written "
                            "again."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule nats_sink_rules[] = {
    {WEIR_RULE_NEEDS, {"subjects", "stream"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

struct nats_sink {
    struct nats_publisher publisher; /* first */
    const struct nats_sink_config *config;
    struct nats_target target; /* atomic */
};

/* --- the connection; the thread ----------------------------------------------------------------*/

static weir_status nats_sink_ensure(void *instance, struct nats_client *client, struct weir_err *err)
{
    struct nats_sink *self = instance;
    const struct nats_sink_config *config = self->config;
    const char *subject = config->message.subject.text;
    struct weir_arena arena;
    struct weir_value info;
    const char *found = NULL;
    weir_arena_init(&arena, 0);
    weir_status status = WEIR_OK;
    if (config->stream != NULL) {
        const struct nats_stream_spec spec = {.name = config->stream,
                                              .subjects = config->subjects,
                                              .manage = (enum nats_manage)config->manage};
        status = nats_stream_ensure(client, &spec, &arena, &info, err);
    }
    if (status == WEIR_OK && subject != NULL) {
        status = nats_stream_of(client, subject, &arena, &found, err);
        bool is_wrong =
            config->stream != NULL && found != NULL && strcmp(found, config->stream) != 0;
        if (status == WEIR_OK && (found == NULL || is_wrong)) {
            status = found == NULL
                         ? weir_fail(err, WEIR_CONFIG, "no stream keeps the subject %s",
                                     subject)
                         : weir_fail(err, WEIR_CONFIG, "the stream %s keeps the subject, not %s",
                                     found, config->stream);
            weir_err_hint(err,
                          "Write `stream` and `subjects`, from which weir makes one, or add the "
                          "subject to a stream.");
        }
    }
    const char *stream = config->stream != NULL ? config->stream : found;
    if (status == WEIR_OK && self->publisher.settings.ctx->identified && stream != NULL) {
        status = nats_publisher_read_back(&self->publisher, client, stream, err);
    }
    weir_arena_done(&arena);
    return status;
}

/* --- messages; lane ----------------------------------------------------------------------------*/

static weir_status nats_sink_prepare(void *instance,
                                     struct weir_run *run,
                                     struct weir_record *record,
                                     struct weir_err *err)
{
    struct nats_sink *self = instance;
    weir_status status = nats_message_prepare(&self->config->message, run, record, err);
    return status == WEIR_OK ? nats_publisher_target(&self->publisher, run, record, err) : status;
}

static natsStatus
nats_sink_dress(const void *instance, const struct weir_record *record, natsMsg *message)
{
    const struct nats_sink *self = instance;
    const char *id = nats_publisher_id(&self->publisher, record);
    natsStatus code = natsMsgHeader_Set(message, "Nats-Msg-Id", id);
    if (code == NATS_OK && self->config->stream != NULL) {
        code = natsMsgHeader_Set(message, "Nats-Expected-Stream", self->config->stream);
    }
    return code;
}

/* The task's lane is here, and control only while no lane writes. */
static weir_status write_to_task(struct nats_sink *self,
                                 struct weir_batch *batch,
                                 struct weir_record *const *records,
                                 size_t count,
                                 size_t *cursor,
                                 struct weir_err *err)
{
    struct nats_log *log = nats_part_log(weir_batch_partition(batch)->source_data);
    for (; *cursor < count; (*cursor)++) {
        const struct weir_record *record = records[*cursor];
        natsMsg *message = NULL;
        if (nats_message_bytes(record) > self->target.payload_max) {
            return weir_fail(err, WEIR_TOO_LARGE,
                             "the message has more than the %zu bytes that the server takes",
                             self->target.payload_max);
        }
        if (!nats_target_keeps(&self->target, record->target)) {
            return weir_fail(
                err, WEIR_REJECTED, "the stream %s does not keep %.*s", self->target.spec.name,
                record->target.size < 60 ? (int)record->target.size : 60, record->target.data);
        }
        natsStatus code = nats_message_make(&self->config->message, record, NULL, &message);
        if (code != NATS_OK) {
            natsMsg_Destroy(message);
            return nats_fail(err, "a message", code);
        }
        nats_batch_push(&log->outputs, message);
        log->timed += weir_batch_is_timed(batch);
    }
    if (log->outputs.count >= NATS_BATCH_OUTPUTS) {
        weir_ctx_close_epoch(self->publisher.settings.ctx);
    }
    return WEIR_OK;
}

static weir_status nats_sink_write(void *instance,
                                   unsigned lane,
                                   struct weir_batch *batch,
                                   struct weir_record *const *records,
                                   size_t count,
                                   size_t *cursor,
                                   struct weir_err *err)
{
    struct nats_sink *self = instance;
    return self->publisher.settings.ctx->transactional
               ? write_to_task(self, batch, records, count, cursor, err)
               : nats_publisher_write(&self->publisher, lane, batch, records, count, cursor, err);
}

/* --- open and close; control -------------------------------------------------------------------*/

static const struct nats_publisher_ops plain_ops = {.ensure = nats_sink_ensure};
static const struct nats_publisher_ops identified_ops = {.ensure = nats_sink_ensure,
                                                         .dress = nats_sink_dress};

static weir_status
nats_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct nats_sink *self = instance;
    self->config = config;
    const struct nats_publisher_settings settings = {
        .ops = ctx->identified ? &identified_ops : &plain_ops,
        .ctx = ctx,
        .address = &self->config->address,
        .message = &self->config->message,
        .stream = self->config->stream,
        .timeout_ms = self->config->ack_timeout,
    };
    nats_target_init(&self->target);
    weir_status status = nats_publisher_init(&self->publisher, &settings, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (ctx->transactional) { /* what is written goes into the commit of its task */
        self->target.spec =
            (struct nats_stream_spec){.name = self->config->stream,
                                      .subjects = self->config->subjects,
                                      .manage = (enum nats_manage)self->config->manage};
        return WEIR_OK;
    }
    WEIR_ASSERT(!self->config->atomic); /* the plan has refused it */
    return nats_publisher_start(&self->publisher, err);
}

static void nats_sink_close(void *instance)
{
    struct nats_sink *self = instance;
    nats_publisher_done(&self->publisher);
    if (self->config != NULL) {
        nats_target_done(&self->target);
    }
    *self = (struct nats_sink){0};
}

static weir_status nats_sink_check(const void *config, struct weir_err *err)
{
    const struct nats_sink_config *self = config;
    weir_status status = nats_message_check(&self->message, err);
    if (status == WEIR_OK && self->atomic && self->stream == NULL) {
        status = weir_fail(err, WEIR_CONFIG, "atomic needs `stream`");
        weir_err_path(err, "atomic");
    }
    return status == WEIR_OK ? nats_address_check(&self->address, err) : status;
}

struct nats_target *nats_sink_target(void *instance)
{
    struct nats_sink *self = instance;
    return &self->target;
}

static weir_status
nats_sink_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    (void)connect;
    (void)err;
    const struct nats_sink_config *self = config;
    weir_strbuf_printf(out, self->atomic ? "nats:%s" : "nats:%s, message by message",
                       self->address.urls.items[0]);
    return WEIR_OK;
}

static const char *nats_sink_needs_domain(const void *config)
{
    return ((const struct nats_sink_config *)config)->atomic ? "atomic" : NULL;
}

static const struct weir_sink_ops nats_sink_ops = {
    .prepare = nats_sink_prepare,
    .write = nats_sink_write,
    .poll = nats_publisher_poll,
    .seal = nats_publisher_seal,
    .confirm = nats_publisher_confirm,
    .abort = nats_publisher_abort,
};

static weir_status nats_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_sink_config *self = config;
    const struct nats_probe probe = {
        .address = &self->address,
        .stream = self->stream,
        .subject = self->message.subject.text,
        .subjects = self->subjects,
        .manage = (enum nats_manage)self->manage,
    };
    return nats_probe_try(&probe, err);
}

const struct weir_component weir_component_nats_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "nats",
            .summary = "Publishes to subjects that a NATS JetStream stream keeps.",
            .help =
                "Messages are published without waiting; an epoch is safe when the server has "
                "acknowledged all of them. What that is worth after the server's crash is its own "
                "setting (`sync_interval`, replicas). A record keeps its headers, except those "
                "that begin with `Nats-`.",
            .example = "nats: {url: localhost:4222, subject: orders.paid}",
            .fields = nats_sink_fields,
            .rules = nats_sink_rules,
            .config_size = sizeof(struct nats_sink_config),
        },
    .self_size = sizeof(struct nats_sink),
    .durable = true,
    .needs = NATS_NEEDS,
    .leases = &nats_lease_ops,
    .domain = &weir_leased_domain_ops,
    .domain_name = nats_sink_domain,
    .needs_domain = nats_sink_needs_domain,
    .drops_repeats = "their Nats-Msg-Id, within the duplicate_window of the stream or read back from it",
    .open = nats_sink_open,
    .close = nats_sink_close,
    .check = nats_sink_check,
    .probe = nats_sink_probe,
    .ops = {.sink = &nats_sink_ops},
};

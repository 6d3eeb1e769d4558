/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS sink without JetStream: messages for whoever listens to a subject at the moment. An epoch
 * is confirmed when the server has taken all of it; that somebody got it is nobody's promise, so
 * what is written here does not count as safe.
 */
#include "nats_probe.h"
#include "nats_publisher.h"

struct nats_core_sink_config {
    struct nats_address address;
    struct nats_message_config message;
    weir_duration flush_timeout;
};

// clang-format off
#define S struct nats_core_sink_config
static const struct weir_field nats_core_sink_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    NATS_MESSAGE_FIELDS(S, "The subject to publish to, or `{jq: EXPR}` to compute it from the "
                           "record."),
    WEIR_F_DURATION(S, flush_timeout, .fallback = "10s", .min = 100, .max = 600000,
                    .help = "How long the server may take to say that it has what was published, "
                            "before it is published again."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct nats_core_sink {
    struct nats_publisher publisher; /* first */
    const struct nats_core_sink_config *config;
};

static weir_status core_sink_prepare(void *instance,
                                     struct weir_run *run,
                                     struct weir_record *record,
                                     struct weir_err *err)
{
    struct nats_core_sink *self = instance;
    weir_status status = nats_message_prepare(&self->config->message, run, record, err);
    return status == WEIR_OK ? nats_publisher_target(&self->publisher, run, record, err) : status;
}

static weir_status
core_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    static const struct nats_publisher_ops ops = {0};
    struct nats_core_sink *self = instance;
    self->config = config;
    const struct nats_publisher_settings settings = {
        .ops = &ops,
        .ctx = ctx,
        .address = &self->config->address,
        .message = &self->config->message,
        .timeout_ms = self->config->flush_timeout,
        .is_core = true,
    };
    weir_status status = nats_publisher_init(&self->publisher, &settings, err);
    return status == WEIR_OK ? nats_publisher_start(&self->publisher, err) : status;
}

static void core_sink_close(void *instance)
{
    nats_publisher_done(instance);
}

static weir_status core_sink_check(const void *config, struct weir_err *err)
{
    const struct nats_core_sink_config *self = config;
    weir_status status = nats_message_check(&self->message, err);
    return status == WEIR_OK ? nats_address_check(&self->address, err) : status;
}

static weir_status core_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_core_sink_config *self = config;
    const struct nats_probe probe = {.address = &self->address};
    return nats_probe_try(&probe, err);
}

static const struct weir_sink_ops core_sink_ops = {
    .prepare = core_sink_prepare,
    .write = nats_publisher_write,
    .poll = nats_publisher_poll,
    .seal = nats_publisher_seal,
    .confirm = nats_publisher_confirm,
    .abort = nats_publisher_abort,
};

const struct weir_component weir_component_nats_core_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "nats_core",
            .system = "nats",
            .summary = "Publishes to NATS subjects without JetStream.",
            .help = "For whoever listens at the moment: a message that nobody listens to is gone. "
                    "An epoch is committed when the server has taken all of its messages; after a "
                    "broken connection they are published again. A record keeps its headers, "
                    "except those that begin with `Nats-`. What a stream keeps is the sink `nats`.",
            .example = "nats_core: {url: localhost:4222, subject: alerts}",
            .fields = nats_core_sink_fields,
            .config_size = sizeof(struct nats_core_sink_config),
        },
    .self_size = sizeof(struct nats_core_sink),
    .needs = "nats_core: the server also takes messages that nobody listens to; they are gone",
    .open = core_sink_open,
    .close = core_sink_close,
    .check = core_sink_check,
    .probe = core_sink_probe,
    .ops = {.sink = &core_sink_ops},
};

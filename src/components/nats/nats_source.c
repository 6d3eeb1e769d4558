/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS source: its options, and which of its two ways to read a pipeline takes. Shared: a
 * durable consumer (nats_shared.c). Positioned: in order, from a position of weir's own
 * (nats_positioned.c).
 */
#include "nats_source.h"

#include <stdio.h>
#include <string.h>

#include <weir/positions.h>

#include "nats_lease.h"
#include "nats_probe.h"
#include "nats_record.h"
#include "source/leased.h"

static const struct weir_choice manage_choices[] = {
    {"create", NATS_MANAGE_CREATE,
     "The consumer is made or brought up to date; the stream is made "
     "from `subjects` if it does not exist."},
    {"bind", NATS_MANAGE_BIND, "Both must be there and are taken as they are."},
    WEIR_CHOICES_END,
};
static const struct weir_choice start_choices[] = {
    {"earliest", NATS_START_EARLIEST, "The first message of the stream."},
    {"latest", NATS_START_LATEST, "Messages that are published from now on."},
    {"last", NATS_START_LAST, "The last message of the stream."},
    WEIR_CHOICES_END,
};

static const struct weir_choice mode_choices[] = {
    {"auto", NATS_MODE_AUTO,
     "Positioned if a step keeps state or effectively-once is asked for, else shared."},
    {"shared", NATS_MODE_SHARED, "A durable consumer, shared with other processes; no order."},
    {"positioned", NATS_MODE_POSITIONED,
     "In order from a stored position; each partition is read by one process at a time."},
    WEIR_CHOICES_END,
};
static const struct weir_choice loss_choices[] = {
    {"stop", NATS_LOSS_STOP, "The pipeline ends."},
    {"skip", NATS_LOSS_SKIP, "They are logged and left out."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct nats_source_config
static const struct weir_field nats_source_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_STR(S, stream, .flags = WEIR_REQUIRED, .min = 1, .max = NATS_NAME_MAX,
               .example = "ORDERS", .help = "The JetStream stream to read."),
    WEIR_F_STRS(S, subjects, .max = 1000, .example = "orders.>",
                .unset = "the stream must exist",
                .help = "If the stream does not exist, it is made and keeps these subjects."),
    WEIR_F_ENUM(S, mode, mode_choices, .fallback = "auto", .help = "How the stream is read."),
    WEIR_F_STR(S, durable, .unset = "the pipeline's name", .min = 1, .max = NATS_NAME_MAX,
               .help = "Shared: the durable consumer. Positioned: the name under which positions are "
                       "kept."),
    WEIR_F_ENUM(S, manage, manage_choices, .fallback = "create",
                .help = "What weir does about stream and consumer."),
    WEIR_F_STRS(S, filter, .max = 100, .unset = "all subjects", .example = "orders.paid.*",
                .help = "Subjects to read, with wildcards. More than one needs nats-server 2.10."),
    WEIR_F_MOMENT(S, start, start_choices, .fallback = "earliest",
                  .help = "Where a consumer that does not exist yet begins."),
    WEIR_F_INT(S, start_sequence, .min = 1, .max = INT64_MAX, .unset = "by `start`",
               .help = "The same, as a sequence of the stream."),
    NATS_KEY_FIELDS(S),
    WEIR_F_INT(S, partitions, .min = 1, .max = NATS_PARTITIONS_MAX, .unset = "the stream is one",
               .help = "Positioned: how many subjects `partition` stands for; they are spread over "
                       "the processes."),
    WEIR_F_STR(S, partition, .min = 3, .max = NATS_NAME_MAX, .example = "'orders.{}.>'",
               .help = "The subjects of a partition, with its number (from 0) for `{}`."),
    WEIR_F_DURATION(S, lease, .unset = "10s", .min = 500, .max = 3600000,
                    .help = "Positioned: a process that is silent for so long loses its partitions "
                            "to the others."),
    WEIR_F_ENUM(S, on_data_loss, loss_choices, .fallback = "stop",
                .help = "Positioned: when messages were deleted before they were read."),
    WEIR_F_DURATION(S, ack_wait, .fallback = "30s", .min = 500, .max = 86400000,
                    .help = "How long the server waits for a process that says nothing, before it "
                            "gives its messages to another. A process that works says so in time."),
    WEIR_F_INT(S, max_ack_pending, .fallback = "100000", .min = 1, .max = 10000000,
               .help = "How many messages may be unacknowledged, over all processes."),
    WEIR_F_INT(S, max_deliveries, .min = 3, .max = 1000, .unset = "no limit",
               .help = "Shared: a message that was delivered so often and never acknowledged is tried "
                       "alone, with nothing else handed out. After so many such tries it is not "
                       "processed again, but is a failed record, for `on_error`: the process may die "
                       "of it."),
    WEIR_F_INT(S, count, .fallback = "1000", .min = 1, .max = 100000,
               .help = "Messages that are asked for at once."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule nats_source_rules[] = {
    {WEIR_RULE_AT_MOST_ONE, {"start", "start_sequence"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"key_token", "key_header"}, NULL},
    {WEIR_RULE_NEEDS, {"partitions", "partition"}, NULL},
    {WEIR_RULE_NEEDS, {"partition", "partitions"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"partition", "filter"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

void nats_source_durable(const struct nats_source_config *config,
                         const char *pipeline,
                         char ret[NATS_NAME_MAX + 1])
{
    if (config->durable != NULL) {
        snprintf(ret, NATS_NAME_MAX + 1, "%s", config->durable);
    } else {
        nats_name_of(ret, pipeline);
    }
}

void nats_source_partition(const struct nats_source_config *config,
                           int32_t index,
                           char ret_subject[NATS_SUBJECT_MAX],
                           char ret_topic[NATS_TOPIC_MAX])
{
    ret_subject[0] = '\0';
    if (config->partition != NULL) {
        const char *hole = strstr(config->partition, "{}");
        snprintf(ret_subject, NATS_SUBJECT_MAX, "%.*s%d%s", (int)(hole - config->partition),
                 config->partition, index, hole + 2);
    } else if (config->filter.count == 1) {
        snprintf(ret_subject, NATS_SUBJECT_MAX, "%s", config->filter.items[0]);
    }
    snprintf(ret_topic, NATS_TOPIC_MAX, "%s%s%s", config->stream, ret_subject[0] != '\0' ? "/" : "",
             ret_subject);
}

struct nats_consumer_spec nats_source_consumer(const struct nats_source_config *config,
                                               const char *durable)
{
    return (struct nats_consumer_spec){
        .stream = config->stream,
        .name = durable,
        .filters = config->filter,
        .manage = (enum nats_manage)config->manage,
        .start = config->start,
        .start_sequence = config->start_sequence,
        .ack_wait = config->ack_wait,
        .max_ack_pending = config->max_ack_pending,
    };
}

static bool source_is_positioned(const void *config, bool wanted)
{
    const struct nats_source_config *self = config;
    return self->mode == NATS_MODE_POSITIONED || self->partitions > 0 ||
           (self->mode == NATS_MODE_AUTO && wanted);
}

/* An option of the other mode would not be honoured. */
static weir_status
source_check_mode(const struct nats_source_config *config, bool positioned, struct weir_err *err)
{
    const char *wrong = positioned && config->manage == NATS_MANAGE_BIND ? "manage"
                        : positioned && config->filter.count > 1         ? "filter"
                        : positioned && config->max_deliveries > 0       ? "max_deliveries"
                        : !positioned && config->lease > 0               ? "lease"
                        : !positioned && config->partitions > 0          ? "partitions"
                                                                         : NULL;
    if (wrong == NULL) {
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_CONFIG, "%s cannot be had here: the stream is %s",
                                   wrong, positioned ? "read by position" : "shared");
    weir_err_hint(err, "Leave it out, or write `mode: %s`.", positioned ? "shared" : "positioned");
    weir_err_path(err, wrong);
    return status;
}

static weir_status nats_source_check(const void *config, struct weir_err *err)
{
    const struct nats_source_config *self = config;
    const char *wrong = NULL, *path = "stream";
    if (strpbrk(self->stream, ".*> \t/\\") != NULL) {
        wrong = self->stream;
    } else if (self->durable != NULL && strpbrk(self->durable, ".*> \t/\\") != NULL) {
        wrong = self->durable;
        path = "durable";
    }
    if (wrong != NULL) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "\"%s\" cannot be a name in JetStream", wrong);
        weir_err_hint(err, "Names have no dots, spaces, slashes or wildcards.");
        weir_err_path(err, path);
        return status;
    }
    if (self->partition != NULL && strstr(self->partition, "{}") == NULL) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "a partition's subject has `{}` in it");
        weir_err_hint(err, "orders.{}.> stands for orders.0.>, orders.1.> and so on.");
        weir_err_path(err, "partition");
        return status;
    }
    weir_status status = nats_address_check(&self->address, err);
    if (status == WEIR_OK && self->mode == NATS_MODE_SHARED) {
        status = source_check_mode(self, false, err);
    } else if (status == WEIR_OK && source_is_positioned(self, false)) {
        status = source_check_mode(self, true, err);
    }
    return status;
}

static weir_status
nats_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    weir_status status = source_check_mode(config, ctx->positioned, err);
    return status != WEIR_OK
               ? status
               : weir_modal_open(instance,
                                 ctx->positioned ? &nats_positioned_mode : &nats_shared_mode,
                                 config, ctx, err);
}

static weir_status
nats_source_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    (void)connect;
    (void)err;
    const struct nats_source_config *self = config;
    weir_strbuf_printf(out, "nats:%s", self->address.urls.items[0]);
    return WEIR_OK;
}

static const struct weir_source_ops nats_source_ops = {
    .start = weir_modal_start,
    .poll = weir_modal_poll,
    .read = weir_modal_read,
    .seek = weir_modal_seek,
    .commit = weir_modal_commit,
    .stop = weir_modal_stop,
    .origin = &nats_chunk_origin,
};

extern const struct weir_positions_ops nats_positions_ops;

static weir_status nats_source_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_source_config *self = config;
    const struct nats_probe probe = {
        .address = &self->address,
        .stream = self->stream,
        .subjects = self->subjects,
        .manage = (enum nats_manage)self->manage,
    };
    return nats_probe_try(&probe, err);
}

static const char *nats_source_deadly(const void *config)
{
    const struct nats_source_config *self = config;
    return self->max_deliveries > 0
               ? "it is a failed record after `max_deliveries` tries of it alone"
               : "it comes again to each start; `max_deliveries` limits that";
}

const struct weir_component weir_component_nats_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "nats",
            .summary = "Reads a NATS JetStream stream: shared by a durable consumer, or in order.",
            .help = "Shared, messages are acknowledged when their outputs are safe; any number of "
                    "processes share the consumer, there is no order between them, and a message "
                    "that is delivered again comes late. Positioned, the stream or each partition "
                    "of it is read in order by the process that has its lease, and its position is "
                    "committed with the state. A record keeps its headers; its time is when the "
                    "server stored it, its key the subject, a token of it, or a header.",
            .example = "nats: {url: localhost:4222, stream: ORDERS}",
            .fields = nats_source_fields,
            .rules = nats_source_rules,
            .config_size = sizeof(struct nats_source_config),
        },
    .self_size = sizeof(struct weir_modal),
    .positions = WEIR_POSITIONS_GROUP,
    .open = nats_source_open,
    .close = weir_modal_close,
    .check = nats_source_check,
    .probe = nats_source_probe,
    .ops = {.source = &nats_source_ops},
    .needs = NATS_NEEDS,
    .deadly = nats_source_deadly,
    .leases = &nats_lease_ops,
    .domain = &weir_leased_domain_ops,
    .domain_name = nats_source_domain,
    .is_positioned = source_is_positioned,
    .position_ops = &nats_positions_ops,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis source: its options, and the two ways to read a stream. *Shared*: competing consumers
 * of a group, no order, redis_shared.c. *Positioned*: streams in order from a stored position, each
 * by one process that has its lease, redis_positioned.c; positions commit together with state and
 * outputs of the same server. The pipeline decides, unless `mode` is written.
 */
#include "redis_source.h"

#include <stdio.h>

#include "base/alloc.h"
#include "redis_chunk.h"
#include "redis_lease.h"
#include "source/leased.h"

enum { CLUSTER_PARTITIONS_MAX = 256 }; /* each has a thread and a connection */

static const struct weir_choice start_choices[] = {
    {"earliest", REDIS_START_EARLIEST, "The first entry of the stream."},
    {"latest", REDIS_START_LATEST, "Entries that are added from now on."},
    WEIR_CHOICES_END,
};
static const struct weir_choice loss_choices[] = {
    {"stop", REDIS_LOSS_STOP, "The pipeline ends."},
    {"skip", REDIS_LOSS_SKIP, "They are logged and left out."},
    WEIR_CHOICES_END,
};

static const struct weir_choice mode_choices[] = {
    {"auto", REDIS_MODE_AUTO,
     "Positioned if a step keeps state or exactly-once is asked for, else shared."},
    {"shared", REDIS_MODE_SHARED, "A consumer group, shared with other processes; no order."},
    {"positioned", REDIS_MODE_POSITIONED,
     "In order from a stored position; each stream is read by one process at a time."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct redis_source_config
static const struct weir_field redis_source_fields[] = {
    REDIS_CONNECTION_FIELDS(S),
    WEIR_F_STR(S, stream, .flags = WEIR_REQUIRED, .min = 1, .max = REDIS_NAME_MAX,
               .example = "orders", .help = "The stream to read; made if it does not exist."),
    WEIR_F_STR(S, group, .unset = "the pipeline's name", .min = 1, .max = REDIS_NAME_MAX,
               .help = "The consumer group; made if it does not exist."),
    WEIR_F_ENUM(S, mode, mode_choices, .fallback = "auto", .help = "How the stream is read."),
    WEIR_F_INT(S, partitions, .min = 1, .max = 4096, .unset = "one stream",
               .help = "Reads STREAM:{0} … STREAM:{n-1}, each positioned, spread over the processes."),
    WEIR_F_STR(S, consumer, .unset = "the instance, or a name of its own for each start",
               .min = 1, .max = REDIS_NAME_MAX,
               .help = "Shared: the name in the group. Two processes must not have the same."),
    WEIR_F_MOMENT(S, start, start_choices, .fallback = "earliest",
                  .help = "Where a group that does not exist yet begins."),
    WEIR_F_STR(S, field, .unset = "the entry as a JSON object", .example = "value",
               .help = "The field whose bytes are the value. Without it the value is an object of "
                       "all fields, as strings; bytes that are no UTF-8 are kept as they are."),
    WEIR_F_STR(S, key_field, .unset = "no key", .example = "key",
               .help = "The field whose bytes are the key."),
    WEIR_F_INT(S, count, .fallback = "500", .min = 1, .max = 10000,
               .help = "Entries that are asked for at once."),
    WEIR_F_DURATION(S, claim_idle, .unset = "30s", .min = 100, .max = 86400000,
                    .help = "Shared: takes over entries that another consumer was given so long "
                            "ago and has not acknowledged."),
    WEIR_F_INT(S, max_deliveries, .min = 3, .max = 1000, .unset = "no limit",
               .help = "Shared: an entry that was delivered so often and never acknowledged is not "
                       "processed again, but is a failed record, for `on_error`: the process may "
                       "die of it. The last try is made with nothing else read."),
    WEIR_F_DURATION(S, lease, .unset = "10s", .min = 500, .max = 3600000,
                    .help = "Positioned: a process that is silent for so long loses its streams "
                            "to the others."),
    WEIR_F_ENUM(S, on_data_loss, loss_choices, .fallback = "stop",
                .help = "When entries were deleted before they were read, or, shared, before they "
                        "were acknowledged."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

void redis_start_id(const struct weir_moment *start, char id[REDIS_ID_MAX])
{
    if (start->word == REDIS_START_LATEST) {
        snprintf(id, REDIS_ID_MAX, "$");
    } else if (start->word == REDIS_START_EARLIEST || start->time_ms <= 0) {
        snprintf(id, REDIS_ID_MAX, "0-0");
    } else { /* the last one before that time */
        snprintf(id, REDIS_ID_MAX, "%lld-18446744073709551615", (long long)start->time_ms - 1);
    }
}

static bool source_is_positioned(const void *config, bool wanted)
{
    const struct redis_source_config *self = config;
    return self->mode == REDIS_MODE_POSITIONED || self->partitions > 0 ||
           (self->mode == REDIS_MODE_AUTO && wanted);
}

/* An option of the other mode would not be honoured. */
static weir_status
source_check_mode(const struct redis_source_config *config, bool positioned, struct weir_err *err)
{
    const char *wrong = positioned && config->consumer != NULL     ? "consumer"
                        : positioned && config->claim_idle > 0     ? "claim_idle"
                        : positioned && config->max_deliveries > 0 ? "max_deliveries"
                        : !positioned && config->lease > 0         ? "lease"
                        : !positioned && config->partitions > 0    ? "partitions"
                                                                   : NULL;
    if (wrong == NULL) {
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_CONFIG, "%s has no meaning here: the stream is %s",
                                   wrong, positioned ? "read by position" : "shared");
    weir_err_hint(err, "Leave it out, or write `mode: %s`.", positioned ? "shared" : "positioned");
    weir_err_path(err, wrong);
    return status;
}

static weir_status redis_source_check(const void *config, struct weir_err *err)
{
    const struct redis_source_config *self = config;
    weir_status status = redis_connection_check(&self->connection, err);
    if (status == WEIR_OK && self->connection.cluster &&
        self->partitions > CLUSTER_PARTITIONS_MAX) {
        status = weir_fail(err, WEIR_CONFIG, "in a cluster a stream has at most %d partitions",
                           CLUSTER_PARTITIONS_MAX);
        weir_err_path(err, "partitions");
    }
    if (status == WEIR_OK && self->mode == REDIS_MODE_SHARED) {
        status = source_check_mode(self, false, err);
    } else if (status == WEIR_OK && source_is_positioned(self, false)) {
        status = source_check_mode(self, true, err);
    }
    return status;
}

static weir_status
redis_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    weir_status status = source_check_mode(config, ctx->positioned, err);
    return status != WEIR_OK
               ? status
               : weir_modal_open(instance,
                                 ctx->positioned ? &redis_positioned_mode : &redis_shared_mode,
                                 config, ctx, err);
}

static weir_status
source_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    const struct redis_source_config *self = config;
    enum redis_place place = self->partitions > 0 ? REDIS_PLACE_TASK : REDIS_PLACE_KEY;
    return redis_connection_domain(&self->connection, place, self->stream, connect, out, err);
}

static const struct weir_source_ops redis_source_ops = {
    .start = weir_modal_start,
    .poll = weir_modal_poll,
    .read = weir_modal_read,
    .seek = weir_modal_seek,
    .commit = weir_modal_commit,
    .stop = weir_modal_stop,
    .origin = &redis_chunk_origin,
};

static weir_status
redis_source_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct redis_source_config *self = config;
    return redis_probe(&self->connection, self->stream, false, err);
}

static const char *redis_source_deadly(const void *config)
{
    const struct redis_source_config *self = config;
    return self->max_deliveries > 0
               ? "it is a failed record after `max_deliveries`, the last one alone"
               : "it comes again to each start; `max_deliveries` limits that";
}

const struct weir_component weir_component_redis_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "redis",
            .summary = "Reads Redis streams: shared in a consumer group, or in order by position.",
            .help = "Shared, any number of processes take entries from the group; there is no "
                    "order between them, and what one leaves lying others take over. Positioned, "
                    "each stream is read in order by the process that has its lease, and "
                    "positions, state and what goes to the same server are committed together: "
                    "exactly once. A record's time is the time in the entry's id.",
            .example = "redis: {url: localhost:6379, stream: orders}",
            .fields = redis_source_fields,
            .config_size = sizeof(struct redis_source_config),
        },
    .self_size = sizeof(struct weir_modal),
    .positions = WEIR_POSITIONS_GROUP,
    .domain = &weir_leased_domain_ops,
    .needs = REDIS_NEEDS,
    .deadly = redis_source_deadly,
    .leases = &redis_lease_ops,
    .open = redis_source_open,
    .close = weir_modal_close,
    .check = redis_source_check,
    .domain_name = source_domain,
    .is_positioned = source_is_positioned,
    .probe = redis_source_probe,
    .ops = {.source = &redis_source_ops},
    .position_ops = &redis_positions_ops,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS source: a durable consumer of a JetStream stream, shared with others. Which process gets
 * a message is the server's choice, and a repeat comes after newer ones, so there is no order
 * between processes; the partition of a lane is this process's own sequence of deliveries, numbered
 * from 0 at each start (nats_window.h).
 *
 * A message is acknowledged when its outputs are safe, and the server has said that it knows. Until
 * then its reader keeps the server from handing it to another process; so the holder decides its
 * fate, however long that takes.
 */
#include "nats_source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weir/positions.h>

#include "base/assert.h"
#include "nats_reader.h"

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

// clang-format off
#define S struct nats_source_config
static const struct weir_field nats_source_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_STR(S, stream, .flags = WEIR_REQUIRED, .min = 1, .max = NATS_NAME_MAX,
               .example = "ORDERS", .help = "The JetStream stream to read."),
    WEIR_F_STRS(S, subjects, .max = 1000, .example = "orders.>",
                .unset = "the stream must exist",
                .help = "If the stream does not exist, it is made and keeps these subjects."),
    WEIR_F_STR(S, durable, .unset = "the pipeline's name", .min = 1, .max = NATS_NAME_MAX,
               .help = "The durable consumer, which processes share."),
    WEIR_F_ENUM(S, manage, manage_choices, .fallback = "create",
                .help = "What weir does about stream and consumer."),
    WEIR_F_STRS(S, filter, .max = 100, .unset = "all subjects", .example = "orders.paid.*",
                .help = "Subjects to read, with wildcards. More than one needs nats-server 2.10."),
    WEIR_F_MOMENT(S, start, start_choices, .fallback = "earliest",
                  .help = "Where a consumer that does not exist yet begins."),
    WEIR_F_INT(S, start_sequence, .min = 1, .max = INT64_MAX, .unset = "by `start`",
               .help = "The same, as a sequence of the stream."),
    WEIR_F_INT(S, key_token, .min = 1, .max = 64, .unset = "the whole subject is the key",
               .help = "The token of the subject that is the record's key, counted from 1."),
    WEIR_F_STR(S, key_header, .min = 1, .max = NATS_NAME_MAX, .example = "customer",
               .help = "The header that is the record's key instead."),
    WEIR_F_DURATION(S, ack_wait, .fallback = "30s", .min = 500, .max = 86400000,
                    .help = "How long the server waits for a process that says nothing, before it "
                            "gives its messages to another. A process that works says so in time."),
    WEIR_F_INT(S, max_ack_pending, .fallback = "100000", .min = 1, .max = 10000000,
               .help = "How many messages may be unacknowledged, over all processes."),
    WEIR_F_INT(S, count, .fallback = "1000", .min = 1, .max = 100000,
               .help = "Messages that are asked for at once."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule nats_source_rules[] = {
    {WEIR_RULE_AT_MOST_ONE, {"start", "start_sequence"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"key_token", "key_header"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

struct nats_source {
    const struct nats_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    char durable[NATS_NAME_MAX + 1];
    struct nats_reader reader;
    bool opened;
    int64_t next; /* lane, or paused: what is delivered next */
};

void nats_source_durable(const struct nats_source_config *config,
                         const char *pipeline,
                         char ret[NATS_NAME_MAX + 1])
{
    snprintf(ret, NATS_NAME_MAX + 1, "%s", config->durable != NULL ? config->durable : pipeline);
    for (char *at = ret; *at != '\0' && config->durable == NULL; at++) {
        *at = *at == '.' ? '_' : *at;
    }
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

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
nats_source_open(void *instance, const void *options, struct weir_ctx *ctx, struct weir_err *err)
{
    struct nats_source *self = instance;
    const struct nats_source_config *config = options;
    self->config = config;
    self->ctx = ctx;
    nats_source_durable(config, ctx->pipeline, self->durable);
    self->reader = (struct nats_reader){
        .ctx = ctx,
        .address = &config->address,
        .stream = {config->stream, config->subjects, (enum nats_manage)config->manage},
        .consumer = nats_source_consumer(config, self->durable),
        .count = config->count,
        .budget = (size_t)ctx->in_flight_bytes,
        .behind = -1,
    };
    return nats_reader_init(&self->reader, err);
}

static void nats_source_close(void *instance)
{
    struct nats_source *self = instance;
    if (self->ctx != NULL) {
        nats_reader_done(&self->reader);
    }
    *self = (struct nats_source){0};
}

static weir_status nats_source_start(void *instance, struct weir_err *err)
{
    struct nats_source *self = instance;
    const struct weir_assignment item = {.topic = self->config->stream, .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    self->reader.lane = self->part->lane;
    return nats_reader_start(&self->reader, err);
}

static void nats_source_stop(void *instance)
{
    struct nats_source *self = instance;
    if (self->part == NULL) {
        return;
    }
    nats_reader_drain(&self->reader);
    weir_source_revoke(self->ctx, &self->part, 1, false);
    self->part = NULL;
    nats_reader_stop(&self->reader);
}

static weir_status nats_source_poll(void *instance, struct weir_err *err)
{
    struct nats_source *self = instance;
    int64_t behind = atomic_load_explicit(&self->reader.behind, memory_order_relaxed);
    if (self->part != NULL) {
        int64_t filled = nats_window_filled(&self->reader.window);
        atomic_store_explicit(&self->part->end, behind < 0 ? -1 : filled + behind,
                              memory_order_relaxed);
    }
    return nats_reader_failed(&self->reader, err);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static struct weir_slice subject_token(const char *subject, int64_t token)
{
    for (; token > 1 && subject != NULL; token--) {
        subject = strchr(subject, '.');
        subject = subject == NULL ? NULL : subject + 1;
    }
    return (struct weir_slice){subject, subject == NULL ? 0 : strcspn(subject, ".")};
}

static struct weir_slice key_of(const struct nats_source_config *config, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message);
    if (config->key_header != NULL) {
        const char *value = NULL;
        (void)natsMsgHeader_Get(message, config->key_header, &value);
        return weir_slice_of(value);
    }
    return config->key_token > 0 ? subject_token(subject, config->key_token)
                                 : weir_slice_of(subject);
}

static size_t
deliver(struct nats_source *self, struct weir_intake *intake, struct nats_chunk *chunk, size_t max)
{
    size_t count = 0;
    for (size_t i = (size_t)(self->next - chunk->start); i < chunk->count && count < max; i++) {
        struct nats_chunk *ref = count == 0 ? chunk : NULL;
        if (ref != NULL) {
            nats_chunk_ref(ref);
        }
        struct weir_record *record = weir_intake_record(intake, self->part, ref);
        if (record == NULL) {
            if (ref != NULL) {
                nats_chunk_unref(ref);
            }
            break;
        }
        natsMsg *message = chunk->items[i].message;
        const char *data = natsMsg_GetData(message);
        record->position = self->next++;
        record->source_ref = message;
        record->flags = WEIR_RECORD_RAW;
        record->time_ms = chunk->items[i].time_ms;
        record->key = key_of(self->config, message);
        record->raw =
            (struct weir_slice){data == NULL ? "" : data, (size_t)natsMsg_GetDataLength(message)};
        count++;
    }
    return count;
}

static weir_status nats_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct nats_source *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    size_t count = 0, got = 1;
    struct nats_chunk *chunk = NULL;
    while (count < max && got > 0 &&
           (chunk = nats_window_at(&self->reader.window, self->next)) != NULL) {
        got = deliver(self, intake, chunk, max - count);
        count += got;
        nats_chunk_unref(chunk);
    }
    return count > 0 ? WEIR_OK : WEIR_AGAIN;
}

static void release_chunks(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        nats_chunk_unref(refs[i]);
    }
}

/* Keys with several values become as many headers. */
static weir_status
read_headers(struct weir_record *record, struct weir_arena *arena, struct weir_err *err)
{
    natsMsg *message = record->source_ref;
    const char **keys = NULL;
    int key_count = 0;
    weir_status status = WEIR_OK;
    if (natsMsgHeader_Keys(message, &keys, &key_count) != NATS_OK) {
        return WEIR_OK;
    }
    struct weir_header *list = NULL;
    size_t total = 0;
    for (int i = 0; i < key_count && status == WEIR_OK; i++) {
        const char **values = NULL;
        int count = 0;
        if (natsMsgHeader_Values(message, keys[i], &values, &count) != NATS_OK) {
            continue;
        }
        struct weir_header *more = weir_arena_calloc(arena, total + (size_t)count, sizeof(*more));
        if (more == NULL) {
            status = weir_fail(err, WEIR_LIMIT, "the record's headers need too much memory");
            count = 0;
        } else if (total > 0) {
            memcpy(more, list, total * sizeof(*more));
        }
        for (int k = 0; k < count; k++) {
            more[total++] = (struct weir_header){weir_slice_of(keys[i]), weir_slice_of(values[k])};
        }
        list = more;
        free((void *)values);
    }
    free((void *)keys);
    record->headers = list;
    record->header_count = (uint32_t)total;
    return status;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status nats_source_seek(void *instance,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    struct weir_err *err)
{
    (void)err;
    struct nats_source *self = instance;
    WEIR_ASSERT(count == 1);
    self->next = items[0]->read;
    return WEIR_OK;
}

static weir_status nats_source_commit(void *instance,
                                      struct weir_partition *const *items,
                                      size_t count,
                                      struct weir_err *err)
{
    (void)err;
    struct nats_source *self = instance;
    WEIR_ASSERT(count == 1);
    return nats_reader_ack(&self->reader, items[0]->committed, items[0]->closing);
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
    return nats_address_check(&self->address, err);
}

/* A shared consumer has no positions that would mean the same in another process. */
static bool nats_source_is_positioned(const void *config, bool wanted)
{
    (void)config;
    (void)wanted;
    return false;
}

static const struct weir_batch_origin nats_origin = {
    .release = release_chunks,
    .read_headers = read_headers,
};

static const struct weir_source_ops nats_source_ops = {
    .start = nats_source_start,
    .poll = nats_source_poll,
    .read = nats_source_read,
    .seek = nats_source_seek,
    .commit = nats_source_commit,
    .stop = nats_source_stop,
    .origin = &nats_origin,
};

extern const struct weir_positions_ops nats_positions_ops;

const struct weir_component weir_component_nats_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "nats",
            .summary = "Reads a NATS JetStream stream through a durable consumer.",
            .help =
                "Messages are acknowledged when their outputs are safe. Any number of processes "
                "share the consumer; there is no order between them, and a message that is "
                "delivered again comes late. A record keeps its headers; its time is when the "
                "server stored it, its key the subject, a token of it, or a header.",
            .example = "nats: {url: localhost:4222, stream: ORDERS}",
            .fields = nats_source_fields,
            .rules = nats_source_rules,
            .config_size = sizeof(struct nats_source_config),
        },
    .self_size = sizeof(struct nats_source),
    .positions = WEIR_POSITIONS_GROUP,
    .open = nats_source_open,
    .close = nats_source_close,
    .check = nats_source_check,
    .ops = {.source = &nats_source_ops},
    .needs = NATS_NEEDS,
    .is_positioned = nats_source_is_positioned,
    .position_ops = &nats_positions_ops,
};

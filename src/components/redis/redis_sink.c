/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis sink. `prepare` makes each record's command (redis_command.h); `write` gives it to a
 * thread that sends it (redis_sender.h), or, in a transaction, to its task, whose commit it is part
 * of (redis_commit.h).
 */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "redis_command.h"
#include "redis_commit.h"
#include "redis_lease.h"
#include "redis_sender.h"
#include "source/leased.h"

enum { SPARE_BYTES_MAX = 1 << 20 };

// clang-format off
#define S struct redis_sink_config
static const struct weir_field redis_sink_fields[] = {
    REDIS_CONNECTION_FIELDS(S),
    WEIR_F_TEMPLATE(S, stream, .example = "orders",
                    .help = "The stream to add to, or `{jq: EXPR}` to compute it from the record."),
    WEIR_F_JQ(S, command, .example = "'[\"HINCRBY\", .country, \"orders\", 1]'",
              .help = "Instead of adding to a stream: the command to give, an array of its name "
                      "and arguments. Strings go as they are, other values as JSON."),
    WEIR_F_JQ(S, key, .unset = "the input's key", .example = ".country",
              .help = "The record's key, which chooses the partition."),
    WEIR_F_STR(S, key_field, .unset = "the key is not written", .example = "key",
               .help = "The field of the entry that the key is written to."),
    WEIR_F_STR(S, field, .unset = "each member of the JSON object is a field", .example = "value",
               .help = "The field of the entry that the whole value is written to, byte for byte. "
                       "Without it the value must be a JSON object: strings become fields as they "
                       "are, other values as JSON."),
    WEIR_F_INT(S, partitions, .min = 1, .max = 4096, .unset = "one stream",
               .help = "Spreads records over STREAM:{0} … STREAM:{n-1} by the hash of their key."),
    WEIR_F_INT(S, maxlen, .min = 1, .max = INT64_MAX, .unset = "entries are kept",
               .help = "Cuts the stream to about so many entries. Entries that a slow reader has "
                       "not read yet are cut as well."),
    WEIR_F_DURATION(S, max_age, .min = 1000, .max = INT64_MAX, .unset = "entries are kept",
                    .help = "Cuts entries that are older than about this, read or not."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule redis_sink_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"stream", "command"}, "Write the stream to add to, or a command."},
    {WEIR_RULE_AT_MOST_ONE, {"maxlen", "max_age"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "partitions"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "field"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "key_field"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "maxlen"}, NULL},
    {WEIR_RULE_AT_MOST_ONE, {"command", "max_age"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

/* What a lane makes commands in; kept from one record to the next. */
struct redis_desk {
    struct weir_strbuf out, scratch;
};

struct redis_sink {
    const struct redis_sink_config *config;
    struct weir_ctx *ctx;
    struct redis_desk *desks; /* by lane */
    struct redis_sender sender;
};

/* --- open and close; control -------------------------------------------------------------------*/

/* WRONGTYPE within a commit comes too late: the other commands are done. */
static weir_status sink_check_type(struct redis_sink *self, struct weir_err *err)
{
    const char *stream = self->config->stream.text;
    redisContext *context =
        stream == NULL ? NULL
                       : redis_connect(&self->config->connection, stream, REDIS_ANSWER_MS, err);
    if (context == NULL && weir_status_class(err->status) == WEIR_CLASS_FATAL) {
        return err->status;
    }
    if (context == NULL) { /* the source finds that too, and waits */
        weir_err_clear(err);
        return WEIR_OK;
    }
    weir_status status = redis_check_type(context, stream, "stream", err);
    redisFree(context);
    if (status == WEIR_CONFIG) {
        weir_err_path(err, "stream");
        return status;
    }
    weir_err_clear(err);
    return WEIR_OK;
}

static weir_status
redis_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct redis_sink *self = instance;
    self->config = config;
    self->ctx = ctx;
    self->desks = weir_calloc(ctx->lanes, sizeof(*self->desks));
    for (unsigned i = 0; i < ctx->lanes; i++) {
        weir_strbuf_init(&self->desks[i].out, REDIS_COMMAND_BYTES_MAX);
        weir_strbuf_init(&self->desks[i].scratch, REDIS_COMMAND_BYTES_MAX);
    }
    weir_status status = redis_sender_open(&self->sender, &self->config->connection,
                                           self->config->stream.text, ctx, err);
    return status == WEIR_OK && ctx->transactional ? sink_check_type(self, err) : status;
}

static void redis_sink_close(void *instance)
{
    struct redis_sink *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    redis_sender_close(&self->sender);
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        weir_strbuf_done(&self->desks[i].out);
        weir_strbuf_done(&self->desks[i].scratch);
    }
    weir_free(self->desks);
    *self = (struct redis_sink){0};
}

/* --- writing; lane -----------------------------------------------------------------------------*/

/* One long record is no reason to keep that much for each lane. */
static void desk_clear(struct weir_strbuf *buf)
{
    if (buf->capacity > SPARE_BYTES_MAX) {
        weir_strbuf_done(buf);
    }
    weir_strbuf_clear(buf);
}

/* What is committed with a task must lie where the task does. */
static weir_status
check_slot(struct weir_run *run, const struct weir_strbuf *command, struct weir_err *err)
{
    const struct redis_part *part = weir_batch_partition(weir_run_batch(run))->source_data;
    struct weir_slice key = redis_command_key(weir_strbuf_view(command));
    if (redis_slot(key) == redis_slot(weir_slice_of(part->stream))) {
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_CONFIG, "%.*s is not in the slot of %s",
                                   key.size < 200 ? (int)key.size : 200, key.data, part->stream);
    weir_err_hint(err, "Put {%s} into its name, or write `guarantee: at-least-once`.", part->tag);
    return status;
}

/* The whole command becomes the record's target. */
static weir_status redis_sink_prepare(void *instance,
                                      struct weir_run *run,
                                      struct weir_record *record,
                                      struct weir_err *err)
{
    struct redis_sink *self = instance;
    struct weir_batch *batch = weir_run_batch(run);
    struct redis_desk *desk = &self->desks[weir_batch_partition(batch)->lane];
    weir_status status = redis_command_make(self->config, self->ctx->clock, run, record, &desk->out,
                                            &desk->scratch, err);
    if (status == WEIR_OK && (desk->out.failed || desk->scratch.failed)) {
        status = weir_fail(err, WEIR_TOO_LARGE, "the command has more than %d bytes",
                           REDIS_COMMAND_BYTES_MAX);
    }
    if (status == WEIR_OK && self->ctx->transactional && self->config->connection.cluster) {
        status = check_slot(run, &desk->out, err);
    }
    if (status == WEIR_OK) {
        record->target = weir_arena_copy(weir_batch_arena(batch), weir_strbuf_view(&desk->out));
        if (record->target.data == NULL) {
            status = weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
        }
    }
    desk_clear(&desk->out);
    desk_clear(&desk->scratch);
    return status;
}

/* The task's lane is here, and control only while no lane writes. */
static void write_to_task(struct redis_sink *self,
                          struct weir_batch *batch,
                          struct weir_record *const *records,
                          size_t count,
                          size_t *cursor)
{
    struct redis_part *part = weir_batch_partition(batch)->source_data;
    for (; *cursor < count; (*cursor)++) {
        weir_strbuf_slice(&part->outputs, records[*cursor]->target);
        part->output_count++;
    }
    WEIR_ASSERT(!part->outputs.failed);
    if (part->outputs.size > REDIS_COMMIT_BYTES || part->output_count > REDIS_COMMIT_COMMANDS) {
        weir_ctx_close_epoch(self->ctx);
    }
}

static weir_status redis_sink_write(void *instance,
                                    unsigned lane,
                                    struct weir_batch *batch,
                                    struct weir_record *const *records,
                                    size_t count,
                                    size_t *cursor,
                                    struct weir_err *err)
{
    (void)lane;
    (void)err;
    struct redis_sink *self = instance;
    if (self->ctx->transactional) {
        write_to_task(self, batch, records, count, cursor);
        return WEIR_OK;
    }
    return redis_sender_write(&self->sender, records, count, cursor);
}

/* --- epochs; control ---------------------------------------------------------------------------*/

static weir_status redis_sink_poll(void *instance, struct weir_err *err)
{
    struct redis_sink *self = instance;
    return weir_delivery_poll(&self->sender.delivery, err);
}

static void redis_sink_seal(void *instance)
{
    struct redis_sink *self = instance;
    weir_delivery_seal(&self->sender.delivery);
}

static weir_status redis_sink_confirm(void *instance, struct weir_err *err)
{
    struct redis_sink *self = instance;
    return weir_delivery_confirm(&self->sender.delivery, err);
}

static weir_status redis_sink_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct redis_sink *self = instance;
    redis_sender_abort(&self->sender);
    return WEIR_OK;
}

static weir_status redis_sink_check(const void *config, struct weir_err *err)
{
    const struct redis_sink_config *self = config;
    return redis_connection_check(&self->connection, err);
}

static weir_status
sink_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    const struct redis_sink_config *self = config;
    const char *stream = self->stream.text;
    enum redis_place place = self->partitions > 0 ? REDIS_PLACE_SPREAD
                             : stream == NULL     ? REDIS_PLACE_TASK
                                                  : REDIS_PLACE_KEY;
    return redis_connection_domain(&self->connection, place, stream, connect, out, err);
}

static const struct weir_sink_ops redis_sink_ops = {
    .prepare = redis_sink_prepare,
    .write = redis_sink_write,
    .poll = redis_sink_poll,
    .seal = redis_sink_seal,
    .confirm = redis_sink_confirm,
    .abort = redis_sink_abort,
};

static weir_status redis_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct redis_sink_config *self = config;
    return redis_probe(&self->connection, self->stream.text, true, err);
}

const struct weir_component weir_component_redis_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "redis",
            .summary = "Adds to Redis streams, or gives a command per record.",
            .help = "Commands are pipelined; an epoch is safe when the server has answered all of "
                    "them. What that is worth after the server's crash is its own setting "
                    "(`appendfsync`). After a broken connection records are written again: with "
                    "`command`, choose one that may be repeated.",
            .example = "redis: {url: localhost:6379, stream: orders}",
            .fields = redis_sink_fields,
            .rules = redis_sink_rules,
            .config_size = sizeof(struct redis_sink_config),
        },
    .self_size = sizeof(struct redis_sink),
    .durable = true,
    .domain = &weir_leased_domain_ops,
    .needs = REDIS_NEEDS,
    .leases = &redis_lease_ops,
    .open = redis_sink_open,
    .close = redis_sink_close,
    .check = redis_sink_check,
    .domain_name = sink_domain,
    .probe = redis_sink_probe,
    .ops = {.sink = &redis_sink_ops},
};

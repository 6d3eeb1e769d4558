/* SPDX-License-Identifier: Apache-2.0
 *
 * The Kafka source: one group consumer per pipeline and process, polled by the control thread; the
 * queues of its partitions are forwarded to one queue per lane, so that a lane takes batches of all
 * its partitions with one call and the consumer's own queue carries rebalances and errors only.
 *
 * The rebalance callback runs inside that poll. Every starting position becomes a number before its
 * partition is taken (kafka_lookup.c): librdkafka drops logical offsets silently from a
 * transaction. On revocation the engine commits or aborts before the group hears that they are
 * given back; when that takes a while, the callback returns first, and nothing is polled until it
 * is done. Messages that still lie in a lane's queue find no partition any more and are dropped
 * (kafka_lane.c).
 *
 * auto.offset.reset is `error`: a position that the broker no longer has is data loss, which the
 * user decides about, not a silent jump.
 */
#include "kafka_source.h"
#include "kafka_probe.h"
#include "kafka_state_outside.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kafka_commit.h"
#include "kafka_exchange.h"
#include "kafka_lane.h"
#include "kafka_lease.h"
#include "kafka_lookup.h"
#include "kafka_watch.h"

enum { SEEK_TIMEOUT_MS = 5000, LAG_EVERY_MS = 1000, LAG_SOON_MS = 50 };
enum { FORWARD_AGAIN_POLLS = 100, QUEUED_MIN_KBYTES = 256 };

static const struct weir_choice start_choices[] = {
    {"earliest", KAFKA_START_EARLIEST, "The oldest record there is."},
    {"latest", KAFKA_START_LATEST, "Only records that arrive from now on."},
    WEIR_CHOICES_END,
};

static const struct weir_choice loss_choices[] = {
    {"stop", KAFKA_LOSS_STOP, "Ends the pipeline and says how many records are gone."},
    {"earliest", KAFKA_LOSS_EARLIEST,
     "Logs the number and goes on with the oldest record there is."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct kafka_source_config
static const struct weir_field kafka_source_fields[] = {
    KAFKA_CONNECTION_FIELDS(S),
    WEIR_F_STR(S, topic, .example = "orders", .help = "The topic to read."),
    WEIR_F_STRS(S, topics, .max = 1000, .example = "[orders, refunds]",
                .help = "Several topics to read."),
    WEIR_F_STR(S, pattern, .example = "orders-.*",
               .help = "Reads every topic whose name matches this regular expression, also topics "
                       "that are created later."),
    WEIR_F_STR(S, group, .unset = "the pipeline's name",
               .elsewhere = "group.id,group_id,consumer_group", .help = "Consumer group."),
    WEIR_F_MOMENT(S, start, start_choices, .fallback = "earliest",
                  .elsewhere = "auto.offset.reset,auto_offset_reset,offset,from",
                  .help = "Where a group without committed positions begins."),
    WEIR_F_ENUM(S, on_data_loss, loss_choices, .fallback = "stop",
                .help = "What happens when records were deleted before they were read."),
    WEIR_F_DURATION(S, session_timeout, .fallback = "30s", .min = 1000, .max = 1800000,
                    .help = "A process that is silent for this long loses its partitions."),
    WEIR_F_SIZE(S, fetch_bytes, .fallback = "8MiB", .min = 65536, .max = 268435456,
                .flags = WEIR_ADVANCED, .help = "Most bytes of one fetch."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

static const struct weir_rule kafka_source_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"topic", "topics", "pattern"}, "Say what to read."},
    WEIR_RULES_END,
};

/* Partitions that the group has taken away, or one that is to begin elsewhere. librdkafka fetches
 * nothing for the source until it is told that they are given back. */
struct kafka_leaving {
    rd_kafka_topic_partition_list_t *list; /* NULL: none */
    struct kafka_partition **items;
    struct weir_partition **parts;
    size_t count;
    bool returns; /* after data loss: it is to begin elsewhere */
};

struct kafka_source {
    struct kafka_client client; /* first: librdkafka's opaque */
    const struct kafka_source_config *config;
    struct weir_ctx *ctx;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events;
    struct kafka_lane *lanes;
    struct weir_err failure; /* control: told by the next poll */
    int64_t lag_due_ns;
    struct kafka_cutting cutting; /* of an exchange's topic */
    struct kafka_watch watch;
    struct kafka_lookup lookup;   /* partitions that were assigned and are not taken yet */
    struct kafka_commit commit;   /* of positions, outside of a transaction */
    struct kafka_leaving leaving; /* … and that are not given back yet */
    bool stopping;
    bool refused; /* assigned while stopping, which librdkafka takes for giving everything back */
};

rd_kafka_t *kafka_source_handle(struct kafka_source *self)
{
    return self->rk;
}

const struct kafka_connection *kafka_source_connection(const struct kafka_source *self)
{
    return &self->config->connection;
}

/* --- rebalancing; control, inside poll ---------------------------------------------------------*/

static void source_add(struct kafka_source *self, rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *error = rd_kafka_incremental_assign(self->rk, list);
    if (error != NULL) {
        (void)!kafka_fail(&self->failure, "cannot take over partitions", error);
        self->failure.status = WEIR_FENCED;
    }
}

/* Takes over partitions at the offsets of the list; lanes get their queues before librdkafka
 * begins. */
static void source_take(struct kafka_source *self, rd_kafka_topic_partition_list_t *list)
{
    size_t count = (size_t)list->cnt;
    struct weir_assignment *items = weir_calloc(count, sizeof(*items));
    struct weir_partition **parts = weir_calloc(count, sizeof(struct weir_partition *));
    const char *remedy =
        self->config->on_data_loss == KAFKA_LOSS_EARLIEST ? NULL : KAFKA_LOSS_REMEDY;
    for (size_t i = 0; i < count; i++) {
        struct kafka_partition *item = weir_calloc(1, sizeof(*item));
        item->topic = weir_strdup(list->elems[i].topic);
        item->index = list->elems[i].partition;
        atomic_init(&item->lost_at, -1);
        items[i] = (struct weir_assignment){.topic = item->topic,
                                            .index = item->index,
                                            .position = list->elems[i].offset,
                                            .partition_count = self->lookup.partition_count,
                                            .total = self->lookup.total,
                                            .topic_id = self->lookup.topic_id,
                                            .remedy = remedy,
                                            .is_moved = list->elems[i].opaque != NULL,
                                            .source_data = item};
    }
    weir_source_assign(self->ctx, items, count, parts);
    for (size_t i = 0; i < count; i++) {
        struct kafka_partition *item = items[i].source_data;
        struct kafka_lane *lane = &self->lanes[parts[i]->lane];
        item->part = parts[i];
        item->next = parts[i]->read;
        item->begun_anew = list->elems[i].opaque != NULL;
        item->forward_again = item->begun_anew ? FORWARD_AGAIN_POLLS : 0;
        list->elems[i].offset = parts[i]->read;
        kafka_lane_add(lane, item);
        item->queue = rd_kafka_queue_get_partition(self->rk, item->topic, item->index);
        rd_kafka_queue_forward(item->queue, lane->queue);
    }
    weir_free(items);
    weir_free(parts);
    source_add(self, list);
}

/* Accepts the assignment; its partitions come when their positions are known. */
static void source_assign(struct kafka_source *self, rd_kafka_topic_partition_list_t *list)
{
    kafka_lookup_add(&self->lookup, list, false);
    if (self->lookup.wanted->cnt == 0) {
        source_take(self, list);
        return;
    }
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    source_add(self, none);
    rd_kafka_topic_partition_list_destroy(none);
}

/* Those whose positions are known by now. */
static void source_take_found(struct kafka_source *self)
{
    rd_kafka_topic_partition_list_t *list;
    struct weir_err err = {0};
    if (kafka_lookup_take(&self->lookup, &list, &err) != WEIR_OK) {
        /* Nothing can be consumed without positions: leave and join anew. */
        self->failure = err;
        self->failure.status = err.status == WEIR_DATA_LOSS ? WEIR_DATA_LOSS : WEIR_FENCED;
    } else if (list != NULL) {
        source_take(self, list);
        rd_kafka_topic_partition_list_destroy(list);
    }
}

static struct kafka_partition *
find_part(struct kafka_source *self, const char *topic, int32_t index)
{
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        for (size_t k = 0; k < self->lanes[i].count; k++) {
            struct kafka_partition *item = self->lanes[i].parts[k];
            if (item->index == index && strcmp(item->topic, topic) == 0) {
                return item;
            }
        }
    }
    return NULL;
}

/* Nothing is delivered of them from here on. */
static void leaving_add(struct kafka_source *self, struct kafka_partition *item)
{
    struct kafka_leaving *leaving = &self->leaving;
    leaving->items[leaving->count] = item;
    leaving->parts[leaving->count++] = item->part;
    rd_kafka_topic_partition_list_add(leaving->list, item->topic, item->index);
    kafka_lane_remove(&self->lanes[item->part->lane], item);
}

static void leaving_begin(struct kafka_leaving *leaving, size_t most)
{
    *leaving = (struct kafka_leaving){
        .list = rd_kafka_topic_partition_list_new((int)most),
        .items = weir_calloc(most, sizeof(struct kafka_partition *)),
        .parts = weir_calloc(most, sizeof(struct weir_partition *)),
    };
}

static void leaving_end(struct kafka_leaving *leaving)
{
    for (size_t i = 0; i < leaving->count; i++) {
        rd_kafka_queue_forward(leaving->items[i]->queue, NULL);
        rd_kafka_queue_destroy(leaving->items[i]->queue);
        weir_free(leaving->items[i]->topic);
        weir_free(leaving->items[i]);
    }
    weir_free(leaving->items);
    weir_free(leaving->parts);
    rd_kafka_topic_partition_list_destroy(leaving->list);
    *leaving = (struct kafka_leaving){0};
}

/* True: all that was taken away is given back, and the group told. */
static bool source_leave(struct kafka_source *self)
{
    struct kafka_leaving *leaving = &self->leaving;
    if (leaving->list == NULL) {
        return true;
    }
    bool lost = rd_kafka_assignment_lost(self->rk) != 0;
    if (self->stopping && leaving->count > 0) {
        weir_source_revoke(self->ctx, leaving->parts, leaving->count, lost);
    } else if (leaving->count > 0 &&
               !weir_source_release(self->ctx, leaving->parts, leaving->count, lost)) {
        return false;
    }
    rd_kafka_error_t *error = NULL;
    /* Else the group may have ended, and nobody answers. */
    if (leaving->count > 0 || !self->refused) {
        error = rd_kafka_incremental_unassign(self->rk, leaving->list);
    }
    if (leaving->returns && error == NULL && !self->stopping) {
        kafka_lookup_add(&self->lookup, leaving->list, true);
    }
    leaving_end(leaving);
    if (error != NULL) {
        (void)!kafka_fail(&self->failure, "cannot give partitions back", error);
        self->failure.status = WEIR_FENCED;
    }
    return true;
}

static void source_revoke(struct kafka_source *self, const rd_kafka_topic_partition_list_t *list)
{
    WEIR_ASSERT(self->leaving.list == NULL);
    leaving_begin(&self->leaving, (size_t)list->cnt);
    for (int i = 0; i < list->cnt; i++) {
        const char *topic = list->elems[i].topic;
        int32_t index = list->elems[i].partition;
        struct kafka_partition *item =
            kafka_lookup_remove(&self->lookup, topic, index) ? NULL : find_part(self, topic, index);
        if (item != NULL) {
            leaving_add(self, item);
        }
    }
    if (!source_leave(self)) {
        rd_kafka_yield(self->rk); /* what else there is comes when they are given back */
    }
}

static void on_rebalance(rd_kafka_t *rk,
                         rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list,
                         void *opaque)
{
    struct kafka_source *self = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && !self->stopping) {
        source_assign(self, list);
    } else if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        /* Too late to read them, but closing will give back what was assigned, and giving back
         * what never was waits for ever. */
        self->refused = true;
        rd_kafka_error_t *error = rd_kafka_incremental_assign(rk, list);
        if (error != NULL) {
            rd_kafka_error_destroy(error);
        }
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        source_revoke(self, list);
    } else {
        WEIR_LOG_WARN(self->ctx->log, "rebalance failed",
                      WEIR_F("detail", (const char *)rd_kafka_err2str(code)));
        rd_kafka_assign(rk, NULL);
    }
}

/* --- open and close; control -------------------------------------------------------------------*/

static weir_status source_new_consumer(struct kafka_source *self, struct weir_err *err)
{
    const struct kafka_source_config *config = self->config;
    struct weir_ctx *ctx = self->ctx;
    char session[24], fetch[24], queued[24], instance[256], receive[24];
    snprintf(session, sizeof(session), "%lld", (long long)config->session_timeout);
    snprintf(fetch, sizeof(fetch), "%lld", (long long)config->fetch_bytes);
    snprintf(receive, sizeof(receive), "%lld", (long long)(config->fetch_bytes + 100000000));
    /* Counted per queue, and each lane has one. */
    int64_t queued_kbytes = ctx->in_flight_bytes / 1024 / ctx->lanes;
    snprintf(queued, sizeof(queued), "%lld",
             (long long)(queued_kbytes < QUEUED_MIN_KBYTES ? QUEUED_MIN_KBYTES : queued_kbytes));
    const char *settings[] = {
        "group.id",
        config->group == NULL ? ctx->pipeline : config->group,
        "group.protocol",
        "classic",
        "partition.assignment.strategy",
        "cooperative-sticky",
        "session.timeout.ms",
        session,
        "enable.auto.commit",
        "false",
        "enable.auto.offset.store",
        "false",
        "auto.offset.reset",
        "error",
        "isolation.level",
        "read_committed",
        "check.crcs",
        "true",
        "enable.partition.eof",
        "true",
        "fetch.queue.backoff.ms",
        "5",
        "queued.max.messages.kbytes",
        queued,
        /* Per partition; small records cost more in bookkeeping than in bytes. */
        "queued.min.messages",
        "20000",
        "fetch.max.bytes",
        fetch,
        "receive.message.max.bytes",
        receive,
        ctx->instance == NULL ? NULL : "group.instance.id",
        instance,
        NULL,
    };
    if (ctx->instance != NULL) {
        snprintf(instance, sizeof(instance), "%s-%s", ctx->pipeline, ctx->instance);
        if (ctx->index > 0) {
            size_t size = strlen(instance);
            snprintf(instance + size, sizeof(instance) - size, "-%u", ctx->index);
        }
    }
    rd_kafka_conf_t *conf = kafka_conf_new(&config->connection, &self->client, settings, err);
    if (conf == NULL) {
        return err->status;
    }
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    self->rk = kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err);
    if (self->rk == NULL) {
        return err->status;
    }
    rd_kafka_poll_set_consumer(self->rk);
    return WEIR_OK;
}

static weir_status
kafka_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct kafka_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    self->client.log = ctx->log;
    weir_status status = source_new_consumer(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    kafka_lookup_init(&self->lookup, self->rk, ctx, self->config);
    kafka_commit_init(&self->commit, self->rk, ctx);
    const uint64_t one = 1;
    self->events = rd_kafka_queue_get_consumer(self->rk);
    rd_kafka_queue_io_event_enable(self->events, weir_control_wake_fd(ctx), &one, sizeof(one));
    self->lanes = weir_calloc(ctx->lanes, sizeof(*self->lanes));
    for (unsigned i = 0; i < ctx->lanes; i++) {
        kafka_lane_init(&self->lanes[i], self->rk, ctx, i);
    }
    return WEIR_OK;
}

static void kafka_source_stop(void *instance)
{
    struct kafka_source *self = instance;
    if (self->rk == NULL || self->stopping) {
        return;
    }
    self->stopping = true;
    kafka_watch_end(&self->watch);
    kafka_lookup_done(&self->lookup);
    (void)source_leave(self);
    rd_kafka_consumer_close(self->rk); /* revokes through the callback, then leaves the group */
    /* A consumer that failed for good closes without calling back. */
    for (unsigned i = 0; self->lanes != NULL && i < self->ctx->lanes; i++) {
        while (self->lanes[i].count > 0) {
            leaving_begin(&self->leaving, 1);
            leaving_add(self, self->lanes[i].parts[0]);
            weir_source_revoke(self->ctx, self->leaving.parts, 1, true);
            leaving_end(&self->leaving);
        }
    }
}

static void kafka_source_close(void *instance)
{
    struct kafka_source *self = instance;
    if (self->rk == NULL) {
        return;
    }
    kafka_source_stop(self);
    kafka_cutting_end(&self->cutting);
    for (unsigned i = 0; self->lanes != NULL && i < self->ctx->lanes; i++) {
        kafka_lane_done(&self->lanes[i]);
    }
    weir_free(self->lanes);
    kafka_commit_done(&self->commit);
    if (self->events != NULL) {
        rd_kafka_queue_io_event_enable(self->events, -1, NULL, 0);
        rd_kafka_queue_destroy(self->events);
    }
    rd_kafka_destroy(self->rk);
}

static weir_status kafka_source_start(void *instance, struct weir_err *err)
{
    struct kafka_source *self = instance;
    const struct kafka_source_config *config = self->config;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    if (config->topic != NULL) {
        rd_kafka_topic_partition_list_add(list, config->topic, RD_KAFKA_PARTITION_UA);
    }
    for (size_t i = 0; i < config->topics.count; i++) {
        rd_kafka_topic_partition_list_add(list, config->topics.items[i], RD_KAFKA_PARTITION_UA);
    }
    if (config->pattern != NULL) {
        char pattern[KAFKA_PATTERN_MAX];
        kafka_source_pattern(config->pattern, pattern);
        rd_kafka_topic_partition_list_add(list, pattern, RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(self->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return weir_fail(err, WEIR_CONFIG, "cannot subscribe: %s", rd_kafka_err2str(code));
    }
    return WEIR_OK;
}

/* --- serving events; control -------------------------------------------------------------------*/

/* librdkafka takes the forwarding off a partition's queue when it has stopped fetching, some time
 * after it was told to: for a while the queue is forwarded again and again, which moves along
 * whatever has gathered in it. */
static void source_forward_again(struct kafka_source *self, struct kafka_partition *item)
{
    if (item->forward_again > 0) {
        item->forward_again--;
        rd_kafka_queue_forward(item->queue, self->lanes[item->part->lane].queue);
    }
}

/* Data loss: the partition is given back, and taken over again when it is known where there is
 * something. librdkafka stopped fetching it: a seek would be refused. False: it is not given back
 * yet. */
static bool source_restart_part(struct kafka_source *self, struct kafka_partition *item)
{
    leaving_begin(&self->leaving, 1);
    leaving_add(self, item);
    self->leaving.returns = true;
    self->leaving.list->elems[0].offset =
        atomic_load_explicit(&item->lost_at, memory_order_relaxed);
    return source_leave(self);
}

/* What was read before the loss is written and committed first. */
static bool is_to_restart(const struct kafka_partition *item)
{
    int64_t lost_at = atomic_load_explicit(&item->lost_at, memory_order_relaxed);
    return lost_at >= 0 && item->part->committed >= lost_at;
}

static struct kafka_partition *find_part_to_restart(struct kafka_source *self)
{
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        for (size_t k = 0; k < self->lanes[i].count; k++) {
            struct kafka_partition *item = self->lanes[i].parts[k];
            if (is_to_restart(item)) {
                return item;
            }
        }
    }
    return NULL;
}

static void source_restart_parts(struct kafka_source *self)
{
    struct kafka_partition *item;
    while (self->failure.status == WEIR_OK && (item = find_part_to_restart(self)) != NULL) {
        if (!source_restart_part(self, item)) {
            return;
        }
    }
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        for (size_t k = 0; k < self->lanes[i].count; k++) {
            source_forward_again(self, self->lanes[i].parts[k]);
        }
    }
}

/* What was read of the new topic until this was noticed is in the output; before that is what was
 * not read. */
static void source_watch(struct kafka_source *self)
{
    struct kafka_partition *item;
    kafka_watch_poll(&self->watch, self->rk, self->lanes, self->ctx->lanes, &item);
    if (item == NULL) {
        return;
    }
    if (self->config->on_data_loss == KAFKA_LOSS_EARLIEST) {
        WEIR_LOG_ERROR(
            self->ctx->log,
            "a topic was deleted and made again while it was read; going on where it was",
            WEIR_F("topic", (const char *)item->topic), WEIR_F("partition", item->index),
            WEIR_F("offset", item->part->committed));
        return;
    }
    (void)!weir_fail(&self->failure, WEIR_DATA_LOSS,
                     "%s was deleted and made again: of the new topic, records before the old "
                     "position were not read",
                     item->topic);
    weir_err_hint(&self->failure,
                  "To read all of it, set the positions to its beginning (weir positions set).");
}

/* Sooner again while one is not known yet: how long an epoch lasts depends on how much waits. */
static void source_note_ends(struct kafka_source *self)
{
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    if (now_ns < self->lag_due_ns) {
        return;
    }
    size_t count = 0, told = 0;
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        for (size_t k = 0; k < self->lanes[i].count; k++) {
            struct kafka_partition *item = self->lanes[i].parts[k];
            if (item->begun_anew) { /* however late librdkafka was */
                rd_kafka_queue_forward(item->queue, self->lanes[i].queue);
            }
            int64_t low = -1, high = -1;
            if (rd_kafka_get_watermark_offsets(self->rk, item->topic, item->index, &low, &high) ==
                    RD_KAFKA_RESP_ERR_NO_ERROR &&
                high > atomic_load_explicit(&item->part->end, memory_order_relaxed)) {
                atomic_store_explicit(&item->part->end, high, memory_order_relaxed);
            }
            count++;
            told += high >= 0;
        }
    }
    bool all = count > 0 && told == count;
    self->lag_due_ns = now_ns + (int64_t)(all ? LAG_EVERY_MS : LAG_SOON_MS) * 1000000;
}

/* What is committed of an exchange's topic nobody reads again. */
static void source_cut(struct kafka_source *self)
{
    if (kafka_cutting_is_due(&self->cutting, self->ctx, self->rk)) {
        for (unsigned i = 0; i < self->ctx->lanes; i++) {
            for (size_t k = 0; k < self->lanes[i].count; k++) {
                struct kafka_partition *item = self->lanes[i].parts[k];
                kafka_cutting_add(&self->cutting, item->part, &item->cut);
            }
        }
        kafka_cutting_begin(&self->cutting, self->rk);
    }
}

static weir_status kafka_source_poll(void *instance, struct weir_err *err)
{
    struct kafka_source *self = instance;
    weir_status status = WEIR_OK;
    rd_kafka_message_t *message;
    kafka_client_tend(&self->client, self->rk);
    if (!source_leave(self)) {
        return WEIR_OK;
    }
    while (status == WEIR_OK && (message = rd_kafka_consumer_poll(self->rk, 0)) != NULL) {
        if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status = kafka_judge(self->rk, self->ctx->log, message, err);
        }
        rd_kafka_message_destroy(message);
    }
    if (self->leaving.list != NULL) {
        return status;
    }
    source_take_found(self);
    weir_source_await(self->ctx, (size_t)self->lookup.wanted->cnt);
    if (status == WEIR_OK && self->failure.status != WEIR_OK) {
        *err = self->failure;
        status = err->status;
        self->failure = (struct weir_err){0};
    }
    if (status == WEIR_OK) {
        status = kafka_client_refused(&self->client, self->rk, err);
    }
    source_restart_parts(self);
    source_note_ends(self);
    source_watch(self);
    if (self->config->is_exchange) {
        source_cut(self);
    }
    return status;
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static weir_status kafka_source_read(
    void *instance, unsigned index, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct kafka_source *self = instance;
    return kafka_lane_read(&self->lanes[index], intake, max, err);
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status kafka_source_seek(void *instance,
                                     struct weir_partition *const *items,
                                     size_t count,
                                     struct weir_err *err)
{
    struct kafka_source *self = instance;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        struct kafka_partition *item = items[i]->source_data;
        if (item->next != items[i]->read) {
            rd_kafka_topic_partition_list_add(list, item->topic, item->index)->offset =
                items[i]->read;
            item->next = items[i]->read;
        }
    }
    rd_kafka_error_t *error = NULL;
    if (list->cnt > 0) {
        error = rd_kafka_seek_partitions(self->rk, list, SEEK_TIMEOUT_MS);
    }
    weir_status status = WEIR_OK;
    if (error != NULL) {
        (void)!kafka_fail(err, "cannot go back to the last commit", error);
        err->status = status = WEIR_FENCED;
    }
    for (int i = 0; i < list->cnt && status == WEIR_OK; i++) {
        if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            status =
                weir_fail(err, WEIR_FENCED, "%s, partition %d: cannot go back to offset %lld: %s",
                          list->elems[i].topic, list->elems[i].partition,
                          (long long)list->elems[i].offset, rd_kafka_err2str(list->elems[i].err));
        }
    }
    rd_kafka_topic_partition_list_destroy(list);
    return status;
}

static weir_status kafka_source_commit(void *instance,
                                       struct weir_partition *const *items,
                                       size_t count,
                                       struct weir_err *err)
{
    struct kafka_source *self = instance;
    return kafka_commit_positions(&self->commit, items, count, err);
}

/* --- batches; lane -----------------------------------------------------------------------------*/

static void release_messages(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_destroy(refs[i]);
    }
}

static weir_status
read_headers(struct weir_record *record, struct weir_arena *arena, struct weir_err *err)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(record->source_ref, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return WEIR_OK;
    }
    size_t count = rd_kafka_header_cnt(headers);
    struct weir_header *list = weir_arena_calloc(arena, count, sizeof(*list));
    if (list == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the record's headers need too much memory");
    }
    for (size_t i = 0; i < count; i++) {
        const char *name;
        const void *value;
        size_t size;
        if (rd_kafka_header_get_all(headers, i, &name, &value, &size) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            break;
        }
        list[i] = (struct weir_header){weir_slice_of(name), {value, size}};
        record->header_count++;
    }
    record->headers = list;
    return WEIR_OK;
}

static const struct weir_batch_origin kafka_origin = {
    .release = release_messages,
    .read_headers = read_headers,
};

static weir_status
kafka_source_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    const struct kafka_source_config *self = config;
    return kafka_domain_name(&self->connection, connect, out, err);
}

static const char *kafka_source_reads_several(const void *config)
{
    const struct kafka_source_config *self = config;
    return self->topics.count > 1 ? "topics" : NULL;
}

static weir_status kafka_source_check(const void *config, struct weir_err *err)
{
    const struct kafka_source_config *self = config;
    return kafka_connection_check(&self->connection, err);
}

static weir_status
kafka_source_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    const struct kafka_source_config *self = config;
    const struct kafka_probe probe = {
        .connection = &self->connection,
        .topics = self->topic != NULL ? &self->topic : self->topics.items,
        .topic_count = self->topic != NULL ? 1 : self->topics.count,
        .field = self->topic != NULL ? "topic" : "topics",
        .group = self->group != NULL ? self->group : pipeline,
    };
    return kafka_probe_try(&probe, err);
}

static const struct weir_source_ops kafka_source_ops = {
    .start = kafka_source_start,
    .poll = kafka_source_poll,
    .read = kafka_source_read,
    .seek = kafka_source_seek,
    .commit = kafka_source_commit,
    .stop = kafka_source_stop,
    .origin = &kafka_origin,
};

extern const struct weir_domain_ops kafka_transaction_ops;

const struct weir_component weir_component_kafka_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "kafka",
            .summary = "Reads topics of a Kafka cluster as a member of a consumer group.",
            .help = "Partitions are shared among the processes of the group. Records keep key, "
                    "headers and timestamp; a tombstone is null. Positions are committed when the "
                    "outputs are safe, with a Kafka sink in the same transaction.",
            .example = "kafka: {brokers: localhost:9092, topic: orders, start: earliest}",
            .fields = kafka_source_fields,
            .rules = kafka_source_rules,
            .config_size = sizeof(struct kafka_source_config),
        },
    .self_size = sizeof(struct kafka_source),
    .leases = &kafka_lease_ops,
    .positions = WEIR_POSITIONS_GROUP,
    .deterministic = true,
    .needs = KAFKA_NEEDS,
    .domain = &kafka_transaction_ops,
    .exchange = &kafka_exchange_ops,
    .open = kafka_source_open,
    .close = kafka_source_close,
    .domain_name = kafka_source_domain,
    .check = kafka_source_check,
    .reads_several = kafka_source_reads_several,
    .probe = kafka_source_probe,
    .ops = {.source = &kafka_source_ops},
    .position_ops = &kafka_positions_ops,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading by position: the stream, or each partition of it, is read in order by the process that
 * has its lease, from the position that the last commit left (nats_log.h). Nothing is acknowledged
 * to the server: a consumer of this process's own begins at the position, and a new one takes its
 * place whenever something may have been missed.
 *
 * A reader (nats_reader.h), a thread per partition that this process has, reads ahead; a message
 * stays in its window until it is committed, an abort reads it from there.
 *
 * Whatever waits for an answer of the server is an errand of the desk (base/desk.h): taking a
 * partition over, committing, cutting. Control asks what became of it. A log is the desk's while an
 * errand has to do with it; then the errand's results are control's. Only when state is restored
 * does control itself use the desk's connection, while the desk is idle.
 *
 * A position is the sequence of the next message to read.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/desk.h"
#include "base/wake.h"
#include "nats_lease.h"
#include "nats_positioned.h"
#include "nats_reader.h"
#include "nats_record.h"
#include "nats_sink.h"
#include "nats_source.h"
#include "source/leased.h"

enum { CUT_COMMITS = 1000, FIND_TIMEOUT_MS = 5000 };
enum { DESK_MS = 200, LOOK_MS = 50 };
enum { BATCH_RECORDS = 800, SHRINK = 8 }; /* leaves room for the frames of the state */

struct nats_positioned;

/* A partition is being taken over by the tenure of that token. */
struct adoption {
    struct weir_errand errand; /* first */
    struct nats_positioned *source;
    struct nats_part *part;
    uint64_t token;
    weir_status status;
    struct weir_err err;
};

/* What is before that place of the partition's log is not needed any more. */
struct cut {
    struct weir_errand errand; /* first */
    struct nats_positioned *source;
    struct nats_part *part;
    uint64_t place;
};

/* Of a commit, what is one partition's. */
struct share {
    struct nats_part *part;
    int64_t closing;
    size_t messages, timed; /* what went with it */
    bool has_left;          /* control: whoever has the partition now is another tenure */
    weir_status status;
    struct weir_err err;
};

struct commit {
    struct weir_errand errand; /* first */
    struct nats_positioned *source;
    struct share *shares; /* as many as there are partitions */
    size_t count;
    bool is_asked; /* it was given, and control has not looked at what became of it */
    bool is_void;  /* nobody asks any more: its epoch was aborted, or a partition has left */
};

struct nats_part {
    struct weir_leased_part base;   /* first */
    char subject[NATS_SUBJECT_MAX]; /* to read; empty: all of the stream */
    const char *filter;
    char topic[NATS_TOPIC_MAX];
    struct nats_log log;
    struct nats_log home; /* with a target: the log in weir's own stream, which names it */

    pthread_mutex_t lock; /* guards what follows against lanes that look while control changes it */
    bool is_read;
    unsigned lane;
    struct nats_reader *reader; /* NULL unless it is this process's */
    /* With a target: as many records may be delivered and not committed as fit into one batch. */
    int64_t committed, records_max;
    int64_t next; /* lane, or paused: number in the window of what is delivered next */

    struct adoption adoption;
    struct cut cut;
};

struct nats_positioned {
    struct weir_leased leased; /* first */
    const struct nats_source_config *config;
    struct weir_ctx *ctx;
    struct nats_part *parts;
    uint32_t part_count;
    uint64_t nonce;
    bool is_checked; /* the streams are there, and keep what positions need */
    char name[NATS_NAME_MAX + 1], stream[NATS_NAME_MAX + 8];
    struct nats_lease_medium medium;
    struct weir_desk desk;
    struct nats_line line; /* the desk's; control's while the desk is idle */
    struct commit commit;
    struct nats_reader *leaving; /* readers whose partitions are gone, and whose threads are not */
    struct nats_target
        *target; /* of the sinks whose outputs are part of the commits; may be NULL */
};

/* --- opening; control --------------------------------------------------------------------------*/

static const struct weir_leased_ops leased_ops;
static void run_adoption(struct weir_errand *errand);
static void run_cut(struct weir_errand *errand);
static void run_commit(struct weir_errand *errand);

static void part_init(struct nats_positioned *self, struct nats_part *part, int32_t index)
{
    const struct nats_source_config *config = self->config;
    part->base.index = index;
    part->base.topic = part->topic;
    pthread_mutex_init(&part->lock, NULL);
    nats_source_partition(config, index, part->subject, part->topic);
    part->filter = part->subject;
    nats_log_name(&part->log, self->name, config->stream, index, self->stream);
    nats_log_name(&part->home, self->name, config->stream, index, self->stream);
    part->adoption =
        (struct adoption){.errand = {.run = run_adoption}, .source = self, .part = part};
    part->cut = (struct cut){.errand = {.run = run_cut}, .source = self, .part = part};
}

static weir_status
positioned_open(void *instance, const void *config_of, struct weir_ctx *ctx, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    const struct nats_source_config *config = config_of;
    self->config = config;
    self->ctx = ctx;
    nats_source_durable(config, ctx->pipeline, self->name);
    self->part_count = config->partitions > 0 ? (uint32_t)config->partitions : 1;
    self->parts = weir_calloc(self->part_count, sizeof(*self->parts));
    for (uint32_t i = 0; i < self->part_count; i++) {
        part_init(self, &self->parts[i], (int32_t)i);
    }
    self->commit = (struct commit){.errand = {.run = run_commit}, .source = self};
    self->commit.shares = weir_calloc(self->part_count, sizeof(*self->commit.shares));
    nats_line_init(&self->line);
    weir_ctx_random(ctx, &self->nonce, sizeof(self->nonce));
    int64_t ttl_ms = config->lease > 0 ? config->lease : WEIR_LEASED_TTL_MS;
    self->medium = (struct nats_lease_medium){.address = &config->address,
                                              .clock = ctx->clock,
                                              .nonce = self->nonce,
                                              .ttl_ms = ttl_ms,
                                              .count = self->part_count};
    nats_lease_names(&self->medium, self->name, config->stream);
    nats_lease_medium_init(&self->medium);
    const struct weir_leased_settings settings = {.ops = &leased_ops,
                                                  .ctx = ctx,
                                                  .parts = self->parts,
                                                  .part_size = sizeof(*self->parts),
                                                  .part_count = self->part_count,
                                                  .medium = &nats_lease_medium,
                                                  .medium_self = &self->medium,
                                                  .nonce = self->nonce,
                                                  .ttl_ms = ttl_ms};
    return weir_leased_init(&self->leased, &settings, err);
}

/* What a server does not answer in a moment is given up: what became of it the next start finds
 * out. */
static void desk_end(struct nats_positioned *self)
{
    if (!weir_desk_stop(&self->desk, DESK_MS)) {
        nats_line_cut(&self->line);
        while (!weir_desk_stop(&self->desk, DESK_MS)) {
        }
    }
}

static void positioned_close(void *instance)
{
    struct nats_positioned *self = instance;
    desk_end(self);
    for (uint32_t i = 0; i < self->part_count; i++) {
        nats_log_forget(&self->parts[i].log);
        nats_batch_done(&self->parts[i].log.outputs);
        pthread_mutex_destroy(&self->parts[i].lock);
    }
    weir_leased_done(&self->leased);
    nats_lease_medium_done(&self->medium);
    nats_line_done(&self->line);
    weir_free(self->commit.shares);
    weir_free(self->parts);
}

/* A connection for questions and commits; NULL and err on failure. Desk, or control while that is
 * idle. */
static struct nats_client *positioned_client(struct nats_positioned *self, struct weir_err *err)
{
    struct nats_line *line = &self->line;
    if (line->client != NULL && natsConnection_IsClosed(line->client->connection)) {
        nats_line_set(line, NULL);
    }
    if (line->client == NULL) {
        sigset_t all, before; /* the library starts threads */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        (void)!nats_line_open(line, &self->config->address, "weir positions", err);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        char subject[NATS_SUBJECT_MAX];
        snprintf(subject, sizeof(subject), "weir.%s.task", self->name);
        struct nats_target *target = self->target;
        for (; target != NULL && line->client != NULL; target = target->next) {
            if (nats_target_ensure(target, line->client, subject, err) != WEIR_OK) {
                nats_line_set(line, NULL);
            }
        }
    }
    return line->client;
}

/* A frame of the state is one message of the stream that the log lies in. */
static weir_status
fit_frames(struct nats_positioned *self, size_t payload, const char *stream, struct weir_err *err)
{
    size_t room = payload > NATS_FRAME_HEAD ? payload - NATS_FRAME_HEAD : 0;
    self->leased.frame_bytes_max = room < NATS_FRAME_BYTES_MAX ? room : NATS_FRAME_BYTES_MAX;
    if (!self->ctx->keeps_state || room >= NATS_FRAME_BYTES_MIN) {
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_CONFIG,
                  "the messages of the stream %s have room for %zu bytes, which is "
                  "too little for state",
                  stream, payload);
    weir_err_hint(err, "Raise the server's max_payload and the stream's max_msg_size to 64 KiB or "
                       "more.");
    return status;
}

/* The stream that is read keeps what was read; and weir's own is there. */
static weir_status check_streams(struct nats_positioned *self, struct weir_err *err)
{
    if (self->is_checked) {
        return WEIR_OK;
    }
    const struct nats_stream_spec spec = {.name = self->config->stream,
                                          .subjects = self->config->subjects,
                                          .manage = (enum nats_manage)self->config->manage};
    struct nats_client *client = positioned_client(self, err);
    if (client == NULL) {
        return err->status;
    }
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
        struct weir_slice kept = weir_value_text(weir_value_get(config, WEIR_SLICE("retention")));
        if (!weir_slice_equal(kept, WEIR_SLICE("limits"))) {
            status =
                weir_fail(err, WEIR_CONFIG,
                          "the stream %s has the retention %.*s, and cannot be read by position",
                          spec.name, kept.size < 20 ? (int)kept.size : 20, kept.data);
            weir_err_hint(err,
                          "Positions need a stream that keeps what was read (`limits`). Without "
                          "state, write `mode: shared`.");
        }
    }
    weir_arena_done(&arena);
    char subjects[NATS_NAME_MAX + 20];
    snprintf(subjects, sizeof(subjects), "weir.%s.log.>", self->name);
    size_t payload = 0;
    status = status == WEIR_OK ? nats_log_make_stream(client, self->stream, subjects, &payload, err)
                               : status;
    if (status == WEIR_OK && self->target != NULL) {
        status = fit_frames(self, self->target->payload_max, self->target->spec.name, err);
    } else if (status == WEIR_OK) {
        status = fit_frames(self, payload, self->stream, err);
    }
    self->is_checked = status == WEIR_OK;
    return status;
}

/* A server that is away is waited for, and asked before the first partition is taken. */
static weir_status positioned_start(void *instance, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    weir_status status = check_streams(self, err);
    if (weir_status_class(status) == WEIR_CLASS_UNAVAILABLE) {
        WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(err));
        weir_err_clear(err);
        status = WEIR_OK;
    }
    if (status == WEIR_OK) {
        status = weir_desk_start(&self->desk, weir_control_wake_fd(self->ctx), err);
    }
    return status == WEIR_OK ? weir_leased_start(instance, err) : status;
}

/* Readers that have come to their end. */
static void leaving_free(struct nats_positioned *self)
{
    struct nats_reader **at = &self->leaving;
    while (*at != NULL) {
        struct nats_reader *reader = *at;
        if (nats_reader_has_left(reader, 0)) {
            *at = reader->next_leaving;
            nats_reader_done(reader);
            weir_free(reader);
        } else {
            at = &reader->next_leaving;
        }
    }
}

static weir_status positioned_poll(void *instance, struct weir_err *err)
{
    leaving_free(instance);
    return weir_leased_poll(instance, err);
}

static void positioned_stop(void *instance)
{
    struct nats_positioned *self = instance;
    if (weir_ctx_must_hurry(self->ctx)) { /* from now on nothing connects any more */
        nats_line_cut(&self->line);
    }
    weir_leased_stop(self);
    desk_end(self);
    while (self->leaving != NULL) {
        (void)nats_reader_has_left(self->leaving, LOOK_MS);
        leaving_free(self);
    }
}

/* --- where reading begins; control -------------------------------------------------------------*/

/* The sequence of the first message of that time or later. */
static weir_status find_time(struct nats_positioned *self,
                             struct nats_client *client,
                             int64_t end,
                             int64_t *ret,
                             struct weir_err *err)
{
    const struct nats_consumer_spec spec = {.stream = self->config->stream,
                                            .start = self->config->start};
    char name[NATS_NAME_MAX + 1], subject[2 * NATS_NAME_MAX + 60], reply[NATS_INBOX_MAX + 8];
    natsMsg *message = NULL;
    *ret = end;
    weir_status status = nats_consumer_ordered(client, &spec, name, NULL, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", spec.stream, name);
    snprintf(reply, sizeof(reply), "%stime", client->prefix);
    natsStatus code = natsConnection_PublishRequestString(client->connection, subject, reply,
                                                          "{\"batch\":1,\"no_wait\":true}");
    bool is_answered = false;
    while (code == NATS_OK && !is_answered) {
        struct nats_delivery delivery;
        code = natsSubscription_NextMsg(&message, client->inbox, FIND_TIMEOUT_MS);
        if (code == NATS_OK && nats_delivery_is_of(natsMsg_GetReply(message), name) &&
            nats_delivery_parse(natsMsg_GetReply(message), &delivery)) {
            *ret = (int64_t)delivery.sequence;
            is_answered = true;
        } else if (code == NATS_OK) { /* there is none; else an earlier one */
            is_answered = strcmp(natsMsg_GetSubject(message), reply) == 0;
        }
        natsMsg_Destroy(message);
        message = NULL;
    }
    return code == NATS_OK ? WEIR_OK : nats_fail(err, spec.stream, code);
}

/* Of a partition that has no position yet. */
static weir_status find_start(struct nats_positioned *self,
                              struct nats_client *client,
                              int64_t *ret,
                              struct weir_err *err)
{
    const struct nats_source_config *config = self->config;
    const struct nats_stream_spec spec = {.name = config->stream, .manage = NATS_MANAGE_BIND};
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value state = weir_value_get(info, WEIR_SLICE("state"));
        int64_t first = nats_api_int(state, "first_seq", 1),
                last = nats_api_int(state, "last_seq", 0);
        first = first > 0 ? first : 1;
        if (config->start_sequence > 0) {
            *ret = config->start_sequence > first ? config->start_sequence : first;
        } else if (config->start.word == NATS_START_EARLIEST) {
            *ret = first;
        } else if (config->start.word == NATS_START_LATEST) {
            *ret = last + 1;
        } else if (config->start.word == NATS_START_LAST) {
            *ret = last > first ? last : first;
        } else {
            status = find_time(self, client, last + 1, ret, err);
        }
    }
    weir_arena_done(&arena);
    return status;
}

/* --- ownership; control ------------------------------------------------------------------------*/

static void run_adoption(struct weir_errand *errand)
{
    struct adoption *adoption = (struct adoption *)errand;
    struct nats_positioned *self = adoption->source;
    struct nats_part *part = adoption->part;
    struct nats_log *log = &part->log;
    struct weir_err *err = &adoption->err;
    int64_t before = -1;  /* where it stood in weir's own stream */
    nats_log_forget(log); /* an earlier tenure's */
    weir_status status = check_streams(self, err);
    struct nats_client *client = status == WEIR_OK ? positioned_client(self, err) : NULL;
    status = status == WEIR_OK && client == NULL ? err->status : status;
    if (status == WEIR_OK && self->target != NULL) {
        log->nonce = self->nonce;
        log->token = adoption->token;
        status = nats_log_hand_over(&part->home, client, log, self->ctx->keeps_state, &before, err);
    }
    status =
        status == WEIR_OK ? nats_log_adopt(log, client, self->nonce, adoption->token, err) : status;
    if (status == WEIR_OK && log->position < 0 && before >= 0) {
        status = nats_log_commit(log, client, before, err);
    } else if (status == WEIR_OK && log->position < 0) {
        /* Made durable at once: what `latest` or a time means must not change with a restart. */
        status = find_start(self, client, &log->position, err);
        status = status == WEIR_OK ? nats_log_commit(log, client, log->position, err) : status;
    }
    adoption->status = status;
}

static weir_status part_adopt(void *instance,
                              struct weir_leased_part *base,
                              uint64_t token,
                              int64_t *ret_position,
                              struct weir_err *err)
{
    struct nats_positioned *self = instance;
    struct nats_part *part = (struct nats_part *)base;
    struct adoption *adoption = &part->adoption;
    int state = atomic_load_explicit(&adoption->errand.state, memory_order_acquire);
    if (state == WEIR_ERRAND_DONE && adoption->token == token) {
        if (!weir_desk_is_idle(&self->desk)) {
            return WEIR_AGAIN; /* its state is restored over the same connection */
        }
        adoption->errand.state = WEIR_ERRAND_NONE;
        *ret_position = part->log.position;
        *err = adoption->err;
        return adoption->status;
    }
    if (state != WEIR_ERRAND_GIVEN && weir_desk_is_idle(&self->desk)) {
        adoption->token = token;
        adoption->err = (struct weir_err){0};
        weir_desk_give(&self->desk, &adoption->errand);
    }
    return WEIR_AGAIN;
}

static weir_status
part_begin(void *instance, struct weir_leased_part *base, int64_t position, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    struct nats_part *part = (struct nats_part *)base;
    const struct nats_source_config *config = self->config;
    WEIR_ASSERT(part->reader == NULL);
    struct nats_reader *reader = weir_calloc(1, sizeof(*reader));
    *reader = (struct nats_reader){
        .ctx = self->ctx,
        .address = &config->address,
        .stream = {.name = config->stream, .manage = NATS_MANAGE_BIND},
        .consumer = {.stream = config->stream,
                     .filters = {&part->filter, part->subject[0] != '\0' ? 1 : 0}},
        .is_ordered = true,
        .skips_lost = config->on_data_loss == NATS_LOSS_SKIP,
        .start_sequence = (uint64_t)config->start_sequence,
        .count = config->count,
        .budget = (size_t)self->ctx->in_flight_bytes / self->part_count,
        .lane = base->part->lane,
        .behind = -1,
        .next = (uint64_t)position,
    };
    nats_reader_init(reader);
    pthread_mutex_lock(&part->lock);
    part->reader = reader;
    part->next = part->committed = 0;
    part->records_max = self->target == NULL ? INT64_MAX : BATCH_RECORDS;
    part->lane = base->part->lane;
    part->is_read = true;
    pthread_mutex_unlock(&part->lock);
    return nats_reader_start(reader, err);
}

static void part_pause(void *instance, struct weir_leased_part *base)
{
    (void)instance;
    struct nats_part *part = (struct nats_part *)base;
    pthread_mutex_lock(&part->lock);
    part->is_read = false;
    pthread_mutex_unlock(&part->lock);
    if (part->reader != NULL) {
        nats_reader_drain(part->reader);
    }
}

/* A log that is being adopted or committed is the desk's, and an adoption forgets it anyway. */
static void part_forget(void *instance, struct weir_leased_part *base)
{
    const struct nats_positioned *self = instance;
    if (base->part != NULL && !self->commit.is_asked) {
        nats_log_forget(&((struct nats_part *)base)->log);
    }
}

/* What its log has of the open epoch is forgotten when it is adopted again: it may be the desk's
 * still. */
static void part_end(void *instance, struct weir_leased_part *base)
{
    struct nats_positioned *self = instance;
    struct nats_part *part = (struct nats_part *)base;
    struct commit *commit = &self->commit;
    commit->is_void = commit->is_asked;
    for (size_t i = 0; i < commit->count; i++) {
        struct share *share = &commit->shares[i];
        share->has_left = share->has_left || share->part == part;
    }
    if (part->reader != NULL) {
        nats_reader_leave(part->reader);
        part->reader->next_leaving = self->leaving;
        self->leaving = part->reader;
        part->reader = NULL;
    }
}

static weir_status part_serve(void *instance, struct weir_leased_part *base, struct weir_err *err)
{
    (void)instance;
    struct nats_reader *reader = ((struct nats_part *)base)->reader;
    if (reader == NULL) { /* its state is not of its position, and this is the end */
        return WEIR_OK;
    }
    int64_t behind = atomic_load_explicit(&reader->behind, memory_order_relaxed);
    atomic_store_explicit(&base->part->end, behind, memory_order_relaxed);
    return nats_reader_failed(reader, err);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

static weir_status positioned_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct nats_positioned *self = instance;
    size_t total = 0;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct nats_part *part = &self->parts[i];
        size_t got = 1;
        while (total < max && got > 0) {
            pthread_mutex_lock(&part->lock);
            bool is_ours = part->is_read && part->lane == lane;
            int64_t open = is_ours ? part->next - part->committed : 0;
            int64_t room = is_ours ? part->records_max - open : 0;
            struct nats_chunk *chunk =
                room > 0 ? nats_window_at(&part->reader->window, part->next) : NULL;
            pthread_mutex_unlock(&part->lock);
            if (open > 0 && room <= open) {
                weir_ctx_close_epoch(self->ctx);
            }
            if (chunk == NULL) {
                break;
            }
            size_t want = (int64_t)(max - total) < room ? max - total : (size_t)room;
            got = nats_chunk_deliver(chunk, &self->config->key, intake, part->base.part,
                                     &part->next, true, want);
            total += got;
            nats_chunk_unref(chunk);
        }
    }
    return total > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status positioned_seek(void *instance,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   struct weir_err *err)
{
    (void)err;
    struct nats_positioned *self = instance;
    self->commit.is_void = self->commit.is_asked;
    for (size_t i = 0; i < count; i++) {
        struct nats_part *part = items[i]->source_data;
        if (part->reader != NULL) { /* else its state is not of its position, and this is the end */
            part->next = nats_window_find(&part->reader->window, (uint64_t)items[i]->read);
        }
    }
    return WEIR_OK;
}

/* As many records as would come with as many messages as fit, were they all like these. */
static void part_measure(struct nats_part *part, int64_t records, size_t messages, int64_t limit)
{
    int64_t fitting = records * BATCH_RECORDS / (messages > 0 ? (int64_t)messages : 1);
    fitting = fitting < limit ? fitting : limit;
    fitting = fitting < BATCH_RECORDS ? fitting : BATCH_RECORDS;
    part->records_max = fitting > 1 ? fitting : 1;
}

/* Too many messages for one batch: nothing was sent, and less will be tried; with a single record
 * it is that record's failure. What time has made is no record's: alone too much, it never fits. */
static weir_status part_shrink(
    struct nats_part *part, int64_t records, size_t messages, size_t timed, struct weir_err *err)
{
    if (timed >= NATS_BATCH_MAX || records == 0) {
        weir_err_hint(
            err, "They come of time passing, not of a record (`emit: {every: …}` shows all "
                 "keys of a partition at once). More `partitions` have fewer keys each, `emit: "
                 "{count: …}` shows them one by one, and without `atomic` they can be written.");
        return err->status = WEIR_FATAL;
    }
    if (records == 1 && timed == 0) {
        return err->status;
    }
    part_measure(part, records, messages, records / SHRINK); /* it may be one that has most */
    return err->status = WEIR_UNAVAILABLE;
}

/* Without state nothing is cut by snapshots. */
static void log_tidy(struct nats_positioned *self, struct nats_log *log, struct nats_client *client)
{
    struct weir_err err = {0};
    if (!self->ctx->keeps_state && log->commits >= CUT_COMMITS &&
        nats_log_cut(log, client, log->last, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the log of positions", WEIR_F_ERR(&err));
    }
}

static void run_commit(struct weir_errand *errand)
{
    struct commit *commit = (struct commit *)errand;
    struct nats_positioned *self = commit->source;
    const struct share *unsent = NULL; /* nobody was reached: the others need not find that out */
    for (size_t i = 0; i < commit->count; i++) {
        struct share *share = &commit->shares[i];
        struct nats_log *log = &share->part->log;
        if (unsent != NULL) {
            share->status = unsent->status;
            share->err = unsent->err;
            continue;
        }
        struct nats_client *client = positioned_client(self, &share->err);
        unsent = client == NULL ? share : NULL;
        share->status = client == NULL ? share->err.status
                                       : nats_log_commit(log, client, share->closing, &share->err);
        if (share->status == WEIR_OK) {
            log_tidy(self, log, client);
        } else if (share->status != WEIR_TOO_LARGE || self->target == NULL) {
            nats_line_set(&self->line, NULL);
        }
    }
}

/* False: there is nothing to commit. */
static bool
commit_give(struct nats_positioned *self, struct weir_partition *const *items, size_t count)
{
    struct commit *commit = &self->commit;
    commit->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct nats_part *part = items[i]->source_data;
        const struct nats_log *log = &part->log;
        bool has_moved =
            items[i]->closing != log->position || log->frame_count > 0 || log->outputs.count > 0;
        if (has_moved && part->reader != NULL) {
            commit->shares[commit->count++] =
                (struct share){.part = part,
                               .closing = items[i]->closing,
                               .messages = log->outputs.count + log->frame_count,
                               .timed = log->timed};
        }
    }
    commit->is_asked = commit->count > 0;
    if (commit->is_asked) {
        weir_desk_give(&self->desk, &commit->errand);
    }
    return commit->is_asked;
}

/* What became of it is known. WEIR_AGAIN: not yet. */
static weir_status commit_await(struct commit *commit)
{
    if (atomic_load_explicit(&commit->errand.state, memory_order_acquire) != WEIR_ERRAND_DONE) {
        return WEIR_AGAIN;
    }
    commit->errand.state = WEIR_ERRAND_NONE;
    commit->is_asked = false;
    for (size_t i = 0; i < commit->count && commit->is_void; i++) {
        struct share *share = &commit->shares[i];
        share->part->base.is_over =
            share->part->base.is_over || (share->status != WEIR_OK && !share->has_left);
    }
    return WEIR_OK;
}

/* It stands up to there; share: what this commit had of it, NULL: nothing. */
static void part_stands(struct nats_positioned *self,
                        struct nats_part *part,
                        int64_t closing,
                        const struct share *share)
{
    int64_t number = nats_window_find(&part->reader->window, (uint64_t)closing);
    pthread_mutex_lock(&part->lock);
    int64_t records = number - part->committed;
    part->committed = number;
    if (self->target != NULL && share != NULL && records > 0) {
        part_measure(part, records, share->messages, 2 * part->records_max);
    }
    pthread_mutex_unlock(&part->lock);
    if (share != NULL || records > 0) {
        nats_window_cut(&part->reader->window, number);
        weir_wake(weir_lane_wake_fd(self->ctx, part->lane)); /* there is room again */
    }
}

static weir_status
part_failed(struct nats_positioned *self, struct share *share, struct weir_err *err)
{
    struct nats_part *part = share->part;
    *err = share->err;
    if (share->status != WEIR_TOO_LARGE || self->target == NULL) {
        part->base.is_over = true; /* what stands is found out when it is taken anew */
        return share->status;
    }
    int64_t number = nats_window_find(&part->reader->window, (uint64_t)share->closing);
    pthread_mutex_lock(&part->lock);
    weir_status status =
        part_shrink(part, number - part->committed, share->messages, share->timed, err);
    pthread_mutex_unlock(&part->lock);
    return status;
}

static weir_status parts_commit(void *instance,
                                struct weir_partition *const *items,
                                size_t count,
                                bool *stands,
                                int64_t timeout_ms,
                                struct weir_err *err)
{
    (void)timeout_ms;
    struct nats_positioned *self = instance;
    struct commit *commit = &self->commit;
    bool was_asked = commit->is_asked;
    if (was_asked && commit->is_void && count == 0) {
        return WEIR_OK; /* what is under way is nobody's any more */
    }
    if (was_asked && commit_await(commit) != WEIR_OK) {
        return WEIR_AGAIN;
    }
    if ((!was_asked || commit->is_void) && commit_give(self, items, count)) {
        commit->is_void = false;
        return WEIR_AGAIN;
    }
    size_t shares = was_asked && !commit->is_void ? commit->count : 0, at = 0;
    commit->is_void = false;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < count; i++) {
        struct nats_part *part = items[i]->source_data;
        struct share *share =
            at < shares && commit->shares[at].part == part ? &commit->shares[at++] : NULL;
        struct weir_err one = {0};
        weir_status done = WEIR_OK;
        if (share != NULL && share->status != WEIR_OK) {
            done = part_failed(self, share, &one);
        } else if (part->reader != NULL) {
            part_stands(self, part, items[i]->closing, share);
        }
        if (stands != NULL) {
            stands[i] = done == WEIR_OK;
        }
        if (done != WEIR_OK && status == WEIR_OK) {
            bool is_final = weir_status_class(done) == WEIR_CLASS_PERMANENT ||
                            (weir_status_class(done) == WEIR_CLASS_FATAL && done != WEIR_FENCED);
            status = is_final ? done : WEIR_UNAVAILABLE;
            one.status = status;
            *err = one;
        }
    }
    return status;
}

/* --- the sink's part ---------------------------------------------------------------------------*/

struct nats_log *nats_part_log(void *source_data)
{
    return &((struct nats_part *)source_data)->log;
}

/* One batch goes to one stream. */
static weir_status
positioned_join(void *instance, void *const *sinks, size_t count, struct weir_err *err)
{
    struct nats_positioned *self = instance;
    for (size_t i = 0; i < count; i++) {
        struct nats_target *target = nats_sink_target(sinks[i]);
        if (self->target != NULL && strcmp(target->spec.name, self->target->spec.name) != 0) {
            weir_status status = weir_fail(err, WEIR_CONFIG,
                                           "what is committed together lies in one stream, not in "
                                           "%s and %s",
                                           self->target->spec.name, target->spec.name);
            weir_err_hint(err, "Write `atomic` in one of the sinks only: the other one is written "
                               "effectively-once.");
            return status;
        }
        target->next = self->target;
        self->target = target;
    }
    for (uint32_t i = 0; i < self->part_count && self->target != NULL; i++) {
        nats_log_name_in(&self->parts[i].log, self->name, self->config->stream, (int32_t)i,
                         self->target);
    }
    return WEIR_OK;
}

/* --- state; control ----------------------------------------------------------------------------*/

static weir_status
state_restore(void *instance,
              struct weir_leased_part *part,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct nats_client *client = positioned_client(instance, err);
    return client == NULL
               ? err->status
               : nats_log_restore(&((struct nats_part *)part)->log, client, take, context, err);
}

static void state_append(void *instance, struct weir_leased_part *part, struct weir_slice entry)
{
    (void)instance;
    nats_log_append(&((struct nats_part *)part)->log, entry);
}

/* A place is a sequence of weir's stream. */
static int64_t state_place(void *instance, struct weir_leased_part *part)
{
    (void)instance;
    return (int64_t)((const struct nats_part *)part)->log.last + 1;
}

static void run_cut(struct weir_errand *errand)
{
    const struct cut *cut = (const struct cut *)errand;
    struct nats_positioned *self = cut->source;
    struct weir_err err = {0};
    struct nats_client *client = positioned_client(self, &err);
    if (client == NULL || nats_log_cut(&cut->part->log, client, cut->place, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the state", WEIR_F_ERR(&err));
    }
}

/* If the last one is under way still, the next snapshot cuts more. */
static weir_status
state_cut(void *instance, struct weir_leased_part *base, int64_t place, struct weir_err *err)
{
    (void)err;
    struct nats_positioned *self = instance;
    struct cut *cut = &((struct nats_part *)base)->cut;
    if (atomic_load_explicit(&cut->errand.state, memory_order_acquire) != WEIR_ERRAND_GIVEN) {
        cut->place = (uint64_t)place;
        weir_desk_give(&self->desk, &cut->errand);
    }
    return WEIR_OK;
}

static const struct weir_leased_ops leased_ops = {
    .join = positioned_join,
    .adopt = part_adopt,
    .begin = part_begin,
    .pause = part_pause,
    .end = part_end,
    .serve = part_serve,
    .commit = parts_commit,
    .forget = part_forget,
    .frame_bytes_max = NATS_FRAME_BYTES_MAX,
    .state_restore = state_restore,
    .state_append = state_append,
    .state_place = state_place,
    .state_cut = state_cut,
};

const struct weir_mode nats_positioned_mode = {
    .self_size = sizeof(struct nats_positioned),
    .open = positioned_open,
    .close = positioned_close,
    .ops =
        {
            .start = positioned_start,
            .poll = positioned_poll,
            .read = positioned_read,
            .seek = positioned_seek,
            .commit = weir_leased_commit,
            .stop = positioned_stop,
        },
};

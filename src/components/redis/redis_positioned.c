/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading by position: each stream is a partition, read in order by the process that has its lease,
 * from the position that its last commit left. No pending list is kept: a zombie's XREADGROUP would
 * move entries to where its successor misses them.
 *
 *   keeper   thread: renews and takes leases (base/lease.h)
 *   reader   thread: reads all streams that this process has, ahead of the lanes, while there is
 *            room; an entry stays in the window until it is committed, an abort reads it from there
 *   control  adopts what the keeper took, gives back what leaves or is lost, commits
 *
 *     committed │ first … delivered to the lane │ next … read ahead │
 *
 * An entry that is trimmed before it was read must not go unnoticed, and nothing in an answer of
 * XREAD tells. So the reader asks for entries and for the stream's counts in one transaction:
 * entries-added less length is how many are gone, and if that is more than were read, some were
 * lost. Only when there is nothing it waits with a blocking XREAD, whose answer it throws away.
 */
#include "redis_positioned.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"

enum { BLOCK_MS = 200, BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, LEASE_MS = 10000 };
enum { LEAVE_MS = 2000 };

struct redis_positioned {
    const struct redis_source_config *config;
    struct weir_ctx *ctx;
    char group[REDIS_NAME_MAX + 1];
    char name[REDIS_KEYS_NAME_MAX]; /* of the keys */
    struct redis_part *parts;
    uint32_t part_count;
    const char **tags;
    uint64_t nonce;
    struct redis_lease_medium medium;
    struct weir_leases *leases;
    int stop_fd, keep_fd;   /* keep_fd: the keeper should look */
    bool running, is_known; /* is_known: the engine was told what this process has */
    pthread_t reader, keeper;
    struct redis_answers answers;    /* the reader's */
    redisContext *asker, *committer; /* control */
    int64_t asked_ns;                /* control: when adopting failed last */

    pthread_mutex_t lock; /* guards what follows, and the parts' windows */
    pthread_cond_t room;
    bool stopping;
    redisContext *reading; /* the reader's; shut down by control to stop it */
    struct weir_err failure;
};

/* --- threads -----------------------------------------------------------------------------------*/

/* True: to end. */
static bool pause_for(struct redis_positioned *self, int timeout_ms)
{
    struct pollfd wait = {.fd = self->stop_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) > 0;
}

static void tell_failure(struct redis_positioned *self, const struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    if (self->failure.status == WEIR_OK) {
        self->failure = *err;
    }
    pthread_mutex_unlock(&self->lock);
    weir_wake(weir_control_wake_fd(self->ctx));
}

/* Of leases: control looks when one has changed, or will be lost. */
static void *keeper_main(void *argument)
{
    struct redis_positioned *self = argument;
    bool told = false;
    for (;;) {
        int64_t wait_ns =
            weir_leases_due_ns(self->leases) - weir_clock_monotonic_ns(self->ctx->clock);
        int timeout_ms = wait_ns <= 0 ? 0 : (int)(wait_ns / WEIR_NS_PER_MS) + 1;
        struct pollfd wait[] = {{.fd = self->stop_fd, .events = POLLIN},
                                {.fd = self->keep_fd, .events = POLLIN}};
        (void)!poll(wait, 2, timeout_ms);
        if (wait[0].revents != 0) {
            return NULL;
        }
        if (wait[1].revents != 0) {
            uint64_t count;
            ssize_t got = read(self->keep_fd, &count, sizeof(count));
            WEIR_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
        }
        struct weir_err err = {0};
        weir_status status = weir_leases_round(self->leases, &err);
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            tell_failure(self, &err);
            return NULL;
        }
        if (status != WEIR_OK && !told) {
            WEIR_LOG_WARN(self->ctx->log, "leases cannot be renewed", WEIR_F_ERR(&err));
        } else if (status == WEIR_OK && told) {
            WEIR_LOG_INFO(self->ctx->log, "leases are renewed again");
        }
        told = status != WEIR_OK;
        weir_wake(weir_control_wake_fd(self->ctx));
    }
}

/* --- the window; under the lock ----------------------------------------------------------------*/

static void window_push(struct redis_part *part, struct redis_chunk *chunk)
{
    chunk->start = part->filled;
    part->filled += (int64_t)chunk->count;
    part->window_bytes += chunk->bytes;
    if (part->last == NULL) {
        part->first = chunk;
    } else {
        part->last->next = chunk;
    }
    part->last = chunk;
}

static void window_shift(struct redis_part *part)
{
    struct redis_chunk *chunk = part->first;
    part->first = chunk->next;
    if (part->first == NULL) {
        part->last = NULL;
    }
    part->window_bytes -= chunk->bytes;
    redis_chunk_unref(chunk);
}

static void window_clear(struct redis_part *part)
{
    while (part->first != NULL) {
        window_shift(part);
    }
}

/* --- reading; the reader's thread --------------------------------------------------------------*/

/* The streams of one question. */
struct asked {
    struct redis_part **parts;
    char (*ids)[REDIS_ID_MAX];
    size_t count;
};

/* Those that are this process's and have room. Waits until there is one. False: to end. */
static bool asked_choose(struct redis_positioned *self, struct asked *asked)
{
    pthread_mutex_lock(&self->lock);
    for (;;) {
        size_t reading = 0;
        asked->count = 0;
        for (uint32_t i = 0; i < self->part_count; i++) {
            reading += self->parts[i].is_read;
        }
        for (uint32_t i = 0; i < self->part_count; i++) {
            struct redis_part *part = &self->parts[i];
            if (part->is_read &&
                part->window_bytes <= (size_t)self->ctx->in_flight_bytes / reading) {
                memcpy(asked->ids[asked->count], part->read_id, REDIS_ID_MAX);
                asked->parts[asked->count++] = part;
            }
        }
        if (asked->count > 0 || self->stopping) {
            break;
        }
        pthread_cond_wait(&self->room, &self->lock);
    }
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

static void put_text(struct weir_strbuf *out, const char *text)
{
    redis_put(out, weir_slice_of(text));
}

static void put_read(struct weir_strbuf *out, const struct asked *asked, int64_t max, bool waits)
{
    char count[24];
    snprintf(count, sizeof(count), "%lld", (long long)max);
    redis_put_head(out, 4u + (waits ? 2u : 0u) + 2 * asked->count);
    put_text(out, "XREAD");
    put_text(out, "COUNT");
    put_text(out, count);
    if (waits) {
        snprintf(count, sizeof(count), "%d", BLOCK_MS);
        put_text(out, "BLOCK");
        put_text(out, count);
    }
    put_text(out, "STREAMS");
    for (size_t i = 0; i < asked->count; i++) {
        put_text(out, asked->parts[i]->stream);
    }
    for (size_t i = 0; i < asked->count; i++) {
        put_text(out, asked->ids[i]);
    }
}

/* The answer to the last of so many commands; the ones before it say no more than that they were
 * taken. NULL: err says why. */
static redisReply *ask(struct redis_positioned *self,
                       redisContext *context,
                       const struct weir_strbuf *out,
                       size_t commands,
                       struct weir_err *err)
{
    const char *what = self->config->stream;
    if (redisAppendFormattedCommand(context, out->data, out->size) != REDIS_OK) {
        (void)!redis_fail(err, what, context, NULL);
        return NULL;
    }
    redisReply *reply = NULL;
    for (size_t i = 0; i < commands; i++) {
        void *object = NULL;
        if (redisGetReply(context, &object) != REDIS_OK) {
            (void)!redis_fail(err, what, context, NULL);
            return NULL;
        }
        reply = object;
        if (reply->type == REDIS_REPLY_ERROR) {
            (void)!redis_fail(err, what, context, reply);
        }
    }
    if (err->status != WEIR_OK) {
        err->status = err->status == WEIR_REJECTED ? WEIR_FATAL : err->status;
        reply = NULL;
    }
    return reply;
}

/* The counts of a stream at the moment of the reading. */
struct counts {
    int64_t added, length;
};

static struct counts read_counts(const redisReply *info)
{
    struct counts counts = {0};
    for (size_t i = 0; redis_reply_is_list(info) && i + 1 < info->elements; i += 2) {
        const redisReply *value = info->element[i + 1];
        if (strcmp(info->element[i]->str, "length") == 0) {
            counts.length = value->integer;
        } else if (strcmp(info->element[i]->str, "entries-added") == 0) {
            counts.added = value->integer;
        }
    }
    return counts;
}

/* The entries of one stream. */
static struct redis_chunk *make_chunk(struct redis_positioned *self, const redisReply *list)
{
    struct redis_chunk *chunk = redis_chunk_new(self->answers.filling, list->elements);
    for (size_t i = 0; i < list->elements; i++) {
        if (redis_reply_is_entry(list->element[i])) {
            redis_chunk_add(self->config, chunk, list->element[i]);
        }
    }
    redis_chunk_finish(self->config, chunk);
    return chunk;
}

static weir_status
tell_lost(struct redis_positioned *self, const char *stream, int64_t lost, struct weir_err *err)
{
    if (self->config->on_data_loss == REDIS_LOSS_SKIP) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were read",
                      WEIR_F("stream", stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    weir_status status = weir_fail(err, WEIR_DATA_LOSS,
                                   "stream %.200s: %lld entries were deleted before they were read",
                                   stream, (long long)lost);
    weir_err_hint(err, "Trim the stream less, or write `on_data_loss: skip`.");
    return status;
}

/* How many entries are gone that were not read. */
static int64_t part_lost(const struct redis_part *part, struct counts counts)
{
    int64_t gone = counts.added - counts.length + part->shift;
    return gone > part->filled ? gone - part->filled : 0;
}

/* The numbers of a part after an answer. */
static void
part_take(struct redis_part *part, struct counts counts, struct redis_chunk *chunk, bool is_all)
{
    part->filled += part_lost(part, counts);
    if (chunk != NULL) {
        snprintf(part->read_id, sizeof(part->read_id), "%s",
                 chunk->entries[chunk->count - 1].id->str);
        window_push(part, chunk);
    }
    if (is_all) { /* numbers meet: entries deleted in the middle, or a stream that began anew */
        int64_t end = counts.added + part->shift;
        part->shift += end < part->filled ? part->filled - end : 0;
        part->filled = end > part->filled ? end : part->filled;
    }
    atomic_store_explicit(&part->part->end, counts.added + part->shift, memory_order_relaxed);
}

static weir_status take_answer(struct redis_positioned *self,
                               const struct asked *asked,
                               size_t index,
                               const redisReply *info,
                               const redisReply *list,
                               struct weir_err *err)
{
    struct redis_part *part = asked->parts[index];
    struct redis_chunk *chunk = list == NULL ? NULL : make_chunk(self, list);
    if (chunk != NULL && chunk->count == 0) {
        redis_chunk_unref(chunk);
        chunk = NULL;
    }
    bool is_all = list == NULL || (int64_t)list->elements < self->config->count;
    int64_t lost = 0;
    unsigned lane = 0;
    pthread_mutex_lock(&self->lock);
    bool is_ours = part->is_read && strcmp(part->read_id, asked->ids[index]) == 0;
    if (is_ours) {
        lost = part_lost(part, read_counts(info));
        is_ours = lost == 0 || self->config->on_data_loss == REDIS_LOSS_SKIP;
        lane = part->part->lane;
    }
    if (is_ours) {
        part_take(part, read_counts(info), chunk, is_all);
    }
    pthread_mutex_unlock(&self->lock);
    if (!is_ours && chunk != NULL) { /* given back meanwhile, or the end */
        redis_chunk_unref(chunk);
    } else if (chunk != NULL) {
        weir_wake(weir_lane_wake_fd(self->ctx, lane));
    }
    return lost > 0 ? tell_lost(self, part->stream, lost, err) : WEIR_OK;
}

static weir_status take_answers(struct redis_positioned *self,
                                const struct asked *asked,
                                const redisReply *reply,
                                bool *ret_any,
                                struct weir_err *err)
{
    if (!redis_reply_is_list(reply) || reply->elements != asked->count + 1) {
        return redis_fail(err, self->config->stream, NULL, reply);
    }
    const redisReply *streams = reply->element[asked->count];
    weir_status status = WEIR_OK;
    if (streams->type == REDIS_REPLY_ERROR) {
        status = redis_fail(err, self->config->stream, NULL, streams);
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    for (size_t i = 0; i < asked->count && status == WEIR_OK; i++) {
        const redisReply *list = NULL;
        for (size_t k = 0; redis_reply_is_list(streams) && k < streams->elements; k++) {
            const redisReply *stream = streams->element[k];
            if (strcmp(stream->element[0]->str, asked->parts[i]->stream) == 0) {
                list = stream->element[1];
                break;
            }
        }
        *ret_any = *ret_any || list != NULL;
        status = take_answer(self, asked, i, reply->element[i], list, err);
    }
    return status;
}

/* Entries and counts, of one moment. */
static weir_status reader_read(struct redis_positioned *self,
                               redisContext *context,
                               const struct asked *asked,
                               struct weir_strbuf *out,
                               bool *ret_any,
                               struct weir_err *err)
{
    weir_strbuf_clear(out);
    redis_put_head(out, 1);
    put_text(out, "MULTI");
    for (size_t i = 0; i < asked->count; i++) {
        redis_put_head(out, 3);
        put_text(out, "XINFO");
        put_text(out, "STREAM");
        put_text(out, asked->parts[i]->stream);
    }
    put_read(out, asked, self->config->count, false);
    redis_put_head(out, 1);
    put_text(out, "EXEC");
    const redisReply *reply = ask(self, context, out, asked->count + 3, err);
    weir_status status =
        reply == NULL ? err->status : take_answers(self, asked, reply, ret_any, err);
    redis_answers_done(&self->answers);
    return status;
}

static weir_status
reader_serve(struct redis_positioned *self, redisContext *context, struct weir_err *err)
{
    struct asked asked = {
        .parts = weir_calloc(self->part_count, sizeof(struct redis_part *)),
        .ids = weir_calloc(self->part_count, REDIS_ID_MAX),
    };
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    redis_answers_use(&self->answers, context);
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && asked_choose(self, &asked)) {
        bool any = false;
        status = reader_read(self, context, &asked, &out, &any, err);
        if (status == WEIR_OK && !any) {
            weir_strbuf_clear(&out);
            put_read(&out, &asked, 1, true);
            (void)ask(self, context, &out, 1, err);
            redis_answers_done(&self->answers);
            status = err->status;
        }
    }
    weir_strbuf_done(&out);
    weir_free(asked.parts);
    weir_free(asked.ids);
    return status;
}

/* False: to end. */
static bool reader_set(struct redis_positioned *self, redisContext *context)
{
    pthread_mutex_lock(&self->lock);
    self->reading = context;
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

static void *reader_main(void *argument)
{
    struct redis_positioned *self = argument;
    int backoff_ms = BACKOFF_MIN_MS;
    bool told = false;
    while (!pause_for(self, 0)) {
        struct weir_err err = {0};
        redisContext *context = redis_connect(&self->config->connection, &err);
        if (context != NULL) {
            if (told) {
                WEIR_LOG_INFO(self->ctx->log, "connected again");
            }
            told = false;
            backoff_ms = BACKOFF_MIN_MS;
            if (reader_set(self, context)) {
                (void)!reader_serve(self, context, &err);
            }
            (void)reader_set(self, NULL);
            redisFree(context);
        }
        if (pause_for(self, 0)) {
            break; /* whatever went wrong: the connection was cut to end it */
        }
        if (weir_status_class(err.status) == WEIR_CLASS_FATAL) {
            tell_failure(self, &err);
            break;
        }
        if (!told) {
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        (void)pause_for(self, backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    return NULL;
}

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status positioned_open(void *instance,
                                   const struct redis_source_config *config,
                                   struct weir_ctx *ctx,
                                   struct weir_err *err)
{
    struct redis_positioned *self = instance;
    self->config = config;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->room, NULL);
    snprintf(self->group, sizeof(self->group), "%s",
             config->group != NULL ? config->group : ctx->pipeline);
    redis_keys_name(self->name, self->group, config->stream);
    self->part_count = config->partitions > 0 ? (uint32_t)config->partitions : 1;
    self->parts = weir_calloc(self->part_count, sizeof(*self->parts));
    self->tags = weir_calloc(self->part_count, sizeof(char *));
    for (uint32_t i = 0; i < self->part_count; i++) {
        redis_part_name(&self->parts[i], config, self->group, (int32_t)i);
        self->tags[i] = self->parts[i].tag;
        weir_strbuf_init(&self->parts[i].outputs, SIZE_MAX / 2);
        weir_strbuf_init(&self->parts[i].frames, SIZE_MAX / 2);
    }
    weir_ctx_random(ctx, &self->nonce, sizeof(self->nonce));
    int64_t ttl_ms = config->lease > 0 ? config->lease : LEASE_MS;
    self->medium = (struct redis_lease_medium){.connection = &config->connection,
                                               .name = self->name,
                                               .tags = self->tags,
                                               .nonce = self->nonce,
                                               .ttl_ms = ttl_ms};
    self->leases = weir_leases_new(&(struct weir_leases_settings){.medium = &redis_lease_medium,
                                                                  .medium_self = &self->medium,
                                                                  .clock = ctx->clock,
                                                                  .count = self->part_count,
                                                                  .member = self->nonce,
                                                                  .ttl_ms = ttl_ms});
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->keep_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->stop_fd >= 0 && self->keep_fd >= 0
               ? WEIR_OK
               : weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
}

static void positioned_close(void *instance)
{
    struct redis_positioned *self = instance;
    for (uint32_t i = 0; i < self->part_count; i++) {
        window_clear(&self->parts[i]);
        weir_strbuf_done(&self->parts[i].outputs);
        weir_strbuf_done(&self->parts[i].frames);
    }
    redis_lease_medium_done(&self->medium);
    weir_leases_free(self->leases);
    redisContext *contexts[] = {self->asker, self->committer};
    for (size_t i = 0; i < 2; i++) {
        if (contexts[i] != NULL) {
            redisFree(contexts[i]);
        }
    }
    int fds[] = {self->stop_fd, self->keep_fd};
    for (size_t i = 0; i < 2; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    weir_free(self->parts);
    weir_free(self->tags);
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->lock);
}

static weir_status positioned_start(void *instance, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->reader, NULL, reader_main, self);
    if (code == 0) {
        code = pthread_create(&self->keeper, NULL, keeper_main, self);
        WEIR_ASSERT(code == 0); /* one thread, and no more */
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot start a thread: %s", strerror(code));
    }
    self->running = true;
    return WEIR_OK;
}

/* --- ownership; control ------------------------------------------------------------------------*/

redisContext *redis_positioned_asker(struct redis_positioned *self, struct weir_err *err)
{
    if (self->asker != NULL && self->asker->err != 0) {
        redisFree(self->asker);
        self->asker = NULL;
    }
    if (self->asker == NULL) {
        self->asker = redis_connect(&self->config->connection, err);
    }
    return self->asker;
}

struct redis_part *redis_positioned_part(struct redis_positioned *self, int32_t index)
{
    WEIR_ASSERT(index >= 0 && (uint32_t)index < self->part_count);
    return &self->parts[index];
}

static void look_at_leases(struct redis_positioned *self)
{
    weir_wake(self->keep_fd);
}

static void give_back(struct redis_positioned *self, struct redis_part *part, bool lost)
{
    pthread_mutex_lock(&self->lock);
    part->is_read = false;
    pthread_mutex_unlock(&self->lock);
    weir_source_revoke(self->ctx, &part->part, 1, lost);
    /* The commit in it may have found out that it was lost. */
    weir_leases_let_go(self->leases, (uint32_t)part->index, lost || part->is_over);
    pthread_mutex_lock(&self->lock);
    part->part = NULL;
    window_clear(part);
    pthread_mutex_unlock(&self->lock);
    weir_strbuf_clear(&part->outputs);
    weir_strbuf_clear(&part->frames);
    part->output_count = part->frame_count = 0;
    look_at_leases(self);
}

/* The state, if there is any, must be of the very position: they were committed together. */
static weir_status
part_begin(struct redis_positioned *self, struct redis_part *part, struct weir_err *err)
{
    const struct weir_assignment item = {
        .topic = part->stream,
        .index = part->index,
        .position = part->at.count,
        .partition_count = (int32_t)self->part_count,
        .source_data = part,
    };
    struct weir_partition *owned = NULL;
    weir_source_assign(self->ctx, &item, 1, &owned);
    part->part = owned;
    if (owned->read != part->at.count) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "%.200s stands at %lld, its state at %lld", part->stream,
                      (long long)part->at.count, (long long)owned->read);
        weir_err_hint(err, "Begin anew under another `name`, or delete the keys of the state.");
        return status;
    }
    pthread_mutex_lock(&self->lock);
    part->next = part->filled = part->at.count;
    part->shift = 0;
    memcpy(part->read_id, part->at.id, sizeof(part->read_id));
    part->is_read = true;
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
    return WEIR_OK;
}

static weir_status take_over(struct redis_positioned *self,
                             struct redis_part *part,
                             uint64_t token,
                             struct weir_err *err)
{
    redisContext *context = redis_positioned_asker(self, err);
    weir_status status = context == NULL ? err->status
                                         : redis_part_adopt(part, context, &self->config->start,
                                                            self->nonce, token, err);
    part->is_over = part->is_groupless = false;
    if (status == WEIR_OK) {
        return part_begin(self, part, err);
    }
    if (status == WEIR_FENCED) {
        weir_leases_let_go(self->leases, (uint32_t)part->index, true);
        weir_err_clear(err);
        return WEIR_OK;
    }
    return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
}

static weir_status
part_poll(struct redis_positioned *self, struct redis_part *part, struct weir_err *err)
{
    uint64_t token;
    uint32_t index = (uint32_t)part->index;
    enum weir_lease_state state = weir_leases_state(self->leases, index, &token);
    bool ours = part->part != NULL;
    if (ours && (part->is_over || state == WEIR_LEASE_LOST || state == WEIR_LEASE_FREE)) {
        WEIR_LOG_WARN(self->ctx->log, "lease lost", WEIR_F("stream", (const char *)part->stream));
        give_back(self, part, true);
    } else if (ours && state == WEIR_LEASE_LEAVING) {
        give_back(self, part, false);
    } else if (!ours && state == WEIR_LEASE_HELD) {
        return take_over(self, part, token, err);
    } else if (!ours && state != WEIR_LEASE_FREE && state != WEIR_LEASE_DRAINED) {
        weir_leases_let_go(self->leases, index, false);
        look_at_leases(self);
    } else if (ours && part->is_groupless) {
        redisContext *context = redis_positioned_asker(self, err);
        part->is_groupless = false;
        if (context != NULL) {
            return redis_part_make_group(part, context, err);
        }
    }
    return WEIR_OK;
}

static weir_status positioned_poll(void *instance, struct weir_err *err)
{
    struct redis_positioned *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    if (!self->is_known && weir_leases_members(self->leases) > 0) {
        self->is_known = true; /* perhaps there is nothing for this process */
        weir_source_assign(self->ctx, NULL, 0, NULL);
    }
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    bool is_early =
        self->asked_ns != 0 && now_ns - self->asked_ns < BACKOFF_MIN_MS * WEIR_NS_PER_MS;
    for (uint32_t i = 0; i < self->part_count && err->status == WEIR_OK; i++) {
        struct redis_part *part = &self->parts[i];
        if (part->part != NULL || !is_early) {
            weir_status status = part_poll(self, part, err);
            self->asked_ns = status == WEIR_OK ? self->asked_ns : now_ns;
        }
    }
    if (weir_status_class(err->status) != WEIR_CLASS_FATAL && err->status != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot take over streams", WEIR_F_ERR(err));
        weir_err_clear(err);
    }
    return err->status;
}

static void positioned_stop(void *instance)
{
    struct redis_positioned *self = instance;
    for (uint32_t i = 0; i < self->part_count; i++) {
        if (self->parts[i].part != NULL) {
            bool lost = self->parts[i].is_over ||
                        weir_leases_state(self->leases, i, NULL) == WEIR_LEASE_LOST;
            give_back(self, &self->parts[i], lost);
        } else {
            weir_leases_let_go(self->leases, i, false);
        }
    }
    if (!self->running) {
        return;
    }
    weir_wake(self->stop_fd);
    pthread_mutex_lock(&self->lock);
    self->stopping = true;
    if (self->reading != NULL) {
        shutdown(self->reading->fd, SHUT_RDWR);
    }
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->reader, NULL);
    pthread_join(self->keeper, NULL);
    self->running = false;
    struct weir_err ignored = {0}; /* what is not released ends by itself */
    struct timeval timeout = {.tv_sec = LEAVE_MS / 1000};
    if (self->medium.context != NULL) {
        (void)redisSetTimeout(self->medium.context, timeout);
        (void)!weir_leases_leave(self->leases, &ignored);
    }
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* The chunk that holds `next`, with a reference; NULL: not there yet, or not the lane's. */
static struct redis_chunk *
window_look(struct redis_positioned *self, struct redis_part *part, unsigned lane)
{
    pthread_mutex_lock(&self->lock);
    bool is_ours = part->is_read && part->part->lane == lane;
    struct redis_chunk *chunk = is_ours ? part->first : NULL;
    while (chunk != NULL && part->next >= chunk->start + (int64_t)chunk->count) {
        chunk = chunk->next;
    }
    if (chunk != NULL) {
        redis_chunk_ref(chunk);
    }
    pthread_mutex_unlock(&self->lock);
    return chunk;
}

/* The window is what bounds reading ahead, and only a commit makes room in it. */
static void window_hurry(struct redis_positioned *self, const struct redis_part *part)
{
    pthread_mutex_lock(&self->lock);
    bool is_short =
        part->first != NULL &&
        part->window_bytes > (size_t)self->ctx->in_flight_bytes / self->part_count / 2 &&
        (part->next - part->first->start) * 2 > part->filled - part->first->start;
    pthread_mutex_unlock(&self->lock);
    if (is_short) {
        weir_ctx_close_epoch(self->ctx);
    }
}

static weir_status positioned_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct redis_positioned *self = instance;
    size_t total = 0;
    for (uint32_t i = 0; i < self->part_count; i++) {
        struct redis_part *part = &self->parts[i];
        size_t before = total, got = 1;
        struct redis_chunk *chunk = NULL;
        while (total < max && got > 0 && (chunk = window_look(self, part, lane)) != NULL) {
            got = redis_chunk_deliver(chunk, intake, part->part, &part->next, max - total);
            total += got;
            redis_chunk_unref(chunk);
        }
        if (total > before) {
            window_hurry(self, part);
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
    (void)instance;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        struct redis_part *part = items[i]->source_data;
        part->next = items[i]->read;
    }
    return WEIR_OK;
}

static void forget_commands(struct redis_part *part)
{
    weir_strbuf_clear(&part->outputs);
    weir_strbuf_clear(&part->frames);
    part->output_count = part->frame_count = 0;
}

void redis_positioned_abort(struct redis_positioned *self)
{
    for (uint32_t i = 0; i < self->part_count; i++) {
        forget_commands(&self->parts[i]);
    }
}

static void part_committed(struct redis_positioned *self, struct redis_part *part)
{
    forget_commands(part);
    pthread_mutex_lock(&self->lock);
    while (part->first != NULL &&
           part->first->start + (int64_t)part->first->count <= part->at.count) {
        window_shift(part);
    }
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
}

weir_status redis_positioned_commit(struct redis_positioned *self,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    bool *stands,
                                    int64_t timeout_ms,
                                    struct weir_err *err)
{
    struct redis_commit_item *commits = weir_calloc(count + 1, sizeof(*commits));
    size_t *places = weir_calloc(count + 1, sizeof(size_t));
    size_t moved = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count; i++) {
        struct redis_part *part = items[i]->source_data;
        if (items[i]->closing != part->at.count || part->output_count > 0 ||
            part->frame_count > 0) {
            places[moved] = i;
            commits[moved++] = (struct redis_commit_item){
                .part = part, .next = redis_part_next(part, items[i]->closing)};
        } else if (stands != NULL) {
            stands[i] = true; /* nothing to do, so nothing can fail */
        }
    }
    pthread_mutex_unlock(&self->lock);
    weir_status status = WEIR_OK;
    if (moved > 0) {
        int64_t deadline_ns =
            weir_clock_monotonic_ns(self->ctx->clock) + timeout_ms * WEIR_NS_PER_MS;
        status = redis_commit(&self->config->connection, &self->committer, commits, moved,
                              deadline_ns, self->ctx->clock, err);
    }
    for (size_t i = 0; i < moved; i++) {
        bool does_stand = commits[i].outcome == REDIS_OUTCOME_STANDS;
        if (does_stand) {
            part_committed(self, commits[i].part);
        }
        if (stands != NULL) {
            stands[places[i]] = does_stand;
        }
    }
    weir_free(commits);
    weir_free(places);
    return status;
}

static weir_status positioned_commit(void *instance,
                                     struct weir_partition *const *items,
                                     size_t count,
                                     struct weir_err *err)
{
    struct redis_positioned *self = instance;
    return redis_positioned_commit(self, items, count, NULL, self->ctx->transaction_timeout_ms,
                                   err);
}

const struct redis_mode redis_positioned_mode = {
    .self_size = sizeof(struct redis_positioned),
    .open = positioned_open,
    .close = positioned_close,
    .ops =
        {
            .start = positioned_start,
            .poll = positioned_poll,
            .read = positioned_read,
            .seek = positioned_seek,
            .commit = positioned_commit,
            .stop = positioned_stop,
        },
};

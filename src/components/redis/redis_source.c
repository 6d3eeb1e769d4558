/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis source: a consumer group shared with others (XREADGROUP, XACK, XAUTOCLAIM). Which
 * consumer gets an entry is the server's choice, so there is no order between processes, and the
 * partition of a lane is this consumer's own sequence of deliveries, numbered from 0 at each start.
 *
 * A reader thread fills a window of batches, one read ahead of the lane. An entry stays in the
 * window until its position is committed; committing acknowledges it, an abort reads it from the
 * window again. What the server has delivered to this consumer and is not in the window (after a
 * restart, or when an answer got lost) is asked for first, whenever a connection is made.
 *
 *     acknowledged │ first … delivered to the lane │ next … read ahead │
 *
 * The window holds the server's answers as they came: records point into them.
 */
#include "redis_client.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { BLOCK_MS = 500, BACKOFF_MIN_MS = 100, BACKOFF_MAX_MS = 5000, GAUGE_MS = 1000 };
enum { START_EARLIEST = 1, START_LATEST };
enum { LOSS_STOP, LOSS_SKIP };
enum { ENTRY_OVERHEAD_BYTES = 200, CLAIM_COUNT = 100, ACK_COUNT = 1000 };

struct redis_source_config {
    struct redis_connection connection;
    const char *stream, *group, *consumer, *field, *key_field;
    int start, on_data_loss;
    int64_t count;
    weir_duration claim_idle;
};

static const struct weir_choice start_choices[] = {
    {"earliest", START_EARLIEST, "The first entry of the stream."},
    {"latest", START_LATEST, "Entries that are added from now on."},
    WEIR_CHOICES_END,
};
static const struct weir_choice loss_choices[] = {
    {"stop", LOSS_STOP, "The pipeline ends."},
    {"skip", LOSS_SKIP, "They are logged and left out."},
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
    WEIR_F_STR(S, consumer, .unset = "the instance, or a name of its own for each start",
               .min = 1, .max = REDIS_NAME_MAX,
               .help = "The name in the group. Two processes must not have the same."),
    WEIR_F_ENUM(S, start, start_choices, .fallback = "earliest",
                .help = "Where a group that does not exist yet begins."),
    WEIR_F_STR(S, field, .unset = "the entry as a JSON object", .example = "value",
               .help = "The field whose bytes are the value. Without it the value is an object of "
                       "all fields, as strings; bytes that are no UTF-8 are kept as they are."),
    WEIR_F_STR(S, key_field, .unset = "no key", .example = "key",
               .help = "The field whose bytes are the key."),
    WEIR_F_INT(S, count, .fallback = "500", .min = 1, .max = 10000,
               .help = "Entries that are asked for at once."),
    WEIR_F_DURATION(S, claim_idle, .fallback = "30s", .min = 100, .max = 86400000,
                    .help = "Takes over entries that another consumer was given so long ago and "
                            "has not acknowledged."),
    WEIR_F_ENUM(S, on_data_loss, loss_choices, .fallback = "stop",
                .help = "When entries were deleted that had been delivered and not acknowledged."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* An entry of an answer. Key and value lie in the answer, or in the chunk's text. */
struct entry {
    const redisReply *id;
    struct weir_slice key, value; /* while the text grows, the value is an offset and a size */
};

/* One answer of the server. Referenced by the window and by the lane's batches. */
struct chunk {
    struct chunk *next;
    atomic_uint refs;
    redisReply *reply;
    struct weir_strbuf text; /* entries as JSON objects */
    int64_t start;
    size_t count, bytes;
    struct entry entries[];
};

struct redis_source {
    const struct redis_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    char group[REDIS_NAME_MAX + 1], consumer[REDIS_NAME_MAX + 1];
    bool is_nameless; /* the consumer's name is of this start only */
    int stop_fd;
    bool running;
    pthread_t thread;
    redisContext *acks; /* control */
    int64_t gauged_ns;  /* control */
    int64_t next;       /* lane, or paused: what is delivered next */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t room;
    struct chunk *first, *last;
    int64_t filled; /* number of the next entry that comes in */
    size_t window_bytes;
    bool stopping;
    redisContext *reading; /* the thread's; shut down by control to stop it */
    struct weir_err failure;
};

/* --- chunks ------------------------------------------------------------------------------------*/

static void chunk_unref(struct chunk *chunk)
{
    /* Acquire and release: the last one frees what the others have read. */
    if (atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1) {
        freeReplyObject(chunk->reply);
        weir_strbuf_done(&chunk->text);
        weir_free(chunk);
    }
}

static void chunk_release(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        chunk_unref(refs[i]);
    }
}

static bool reply_is_list(const redisReply *reply)
{
    return reply != NULL && reply->type == REDIS_REPLY_ARRAY;
}

/* --- the window; under the lock ----------------------------------------------------------------*/

static bool window_has(const struct redis_source *self, const redisReply *id)
{
    for (const struct chunk *chunk = self->first; chunk != NULL; chunk = chunk->next) {
        for (size_t i = 0; i < chunk->count; i++) {
            const redisReply *other = chunk->entries[i].id;
            if (other->len == id->len && memcmp(other->str, id->str, id->len) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void window_push(struct redis_source *self, struct chunk *chunk)
{
    chunk->start = self->filled;
    self->filled += (int64_t)chunk->count;
    self->window_bytes += chunk->bytes;
    if (self->last == NULL) {
        self->first = chunk;
    } else {
        self->last->next = chunk;
    }
    self->last = chunk;
}

static void window_shift(struct redis_source *self)
{
    struct chunk *chunk = self->first;
    self->first = chunk->next;
    if (self->first == NULL) {
        self->last = NULL;
    }
    self->window_bytes -= chunk->bytes;
    chunk_unref(chunk);
}

/* --- the thread --------------------------------------------------------------------------------*/

static void fd_signal(int fd)
{
    uint64_t one = 1;
    /* EAGAIN: the counter is full, whoever waits is awake anyway. */
    ssize_t written = write(fd, &one, sizeof(one));
    WEIR_ASSERT(written == (ssize_t)sizeof(one) || errno == EAGAIN);
}

/* True: to end. */
static bool thread_pause(struct redis_source *self, int timeout_ms)
{
    struct pollfd wait = {.fd = self->stop_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) > 0;
}

/* --- entries; the thread --------------------------------------------------------------------------*/

static struct weir_slice reply_slice(const redisReply *reply)
{
    return (struct weir_slice){reply->str, reply->len};
}

/* All fields as one JSON object. Bytes are copied as they are, with what JSON demands escaped. */
static void write_text(struct weir_strbuf *out, struct weir_slice text)
{
    weir_strbuf_push(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        weir_strbuf_append(out, text.data + from, i - from);
        if (c < 0x20) {
            weir_strbuf_printf(out, "\\u%04x", c);
        } else {
            weir_strbuf_push(out, '\\');
            weir_strbuf_push(out, (char)c);
        }
        from = i + 1;
    }
    weir_strbuf_append(out, text.data + from, text.size - from);
    weir_strbuf_push(out, '"');
}

static void write_object(struct weir_strbuf *out, const redisReply *fields)
{
    weir_strbuf_push(out, '{');
    for (size_t i = 0; i + 1 < fields->elements; i += 2) {
        if (i > 0) {
            weir_strbuf_push(out, ',');
        }
        write_text(out, reply_slice(fields->element[i]));
        weir_strbuf_push(out, ':');
        write_text(out, reply_slice(fields->element[i + 1]));
    }
    weir_strbuf_push(out, '}');
}

/* Field, or absent. */
static struct weir_slice field_find(const redisReply *fields, const char *name)
{
    for (size_t i = 0; name != NULL && i + 1 < fields->elements; i += 2) {
        if (weir_slice_equal(reply_slice(fields->element[i]), weir_slice_of(name))) {
            return reply_slice(fields->element[i + 1]);
        }
    }
    return (struct weir_slice){NULL, 0};
}

static void chunk_add(const struct redis_source_config *config, struct chunk *chunk, const redisReply *item)
{
    const redisReply *fields = item->element[1];
    struct entry *entry = &chunk->entries[chunk->count++];
    *entry = (struct entry){.id = item->element[0], .key = field_find(fields, config->key_field)};
    if (config->field != NULL) {
        entry->value = field_find(fields, config->field);
    } else {
        size_t before = chunk->text.size;
        write_object(&chunk->text, fields);
        entry->value.size = chunk->text.size - before;
    }
    chunk->bytes += ENTRY_OVERHEAD_BYTES;
    for (size_t k = 0; k < fields->elements; k++) {
        chunk->bytes += fields->element[k]->len + sizeof(redisReply);
    }
}

/* The text has stopped growing: values become pointers into it. */
static void chunk_finish(const struct redis_source_config *config, struct chunk *chunk)
{
    WEIR_ASSERT(!chunk->text.failed);
    const char *at = chunk->text.data;
    for (size_t i = 0; i < chunk->count && config->field == NULL; i++) {
        chunk->entries[i].value.data = at;
        at += chunk->entries[i].value.size;
    }
    chunk->bytes += chunk->text.capacity;
}

/* Takes the reply over. With `known`, entries that are in the window already are left out. */
static size_t thread_push(struct redis_source *self,
                          redisReply *reply,
                          const redisReply *list,
                          bool known,
                          size_t *ret_lost)
{
    struct chunk *chunk = weir_calloc(1, sizeof(*chunk) + list->elements * sizeof(struct entry));
    *chunk = (struct chunk){.reply = reply};
    atomic_init(&chunk->refs, 1);
    weir_strbuf_init(&chunk->text, SIZE_MAX / 2);
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *item = list->element[i];
        if (!reply_is_list(item) || item->elements != 2 || !reply_is_list(item->element[1])) {
            *ret_lost += 1; /* delivered once, deleted since */
            continue;
        }
        bool is_new = true;
        if (known) {
            pthread_mutex_lock(&self->lock);
            is_new = !window_has(self, item->element[0]);
            pthread_mutex_unlock(&self->lock);
        }
        if (is_new) {
            chunk_add(self->config, chunk, item);
        }
    }
    chunk_finish(self->config, chunk);
    size_t count = chunk->count;
    if (count == 0) {
        chunk_unref(chunk);
        return 0;
    }
    pthread_mutex_lock(&self->lock);
    window_push(self, chunk);
    pthread_mutex_unlock(&self->lock);
    fd_signal(weir_lane_wake_fd(self->ctx, self->part->lane));
    return count;
}

static weir_status thread_lost(struct redis_source *self, size_t lost, struct weir_err *err)
{
    if (lost == 0) {
        return WEIR_OK;
    }
    if (self->config->on_data_loss == LOSS_SKIP) {
        WEIR_LOG_WARN(self->ctx->log, "entries were deleted before they were acknowledged",
                      WEIR_F("stream", self->config->stream), WEIR_F("entries", lost));
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_DATA_LOSS,
                  "stream %s: %zu entries were deleted before they were acknowledged",
                  self->config->stream, lost);
    weir_err_hint(err, "Trim the stream less, or write `on_data_loss: skip`.");
    return status;
}

static weir_status
thread_make_group(struct redis_source *self, redisContext *context, const char *start, struct weir_err *err)
{
    redisReply *reply = redisCommand(context, "XGROUP CREATE %s %s %s MKSTREAM",
                                     self->config->stream, self->group, start);
    weir_status status = WEIR_OK;
    if (reply == NULL || (reply->type == REDIS_REPLY_ERROR && !redis_reply_is(reply, "BUSYGROUP"))) {
        status = redis_fail(err, self->config->stream, context, reply);
        err->status = status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    freeReplyObject(reply);
    return status;
}

/* Waits until the window has room. False: to end. */
static bool thread_wait_room(struct redis_source *self)
{
    pthread_mutex_lock(&self->lock);
    while (!self->stopping && self->first != NULL &&
           self->window_bytes > (size_t)self->ctx->in_flight_bytes) {
        pthread_cond_wait(&self->room, &self->lock);
    }
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

/* A failed question: a group that is gone is made again, anything else is the caller's. */
static weir_status thread_mend(struct redis_source *self,
                               redisContext *context,
                               const redisReply *reply,
                               struct weir_err *err)
{
    if (redis_reply_is(reply, "NOGROUP")) {
        /* What was added meanwhile must not be missed, whatever `start` says. */
        WEIR_LOG_WARN(self->ctx->log, "the group was gone and is made again",
                      WEIR_F("stream", self->config->stream));
        return thread_make_group(self, context, "0", err);
    }
    weir_status status = redis_fail(err, self->config->stream, context, reply);
    return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
}

/* Entries of this consumer that the window does not have. */
static weir_status
thread_read_own(struct redis_source *self, redisContext *context, struct weir_err *err)
{
    char from[64] = "0";
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && thread_wait_room(self)) {
        redisReply *reply = redisCommand(context, "XREADGROUP GROUP %s %s COUNT %lld STREAMS %s %s",
                                         self->group, self->consumer,
                                         (long long)self->config->count, self->config->stream, from);
        if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
            status = thread_mend(self, context, reply, err);
            freeReplyObject(reply);
            continue;
        }
        const redisReply *list = reply->elements == 1 ? reply->element[0]->element[1] : NULL;
        if (list == NULL || list->elements == 0) {
            freeReplyObject(reply);
            break;
        }
        snprintf(from, sizeof(from), "%s", list->element[list->elements - 1]->element[0]->str);
        size_t lost = 0;
        for (size_t i = 0; i < list->elements; i++) {
            const redisReply *item = list->element[i];
            if (!reply_is_list(item->element[1])) { /* nothing but its id is left */
                freeReplyObject(redisCommand(context, "XACK %s %s %s", self->config->stream,
                                             self->group, item->element[0]->str));
            }
        }
        (void)thread_push(self, reply, list, true, &lost);
        status = thread_lost(self, lost, err);
    }
    return status;
}

/* Takes over what others have left lying. Redis 7 names deleted entries apart, 6.2 answers nil. */
static weir_status thread_claim(struct redis_source *self, redisContext *context, struct weir_err *err)
{
    char cursor[64] = "0-0";
    weir_status status = WEIR_OK;
    do {
        redisReply *reply = redisCommand(context, "XAUTOCLAIM %s %s %s %lld %s COUNT %d",
                                         self->config->stream, self->group, self->consumer,
                                         (long long)self->config->claim_idle, cursor, CLAIM_COUNT);
        if (!reply_is_list(reply) || reply->elements < 2) {
            status = thread_mend(self, context, reply, err);
            freeReplyObject(reply);
            break;
        }
        snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
        size_t lost = reply->elements > 2 ? reply->element[2]->elements : 0;
        size_t count = thread_push(self, reply, reply->element[1], true, &lost);
        if (count > 0) {
            WEIR_LOG_INFO(self->ctx->log, "entries of other consumers taken over",
                          WEIR_F("stream", self->config->stream), WEIR_F("entries", count));
        }
        status = thread_lost(self, lost, err);
    } while (status == WEIR_OK && strcmp(cursor, "0-0") != 0 && thread_wait_room(self));
    return status;
}

static weir_status thread_read(struct redis_source *self, redisContext *context, struct weir_err *err)
{
    redisReply *reply =
        redisCommand(context, "XREADGROUP GROUP %s %s COUNT %lld BLOCK %d STREAMS %s >",
                     self->group, self->consumer, (long long)self->config->count, BLOCK_MS,
                     self->config->stream);
    weir_status status = WEIR_OK;
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        status = thread_mend(self, context, reply, err);
    } else if (reply_is_list(reply) && reply->elements == 1) {
        size_t lost = 0;
        (void)thread_push(self, reply, reply->element[0]->element[1], false, &lost);
        return WEIR_OK;
    }
    freeReplyObject(reply);
    return status;
}

static weir_status thread_serve(struct redis_source *self, redisContext *context, struct weir_err *err)
{
    const char *start = self->config->start == START_EARLIEST ? "0" : "$";
    weir_status status = thread_make_group(self, context, start, err);
    if (status == WEIR_OK) {
        status = thread_read_own(self, context, err);
    }
    int64_t claimed_ns = 0;
    while (status == WEIR_OK && thread_wait_room(self)) {
        int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
        if (now_ns - claimed_ns >= self->config->claim_idle * 500000) { /* half of it */
            claimed_ns = now_ns;
            status = thread_claim(self, context, err);
        }
        if (status == WEIR_OK) {
            status = thread_read(self, context, err);
        }
    }
    return status;
}

/* False: to end. */
static bool thread_set_reading(struct redis_source *self, redisContext *context)
{
    pthread_mutex_lock(&self->lock);
    self->reading = context;
    bool go_on = !self->stopping;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

static void *thread_main(void *argument)
{
    struct redis_source *self = argument;
    int backoff_ms = BACKOFF_MIN_MS;
    bool told = false;
    while (!thread_pause(self, 0)) {
        struct weir_err err = {0};
        redisContext *context = redis_connect(&self->config->connection, &err);
        weir_status status = err.status;
        if (context != NULL) {
            if (told) {
                WEIR_LOG_INFO(self->ctx->log, "connected again");
            }
            told = false;
            backoff_ms = BACKOFF_MIN_MS;
            status = thread_set_reading(self, context) ? thread_serve(self, context, &err) : WEIR_OK;
            (void)thread_set_reading(self, NULL);
            redisFree(context);
        }
        if (thread_pause(self, 0)) {
            break; /* whatever went wrong: the connection was cut to end it */
        }
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            pthread_mutex_lock(&self->lock);
            self->failure = err;
            pthread_mutex_unlock(&self->lock);
            fd_signal(weir_control_wake_fd(self->ctx));
            break;
        }
        if (!told) {
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        (void)thread_pause(self, backoff_ms);
        backoff_ms = backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
    }
    return NULL;
}

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
redis_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct redis_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->room, NULL);
    snprintf(self->group, sizeof(self->group), "%s",
             self->config->group != NULL ? self->config->group : ctx->pipeline);
    const char *name = self->config->consumer != NULL ? self->config->consumer : ctx->instance;
    self->is_nameless = name == NULL;
    if (name != NULL) {
        snprintf(self->consumer, sizeof(self->consumer), "%s", name);
    } else {
        uint64_t nonce;
        weir_ctx_random(ctx, &nonce, sizeof(nonce));
        snprintf(self->consumer, sizeof(self->consumer), "weir-%016llx", (unsigned long long)nonce);
    }
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->stop_fd >= 0 ? WEIR_OK
                              : weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
}

static void redis_source_close(void *instance)
{
    struct redis_source *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    while (self->first != NULL) {
        window_shift(self);
    }
    if (self->acks != NULL) {
        redisFree(self->acks);
    }
    if (self->stop_fd >= 0) {
        close(self->stop_fd);
    }
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->lock);
    *self = (struct redis_source){0};
}

static weir_status redis_source_start(void *instance, struct weir_err *err)
{
    struct redis_source *self = instance;
    const struct weir_assignment item = {.topic = self->config->stream, .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->thread, NULL, thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot start a thread: %s", strerror(code));
    }
    self->running = true;
    return WEIR_OK;
}

static weir_status source_connect_acks(struct redis_source *self, struct weir_err *err)
{
    if (self->acks != NULL && self->acks->err != 0) {
        redisFree(self->acks);
        self->acks = NULL;
    }
    if (self->acks == NULL) {
        self->acks = redis_connect(&self->config->connection, err);
    }
    return self->acks != NULL ? WEIR_OK : err->status;
}

/* A consumer of this start only leaves nothing behind, unless something is pending: then it stays,
 * for others to claim from. One script, or an entry could come between question and removal. */
static void source_remove_consumer(struct redis_source *self)
{
    static const char script[] = "local p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])\n"
                                 "if #p == 0 then\n"
                                 "  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])\n"
                                 "end\n"
                                 "return 0";
    struct weir_err ignored = {0};
    if (self->is_nameless && source_connect_acks(self, &ignored) == WEIR_OK) {
        freeReplyObject(redisCommand(self->acks, "EVAL %s 1 %s %s %s", script, self->config->stream,
                                     self->group, self->consumer));
    }
}

static void redis_source_stop(void *instance)
{
    struct redis_source *self = instance;
    if (self->running) {
        fd_signal(self->stop_fd);
        pthread_mutex_lock(&self->lock);
        self->stopping = true;
        if (self->reading != NULL) {
            shutdown(self->reading->fd, SHUT_RDWR);
        }
        pthread_cond_signal(&self->room);
        pthread_mutex_unlock(&self->lock);
        pthread_join(self->thread, NULL);
        self->running = false;
    }
    if (self->part != NULL) {
        weir_source_revoke(self->ctx, &self->part, 1, false);
        self->part = NULL;
        source_remove_consumer(self);
    }
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* The chunk that holds `next`, with a reference; NULL: not there yet. */
static struct chunk *window_look(struct redis_source *self)
{
    pthread_mutex_lock(&self->lock);
    struct chunk *chunk = self->first;
    while (chunk != NULL && self->next >= chunk->start + (int64_t)chunk->count) {
        chunk = chunk->next;
    }
    if (chunk != NULL) {
        atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed); /* under the lock */
    }
    pthread_mutex_unlock(&self->lock);
    return chunk;
}

/* The first part of an id is the server's time in ms. */
static int64_t id_time_ms(const redisReply *id)
{
    int64_t time_ms = 0;
    for (size_t i = 0; i < id->len && id->str[i] >= '0' && id->str[i] <= '9'; i++) {
        if (time_ms > (INT64_MAX - 9) / 10) {
            return INT64_MAX;
        }
        time_ms = time_ms * 10 + (id->str[i] - '0');
    }
    return time_ms;
}

static size_t deliver(struct redis_source *self, struct weir_intake *intake, struct chunk *chunk, size_t max)
{
    size_t count = 0;
    for (size_t i = (size_t)(self->next - chunk->start); i < chunk->count && count < max; i++) {
        const struct entry *entry = &chunk->entries[i];
        struct chunk *ref = count == 0 ? chunk : NULL;
        if (ref != NULL) {
            atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
        }
        struct weir_record *record = weir_intake_record(intake, self->part, ref);
        if (record == NULL) {
            if (ref != NULL) {
                chunk_unref(ref);
            }
            break;
        }
        record->position = self->next++;
        record->flags = WEIR_RECORD_RAW;
        record->time_ms = id_time_ms(entry->id);
        record->key = entry->key;
        record->raw = entry->value;
        count++;
    }
    return count;
}

static weir_status redis_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct redis_source *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    size_t count = 0, got = 1;
    struct chunk *chunk = NULL;
    while (count < max && got > 0 && (chunk = window_look(self)) != NULL) {
        got = deliver(self, intake, chunk, max - count);
        count += got;
        chunk_unref(chunk);
    }
    return count > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status redis_source_seek(void *instance,
                                     struct weir_partition *const *items,
                                     size_t count,
                                     struct weir_err *err)
{
    (void)err;
    struct redis_source *self = instance;
    WEIR_ASSERT(count == 1);
    self->next = items[0]->read;
    return WEIR_OK;
}

/* Appends XACKs of the entries in [from, to), a bounded number in each. */
static size_t put_acks(struct redis_source *self, int64_t from, int64_t to, struct weir_strbuf *out)
{
    size_t commands = 0;
    pthread_mutex_lock(&self->lock);
    for (const struct chunk *chunk = self->first; chunk != NULL && chunk->start < to;
         chunk = chunk->next) {
        int64_t end = chunk->start + (int64_t)chunk->count;
        int64_t at = from > chunk->start ? from : chunk->start;
        int64_t stop = to < end ? to : end;
        while (at < stop) {
            int64_t part = stop - at < ACK_COUNT ? stop - at : ACK_COUNT;
            redis_put_head(out, 3 + (size_t)part);
            redis_put(out, WEIR_SLICE("XACK"));
            redis_put(out, weir_slice_of(self->config->stream));
            redis_put(out, weir_slice_of(self->group));
            for (int64_t i = 0; i < part; i++, at++) {
                redis_put(out, reply_slice(chunk->entries[at - chunk->start].id));
            }
            commands++;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return commands;
}

/* Acknowledging what is acknowledged already is harmless, so a broken connection costs a repeat. */
static weir_status redis_source_commit(void *instance,
                                       struct weir_partition *const *items,
                                       size_t count,
                                       struct weir_err *err)
{
    struct redis_source *self = instance;
    WEIR_ASSERT(count == 1);
    weir_status status = source_connect_acks(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, SIZE_MAX / 2);
    size_t commands = put_acks(self, items[0]->committed, items[0]->closing, &out);
    WEIR_ASSERT(!out.failed);
    if (commands > 0 && redisAppendFormattedCommand(self->acks, out.data, out.size) != REDIS_OK) {
        status = redis_fail(err, self->config->stream, self->acks, NULL);
    }
    weir_strbuf_done(&out);
    for (size_t i = 0; i < commands && status == WEIR_OK; i++) {
        void *reply = NULL;
        if (redisGetReply(self->acks, &reply) != REDIS_OK ||
            ((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
            status = redis_fail(err, self->config->stream, self->acks, reply);
        }
        freeReplyObject(reply);
    }
    if (status != WEIR_OK) { /* answers may be left in it */
        redisFree(self->acks);
        self->acks = NULL;
        return err->status = status == WEIR_REJECTED ? WEIR_FATAL : status;
    }
    pthread_mutex_lock(&self->lock);
    while (self->first != NULL &&
           self->first->start + (int64_t)self->first->count <= items[0]->closing) {
        window_shift(self);
    }
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
    return WEIR_OK;
}

/* What is still to come: `lag` of the group, nil when the server cannot tell. */
static void source_gauge(struct redis_source *self)
{
    redisReply *reply = redisCommand(self->acks, "XINFO GROUPS %s", self->config->stream);
    int64_t lag = -1;
    for (size_t i = 0; reply_is_list(reply) && i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        bool is_ours = false;
        for (size_t k = 0; reply_is_list(row) && k + 1 < row->elements; k += 2) {
            const redisReply *value = row->element[k + 1];
            if (strcmp(row->element[k]->str, "name") == 0) {
                is_ours = weir_slice_equal(reply_slice(value), weir_slice_of(self->group));
            } else if (is_ours && strcmp(row->element[k]->str, "lag") == 0 &&
                       value->type == REDIS_REPLY_INTEGER) {
                lag = value->integer;
            }
        }
    }
    freeReplyObject(reply);
    pthread_mutex_lock(&self->lock);
    int64_t filled = self->filled;
    pthread_mutex_unlock(&self->lock);
    atomic_store_explicit(&self->part->end, lag < 0 ? -1 : filled + lag, memory_order_relaxed);
}

static weir_status redis_source_poll(void *instance, struct weir_err *err)
{
    struct redis_source *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    if (err->status == WEIR_OK && self->acks != NULL && self->acks->err == 0 && self->part != NULL &&
        now_ns - self->gauged_ns >= (int64_t)GAUGE_MS * 1000000) {
        self->gauged_ns = now_ns;
        source_gauge(self);
    }
    return err->status;
}

static weir_status redis_source_check(const void *config, struct weir_err *err)
{
    const struct redis_source_config *self = config;
    return redis_connection_check(&self->connection, err);
}

static const struct weir_batch_origin redis_origin = {.release = chunk_release};

static const struct weir_source_ops redis_source_ops = {
    .start = redis_source_start,
    .poll = redis_source_poll,
    .read = redis_source_read,
    .seek = redis_source_seek,
    .commit = redis_source_commit,
    .stop = redis_source_stop,
    .origin = &redis_origin,
};

const struct weir_component weir_component_redis_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "redis",
            .summary = "Reads a Redis stream as one of a consumer group.",
            .help = "Entries are acknowledged when their outputs are safe. Any number of processes "
                    "share the group; what one of them leaves lying the others take over. There is "
                    "no order between processes, and an entry that is taken over comes late. A "
                    "record's time is the time in the entry's id.",
            .example = "redis: {url: localhost:6379, stream: orders}",
            .fields = redis_source_fields,
            .config_size = sizeof(struct redis_source_config),
        },
    .self_size = sizeof(struct redis_source),
    .positions = WEIR_POSITIONS_GROUP,
    .open = redis_source_open,
    .close = redis_source_close,
    .check = redis_source_check,
    .ops = {.source = &redis_source_ops},
};

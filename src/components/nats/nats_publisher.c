/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes hold `connected` for reading while they publish; the thread takes it for writing to change
 * the connection. Answers are taken in heaps: a thread that wakes for each of them costs more than
 * all the rest, so after the first it waits a millisecond for others.
 *
 * That nobody listens to a subject (503) means that no stream keeps it, or that the stream has no
 * leader just now; nothing tells the one from the other, so it is *unavailable*: records are held
 * back, and none is given up that only came at a bad moment.
 */
#include "nats_publisher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/fnv.h"
#include "base/wake.h"
#include "nats_api.h"

enum { WAIT_MS = 100, HEAP_MS = 1, HEAP_MAX = 1024 };
enum { ID_NAME_MAX = 200, ID_MAX = ID_NAME_MAX + 7 * 21 + 1 };
#define NS_PER_MS 1000000LL

/* An output is known by its input and its number among the outputs of that input. */
struct nats_origin {
    const struct weir_partition *partition;
    int64_t position;
    uint64_t outputs;
};

static const char *subject_name(const struct nats_publisher *self, const char *otherwise)
{
    const char *text = self->settings.message->subject.text;
    return text != NULL ? text : otherwise;
}

/* --- answers; the thread -----------------------------------------------------------------------*/

struct heap {
    size_t count;
    uint64_t numbers[HEAP_MAX];
    uint64_t duplicates;
    uint64_t failed; /* the number that err is about; 0: none */
    struct weir_err err;
};

static void read_json(struct nats_publisher *self,
                      struct weir_slice text,
                      bool *ret_is_duplicate,
                      struct weir_err *err)
{
    const char *stream = self->settings.stream;
    struct weir_arena arena;
    struct weir_value value = {0};
    struct nats_answer answer;
    weir_arena_init(&arena, 0);
    if (weir_json_parse(&arena, text, NULL, &value, err) == WEIR_OK) {
        nats_api_error(value, &answer);
        struct weir_slice name = weir_value_text(weir_value_get(value, WEIR_SLICE("stream")));
        *ret_is_duplicate = weir_value_is_true(weir_value_get(value, WEIR_SLICE("duplicate")));
        if (answer.code != 0) {
            (void)!nats_api_fail(err, subject_name(self, "publishing"), &answer);
        } else if (stream != NULL && !weir_slice_equal(name, weir_slice_of(stream))) {
            (void)!weir_fail(err, WEIR_CONFIG, "the stream %.*s keeps the subject, not %s",
                             name.size < 60 ? (int)name.size : 60, name.data, stream);
        }
    }
    weir_arena_done(&arena);
}

/* {"stream":"S","seq":1} is by far the most frequent answer; parsing is for the others. */
static bool is_plain(struct weir_slice text, const char *stream)
{
    static const char head[] = "{\"stream\":\"", middle[] = "\",\"seq\":";
    const size_t head_size = sizeof(head) - 1, middle_size = sizeof(middle) - 1;
    if (text.size < head_size || memcmp(text.data, head, head_size) != 0) {
        return false;
    }
    const char *at = text.data + head_size, *end = text.data + text.size;
    const char *quote = memchr(at, '"', (size_t)(end - at));
    if (quote == NULL || (size_t)(end - quote) < middle_size + 2 ||
        memcmp(quote, middle, middle_size) != 0 ||
        (stream != NULL && ((size_t)(quote - at) != strlen(stream) ||
                            memcmp(at, stream, (size_t)(quote - at)) != 0))) {
        return false;
    }
    at = quote + middle_size;
    while (*at >= '0' && *at <= '9' && at < end - 1) {
        at++;
    }
    return at == end - 1 && *at == '}';
}

static void read_answer(struct nats_publisher *self, natsMsg *message, struct heap *heap)
{
    const struct weir_slice text = {natsMsg_GetData(message),
                                    (size_t)natsMsg_GetDataLength(message)};
    uint64_t number =
        strtoull(natsMsg_GetSubject(message) + strlen(self->client->prefix), NULL, 10);
    heap->numbers[heap->count++] = number;
    if (is_plain(text, self->settings.stream)) {
        return;
    }
    struct weir_err err = {0};
    bool is_duplicate = false;
    read_json(self, text, &is_duplicate, &err);
    heap->duplicates += is_duplicate;
    if (err.status != WEIR_OK && heap->failed == 0) {
        heap->failed = number;
        heap->err = err;
    }
}

static bool has_room(const struct nats_publisher *self)
{
    const struct weir_delivery *delivery = &self->acks.delivery;
    return delivery->written - delivery->answered <= NATS_ACKS_MAX / 2;
}

static void take_heap(struct nats_publisher *self, const struct heap *heap)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    weir_delivery_lock(delivery);
    for (size_t i = 0; i < heap->count; i++) {
        bool is_awaited = nats_acks_mark(&self->acks, heap->numbers[i]);
        if (is_awaited && heap->numbers[i] == heap->failed) { /* else: of an aborted epoch */
            weir_delivery_blame(delivery, &heap->err);
        }
    }
    self->duplicates += heap->duplicates;
    weir_delivery_unlock_and_tell(delivery, has_room(self));
}

static void fail_unheard(struct nats_publisher *self)
{
    struct weir_err err = {0};
    (void)!weir_fail(&err, WEIR_UNAVAILABLE, "no stream keeps %s",
                     subject_name(self, "the subject of a record"));
    weir_err_hint(&err, "Records are held back until one does.");
    weir_delivery_fail(&self->acks.delivery, &err);
}

/* False: the connection is gone. */
static bool receive(struct nats_publisher *self, struct heap *heap)
{
    natsMsg *message = NULL;
    uint64_t queued = 0;
    natsStatus code = natsSubscription_NextMsg(&message, self->client->inbox, WAIT_MS);
    if (code == NATS_OK) {
        (void)weir_thread_pause(&self->thread, HEAP_MS);
        (void)natsSubscription_QueuedMsgs(self->client->inbox, &queued);
    }
    heap->count = 0;
    heap->duplicates = heap->failed = 0;
    while (code == NATS_OK) {
        read_answer(self, message, heap);
        natsMsg_Destroy(message);
        if (queued-- == 0 || heap->count == HEAP_MAX) {
            break;
        }
        code = natsSubscription_NextMsg(&message, self->client->inbox, WAIT_MS);
    }
    if (heap->count > 0) {
        take_heap(self, heap);
    }
    if (code == NATS_NO_RESPONDERS) { /* the library keeps to itself of which message */
        fail_unheard(self);
        return true;
    }
    return code == NATS_OK || code == NATS_TIMEOUT;
}

/* An answer that does not come: the message or the answer was lost. */
static void check_silence(struct nats_publisher *self)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    int64_t now_ns = weir_clock_monotonic_ns(self->settings.ctx->clock);
    weir_delivery_lock(delivery);
    uint64_t oldest = delivery->answered;
    if (delivery->written == oldest || oldest != self->watched || self->watched_ns == 0) {
        self->watched = oldest;
        self->watched_ns = now_ns;
    } else if (now_ns - self->watched_ns > self->settings.timeout_ms * NS_PER_MS) {
        struct weir_err err = {0};
        (void)!weir_fail(&err, WEIR_UNAVAILABLE, "no acknowledgement within %lld ms",
                         (long long)self->settings.timeout_ms);
        weir_delivery_blame(delivery, &err);
    }
    weir_delivery_unlock_and_tell(delivery, false);
}

/* Core NATS: when the server answers a PING it has taken what was sent before. A refusal comes
 * before the answer. What was sealed was published before anything else, so counting is enough.
 * False: the connection is gone. */
static bool flush(struct nats_publisher *self, struct weir_err *err)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    (void)weir_thread_wait(&self->thread, self->wake_fd, WAIT_MS);
    weir_delivery_lock(delivery);
    uint64_t published = self->published;
    bool is_open = published > delivery->answered;
    weir_delivery_unlock(delivery);
    if (!is_open) {
        return !natsConnection_IsClosed(self->client->connection);
    }
    natsStatus code =
        natsConnection_FlushTimeout(self->client->connection, self->settings.timeout_ms);
    if (code != NATS_OK) {
        (void)!nats_fail(err, "publishing", code);
        return false;
    }
    if (nats_client_denied(self->client, err) != WEIR_OK) {
        return false;
    }
    weir_delivery_lock(delivery);
    for (uint64_t number = delivery->answered + 1; number <= published; number++) {
        (void)nats_acks_mark(&self->acks, number);
    }
    weir_delivery_unlock_and_tell(delivery, has_room(self));
    return true;
}

/* --- the connection; the thread ----------------------------------------------------------------*/

/* NULL: to end. */
static struct nats_client *connect_client(struct nats_publisher *self, bool *was_connected)
{
    const struct nats_publisher_settings *settings = &self->settings;
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", settings->ctx->pipeline, settings->ctx->path);
    bool told = false;
    int waited_ms = 0;
    while (!weir_thread_pause(&self->thread, 0)) {
        struct weir_err err = {0};
        struct nats_client *client = nats_client_open(settings->address, name, &err);
        weir_status status = client == NULL ? err.status : WEIR_OK;
        if (status == WEIR_OK && settings->ops->ensure != NULL) {
            status = settings->ops->ensure(self, client, &err);
        }
        if (status == WEIR_OK) {
            if (*was_connected) {
                WEIR_LOG_INFO(settings->ctx->log, "connected again");
            }
            *was_connected = true;
            return client;
        }
        nats_client_free(client);
        weir_delivery_away(&self->acks.delivery, &err);
        /* What is refused at first is a mistake; later it is a server that restarts. */
        if (weir_status_class(status) == WEIR_CLASS_FATAL && !*was_connected) {
            weir_delivery_fail(&self->acks.delivery, &err);
        }
        if (!told) {
            WEIR_LOG_WARN(settings->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        if (weir_thread_back_off(&self->thread, &waited_ms)) {
            break;
        }
    }
    return NULL;
}

static void set_client(struct nats_publisher *self, struct nats_client *client)
{
    struct nats_client *before = self->client;
    if (before != NULL) {
        nats_client_close(before); /* a lane that is sending gets an error */
    }
    pthread_rwlock_wrlock(&self->connected);
    self->client = client;
    pthread_rwlock_unlock(&self->connected);
    nats_client_free(before);
}

/* What is under way has no answer: whether it was stored is not known. */
static void lose(struct nats_publisher *self, struct weir_err *err)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    WEIR_LOG_WARN(self->settings.ctx->log, "connection lost", WEIR_F_ERR(err));
    weir_delivery_lock(delivery);
    if (delivery->written > delivery->answered || err->status == WEIR_DENIED) {
        weir_delivery_blame(delivery, err);
    }
    nats_acks_forget(&self->acks);
    weir_delivery_unlock_and_tell(delivery, false);
}

/* Until the connection is gone (false) or the sink ends (true). */
static bool serve(struct nats_publisher *self, struct heap *heap, struct weir_err *err)
{
    while (!weir_thread_pause(&self->thread, 0)) {
        if (self->settings.is_core) {
            if (!flush(self, err)) {
                return false;
            }
            continue;
        }
        if (!receive(self, heap) || nats_client_denied(self->client, err) != WEIR_OK) {
            return false;
        }
        check_silence(self);
    }
    return true;
}

static void *publisher_main(void *argument)
{
    struct nats_publisher *self = argument;
    struct heap *heap = weir_calloc(1, sizeof(*heap));
    struct nats_client *client = NULL;
    bool was_connected = false;
    while ((client = connect_client(self, &was_connected)) != NULL) {
        set_client(self, client);
        weir_delivery_back(&self->acks.delivery);
        struct weir_err err = {0};
        if (serve(self, heap, &err)) {
            break;
        }
        set_client(self, NULL);
        (void)!weir_fail(&err, WEIR_UNAVAILABLE, "the connection broke");
        lose(self, &err);
    }
    set_client(self, NULL);
    weir_free(heap);
    return NULL;
}

/* --- its life; control -------------------------------------------------------------------*/

weir_status nats_publisher_init(struct nats_publisher *self,
                                const struct nats_publisher_settings *settings,
                                struct weir_err *err)
{
    self->settings = *settings;
    weir_delivery_init(&self->acks.delivery, settings->ctx);
    pthread_rwlock_init(&self->connected, NULL);
    self->origins = weir_calloc(settings->ctx->lanes, sizeof(*self->origins));
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->wake_fd >= 0 ? WEIR_OK
                              : weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
}

weir_status nats_publisher_start(struct nats_publisher *self, struct weir_err *err)
{
    return weir_thread_start(&self->thread, publisher_main, self, err);
}

void nats_publisher_done(struct nats_publisher *self)
{
    if (self->settings.ctx == NULL) {
        return;
    }
    weir_thread_stop(&self->thread);
    if (self->duplicates > 0) {
        WEIR_LOG_INFO(self->settings.ctx->log, "the server dropped messages that it had",
                      WEIR_F("messages", self->duplicates));
    }
    if (self->wake_fd >= 0) {
        close(self->wake_fd);
    }
    weir_free(self->origins);
    nats_seen_done(&self->seen);
    pthread_rwlock_destroy(&self->connected);
    weir_delivery_done(&self->acks.delivery);
    *self = (struct nats_publisher){0};
}

/* --- messages; lane ----------------------------------------------------------------------------*/

/* Not snprintf: ids are made for each record. */
static char *put_number(char *at, uint64_t number)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    while (count > 0) {
        *at++ = digits[--count];
    }
    return at;
}

static char *put_hex(char *at, uint64_t number)
{
    for (int shift = 60; shift >= 0; shift -= 4) {
        *at++ = "0123456789abcdef"[number >> shift & 15];
    }
    return at;
}

/* What the ids of this sink begin with; returns where it ends. */
static char *put_prefix(char *at, const struct weir_ctx *ctx)
{
    size_t name = strnlen(ctx->pipeline, ID_NAME_MAX);
    memcpy(at, ctx->pipeline, name);
    at += name;
    *at++ = '/';
    at = put_number(at, ctx->index);
    *at++ = '/';
    return at;
}

/* PIPELINE/SINK/SOURCE/TOPIC/PARTITION/POSITION/NUMBER. Of a topic its hash: it may be the path of
 * a file, of any length and any bytes. */
static size_t make_id(struct nats_publisher *self,
                      const struct weir_partition *partition,
                      const struct weir_record *record,
                      char ret[ID_MAX])
{
    struct nats_origin *origin = &self->origins[partition->lane];
    bool is_same = origin->partition == partition && origin->position == record->position;
    *origin = (struct nats_origin){partition, record->position, is_same ? origin->outputs + 1 : 0};
    const int64_t numbers[] = {partition->index, record->position, (int64_t)origin->outputs};
    char *at = put_prefix(ret, self->settings.ctx);
    at = put_number(at, partition->source);
    *at++ = '/';
    at = put_hex(at, weir_fnv(WEIR_FNV_START, partition->topic, strlen(partition->topic)));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        *at++ = '/';
        if (numbers[i] < 0) {
            *at++ = '-';
        }
        at = put_number(at, numbers[i] < 0 ? 0 - (uint64_t)numbers[i] : (uint64_t)numbers[i]);
    }
    *at = '\0';
    return (size_t)(at - ret);
}

weir_status nats_publisher_target(struct nats_publisher *self,
                                  struct weir_run *run,
                                  struct weir_record *record,
                                  struct weir_err *err)
{
    struct weir_batch *batch = weir_run_batch(run);
    char id[ID_MAX];
    id[0] = '\0';
    size_t size = 0;
    if (self->settings.ctx->identified) {
        size = make_id(self, weir_batch_partition(batch), record, id);
    } else if (record->target.data == self->settings.message->subject.text) {
        return WEIR_OK; /* it has its NUL */
    }
    char *text = weir_arena_alloc(weir_batch_arena(batch), record->target.size + size + 2);
    if (text == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    memcpy(text, record->target.data, record->target.size);
    text[record->target.size] = '\0';
    memcpy(text + record->target.size + 1, id, size + 1);
    record->target.data = text;
    return WEIR_OK;
}

const char *nats_publisher_id(const struct nats_publisher *self, const struct weir_record *record)
{
    return self->settings.ctx->identified ? record->target.data + record->target.size + 1 : NULL;
}

weir_status nats_publisher_read_back(struct nats_publisher *self,
                                     struct nats_client *client,
                                     const char *stream,
                                     struct weir_err *err)
{
    char prefix[ID_MAX];
    *put_prefix(prefix, self->settings.ctx) = '\0';
    return nats_seen_read(&self->seen, client, stream, self->settings.message->subject.text, prefix,
                          err);
}

/* prefix + number, as text. */
static const char *
make_reply(const struct nats_publisher *self, uint64_t number, char ret[NATS_INBOX_MAX + 24])
{
    size_t prefix = strlen(self->client->prefix);
    memcpy(ret, self->client->prefix, prefix);
    char *end = ret + NATS_INBOX_MAX + 24, *at = end;
    *--at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memmove(ret + prefix, at, (size_t)(end - at));
    return ret;
}

static natsStatus
publish(struct nats_publisher *self, const struct weir_record *record, uint64_t number)
{
    const struct nats_publisher_settings *settings = &self->settings;
    natsConnection *connection = self->client->connection;
    char buffer[NATS_INBOX_MAX + 24];
    const char *reply = settings->is_core ? NULL : make_reply(self, number, buffer);
    if (settings->ops->dress == NULL && !nats_message_has_headers(settings->message, record)) {
        return reply == NULL
                   ? natsConnection_Publish(connection, record->target.data, record->raw.data,
                                            (int)record->raw.size)
                   : natsConnection_PublishRequest(connection, record->target.data, reply,
                                                   record->raw.data, (int)record->raw.size);
    }
    natsMsg *message = NULL;
    natsStatus code = nats_message_make(settings->message, record, reply, &message);
    if (code == NATS_OK && settings->ops->dress != NULL) {
        code = settings->ops->dress(self, record, message);
    }
    code = code == NATS_OK ? natsConnection_PublishMsg(connection, message) : code;
    natsMsg_Destroy(message);
    return code;
}

/* The stream has it: as good as acknowledged. */
static void skip(struct nats_publisher *self, uint64_t number)
{
    weir_delivery_lock(&self->acks.delivery);
    self->duplicates += nats_acks_mark(&self->acks, number);
    weir_delivery_unlock_and_tell(&self->acks.delivery, has_room(self));
}

/* Publishes up to `count` records, as many as may be under way. */
static size_t
publish_some(struct nats_publisher *self, struct weir_record *const *records, size_t count)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    weir_delivery_lock(delivery);
    uint64_t number = delivery->written;
    /* Nothing behind what is to be written again: it would come before it. */
    size_t room = delivery->failure.status == WEIR_OK ? nats_acks_take(&self->acks, count) : 0;
    delivery->lanes_wait = delivery->lanes_wait || room < count;
    weir_delivery_unlock(delivery);
    for (size_t i = 0; i < room; i++) {
        number++;
        if (nats_seen_take(&self->seen, nats_publisher_id(self, records[i]))) {
            skip(self, number);
            continue;
        }
        natsStatus code = publish(self, records[i], number);
        if (code != NATS_OK) {
            struct weir_err err = {0};
            (void)!nats_fail(&err, "publishing", code);
            weir_delivery_fail(delivery, &err);
        }
    }
    if (self->settings.is_core) {
        weir_delivery_lock(delivery);
        self->published += room;
        weir_delivery_unlock(delivery);
        weir_wake(self->wake_fd);
    }
    return room;
}

/* `connected` is held. */
static weir_status write_all(struct nats_publisher *self,
                             struct weir_record *const *records,
                             size_t count,
                             size_t *cursor,
                             struct weir_err *err)
{
    size_t limit = (size_t)natsConnection_GetMaxPayload(self->client->connection);
    while (*cursor < count) {
        size_t fitting = 0;
        while (*cursor + fitting < count &&
               nats_message_bytes(records[*cursor + fitting]) <= limit) {
            fitting++;
        }
        if (fitting == 0) {
            return weir_fail(err, WEIR_TOO_LARGE,
                             "the message has more than the %zu bytes that the server takes",
                             limit);
        }
        size_t sent = publish_some(self, records + *cursor, fitting);
        *cursor += sent;
        if (sent < fitting) {
            return WEIR_AGAIN;
        }
    }
    return WEIR_OK;
}

static weir_status wait_for_connection(struct nats_publisher *self)
{
    weir_delivery_lock(&self->acks.delivery);
    self->acks.delivery.lanes_wait = true;
    weir_delivery_unlock(&self->acks.delivery);
    return WEIR_AGAIN;
}

weir_status nats_publisher_write(void *instance,
                                 unsigned lane,
                                 struct weir_batch *batch,
                                 struct weir_record *const *records,
                                 size_t count,
                                 size_t *cursor,
                                 struct weir_err *err)
{
    (void)lane;
    (void)batch;
    struct nats_publisher *self = instance;
    pthread_rwlock_rdlock(&self->connected);
    weir_status status = self->client == NULL ? wait_for_connection(self)
                                              : write_all(self, records, count, cursor, err);
    pthread_rwlock_unlock(&self->connected);
    return status;
}

/* --- epochs; control ---------------------------------------------------------------------------*/

weir_status nats_publisher_poll(void *instance, struct weir_err *err)
{
    struct nats_publisher *self = instance;
    return weir_delivery_poll(&self->acks.delivery, err);
}

void nats_publisher_seal(void *instance)
{
    struct nats_publisher *self = instance;
    weir_delivery_seal(&self->acks.delivery);
}

weir_status nats_publisher_confirm(void *instance, struct weir_err *err)
{
    struct nats_publisher *self = instance;
    return weir_delivery_confirm(&self->acks.delivery, err);
}

weir_status nats_publisher_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct nats_publisher *self = instance;
    pthread_rwlock_rdlock(&self->connected);
    if (self->client != NULL) {
        nats_seen_restart(&self->seen);
    }
    pthread_rwlock_unlock(&self->connected);
    weir_delivery_lock(&self->acks.delivery);
    nats_acks_forget(&self->acks);
    /* Inputs come again. */
    memset(self->origins, 0, self->settings.ctx->lanes * sizeof(*self->origins));
    weir_delivery_forget(&self->acks.delivery);
    weir_delivery_unlock(&self->acks.delivery);
    return WEIR_OK;
}

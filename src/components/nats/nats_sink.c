/* SPDX-License-Identifier: Apache-2.0
 *
 * The NATS sink: lanes publish, each message with a reply subject of its own, and a thread of the
 * sink counts the answers. When all that was sealed is acknowledged, the epoch is confirmed.
 *
 * An answer that is an error, one that does not come, or a connection that breaks with answers
 * outstanding, is the failure of the epoch: it is aborted and written again, so a message may be
 * stored twice, never not at all. That nobody listens to a subject (503) means that no stream keeps
 * it, or that the stream has no leader just now; nothing tells the one from the other, so it is
 * *unavailable*: records are held back, and none is given up that only came at a bad moment.
 *
 * Lanes hold `connected` for reading while they publish; the thread takes it for writing to change
 * the connection.
 */
#include "nats_sink.h"
#include "nats_acks.h"
#include "nats_api.h"
#include "nats_lease.h"
#include "nats_positioned.h"
#include "nats_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/thread.h"
#include "source/leased.h"

enum { WAIT_MS = 100, ANSWERS_MAX = 256 };
enum { HEADER_OVERHEAD_BYTES = 16 };
#define NS_PER_MS 1000000LL

struct nats_sink_config {
    struct nats_address address;
    struct weir_template subject;
    struct weir_expr key;
    const char *stream, *key_header;
    struct weir_strs subjects;
    int manage;
    bool atomic;
    weir_duration ack_timeout;
};

static const struct weir_choice manage_choices[] = {
    {"create", NATS_MANAGE_CREATE, "`stream` is made from `subjects` if it does not exist."},
    {"bind", NATS_MANAGE_BIND, "It must be there."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct nats_sink_config
static const struct weir_field nats_sink_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_TEMPLATE(S, subject, .flags = WEIR_REQUIRED, .example = "orders.paid",
                    .help = "The subject to publish to, or `{jq: EXPR}` to compute it from the "
                            "record. A stream must keep it."),
    WEIR_F_STR(S, stream, .unset = "whichever keeps the subject", .min = 1, .max = NATS_NAME_MAX,
               .example = "ORDERS",
               .help = "The stream that is meant: another one that keeps the subject ends the "
                       "pipeline."),
    WEIR_F_STRS(S, subjects, .max = 1000, .example = "orders.>", .unset = "the stream must exist",
                .help = "If `stream` does not exist, it is made and keeps these subjects."),
    WEIR_F_ENUM(S, manage, manage_choices, .fallback = "create",
                .help = "What weir does about the stream."),
    WEIR_F_BOOL(S, atomic, .fallback = "false",
                .help = "Outputs are committed with state and position of their source, as one batch "
                        "of `stream`: exactly-once. Needs nats-server 2.12, a `nats` source of the "
                        "same `url` that is read by position, and a stream without limits that takes "
                        "batches (`allow_atomic`) and keeps `weir.NAME.task.>`, where the positions "
                        "lie; weir makes it so."),
    WEIR_F_JQ(S, key, .unset = "the input's key", .example = ".country", .help = "The record's key."),
    WEIR_F_STR(S, key_header, .unset = "the key is not written", .min = 1, .max = NATS_NAME_MAX,
               .example = "customer", .help = "The header that the key is written to."),
    WEIR_F_DURATION(S, ack_timeout, .fallback = "10s", .min = 100, .max = 600000,
                    .help = "How long an acknowledgement may take before the records are written "
                            "again."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule nats_sink_rules[] = {
    {WEIR_RULE_NEEDS, {"subjects", "stream"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

/* An output is known by its input and its number among the outputs of that input. */
struct nats_origin {
    const struct weir_partition *partition;
    int64_t position;
    uint64_t outputs;
};

struct nats_sink {
    const struct nats_sink_config *config;
    struct weir_ctx *ctx;
    struct weir_thread thread;
    struct nats_origin *origins; /* by lane: what its last output was made from */
    struct nats_target target;   /* atomic */

    pthread_rwlock_t connected; /* guards the client; taken before the lock of `acks` */
    struct nats_client *client;

    struct nats_acks acks; /* its lock guards what follows */
    uint64_t watched;      /* the thread's: `answered` when it was last seen to move, … */
    int64_t watched_ns;    /* … and when that was */
    uint64_t duplicates;
};

/* --- answers; the thread -----------------------------------------------------------------------*/

struct answer {
    uint64_t number;
    bool is_duplicate;
    struct weir_err err;
};

/* {"stream":"S","seq":1} is by far the most frequent answer; parsing is for the others. */
static void read_answer(struct nats_sink *self, natsMsg *message, struct answer *ret)
{
    const char *text = natsMsg_GetData(message), *subject = natsMsg_GetSubject(message);
    size_t size = (size_t)natsMsg_GetDataLength(message), prefix = strlen(self->client->prefix);
    *ret = (struct answer){.number = strtoull(subject + prefix, NULL, 10)};
    const char *stream = self->config->stream;
    char expected[NATS_NAME_MAX + 16];
    int length = stream != NULL
                     ? snprintf(expected, sizeof(expected), "{\"stream\":\"%s\",", stream)
                     : snprintf(expected, sizeof(expected), "{\"stream\":\"");
    if (size > (size_t)length && memcmp(text, expected, (size_t)length) == 0 &&
        memmem(text, size, "\"duplicate\"", 11) == NULL) {
        return;
    }
    struct weir_arena arena;
    struct weir_value value = {0};
    struct nats_answer answer;
    weir_arena_init(&arena, 0);
    if (weir_json_parse(&arena, (struct weir_slice){text, size}, NULL, &value, &ret->err) ==
        WEIR_OK) {
        nats_api_error(value, &answer);
        struct weir_slice name = weir_value_text(weir_value_get(value, WEIR_SLICE("stream")));
        ret->is_duplicate = weir_value_is_true(weir_value_get(value, WEIR_SLICE("duplicate")));
        if (answer.code != 0) {
            const char *what = self->config->subject.text;
            (void)!nats_api_fail(&ret->err, what != NULL ? what : "publishing", &answer);
        } else if (stream != NULL && !weir_slice_equal(name, weir_slice_of(stream))) {
            (void)!weir_fail(&ret->err, WEIR_CONFIG, "the stream %.*s keeps the subject, not %s",
                             name.size < 60 ? (int)name.size : 60, name.data, stream);
        }
    }
    weir_arena_done(&arena);
}

static bool sink_has_room(const struct nats_sink *self)
{
    const struct weir_delivery *delivery = &self->acks.delivery;
    return delivery->written - delivery->answered <= NATS_ACKS_MAX / 2;
}

static void sink_take_answers(struct nats_sink *self, const struct answer *answers, size_t count)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    weir_delivery_lock(delivery);
    for (size_t i = 0; i < count; i++) {
        if (!nats_acks_mark(&self->acks, answers[i].number)) {
            continue; /* of an epoch that was aborted */
        }
        self->duplicates += answers[i].is_duplicate;
        if (answers[i].err.status != WEIR_OK) {
            weir_delivery_blame(delivery, &answers[i].err);
        }
    }
    weir_delivery_unlock_and_tell(delivery, sink_has_room(self));
}

static void sink_fail_unheard(struct nats_sink *self)
{
    const char *subject = self->config->subject.text;
    struct weir_err err = {0};
    (void)!weir_fail(&err, WEIR_UNAVAILABLE, "no stream keeps %s",
                     subject != NULL ? subject : "the subject of a record");
    weir_err_hint(&err, "Records are held back until one does.");
    weir_delivery_fail(&self->acks.delivery, &err);
}

/* False: the connection is gone. */
static bool sink_receive(struct nats_sink *self, struct answer answers[ANSWERS_MAX])
{
    natsMsg *message = NULL;
    uint64_t queued = 0;
    natsStatus code = natsSubscription_NextMsg(&message, self->client->inbox, WAIT_MS);
    if (code == NATS_OK) {
        (void)natsSubscription_QueuedMsgs(self->client->inbox, &queued);
    }
    size_t count = 0;
    while (code == NATS_OK) {
        read_answer(self, message, &answers[count++]);
        natsMsg_Destroy(message);
        if (queued-- == 0 || count == ANSWERS_MAX) {
            break;
        }
        code = natsSubscription_NextMsg(&message, self->client->inbox, WAIT_MS);
    }
    if (count > 0) {
        sink_take_answers(self, answers, count);
    }
    if (code == NATS_NO_RESPONDERS) { /* the library keeps to itself of which message */
        sink_fail_unheard(self);
        return true;
    }
    return code == NATS_OK || code == NATS_TIMEOUT;
}

/* An answer that does not come: the message or the answer was lost. */
static void sink_check_silence(struct nats_sink *self)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    int64_t now_ns = weir_clock_monotonic_ns(self->ctx->clock);
    weir_delivery_lock(delivery);
    uint64_t oldest = delivery->answered;
    if (delivery->written == oldest || oldest != self->watched || self->watched_ns == 0) {
        self->watched = oldest;
        self->watched_ns = now_ns;
    } else if (now_ns - self->watched_ns > self->config->ack_timeout * NS_PER_MS) {
        struct weir_err err = {0};
        (void)!weir_fail(&err, WEIR_UNAVAILABLE, "no acknowledgement within %lld ms",
                         (long long)self->config->ack_timeout);
        weir_delivery_blame(delivery, &err);
    }
    weir_delivery_unlock_and_tell(delivery, false);
}

/* --- the connection; the thread ----------------------------------------------------------------*/

static weir_status
sink_ensure(struct nats_sink *self, struct nats_client *client, struct weir_err *err)
{
    const struct nats_sink_config *config = self->config;
    struct weir_arena arena;
    struct weir_value info;
    const char *found = NULL;
    weir_arena_init(&arena, 0);
    weir_status status = WEIR_OK;
    if (config->stream != NULL) {
        const struct nats_stream_spec spec = {.name = config->stream,
                                              .subjects = config->subjects,
                                              .manage = (enum nats_manage)config->manage};
        status = nats_stream_ensure(client, &spec, &arena, &info, err);
    }
    if (status == WEIR_OK && config->subject.text != NULL) {
        status = nats_stream_of(client, config->subject.text, &arena, &found, err);
        bool is_wrong =
            config->stream != NULL && found != NULL && strcmp(found, config->stream) != 0;
        if (status == WEIR_OK && (found == NULL || is_wrong)) {
            status = found == NULL
                         ? weir_fail(err, WEIR_CONFIG, "no stream keeps the subject %s",
                                     config->subject.text)
                         : weir_fail(err, WEIR_CONFIG, "the stream %s keeps the subject, not %s",
                                     found, config->stream);
            weir_err_hint(err,
                          "Write `stream` and `subjects`, from which weir makes one, or add the "
                          "subject to a stream.");
        }
    }
    weir_arena_done(&arena);
    return status;
}

/* NULL: to end. */
static struct nats_client *sink_connect(struct nats_sink *self, bool *was_connected)
{
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", self->ctx->pipeline, self->ctx->path);
    bool told = false;
    int waited_ms = 0;
    while (!weir_thread_pause(&self->thread, 0)) {
        struct weir_err err = {0};
        struct nats_client *client = nats_client_open(&self->config->address, name, &err);
        weir_status status = client == NULL ? err.status : sink_ensure(self, client, &err);
        if (status == WEIR_OK) {
            if (*was_connected) {
                WEIR_LOG_INFO(self->ctx->log, "connected again");
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
            WEIR_LOG_WARN(self->ctx->log, "not connected", WEIR_F_ERR(&err));
            told = true;
        }
        if (weir_thread_back_off(&self->thread, &waited_ms)) {
            break;
        }
    }
    return NULL;
}

static void sink_set_client(struct nats_sink *self, struct nats_client *client)
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
static void sink_lose(struct nats_sink *self, struct weir_err *err)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    WEIR_LOG_WARN(self->ctx->log, "connection lost", WEIR_F_ERR(err));
    weir_delivery_lock(delivery);
    if (delivery->written > delivery->answered || err->status == WEIR_DENIED) {
        weir_delivery_blame(delivery, err);
    }
    nats_acks_forget(&self->acks);
    weir_delivery_unlock_and_tell(delivery, false);
}

static void *sink_main(void *argument)
{
    struct nats_sink *self = argument;
    struct nats_client *client = NULL;
    static _Thread_local struct answer answers[ANSWERS_MAX];
    bool was_connected = false;
    while ((client = sink_connect(self, &was_connected)) != NULL) {
        sink_set_client(self, client);
        weir_delivery_back(&self->acks.delivery);
        struct weir_err err = {0};
        bool is_there = true, ended = false;
        while (is_there && !(ended = weir_thread_pause(&self->thread, 0))) {
            is_there = sink_receive(self, answers) && nats_client_denied(client, &err) == WEIR_OK;
            sink_check_silence(self);
        }
        if (ended) {
            break;
        }
        sink_set_client(self, NULL);
        (void)!weir_fail(&err, WEIR_UNAVAILABLE, "the connection broke");
        sink_lose(self, &err);
    }
    sink_set_client(self, NULL);
    return NULL;
}

/* --- open and close; control -------------------------------------------------------------------*/

static weir_status
nats_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct nats_sink *self = instance;
    self->config = config;
    self->ctx = ctx;
    weir_delivery_init(&self->acks.delivery, ctx);
    pthread_rwlock_init(&self->connected, NULL);
    self->origins = weir_calloc(ctx->lanes, sizeof(*self->origins));
    weir_arena_init(&self->target.arena, 0);
    if (ctx->transactional) { /* what is written goes into the commit of its task */
        self->target.spec =
            (struct nats_stream_spec){.name = self->config->stream,
                                      .subjects = self->config->subjects,
                                      .manage = (enum nats_manage)self->config->manage};
        return WEIR_OK;
    }
    if (self->config->atomic) {
        weir_status status = weir_fail(err, WEIR_CONFIG,
                                       "atomic needs a source that is read by "
                                       "position, and committed with the outputs");
        weir_err_hint(err, "Write `guarantee: exactly-once`; `weir explain` says what it lacks.");
        weir_err_path(err, "atomic");
        return status;
    }
    return weir_thread_start(&self->thread, sink_main, self, err);
}

static void nats_sink_close(void *instance)
{
    struct nats_sink *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    weir_thread_stop(&self->thread);
    if (self->duplicates > 0) {
        WEIR_LOG_INFO(self->ctx->log, "the server dropped messages that it had",
                      WEIR_F("messages", self->duplicates));
    }
    weir_free(self->origins);
    weir_arena_done(&self->target.arena);
    pthread_rwlock_destroy(&self->connected);
    weir_delivery_done(&self->acks.delivery);
    *self = (struct nats_sink){0};
}

/* --- messages; lane ----------------------------------------------------------------------------*/

/* What may be published to: tokens without spaces and wildcards between dots. */
static bool is_subject(struct weir_slice text)
{
    bool is_empty = true; /* the token so far */
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '*' || c == '>' || c == 0x7f || (c == '.' && is_empty)) {
            return false;
        }
        is_empty = c == '.';
    }
    return !is_empty && text.size <= NATS_SUBJECT_MAX;
}

static weir_status make_subject(struct nats_sink *self,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_err *err)
{
    const struct weir_template *subject = &self->config->subject;
    if (subject->text != NULL) {
        record->target = weir_slice_of(subject->text);
        return WEIR_OK;
    }
    weir_status status = weir_expr_text(run, &subject->expr, record, &record->target, err);
    if (status == WEIR_OK && !is_subject(record->target)) {
        status = weir_fail(err, WEIR_EVAL, "\"%.*s\" is no subject to publish to",
                           record->target.size < 60 ? (int)record->target.size : 60,
                           record->target.data == NULL ? "" : record->target.data);
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "subject");
    }
    return status;
}

/* FNV-1a, 64 bits. */
static uint64_t text_hash(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return hash;
}

/* The target becomes the subject and, behind its NUL, the id and another one. The id is the same in
 * every process that reads this input: PIPELINE/SINK/SOURCE/TOPIC/PARTITION/POSITION/NUMBER. */
static weir_status make_target(struct nats_sink *self,
                               struct weir_run *run,
                               struct weir_record *record,
                               struct weir_err *err)
{
    struct weir_batch *batch = weir_run_batch(run);
    char id[NATS_NAME_MAX + 200] = "";
    int size = 0;
    if (self->ctx->identified) {
        const struct weir_partition *partition = weir_batch_partition(batch);
        struct nats_origin *origin = &self->origins[partition->lane];
        bool is_same = origin->partition == partition && origin->position == record->position;
        *origin =
            (struct nats_origin){partition, record->position, is_same ? origin->outputs + 1 : 0};
        /* Of a topic its hash: it may be the path of a file, of any length and any bytes. */
        size = snprintf(id, sizeof(id), "%.200s/%u/%u/%016llx/%d/%lld/%llu", self->ctx->pipeline,
                        self->ctx->index, partition->source,
                        (unsigned long long)text_hash(partition->topic), (int)partition->index,
                        (long long)record->position, (unsigned long long)origin->outputs);
        WEIR_ASSERT(size > 0 && (size_t)size < sizeof(id));
    } else if (self->config->subject.text != NULL) {
        return WEIR_OK;
    }
    char *text = weir_arena_alloc(weir_batch_arena(batch), record->target.size + (size_t)size + 2);
    if (text == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    memcpy(text, record->target.data, record->target.size);
    text[record->target.size] = '\0';
    memcpy(text + record->target.size + 1, id, (size_t)size + 1);
    record->target.data = text;
    return WEIR_OK;
}

static bool is_header(struct weir_slice name, struct weir_slice value)
{
    bool fits = name.size > 0 && name.size <= NATS_NAME_MAX;
    for (size_t i = 0; i < name.size; i++) {
        fits = fits && name.data[i] > ' ' && name.data[i] < 0x7f && name.data[i] != ':';
    }
    for (size_t i = 0; i < value.size; i++) {
        fits = fits && value.data[i] != '\r' && value.data[i] != '\n' && value.data[i] != '\0';
    }
    return fits;
}

/* Headers by which a publisher tells the server what to do are not the record's. */
static bool is_instruction(struct weir_slice name)
{
    return name.size >= 5 && strncasecmp(name.data, "Nats-", 5) == 0;
}

static weir_status
check_headers(struct nats_sink *self, const struct weir_record *record, struct weir_err *err)
{
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct weir_header *header = &record->headers[i];
        if (!is_header(header->key, header->value)) {
            return weir_fail(err, WEIR_REJECTED, "the header %.*s has bytes that NATS cannot carry",
                             header->key.size < 40 ? (int)header->key.size : 40, header->key.data);
        }
    }
    if (self->config->key_header != NULL && !is_header(WEIR_SLICE("key"), record->key)) {
        return weir_fail(err, WEIR_REJECTED, "the key has bytes that a header cannot carry");
    }
    return WEIR_OK;
}

static weir_status nats_sink_prepare(void *instance,
                                     struct weir_run *run,
                                     struct weir_record *record,
                                     struct weir_err *err)
{
    struct nats_sink *self = instance;
    struct weir_slice bytes;
    weir_status status = WEIR_OK;
    if (self->config->key.program != NULL) {
        status = weir_expr_text(run, &self->config->key, record, &record->key, err);
        if (status != WEIR_OK) {
            weir_err_path(err, "key");
            return status;
        }
    }
    status = make_subject(self, run, record, err);
    status =
        status == WEIR_OK ? weir_record_bytes(weir_run_batch(run), record, &bytes, err) : status;
    if (status == WEIR_OK && bytes.data == NULL) {
        status = weir_fail(err, WEIR_REJECTED, "a stream has no tombstones");
    }
    status =
        status == WEIR_OK ? weir_record_read_headers(weir_run_batch(run), record, err) : status;
    status = status == WEIR_OK ? check_headers(self, record, err) : status;
    return status == WEIR_OK ? make_target(self, run, record, err) : status;
}

static natsStatus add_header(natsMsg *message, struct weir_slice name, struct weir_slice value)
{
    char key[NATS_NAME_MAX + 1], text[1024];
    char *long_text = value.size < sizeof(text) ? text : weir_calloc(1, value.size + 1);
    WEIR_ASSERT(name.size <= NATS_NAME_MAX);
    memcpy(key, name.data, name.size);
    key[name.size] = '\0';
    if (value.size > 0) {
        memcpy(long_text, value.data, value.size);
    }
    long_text[value.size] = '\0';
    natsStatus code = natsMsgHeader_Add(message, key, long_text);
    if (long_text != text) {
        weir_free(long_text);
    }
    return code;
}

/* With the record's headers. */
static natsStatus make_message(struct nats_sink *self,
                               const struct weir_record *record,
                               const char *reply,
                               natsMsg **ret)
{
    natsStatus code =
        natsMsg_Create(ret, record->target.data, reply, record->raw.data, (int)record->raw.size);
    for (uint32_t i = 0; i < record->header_count && code == NATS_OK; i++) {
        if (!is_instruction(record->headers[i].key)) {
            code = add_header(*ret, record->headers[i].key, record->headers[i].value);
        }
    }
    if (code == NATS_OK && self->config->key_header != NULL && record->key.data != NULL) {
        code = add_header(*ret, weir_slice_of(self->config->key_header), record->key);
    }
    return code;
}

static natsStatus
publish_with_headers(struct nats_sink *self, const struct weir_record *record, const char *reply)
{
    natsMsg *message = NULL;
    natsStatus code = make_message(self, record, reply, &message);
    if (code == NATS_OK && self->ctx->identified) {
        const char *id = record->target.data + record->target.size + 1;
        code = natsMsgHeader_Set(message, "Nats-Msg-Id", id);
        if (code == NATS_OK && self->config->stream != NULL) {
            code = natsMsgHeader_Set(message, "Nats-Expected-Stream", self->config->stream);
        }
    }
    code = code == NATS_OK ? natsConnection_PublishMsg(self->client->connection, message) : code;
    natsMsg_Destroy(message);
    return code;
}

static natsStatus publish(struct nats_sink *self, const struct weir_record *record, uint64_t number)
{
    char reply[NATS_INBOX_MAX + 24];
    size_t prefix = strlen(self->client->prefix);
    memcpy(reply, self->client->prefix, prefix);
    char *at = reply + sizeof(reply);
    *--at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memmove(reply + prefix, at, (size_t)(reply + sizeof(reply) - at));
    if (self->ctx->identified || record->header_count > 0 ||
        (self->config->key_header != NULL && record->key.data != NULL)) {
        return publish_with_headers(self, record, reply);
    }
    return natsConnection_PublishRequest(self->client->connection, record->target.data, reply,
                                         record->raw.data, (int)record->raw.size);
}

static size_t message_bytes(const struct weir_record *record)
{
    size_t bytes = record->raw.size + record->key.size + HEADER_OVERHEAD_BYTES;
    for (uint32_t i = 0; i < record->header_count; i++) {
        bytes +=
            record->headers[i].key.size + record->headers[i].value.size + HEADER_OVERHEAD_BYTES;
    }
    return bytes;
}

/* Publishes up to `count` records, as many as may be under way. */
static size_t sink_publish(struct nats_sink *self, struct weir_record *const *records, size_t count)
{
    struct weir_delivery *delivery = &self->acks.delivery;
    weir_delivery_lock(delivery);
    uint64_t number = delivery->written;
    /* Nothing behind what is to be written again: it would come before it. */
    size_t room = delivery->failure.status == WEIR_OK ? nats_acks_take(&self->acks, count) : 0;
    delivery->lanes_wait = delivery->lanes_wait || room < count;
    weir_delivery_unlock(delivery);
    for (size_t i = 0; i < room; i++) {
        natsStatus code = publish(self, records[i], ++number);
        if (code != NATS_OK) {
            struct weir_err err = {0};
            (void)!nats_fail(&err, "publishing", code);
            weir_delivery_fail(delivery, &err);
        }
    }
    return room;
}

/* `connected` is held. */
static weir_status sink_write(struct nats_sink *self,
                              struct weir_record *const *records,
                              size_t count,
                              size_t *cursor,
                              struct weir_err *err)
{
    size_t limit = (size_t)natsConnection_GetMaxPayload(self->client->connection);
    while (*cursor < count) {
        size_t fitting = 0;
        while (*cursor + fitting < count && message_bytes(records[*cursor + fitting]) <= limit) {
            fitting++;
        }
        if (fitting == 0) {
            return weir_fail(err, WEIR_TOO_LARGE,
                             "the message has more than the %zu bytes that the server takes",
                             limit);
        }
        size_t sent = sink_publish(self, records + *cursor, fitting);
        *cursor += sent;
        if (sent < fitting) {
            return WEIR_AGAIN;
        }
    }
    return WEIR_OK;
}

static weir_status sink_wait(struct nats_sink *self)
{
    weir_delivery_lock(&self->acks.delivery);
    self->acks.delivery.lanes_wait = true;
    weir_delivery_unlock(&self->acks.delivery);
    return WEIR_AGAIN;
}

/* The task's lane is here, and control only while no lane writes. */
static weir_status write_to_task(struct nats_sink *self,
                                 struct weir_batch *batch,
                                 struct weir_record *const *records,
                                 size_t count,
                                 size_t *cursor,
                                 struct weir_err *err)
{
    struct nats_log *log = nats_part_log(weir_batch_partition(batch)->source_data);
    for (; *cursor < count; (*cursor)++) {
        const struct weir_record *record = records[*cursor];
        natsMsg *message = NULL;
        if (message_bytes(record) > self->target.payload_max) {
            return weir_fail(err, WEIR_TOO_LARGE,
                             "the message has more than the %zu bytes that the server takes",
                             self->target.payload_max);
        }
        if (!nats_target_keeps(&self->target, record->target)) {
            return weir_fail(
                err, WEIR_REJECTED, "the stream %s does not keep %.*s", self->target.spec.name,
                record->target.size < 60 ? (int)record->target.size : 60, record->target.data);
        }
        natsStatus code = make_message(self, record, NULL, &message);
        if (code != NATS_OK) {
            natsMsg_Destroy(message);
            return nats_fail(err, "a message", code);
        }
        nats_batch_push(&log->outputs, message);
    }
    return WEIR_OK;
}

static weir_status nats_sink_write(void *instance,
                                   unsigned lane,
                                   struct weir_batch *batch,
                                   struct weir_record *const *records,
                                   size_t count,
                                   size_t *cursor,
                                   struct weir_err *err)
{
    (void)lane;
    struct nats_sink *self = instance;
    if (self->ctx->transactional) {
        return write_to_task(self, batch, records, count, cursor, err);
    }
    pthread_rwlock_rdlock(&self->connected);
    weir_status status =
        self->client == NULL ? sink_wait(self) : sink_write(self, records, count, cursor, err);
    pthread_rwlock_unlock(&self->connected);
    return status;
}

/* --- epochs; control ---------------------------------------------------------------------------*/

static weir_status nats_sink_poll(void *instance, struct weir_err *err)
{
    struct nats_sink *self = instance;
    return weir_delivery_poll(&self->acks.delivery, err);
}

static void nats_sink_seal(void *instance)
{
    struct nats_sink *self = instance;
    weir_delivery_seal(&self->acks.delivery);
}

static weir_status nats_sink_confirm(void *instance, struct weir_err *err)
{
    struct nats_sink *self = instance;
    return weir_delivery_confirm(&self->acks.delivery, err);
}

static weir_status nats_sink_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct nats_sink *self = instance;
    weir_delivery_lock(&self->acks.delivery);
    nats_acks_forget(&self->acks);
    memset(self->origins, 0, self->ctx->lanes * sizeof(*self->origins)); /* inputs come again */
    weir_delivery_forget(&self->acks.delivery);
    weir_delivery_unlock(&self->acks.delivery);
    return WEIR_OK;
}

static weir_status nats_sink_check(const void *config, struct weir_err *err)
{
    const struct nats_sink_config *self = config;
    const char *subject = self->subject.text, *header = self->key_header;
    if (subject != NULL && !is_subject(weir_slice_of(subject))) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "this is no subject to publish to");
        weir_err_hint(err, "Tokens between dots, without spaces and wildcards.");
        weir_err_path(err, "subject");
        return status;
    }
    if (header != NULL && (!is_header(weir_slice_of(header), WEIR_SLICE("")) ||
                           is_instruction(weir_slice_of(header)))) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "\"%s\" cannot be the name of a header", header);
        weir_err_path(err, "key_header");
        return status;
    }
    if (self->atomic && self->stream == NULL) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "atomic needs `stream`");
        weir_err_path(err, "atomic");
        return status;
    }
    return nats_address_check(&self->address, err);
}

struct nats_target *nats_sink_target(void *instance)
{
    struct nats_sink *self = instance;
    return &self->target;
}

static weir_status
nats_sink_domain(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    (void)connect;
    (void)err;
    const struct nats_sink_config *self = config;
    weir_strbuf_printf(out, self->atomic ? "nats:%s" : "nats:%s, message by message",
                       self->address.urls.items[0]);
    return WEIR_OK;
}

static const struct weir_sink_ops nats_sink_ops = {
    .prepare = nats_sink_prepare,
    .write = nats_sink_write,
    .poll = nats_sink_poll,
    .seal = nats_sink_seal,
    .confirm = nats_sink_confirm,
    .abort = nats_sink_abort,
};

static weir_status nats_sink_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_sink_config *self = config;
    const struct nats_probe probe = {
        .address = &self->address,
        .stream = self->stream,
        .subject = self->subject.text,
        .subjects = self->subjects,
        .manage = (enum nats_manage)self->manage,
    };
    return nats_probe_try(&probe, err);
}

const struct weir_component weir_component_nats_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "nats",
            .summary = "Publishes to subjects that a NATS JetStream stream keeps.",
            .help =
                "Messages are published without waiting; an epoch is safe when the server has "
                "acknowledged all of them. What that is worth after the server's crash is its own "
                "setting (`sync_interval`, replicas). A record keeps its headers, except those "
                "that begin with `Nats-`.",
            .example = "nats: {url: localhost:4222, subject: orders.paid}",
            .fields = nats_sink_fields,
            .rules = nats_sink_rules,
            .config_size = sizeof(struct nats_sink_config),
        },
    .self_size = sizeof(struct nats_sink),
    .durable = true,
    .needs = NATS_NEEDS,
    .leases = &nats_lease_ops,
    .domain = &weir_leased_domain_ops,
    .domain_name = nats_sink_domain,
    .drops_repeats = "their Nats-Msg-Id, within the duplicate_window of the stream",
    .open = nats_sink_open,
    .close = nats_sink_close,
    .check = nats_sink_check,
    .probe = nats_sink_probe,
    .ops = {.sink = &nats_sink_ops},
};

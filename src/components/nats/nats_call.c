/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread connects, publishes and connects again. Publishing can block, when the server takes
 * nothing more, so lanes only put requests into its queue. Answers come on the library's thread,
 * which is gone before the connection is.
 *
 * Nothing is kept of what was published: a token that comes back is the engine's to judge, and what
 * a broken connection took along is asked again when its time is over. What was still in the queue
 * is answered at once.
 */
#include "nats_call.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <weir/json.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/wake.h"

enum {
    LOOK_MS = 100, /* how often it looks whether the connection is still there */
    TOKEN_MAX = 24,
    QUEUE_BYTES_MAX = 4 << 20,
    REQUEST_BYTES_MAX = WEIR_RECORD_BYTES_MAX + 4096, /* with its subject and id */
};

/* In front of the bytes of a request in the queue: its subject and id, each with a NUL, its body.
 */
struct queued {
    uint64_t token;
    size_t subject_size, id_size, body_size;
};

const struct weir_choice nats_answer_choices[] = {
    {"json", NATS_ANSWER_JSON, "A JSON document; anything else is an error of the record."},
    {"text", NATS_ANSWER_TEXT, "A text, which becomes a string."},
    WEIR_CHOICES_END,
};

/* --- answers; the library's thread -------------------------------------------------------------*/

static void
on_answer(natsConnection *connection, natsSubscription *inbox, natsMsg *message, void *closure)
{
    (void)connection;
    (void)inbox;
    const struct nats_call *self = closure;
    const char *last = strrchr(natsMsg_GetSubject(message), '.');
    struct weir_strbuf scratch;
    weir_strbuf_init(&scratch, REQUEST_BYTES_MAX);
    struct weir_slice text = {NULL, 0};
    uint64_t token = last == NULL ? 0 : strtoull(last + 1, NULL, 16);
    weir_status status = WEIR_NOBODY;
    if (natsMsg_IsNoResponders(message)) {
        text = weir_slice_of(self->ops->nobody);
    } else {
        status = self->ops->read(message, &scratch, &text);
    }
    weir_answer(self->ctx, token, status, text);
    weir_strbuf_done(&scratch);
    natsMsg_Destroy(message);
}

static void call_set_listens(struct nats_call *self, bool listens)
{
    pthread_mutex_lock(&self->lock);
    self->listens = listens;
    weir_wake(self->wake_fd);
    pthread_mutex_unlock(&self->lock);
}

static void on_closed(void *closure)
{
    call_set_listens(closure, false);
}

/* --- the thread --------------------------------------------------------------------------------*/

static void call_set(struct nats_call *self, bool is_connected, const struct weir_err *why)
{
    pthread_mutex_lock(&self->lock);
    self->is_connected = is_connected;
    self->failure = *why;
    pthread_mutex_unlock(&self->lock);
}

static bool call_listens(struct nats_call *self)
{
    pthread_mutex_lock(&self->lock);
    bool listens = self->listens;
    pthread_mutex_unlock(&self->lock);
    return listens;
}

static weir_status
call_listen(struct nats_call *self, struct nats_client *client, struct weir_err *err)
{
    natsSubscription *inbox = NULL;
    char subject[NATS_INBOX_MAX + TOKEN_MAX];
    snprintf(subject, sizeof(subject), "%sq.*", client->prefix);
    natsStatus code =
        natsConnection_Subscribe(&inbox, client->connection, subject, on_answer, self);
    if (code == NATS_OK) { /* what comes is bounded by what is asked */
        nats_client_keep(client, inbox);
        code = natsSubscription_SetPendingLimits(inbox, -1, -1);
    }
    if (code == NATS_OK) {
        call_set_listens(self, true);
        code = natsSubscription_SetOnCompleteCB(inbox, on_closed, self);
        if (code != NATS_OK) {
            call_set_listens(self, false);
        }
    }
    return code == NATS_OK ? WEIR_OK : nats_fail(err, "subscribing to an inbox", code);
}

static natsStatus
call_publish(const struct nats_client *client, const struct queued *item, const char *subject)
{
    char reply[NATS_INBOX_MAX + TOKEN_MAX];
    const char *id = subject + item->subject_size, *body = id + item->id_size;
    snprintf(reply, sizeof(reply), "%sq.%llx", client->prefix, (unsigned long long)item->token);
    natsMsg *message = NULL;
    natsStatus code = natsMsg_Create(&message, subject, reply, body, (int)item->body_size);
    code = code == NATS_OK ? natsMsgHeader_Set(message, "Nats-Msg-Id", id) : code;
    code = code == NATS_OK ? natsConnection_PublishMsg(client->connection, message) : code;
    natsMsg_Destroy(message);
    return code;
}

/* Publishes what is queued; without a client, tells those who ask. */
static void call_flush(struct nats_call *self,
                       const struct nats_client *client,
                       struct weir_strbuf *spare,
                       const struct weir_err *why)
{
    pthread_mutex_lock(&self->lock);
    struct weir_strbuf queue = self->queue;
    self->queue = *spare;
    *spare = queue;
    pthread_mutex_unlock(&self->lock);
    for (size_t at = 0; at < spare->size;) {
        struct queued item;
        memcpy(&item, spare->data + at, sizeof(item));
        const char *subject = spare->data + at + sizeof(item);
        at += sizeof(item) + item.subject_size + item.id_size + item.body_size;
        struct weir_err err = {0};
        if (client == NULL) {
            err = *why;
        } else {
            natsStatus code = call_publish(client, &item, subject);
            if (code == NATS_MAX_PAYLOAD) {
                (void)!weir_fail(&err, WEIR_TOO_LARGE,
                                 "the request is larger than the server takes");
            } else if (code != NATS_OK) {
                (void)!nats_fail(&err, subject, code);
            }
        }
        if (err.status != WEIR_OK) {
            weir_answer(self->ctx, item.token, err.status, weir_slice_of(err.message));
        }
    }
    weir_strbuf_clear(spare);
}

/* Until the connection is gone or the step ends. */
static weir_status call_serve(struct nats_call *self,
                              struct nats_client *client,
                              struct weir_strbuf *spare,
                              struct weir_err *err)
{
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && !weir_thread_wait(&self->thread, self->wake_fd, LOOK_MS)) {
        call_flush(self, client, spare, NULL);
        status = nats_client_denied(client, err);
        if (status == WEIR_OK && natsConnection_IsClosed(client->connection)) {
            status = nats_fail(err, "the connection broke", NATS_CONNECTION_CLOSED);
        }
    }
    return status;
}

static void call_disconnect(struct nats_call *self, struct nats_client *client)
{
    if (client != NULL) {
        nats_client_close(client);
        while (call_listens(self)) { /* an answer is still being handed over */
            struct pollfd wait = {.fd = self->wake_fd, .events = POLLIN};
            (void)!poll(&wait, 1, LOOK_MS);
            weir_wake_take(self->wake_fd);
        }
        nats_client_free(client);
    }
}

static void *call_main(void *argument)
{
    struct nats_call *self = argument;
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", self->ctx->pipeline, self->ctx->path);
    int waited_ms = 0;
    struct weir_strbuf spare;
    weir_strbuf_init(&spare, QUEUE_BYTES_MAX + REQUEST_BYTES_MAX);
    do {
        struct weir_err err = {0}, none = {0};
        struct nats_client *client = nats_client_open(self->address, name, &err);
        weir_status status = err.status;
        if (client != NULL && self->ops->prepare != NULL) {
            status = self->ops->prepare(self, client, &err);
        }
        if (client != NULL && status == WEIR_OK) {
            status = call_listen(self, client, &err);
        }
        if (client != NULL && status == WEIR_OK) {
            waited_ms = 0;
            call_set(self, true, &none);
            status = call_serve(self, client, &spare, &err);
        }
        call_set(self, false, &err);
        call_flush(self, NULL, &spare, &err);
        call_disconnect(self, client);
        if (status == WEIR_OK) {
            break; /* to end */
        }
    } while (!weir_thread_back_off(&self->thread, &waited_ms));
    weir_strbuf_done(&spare);
    return NULL;
}

/* --- its life; control -------------------------------------------------------------------------*/

void nats_call_init(struct nats_call *self,
                    const struct nats_call_ops *ops,
                    const struct nats_address *address,
                    const struct nats_call_config *config,
                    struct weir_ctx *ctx)
{
    self->ops = ops;
    self->address = address;
    self->config = config;
    self->ctx = ctx;
}

weir_status nats_call_start(void *instance, struct weir_err *err)
{
    struct nats_call *self = instance;
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
    }
    pthread_mutex_init(&self->lock, NULL);
    weir_strbuf_init(&self->queue, QUEUE_BYTES_MAX + REQUEST_BYTES_MAX);
    self->is_started = true;
    return weir_thread_start(&self->thread, call_main, self, err);
}

void nats_call_stop(void *instance)
{
    struct nats_call *self = instance;
    if (self->is_started) {
        weir_thread_stop(&self->thread);
        weir_strbuf_done(&self->queue);
        pthread_mutex_destroy(&self->lock);
        close(self->wake_fd);
    }
    *self = (struct nats_call){0};
}

/* --- questions and answers; lane ---------------------------------------------------------------*/

weir_status nats_call_send(struct nats_call *self,
                           const char *subject,
                           const struct weir_question *question,
                           struct weir_err *err)
{
    const struct queued item = {.token = question->token,
                                .subject_size = strlen(subject) + 1,
                                .id_size = question->id.size + 1,
                                .body_size = question->body.size};
    size_t size = sizeof(item) + item.subject_size + item.id_size + item.body_size;
    weir_status status = WEIR_OK;
    pthread_mutex_lock(&self->lock);
    struct weir_strbuf *queue = &self->queue;
    bool was_empty = queue->size == 0;
    if (!self->is_connected) { /* WEIR_AGAIN: connecting for the first time */
        *err = self->failure;
        status = err->status == WEIR_OK ? WEIR_AGAIN : err->status;
    } else if (size > REQUEST_BYTES_MAX) {
        status = weir_fail(err, WEIR_TOO_LARGE, "the request is larger than %d bytes",
                           WEIR_RECORD_BYTES_MAX);
    } else if (queue->size > QUEUE_BYTES_MAX) {
        status = WEIR_AGAIN;
    } else {
        weir_strbuf_append(queue, &item, sizeof(item));
        weir_strbuf_append(queue, subject, item.subject_size);
        weir_strbuf_slice(queue, question->id);
        weir_strbuf_push(queue, '\0');
        weir_strbuf_slice(queue, question->body);
        WEIR_ASSERT(!queue->failed);
    }
    pthread_mutex_unlock(&self->lock);
    if (status == WEIR_OK && was_empty) {
        weir_wake(self->wake_fd);
    }
    return status;
}

weir_status nats_call_apply(void *instance,
                            struct weir_run *run,
                            struct weir_record *record,
                            struct weir_err *err)
{
    const struct nats_call *self = instance;
    struct weir_slice text = weir_run_answer(run);
    struct weir_value answer = weir_value_null();
    weir_status status = WEIR_OK;
    if (text.data != NULL && self->config->answer == NATS_ANSWER_TEXT) {
        answer = weir_value_string(text);
    } else if (text.data != NULL && text.size > 0) {
        status = weir_json_parse_in_place(weir_batch_arena(weir_run_batch(run)), text, NULL,
                                          &answer, err);
        if (status != WEIR_OK) {
            weir_err_hint(err, "Write `answer: text` if answers are no JSON.");
            weir_err_path(err, "answer");
            return status;
        }
    }
    weir_run_show_answer(run, answer);
    status = weir_emit_each(run, &self->config->result, record, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "result");
    }
    return status;
}

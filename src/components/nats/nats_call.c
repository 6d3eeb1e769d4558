/* SPDX-License-Identifier: Apache-2.0
 *
 * One thread connects, reads the inbox and connects again; the lanes publish under a lock that it
 * takes only to change the connection. Nothing is kept of what was asked: a token that comes back
 * is the engine's to judge, and what a broken connection took along is asked again when its time is
 * over. So is what nobody listens to: the library says so, but not of which request.
 */
#include "nats_call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/json.h>

enum { WAIT_MS = 100, SCRATCH_MAX = 400, TOKEN_MAX = 24 };

const struct weir_choice nats_answer_choices[] = {
    {"json", NATS_ANSWER_JSON, "A JSON document; anything else is an error of the record."},
    {"text", NATS_ANSWER_TEXT, "A text, which becomes a string."},
    WEIR_CHOICES_END,
};

/* --- the thread --------------------------------------------------------------------------------*/

static void call_set(struct nats_call *self, struct nats_client *client, const struct weir_err *why)
{
    pthread_mutex_lock(&self->lock);
    self->client = client;
    self->failure = *why;
    pthread_mutex_unlock(&self->lock);
}

static void call_take(const struct nats_call *self, struct nats_client *client, natsMsg *message)
{
    const char *subject = natsMsg_GetSubject(message);
    char scratch[SCRATCH_MAX];
    struct weir_slice text = {NULL, 0};
    uint64_t token = strtoull(subject + strlen(client->prefix), NULL, 16);
    weir_status status = self->ops->read(message, &text, scratch, sizeof(scratch));
    weir_answer(self->ctx, token, status, text);
    natsMsg_Destroy(message);
}

/* Until the connection is gone or the step ends. */
static weir_status
call_serve(struct nats_call *self, struct nats_client *client, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    while (status == WEIR_OK && !weir_thread_pause(&self->thread, 0)) {
        natsMsg *message = NULL;
        natsStatus code = natsSubscription_NextMsg(&message, client->inbox, WAIT_MS);
        if (code == NATS_OK) {
            call_take(self, client, message);
        } else if (code != NATS_TIMEOUT && code != NATS_NO_RESPONDERS) {
            status = nats_fail(err, "the connection broke", code);
        }
        if (status == WEIR_OK) {
            status = nats_client_denied(client, err);
        }
    }
    return status;
}

static void *call_main(void *argument)
{
    struct nats_call *self = argument;
    char name[NATS_NAME_MAX];
    snprintf(name, sizeof(name), "weir %s %s", self->ctx->pipeline, self->ctx->path);
    int waited_ms = 0;
    do {
        struct weir_err err = {0}, none = {0};
        struct nats_client *client = nats_client_open(self->address, name, &err);
        weir_status status = err.status;
        if (client != NULL && self->ops->prepare != NULL) {
            status = self->ops->prepare(self, client, &err);
        }
        if (client != NULL && status == WEIR_OK) {
            waited_ms = 0;
            call_set(self, client, &none);
            status = call_serve(self, client, &err);
        }
        call_set(self, NULL, &err);
        if (client != NULL) {
            nats_client_close(client);
            nats_client_free(client);
        }
        if (status == WEIR_OK) {
            break; /* to end */
        }
    } while (!weir_thread_back_off(&self->thread, &waited_ms));
    return NULL;
}

/* --- its life; control -------------------------------------------------------------------------*/

weir_status nats_call_start(struct nats_call *self,
                            const struct nats_call_ops *ops,
                            const struct nats_address *address,
                            const struct nats_call_config *config,
                            struct weir_ctx *ctx,
                            struct weir_err *err)
{
    self->ops = ops;
    self->address = address;
    self->config = config;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    return weir_thread_start(&self->thread, call_main, self, err);
}

void nats_call_stop(struct nats_call *self)
{
    if (self->ctx != NULL) {
        weir_thread_stop(&self->thread);
        pthread_mutex_destroy(&self->lock);
        *self = (struct nats_call){0};
    }
}

/* --- questions and answers; lane ---------------------------------------------------------------*/

static natsStatus call_publish(const struct nats_client *client,
                               const char *subject,
                               const struct weir_question *question)
{
    char reply[NATS_INBOX_MAX + TOKEN_MAX], id[NATS_SUBJECT_MAX];
    snprintf(reply, sizeof(reply), "%s%llx", client->prefix, (unsigned long long)question->token);
    snprintf(id, sizeof(id), "%.*s", (int)question->id.size, question->id.data);
    natsMsg *message = NULL;
    natsStatus code =
        natsMsg_Create(&message, subject, reply, question->body.data, (int)question->body.size);
    code = code == NATS_OK ? natsMsgHeader_Set(message, "Nats-Msg-Id", id) : code;
    code = code == NATS_OK ? natsConnection_PublishMsg(client->connection, message) : code;
    natsMsg_Destroy(message);
    return code;
}

weir_status nats_call_send(struct nats_call *self,
                           const char *subject,
                           const struct weir_question *question,
                           struct weir_err *err)
{
    weir_status status = WEIR_AGAIN; /* connecting for the first time */
    pthread_mutex_lock(&self->lock);
    if (self->client != NULL) {
        natsStatus code = call_publish(self->client, subject, question);
        status = code == NATS_OK ? WEIR_OK
                 : code == NATS_MAX_PAYLOAD
                     ? weir_fail(err, WEIR_TOO_LARGE, "the request is larger than the server takes")
                     : nats_fail(err, subject, code);
    } else if (self->failure.status != WEIR_OK) {
        *err = self->failure;
        status = err->status;
    }
    pthread_mutex_unlock(&self->lock);
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

weir_duration nats_call_patience(const void *instance)
{
    const struct nats_call *self = instance;
    return self->config->timeout;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the NATS steps that ask have in common: a connection with an inbox, whose answers go to the
 * engine, and what becomes of an answer. Lanes hand requests over, a thread publishes them; the
 * token of a question is the last part of its reply subject.
 */
#ifndef WEIR_NATS_CALL_H
#define WEIR_NATS_CALL_H

#include <weir/strbuf.h>

#include "base/thread.h"
#include "nats_api.h"
#include "nats_client.h"

enum nats_answer_format { NATS_ANSWER_JSON, NATS_ANSWER_TEXT };

struct nats_call_config {
    weir_duration timeout;
    int answer; /* enum nats_answer_format */
    struct weir_expr result;
};

extern const struct weir_choice nats_answer_choices[];

/* The rows of `struct nats_call_config call` in S. */
#define NATS_CALL_FIELDS(S, EXAMPLE)                                                               \
    WEIR_F_NAMED(S, call.result, "result", JQ, struct weir_expr,                                   \
                 .flags = WEIR_REQUIRED | WEIR_MANY | WEIR_ANSWER, .example = EXAMPLE,             \
                 .help = "What becomes of the value: `.` is the value, `$answer` the answer. "     \
                         "Several results are several records."),                                  \
        WEIR_F_NAMED(S, call.answer, "answer", ENUM, int, .choices = nats_answer_choices,          \
                     .fallback = "json", .help = "What an answer is."),                            \
        WEIR_F_NAMED(S, call.timeout, "timeout", DURATION, weir_duration, .fallback = "2s",        \
                     .min = 10, .max = 600000,                                                     \
                     .help = "How long an answer is waited for before it is asked for again. "     \
                             "Requests of a batch are sent at once.")

struct nats_call;

struct nats_call_ops {
    const char *nobody; /* what it means that nobody listens */
    /* thread, after connecting: is there who can answer? May be NULL. */
    weir_status (*prepare)(void *self, struct nats_client *client, struct weir_err *err);
    /* the library's thread: what a message says: a status, and the text of the answer or failure,
     * which may lie in the scratch. */
    weir_status (*read)(natsMsg *message,
                        struct weir_strbuf *scratch,
                        struct weir_slice *ret_text);
};

struct nats_call {
    const struct nats_call_ops *ops;
    struct weir_ctx *ctx;
    const struct nats_address *address;
    const struct nats_call_config *config;
    bool is_started;
    struct weir_thread thread;
    int wake_fd;          /* something was handed over, or the inbox is closed */
    pthread_mutex_t lock; /* guards what follows */
    bool is_connected;
    bool listens;             /* the library may still hand over an answer */
    struct weir_err failure;  /* why there is no connection; OK: not yet */
    struct weir_strbuf queue; /* what is to be published (nats_call.c) */
};

/* In the step's open: what is pointed to outlives it. */
void nats_call_init(struct nats_call *self,
                    const struct nats_call_ops *ops,
                    const struct nats_address *address,
                    const struct nats_call_config *config,
                    struct weir_ctx *ctx);
/* lane: hands over, and waits for nobody. WEIR_AGAIN: the queue is full. */
WEIR_MUST_USE weir_status nats_call_send(struct nats_call *self,
                                         const char *subject,
                                         const struct weir_question *question,
                                         struct weir_err *err);
/* For the tables of the step: its instance begins with its struct nats_call. */
weir_status nats_call_start(void *instance, struct weir_err *err);
void nats_call_stop(void *instance);
weir_status nats_call_apply(void *instance,
                            struct weir_run *run,
                            struct weir_record *record,
                            struct weir_err *err);

#endif

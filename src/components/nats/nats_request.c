/* SPDX-License-Identifier: Apache-2.0
 *
 * The step that asks a NATS service. Nobody listening, no answer in time and a broken connection
 * are no answers, and the engine asks again. An answer with the header Nats-Service-Error is the
 * service's verdict on this record. Each request has an id that is the same whenever the record
 * asks again, so that a service that changes something can tell a repetition.
 */
#include "nats_call.h"
#include "nats_probe.h"

#include <stdio.h>
#include <string.h>

struct nats_request_config {
    struct nats_address address;
    struct weir_template subject;
    struct weir_expr request;
    struct nats_call_config call;
};

// clang-format off
#define S struct nats_request_config
static const struct weir_field nats_request_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_TEMPLATE(S, subject, .flags = WEIR_REQUIRED, .example = "prices.get",
                    .help = "The subject that the service listens to, or `{jq: EXPR}` to compute it "
                            "from the record."),
    WEIR_F_JQ(S, request, .unset = "the value", .example = "'{id}'",
              .help = "What is sent: a string as it is, null as nothing, anything else as JSON."),
    NATS_CALL_FIELDS(S, "'. + {price: $answer.price}'"),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct nats_request {
    struct nats_call call; /* first */
    const struct nats_request_config *config;
};

static weir_status request_subject(const struct nats_request *self,
                                   struct weir_run *run,
                                   struct weir_record *record,
                                   struct weir_slice *ret,
                                   struct weir_err *err)
{
    *ret = weir_slice_of(self->config->subject.text);
    weir_status status = WEIR_OK;
    if (self->config->subject.text == NULL) {
        status = weir_expr_text(run, &self->config->subject.expr, record, ret, err);
    }
    bool is_empty = true, fits = status == WEIR_OK && ret->size < NATS_SUBJECT_MAX;
    for (size_t i = 0; fits && i < ret->size; i++) { /* every token has something */
        char c = ret->data[i];
        fits = c > ' ' && c != '*' && c != '>' && !(c == '.' && is_empty);
        is_empty = c == '.';
    }
    if (status == WEIR_OK && (!fits || is_empty)) {
        status =
            weir_fail(err, WEIR_REJECTED, "\"%.*s\" is no subject to send to",
                      ret->size < 60 ? (int)ret->size : 60, ret->data == NULL ? "" : ret->data);
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "subject");
    }
    return status;
}

static weir_status request_question(void *instance,
                                    struct weir_run *run,
                                    struct weir_record *record,
                                    struct weir_question *ret_question,
                                    struct weir_err *err)
{
    const struct nats_request *self = instance;
    weir_status status = request_subject(self, run, record, &ret_question->to, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (self->config->request.program == NULL) {
        return weir_record_bytes(weir_run_batch(run), record, &ret_question->body, err);
    }
    status = weir_expr_text(run, &self->config->request, record, &ret_question->body, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "request");
    }
    return status;
}

static weir_status
request_send(void *instance, const struct weir_question *question, struct weir_err *err)
{
    struct nats_request *self = instance;
    char subject[NATS_SUBJECT_MAX];
    snprintf(subject, sizeof(subject), "%.*s", (int)question->to.size, question->to.data);
    return nats_call_send(&self->call, subject, question, err);
}

static weir_status request_read(natsMsg *message,
                                struct weir_strbuf *scratch,
                                struct weir_slice *ret_text)
{
    const char *error = NULL, *code = NULL;
    (void)natsMsgHeader_Get(message, "Nats-Service-Error", &error);
    (void)natsMsgHeader_Get(message, "Nats-Service-Error-Code", &code);
    if (error != NULL || code != NULL) {
        weir_strbuf_printf(scratch, "the service says %.100s%s%.300s", code == NULL ? "" : code,
                           code != NULL && error != NULL ? ": " : "", error == NULL ? "" : error);
        *ret_text = weir_strbuf_view(scratch);
        return WEIR_REJECTED;
    }
    *ret_text =
        (struct weir_slice){natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)};
    return WEIR_OK;
}

static weir_status
request_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    static const struct nats_call_ops ops = {.nobody = "nobody listens to the subject",
                                             .read = request_read};
    struct nats_request *self = instance;
    self->config = config;
    (void)err;
    nats_call_init(&self->call, &ops, &self->config->address, &self->config->call, ctx);
    return WEIR_OK;
}

static weir_duration request_patience(const void *config)
{
    const struct nats_request_config *self = config;
    return self->call.timeout;
}

static weir_status request_check(const void *config, struct weir_err *err)
{
    const struct nats_request_config *self = config;
    return nats_address_check(&self->address, err);
}

static weir_status request_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    const struct nats_request_config *self = config;
    const struct nats_probe probe = {.address = &self->address};
    return nats_probe_try(&probe, err);
}

static const struct weir_ask_ops request_ask = {
    .question = request_question,
    .start = nats_call_start,
    .send = request_send,
    .patience = request_patience,
};

static const struct weir_step_ops request_ops = {.apply = nats_call_apply, .ask = &request_ask};

const struct weir_component weir_component_nats_request_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "nats_request",
            .system = "nats",
            .summary = "Asks a NATS service about each record.",
            .help = "All records of a batch ask at once; their partition waits for the answers, in "
                    "order, while others go on. Where nobody listens or nothing comes in time, it "
                    "is asked again until there is an answer. An answer with the header "
                    "`Nats-Service-Error` or `Nats-Service-Error-Code` is a failure of the record, "
                    "for `on_error`. A request may come several times, also after a crash: always "
                    "with the same `Nats-Msg-Id`.",
            .example = "nats_request: {url: localhost:4222, subject: prices.get, request: '{id}', "
                       "result: '. + {price: $answer.price}'}",
            .fields = nats_request_fields,
            .config_size = sizeof(struct nats_request_config),
        },
    .self_size = sizeof(struct nats_request),
    .open = request_open,
    .close = nats_call_stop,
    .check = request_check,
    .probe = request_probe,
    .ops = {.step = &request_ops},
};

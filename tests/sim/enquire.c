/* SPDX-License-Identifier: Apache-2.0
 *
 * enquire: asks for each record, and wants the answer to be that record's own. Of the questions
 * some are answered at once, most later and the last one first, some fail, some get no answer
 * before they are asked again, or none at all, some come twice. One that comes late or again is
 * wrong, so that whoever takes it is found out.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "memory_priv.h"

enum { PATIENCE_MS = 20, ASKED_MAX = 256, SPENT_MAX = 16 };

struct asked {
    uint64_t token;
    char text[160];
    unsigned polls; /* how many still to come before the answer */
    bool is_late, asked_again;
};

struct enquire {
    struct sim_process *process;
    struct weir_ctx *ctx;
    struct asked asked[ASKED_MAX];
    size_t count;
    unsigned number;
    uint64_t spent[SPENT_MAX]; /* tokens that were answered lately */
    unsigned spent_count;
};

static weir_status
enquire_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)config;
    (void)err;
    struct enquire *self = instance;
    self->process = sim_current;
    self->ctx = ctx;
    self->number = (unsigned)sim_current->calls; /* who starts over meets other ones */
    sim_current->enquiries[ctx->index] = self;
    return WEIR_OK;
}

static void enquire_close(void *instance)
{
    struct enquire *self = instance;
    if (self->process != NULL) {
        self->process->enquiries[self->ctx->index] = NULL;
    }
}

static void enquire_answer(struct enquire *self, uint64_t token, struct weir_slice text)
{
    weir_answer(self->ctx, token, WEIR_OK, text);
    self->spent[self->spent_count++ % SPENT_MAX] = token;
}

static weir_status enquire_question(void *instance,
                                    struct weir_run *run,
                                    struct weir_record *record,
                                    struct weir_question *ret_question,
                                    struct weir_err *err)
{
    (void)instance;
    return weir_record_bytes(weir_run_batch(run), record, &ret_question->to, err);
}

static weir_status
enquire_send(void *instance, const struct weir_question *question, struct weir_err *err)
{
    struct enquire *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->process, SIM_CALL_ASK)) {
        return self->process->dead ? weir_fail(err, WEIR_UNAVAILABLE, "the process is gone")
                                   : sim_call_fail(&call, err);
    }
    unsigned number = self->number++;
    for (size_t i = 0; i < self->count; i++) {
        bool same = weir_slice_equal(weir_slice_of(self->asked[i].text), question->to);
        self->asked[i].asked_again = self->asked[i].asked_again || same;
    }
    for (unsigned i = 0; i < SPENT_MAX && i < self->spent_count; i++) {
        weir_answer(self->ctx, self->spent[i], WEIR_OK, WEIR_SLICE("again"));
    }
    if (number % 5 == 0) {
        enquire_answer(self, question->token, question->to);
    } else if (number % 29 == 4) {
        weir_answer(self->ctx, question->token, WEIR_UNAVAILABLE, WEIR_SLICE("nobody there"));
    } else if (number % 31 != 6 && self->count < ASKED_MAX) {
        struct asked *asked = &self->asked[self->count++];
        *asked = (struct asked){
            .token = question->token, .polls = number % 3, .is_late = number % 23 == 7};
        snprintf(asked->text, sizeof(asked->text), "%.*s", (int)question->to.size,
                 question->to.data);
    }
    weir_status status = sim_call_leave(&call, WEIR_OK, err);
    return self->process->dead ? WEIR_OK : status;
}

void sim_enquire_poll(struct sim_process *process)
{
    for (size_t k = 0; k < SIM_ENQUIRIES_MAX && !process->dead; k++) {
        struct enquire *self = process->enquiries[k];
        for (size_t i = self == NULL ? 0 : self->count; i-- > 0;) {
            struct asked *asked = &self->asked[i];
            if (asked->polls > 0 || (asked->is_late && !asked->asked_again)) {
                asked->polls -= asked->polls > 0;
                continue;
            }
            enquire_answer(self, asked->token,
                           weir_slice_of(asked->is_late ? "late" : asked->text));
            memmove(asked, asked + 1, (self->count - i - 1) * sizeof(*asked));
            self->count--;
        }
    }
}

static weir_status enquire_start(void *instance, struct weir_err *err)
{
    (void)instance;
    (void)err;
    return WEIR_OK;
}

static weir_duration enquire_patience(const void *config)
{
    (void)config;
    return PATIENCE_MS;
}

static weir_status enquire_apply(void *instance,
                                 struct weir_run *run,
                                 struct weir_record *record,
                                 struct weir_err *err)
{
    const struct enquire *self = instance;
    struct weir_slice bytes;
    weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (!weir_slice_equal(bytes, weir_run_answer(run))) {
        self->process->violation = "the answer to another question";
        return weir_fail(err, WEIR_INVALID, "%s", self->process->violation);
    }
    return weir_emit(run, record) ? WEIR_OK : weir_fail(err, WEIR_LIMIT, "no memory left");
}

static const struct weir_ask_ops enquire_ask = {
    .question = enquire_question,
    .start = enquire_start,
    .send = enquire_send,
    .patience = enquire_patience,
};

static const struct weir_step_ops enquire_ops = {.apply = enquire_apply, .ask = &enquire_ask};

const struct weir_component sim_enquire_step = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_STEP,
                  .name = "enquire",
                  .summary = "Asks about each record.",
                  .example = "enquire"},
    .self_size = sizeof(struct enquire),
    .open = enquire_open,
    .close = enquire_close,
    .ops = {.step = &enquire_ops},
};

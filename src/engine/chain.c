/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a batch through the graph: each step over all records, then the sinks' own expressions,
 * then the branches. Records are passed on by pointer; a step that changes one makes a new one.
 *
 * The failure policy acts here and only here. A record that fails is skipped and counted, or stops
 * the pipeline: then the batch is cut in front of it, so that everything before it is written and
 * committed and the next start begins with the record that failed. A verdict from an earlier
 * attempt (a target that refused the record after it was sent) counts as a failure at once.
 *
 * Where steps keep state, records behind the failed one have changed it already, and cannot be cut
 * off: the record gets its verdict, the epoch is aborted, and the replay stops in front of it
 * before any step sees it.
 *
 * Watermarks and ticks travel between the records as records of their own (flags), to the steps
 * that look at them, and end where the chain does.
 *
 * A batch may have to rest at a step that asks. What is still to be done is therefore data, a stack
 * of strands: a chain, the step it is at, and the records there. Values that expressions made die
 * when the lane takes up another batch, so records that rest are bytes.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <weir/clock.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/failpoint.h"
#include "engine/asking.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"

enum { AHEAD = 16 }; /* records that a step may look at together */

/* Records on their way through a chain. */
struct chain_strand {
    const struct weir_chain *chain;
    size_t stage; /* the next one */
    struct weir_record **records;
    size_t count;
    struct chain_strand *next;
};

struct chain_pass {
    struct chain_strand *strands; /* what is to be done, the next one first */
    struct weir_lane *lane;
    struct weir_batch *batch;
    struct weir_task *task;
    int64_t cut;               /* records from this position on do not count; INT64_MAX: none */
    bool copies;               /* outlets get their own copy of a record */
    bool burying, bury_failed; /* a dead letter is being handed over; was refused */
    bool known;                /* the cut is by a verdict: nothing behind it was looked at */
    bool changes_state;        /* it has come through a step that keeps some */
    struct weir_err blame;     /* what failed at the cut, for a verdict */
    struct weir_err placed;    /* the same in the user's words */
};

static bool chain_is_special(const struct weir_record *record)
{
    return (record->flags & (WEIR_RECORD_WATERMARK | WEIR_RECORD_TICK)) != 0;
}

/* The fate of the input that a record comes from; NULL: it comes from none. */
static uint8_t *chain_fate(const struct chain_pass *pass, const struct weir_record *record)
{
    return record->ordinal < pass->batch->count ? &pass->batch->fates[record->ordinal] : NULL;
}

/* What has become of a failed input; its source may tell others. */
static void chain_set_fate(struct chain_pass *pass, const struct weir_record *record, uint8_t fate)
{
    const struct weir_batch *batch = pass->batch;
    batch->fates[record->ordinal] = fate;
    if (batch->origin != NULL && batch->origin->give_up != NULL) {
        batch->origin->give_up(&batch->records[record->ordinal]);
    }
}

/* Gives the input that a record comes from to the dead-letter sink, once. False: it could not be
 * taken, which is for the stricter policy. */
static bool chain_bury(struct chain_pass *pass,
                       const struct weir_record *record,
                       const char *path,
                       const struct weir_err *err)
{
    struct weir_engine *engine = pass->lane->engine;
    struct weir_batch *batch = pass->batch;
    uint8_t *fate = chain_fate(pass, record);
    if (pass->burying) { /* the dead letter itself was refused */
        pass->bury_failed = true;
        return false;
    }
    if (fate != NULL && *fate == WEIR_FATE_DEAD) {
        return true;
    }
    struct weir_record dead = fate == NULL ? *record : batch->records[record->ordinal];
    struct weir_task *origin = pass->task;
    int64_t position = dead.position;
    weir_exchange_origin(&origin, &dead, &position);
    struct weir_err ignored = {0};
    if (weir_record_read_headers(batch, &dead, &ignored) != WEIR_OK) {
        return false;
    }
    struct weir_slice id = weir_record_message_id(batch, &dead);
    const struct {
        const char *name, *text;
    } words[] = {
        {"weir.error", weir_arena_printf(&batch->arena, "%s", err->message)},
        {"weir.step", path},
        {"weir.source", engine->sources[origin->source].name},
        {"weir.topic", weir_arena_printf(&batch->arena, "%s", origin->topic)},
        {"weir.partition", weir_arena_printf(&batch->arena, "%d", origin->part.index)},
        {"weir.offset", weir_arena_printf(&batch->arena, "%lld", (long long)position)},
        {"weir.time",
         weir_arena_printf(&batch->arena, "%lld", (long long)weir_clock_wall_ms(engine->clock))},
    };
    size_t added = sizeof(words) / sizeof(words[0]);
    struct weir_header *headers =
        weir_arena_alloc(&batch->arena, (dead.header_count + added) * sizeof(*headers));
    if (headers == NULL) {
        return false;
    }
    for (size_t i = 0; i < dead.header_count; i++) {
        headers[i] = dead.headers[i];
    }
    for (size_t i = 0; i < added; i++) {
        if (words[i].text == NULL) {
            return false;
        }
        headers[dead.header_count + i] = (struct weir_header){
            weir_slice_of(words[i].name),
            weir_slice_of(words[i].text),
        };
    }
    dead.headers = headers;
    dead.header_count += (uint32_t)added;
    dead.headers_read = true;
    pass->burying = true;
    pass->bury_failed = false;
    bool taken = weir_chain_route(&pass->lane->run, (unsigned)engine->dead_letter, &dead);
    pass->burying = false;
    taken = taken && !pass->bury_failed;
    if (taken) {
        if (fate != NULL) {
            chain_set_fate(pass, record, WEIR_FATE_DEAD);
        }
        struct weir_log log = weir_log_named(&engine->log, path);
        WEIR_LOG_WARN(&log, "record given to the dead letters",
                      WEIR_F("topic", (const char *)origin->topic),
                      WEIR_F("partition", origin->part.index), WEIR_F("offset", position),
                      WEIR_F("message_id", id), WEIR_F_ERR(err));
    }
    return taken;
}

static void chain_failed(struct chain_pass *pass,
                         const struct weir_record *record,
                         const char *path,
                         struct weir_err *err)
{
    struct weir_engine *engine = pass->lane->engine;
    struct weir_task *origin = pass->task;
    int64_t position = record->position;
    weir_exchange_origin(&origin, record, &position);
    weir_err_path(err, path);
    weir_engine_count_error(engine, pass->lane->index, path, err->status);
    bool permanent = weir_status_class(err->status) == WEIR_CLASS_PERMANENT;
    if (engine->config->on_error == WEIR_ON_ERROR_DEAD_LETTER && permanent &&
        chain_bury(pass, record, path, err)) {
        return;
    }
    if (engine->config->on_error == WEIR_ON_ERROR_SKIP && permanent) {
        uint8_t *fate = chain_fate(pass, record);
        if (fate == NULL || *fate != WEIR_FATE_SKIPPED) {
            if (fate != NULL) {
                chain_set_fate(pass, record, WEIR_FATE_SKIPPED);
            }
            struct weir_log log = weir_log_named(&engine->log, path);
            WEIR_LOG_WARN(&log, "record skipped", WEIR_F("topic", (const char *)origin->topic),
                          WEIR_F("partition", origin->part.index), WEIR_F("offset", position),
                          WEIR_F("message_id", weir_record_message_id(pass->batch, record)),
                          WEIR_F_ERR(err));
        }
        return;
    }
    if (record->position < pass->cut) {
        pass->cut = record->position;
        pass->blame = *err;
        struct weir_err placed = *err;
        snprintf(placed.message, sizeof(placed.message), "%.64s, partition %d, offset %lld: %.230s",
                 origin->topic, origin->part.index, (long long)position, err->message);
        weir_err_hint(&placed, "Mend the record or the step, or set `on_error: skip`.");
        pass->placed = placed;
    }
}

void weir_chain_result_failed(struct weir_run *run,
                              const struct weir_record *result,
                              struct weir_err *err)
{
    chain_failed(run->pass, result, run->stage->name, err);
}

static void chain_pass_special(struct chain_pass *pass,
                               const struct weir_stage *stage,
                               struct weir_record *record)
{
    struct weir_run *run = &pass->lane->run;
    const struct weir_step_ops *ops = stage->component->ops.step;
    struct weir_err err = {0};
    weir_status status = WEIR_OK;
    bool passed = true;
    if ((record->flags & WEIR_RECORD_WATERMARK) != 0) {
        if (ops->advance != NULL) {
            status = ops->advance(stage->self, run, record->time_ms, &err);
        } else if (stage->is_listened) {
            passed = weir_emit(run, record);
        }
    } else {
        if (ops->tick != NULL) {
            status = ops->tick(stage->self, run, record->time_ms, &err);
        }
        passed = status != WEIR_OK || weir_emit(run, record);
    }
    if (!passed) {
        status = weir_fail(&err, WEIR_LIMIT, "the batch has no memory left");
    }
    if (status != WEIR_OK) {
        chain_failed(pass, record, stage->name, &err);
    }
}

/* Some of a stage's records that it was shown before their turn. */
struct chain_ahead {
    char *rooms; /* NULL: the step does not want to be */
    size_t first, end;
};

/* What the step found out about record `at`. */
static void *chain_look_ahead(struct chain_pass *pass,
                              const struct weir_stage *stage,
                              struct chain_ahead *ahead,
                              struct weir_record *const *records,
                              size_t count,
                              size_t at)
{
    const struct weir_step_ops *ops = stage->component->ops.step;
    if (ahead->rooms == NULL) {
        return NULL;
    }
    if (at >= ahead->end) {
        ahead->first = at;
        ahead->end = at + 1;
        while (ahead->end < count && ahead->end < at + AHEAD &&
               !chain_is_special(records[ahead->end])) {
            ahead->end++;
        }
        if (!ops->ahead(stage->self, &pass->lane->run, records + at, ahead->end - at,
                        ahead->rooms)) {
            ahead->rooms = NULL;
            return NULL;
        }
    }
    return ahead->rooms + (at - ahead->first) * ops->ahead_bytes;
}

static void chain_pass_stage(struct chain_pass *pass,
                             const struct weir_stage *stage,
                             const struct weir_asking *asking,
                             struct weir_record ***records,
                             size_t *count)
{
    struct weir_run *run = &pass->lane->run;
    struct weir_step_count *counts = &pass->lane->step_counts[stage->index];
    run->stage = stage;
    run->out = NULL;
    run->out_count = run->out_capacity = 0;
    pass->changes_state = pass->changes_state || stage->state_index >= 0;
    const struct weir_step_ops *ops = stage->component->ops.step;
    struct chain_ahead ahead = {0};
    if (ops->ahead != NULL && *count > 1) {
        ahead.rooms = weir_arena_alloc(&pass->batch->arena, AHEAD * ops->ahead_bytes);
    }
    for (size_t i = 0; i < *count; i++) {
        struct weir_record *record = (*records)[i];
        if (record->position >= pass->cut) {
            break;
        }
        size_t mark = run->out_count;
        run->input = record;
        if (chain_is_special(record)) {
            chain_pass_special(pass, stage, record);
            continue;
        }
        run->absorbed = run->late = false;
        struct weir_err err;
        weir_err_clear(&err);
        weir_status status =
            asking == NULL ? WEIR_OK : weir_asking_answer(asking, i, &run->answer, &err);
        run->ahead = chain_look_ahead(pass, stage, &ahead, *records, *count, i);
        if (status == WEIR_OK) {
            status = ops->apply(stage->self, run, record, &err);
        }
        counts->in++;
        if (status == WEIR_OK) {
            bool counted = run->out_count > mark || run->absorbed;
            counts->delivered += counted;
            counts->filtered += !counted;
            uint8_t *fate = chain_fate(pass, record);
            if (fate != NULL && *fate == WEIR_FATE_FILTERED && (run->absorbed || run->late)) {
                *fate = run->absorbed ? WEIR_FATE_OK : WEIR_FATE_LATE;
            }
        } else {
            run->out_count = mark;
            counts->failed++;
            chain_failed(pass, record, stage->name, &err);
        }
    }
    *records = run->out;
    *count = run->out_count;
}

static void chain_deliver(struct chain_pass *pass, unsigned index, struct weir_record *record)
{
    struct weir_batch *batch = pass->batch;
    struct weir_sink *sink = &pass->lane->engine->sinks[index];
    struct weir_output *output = &batch->outputs[index];
    if (pass->copies) {
        struct weir_record *copy = weir_arena_alloc(&batch->arena, sizeof(*copy));
        if (copy == NULL) {
            struct weir_err full = {0};
            (void)!weir_fail(&full, WEIR_LIMIT, "the batch has no memory left");
            chain_failed(pass, record, sink->name, &full);
            return;
        }
        *copy = *record;
        record = copy;
    }
    struct weir_err err;
    weir_err_clear(&err);
    weir_status status = WEIR_OK;
    if (sink->component->ops.sink->prepare != NULL) {
        status = sink->component->ops.sink->prepare(sink->self, &pass->lane->run, record, &err);
    }
    struct weir_slice bytes;
    if (status == WEIR_OK) {
        status = weir_record_bytes(batch, record, &bytes, &err);
    }
    if (status != WEIR_OK) {
        chain_failed(pass, record, sink->name, &err);
        return;
    }
    output->records[output->count++] = record;
    uint8_t *fate = chain_fate(pass, record);
    if (fate != NULL && *fate == WEIR_FATE_FILTERED && !sink->is_routed) {
        *fate = WEIR_FATE_OK;
    }
}

/* Keeps the records for which `when` holds. */
static bool chain_select(struct chain_pass *pass,
                         const struct weir_expr *when,
                         const char *path,
                         struct weir_record **records,
                         size_t count,
                         struct weir_record ***ret_records,
                         size_t *ret_count)
{
    if (when == NULL) {
        *ret_records = records;
        *ret_count = count;
        return true;
    }
    struct weir_record **kept =
        weir_arena_alloc(&pass->batch->arena, (count + 1) * sizeof(struct weir_record *));
    if (kept == NULL) {
        return false;
    }
    size_t kept_count = 0;
    for (size_t i = 0; i < count && records[i]->position < pass->cut; i++) {
        if (chain_is_special(records[i])) {
            kept[kept_count++] = records[i];
            continue;
        }
        bool holds = false;
        struct weir_err err;
        weir_err_clear(&err);
        weir_status status = weir_expr_test(&pass->lane->run, when, records[i], &holds, &err);
        if (status != WEIR_OK) {
            chain_failed(pass, records[i], path, &err);
        } else if (holds) {
            kept[kept_count++] = records[i];
        }
    }
    *ret_records = kept;
    *ret_count = kept_count;
    return true;
}

static bool chain_grow(struct weir_arena *arena, struct weir_output *output, size_t more)
{
    if (output->count + more <= output->capacity) {
        return true;
    }
    struct weir_record **records =
        weir_arena_alloc(arena, (output->count + more) * sizeof(struct weir_record *));
    if (records == NULL) {
        return false;
    }
    if (output->count > 0) {
        memcpy(records, output->records, output->count * sizeof(struct weir_record *));
    }
    output->records = records;
    output->capacity = output->count + more;
    return true;
}

bool weir_chain_route(struct weir_run *run, unsigned sink, const struct weir_record *record)
{
    struct chain_pass *pass = run->pass;
    struct weir_output *output = &pass->batch->outputs[sink];
    size_t room = output->capacity - output->count;
    struct weir_record *copy = weir_arena_alloc(&pass->batch->arena, sizeof(*copy));
    if (copy == NULL ||
        (room == 0 && !chain_grow(&pass->batch->arena, output, output->count + 16))) {
        return false;
    }
    *copy = *record;
    bool copies = pass->copies;
    pass->copies = false;
    chain_deliver(pass, sink, copy);
    pass->copies = copies;
    return true;
}

static bool chain_asks(void *context, const struct weir_record *record)
{
    const struct chain_pass *pass = context;
    return !chain_is_special(record) && record->position < pass->cut;
}

/* Watermarks and ticks alone have nothing to wait for. */
static bool chain_any_asks(struct chain_pass *pass, const struct chain_strand *strand)
{
    bool any = false;
    for (size_t i = 0; i < strand->count && !any; i++) {
        any = chain_asks(pass, strand->records[i]);
    }
    return any;
}

/* A record that can rest: its value is bytes. What came with the batch stays as it is. */
static weir_status
chain_settle_value(struct chain_pass *pass, struct weir_record *record, struct weir_err *err)
{
    struct weir_batch *batch = pass->batch;
    bool is_input = record >= batch->records && record < batch->records + batch->count;
    struct weir_slice bytes;
    if (is_input || chain_is_special(record)) {
        return WEIR_OK;
    }
    weir_status status = weir_record_bytes(batch, record, &bytes, err);
    record->flags &= (uint8_t)~WEIR_RECORD_JSON;
    return status;
}

/* All that is still to be done can wait, whatever the lane does meanwhile. False: no memory. */
static bool chain_rest(struct chain_pass *pass, struct weir_asking *asking)
{
    struct chain_strand *strand = pass->strands;
    for (size_t i = 0; i < strand->count; i++) {
        struct weir_err err = {0};
        if (chain_settle_value(pass, strand->records[i], &err) != WEIR_OK) {
            weir_asking_refuse(asking, i, &err);
        }
    }
    for (strand = strand->next; strand != NULL; strand = strand->next) {
        size_t kept = 0;
        for (size_t i = 0; i < strand->count; i++) {
            struct weir_record *record = strand->records[i];
            struct weir_err err = {0};
            if (chain_settle_value(pass, record, &err) == WEIR_OK) {
                strand->records[kept++] = record;
            } else {
                chain_failed(pass, record, strand->chain->stages[0].name, &err);
            }
        }
        strand->count = kept;
    }
    struct chain_pass *left = weir_arena_alloc(&pass->batch->arena, sizeof(*left));
    if (left == NULL) {
        return false;
    }
    *left = *pass;
    asking->pass = left;
    asking->changes_state = pass->changes_state;
    pass->batch->asking = asking;
    return true;
}

static bool chain_push(struct chain_pass *pass,
                       const struct weir_chain *chain,
                       struct weir_record **records,
                       size_t count)
{
    struct chain_strand *strand = weir_arena_alloc(&pass->batch->arena, sizeof(*strand));
    if (strand != NULL) {
        *strand = (struct chain_strand){chain, 0, records, count, pass->strands};
        pass->strands = strand;
    }
    return strand != NULL;
}

/* What came through all steps goes to the sinks and into the branches, the first one first. */
static bool chain_end(struct chain_pass *pass, const struct chain_strand *strand)
{
    const struct weir_chain *chain = strand->chain;
    for (size_t i = 0; i < chain->outlet_count; i++) {
        const struct weir_outlet *outlet = &chain->outlets[i];
        if (pass->lane->engine->sinks[outlet->sink].is_routed) {
            continue;
        }
        struct weir_record **selected;
        size_t selected_count;
        const char *path = pass->lane->engine->sinks[outlet->sink].name;
        if (!chain_select(pass, outlet->when, path, strand->records, strand->count, &selected,
                          &selected_count) ||
            !chain_grow(&pass->batch->arena, &pass->batch->outputs[outlet->sink], selected_count)) {
            return false;
        }
        for (size_t k = 0; k < selected_count && selected[k]->position < pass->cut; k++) {
            if (!chain_is_special(selected[k])) {
                chain_deliver(pass, outlet->sink, selected[k]);
            }
        }
    }
    for (size_t i = chain->branch_count; i-- > 0;) {
        const struct weir_branch *branch = &chain->branches[i];
        struct weir_record **selected;
        size_t selected_count;
        if (!chain_select(pass, branch->when, branch->name, strand->records, strand->count,
                          &selected, &selected_count) ||
            !chain_push(pass, &branch->chain, selected, selected_count)) {
            return false;
        }
    }
    return true;
}

enum chain_outcome { CHAIN_DONE, CHAIN_RESTS, CHAIN_NO_MEMORY };

/* Goes on with what is to be done; `asking`: the first strand has come to a step that asked, and is
 * answered. */
static enum chain_outcome chain_go(struct chain_pass *pass, struct weir_asking *asking)
{
    struct weir_run *run = &pass->lane->run;
    while (pass->strands != NULL) {
        struct chain_strand *strand = pass->strands;
        const struct weir_chain *chain = strand->chain;
        for (; strand->stage < chain->stage_count; strand->stage++) {
            const struct weir_stage *stage = &chain->stages[strand->stage];
            if (stage->asks != NULL && asking == NULL && chain_any_asks(pass, strand)) {
                run->stage = stage;
                asking = weir_asking_new(run, strand->records, strand->count, chain_asks, pass);
                return asking != NULL && chain_rest(pass, asking) ? CHAIN_RESTS : CHAIN_NO_MEMORY;
            }
            chain_pass_stage(pass, stage, asking, &strand->records, &strand->count);
            asking = NULL;
        }
        pass->strands = strand->next;
        if (!chain_end(pass, strand)) {
            return CHAIN_NO_MEMORY;
        }
    }
    return CHAIN_DONE;
}

/* Everything from the failed record on is taken back. */
static void chain_cut(struct chain_pass *pass)
{
    struct weir_batch *batch = pass->batch;
    for (size_t i = 0; i < batch->output_count; i++) {
        struct weir_output *output = &batch->outputs[i];
        size_t kept = 0;
        for (size_t k = 0; k < output->count; k++) {
            if (output->records[k]->position < pass->cut) {
                output->records[kept++] = output->records[k];
            }
        }
        output->count = kept;
    }
    size_t count = batch->count;
    while (batch->count > 0 && batch->records[batch->count - 1].position >= pass->cut) {
        batch->count--;
    }
    pass->task->in_flight -= count - batch->count;
    batch->next = pass->task->part.read =
        pass->cut; /* the lane is halted: what follows is not read */
    weir_lane_fail(pass->lane, WEIR_LANE_WANTS_STOP, &pass->placed);
}

/* State was changed by records behind the failed one: the epoch is replayed up to it. */
static void chain_replay(struct chain_pass *pass)
{
    struct weir_err err = pass->placed;
    if (!weir_chain_blame(pass->lane, pass->batch, pass->cut, &pass->blame)) {
        weir_lane_fail(pass->lane, WEIR_LANE_WANTS_END, &err);
        return;
    }
    err.status = WEIR_ABORTED;
    weir_lane_fail(pass->lane, WEIR_LANE_WANTS_ABORT, &err);
}

/* For tests: a record of which the process dies. */
static void crash_if_planted(const struct weir_record *record)
{
    if (weir_fault_is(WEIR_FAULT_DIE_OF_RECORD) && record->raw.data != NULL &&
        memmem(record->raw.data, record->raw.size, "deadly", 6) != NULL) {
        raise(SIGKILL);
    }
}

/* The records that are not known to fail already. */
static size_t chain_apply_verdicts(struct chain_pass *pass, struct weir_record **records)
{
    struct weir_batch *batch = pass->batch;
    struct weir_task *task = pass->task;
    const struct weir_engine *engine = pass->lane->engine;
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        struct weir_record *record = &batch->records[i];
        const struct weir_verdict *verdict = NULL;
        for (size_t k = 0; k < task->verdict_count; k++) {
            if (task->verdicts[k].first <= record->position &&
                record->position <= task->verdicts[k].last) {
                verdict = &task->verdicts[k];
            }
        }
        if (verdict == NULL && (record->flags & WEIR_RECORD_SPENT) != 0) {
            struct weir_err err = {0};
            (void)!weir_fail(&err, WEIR_REJECTED, "delivered %u times, and never done with",
                             record->attempt);
            chain_failed(pass, record, engine->sources[task->source].name, &err);
        } else if (verdict == NULL) {
            crash_if_planted(record);
            records[kept++] = record;
        } else {
            struct weir_err err = verdict->err;
            err.path[0] = '\0';
            weir_exchange_strip(task, record);
            chain_failed(pass, record, verdict->err.path, &err);
        }
    }
    pass->known = pass->cut != INT64_MAX;
    return kept;
}

/* The first strand: the records as read. */
static enum chain_outcome chain_begin(struct chain_pass *pass)
{
    struct weir_batch *batch = pass->batch;
    const struct weir_engine *engine = pass->lane->engine;
    struct weir_record **records =
        weir_arena_alloc(&batch->arena, (batch->count + 1) * sizeof(struct weir_record *));
    batch->fates = weir_arena_calloc(&batch->arena, batch->count, 1);
    batch->outputs =
        weir_arena_calloc(&batch->arena, engine->sink_count, sizeof(struct weir_output));
    if (records == NULL || batch->fates == NULL || batch->outputs == NULL) {
        return CHAIN_NO_MEMORY;
    }
    batch->output_count = engine->sink_count;
    size_t count = chain_apply_verdicts(pass, records);
    if (batch->is_special) {
        records[count++] = &batch->special;
    }
    const struct weir_chain *chain = pass->task->in_front ? &engine->front : &engine->chain;
    return chain_push(pass, chain, records, count) ? chain_go(pass, NULL) : CHAIN_NO_MEMORY;
}

static void chain_finish(struct chain_pass *pass, bool fits)
{
    struct weir_batch *batch = pass->batch;
    if (!fits) {
        struct weir_err err = {0};
        (void)!weir_fail(&err, WEIR_LIMIT, "a batch of %zu records needs too much memory",
                         batch->count);
        weir_err_hint(&err, "Lower `batch_size`.");
        batch->output_count = 0;
        pass->cut = batch->is_special ? batch->special.position : batch->records[0].position;
        pass->known = false;
        pass->blame = pass->placed = err;
    }
    if (pass->cut != INT64_MAX) {
        if (pass->lane->engine->stateful_count > 0 && !pass->known) {
            chain_replay(pass);
        } else {
            chain_cut(pass);
        }
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->tally[batch->fates[i]]++;
    }
}

bool weir_chain_process(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_engine *engine = lane->engine;
    if (batch->count == 0 && !batch->is_special) {
        return true;
    }
    const struct weir_task *task = batch->task;
    const struct weir_chain *chain = task->in_front ? &engine->front : &engine->chain;
    struct chain_pass pass = {
        .lane = lane,
        .batch = batch,
        .task = batch->task,
        .cut = INT64_MAX,
        .copies = chain->branch_count > 0 || chain->outlet_count > 1,
    };
    struct weir_asking *asking = batch->asking;
    if (asking != NULL) {
        pass = *(const struct chain_pass *)asking->pass;
        batch->asking = NULL;
    }
    lane->run.batch = batch;
    lane->run.pass = &pass;
    enum chain_outcome outcome = asking == NULL ? chain_begin(&pass) : chain_go(&pass, asking);
    if (outcome != CHAIN_RESTS) {
        chain_finish(&pass, outcome == CHAIN_DONE);
    }
    weir_run_reset(&lane->run);
    lane->run.batch = NULL;
    lane->run.pass = NULL;
    return outcome != CHAIN_RESTS;
}

bool weir_chain_blame(struct weir_lane *lane,
                      struct weir_batch *batch,
                      int64_t position,
                      const struct weir_err *err)
{
    const struct weir_record *record = NULL;
    for (size_t i = 0; i < batch->count && record == NULL; i++) {
        record = batch->records[i].position == position ? &batch->records[i] : NULL;
    }
    if (record == NULL) { /* a timer failed: there is no record to stop at */
        return false;
    }
    struct weir_task *origin = batch->task;
    weir_exchange_origin(&origin, record, &position);
    if (origin == batch->task) {
        weir_chain_condemn(batch->task, position, position, err);
    } else if (lane->blame.task == NULL) {
        lane->blame = (struct weir_blame){origin, position, *err};
    }
    return true;
}

void weir_chain_condemn(struct weir_task *task,
                        int64_t first,
                        int64_t last,
                        const struct weir_err *err)
{
    task->verdicts = weir_realloc(task->verdicts, task->verdict_count + 1, sizeof(*task->verdicts));
    task->verdicts[task->verdict_count++] =
        (struct weir_verdict){.first = first, .last = last, .err = *err};
}

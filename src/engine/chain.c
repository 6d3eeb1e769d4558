/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a batch through the graph: each step over all records, then the sinks' own expressions,
 * then the branches. Records are passed on by pointer; a step that changes one makes a new one.
 *
 * The failure policy acts here and only here. A record that fails is skipped and counted, or stops
 * the pipeline: then the batch is cut in front of it, so that everything before it is written and
 * committed and the next start begins with the record that failed. A verdict from an earlier
 * attempt (a target that refused the record after it was sent) counts as a failure at once.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"

struct chain_pass {
    struct weir_lane *lane;
    struct weir_batch *batch;
    struct weir_task *task;
    int64_t cut; /* records from this position on do not count; INT64_MAX: none */
    bool copies; /* outlets get their own copy of a record */
};

static void chain_failed(struct chain_pass *pass,
                         const struct weir_record *record,
                         const char *path,
                         struct weir_err *err)
{
    struct weir_engine *engine = pass->lane->engine;
    weir_err_path(err, path);
    weir_engine_count_error(engine, pass->lane->index, path, err->status);
    if (engine->config->on_error == WEIR_ON_ERROR_SKIP &&
        weir_status_class(err->status) == WEIR_CLASS_PERMANENT) {
        if (pass->batch->fates[record->ordinal] != WEIR_FATE_SKIPPED) {
            pass->batch->fates[record->ordinal] = WEIR_FATE_SKIPPED;
            struct weir_log log = weir_log_named(&engine->log, path);
            WEIR_LOG_WARN(&log, "record skipped", WEIR_F("topic", (const char *)pass->task->topic),
                          WEIR_F("partition", pass->task->part.index),
                          WEIR_F("offset", record->position), WEIR_F_ERR(err));
        }
        return;
    }
    if (record->position < pass->cut) {
        pass->cut = record->position;
        struct weir_err placed = *err;
        snprintf(placed.message, sizeof(placed.message), "%.64s, partition %d, offset %lld: %.230s",
                 pass->task->topic, pass->task->part.index, (long long)record->position,
                 err->message);
        weir_err_hint(&placed, "Mend the record or the step, or set `on_error: skip`.");
        pass->lane->err = placed;
    }
}

static void chain_pass_stage(struct chain_pass *pass,
                             const struct weir_stage *stage,
                             struct weir_record ***records,
                             size_t *count)
{
    struct weir_run *run = &pass->lane->run;
    struct weir_step_count *counts = &pass->lane->step_counts[stage->index];
    run->stage = stage;
    run->out = NULL;
    run->out_count = run->out_capacity = 0;
    for (size_t i = 0; i < *count; i++) {
        struct weir_record *record = (*records)[i];
        if (record->position >= pass->cut) {
            break;
        }
        size_t mark = run->out_count;
        run->input = record;
        struct weir_err err = {0};
        weir_status status = stage->component->ops.step->apply(stage->self, run, record, &err);
        counts->in++;
        if (status == WEIR_OK) {
            counts->delivered += run->out_count > mark;
            counts->filtered += run->out_count == mark;
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
    struct weir_err err = {0};
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
    if (batch->fates[record->ordinal] == WEIR_FATE_FILTERED) {
        batch->fates[record->ordinal] = WEIR_FATE_OK;
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
        bool holds = false;
        struct weir_err err = {0};
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

static bool chain_pass_all(struct chain_pass *pass,
                           const struct weir_chain *chain,
                           struct weir_record **records,
                           size_t count)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        chain_pass_stage(pass, &chain->stages[i], &records, &count);
    }
    for (size_t i = 0; i < chain->outlet_count; i++) {
        const struct weir_outlet *outlet = &chain->outlets[i];
        struct weir_record **selected;
        size_t selected_count;
        const char *path = pass->lane->engine->sinks[outlet->sink].name;
        if (!chain_select(pass, outlet->when, path, records, count, &selected, &selected_count) ||
            !chain_grow(&pass->batch->arena, &pass->batch->outputs[outlet->sink], selected_count)) {
            return false;
        }
        for (size_t k = 0; k < selected_count && selected[k]->position < pass->cut; k++) {
            chain_deliver(pass, outlet->sink, selected[k]);
        }
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        const struct weir_branch *branch = &chain->branches[i];
        struct weir_record **selected;
        size_t selected_count;
        if (!chain_select(pass, branch->when, branch->name, records, count, &selected,
                          &selected_count) ||
            !chain_pass_all(pass, &branch->chain, selected, selected_count)) {
            return false;
        }
    }
    return true;
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
    batch->next = pass->cut;
    struct weir_err err = pass->lane->err;
    pass->lane->err = (struct weir_err){0};
    weir_lane_fail(pass->lane, WEIR_LANE_WANTS_STOP, &err);
}

/* The records that are not known to fail already. */
static size_t chain_apply_verdicts(struct chain_pass *pass, struct weir_record **records)
{
    struct weir_batch *batch = pass->batch;
    struct weir_task *task = pass->task;
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
        if (verdict == NULL) {
            records[kept++] = record;
        } else {
            struct weir_err err = verdict->err;
            err.path[0] = '\0';
            chain_failed(pass, record, verdict->err.path, &err);
        }
    }
    return kept;
}

void weir_chain_process(struct weir_lane *lane, struct weir_batch *batch)
{
    struct weir_engine *engine = lane->engine;
    if (batch->count == 0) {
        return;
    }
    struct chain_pass pass = {
        .lane = lane,
        .batch = batch,
        .task = batch->task,
        .cut = INT64_MAX,
        .copies = engine->chain.branch_count > 0 || engine->chain.outlet_count > 1,
    };
    lane->run.batch = batch;
    struct weir_record **records =
        weir_arena_alloc(&batch->arena, batch->count * sizeof(struct weir_record *));
    batch->fates = weir_arena_calloc(&batch->arena, batch->count, 1);
    batch->outputs =
        weir_arena_calloc(&batch->arena, engine->sink_count, sizeof(struct weir_output));
    bool fits = records != NULL && batch->fates != NULL && batch->outputs != NULL;
    if (fits) {
        batch->output_count = engine->sink_count;
        size_t count = chain_apply_verdicts(&pass, records);
        fits = chain_pass_all(&pass, &engine->chain, records, count);
    }
    if (!fits) {
        struct weir_err err = {0};
        (void)!weir_fail(&err, WEIR_LIMIT, "a batch of %zu records needs too much memory",
                         batch->count);
        weir_err_hint(&err, "Lower `batch_size`.");
        batch->output_count = 0;
        pass.cut = batch->records[0].position;
        lane->err = err;
    }
    if (pass.cut != INT64_MAX) {
        chain_cut(&pass);
    }
    for (size_t i = 0; i < batch->count; i++) {
        batch->tally[batch->fates[i]]++;
    }
    weir_run_reset(&lane->run);
    lane->run.batch = NULL;
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

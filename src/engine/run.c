/* SPDX-License-Identifier: Apache-2.0
 *
 * What steps and sinks may do with a record while its batch is processed: evaluate expressions,
 * pass results on, log. Values that an expression makes live in the run's heap, which is dropped
 * when the batch is processed: whatever must live longer is serialised or copied into the batch
 * before.
 */
#include <string.h>

#include <weir/jq.h>

#include "base/assert.h"
#include "conf/scalar.h"
#include "engine/engine_priv.h"
#include "engine/metrics.h"

void weir_run_init(struct weir_run *run, struct weir_lane *lane)
{
    const struct weir_jq_config *config = &lane->engine->config->jq;
    const struct weir_jq_limits limits = {
        .steps = (uint64_t)config->max_steps,
        .depth = (uint32_t)config->max_depth,
        .results = (uint64_t)config->max_results,
        .memory_bytes = (size_t)config->max_memory,
        .regex_steps = (uint32_t)config->max_backtracking,
    };
    *run = (struct weir_run){.lane = lane, .jq = weir_jq_run_new(&limits)};
}

void weir_run_done(struct weir_run *run)
{
    weir_jq_run_free(run->jq);
}

void weir_run_reset(struct weir_run *run)
{
    weir_jq_run_reset(run->jq);
}

struct weir_batch *weir_run_batch(struct weir_run *run)
{
    return run->batch;
}

struct weir_strbuf *weir_run_scratch(struct weir_run *run)
{
    weir_strbuf_clear(run->batch->scratch);
    return run->batch->scratch;
}

void *weir_run_ahead(const struct weir_run *run)
{
    return run->ahead;
}

const struct weir_record *weir_run_input(const struct weir_run *run)
{
    return run->input;
}

struct weir_slice weir_run_answer(const struct weir_run *run)
{
    return run->answer;
}

void weir_run_show_answer(struct weir_run *run, struct weir_value answer)
{
    weir_jq_run_set_answer(run->jq, answer);
}

/* $record, for the programs that read it. */
static weir_status
run_show_record(struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    _Static_assert(sizeof(struct weir_jq_header) == sizeof(struct weir_header), "same layout");
    weir_status status = weir_record_read_headers(run->batch, record, err);
    if (status != WEIR_OK) {
        return status;
    }
    const struct weir_task *task = run->batch->task;
    const struct weir_jq_record shown = {
        .key = record->key,
        .topic = weir_slice_of(task->topic),
        .partition = task->part.index,
        .offset = record->position,
        .time_ms = record->time_ms,
        .has_time = (record->flags & WEIR_RECORD_NO_TIME) == 0,
        .headers = (const struct weir_jq_header *)(const void *)record->headers,
        .header_count = record->header_count,
    };
    weir_jq_run_set_record(run->jq, &shown);
    return WEIR_OK;
}

static weir_status run_input(struct weir_run *run,
                             const struct weir_expr *expr,
                             struct weir_record *record,
                             struct weir_value *ret_input,
                             struct weir_err *err)
{
    struct weir_jq_facts facts = weir_jq_facts(expr->program);
    weir_status status = WEIR_OK;
    if (facts.uses_record) {
        status = run_show_record(run, record, err);
    }
    return status == WEIR_OK ? weir_record_json(run->batch, record, ret_input, err) : status;
}

weir_status weir_expr_test(struct weir_run *run,
                           const struct weir_expr *expr,
                           struct weir_record *record,
                           bool *ret_pass,
                           struct weir_err *err)
{
    struct weir_value input;
    weir_status status = run_input(run, expr, record, &input, err);
    return status == WEIR_OK ? weir_jq_test(run->jq, expr->program, input, ret_pass, err) : status;
}

weir_status weir_expr_text(struct weir_run *run,
                           const struct weir_expr *expr,
                           struct weir_record *record,
                           struct weir_slice *ret_text,
                           struct weir_err *err)
{
    struct weir_value input, value;
    weir_status status = run_input(run, expr, record, &input, err);
    if (status == WEIR_OK) {
        status = weir_jq_one(run->jq, expr->program, input, &value, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (weir_value_kind(value) == WEIR_KIND_NULL) {
        *ret_text = (struct weir_slice){NULL, 0};
        return WEIR_OK;
    }
    struct weir_slice text = weir_value_text(value);
    if (text.data == NULL) {
        struct weir_strbuf *scratch = run->batch->scratch;
        weir_strbuf_clear(scratch);
        weir_value_write(value, scratch, 0);
        if (scratch->failed) {
            return weir_fail(err, WEIR_TOO_LARGE, "the result is too long");
        }
        text = weir_strbuf_view(scratch);
    }
    *ret_text = weir_arena_copy(&run->batch->arena, text);
    return ret_text->data == NULL ? weir_fail(err, WEIR_LIMIT, "the batch has no memory left")
                                  : WEIR_OK;
}

bool weir_parse_rfc3339(struct weir_slice text, int64_t *ret_ms)
{
    /* A date alone, or digits, are times in a pipeline file; in data they may mean anything. */
    return text.size > 10 && memchr("Tt ", text.data[10], 3) != NULL &&
           weir_parse_time(text, ret_ms);
}

weir_status weir_expr_value(struct weir_run *run,
                            const struct weir_expr *expr,
                            struct weir_record *record,
                            struct weir_value *ret_value,
                            struct weir_err *err)
{
    struct weir_value input;
    weir_status status = run_input(run, expr, record, &input, err);
    return status == WEIR_OK ? weir_jq_one(run->jq, expr->program, input, ret_value, err) : status;
}

weir_status weir_expr_of(struct weir_run *run,
                         const struct weir_expr *expr,
                         struct weir_value input,
                         struct weir_value *ret_value,
                         struct weir_err *err)
{
    return weir_jq_one(run->jq, expr->program, input, ret_value, err);
}

bool weir_emit(struct weir_run *run, const struct weir_record *record)
{
    struct weir_arena *arena = &run->batch->arena;
    if (run->out_count == run->out_capacity) {
        size_t capacity = run->out_capacity == 0 ? run->batch->count + 16 : run->out_capacity * 2;
        struct weir_record **out = weir_arena_alloc(arena, capacity * sizeof(*out));
        if (out == NULL) {
            return false;
        }
        if (run->out_count > 0) {
            memcpy(out, run->out, run->out_count * sizeof(*out));
        }
        run->out = out;
        run->out_capacity = capacity;
    }
    if (record != run->input) {
        struct weir_record *copy = weir_arena_alloc(arena, sizeof(*copy));
        if (copy == NULL) {
            return false;
        }
        *copy = *record;
        run->out[run->out_count++] = copy;
    } else {
        run->out[run->out_count++] = run->input;
    }
    return true;
}

struct emit_each {
    struct weir_run *run;
    const struct weir_record *input;
};

static weir_status emit_value(void *context, struct weir_value value, struct weir_err *err)
{
    const struct emit_each *each = context;
    struct weir_record result = *each->input;
    result.json = value;
    result.raw = (struct weir_slice){NULL, 0};
    result.flags = (uint8_t)((result.flags & ~WEIR_RECORD_RAW) | WEIR_RECORD_JSON);
    return weir_emit(each->run, &result)
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

weir_status weir_emit_each(struct weir_run *run,
                           const struct weir_expr *expr,
                           struct weir_record *record,
                           struct weir_err *err)
{
    struct weir_value input;
    struct emit_each each = {run, record};
    weir_status status = run_input(run, expr, record, &input, err);
    return status == WEIR_OK ? weir_jq_each(run->jq, expr->program, input, emit_value, &each, err)
                             : status;
}

bool weir_emit_watermark(struct weir_run *run, int64_t watermark_ms)
{
    if (!run->stage->is_listened) {
        return true;
    }
    struct weir_record mark = *run->input;
    mark.flags = WEIR_RECORD_WATERMARK;
    mark.time_ms = watermark_ms;
    mark.ordinal = WEIR_NO_ORDINAL;
    return weir_emit(run, &mark);
}

bool weir_emit_to(struct weir_run *run, unsigned sink, const struct weir_record *record)
{
    return weir_chain_route(run, sink, record);
}

void weir_run_absorbed(struct weir_run *run)
{
    run->absorbed = true;
}

void weir_run_again(struct weir_run *run)
{
    ((struct weir_task *)run->batch->task)->again = true;
}

void weir_run_late(struct weir_run *run)
{
    run->late = true;
}

void weir_run_missed(struct weir_run *run, size_t windows)
{
    weir_metrics_count(run->lane->engine->metrics, WEIR_METRIC_LATE_WINDOWS, windows,
                       WEIR_LABELS(run->stage->name));
}

void weir_run_result_failed(struct weir_run *run,
                            const struct weir_record *result,
                            struct weir_err *err)
{
    weir_chain_result_failed(run, result, err);
}

struct weir_state *weir_run_state(struct weir_run *run)
{
    const struct weir_task *task = run->batch->task;
    WEIR_ASSERT(run->stage->state_index >= 0);
    return task->states[run->stage->state_index];
}

void weir_run_log(struct weir_run *run, const struct weir_record *record, struct weir_slice text)
{
    const struct weir_task *task = run->batch->task;
    struct weir_log log = weir_log_named(&run->lane->engine->log, run->stage->name);
    WEIR_LOG_INFO(&log, "record", WEIR_F("topic", (const char *)task->topic),
                  WEIR_F("partition", task->part.index), WEIR_F("offset", record->position),
                  WEIR_F("message_id", weir_record_message_id(run->batch, record)),
                  WEIR_F("text", text));
}

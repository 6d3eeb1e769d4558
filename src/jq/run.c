/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs: limits, entry points, and what a program sees of its surroundings. Whatever ends an
 * evaluation is told here as a status: an error of the program is WEIR_EVAL with jq's message, a
 * limit is WEIR_LIMIT, and the status of an emit that wants no more is handed through.
 */
#include "jq/run.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "data/reader.h"
#include "jq/match.h"

#define STEPS_DEFAULT ((uint64_t)1 << 32)
#define DEPTH_DEFAULT 100000u
#define RESULTS_DEFAULT ((uint64_t)1000000)
#define MEMORY_DEFAULT ((size_t)256 << 20)
#define REGEX_STEPS_DEFAULT 10000000u

extern char **environ;

struct weir_jq_run *weir_jq_run_new(const struct weir_jq_limits *limits)
{
    struct weir_jq_limits asked = {0};
    if (limits != NULL) {
        asked = *limits;
    }
    struct weir_jq_run *run = weir_calloc(1, sizeof *run);
    run->memory_max = asked.memory_bytes == 0 ? MEMORY_DEFAULT : asked.memory_bytes;
    weir_heap_init(&run->heap, run->memory_max);
    run->steps_max = asked.steps == 0 ? STEPS_DEFAULT : asked.steps;
    run->depth_max = asked.depth == 0 ? DEPTH_DEFAULT : asked.depth;
    run->results_max = asked.results == 0 ? RESULTS_DEFAULT : asked.results;
    run->regex_steps = asked.regex_steps == 0 ? REGEX_STEPS_DEFAULT : asked.regex_steps;
    jq_stack_init(run);
    return run;
}

void weir_jq_run_free(struct weir_jq_run *run)
{
    if (run == NULL) {
        return;
    }
    jq_regexes_free(run->regexes);
    jq_frames_done(run);
    jq_stack_done(run);
    weir_heap_done(&run->heap);
    weir_free(run);
}

void weir_jq_run_reset(struct weir_jq_run *run)
{
    weir_heap_reset(&run->heap);
    run->error = run->record_value = run->environment = run->halt_value = (struct weir_value){0};
    run->answer = (struct weir_value){0};
    run->failed = JQ_FINE;
}

void weir_jq_run_set_record(struct weir_jq_run *run, const struct weir_jq_record *record)
{
    run->record = *record;
    weir_release(&run->heap, run->record_value);
    run->record_value = (struct weir_value){0};
}

void weir_jq_run_set_answer(struct weir_jq_run *run, struct weir_value answer)
{
    run->answer = answer;
}

void weir_jq_run_set_host(struct weir_jq_run *run, const struct weir_jq_host *host)
{
    run->host = *host;
}

/* ── starting and ending ── */

static struct jq_frame *
begin(struct weir_jq_run *run, const struct weir_jq *program, struct jq_mark *ret_mark)
{
    if (run->stack == NULL && !pthread_equal(run->stack_thread, pthread_self())) {
        jq_stack_init(run);
    }
    run->program = program;
    run->failed = JQ_FINE;
    run->steps = run->results = 0;
    run->heap.limit_bytes = run->memory_max > SIZE_MAX - run->heap.used_bytes
                                ? SIZE_MAX
                                : run->heap.used_bytes + run->memory_max;
    run->heap.exceeded = false;
    run->next_label = 0;
    *ret_mark = jq_frame_mark(run);
    return jq_frame_push(run, &program->frame, NULL);
}

/* The program's error as jq's command says it. */
static weir_status report_error(struct weir_jq_run *run, struct weir_err *err)
{
    struct weir_value error = run->error;
    if (error.kind == WEIR_KIND_STRING) {
        struct weir_slice text = weir_value_text(error);
        return weir_fail(err, WEIR_EVAL, "%.*s", WEIR_SLICE_ARG(text));
    }
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1 << 20);
    weir_value_write(error, &buf, WEIR_WRITE_COMPACT);
    weir_status status =
        weir_fail(err, WEIR_EVAL, "(not a string) %s", weir_strbuf_view(&buf).data);
    weir_strbuf_done(&buf);
    return status;
}

static weir_status finish(struct weir_jq_run *run, struct jq_mark mark, struct weir_err *err)
{
    jq_frame_pop(run, mark);
    switch (run->failed) {
    case JQ_FINE:
        if (run->heap.exceeded) {
            jq_step_failed(run);
            return weir_fail(err, WEIR_LIMIT, "%s", run->message);
        }
        return WEIR_OK;
    case JQ_FAILED:
        return report_error(run, err);
    case JQ_BROKEN:
        return weir_fail(err, WEIR_EVAL, "break");
    case JQ_LIMITED:
        return weir_fail(err, WEIR_LIMIT, "%s", run->message);
    case JQ_HALTED:
        return WEIR_ABORTED;
    case JQ_STOPPED:
    default:
        return run->stop_status;
    }
}

struct weir_value weir_jq_error_value(const struct weir_jq_run *run)
{
    return run->failed == JQ_FAILED ? run->error : (struct weir_value){0};
}

int weir_jq_run_halted(const struct weir_jq_run *run, struct weir_value *ret_value)
{
    *ret_value = run->halt_value;
    return run->exit_code;
}

/* ── entry points ── */

struct each {
    struct jq_emit emit;
    struct weir_jq_run *run;
    weir_jq_emit out;
    void *context;
    struct weir_err *err;
};

static bool each_result(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct each *self = (struct each *)emit;
    (void)track;
    if (++self->run->results > self->run->results_max) {
        jq_limit(self->run, "expression yields more than %llu results",
                 (unsigned long long)self->run->results_max);
        return false;
    }
    /* The value stays referenced: it is the caller's until reset. */
    weir_status status = self->out(self->context, value, self->err);
    if (status != WEIR_OK) {
        self->run->failed = JQ_STOPPED;
        self->run->stop_status = status;
        return false;
    }
    return true;
}

weir_status weir_jq_each(struct weir_jq_run *run,
                         const struct weir_jq *program,
                         struct weir_value input,
                         weir_jq_emit emit,
                         void *context,
                         struct weir_err *err)
{
    struct jq_mark mark;
    struct jq_frame *frame = begin(run, program, &mark);
    struct each self = {{each_result}, run, emit, context, err};
    jq_eval(run, program->body, frame, weir_retain(input), NULL, &self.emit);
    return finish(run, mark, err);
}

struct only {
    struct jq_emit emit;
    struct weir_jq_run *run;
    struct weir_value value;
    unsigned count;
};

static bool only_result(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct only *self = (struct only *)emit;
    (void)track;
    self->count++;
    self->value = value;
    if (self->count > 1) {
        self->run->failed = JQ_STOPPED;
        self->run->stop_status = WEIR_OK;
        return false;
    }
    return true;
}

weir_status weir_jq_one(struct weir_jq_run *run,
                        const struct weir_jq *program,
                        struct weir_value input,
                        struct weir_value *ret_value,
                        struct weir_err *err)
{
    struct jq_mark mark;
    struct jq_frame *frame = begin(run, program, &mark);
    struct only self = {.emit = {only_result}, .run = run};
    if (program->body->many != JQ_MANY) {
        self.value = jq_eval_one(run, program->body, frame, weir_retain(input));
        self.count = !weir_value_is_absent(self.value);
    } else {
        jq_eval(run, program->body, frame, weir_retain(input), NULL, &self.emit);
    }
    weir_status status = finish(run, mark, err);
    *ret_value = self.value;
    if (status == WEIR_OK && self.count != 1) {
        return weir_fail(err, WEIR_EVAL,
                         self.count == 0 ? "expression yields no value where one is needed"
                                         : "expression yields several values where one is needed");
    }
    return status;
}

static bool any_result(struct jq_emit *emit, struct weir_value value, const struct jq_track *track)
{
    struct only *self = (struct only *)emit;
    (void)track;
    bool truth = weir_value_is_true(value);
    weir_release(&self->run->heap, value);
    if (truth) {
        self->count = 1;
        self->run->failed = JQ_STOPPED;
        self->run->stop_status = WEIR_OK;
    }
    return !truth;
}

weir_status weir_jq_test(struct weir_jq_run *run,
                         const struct weir_jq *program,
                         struct weir_value input,
                         bool *ret_pass,
                         struct weir_err *err)
{
    struct jq_mark mark;
    struct jq_frame *frame = begin(run, program, &mark);
    *ret_pass = false;
    if (program->body->many != JQ_MANY) {
        struct weir_value value = jq_eval_one(run, program->body, frame, weir_retain(input));
        *ret_pass = weir_value_is_true(value);
        weir_release(&run->heap, value);
        return finish(run, mark, err);
    }
    struct only self = {.emit = {any_result}, .run = run};
    jq_eval(run, program->body, frame, weir_retain(input), NULL, &self.emit);
    *ret_pass = self.count == 1;
    return finish(run, mark, err);
}

/* ── $ENV and $record ── */

struct weir_value jq_environment(struct weir_jq_run *run)
{
    if (!weir_value_is_absent(run->environment)) {
        return weir_retain(run->environment);
    }
    struct weir_value object = weir_object_new(&run->heap, 64);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        const char *equals = strchr(*entry, '=');
        if (equals == NULL) {
            continue;
        }
        struct weir_strbuf name, text;
        weir_strbuf_init(&name, UINT32_MAX);
        weir_strbuf_init(&text, UINT32_MAX);
        weir_utf8_clean((struct weir_slice){*entry, (size_t)(equals - *entry)}, &name);
        weir_utf8_clean(weir_slice_of(equals + 1), &text);
        object = weir_object_set(&run->heap, object,
                                 weir_string_new(&run->heap, weir_strbuf_view(&name)),
                                 weir_string_new(&run->heap, weir_strbuf_view(&text)));
        weir_strbuf_done(&name);
        weir_strbuf_done(&text);
    }
    run->environment = weir_retain(object);
    return object;
}

/* Bytes as a string; what is not UTF-8 gets replacement characters. */
static struct weir_value bytes_value(struct weir_jq_run *run, struct weir_slice bytes)
{
    if (bytes.data == NULL) {
        return weir_value_null();
    }
    if (weir_utf8_valid(bytes)) {
        return weir_string_new(&run->heap, bytes);
    }
    struct weir_strbuf clean;
    weir_strbuf_init(&clean, UINT32_MAX);
    weir_utf8_clean(bytes, &clean);
    struct weir_value value = weir_string_new(&run->heap, weir_strbuf_view(&clean));
    weir_strbuf_done(&clean);
    return value;
}

static struct weir_value
set(struct weir_jq_run *run, struct weir_value object, const char *name, struct weir_value value)
{
    return weir_object_set(&run->heap, object, weir_value_string(weir_slice_of(name)), value);
}

struct weir_value jq_record_value(struct weir_jq_run *run)
{
    if (!weir_value_is_absent(run->record_value)) {
        return weir_retain(run->record_value);
    }
    const struct weir_jq_record *record = &run->record;
    struct weir_value headers = weir_object_new(&run->heap, record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        headers = weir_object_set(&run->heap, headers, bytes_value(run, record->headers[i].key),
                                  bytes_value(run, record->headers[i].value));
    }
    struct weir_value object = weir_object_new(&run->heap, 6);
    object = set(run, object, "key", bytes_value(run, record->key));
    object = set(run, object, "topic", bytes_value(run, record->topic));
    object = set(run, object, "partition", weir_value_number((double)record->partition));
    object = set(run, object, "offset", weir_value_number((double)record->offset));
    object = set(run, object, "time",
                 record->has_time ? weir_value_number((double)record->time_ms) : weir_value_null());
    object = set(run, object, "headers", headers);
    run->record_value = weir_retain(object);
    return object;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables belong to the lanes, and an entry is found by its user's key only by passing them all. So
 * control searches while the lanes stand at the gate, for SLICE_NS at a time, and leaves them alone
 * for four times as long in between: a question costs the pipeline at most a fifth of its time, for
 * at most PATIENCE_MS. An abort, or partitions that come and go, begin the search anew.
 *
 * The gate is closed as for an abort, so that it never waits for a sink: what a lane has half
 * handed over is of no concern to what is committed.
 *
 * Who asked and control each hold the question; the last one frees it. `end` is stored last.
 */
#include "engine/inquiry.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/wake.h"
#include "engine/engine_priv.h"
#include "state/entry_text.h"
#include "state/look.h"

enum {
    INQUIRIES_MAX = 8,
    SLICE_NS = 2 * 1000 * 1000,
    REST_NS = 4 * SLICE_NS,
    PATIENCE_MS = 3000,
    LOOK_AT_ONCE = 1024,
    FOUND_MAX = 1000,       /* entries of a step in a shard, */
    ANSWER_MAX = 16 << 20,  /* and bytes of keys and values in all */
};

struct found {
    struct found *next;
    struct weir_slice key, value;
    int64_t timer;
};

struct weir_inquiry {
    struct weir_inquiry *next;
    atomic_int holders, end;
    char *step;
    struct weir_wanted_key wanted;
    int64_t deadline_ns;
    struct weir_strbuf answer;
    /* control: where the search is */
    bool begun;
    uint64_t run, moves;
    size_t task_at;
    unsigned step_at;
    const struct weir_stage *stage;
    struct weir_state_look look;
    struct weir_arena arena; /* of what was found */
    struct found *found;     /* in the step under way */
    size_t found_count;
};

static void inquiry_free(struct weir_inquiry *self)
{
    weir_free(self->step);
    weir_wanted_key_done(&self->wanted);
    weir_strbuf_done(&self->answer);
    weir_state_look_done(&self->look);
    weir_arena_done(&self->arena);
    weir_free(self);
}

void weir_inquiry_drop(struct weir_inquiry *inquiry)
{
    if (inquiry != NULL && atomic_fetch_sub(&inquiry->holders, 1) == 1) {
        inquiry_free(inquiry);
    }
}

struct weir_inquiry *weir_engine_ask(struct weir_engine *engine, const char *step, const char *key)
{
    struct weir_inquiry *self = weir_calloc(1, sizeof(*self));
    atomic_init(&self->holders, 2);
    self->step = step == NULL ? NULL : weir_strdup(step);
    self->deadline_ns = weir_clock_monotonic_ns(engine->clock) + PATIENCE_MS * WEIR_NS_PER_MS;
    weir_wanted_key_init(&self->wanted, key);
    weir_strbuf_init(&self->answer, ANSWER_MAX * 3);
    weir_state_look_init(&self->look);
    weir_arena_init(&self->arena, ANSWER_MAX);
    pthread_mutex_lock(&engine->shown_lock);
    if (engine->answers_none) {
        pthread_mutex_unlock(&engine->shown_lock);
        atomic_init(&self->holders, 1);
        atomic_init(&self->end, WEIR_INQUIRY_IDLE);
        return self;
    }
    size_t waiting = 0;
    struct weir_inquiry **place = &engine->inquiries;
    for (; *place != NULL; place = &(*place)->next) {
        waiting++;
    }
    if (waiting < INQUIRIES_MAX) {
        *place = self;
    }
    pthread_mutex_unlock(&engine->shown_lock);
    if (waiting == INQUIRIES_MAX) {
        inquiry_free(self);
        return NULL;
    }
    weir_wake(engine->wake_fd);
    return self;
}

enum weir_inquiry_end weir_inquiry_end(const struct weir_inquiry *inquiry)
{
    /* Acquire pairs with the store of who answers: the answer is whole. */
    return (enum weir_inquiry_end)atomic_load_explicit(&inquiry->end, memory_order_acquire);
}

const struct weir_strbuf *weir_inquiry_answer(const struct weir_inquiry *inquiry)
{
    return &inquiry->answer;
}

/* --- the search --------------------------------------------------------------------------------*/

static struct weir_inquiry *first_inquiry(const struct weir_engine *engine)
{
    struct weir_engine *shared = (struct weir_engine *)(uintptr_t)engine;
    pthread_mutex_lock(&shared->shown_lock);
    struct weir_inquiry *first = engine->inquiries;
    pthread_mutex_unlock(&shared->shown_lock);
    return first;
}

static void finish(struct weir_engine *engine, enum weir_inquiry_end end)
{
    pthread_mutex_lock(&engine->shown_lock);
    struct weir_inquiry *self = engine->inquiries;
    engine->inquiries = self->next;
    pthread_mutex_unlock(&engine->shown_lock);
    atomic_store_explicit(&self->end, (int)end, memory_order_release);
    weir_inquiry_drop(self);
}

static bool wants(void *context, struct weir_slice key)
{
    const struct weir_inquiry *self = context;
    return weir_wanted_key_is(&self->wanted, key, self->stage->component->ops.step->show);
}

static void take(void *context, struct weir_slice key, struct weir_slice value, int64_t timer)
{
    struct weir_inquiry *self = context;
    struct found *found = self->found;
    while (found != NULL && !weir_slice_equal(found->key, key)) {
        found = found->next;
    }
    if (found == NULL) {
        self->found_count++;
        found = self->found_count > FOUND_MAX ? NULL
                                              : weir_arena_calloc(&self->arena, 1, sizeof(*found));
        if (found == NULL) {
            self->answer.failed = true;
            return;
        }
        found->key = weir_arena_copy(&self->arena, key);
        found->next = self->found;
        self->found = found;
    }
    found->value = weir_arena_copy(&self->arena, value);
    found->timer = timer;
    self->answer.failed =
        self->answer.failed || found->key.data == NULL || found->value.data == NULL;
}

static void put_found(struct weir_inquiry *self, const struct weir_task *task)
{
    for (const struct found *found = self->found; found != NULL && !self->answer.failed;
         found = found->next) {
        const struct weir_entry_text text = {.topic = task->topic,
                                             .partition = task->part.index,
                                             .step = self->stage->name,
                                             .key = found->key,
                                             .value = found->value,
                                             .timer = found->timer,
                                             .show = self->stage->component->ops.step->show};
        weir_entry_text_put(&text, &self->answer);
    }
    self->found = NULL;
    weir_state_look_done(&self->look);
    weir_state_look_init(&self->look);
}

static void begin(struct weir_inquiry *self, const struct weir_engine *engine)
{
    if (self->begun && self->run == engine->run && self->moves == engine->moves) {
        return;
    }
    self->begun = true;
    self->run = engine->run;
    self->moves = engine->moves;
    self->task_at = 0;
    self->step_at = 0;
    self->found = NULL;
    self->found_count = 0;
    weir_strbuf_clear(&self->answer);
    weir_arena_reset(&self->arena);
    weir_state_look_done(&self->look);
    weir_state_look_init(&self->look);
}

static struct weir_task *task_at(const struct weir_engine *engine, size_t at)
{
    struct weir_task *task = engine->tasks;
    for (; at > 0 && task != NULL; at--) {
        task = task->next;
    }
    return task;
}

/* One step's table in one task, as far as until_ns goes. True: all of it was seen. */
static bool look_at_step(struct weir_engine *engine,
                         struct weir_inquiry *self,
                         struct weir_task *task,
                         int64_t until_ns)
{
    self->stage = engine->stateful[self->step_at];
    const struct weir_state_looker looker = {wants, take, self};
    bool wanted = task->states != NULL && task->states[self->step_at] != NULL &&
                  (self->step == NULL || strcmp(self->step, self->stage->name) == 0);
    bool more = wanted;
    while (more && !self->answer.failed && weir_clock_monotonic_ns(engine->clock) < until_ns) {
        more = weir_state_look_on(task->states[self->step_at], &self->look, LOOK_AT_ONCE, &looker);
    }
    if (!more && wanted) {
        put_found(self, task);
    }
    return !more;
}

/* True: everything was seen. paused. */
static bool look_on(struct weir_engine *engine, struct weir_inquiry *self, int64_t until_ns)
{
    begin(self, engine);
    struct weir_task *task = task_at(engine, self->task_at);
    while (task != NULL && !self->answer.failed) {
        weir_shard_apply(task);
        for (; self->step_at < engine->stateful_count; self->step_at++) {
            if (!look_at_step(engine, self, task, until_ns)) {
                return false;
            }
        }
        self->step_at = 0;
        self->task_at++;
        task = task->next;
    }
    return true;
}

void weir_engine_answer(struct weir_engine *engine)
{
    struct weir_inquiry *self = first_inquiry(engine);
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    if (self == NULL || now_ns < engine->answer_ns) {
        return;
    }
    if (engine->tasks == NULL) {
        finish(engine, WEIR_INQUIRY_IDLE);
        return;
    }
    if (now_ns > self->deadline_ns || atomic_load(&self->holders) == 1) {
        finish(engine, WEIR_INQUIRY_LATE);
        return;
    }
    bool done = false;
    if (weir_gate_close(engine, true, now_ns + REST_NS)) {
        done = look_on(engine, self, weir_clock_monotonic_ns(engine->clock) + SLICE_NS);
        weir_gate_open(engine);
    }
    engine->answer_ns = weir_clock_monotonic_ns(engine->clock) + REST_NS;
    if (done || self->answer.failed) {
        finish(engine, self->answer.failed      ? WEIR_INQUIRY_LARGE
                       : self->answer.size == 0 ? WEIR_INQUIRY_NOTHING
                                                : WEIR_INQUIRY_FOUND);
    }
}

int64_t weir_engine_answer_ns(const struct weir_engine *engine)
{
    return first_inquiry(engine) == NULL ? INT64_MAX : engine->answer_ns;
}

void weir_engine_answer_none(struct weir_engine *engine)
{
    pthread_mutex_lock(&engine->shown_lock);
    engine->answers_none = true;
    pthread_mutex_unlock(&engine->shown_lock);
    while (first_inquiry(engine) != NULL) {
        finish(engine, WEIR_INQUIRY_IDLE);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's life: made, ticked, ended. What it opens and closes: opening.c.
 *
 * The control thread does everything in weir_engine_tick: it serves sources and sinks, drives the
 * epoch, and looks whether the end has come. Between ticks it waits on one descriptor, to which
 * lanes, client libraries and signal handlers write. Nothing else wakes it but the epoch's time.
 *
 * A fenced engine (another process took over its identity, or the broker gave it up) throws away
 * everything and starts over as a new member, three times a minute at most: what is committed
 * stands, what is not is read again.
 */
#include "engine/engine.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/wake.h"
#include "engine/engine_priv.h"
#include "engine/metrics.h"
#include "engine/observe.h"

enum {
    GAUGE_EVERY_MS = 1000,
    STOP_TICK_MS = 5,
    RESTART_MS = 1000,
    STANDBY_MS = 500,
    FENCE_QUESTION_MS = 4000,
};

static int64_t engine_now(const struct weir_engine *engine)
{
    return weir_clock_monotonic_ns(engine->clock);
}

/* --- sinks -------------------------------------------------------------------------------------*/

void weir_engine_serve_sinks(struct weir_engine *engine)
{
    for (size_t i = 0; i < engine->sink_count; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        struct weir_err err = {0};
        if (sink->component->ops.sink->poll == NULL ||
            sink->component->ops.sink->poll(sink->self, &err) == WEIR_OK) {
            continue;
        }
        weir_err_path(&err, sink->name);
        weir_engine_count_error(engine, 0, sink->name, err.status);
        if (weir_status_class(err.status) == WEIR_CLASS_FATAL) {
            weir_engine_end(engine, &err);
        } else if (engine->state != WEIR_EPOCH_WAITING) {
            weir_epoch_abort(engine, &err);
        }
    }
}

/* --- ending ------------------------------------------------------------------------------------*/

void weir_engine_finish(struct weir_engine *engine, weir_status result)
{
    if (!engine->finished) {
        engine->finished = true;
        engine->result = result;
        atomic_store_explicit(&engine->reading, false, memory_order_release);
    }
}

static void engine_begin_stop(struct weir_engine *engine)
{
    if (!engine->stopping) {
        engine->stopping = true;
        engine->stop_deadline_ns =
            engine_now(engine) + engine->config->shutdown_timeout * WEIR_NS_PER_MS;
        atomic_store_explicit(&engine->reading, false, memory_order_release);
        /* What the last aborts took back may not have been read again. */
        engine->left_behind = engine->left_behind || engine->aborts_in_row > 0;
    }
}

void weir_engine_drain(struct weir_engine *engine, const struct weir_err *err)
{
    if (engine->err.status == WEIR_OK) {
        engine->err = *err;
    }
    engine_begin_stop(engine);
}

static bool engine_may_restart(struct weir_engine *engine)
{
    int64_t now_ms = weir_clock_monotonic_ns(engine->clock) / WEIR_NS_PER_MS;
    size_t recent = 0;
    for (size_t i = 0; i < WEIR_RESTARTS_MAX; i++) {
        recent +=
            engine->fences_ms[i] != 0 && now_ms - engine->fences_ms[i] < WEIR_RESTART_WINDOW_MS;
    }
    if (recent == WEIR_RESTARTS_MAX) {
        return false;
    }
    for (size_t i = 0; i < WEIR_RESTARTS_MAX; i++) {
        if (engine->fences_ms[i] == 0 || now_ms - engine->fences_ms[i] >= WEIR_RESTART_WINDOW_MS) {
            engine->fences_ms[i] = now_ms == 0 ? 1 : now_ms;
            break;
        }
    }
    return true;
}

static void engine_restart(struct weir_engine *engine)
{
    engine->restarting = true;
    atomic_store_explicit(&engine->reading, false, memory_order_release);
    atomic_store_explicit(&engine->writable, false, memory_order_release);
    engine->state = WEIR_EPOCH_WAITING;
    engine->retry_at_ns = INT64_MAX;
}

void weir_engine_end(struct weir_engine *engine, const struct weir_err *err)
{
    if (engine->finished || engine->restarting) {
        return;
    }
    weir_engine_count_error(engine, 0, "engine", err->status);
    if (err->status == WEIR_FENCED && !engine->stopping && engine_may_restart(engine)) {
        WEIR_LOG_WARN(&engine->log, "starting over as a new member", WEIR_F_ERR(err));
        engine_restart(engine);
        return;
    }
    if (engine->err.status == WEIR_OK) {
        engine->err = *err;
    }
    weir_engine_finish(engine, err->status);
}

/* Everything that was read is written, and no lane has a failure to tell. control. */
static bool engine_is_drained(struct weir_engine *engine)
{
    if (!weir_gate_close(engine, false, engine_now(engine) + 100 * WEIR_NS_PER_MS)) {
        return false;
    }
    bool drained = true;
    for (unsigned i = 0; i < engine->lane_count; i++) {
        const struct weir_lane *lane = &engine->lanes[i];
        bool heard = engine->stopping ||
                     atomic_load_explicit(&lane->call, memory_order_acquire) == WEIR_LANE_RUNS;
        drained = drained && heard && lane->pending_first == NULL && lane->waiting_first == NULL;
    }
    weir_gate_open(engine);
    return drained;
}

static bool engine_is_exhausted(const struct weir_engine *engine)
{
    for (size_t i = 0; i < engine->source_count; i++) {
        if (!engine->sources[i].exhausted) {
            return false;
        }
    }
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (!weir_task_is_inner(task) &&
            !atomic_load_explicit(&task->ended, memory_order_acquire)) {
            return false;
        }
    }
    return true;
}

/* At the end of the input the lanes emit what windows still hold. control. */
static bool engine_is_closed_out(struct weir_engine *engine)
{
    if (engine->stopping || engine->stateful_count == 0 ||
        engine->config->on_end != WEIR_END_CLOSE) {
        return true;
    }
    if (!atomic_exchange_explicit(&engine->closing_out, true, memory_order_release)) {
        for (unsigned i = 0; i < engine->lane_count; i++) {
            weir_lane_wake(&engine->lanes[i]);
        }
        return false;
    }
    bool stopped = weir_gate_close(engine, false, engine_now(engine) + 100 * WEIR_NS_PER_MS);
    if (!stopped) {
        return false;
    }
    bool closed = true;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        closed = closed && (task->in_front || task->stopped || (task->closed_out && !task->again));
    }
    for (unsigned i = 0; i < engine->lane_count; i++) {
        closed = closed && engine->lanes[i].pending_first == NULL &&
                 engine->lanes[i].waiting_first == NULL;
    }
    weir_gate_open(engine);
    return closed;
}

static void engine_check_end(struct weir_engine *engine)
{
    bool asked = atomic_load_explicit(&engine->stop_requested, memory_order_relaxed);
    bool hands_over = atomic_load_explicit(&engine->hands_over, memory_order_relaxed);
    if (asked && !engine->stopping) {
        if (hands_over) {
            WEIR_LOG_INFO(&engine->log, "reloading: finishing what was read");
        } else {
            WEIR_LOG_INFO(&engine->log, "stopping: finishing what was read");
        }
        engine_begin_stop(engine);
    }
    if (!engine->stopping && !engine_is_exhausted(engine)) {
        return;
    }
    if (engine->stopping && engine_now(engine) > engine->stop_deadline_ns) {
        if (hands_over && engine->err.status == WEIR_OK) {
            engine->left_behind = true;
            weir_engine_finish(engine, WEIR_OK);
            return;
        }
        struct weir_err err = {0};
        (void)!weir_fail(&err, WEIR_FATAL,
                         "not finished within shutdown_timeout (%lld ms); what is not committed "
                         "will be read again",
                         (long long)engine->config->shutdown_timeout);
        weir_engine_end(engine, &err);
        return;
    }
    if (engine->state == WEIR_EPOCH_WAITING) {
        if (engine->stopping) { /* nothing is open: what was not committed is read again */
            engine->left_behind = true;
            weir_engine_finish(engine, engine->err.status);
        }
        return;
    }
    if (!engine_is_drained(engine) || !engine_is_closed_out(engine)) {
        return;
    }
    /* The lanes stand still: a tick could make more to commit behind our back. */
    if (!weir_gate_close(engine, false, engine_now(engine) + 100 * WEIR_NS_PER_MS)) {
        return;
    }
    weir_epoch_commit_now(engine, engine_now(engine) + 50 * WEIR_NS_PER_MS);
    if (engine->state == WEIR_EPOCH_OPEN && weir_epoch_is_clean(engine)) {
        for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
            engine->left_behind = engine->left_behind || task->part.written < task->part.read;
        }
        weir_engine_finish(engine, engine->err.status);
    }
    weir_gate_open(engine);
}

/* --- the tick ----------------------------------------------------------------------------------*/

static void engine_serve_sources(struct weir_engine *engine)
{
    for (size_t i = 0; i < engine->source_count && !engine->finished; i++) {
        struct weir_source *source = &engine->sources[i];
        struct weir_err err = {0};
        weir_status status = source->component->ops.source->poll == NULL
                                 ? WEIR_OK
                                 : source->component->ops.source->poll(source->self, &err);
        if (status == WEIR_OK || status == WEIR_AGAIN) {
            continue;
        }
        weir_err_path(&err, source->name);
        weir_engine_count_error(engine, 0, source->name, status);
        if (status == WEIR_FENCED) {
            weir_engine_end(engine, &err);
        } else if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            weir_engine_drain(engine, &err);
        }
    }
}

void weir_engine_tick(struct weir_engine *engine)
{
    if (!weir_leader_leads(engine->leader) && !engine->restarting) {
        WEIR_LOG_WARN(&engine->log, "the lease is lost: the work ends here");
        engine_restart(engine);
        return;
    }
    engine_serve_sources(engine);
    weir_engine_serve_sinks(engine);
    if (engine->finished || engine->restarting) {
        return;
    }
    int64_t now_ns = engine_now(engine);
    weir_epoch_tick(engine, now_ns);
    if (engine->finished || engine->restarting) {
        return;
    }
    engine_check_end(engine);
    weir_engine_answer(engine);
    if (now_ns - engine->gauged_ns > GAUGE_EVERY_MS * WEIR_NS_PER_MS) {
        engine->gauged_ns = now_ns;
        weir_engine_gauge(engine);
        weir_engine_publish(engine);
    }
}

/* Until something wakes the control thread, or the time is over. */
static void engine_rest(struct weir_engine *engine, int64_t timeout_ms)
{
    struct pollfd wait = {.fd = engine->wake_fd, .events = POLLIN};
    if (poll(&wait, 1, (int)timeout_ms) > 0) {
        weir_wake_take(engine->wake_fd);
    }
}

static void engine_wait(struct weir_engine *engine)
{
    int64_t until_ns = weir_epoch_deadline_ns(engine), answer_ns = weir_engine_answer_ns(engine);
    int64_t left_ns = (until_ns < answer_ns ? until_ns : answer_ns) - engine_now(engine);
    int64_t left_ms = left_ns <= 0 ? 0 : (left_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS;
    int64_t most_ms =
        engine->stopping || engine_is_exhausted(engine) ? STOP_TICK_MS : GAUGE_EVERY_MS;
    left_ms = left_ms > most_ms ? most_ms : left_ms;
    engine_rest(engine, left_ms);
}

struct weir_engine *weir_engine_new(const struct weir_pipeline_config *config,
                                    const struct weir_engine_options *options,
                                    struct weir_err *err)
{
    struct weir_engine *engine = weir_calloc(1, sizeof(*engine));
    engine->config = config;
    engine->options = *options;
    engine->clock = options->clock == NULL ? weir_clock_system() : options->clock;
    engine->log = (struct weir_log){options->log_sink, config->name, "engine"};
    if (options->seed == 0) {
        weir_random_init_system(&engine->random);
    } else {
        weir_random_init(&engine->random, options->seed);
    }
    weir_arena_init(&engine->arena, 0);
    weir_gate_init(&engine->gate);
    pthread_mutex_init(&engine->shown_lock, NULL);
    weir_strbuf_init(&engine->shown, 16 << 20);
    weir_strbuf_init(&engine->shown_behind, 1 << 16);
    weir_strbuf_init(&engine->shown_state, 16 << 20);
    engine->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    WEIR_ASSERT(engine->wake_fd >= 0);
    atomic_init(&engine->read_budget, INT64_MAX);
    engine->epoch = 1;
    engine->run = 1;
    if (weir_plan_make(&engine->plan, config, &engine->arena, true, err) != WEIR_OK) {
        weir_engine_free(engine);
        return NULL;
    }
    engine->lane_count = engine->plan.lanes;
    engine->lanes = weir_calloc(engine->lane_count, sizeof(*engine->lanes));
    engine->metrics =
        weir_metrics_new(engine->lane_count + 1, options->labels_metrics ? config->name : NULL);
    weir_graph_build(engine);
    engine->observer = weir_observer_new(engine);
    return engine;
}

void weir_engine_free(struct weir_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    weir_engine_close(engine);
    weir_engine_answer_none(engine);
    weir_observer_free(engine->observer);
    weir_graph_free(engine);
    weir_metrics_free(engine->metrics);
    weir_free(engine->lanes);
    weir_gate_done(&engine->gate);
    pthread_mutex_destroy(&engine->shown_lock);
    weir_strbuf_done(&engine->shown);
    weir_strbuf_done(&engine->shown_behind);
    weir_strbuf_done(&engine->shown_state);
    close(engine->wake_fd);
    weir_arena_done(&engine->arena);
    weir_free(engine);
}

/* --- running -----------------------------------------------------------------------------------*/

/* Under a stable identity the question is who fenced us: the broker's time-out, or a process that
 * runs under the same name and must not be fenced in turn. The group tells with a heartbeat. */
static void engine_ask_who_fenced(struct weir_engine *engine)
{
    int64_t deadline_ns = engine_now(engine) + FENCE_QUESTION_MS * WEIR_NS_PER_MS;
    while (engine->config->instance != NULL && engine_now(engine) < deadline_ns) {
        for (size_t i = 0; i < engine->source_count; i++) {
            const struct weir_source *source = &engine->sources[i];
            struct weir_err err = {0};
            if (source->component->ops.source->poll != NULL &&
                source->component->ops.source->poll(source->self, &err) == WEIR_FATAL) {
                weir_err_path(&err, source->name);
                engine->err = err;
                weir_engine_finish(engine, WEIR_FATAL);
                return;
            }
        }
        engine_rest(engine, 100);
    }
}

/* Until this process is the one that works, or is to end. */
static void engine_stand_by(struct weir_engine *engine)
{
    bool told = false;
    atomic_store_explicit(&engine->standby, !weir_leader_leads(engine->leader),
                          memory_order_relaxed);
    while (!engine->finished && !weir_leader_leads(engine->leader)) {
        if (!told && weir_leader_is_sound(engine->leader)) {
            WEIR_LOG_INFO(&engine->log, "standing by: another process works");
            told = true;
        }
        struct weir_err err = {0};
        if (weir_leader_has_failed(engine->leader, &err)) {
            engine->err = err;
            weir_engine_finish(engine, err.status);
        } else if (atomic_load_explicit(&engine->stop_requested, memory_order_relaxed)) {
            weir_engine_finish(engine, WEIR_OK);
        } else {
            atomic_store_explicit(&engine->lease_is_sound, weir_leader_is_sound(engine->leader),
                                  memory_order_relaxed);
            weir_engine_gauge(engine);
            weir_engine_publish(engine);
            weir_engine_answer(engine);
            engine_rest(engine, STANDBY_MS);
        }
    }
    if (!engine->finished) {
        atomic_store_explicit(&engine->standby, false, memory_order_relaxed);
        (void)!weir_engine_open(engine);
    }
}

static void engine_start_over(struct weir_engine *engine)
{
    bool leads = weir_leader_leads(engine->leader);
    if (leads) {
        engine_ask_who_fenced(engine);
    }
    weir_engine_close(engine);
    if (leads) {
        engine_rest(engine, RESTART_MS);
    } else {
        weir_leader_yield(engine->leader);
    }
    engine_stand_by(engine);
}

weir_status weir_engine_run(struct weir_engine *engine)
{
    WEIR_LOG_INFO(&engine->log, "starting",
                  WEIR_F("guarantee", weir_guarantee_name(engine->plan.guarantee)),
                  WEIR_F("lanes", engine->lane_count));
    engine->leader = weir_leader_start(engine, &engine->err);
    if (engine->err.status != WEIR_OK) {
        weir_engine_finish(engine, engine->err.status);
    }
    engine_stand_by(engine);
    while (!engine->finished) {
        weir_engine_tick(engine);
        if (engine->restarting) {
            engine_start_over(engine);
        } else if (!engine->finished) {
            engine_wait(engine);
        }
    }
    weir_engine_close(engine);
    weir_engine_answer_none(engine);
    weir_leader_stop(engine->leader);
    engine->leader = NULL;
    if (engine->result == WEIR_OK) {
        if (engine->left_behind) {
            WEIR_LOG_WARN(&engine->log, "ended; what was not committed will be read again");
        } else {
            WEIR_LOG_INFO(&engine->log, "ended, everything committed");
        }
    } else {
        WEIR_LOG_ERROR(&engine->log, "ended", WEIR_F_ERR(&engine->err));
    }
    return engine->result;
}

const struct weir_err *weir_engine_error(const struct weir_engine *engine)
{
    return &engine->err;
}

void weir_engine_request_stop(struct weir_engine *engine)
{
    int64_t none = 0; /* the first request counts */
    (void)atomic_compare_exchange_strong(&engine->stop_asked_ns, &none, engine_now(engine));
    atomic_store_explicit(&engine->stop_requested, true, memory_order_relaxed);
    int saved = errno; /* called from signal handlers */
    weir_wake(engine->wake_fd);
    errno = saved;
}

void weir_engine_request_handover(struct weir_engine *engine)
{
    atomic_store_explicit(&engine->hands_over, true, memory_order_relaxed);
    weir_engine_request_stop(engine);
}

bool weir_engine_has_begun(const struct weir_engine *engine)
{
    return engine->assigned;
}

const struct weir_plan *weir_engine_plan(const struct weir_engine *engine)
{
    return &engine->plan;
}

struct weir_metrics *weir_engine_metrics(const struct weir_engine *engine)
{
    return engine->metrics;
}

bool weir_engine_step_lane(struct weir_engine *engine, unsigned lane)
{
    WEIR_ASSERT(engine->options.inline_lanes);
    return weir_lane_step(&engine->lanes[lane]);
}

bool weir_engine_is_finished(const struct weir_engine *engine)
{
    return engine->finished;
}

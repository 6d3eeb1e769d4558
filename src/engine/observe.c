/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's cells in the metrics registry. Lanes write their own histograms; the control thread
 * writes everything that happens once an epoch.
 *
 * Lag is computed from the committed position, not from what was read: it is what would have to be
 * done again after a crash, plus what nobody has looked at yet.
 */
#include "engine/observe.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "engine/metrics.h"

#define AGE_MAX_MS (INT64_C(30) * 365 * 86400 * 1000)

struct weir_observer {
    struct weir_histogram **processing, **end_to_end; /* by lane */
    struct weir_histogram *epochs, *pauses;
    int64_t ticked_ns;
};

static const char *const fate_names[WEIR_FATE_COUNT] = {
    [WEIR_FATE_FILTERED] = "filtered", [WEIR_FATE_OK] = "ok",           [WEIR_FATE_LATE] = "late",
    [WEIR_FATE_DEAD] = "dead",         [WEIR_FATE_SKIPPED] = "skipped",
};

struct weir_observer *weir_observer_new(struct weir_engine *engine)
{
    struct weir_observer *self = weir_calloc(1, sizeof(*self));
    unsigned lanes = engine->lane_count;
    self->processing = weir_calloc(lanes, sizeof(*self->processing));
    self->end_to_end = weir_calloc(lanes, sizeof(*self->end_to_end));
    for (unsigned i = 0; i < lanes; i++) {
        self->processing[i] =
            weir_metrics_histogram(engine->metrics, WEIR_METRIC_PROCESSING, i, WEIR_NO_LABELS);
        self->end_to_end[i] =
            weir_metrics_histogram(engine->metrics, WEIR_METRIC_END_TO_END, i, WEIR_NO_LABELS);
    }
    self->epochs =
        weir_metrics_histogram(engine->metrics, WEIR_METRIC_EPOCH_TIME, lanes, WEIR_NO_LABELS);
    self->pauses =
        weir_metrics_histogram(engine->metrics, WEIR_METRIC_PAUSE, lanes, WEIR_NO_LABELS);
    weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_IN_FLIGHT_LIMIT, WEIR_NO_LABELS),
                   engine->config->in_flight);
    return self;
}

void weir_observer_free(struct weir_observer *self)
{
    if (self != NULL) {
        weir_free(self->processing);
        weir_free(self->end_to_end);
        weir_free(self);
    }
}

/* Anybody can send any timestamp: between now and 30 years ago. */
static int64_t age_of(const struct weir_engine *engine, int64_t time_ms)
{
    int64_t now_ms = weir_clock_wall_ms(engine->clock);
    if (time_ms >= now_ms) {
        return 0;
    }
    return (time_ms < now_ms - AGE_MAX_MS ? AGE_MAX_MS : now_ms - time_ms) * WEIR_NS_PER_MS;
}

void weir_engine_observe(struct weir_engine *engine,
                         unsigned lane,
                         const struct weir_batch *batch,
                         int64_t took_ns)
{
    struct weir_observer *self = engine->observer;
    if (weir_task_is_inner(batch->task)) { /* observed where they came in */
        return;
    }
    weir_histogram_add(self->processing[lane], took_ns, batch->count);
    const struct weir_record *last = &batch->records[batch->count - 1];
    if ((last->flags & WEIR_RECORD_NO_TIME) == 0) {
        int64_t age_ns = age_of(engine, last->time_ms);
        weir_histogram_add(self->end_to_end[lane], age_ns, batch->count);
    }
}

void weir_engine_count_fates(struct weir_engine *engine,
                             const struct weir_task *task,
                             const uint64_t *fates)
{
    bool counts = !weir_task_is_inner(task); /* else where they came in */
    for (int fate = 0; counts && fate < WEIR_FATE_COUNT; fate++) {
        if (fates[fate] > 0) {
            weir_metrics_count(engine->metrics, WEIR_METRIC_MESSAGES, fates[fate],
                               WEIR_LABELS(task->topic, fate_names[fate]));
        }
    }
}

void weir_engine_count_epoch(struct weir_engine *engine, bool committed, int64_t took_ns)
{
    weir_metrics_count(engine->metrics, WEIR_METRIC_EPOCHS, 1,
                       WEIR_LABELS(committed ? "committed" : "aborted"));
    weir_histogram_add(engine->observer->epochs, took_ns, 1);
}

void weir_engine_count_pause(struct weir_engine *engine, int64_t took_ns)
{
    weir_histogram_add(engine->observer->pauses, took_ns, 1);
}

void weir_engine_count_error(struct weir_engine *engine,
                             unsigned lane,
                             const char *component,
                             weir_status status)
{
    (void)lane;
    weir_metrics_count(engine->metrics, WEIR_METRIC_ERRORS, 1,
                       WEIR_LABELS(component, weir_status_name(status)));
}

static void gauge_task(struct weir_engine *engine, const struct weir_task *task, bool shown)
{
    char partition[16];
    snprintf(partition, sizeof(partition), "%d", task->part.index);
    const char *const *labels =
        WEIR_LABELS(engine->sources[task->source].name, task->topic, partition);
    struct weir_gauge *lag = weir_metrics_gauge(engine->metrics, WEIR_METRIC_LAG, labels);
    struct weir_gauge *lag_time = weir_metrics_gauge(engine->metrics, WEIR_METRIC_LAG_TIME, labels);
    int64_t end = atomic_load_explicit(&task->part.end, memory_order_relaxed);
    if (!shown || end < 0) {
        weir_gauge_clear(lag);
        weir_gauge_clear(lag_time);
        return;
    }
    int64_t behind = end - task->part.committed;
    behind = behind < 0 ? 0 : behind;
    int64_t last_ms = atomic_load_explicit(&task->last_time_ms, memory_order_relaxed);
    weir_gauge_set(lag, behind);
    weir_gauge_set(lag_time, behind > 0 && last_ms > 0 ? age_of(engine, last_ms) : 0);
}

/* How many partitions of the task's topic are here. */
static void gauge_partitions(struct weir_engine *engine, const struct weir_task *task)
{
    int64_t count = 0;
    for (const struct weir_task *other = engine->tasks; other != NULL; other = other->next) {
        count += other->source == task->source && strcmp(other->topic, task->topic) == 0;
    }
    weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_PARTITIONS,
                                      WEIR_LABELS(engine->sources[task->source].name, task->topic)),
                   count);
}

void weir_engine_gauge_forget(struct weir_engine *engine, const struct weir_task *task)
{
    gauge_task(engine, task, false);
    if (!weir_task_is_inner(task)) {
        gauge_partitions(engine, task);
    }
}

static void gauge_state(struct weir_engine *engine)
{
    for (unsigned i = 0; i < engine->stateful_count; i++) {
        size_t keys = 0, bytes = 0;
        for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
            if (task->sizes == NULL) {
                continue;
            }
            keys += atomic_load_explicit(&task->sizes[i].keys, memory_order_relaxed);
            bytes += atomic_load_explicit(&task->sizes[i].bytes, memory_order_relaxed);
        }
        const char *const *labels = WEIR_LABELS(engine->stateful[i]->name);
        weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_STATE_KEYS, labels),
                       (int64_t)keys);
        weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_STATE_BYTES, labels),
                       (int64_t)bytes);
    }
}

static void gauge_asks(struct weir_engine *engine, const struct weir_chain *chain)
{
    for (size_t i = 0; i < chain->stage_count; i++) {
        const struct weir_stage *stage = &chain->stages[i];
        if (stage->asks != NULL) {
            weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_ASKS_IN_FLIGHT,
                                              WEIR_LABELS(stage->name)),
                           (int64_t)weir_asks_count(stage->asks));
        }
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        gauge_asks(engine, &chain->branches[i].chain);
    }
}

void weir_engine_gauge(struct weir_engine *engine)
{
    size_t in_flight = 0;
    for (unsigned i = 0; i < engine->lane_count; i++) {
        in_flight += atomic_load_explicit(&engine->lanes[i].pending_shown, memory_order_relaxed);
    }
    weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_IN_FLIGHT, WEIR_NO_LABELS),
                   (int64_t)in_flight);
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        gauge_task(engine, task, true);
    }
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (!weir_task_is_inner(task)) {
            gauge_partitions(engine, task);
        }
    }
    gauge_state(engine);
    gauge_asks(engine, &engine->front);
    gauge_asks(engine, &engine->chain);
    if (engine->leader != NULL) {
        weir_gauge_set(weir_metrics_gauge(engine->metrics, WEIR_METRIC_LEADER, WEIR_NO_LABELS),
                       !atomic_load_explicit(&engine->standby, memory_order_relaxed));
    }
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    if (now_ns - engine->observer->ticked_ns > 30 * WEIR_NS_PER_S) {
        engine->observer->ticked_ns = now_ns;
        weir_metrics_tick(engine->metrics);
    }
}

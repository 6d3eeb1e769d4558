/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine shows of itself. The control thread writes a snapshot once a second; the HTTP
 * thread reads the snapshot, never the engine, so that looking costs the pipeline nothing.
 */
#include <inttypes.h>

#include "base/clock.h"
#include "engine/engine_priv.h"
#include "engine/metrics.h"

enum { STALLED_SHOWN = 10 };

static void put_text(struct weir_strbuf *out, const char *text)
{
    weir_value_write(weir_value_string(weir_slice_of(text)), out, 0);
}

static void put_reason(struct weir_strbuf *out, const char *text)
{
    weir_strbuf_printf(out, "%s\n", text);
}

static void put_named(struct weir_strbuf *out, bool first, const char *name, const char *component)
{
    weir_strbuf_text(out, first ? "{\"name\":" : ",{\"name\":");
    put_text(out, name);
    weir_strbuf_text(out, ",\"component\":");
    put_text(out, component);
    weir_strbuf_text(out, "}");
}

/* "steps":[…],"sinks":[names…],"branches":[…] of a chain; what is empty is left out. */
static void status_chain(const struct weir_engine *engine,
                         const struct weir_chain *chain,
                         struct weir_strbuf *out)
{
    weir_strbuf_text(out, "\"steps\":[");
    for (size_t i = 0; i < chain->stage_count; i++) {
        put_named(out, i == 0, chain->stages[i].name, chain->stages[i].component->described.name);
    }
    weir_strbuf_text(out, "],\"to\":[");
    for (size_t i = 0; i < chain->outlet_count; i++) {
        weir_strbuf_text(out, i == 0 ? "" : ",");
        put_text(out, engine->sinks[chain->outlets[i].sink].name);
    }
    weir_strbuf_text(out, "]");
    for (size_t i = 0; i < chain->branch_count; i++) {
        weir_strbuf_text(out, i == 0 ? ",\"branches\":[{\"name\":" : ",{\"name\":");
        put_text(out, chain->branches[i].name);
        weir_strbuf_text(out, ",");
        status_chain(engine, &chain->branches[i].chain, out);
        weir_strbuf_text(out, i + 1 == chain->branch_count ? "}]" : "}");
    }
}

static void status_graph(const struct weir_engine *engine, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "\"graph\":{\"sources\":[");
    for (size_t i = 0; i < engine->plan.source_count; i++) {
        put_named(out, i == 0, engine->sources[i].name,
                  engine->sources[i].component->described.name);
    }
    weir_strbuf_text(out, "],");
    if (engine->exchange != NULL) { /* what comes before it */
        weir_strbuf_text(out, "\"front\":{");
        status_chain(engine, &engine->front, out);
        weir_strbuf_text(out, "},");
    }
    status_chain(engine, &engine->chain, out);
    weir_strbuf_text(out, ",\"sinks\":[");
    for (size_t i = 0; i < engine->plan.sink_count; i++) {
        put_named(out, i == 0, engine->sinks[i].name, engine->sinks[i].component->described.name);
    }
    weir_strbuf_text(out, "]},");
}

/* How far time has come in each step that has a clock. */
static void status_watermarks(const struct weir_engine *engine,
                              const struct weir_task *task,
                              struct weir_strbuf *out)
{
    bool any = false;
    for (unsigned i = 0; task->sizes != NULL && i < engine->stateful_count; i++) {
        int64_t clock_ms = atomic_load_explicit(&task->sizes[i].clock_ms, memory_order_relaxed);
        if (clock_ms != INT64_MIN) {
            weir_strbuf_text(out, any ? ",{\"step\":" : ",\"watermarks\":[{\"step\":");
            put_text(out, engine->stateful[i]->name);
            weir_strbuf_printf(out, ",\"time_ms\":%" PRId64 "}", clock_ms);
            any = true;
        }
    }
    weir_strbuf_text(out, any ? "]" : "");
}

static void status_tasks(const struct weir_engine *engine, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "\"partitions\":[");
    const char *begin = "{\"source\":";
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (weir_task_is_inner(task)) {
            continue;
        }
        weir_strbuf_text(out, begin);
        begin = ",{\"source\":";
        put_text(out, engine->sources[task->source].name);
        weir_strbuf_text(out, ",\"topic\":");
        put_text(out, task->topic);
        weir_strbuf_printf(out, ",\"partition\":%d,\"committed\":%" PRId64, task->part.index,
                           task->part.committed);
        int64_t end = atomic_load_explicit(&task->part.end, memory_order_relaxed);
        if (end >= 0) {
            int64_t lag = end - task->part.committed;
            weir_strbuf_printf(out, ",\"end\":%" PRId64 ",\"lag\":%" PRId64, end,
                               lag < 0 ? 0 : lag);
        }
        int64_t time_ms = atomic_load_explicit(&task->last_time_ms, memory_order_relaxed);
        if (time_ms > 0) {
            weir_strbuf_printf(out, ",\"time_ms\":%" PRId64, time_ms);
        }
        status_watermarks(engine, task, out);
        weir_strbuf_text(out, "}");
    }
    weir_strbuf_text(out, "]");
}

static const char *state_name(enum weir_epoch_state state)
{
    switch (state) {
    case WEIR_EPOCH_OPEN:
        return "open";
    case WEIR_EPOCH_CONFIRMING:
        return "confirming";
    case WEIR_EPOCH_WAITING:
        return "waiting";
    }
    return "?";
}

static struct weir_engine_progress sum_progress(const struct weir_engine *engine)
{
    struct weir_engine_progress sum = {.is_known = engine->tasks != NULL};
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (weir_task_is_inner(task)) {
            continue;
        }
        int64_t end = atomic_load_explicit(&task->part.end, memory_order_relaxed);
        sum.is_known = sum.is_known && end >= 0 && task->part.committed <= end;
        sum.done += task->part.committed;
        sum.total += end;
    }
    return sum;
}

/* Notes whether the partition moves; true: it has more to read, and has stood for too long. */
static bool
task_is_stalled(struct weir_task *task, int64_t lag, int64_t now_ns, int64_t patience_ms)
{
    if (lag <= 0 || task->moved_ns == 0 || task->part.committed != task->seen_committed) {
        task->seen_committed = task->part.committed;
        task->moved_ns = now_ns;
    }
    return now_ns - task->moved_ns > patience_ms * WEIR_NS_PER_MS;
}

/* Sources and sinks that have nobody to talk to, a line each, with the latest reason. */
static void judge_links(const struct weir_engine *engine, struct weir_strbuf *out)
{
    for (const struct weir_link *link = engine->down; link != NULL; link = link->next) {
        const struct weir_link *first = engine->down;
        while (first->ctx != link->ctx) {
            first = first->next;
        }
        if (first == link) {
            weir_strbuf_printf(out, "%s: %s\n", link->ctx->path, link->why.message);
        }
    }
}

/* Why the ends and the partitions are not ready, a line each. */
static void judge_partitions(struct weir_engine *engine, struct weir_strbuf *out)
{
    const struct weir_http_config *http = engine->config->http;
    weir_strbuf_clear(out);
    if (http == NULL) {
        return;
    }
    judge_links(engine, out);
    for (size_t i = 0; i < engine->source_count; i++) {
        if (engine->sources[i].awaited > 0) {
            weir_strbuf_printf(out, "%s: the positions of %zu of its partitions are not known yet\n",
                               engine->sources[i].name, engine->sources[i].awaited);
        }
    }
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    int64_t patience_ms = http->stalled_after + engine->plan.commit_interval_ms;
    int64_t behind = 0;
    size_t stalled = 0;
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        int64_t end = atomic_load_explicit(&task->part.end, memory_order_relaxed);
        int64_t lag = end > task->part.committed ? end - task->part.committed : 0;
        behind += lag;
        if (task_is_stalled(task, lag, now_ns, patience_ms) && stalled++ < STALLED_SHOWN) {
            weir_strbuf_printf(out,
                               "%s %s partition %d stands at %" PRId64 " for %" PRId64
                               " s with %" PRId64 " more to read\n",
                               engine->sources[task->source].name, task->topic, task->part.index,
                               task->part.committed,
                               (now_ns - task->moved_ns) / (1000 * WEIR_NS_PER_MS), lag);
        }
    }
    if (stalled > STALLED_SHOWN) {
        weir_strbuf_printf(out, "%zu partitions more stand still\n", stalled - STALLED_SHOWN);
    }
    if (http->ready_max_lag > 0 && behind > http->ready_max_lag) {
        weir_strbuf_printf(out, "the lag is %" PRId64 ", over ready_max_lag (%" PRId64 ")\n",
                           behind, http->ready_max_lag);
    }
}

static void publish_state(struct weir_engine *engine)
{
    struct weir_strbuf *out = &engine->shown_state;
    weir_strbuf_clear(out);
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        for (unsigned i = 0; task->sizes != NULL && i < engine->stateful_count; i++) {
            const struct weir_state_sum *sum = &task->sizes[i].committed;
            const struct weir_stage *stage = engine->stateful[i];
            weir_strbuf_text(out, out->size == 0 ? "{\"pipeline\":" : ",{\"pipeline\":");
            put_text(out, engine->config->name);
            weir_strbuf_text(out, ",\"step\":");
            put_text(out, stage->name);
            weir_strbuf_text(out, ",\"topic\":");
            put_text(out, task->topic);
            weir_strbuf_printf(out,
                               ",\"partition\":%d,\"position\":%" PRId64
                               ",\"version\":%u,\"keys\":%zu,\"bytes\":%zu,\"clock\":",
                               task->part.index, task->part.committed,
                               weir_plan_state_version(stage->component, stage->config), sum->keys,
                               sum->bytes);
            if (sum->clock == INT64_MIN) {
                weir_strbuf_text(out, "null}");
            } else {
                weir_strbuf_printf(out, "%" PRId64 "}", sum->clock);
            }
        }
    }
}

void weir_engine_publish(struct weir_engine *engine)
{
    pthread_mutex_lock(&engine->shown_lock);
    struct weir_strbuf *out = &engine->shown;
    weir_strbuf_clear(out);
    weir_strbuf_text(out, "\"pipeline\":");
    put_text(out, engine->config->name);
    weir_strbuf_text(out, ",\"guarantee\":");
    put_text(out, weir_guarantee_name(engine->plan.guarantee));
    if (engine->leader != NULL) {
        bool waits = atomic_load_explicit(&engine->standby, memory_order_relaxed);
        weir_strbuf_printf(out, ",\"role\":\"%s\"", waits ? "standby" : "leader");
    }
    weir_strbuf_printf(out, ",\"lanes\":%u,\"epoch\":{\"number\":%" PRIu64 ",\"state\":\"%s\"},",
                       engine->lane_count, engine->epoch, state_name(engine->state));
    status_graph(engine, out);
    status_tasks(engine, out);
    publish_state(engine);
    judge_partitions(engine, &engine->shown_behind);
    engine->shown_progress = sum_progress(engine);
    engine->shown_assigned = engine->assigned;
    engine->shown_committing = engine->state != WEIR_EPOCH_WAITING && engine->aborts_in_row < 3;
    pthread_mutex_unlock(&engine->shown_lock);
}

void weir_engine_show_restoring(struct weir_engine *engine, bool restoring)
{
    pthread_mutex_lock(&engine->shown_lock);
    engine->shown_restoring = restoring;
    if (restoring) {
        atomic_store_explicit(&engine->restored_bytes, 0, memory_order_relaxed);
    }
    pthread_mutex_unlock(&engine->shown_lock);
}

const struct weir_stage *weir_chain_find_stuck(const struct weir_chain *chain)
{
    const struct weir_stage *found = NULL;
    for (size_t i = 0; i < chain->stage_count && found == NULL; i++) {
        const struct weir_stage *stage = &chain->stages[i];
        found = stage->asks != NULL && weir_asks_are_stuck(stage->asks) ? stage : NULL;
    }
    for (size_t i = 0; i < chain->branch_count && found == NULL; i++) {
        found = weir_chain_find_stuck(&chain->branches[i].chain);
    }
    return found;
}

/* The steps that ask and get no answer. True: there is one. */
static bool put_stuck(const struct weir_chain *chain, struct weir_strbuf *reasons)
{
    bool any = false;
    for (size_t i = 0; i < chain->stage_count; i++) {
        const struct weir_stage *stage = &chain->stages[i];
        if (stage->asks != NULL && weir_asks_are_stuck(stage->asks)) {
            weir_strbuf_printf(reasons, "%s gets no answer\n", stage->name);
            any = true;
        }
    }
    for (size_t i = 0; i < chain->branch_count; i++) {
        any = put_stuck(&chain->branches[i].chain, reasons) || any;
    }
    return any;
}

bool weir_engine_is_ready(struct weir_engine *engine, struct weir_strbuf *reasons)
{
    pthread_mutex_lock(&engine->shown_lock);
    bool assigned = engine->shown_assigned, committing = engine->shown_committing;
    bool behind = engine->shown_behind.size > 0, restoring = engine->shown_restoring;
    weir_strbuf_slice(reasons, weir_strbuf_view(&engine->shown_behind));
    pthread_mutex_unlock(&engine->shown_lock);
    /* One that can take over is as good as it gets: a rollout need not wait for it to work. */
    if (atomic_load_explicit(&engine->standby, memory_order_relaxed)) {
        bool sound = atomic_load_explicit(&engine->lease_is_sound, memory_order_relaxed);
        if (!sound) {
            put_reason(reasons, "standing by, and the lease cannot be asked for");
        }
        return sound;
    }
    if (restoring) {
        size_t bytes = atomic_load_explicit(&engine->restored_bytes, memory_order_relaxed);
        weir_strbuf_printf(reasons,
                           "the state of its partitions is being restored, %.1f MB so far\n",
                           (double)bytes / 1e6);
    } else if (!assigned) {
        put_reason(reasons, "the sources have not told which partitions are this process's");
    }
    if (!committing) {
        put_reason(reasons, "epochs do not commit");
    }
    bool stuck = put_stuck(&engine->front, reasons);
    stuck = put_stuck(&engine->chain, reasons) || stuck;
    if (atomic_load_explicit(&engine->stop_requested, memory_order_relaxed)) {
        put_reason(reasons, atomic_load_explicit(&engine->hands_over, memory_order_relaxed)
                                ? "the configuration is being reloaded"
                                : "the process is stopping");
        return false;
    }
    return assigned && committing && !behind && !restoring && !stuck;
}

void weir_engine_progress(struct weir_engine *engine, struct weir_engine_progress *ret_progress)
{
    pthread_mutex_lock(&engine->shown_lock);
    *ret_progress = engine->shown_progress;
    pthread_mutex_unlock(&engine->shown_lock);
    ret_progress->records = (uint64_t)weir_metrics_sum(engine->metrics, WEIR_METRIC_MESSAGES);
}

void weir_engine_state(struct weir_engine *engine, struct weir_strbuf *out)
{
    pthread_mutex_lock(&engine->shown_lock);
    weir_strbuf_slice(out, weir_strbuf_view(&engine->shown_state));
    pthread_mutex_unlock(&engine->shown_lock);
}

void weir_engine_status(struct weir_engine *engine, struct weir_strbuf *out)
{
    pthread_mutex_lock(&engine->shown_lock);
    weir_strbuf_slice(out, weir_strbuf_view(&engine->shown));
    weir_strbuf_text(out, engine->shown.size > 0 ? "," : "");
    pthread_mutex_unlock(&engine->shown_lock);
    weir_metrics_status(engine->metrics, out);
}

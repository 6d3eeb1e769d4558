/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening and closing. The order is what matters: the state log says what is committed, sinks
 * return to it before anything can be written, the domain is there before sources hand over
 * partitions, and lanes start last. Closing goes the other way and accepts whatever was opened.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "engine/engine_priv.h"
#include "state/disk.h"

/* The shards of an exchange are told apart by its name and their number. */
static weir_status check_exchange(struct weir_engine *engine, struct weir_err *err)
{
    static const char suffix[] = ".exchange";
    struct weir_state_position kept;
    for (size_t i = 0; weir_state_log_position_at(engine->state_log, i, &kept); i++) {
        const struct weir_exchange *exchange = engine->exchange;
        size_t size = strlen(kept.source), end = sizeof(suffix) - 1;
        bool known = false;
        for (size_t k = 0; k < engine->outer_count; k++) {
            known = known || strcmp(engine->sources[k].name, kept.source) == 0;
        }
        if (known || size < end || strcmp(kept.source + size - end, suffix) != 0 ||
            (exchange != NULL && strcmp(kept.source, exchange->name) == 0 &&
             strcmp(kept.topic, exchange->topic) == 0)) {
            continue;
        }
        weir_status status = weir_fail(err, WEIR_CONFIG, "the state is that of %.200s with %.100s",
                                       kept.source, kept.topic);
        weir_err_hint(err, "An exchange keeps its step's name and its shards. Begin anew with "
                           "another `name` or `state.dir`.");
        weir_err_path(err, "state");
        return status;
    }
    return WEIR_OK;
}

static weir_status open_log(struct weir_engine *engine, struct weir_err *err)
{
    if (!engine->plan.uses_log) {
        return WEIR_OK;
    }
    engine->state_log = weir_state_log_open(engine->plan.log_dir, engine->config->name, err);
    if (engine->state_log == NULL) {
        weir_err_path(err, "state");
        return err->status;
    }
    if (weir_state_log_cut_bytes(engine->state_log) > 0) {
        WEIR_LOG_WARN(&engine->log,
                      "cut a torn entry off the state log (the process died while writing it)",
                      WEIR_F("bytes", weir_state_log_cut_bytes(engine->state_log)));
    }
    engine->epoch = weir_state_log_epoch(engine->state_log) + 1;
    if (engine->stateful_count == 0 && weir_state_log_bytes(engine->state_log) > 0) {
        weir_status status = weir_fail(
            err, WEIR_CONFIG, "there is state of steps in %.200s, which this pipeline has not",
            engine->plan.log_dir);
        weir_err_hint(err,
                      "Give the steps back, or begin anew with another `name` or `state.dir`.");
        weir_err_path(err, "state");
        return status;
    }
    return check_exchange(engine, err);
}

/* Sinks return to their committed extents. A sink without one gets an entry before it writes its
 * first byte: after a crash that byte is known to be nobody else's. */
static weir_status restore_sinks(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    bool unmarked = false;
    for (size_t i = 0; i < engine->sink_count && status == WEIR_OK; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        if (engine->state_log == NULL || sink->component->ops.sink->restore == NULL) {
            continue;
        }
        struct weir_slice mark = {NULL, 0};
        unmarked |= !weir_state_log_get_mark(engine->state_log, sink->name, &mark);
        status = sink->component->ops.sink->restore(sink->self, mark, err);
        if (status != WEIR_OK) {
            weir_err_path(err, sink->name);
        }
    }
    if (status == WEIR_OK && unmarked) {
        status = weir_engine_put_marks(engine, err);
        if (status == WEIR_OK) {
            status = weir_state_log_commit(engine->state_log, engine->epoch++, err);
        }
    }
    return status;
}

static weir_status open_domain(struct weir_engine *engine, struct weir_err *err)
{
    if (engine->plan.domain == NULL) {
        return WEIR_OK;
    }
    void *sources[WEIR_SOURCES_MAX], *sinks[WEIR_SINKS_MAX];
    size_t sink_count = 0;
    for (size_t i = 0; i < engine->outer_count; i++) {
        sources[i] = engine->sources[i].self;
    }
    for (size_t i = 0; i < engine->sink_count; i++) {
        if (engine->sinks[i].in_domain) {
            sinks[sink_count++] = engine->sinks[i].self;
        }
    }
    engine->domain_ctx = engine->sources[0].ctx;
    engine->domain = weir_calloc(1, engine->plan.domain->self_size);
    return engine->plan.domain->open(engine->domain, &engine->domain_ctx, sources,
                                     engine->outer_count, sinks, sink_count, err);
}

static void start_lanes(struct weir_engine *engine)
{
    if (engine->options.inline_lanes) {
        return;
    }
    atomic_store(&engine->gate.quit, false);
    for (unsigned i = 0; i < engine->lane_count; i++) {
        int code =
            pthread_create(&engine->lanes[i].thread, NULL, weir_lane_main, &engine->lanes[i]);
        WEIR_ASSERT(code == 0);
    }
    engine->threads_running = true;
}

static void stop_lanes(struct weir_engine *engine)
{
    if (!engine->threads_running) {
        return;
    }
    bool stopped = weir_gate_close(engine, true, INT64_MAX);
    WEIR_ASSERT(stopped);
    pthread_mutex_lock(&engine->gate.lock);
    atomic_store(&engine->gate.quit, true);
    pthread_cond_broadcast(&engine->gate.opened);
    pthread_mutex_unlock(&engine->gate.lock);
    for (unsigned i = 0; i < engine->lane_count; i++) {
        pthread_join(engine->lanes[i].thread, NULL);
    }
    engine->threads_running = false;
    weir_gate_open(engine);
    atomic_store(&engine->gate.closed, false);
}

weir_status weir_engine_open(struct weir_engine *engine)
{
    struct weir_err err = {0};
    for (unsigned i = 0; i < engine->lane_count; i++) {
        weir_lane_init(&engine->lanes[i], engine, i);
    }
    engine->state = WEIR_EPOCH_WAITING;
    engine->retry_at_ns = 0;
    engine->interval_ns = engine->plan.commit_interval_ms * WEIR_NS_PER_MS;
    engine->restarting = false;
    engine->opened = true;
    weir_status status = open_log(engine, &err);
    if (status == WEIR_OK) {
        status = weir_graph_open(engine, &err);
    }
    if (status == WEIR_OK) {
        status = restore_sinks(engine, &err);
    }
    if (status == WEIR_OK) {
        status = open_domain(engine, &err);
    }
    for (size_t i = 0; i < engine->source_count && status == WEIR_OK; i++) {
        status = engine->sources[i].component->ops.source->start(engine->sources[i].self, &err);
        if (status != WEIR_OK) {
            weir_err_path(&err, engine->sources[i].name);
        }
    }
    if (status == WEIR_OK) {
        start_lanes(engine);
        return WEIR_OK;
    }
    engine->err = err;
    weir_engine_finish(engine, status);
    return status;
}

void weir_engine_close(struct weir_engine *engine)
{
    if (!engine->opened) {
        return;
    }
    engine->opened = false;
    stop_lanes(engine);
    if (engine->state != WEIR_EPOCH_WAITING && engine->domain != NULL) {
        struct weir_err ignored = {0}; /* what is not aborted here is by the broker's time-out */
        (void)!engine->plan.domain->abort(engine->domain, &ignored);
    }
    engine->state = WEIR_EPOCH_WAITING;
    weir_engine_forget_commit(engine);
    engine->storing = engine->aborting = false;
    engine->put_off = (struct weir_err){0};
    for (size_t i = 0; i < engine->source_count; i++) {
        if (engine->sources[i].component->ops.source->stop != NULL) {
            engine->sources[i].component->ops.source->stop(engine->sources[i].self);
        }
    }
    weir_engine_drop_tasks(engine);
    if (engine->domain != NULL) {
        engine->plan.domain->close(engine->domain);
        weir_free(engine->domain);
        engine->domain = NULL;
        engine->frame_max = 0;
    }
    weir_graph_close(engine);
    while (engine->shared != NULL) {
        struct weir_shared *next = engine->shared->next;
        engine->shared->destroy(engine->shared->object);
        weir_free(engine->shared->key);
        weir_free(engine->shared);
        engine->shared = next;
    }
    weir_disk_close(engine->disk);
    engine->disk = NULL;
    weir_absent_close(&engine->absent);
    weir_state_log_close(engine->state_log);
    engine->state_log = NULL;
    for (unsigned i = 0; i < engine->lane_count; i++) {
        weir_lane_done(&engine->lanes[i]);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sealed epoch is handed to: the domain, with state and the position of every partition; or
 * the state log and the sources' own stores, after the sinks. Control thread.
 */
#include "base/alloc.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "engine/engine_priv.h"

enum { COMMIT_LEAST_MS = 500 };

struct weir_partition **
weir_engine_list_parts(struct weir_engine *engine, unsigned source, size_t *ret_count)
{
    struct weir_partition **items =
        weir_calloc(engine->task_count, sizeof(struct weir_partition *));
    size_t count = 0;
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->source == source) {
            items[count++] = &task->part;
        }
    }
    *ret_count = count;
    return items;
}

/* Of a commit that failed: what stands of it nonetheless. */
static void engine_apply_standing(struct weir_engine *engine, const struct weir_commit *commit)
{
    for (size_t i = 0; i < commit->source_count; i++) {
        for (size_t k = 0; k < commit->sources[i].count; k++) {
            if (commit->sources[i].stands[k]) {
                weir_epoch_apply_task(engine, (struct weir_task *)commit->sources[i].items[k]);
            }
        }
    }
}

/* A singleton that lost its lease commits nothing more. */
static weir_status commit_check_lease(const struct weir_engine *engine, struct weir_err *err)
{
    return weir_leader_leads(engine->leader) ? WEIR_OK
                                             : weir_fail(err, WEIR_ABORTED, "the lease is lost");
}

static int64_t commit_timeout_ms(const struct weir_engine *engine)
{
    int64_t timeout_ms = engine->config->transaction_timeout;
    if (engine->stopping) {
        int64_t left_ms =
            (engine->stop_deadline_ns - weir_clock_monotonic_ns(engine->clock)) / WEIR_NS_PER_MS;
        left_ms = left_ms < COMMIT_LEAST_MS ? COMMIT_LEAST_MS : left_ms;
        timeout_ms = left_ms < timeout_ms ? left_ms : timeout_ms;
    }
    return timeout_ms;
}

/* One that came after the seal is of the next epoch: its position must not go without its state. */
static size_t keep_sealed(struct weir_partition **items, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (((const struct weir_task *)items[i])->sealed) {
            items[kept++] = items[i];
        }
    }
    return kept;
}

static weir_status commit_start(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = commit_check_lease(engine, err);
    if (status == WEIR_OK) {
        status = weir_shard_append(engine, engine->epoch, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    for (unsigned i = 0; i < engine->outer_count; i++) {
        struct weir_commit_source *source = &engine->commit_sources[i];
        source->self = engine->sources[i].self;
        struct weir_partition **items = weir_engine_list_parts(engine, i, &source->count);
        source->items = items;
        source->count = keep_sealed(items, source->count);
        source->stands = weir_calloc(source->count + 1, sizeof(bool));
    }
    engine->commit = (struct weir_commit){.epoch = engine->epoch,
                                          .timeout_ms = commit_timeout_ms(engine),
                                          .sources = engine->commit_sources,
                                          .source_count = engine->outer_count};
    engine->committing = true;
    weir_failpoint(WEIR_FAILPOINT_BEFORE_COMMIT);
    return WEIR_OK;
}

void weir_engine_forget_commit(struct weir_engine *engine)
{
    for (unsigned i = 0; engine->committing && i < engine->outer_count; i++) {
        weir_free((void *)(uintptr_t)engine->commit_sources[i].items);
        weir_free(engine->commit_sources[i].stands);
    }
    engine->committing = false;
}

weir_status weir_engine_commit_domain(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = engine->committing ? WEIR_OK : commit_start(engine, err);
    if (status != WEIR_OK) {
        return status;
    }
    engine->commit.last = engine->stopping;
    status = engine->plan.domain->commit(engine->domain, &engine->commit, err);
    if (status == WEIR_AGAIN) {
        return status;
    }
    if (status == WEIR_OK) {
        weir_failpoint(WEIR_FAILPOINT_AFTER_COMMIT);
    }
    if (status != WEIR_OK && status != WEIR_UNKNOWN) {
        engine_apply_standing(engine, &engine->commit);
    }
    weir_engine_forget_commit(engine);
    return status;
}

weir_status weir_engine_put_marks(struct weir_engine *engine, struct weir_err *err)
{
    struct weir_strbuf mark;
    weir_strbuf_init(&mark, 1 << 20);
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < engine->sink_count && status == WEIR_OK; i++) {
        const struct weir_sink *sink = &engine->sinks[i];
        if (sink->component->ops.sink->mark != NULL) {
            weir_strbuf_clear(&mark);
            status = sink->component->ops.sink->mark(sink->self, &mark, err);
            weir_state_log_put_mark(engine->state_log, sink->name, weir_strbuf_view(&mark));
        }
    }
    weir_strbuf_done(&mark);
    return status;
}

static weir_status engine_store_in_log(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = weir_engine_put_marks(engine, err);
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        const struct weir_source *source = &engine->sources[task->source];
        if (source->component->positions == WEIR_POSITIONS_LOG) {
            weir_state_log_put_position(engine->state_log, source->name, task->topic,
                                        task->part.index, task->part.closing);
        }
    }
    if (status == WEIR_OK) {
        status = weir_shard_append(engine, engine->epoch, err);
    }
    return status == WEIR_OK ? weir_state_log_commit(engine->state_log, engine->epoch, err)
                             : status;
}

/* All are asked: one that does not answer holds up nobody. */
static weir_status engine_store_in_sources(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    bool waits = false;
    for (unsigned i = 0; i < engine->source_count && status == WEIR_OK; i++) {
        const struct weir_source *source = &engine->sources[i];
        if (source->component->ops.source->commit != NULL) {
            size_t count;
            struct weir_partition **items = weir_engine_list_parts(engine, i, &count);
            status = source->component->ops.source->commit(source->self, items, count, err);
            weir_free(items);
            waits = waits || status == WEIR_AGAIN;
            status = status == WEIR_AGAIN ? WEIR_OK : status;
        }
    }
    return status == WEIR_OK && waits ? WEIR_AGAIN : status;
}

weir_status weir_engine_store_positions(struct weir_engine *engine, struct weir_err *err)
{
    weir_status status = commit_check_lease(engine, err);
    if (status == WEIR_OK && !engine->storing) {
        weir_failpoint(WEIR_FAILPOINT_BEFORE_COMMIT);
        status = engine->state_log == NULL ? WEIR_OK : engine_store_in_log(engine, err);
        engine->storing = status == WEIR_OK;
    }
    status = status == WEIR_OK ? engine_store_in_sources(engine, err) : status;
    if (status == WEIR_OK) {
        weir_failpoint(WEIR_FAILPOINT_AFTER_COMMIT);
    }
    return status;
}

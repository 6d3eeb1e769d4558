/* SPDX-License-Identifier: Apache-2.0
 *
 * The epoch: everything between two commits. It commits whole or leaves no trace.
 *
 *     OPEN ──seal──▶ (domain commits at once) ──▶ OPEN
 *      │    └──────▶ CONFIRMING ──sinks durable, positions stored, domain has answered──▶ OPEN
 *      └─abort, or a commit that failed──▶ WAITING ──begin──▶ OPEN
 *
 * With a domain (a Kafka transaction) the lanes cannot write while it commits; they go on into
 * their pending lists. Sinks outside of the domain confirm first. Without one, the sinks confirm
 * the sealed epoch while the lanes write the next: first the outputs are durable, then the state
 * log, then the positions, so that a crash between them repeats and never loses.
 *
 * A domain that commits each task by itself may fail for some: what stands is applied, the rest is
 * aborted with everything that was not sealed.
 *
 * An abort is one path for every cause: pending batches are dropped, every task of the process
 * goes back to its committed position, the run number moves on. Nothing is repaired in part.
 */
#include <poll.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "engine/engine_priv.h"
#include "engine/observe.h"

enum {
    EPOCH_RECORDS_MAX = 1000000, /* closes on size */
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 5000,
    PAUSE_RETRY_MS = 1000,
    INTERVAL_MAX_MS = 2000, /* how far the commit interval grows by itself */
    INLINE_ROUNDS = 3,      /* without threads time stands still meanwhile */
};

static const struct weir_domain_ops *epoch_domain(const struct weir_engine *engine)
{
    return engine->domain == NULL ? NULL : engine->plan.domain;
}

static bool epoch_is_due(const struct weir_engine *engine)
{
    return atomic_load_explicit(&engine->epoch_full, memory_order_relaxed) ||
           atomic_load_explicit(&engine->epoch_due, memory_order_relaxed);
}

bool weir_epoch_is_clean(const struct weir_engine *engine)
{
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->part.written != task->part.committed || task->changed) {
            return false;
        }
    }
    return !engine->dirty;
}

static void epoch_wake_lanes(struct weir_engine *engine)
{
    for (unsigned i = 0; i < engine->lane_count; i++) {
        weir_lane_wake(&engine->lanes[i]);
    }
}

static void epoch_wait(struct weir_engine *engine, const struct weir_err *why)
{
    int64_t backoff_ms = 0;
    bool seeks = engine->bisect_limit > 0 ||
                 (why != NULL && weir_status_class(why->status) == WEIR_CLASS_PERMANENT);
    if (engine->aborts_in_row > 0 && !seeks) {
        unsigned shift = engine->aborts_in_row < 8 ? engine->aborts_in_row - 1 : 7;
        backoff_ms = (int64_t)BACKOFF_FIRST_MS << shift;
        backoff_ms = backoff_ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : backoff_ms;
    }
    engine->aborts_in_row += !seeks;
    engine->state = WEIR_EPOCH_WAITING;
    engine->retry_at_ns = weir_clock_monotonic_ns(engine->clock) + backoff_ms * WEIR_NS_PER_MS;
    if (why != NULL) {
        WEIR_LOG_WARN(&engine->log, "epoch aborted, going back to the last commit",
                      WEIR_F("epoch", engine->epoch), WEIR_F("retry_in_ms", backoff_ms),
                      WEIR_F_ERR(why));
    }
}

/* How many records the epoch may read; what rests since an earlier one counts as read. */
static int64_t epoch_budget(const struct weir_engine *engine)
{
    int64_t limit = engine->bisect_limit;
    return limit == 0 ? INT64_MAX : limit > engine->resting ? limit - engine->resting : 0;
}

static void epoch_begin(struct weir_engine *engine)
{
    const struct weir_domain_ops *domain = epoch_domain(engine);
    struct weir_err err = {0};
    weir_status status = domain == NULL ? WEIR_OK : domain->begin(engine->domain, &err);
    if (status == WEIR_AGAIN) {
        engine->state = WEIR_EPOCH_WAITING;
        engine->retry_at_ns =
            weir_clock_monotonic_ns(engine->clock) + BACKOFF_FIRST_MS * WEIR_NS_PER_MS;
        return;
    }
    if (status != WEIR_OK) {
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            weir_engine_end(engine, &err);
        } else {
            epoch_wait(engine, &err);
        }
        return;
    }
    engine->state = WEIR_EPOCH_OPEN;
    engine->opened_ns = weir_clock_monotonic_ns(engine->clock);
    atomic_store_explicit(&engine->epoch_records, 0, memory_order_relaxed);
    atomic_store_explicit(&engine->epoch_full, false, memory_order_relaxed);
    atomic_store_explicit(&engine->epoch_due, false, memory_order_relaxed);
    atomic_store_explicit(&engine->read_budget, epoch_budget(engine), memory_order_relaxed);
    /* Release: a lane that sees the flags sees the begun transaction. */
    atomic_store_explicit(&engine->writable, true, memory_order_release);
    atomic_store_explicit(&engine->reading, !engine->stopping, memory_order_release);
    epoch_wake_lanes(engine);
}

/* The identity of DESIGN: every input of a step has exactly one fate. paused. */
static void epoch_check_accounts(const struct weir_engine *engine)
{
    for (unsigned i = 0; i < engine->lane_count; i++) {
        const struct weir_step_count *counts = engine->lanes[i].step_counts;
        for (unsigned k = 0; k < engine->stage_count; k++) {
            WEIR_ASSERT(counts[k].in ==
                        counts[k].delivered + counts[k].filtered + counts[k].failed);
        }
    }
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        WEIR_ASSERT(task->part.committed <= task->part.written ||
                    weir_fault_is(WEIR_FAULT_COMMIT_EARLY));
        WEIR_ASSERT(task->part.written <= task->part.read);
        uint64_t pending = 0;
        const struct weir_lane *lane = &engine->lanes[task->part.lane];
        for (const struct weir_batch *batch = lane->pending_first; batch != NULL;
             batch = batch->link) {
            pending += batch->task == task ? batch->count : 0;
        }
        for (const struct weir_batch *batch = lane->waiting_first; batch != NULL;
             batch = batch->link) {
            pending += batch->task == task ? batch->count : 0;
        }
        WEIR_ASSERT(pending == task->in_flight || lane->halted);
    }
}

/* Verdicts about records that are committed. paused: the lane looks at them. */
static void epoch_forget_verdicts(struct weir_task *task)
{
    size_t kept = 0;
    for (size_t i = 0; i < task->verdict_count; i++) {
        if (task->verdicts[i].last >= task->part.committed) {
            task->verdicts[kept++] = task->verdicts[i];
        }
    }
    task->verdict_count = kept;
}

/* Freezes what is written as the closing epoch. paused. */
static void epoch_seal(struct weir_engine *engine)
{
    epoch_check_accounts(engine);
    int64_t rested = engine->resting;
    engine->resting = 0;
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        engine->resting += weir_task_is_inner(task) ? 0 : (int64_t)task->in_flight;
        epoch_forget_verdicts(task);
        task->part.closing = task->part.written;
        task->sealed = true;
        if (weir_fault_is(WEIR_FAULT_COMMIT_EARLY) && task->part.written != task->part.committed) {
            task->part.closing += 50;
        }
        for (int fate = 0; fate < WEIR_FATE_COUNT; fate++) {
            task->closing[fate] += task->open[fate];
            task->open[fate] = 0;
        }
        if (task->states != NULL) {
            weir_shard_seal(engine, task);
        }
        weir_exchange_seal(task);
    }
    for (size_t i = 0; i < engine->sink_count; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        if (sink->component->ops.sink->seal != NULL) {
            sink->component->ops.sink->seal(sink->self);
        }
    }
    engine->sealed_records =
        atomic_exchange_explicit(&engine->epoch_records, 0, memory_order_relaxed) + rested -
        engine->resting;
    atomic_store_explicit(&engine->settled, 0, memory_order_relaxed);
    atomic_store_explicit(&engine->changed_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&engine->epoch_full, false, memory_order_release);
    atomic_store_explicit(&engine->epoch_due, false, memory_order_relaxed);
    engine->commit_started_ns = weir_clock_monotonic_ns(engine->clock);
    engine->dirty = false; /* what comes meanwhile is the next epoch's */
    engine->epoch++;
}

/* More waits than `backlog_interval_ms` will do for at the pace of the epoch that closes: what
 * comes next is late anyway, and a commit holds up the lanes however little it commits. */
static bool epoch_is_behind(const struct weir_engine *engine)
{
    int64_t moved = 0, waiting = 0;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (!weir_task_is_inner(task)) {
            int64_t end = atomic_load_explicit(&task->part.end, memory_order_relaxed);
            moved += task->part.closing - task->part.committed;
            waiting += end > task->part.closing ? end - task->part.closing : 0;
        }
    }
    double interval_ms = (double)engine->interval_ns / WEIR_NS_PER_MS;
    return engine->bisect_limit == 0 && moved > 0 &&
           (double)waiting * interval_ms > (double)moved * (double)engine->plan.backlog_interval_ms;
}

static void epoch_adapt_interval(struct weir_engine *engine, int64_t took_ns, bool is_behind)
{
    /* Committing may take a fifth of the time: with t for a commit, an interval of 4 t. A commit
     * that was held up by a target says nothing about the next one: hence a cap. */
    int64_t wanted = took_ns * 4;
    int64_t base = WEIR_NS_PER_MS *
                   (is_behind ? engine->plan.backlog_interval_ms : engine->plan.commit_interval_ms);
    int64_t cap = engine->config->transaction_timeout * WEIR_NS_PER_MS / 3;
    if (engine->domain == NULL || cap > INTERVAL_MAX_MS * WEIR_NS_PER_MS) {
        cap = INTERVAL_MAX_MS * WEIR_NS_PER_MS;
    }
    wanted = wanted > cap ? cap : wanted;
    engine->interval_ns = wanted > base ? wanted : base;
}

void weir_epoch_apply_task(struct weir_engine *engine, struct weir_task *task)
{
    task->part.committed = task->part.closing;
    weir_engine_count_fates(engine, task, task->closing);
    memset(task->closing, 0, sizeof(task->closing));
    if (task->states != NULL) {
        weir_shard_committed(engine, task);
    }
    weir_exchange_committed(task);
}

static void epoch_applied(struct weir_engine *engine)
{
    int64_t took_ns = weir_clock_monotonic_ns(engine->clock) - engine->commit_started_ns;
    bool is_behind = epoch_is_behind(engine);
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->sealed) { /* else it came while the epoch was confirmed */
            weir_epoch_apply_task(engine, task);
        }
    }
    weir_engine_count_epoch(engine, true, took_ns);
    engine->commit_started_ns = 0;
    engine->storing = false;
    weir_shard_tend_file(engine);
    if (engine->aborts_in_row > 1) {
        WEIR_LOG_INFO(&engine->log, "committing again", WEIR_F("epoch", engine->epoch - 1));
    }
    engine->aborts_in_row = 0;
    if (engine->bisect_limit > 0) {
        engine->bisect_left -= engine->sealed_records;
        if (engine->bisect_left <= 0) {
            engine->bisect_limit = 0;
        }
    }
    epoch_adapt_interval(engine, took_ns, is_behind);
}

/* Records of a task that were read since its last commit. paused. */
static int64_t task_uncommitted(const struct weir_task *task)
{
    if (weir_task_is_inner(task)) { /* counted where they were read */
        return 0;
    }
    uint64_t records = task->in_flight;
    for (int fate = 0; fate < WEIR_FATE_COUNT; fate++) {
        records += task->open[fate] + task->closing[fate];
    }
    return (int64_t)records;
}

/* Halves the search for a record that the target refuses; a lone one gets its verdict. Counted are
 * the records themselves: lanes that read on during a commit may exceed the epoch's limit, and a
 * verdict must never hit a neighbour. */
static void epoch_bisect(struct weir_engine *engine, const struct weir_err *why)
{
    int64_t records = 0;
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        records += task_uncommitted(task);
    }
    if (records == 1) {
        for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
            /* Read, not written: of its outputs some may be sent while another sink is full. */
            if (task_uncommitted(task) == 1) {
                weir_chain_condemn(task, task->part.committed, task->part.read - 1, why);
            }
        }
        engine->bisect_limit = 0;
        return;
    }
    if (engine->bisect_limit == 0) {
        engine->bisect_left = records;
    }
    engine->bisect_limit = records > 1 ? (records + 1) / 2 : 1;
}

bool weir_epoch_end_abort(struct weir_engine *engine)
{
    if (engine->aborting) {
        struct weir_err err = {0};
        weir_status status = engine->plan.domain->abort(engine->domain, &err);
        engine->aborting = status == WEIR_AGAIN;
        if (status != WEIR_OK && status != WEIR_AGAIN) {
            weir_engine_end(engine, &err);
        }
    }
    return !engine->aborting;
}

void weir_epoch_abort(struct weir_engine *engine, const struct weir_err *why)
{
    if (engine->committing) { /* what it makes visible is not ours to abort */
        engine->put_off = engine->put_off.status == WEIR_OK ? *why : engine->put_off;
        return;
    }
    if (engine->state == WEIR_EPOCH_WAITING) {
        return;
    }
    if (engine->storing && engine->state_log != NULL) { /* it begins from there when it starts */
        epoch_applied(engine);
    }
    engine->storing = false;
    atomic_store_explicit(&engine->reading, false, memory_order_release);
    atomic_store_explicit(&engine->writable, false, memory_order_release);
    bool stopped = weir_gate_close(engine, true, INT64_MAX);
    WEIR_ASSERT(stopped);
    struct weir_err err = {0};
    const struct weir_domain_ops *domain = epoch_domain(engine);
    weir_status status = domain == NULL ? WEIR_OK : domain->abort(engine->domain, &err);
    engine->aborting = status == WEIR_AGAIN;
    status = engine->aborting ? WEIR_OK : status;
    if (weir_status_class(why->status) == WEIR_CLASS_PERMANENT) {
        epoch_bisect(engine, why);
    }
    for (unsigned i = 0; i < engine->lane_count; i++) {
        struct weir_lane *lane = &engine->lanes[i];
        weir_lane_discard(lane, NULL);
        if (lane->blame.task != NULL) {
            weir_chain_condemn(lane->blame.task, lane->blame.position, lane->blame.position,
                               &lane->blame.err);
            lane->blame.task = NULL;
        }
        lane->halted = false;
        lane->err = (struct weir_err){0};
        atomic_store_explicit(&lane->call, WEIR_LANE_RUNS, memory_order_relaxed);
    }
    for (size_t i = 0; i < engine->sink_count && status == WEIR_OK; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        if (sink->component->ops.sink->abort != NULL) {
            status = sink->component->ops.sink->abort(sink->self, &err);
        }
    }
    for (struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        struct weir_partition *part = &task->part;
        part->written = part->closing = part->committed;
        if (!weir_fault_is(WEIR_FAULT_SKIP_REWIND)) {
            part->read = part->committed;
        } else {
            part->written = part->read;
        }
        memset(task->open, 0, sizeof(task->open));
        memset(task->closing, 0, sizeof(task->closing));
        task->in_flight = 0;
        task->ended = false;
        if (task->states != NULL) {
            weir_shard_rollback(task);
        }
        weir_exchange_rollback(task);
    }
    atomic_store_explicit(&engine->closing_out, false, memory_order_release);
    engine->run++;
    engine->dirty = true; /* as it may have been at the seal */
    engine->sealed_records = 0;
    engine->resting = 0;
    atomic_store_explicit(&engine->changed_bytes, 0, memory_order_relaxed);
    engine->left_behind = engine->left_behind || engine->stopping; /* nothing reads it again */
    if (status == WEIR_OK && !weir_fault_is(WEIR_FAULT_SKIP_REWIND)) {
        status = weir_engine_seek(engine, &err);
    }
    if (status == WEIR_OK && engine->exchange != NULL) {
        weir_exchange_announce(engine->exchange);
    }
    int64_t now_ns = weir_clock_monotonic_ns(engine->clock);
    int64_t took_ns = engine->commit_started_ns == 0 ? 0 : now_ns - engine->commit_started_ns;
    weir_engine_count_epoch(engine, false, took_ns);
    engine->commit_started_ns = 0;
    weir_engine_count_error(engine, 0, "epoch", why->status);
    epoch_wait(engine, why);
    weir_gate_open(engine);
    if (status != WEIR_OK) {
        weir_engine_end(engine, &err);
    }
}

/* --- committing --------------------------------------------------------------------------------*/

static void epoch_commit_failed(struct weir_engine *engine, const struct weir_err *err)
{
    if (err->status == WEIR_UNKNOWN && engine->stateful_count > 0) {
        /* Neither layer is known to stand: the state must come from the log again. */
        struct weir_err restart = *err;
        restart.status = WEIR_FENCED;
        weir_engine_end(engine, &restart);
    } else if (weir_status_class(err->status) == WEIR_CLASS_FATAL) {
        weir_engine_end(engine, err);
    } else {
        weir_epoch_abort(engine, err);
    }
}

/* False while the domain has not answered. */
static bool epoch_commit_domain(struct weir_engine *engine)
{
    struct weir_err err = {0};
    weir_status status = weir_engine_commit_domain(engine, &err);
    if (status == WEIR_AGAIN) {
        engine->state = WEIR_EPOCH_CONFIRMING;
        return false;
    }
    if (status == WEIR_OK) {
        epoch_applied(engine);
        epoch_begin(engine);
    } else {
        epoch_commit_failed(engine, &err);
    }
    err = engine->put_off;
    engine->put_off = (struct weir_err){0};
    if (err.status != WEIR_OK) {
        weir_epoch_abort(engine, &err);
    }
    return true;
}

/* WEIR_OK when every sink has made the sealed epoch durable. */
static weir_status epoch_confirm_sinks(struct weir_engine *engine, struct weir_err *err)
{
    for (size_t i = 0; i < engine->sink_count; i++) {
        struct weir_sink *sink = &engine->sinks[i];
        if (sink->component->ops.sink->confirm != NULL && !sink->in_domain) {
            weir_status status = sink->component->ops.sink->confirm(sink->self, err);
            if (status != WEIR_OK) {
                return status;
            }
        }
    }
    return WEIR_OK;
}

/* One try; false while something is still under way. */
static bool epoch_confirm(struct weir_engine *engine)
{
    struct weir_err err = {0};
    weir_status status =
        engine->committing || engine->storing ? WEIR_OK : epoch_confirm_sinks(engine, &err);
    if (status == WEIR_AGAIN) {
        return false;
    }
    if (status == WEIR_OK && engine->domain != NULL) {
        return epoch_commit_domain(engine);
    }
    if (status == WEIR_OK) {
        status = weir_engine_store_positions(engine, &err);
    }
    if (status == WEIR_AGAIN) {
        return false;
    }
    if (status != WEIR_OK) {
        epoch_commit_failed(engine, &err);
        return true;
    }
    epoch_applied(engine);
    engine->state = WEIR_EPOCH_OPEN;
    engine->opened_ns = weir_clock_monotonic_ns(engine->clock);
    if (engine->bisect_limit > 0 || atomic_load(&engine->read_budget) != INT64_MAX) {
        atomic_store_explicit(&engine->read_budget, epoch_budget(engine), memory_order_relaxed);
        epoch_wake_lanes(engine);
    }
    return true;
}

/* A lane that halted: abort and replay, or commit what is written and end. True if it acted. */
static bool epoch_answer_lanes(struct weir_engine *engine)
{
    for (unsigned i = 0; i < engine->lane_count; i++) {
        struct weir_lane *lane = &engine->lanes[i];
        int call = atomic_load_explicit(&lane->call, memory_order_acquire);
        if (call == WEIR_LANE_RUNS) {
            continue;
        }
        struct weir_err err = lane->err;
        if (call == WEIR_LANE_WANTS_END) {
            weir_engine_end(engine, &err);
        } else if (call == WEIR_LANE_WANTS_ABORT) {
            weir_epoch_abort(engine, &err);
        } else if (!engine->stopping) {
            weir_engine_drain(engine, &err);
        } else {
            continue;
        }
        return true;
    }
    return false;
}

/* Seals and, with a domain, commits. False: the lanes could not be stopped in time. */
static bool epoch_close(struct weir_engine *engine, int64_t deadline_ns)
{
    if (!weir_gate_close(engine, false, deadline_ns)) {
        return false;
    }
    if (epoch_answer_lanes(engine)) { /* one found out that this epoch cannot be committed */
        weir_gate_open(engine);
        return true;
    }
    epoch_seal(engine);
    if (engine->domain != NULL) {
        atomic_store_explicit(&engine->writable, false, memory_order_release);
    }
    if (engine->domain != NULL && !engine->has_outside) {
        weir_gate_open(engine);
        (void)epoch_commit_domain(engine);
    } else {
        weir_gate_open(engine);
        engine->state = WEIR_EPOCH_CONFIRMING;
        epoch_confirm(engine);
    }
    return true;
}

int64_t weir_epoch_deadline_ns(const struct weir_engine *engine)
{
    switch (engine->state) {
    case WEIR_EPOCH_OPEN: /* it may have become full while the last one was confirmed */
        return epoch_is_due(engine) ? engine->opened_ns : engine->opened_ns + engine->interval_ns;
    case WEIR_EPOCH_CONFIRMING:
        return weir_clock_monotonic_ns(engine->clock) + 5 * WEIR_NS_PER_MS;
    case WEIR_EPOCH_WAITING:
        return engine->aborting ? weir_clock_monotonic_ns(engine->clock) : engine->retry_at_ns;
    }
    WEIR_UNREACHABLE();
}

/* Why the lanes do not come to the end of what the epoch would hold half of. */
static weir_status epoch_is_held(const struct weir_engine *engine, struct weir_err *err)
{
    const struct weir_stage *asking = weir_chain_find_stuck(&engine->front);
    asking = asking == NULL ? weir_chain_find_stuck(&engine->chain) : asking;
    if (asking == NULL) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the sinks take nothing");
    }
    weir_status status =
        weir_fail(err, WEIR_UNAVAILABLE, "%s gets no answer, and the epoch needs it", asking->name);
    weir_err_hint(err, "A step before it keeps state. It is asked again; should answers be there "
                       "in a while, a longer transaction_timeout waits for them.");
    return status;
}

void weir_epoch_tick(struct weir_engine *engine, int64_t now_ns)
{
    if (engine->state != WEIR_EPOCH_WAITING && !engine->committing && epoch_answer_lanes(engine)) {
        return;
    }
    switch (engine->state) {
    case WEIR_EPOCH_WAITING:
        if (weir_epoch_end_abort(engine) && now_ns >= engine->retry_at_ns) {
            epoch_begin(engine);
        }
        break;
    case WEIR_EPOCH_CONFIRMING:
        epoch_confirm(engine);
        break;
    case WEIR_EPOCH_OPEN:
        if (now_ns - engine->opened_ns < engine->interval_ns && !epoch_is_due(engine) &&
            atomic_load_explicit(&engine->epoch_records, memory_order_relaxed) <
                EPOCH_RECORDS_MAX) {
            break;
        }
        if (atomic_load_explicit(&engine->settled, memory_order_relaxed) == 0 && !engine->dirty &&
            !atomic_load_explicit(&engine->epoch_full, memory_order_relaxed)) {
            engine->opened_ns = now_ns;
            atomic_store_explicit(&engine->epoch_due, false, memory_order_relaxed);
            break;
        }
        int64_t patience_ns = weir_plan_patience_ms(engine->config) * WEIR_NS_PER_MS;
        if (!epoch_close(engine, now_ns + patience_ns)) {
            if (engine->domain != NULL) {
                struct weir_err err = {0};
                (void)!epoch_is_held(engine, &err);
                weir_epoch_abort(engine, &err);
            } else {
                engine->opened_ns = now_ns + PAUSE_RETRY_MS * WEIR_NS_PER_MS;
            }
        }
        break;
    }
}

static void epoch_pause(const struct weir_engine *engine)
{
    if (engine->threads_running) {
        struct pollfd wait = {.fd = engine->wake_fd, .events = POLLIN};
        (void)!poll(&wait, 1, 1);
    }
}

void weir_epoch_commit_now(struct weir_engine *engine, int64_t deadline_ns)
{
    int rounds = 0;
    /* An epoch that was sealed before holds nothing written since then; that takes one more. */
    bool one_more = engine->state == WEIR_EPOCH_CONFIRMING;
    while (engine->state != WEIR_EPOCH_WAITING) {
        if (engine->state == WEIR_EPOCH_OPEN) {
            if (weir_epoch_is_clean(engine) || !epoch_close(engine, deadline_ns)) {
                break;
            }
            if (engine->state == WEIR_EPOCH_OPEN) {
                break; /* committed; what lanes wrote since then is the next epoch's */
            }
        } else if (epoch_confirm(engine)) {
            if (!one_more) {
                break;
            }
            one_more = false;
        }
        weir_engine_serve_sinks(engine);
        epoch_pause(engine);
        if (weir_clock_monotonic_ns(engine->clock) > deadline_ns ||
            (!engine->threads_running && ++rounds >= INLINE_ROUNDS)) {
            break;
        }
    }
}

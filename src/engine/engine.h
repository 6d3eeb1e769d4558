/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine runs one pipeline: it opens its components, gives partitions to lanes, commits epochs
 * and ends. The thread that calls it is its control thread.
 *
 *     engine = weir_engine_new(config, options, &err);
 *     status = weir_engine_run(engine);               blocks until it ends
 *     weir_engine_free(engine);
 *
 * Or step by step, lanes inline and in turn, for the simulator: weir_engine_open, then _tick and
 * _step_lane until weir_engine_is_finished, then _close.
 */
#ifndef WEIR_ENGINE_ENGINE_H
#define WEIR_ENGINE_ENGINE_H

#include <weir/clock.h>
#include <weir/log.h>
#include <weir/status.h>
#include <weir/strbuf.h>

#include "conf/pipeline.h"
#include "engine/plan.h"

struct weir_engine;
struct weir_metrics;

/* Who is asked in the place of everybody whom steps would ask. lane: as struct weir_ask_ops.send;
 * the answer goes to `ctx`, whose path is the step's name. */
struct weir_answerer {
    weir_status (*ask)(void *context,
                       struct weir_ctx *ctx,
                       const struct weir_question *question,
                       struct weir_err *err);
    void *context;
};

struct weir_engine_options {
    const struct weir_clock *clock;       /* NULL: the system's */
    struct weir_log_sink *log_sink;       /* NULL: silent */
    uint64_t seed;                        /* of nonces; 0: from the system */
    bool inline_lanes;                    /* no threads: the caller steps the lanes */
    bool labels_metrics;                  /* series tell the pipeline: it is not alone */
    const struct weir_answerer *answerer; /* NULL: steps ask by themselves */
};

/* The configuration is borrowed until the engine is freed. Fails when the guarantee cannot be had.
 * Nothing is opened yet. */
struct weir_engine *weir_engine_new(const struct weir_pipeline_config *config,
                                    const struct weir_engine_options *options,
                                    struct weir_err *err);
void weir_engine_free(struct weir_engine *engine);

/* WEIR_OK: the sources ended, or a stop was asked for and everything is committed. Otherwise
 * weir_engine_error tells why. */
weir_status weir_engine_run(struct weir_engine *engine);
const struct weir_err *weir_engine_error(const struct weir_engine *engine);
/* Stop taking, finish, commit, leave. Any thread, also from a signal handler. */
void weir_engine_request_stop(struct weir_engine *engine);
/* The same, so that another engine can go on from there: what does not finish within
 * shutdown_timeout is left to it, which is no failure. Any thread. */
void weir_engine_request_handover(struct weir_engine *engine);
/* Its sources have told which partitions are its: it has begun to work. control. */
bool weir_engine_has_begun(const struct weir_engine *engine);

const struct weir_plan *weir_engine_plan(const struct weir_engine *engine);
struct weir_metrics *weir_engine_metrics(const struct weir_engine *engine);
/* Any thread. Ready: every source has told its partitions, no source or sink is without its server,
 * epochs commit, no partition stands still and the lag is within its bound. reasons: a line each,
 * when it is not. */
bool weir_engine_is_ready(struct weir_engine *engine, struct weir_strbuf *reasons);
/* Members of a JSON object: pipeline, guarantee, partitions with positions and lag, epochs. */
void weir_engine_status(struct weir_engine *engine, struct weir_strbuf *out);
/* Objects, with commas between them, one per step and shard: what is kept as of the last commit,
 * not older than a second. Any thread. */
void weir_engine_state(struct weir_engine *engine, struct weir_strbuf *out);
/* How far the partitions are, in the sources' own units, as of the last second. Any thread. */
struct weir_engine_progress {
    uint64_t records;    /* taken from the sources since the start */
    int64_t done, total; /* sums of committed positions and of ends */
    bool is_known;       /* every partition knows its end */
};
void weir_engine_progress(struct weir_engine *engine, struct weir_engine_progress *ret_progress);

/* Single steps. control. */
WEIR_MUST_USE weir_status weir_engine_open(struct weir_engine *engine);
void weir_engine_tick(struct weir_engine *engine);
bool weir_engine_step_lane(struct weir_engine *engine, unsigned lane);
bool weir_engine_is_finished(const struct weir_engine *engine);
void weir_engine_close(struct weir_engine *engine);

#endif

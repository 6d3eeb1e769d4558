/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the engine counts. Everything lands in the metrics registry; counters of records move when
 * their epoch commits, never before, so that what is shown as processed is processed for good.
 */
#ifndef WEIR_ENGINE_OBSERVE_H
#define WEIR_ENGINE_OBSERVE_H

#include "engine/engine_priv.h"

struct weir_observer *weir_observer_new(struct weir_engine *engine);
void weir_observer_free(struct weir_observer *observer);

/* A batch was written, `took_ns` after it was read. lane. */
void weir_engine_observe(struct weir_engine *engine,
                         unsigned lane,
                         const struct weir_batch *batch,
                         int64_t took_ns);
/* control, after a commit. */
void weir_engine_count_fates(struct weir_engine *engine,
                             const struct weir_task *task,
                             const uint64_t *fates);
void weir_engine_count_epoch(struct weir_engine *engine, bool committed, int64_t took_ns);
/* control: lanes were asked to stand still, and went on after `took_ns`. */
void weir_engine_count_pause(struct weir_engine *engine, int64_t took_ns);
/* any thread. */
void weir_engine_count_error(struct weir_engine *engine,
                             unsigned lane,
                             const char *component,
                             weir_status status);
/* Refreshes gauges: lag, partitions, bytes in flight. control. */
void weir_engine_gauge(struct weir_engine *engine);
/* A task was given back: its gauges are taken out of sight. paused. */
void weir_engine_gauge_forget(struct weir_engine *engine, const struct weir_task *task);

#endif

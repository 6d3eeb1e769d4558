/* SPDX-License-Identifier: Apache-2.0
 *
 * The exchange: brings all records of one key to one task, when the source is not partitioned by
 * that key. The graph is cut in front of the step that says `exchange:`; each side has its own
 * tasks, which read, process, commit and roll back like any others:
 *
 *     source partitions ─▶ steps ─▶ writer ═▶ [shard 0 … n-1] ═▶ reader ─▶ the step, … ─▶ sinks
 *       tasks in front               route      memory: queues     min       tasks behind: a shard
 *                                              between lanes                 each, with its state
 *
 * Between the sides every record carries a frame: which source partition it comes from, where it
 * lay there, its event time, and the partition's clock in front of it (the greatest event time seen
 * before). So the reader moves that partition's clock record by record, as if there were no
 * exchange: with one source partition the results are exactly those without one. With several, the
 * watermark is the min over those that are not idle, and what is late depends on how they
 * interleave.
 *
 * Marks, frames without a record, go to every shard: a partition's clock at the end of an epoch in
 * which it moved, and when a partition begins, falls idle or wakes. A partition speaks before its
 * first record is read, so no shard's watermark runs ahead of one that it has not heard of.
 *
 * Topic: written and read in the transactions of the pipeline's domain, so a record is behind the
 * exchange when the epoch that wrote it is committed, in whatever process owns the shard. Frames
 * say how many source partitions there are; a shard's time stands still until each has spoken.
 *
 * Memory: the queues are empty whenever an epoch closes (the gate waits for it), so positions,
 * state and outputs of both sides are one epoch; an abort empties them, and the tasks in front read
 * everything again. A queue takes what it is given; what bounds it is that tasks in front do not
 * read while the queues hold their share of `in_flight`, so lanes never wait for each other.
 */
#ifndef WEIR_ENGINE_EXCHANGE_H
#define WEIR_ENGINE_EXCHANGE_H

#include <weir/component.h>

#include "engine/exchange_frame.h"

struct weir_engine;
struct weir_task;
struct weir_lane;
struct weir_stage;
struct weir_chain;

struct weir_exchange {
    const char
        *name; /* "sums.exchange": of its source, sink and stages, in logs and in the state */
    const char *topic; /* of its tasks */
    int32_t shards;
    bool is_memory;
    unsigned source, sink;       /* of the engine's */
    const struct weir_stage *to; /* the step behind it */
    int64_t idle_timeout_ms;     /* 0: never; known when the graph is open */
    struct weir_engine *engine;
    struct exchange_memory *memory;
};

/* What a task in front of the exchange has told, and the two layers of its clock: greatest event
 * time seen, and what of it is in the closing and in the committed epoch. Its lane, or paused. */
struct weir_told {
    int64_t clock, closing, committed;
    int64_t told_clock;
    int64_t moved_ms; /* when the last record came, by the lane's calm_ms */
    bool has_spoken, is_idle;
};

/* The stages at the cut; config: the exchange. */
extern const struct weir_component weir_exchange_writer, weir_exchange_reader;
/* The queues as a source and a sink; config: the exchange. */
extern const struct weir_component weir_exchange_memory_source, weir_exchange_memory_sink;

/* lane, or paused: the task in front has something to tell that no record tells; closing: the epoch
 * is about to close, and wants its clock too. */
bool weir_exchange_is_due(const struct weir_exchange *self,
                          const struct weir_task *task,
                          bool closing);
/* lane: fills the outputs of an empty batch of the task with a mark for every shard. False: no
 * memory. */
WEIR_MUST_USE bool weir_exchange_mark(const struct weir_exchange *self, struct weir_batch *batch);

/* lane: takes the frame off a record that no step has looked at, where there is one. */
void weir_exchange_strip(const struct weir_task *task, struct weir_record *record);

/* paused: the layers of the clocks and fates of tasks in front. */
void weir_exchange_seal(struct weir_task *task);
void weir_exchange_committed(struct weir_task *task); /* lanes may run */
void weir_exchange_rollback(struct weir_task *task);

/* --- memory ------------------------------------------------------------------------------------*/

/* paused: every task in front that has not spoken speaks to all shards. */
void weir_exchange_announce(struct weir_exchange *self);
/* Any thread. Something lies in the queue of the lane. */
bool weir_exchange_has_queued(const struct weir_exchange *self, unsigned lane);
/* lane: the queues hold their share: read nothing in front of the exchange. */
bool weir_exchange_is_full(const struct weir_exchange *self);
/* lane: where a record behind the exchange comes from; the task stays what it is, and the position
 * the record's, when it comes from no other. */
void weir_exchange_origin(struct weir_task **task,
                          const struct weir_record *record,
                          int64_t *position);
/* lane: a batch behind the exchange is written: what became of its records is the fate of those
 * they were in front. */
void weir_exchange_tell_fates(const struct weir_batch *batch);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's plain data: engine, lanes, tasks, the compiled graph. Who may touch what:
 *
 *   control   the thread that calls weir_engine_tick
 *   lane      the lane's own thread, while it is not parked
 *   paused    the control thread, while every lane is parked at the gate
 *
 * A lane is parked only between two batches (see gate.c), so whatever control does to tasks,
 * positions and pending batches while paused needs no lock: the gate's mutex orders it.
 */
#ifndef WEIR_ENGINE_PRIV_H
#define WEIR_ENGINE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include <weir/component.h>
#include <weir/random.h>
#include <weir/state.h>

#include "base/limits.h"
#include "conf/pipeline.h"
#include "data/batch.h"
#include "engine/asking.h"
#include "engine/engine.h"
#include "engine/exchange.h"
#include "engine/inquiry.h"
#include "engine/leader.h"
#include "engine/plan.h"
#include "state/state_log.h"

/* What one step did with its inputs; one fate each. Owned by a lane, summed while paused. */
struct weir_step_count {
    uint64_t in, delivered, filtered, failed;
};

/* A record that is known to fail, so that a replay does not try it again: the one with a position
 * in [first, last]. Survives an abort. */
struct weir_verdict {
    int64_t first, last;
    struct weir_err err;
};

/* The unit of order, ownership and time: one source partition. paused, or its lane. */
struct weir_task {
    struct weir_partition part; /* first: the source's view */
    char *topic;
    uint64_t topic_id; /* of a topic that may be made again; 0: unknown */
    unsigned source;
    struct weir_task *next;    /* of the engine's list */
    struct weir_batch *intake; /* lane: the batch that read() is filling */
    atomic_bool ended;         /* bounded and at its end */
    uint64_t in_flight;        /* records in pending and waiting batches */
    size_t waiting;            /* lane: its batches in the waiting list */
    bool held;                 /* lane: within a pass over that list */
    uint64_t open[WEIR_FATE_COUNT], closing[WEIR_FATE_COUNT]; /* two layers of the delta */
    _Atomic int64_t last_time_ms; /* event time of the last record written; 0: none */
    struct weir_verdict *verdicts;
    size_t verdict_count;
    struct weir_state **states; /* lane: by weir_stage.state_index; NULL: no step keeps state */
    bool changed;               /* lane: its state did, since the last seal */
    size_t changed_bytes;       /* lane: by about so much, as counted in the engine's */
    bool durable;               /* the closing layer of its state is committed; see shard.c */
    struct weir_shard_log *log; /* control: NULL: the state is not kept */
    int64_t snapshot_began;     /* control: the place, or the epoch, of the one under way */
    int64_t snapshot_epoch;     /* control: of the last complete one in the file; 0: none */
    bool snapshot_wanted;
    bool again;      /* lane: a step has more to emit before it reads on */
    bool closed_out; /* lane: its open windows were emitted at the end of the input */
    struct weir_state_size {
        atomic_size_t keys, bytes;
        _Atomic int64_t clock_ms; /* the step's watermark; INT64_MIN: none yet */
        struct weir_state_sum {
            size_t keys, bytes;
            int64_t clock;
        } sealed, committed;              /* control: as of the last seal and commit */
    } * sizes;                            /* by state_index, for gauges and status */
    int64_t seen_committed, moved_ns;     /* when `committed` was last seen to move, or no lag */
    const struct weir_exchange *exchange; /* NULL: the graph is not cut */
    int64_t leave_by_ns;                  /* it is given back, by then at the latest; 0: it stays */
    bool stopped; /* paused: it is given back, and nothing more is done of it */
    bool sealed;  /* control: it is part of the last epoch that was sealed */
    bool strayed; /* control: it stands elsewhere than its log says, until a commit tells the log */
    bool in_front;                        /* of the exchange: runs engine->front, keeps no state */
    uint64_t stream;                      /* in front: what names its topic in frames */
    int32_t of;                           /* in front: how many partitions there are in all */
    struct weir_told told;                /* in front */
    /* in front: fates other than ok that its records met behind; any lane, or paused */
    _Atomic uint64_t behind[WEIR_FATE_COUNT];
    bool all_idle;         /* behind, lane: and since when */
    int64_t idle_since_ms; /* by the lane's calm_ms */
};

/* Behind an exchange in memory: what it reads was read by this process, in the same epoch. */
static inline bool weir_task_is_inner(const struct weir_task *task)
{
    return task->exchange != NULL && task->exchange->is_memory && !task->in_front;
}

/* A step of the graph. Immutable after open. */
struct weir_stage {
    const struct weir_component *component;
    void *self;
    const char *name;
    const void *config;
    struct weir_place place;
    unsigned index;         /* into lane->step_counts */
    int state_index;        /* into task->states; -1: keeps no state */
    bool is_listened;       /* a later step looks at the watermark */
    struct weir_asks *asks; /* what it has under way; NULL: it asks nobody */
    struct weir_ctx ctx;
};

/* Where a chain ends: a sink, for the records of which `when` holds. */
struct weir_outlet {
    unsigned sink;
    const struct weir_expr *when; /* NULL: all */
};

struct weir_chain {
    struct weir_stage *stages;
    size_t stage_count;
    struct weir_outlet *outlets;
    size_t outlet_count;
    struct weir_branch *branches;
    size_t branch_count;
};

struct weir_branch {
    const char *name;
    const struct weir_expr *when;
    struct weir_chain chain;
};

/* status.c, any thread: the first step that asks and gets no answer; NULL: there is none. */
const struct weir_stage *weir_chain_find_stuck(const struct weir_chain *chain);

struct weir_source {
    const struct weir_component *component;
    void *self;
    const char *name; /* for logs and metrics */
    struct weir_ctx ctx;
    const void *config;
    bool exhausted;
    size_t awaited; /* control: partitions that are this process's, of unknown position */
};

struct weir_sink {
    const struct weir_component *component;
    void *self;
    const char *name;
    struct weir_ctx ctx;
    const void *config;
    bool in_domain; /* commits with the domain */
    bool is_routed; /* gets only what steps or the failure policy send it by its index */
};

/* An object that components of a pipeline share (a producer). control. */
struct weir_shared {
    char *key;
    void *object;
    void (*destroy)(void *object);
    struct weir_shared *next;
};

/* What steps and sinks evaluate with; one per lane. */
struct weir_jq_run;
struct weir_run {
    struct weir_lane *lane;
    struct weir_batch *batch;
    struct weir_jq_run *jq;
    const struct weir_stage *stage; /* for logs */
    struct weir_record *input;      /* the record that the step is looking at */
    struct chain_pass *pass;        /* chain.c: the batch's way through the graph */
    struct weir_slice answer;       /* … to its question */
    void *ahead;                    /* what the step has found out about it; NULL: nothing */
    bool absorbed, late;            /* what the step said of the input's fate */
    struct weir_record **out;       /* results of the step under way, in the batch's arena */
    size_t out_count, out_capacity;
};

/* What a halted lane asks of the control thread. */
enum weir_lane_call {
    WEIR_LANE_RUNS,
    WEIR_LANE_WANTS_ABORT, /* the epoch cannot be completed as it is; replay it */
    WEIR_LANE_WANTS_STOP,  /* commit what is written, then end the pipeline with err */
    WEIR_LANE_WANTS_END,   /* a sink cannot go on: end at once */
};

/* A thread that owns tasks and runs their batches to completion. */
struct weir_lane {
    struct weir_engine *engine;
    unsigned index;
    pthread_t thread;
    int wake_fd;
    struct weir_strbuf scratch;
    struct weir_run run;
    struct weir_intake {
        struct weir_lane *lane;
        unsigned source;
        struct weir_batch *first, *last; /* batches of this read, in order of first record */
        size_t records;
    } intake;
    struct weir_batch *free_batches;
    /* Batches whose outputs are not all handed to the sinks yet, oldest first. */
    struct weir_batch *pending_first, *pending_last;
    size_t pending_bytes;
    atomic_size_t pending_shown; /* the same, for the gauge */
    /* Batches that rest until they are answered, and those of the same tasks behind them. */
    struct weir_batch *waiting_first;
    size_t waiting_bytes;
    int64_t rest_until_ns;      /* when one of them has to be looked at */
    bool blocked;               /* a sink was full: look again soon */
    bool throttled;             /* so was the exchange */
    bool halted;                /* failed: reads no more */
    atomic_int call;            /* enum weir_lane_call: what control should do */
    struct weir_err err;        /* why */
    struct weir_blame {         /* what the abort is to condemn, in a task of another lane */
        struct weir_task *task; /* NULL: nothing */
        int64_t position;
        struct weir_err err;
    } blame;
    struct weir_step_count *step_counts;
    int64_t ticked_ns, ticked_ms; /* when its tasks last had a tick, by both clocks */
    int64_t
        calm_ms; /* processing time since the start, by ticks: no jump of the wall clock moves it */
};

/* How lanes are stopped between two batches; see gate.c. */
struct weir_gate {
    pthread_mutex_t lock;
    pthread_cond_t parked_changed, opened;
    atomic_bool closed;
    atomic_bool leave_partial; /* an abort: half-written batches may be left */
    atomic_bool quit;
    unsigned parked, depth;
    int64_t closed_ns; /* control: when it was closed */
};

enum weir_epoch_state {
    WEIR_EPOCH_OPEN,       /* lanes write */
    WEIR_EPOCH_CONFIRMING, /* sealed; waiting for the sinks; lanes write the next one */
    WEIR_EPOCH_WAITING,    /* aborted; until retry_at_ns nothing is read or written */
};

/* How far the snapshots of shards without a task are (shard_absent.c). */
struct weir_absent {
    enum { WEIR_ABSENT_RESTS, WEIR_ABSENT_MOVES, WEIR_ABSENT_MOVED } state;
    size_t next;                /* the row of the log whose turn it is … */
    struct weir_shard_log *log; /* … and its shard; NULL: not begun */
    size_t written, bytes;      /* this time so far, and the last time in all */
};

struct weir_engine {
    const struct weir_pipeline_config *config;
    struct weir_engine_options options;
    struct weir_plan plan;
    const struct weir_clock *clock;
    struct weir_log log;
    struct weir_random random;
    struct weir_arena arena; /* pipeline lifetime: instances, graph */
    struct weir_source *sources;
    size_t source_count;
    size_t outer_count; /* of them, those that are not an exchange in memory; they come first */
    struct weir_sink *sinks;
    size_t sink_count;
    struct weir_chain chain;
    struct weir_chain front;        /* what comes before the exchange; then `chain` is behind it */
    struct weir_exchange *exchange; /* NULL: none */
    unsigned stage_count;
    struct weir_stage **stateful; /* the steps that keep state, by state_index */
    unsigned stateful_count;
    size_t frame_max; /* of the state log; 0: not opened yet */
    bool has_ticks;   /* a step looks at processing time */
    bool reads_again; /* whatever is not committed, the sources can give once more */
    bool has_outside; /* with a domain: a sink that is not in it, to be confirmed first */
    int dead_letter;  /* index of the dead-letter sink; -1: none */
    struct weir_shared *shared;
    void *domain; /* instance of plan.domain; NULL without one */
    struct weir_ctx domain_ctx;
    struct weir_state_log *state_log; /* NULL without one */
    struct weir_absent absent;        /* control */
    struct weir_disk *disk;           /* of the tables; NULL: they are in memory */
    struct weir_lane *lanes;
    unsigned lane_count;
    struct weir_gate gate;
    bool threads_running;
    int wake_fd;
    struct weir_task *tasks;
    size_t task_count;
    uint64_t moves;             /* how many tasks have come and gone (paused) */
    struct weir_leader *leader; /* NULL: no singleton */
    atomic_bool standby;        /* another process works */
    atomic_bool lease_is_sound; /* standing by: its lease can be asked for */
    struct weir_metrics *metrics;
    struct weir_observer *observer;

    atomic_bool closing_out;           /* all input is in: lanes emit what is still open */
    atomic_bool reading;               /* lanes may read */
    atomic_bool writable;              /* lanes may hand outputs to the sinks */
    atomic_int_fast64_t read_budget;   /* records this epoch may still read; bisection sets it */
    atomic_int_fast64_t epoch_records; /* read since the epoch opened */
    atomic_size_t changed_bytes;       /* of all states, since the last seal */
    atomic_int_fast64_t settled;       /* batches written since the epoch opened */
    atomic_bool epoch_full;            /* a domain asked for its commit; lanes read no more */
    atomic_bool epoch_due;             /* a source asked for it; lanes go on */
    uint64_t run;                      /* raised by every abort and revocation (paused) */
    uint64_t epoch;                    /* number of the open one */
    enum weir_epoch_state state;
    int64_t opened_ns, interval_ns, retry_at_ns;
    int64_t commit_started_ns; /* when the closing epoch was sealed; 0: none is */
    bool committing;           /* the domain has not answered yet: tasks stay until it has */
    struct weir_commit commit; /* … what it was asked for */
    struct weir_commit_source commit_sources[WEIR_SOURCES_MAX];
    bool storing;  /* without a domain: the state log has the closing epoch, sources may not yet */
    bool aborting; /* the domain has not ended the aborted epoch yet: nothing is begun */
    struct weir_err put_off; /* why to abort as soon as the commit under way is answered */
    bool dirty; /* something to commit even if no record moved */
    unsigned aborts_in_row;
    /* While a record that the target refuses is sought: how many records an epoch may have (0: not
     * seeking), and how many are left to look through. */
    int64_t bisect_limit, bisect_left;
    int64_t resting; /* records that were read and not written when the last epoch was sealed */
    int64_t sealed_records;               /* of the closing epoch: what rests is of a later one */
    int64_t fences_ms[WEIR_RESTARTS_MAX]; /* when it was fenced lately */
    bool restarting;

    atomic_bool stop_requested;
    _Atomic int64_t stop_asked_ns; /* when; 0: never */
    atomic_bool hands_over;        /* … so that another engine goes on from there */
    bool stopping; /* no more reading; ends when everything is written and committed */
    bool finished, opened;
    bool left_behind; /* stopped without committing the last epoch */
    bool assigned;    /* had an assignment since the start */
    int64_t gauged_ns;
    pthread_mutex_t shown_lock; /* guards the snapshot for the HTTP thread */
    struct weir_strbuf shown;
    struct weir_strbuf shown_behind; /* reasons why its ends are not ready */
    bool shown_assigned, shown_committing, shown_restoring;
    struct weir_strbuf shown_state;
    struct weir_inquiry *inquiries; /* guarded by shown_lock too */
    struct weir_link *down;         /* and these */
    bool answers_none;              /* so is this: the engine has ended */
    int64_t answer_ns;              /* control: not before */
    atomic_size_t restored_bytes;   /* of the restore under way, or the last one */
    struct weir_engine_progress shown_progress;
    int64_t stop_deadline_ns;
    weir_status result;
    struct weir_err err; /* why it ended, when not clean */
};

/* lane.c */
void weir_lane_init(struct weir_lane *lane, struct weir_engine *engine, unsigned index);
void weir_lane_done(struct weir_lane *lane);
/* One round: write what is pending, read, process, write. True if something moved. lane. */
bool weir_lane_step(struct weir_lane *lane);
/* Runs a batch and hands over its outputs. False: it is left with batch->asking. lane, or paused.
 */
WEIR_MUST_USE bool weir_lane_process(struct weir_lane *lane, struct weir_batch *batch);
void weir_lane_release(struct weir_lane *lane, struct weir_batch *batch);
/* Releases it as if it had not been read: who seeks a refused record looks at what was. */
void weir_lane_unread(struct weir_lane *lane, struct weir_batch *batch);
/* The epoch is void. lane. */
bool weir_lane_wants_abort(const struct weir_lane *lane);
/* It holds as much as it may of what is not handed over. */
bool weir_lane_is_full(const struct weir_lane *lane);
/* It has something that belongs to the epoch: a batch of which some outputs are written and some
 * are not; records in the exchange, marks to be made. */
bool weir_lane_is_partial(const struct weir_lane *lane);
/* Works towards the opposite, without reading anything new. True if something moved. lane, or
 * paused. */
bool weir_lane_finish(struct weir_lane *lane);
/* Throws away pending batches of a task, or of all tasks (NULL). paused. */
void weir_lane_discard(struct weir_lane *lane, const struct weir_task *task);
void *weir_lane_main(void *lane);
void weir_lane_wake(struct weir_lane *lane);
/* Halts the lane and tells control. The first call counts. lane. */
void weir_lane_fail(struct weir_lane *lane, enum weir_lane_call call, const struct weir_err *err);

/* shard_open.c */
/* A task that gets its share of the state: empty, or restored. */
struct weir_shard_opening {
    struct weir_task *task; /* among the engine's tasks already */
    const struct weir_assignment *item;
    int64_t position; /* where reading goes on; the log wins, if it knows */
    struct weir_err err;
    int64_t took_ms;
};
/* Several at once: each has its own result. control, lanes stand still. */
void weir_shards_open(struct weir_engine *engine,
                      struct weir_shard_opening *openings,
                      size_t count);

/* shard.c */
/* What a table may hold in memory. */
size_t weir_shard_budget(const struct weir_engine *engine);
/* The table as it stands is what has been committed. control. */
void weir_shard_show(struct weir_task *task);
void weir_shard_close(struct weir_task *task);
/* Freezes what has changed. paused. */
void weir_shard_seal(struct weir_engine *engine, struct weir_task *task);
/* What was sealed is durable; may be said while lanes run. control. */
void weir_shard_committed(struct weir_engine *engine, struct weir_task *task);
/* Hands the sealed frames to the log: the domain's, inside its transaction, or the file's next
 * entry, which has this epoch. control. */
WEIR_MUST_USE weir_status weir_shard_append(struct weir_engine *engine,
                                            uint64_t epoch,
                                            struct weir_err *err);
/* After a commit: keeps the file from growing without end. control. */
void weir_shard_tend_file(struct weir_engine *engine);

/* shard_absent.c: all control. Snapshots begin with the next entry: what no task has needs one. */
void weir_absent_want(struct weir_engine *engine);
/* The next piece of that, for the entry that is being made. */
WEIR_MUST_USE weir_status weir_absent_append(struct weir_engine *engine, struct weir_err *err);
void weir_absent_close(struct weir_absent *self);

/* Drops what the last commit has made durable of the layers. paused. */
void weir_shard_apply(struct weir_task *task);
/* Back to the last commit. paused. */
void weir_shard_rollback(struct weir_task *task);
/* Something has changed since the last seal. lane, or paused. */
bool weir_shard_is_dirty(const struct weir_task *task);
/* After a batch: what the gauges show. lane. */
void weir_shard_settle(struct weir_engine *engine, struct weir_task *task);

/* waiting.c */
/* Puts a batch behind those that wait. lane. */
void weir_lane_wait(struct weir_lane *lane, struct weir_batch *batch);
/* Goes on with what is answered, and asks again; `finishing`: only with what the epoch cannot be
 * sealed without. True if something moved. lane, or paused. */
bool weir_lane_serve_waiting(struct weir_lane *lane, bool finishing);
/* The epoch cannot be sealed without a batch that waits. */
bool weir_lane_waits_within(const struct weir_lane *lane);
/* Behind what has been read of a task and does not wait. */
int64_t weir_lane_reach(const struct weir_lane *lane, const struct weir_task *task);
/* Throws away what waits of a task, or of all tasks (NULL). paused. */
void weir_lane_discard_waiting(struct weir_lane *lane, const struct weir_task *task);

/* chain.c */
/* Runs a batch through the graph; fills batch->outputs and the tally. A failure that stops the
 * pipeline cuts the batch at that record and is left in lane->err. False: it has come to a step
 * that asks, and is to be processed further when it is answered. */
WEIR_MUST_USE bool weir_chain_process(struct weir_lane *lane, struct weir_batch *batch);
/* Gives a copy of a record to a sink that nothing else reaches. lane, inside weir_chain_process. */
WEIR_MUST_USE bool
weir_chain_route(struct weir_run *run, unsigned sink, const struct weir_record *record);
/* A result that could not be made: the failure policy decides, the step goes on. */
void weir_chain_result_failed(struct weir_run *run,
                              const struct weir_record *result,
                              struct weir_err *err);
/* Remembers that a record of the batch cannot be written, for the replay after the abort that has
 * to follow. False: no record lies at that position. lane. */
WEIR_MUST_USE bool weir_chain_blame(struct weir_lane *lane,
                                    struct weir_batch *batch,
                                    int64_t position,
                                    const struct weir_err *err);
/* The same for records of a task. paused, or its lane. */
void weir_chain_condemn(struct weir_task *task,
                        int64_t first,
                        int64_t last,
                        const struct weir_err *err);

/* gate.c */
void weir_gate_init(struct weir_gate *gate);
void weir_gate_done(struct weir_gate *gate);
/* Stops the lanes; false if one is still inside a batch at the deadline. Nests. control. */
bool weir_gate_close(struct weir_engine *engine, bool leave_partial, int64_t deadline_ns);
void weir_gate_open(struct weir_engine *engine);
/* Lane side: parks while the gate is closed. False: the lane is to end. */
bool weir_gate_pass(struct weir_lane *lane);

/* epoch.c */
/* Drives the epoch as far as it goes without waiting. control. */
void weir_epoch_tick(struct weir_engine *engine, int64_t now_ns);
/* Goes on committing everything written so far, until the deadline; with one that has passed, one
 * step. control. */
void weir_epoch_commit_now(struct weir_engine *engine, int64_t deadline_ns);
/* Back to the last commit; not before a commit under way is answered. control. */
void weir_epoch_abort(struct weir_engine *engine, const struct weir_err *why);
/* Goes on with what the domain does to end an aborted epoch. False: it has not ended yet. control. */
bool weir_epoch_end_abort(struct weir_engine *engine);
/* What was sealed of a task is committed. control. */
void weir_epoch_apply_task(struct weir_engine *engine, struct weir_task *task);
/* Anything written or moved since the last commit? paused or control between epochs. */
bool weir_epoch_is_clean(const struct weir_engine *engine);
int64_t weir_epoch_deadline_ns(const struct weir_engine *engine);

/* engine.c */
/* Stops reading, commits what can be committed, then ends with err. control. */
void weir_engine_drain(struct weir_engine *engine, const struct weir_err *err);
/* Ends at once; a fenced engine starts over as a new member first, a few times. control. */
void weir_engine_end(struct weir_engine *engine, const struct weir_err *err);
/* There is nothing left to do; the first result counts. control. */
void weir_engine_finish(struct weir_engine *engine, weir_status result);
void weir_engine_serve_sinks(struct weir_engine *engine);

/* ownership.c */
/* Tells the sources to read on from each task's `read`. paused. */
WEIR_MUST_USE weir_status weir_engine_seek(struct weir_engine *engine, struct weir_err *err);
void weir_engine_drop_tasks(struct weir_engine *engine);

/* commit.c */
/* The partitions of a source, to be freed. control. */
struct weir_partition **
weir_engine_list_parts(struct weir_engine *engine, unsigned source, size_t *ret_count);
/* Asks the sinks for their extents, for the log's next entry. control. */
WEIR_MUST_USE weir_status weir_engine_put_marks(struct weir_engine *engine, struct weir_err *err);
/* Commits the sealed epoch in the domain, to be called again as long as it answers WEIR_AGAIN
 * (`committing`). control. */
WEIR_MUST_USE weir_status weir_engine_commit_domain(struct weir_engine *engine,
                                                    struct weir_err *err);
/* The domain is closed before it answered. control. */
void weir_engine_forget_commit(struct weir_engine *engine);
/* Stores the sealed epoch where positions are kept. control. */
WEIR_MUST_USE weir_status weir_engine_store_positions(struct weir_engine *engine,
                                                      struct weir_err *err);

/* status.c */
void weir_engine_publish(struct weir_engine *engine);
/* Reading state back may take minutes, in which nothing else is published. control. */
void weir_engine_show_restoring(struct weir_engine *engine, bool restoring);

/* graph.c */
void weir_graph_build(struct weir_engine *engine);
/* Opens sinks, steps, sources; on failure close ends what was opened. */
WEIR_MUST_USE weir_status weir_graph_open(struct weir_engine *engine, struct weir_err *err);
void weir_graph_close(struct weir_engine *engine);
void weir_graph_free(struct weir_engine *engine);

/* run.c */
void weir_run_init(struct weir_run *run, struct weir_lane *lane);
void weir_run_done(struct weir_run *run);
void weir_run_reset(struct weir_run *run);

#endif

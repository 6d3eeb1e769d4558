/* SPDX-License-Identifier: Apache-2.0
 *
 * How a source, a step or a sink plugs into weir. Built-ins and plugins see exactly this.
 *
 * A component is a const struct: its description (weir/fields.h: name, options, help), the size of
 * its instance, and functions. The engine allocates and zeroes the instance, parses the options,
 * and alone decides what a failure means: components never retry, never log what they return,
 * never read the environment, never start threads that call into weir.
 *
 * Threads. `control`: the one thread that opens, polls, commits, aborts and closes. `lane`: the
 * thread that owns a set of partitions and runs their batches to completion. Functions marked
 * `paused` run on the control thread while every lane is stopped between two batches.
 *
 * Positions. A partition's position is the number of the next record to read; it is the source's
 * own number (Kafka offset, byte offset, count). The engine keeps four of them:
 *
 *     committed  ≤  closing  ≤  written  ≤  read
 *     durable       in the      all outputs  delivered
 *                   commit      handed to    by the source
 *                   under way   the sinks
 */
#ifndef WEIR_COMPONENT_H
#define WEIR_COMPONENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/clock.h>
#include <weir/fields.h>
#include <weir/log.h>
#include <weir/record.h>
#include <weir/status.h>
#include <weir/strbuf.h>

#define WEIR_ABI                                                                                   \
    7u /* any change of layout in include/weir raises it; the loader demands equality */

/* --- what the engine gives ---------------------------------------------------------------------*/

struct weir_engine;
struct weir_intake;
struct weir_positions_ops; /* weir/positions.h */

/* The surroundings of one component instance. Borrowed; valid from open to close. */
struct weir_ctx {
    struct weir_engine *engine;
    const char *pipeline; /* name: of the pipeline */
    const char *instance; /* instance:, or NULL: this process has no stable identity */
    const char *path;     /* the component in the user's words: "source.kafka", "sinks[1].file" */
    const struct weir_log *log;     /* for changes of state outside any call; bound to the path */
    const struct weir_clock *clock; /* the only source of time */
    unsigned index;                 /* among the pipeline's sources or sinks */
    unsigned lanes;
    bool transactional; /* outputs and positions commit together in the component's domain */
    bool positioned;    /* sources: read by position (see weir_component.is_positioned) */
    bool identified;    /* sinks: the guarantee needs an id with each output (see drops_repeats) */
    int64_t transaction_timeout_ms;
    int64_t in_flight_bytes; /* this component's share of the process's budget */
    bool keeps_state;        /* the pipeline has steps that keep state */
    bool marked;             /* steps: an earlier step makes the watermark; records do not */
    bool exchanged;          /* steps: right behind an exchange, which knows what is idle */
    bool feeds_exchange;     /* sources: `total` of assignments is wanted */
};

/* Whether a thread of a source or sink has its server. Without a record nothing fails by itself, so
 * who finds out says so: the pipeline is not ready while a link of it is down. The thread that
 * connects owns it; zeroed it is up, and it is up again before its memory goes. */
struct weir_link {
    bool is_down;
    /* engine */
    const struct weir_ctx *ctx;
    struct weir_link *next;
    struct weir_err why;
};
void weir_link_down(struct weir_ctx *ctx, struct weir_link *link, const struct weir_err *why);
void weir_link_up(struct weir_ctx *ctx, struct weir_link *link);

/* One source partition that this process owns. Source: fills the first part at assignment.
 * Engine: owns the rest; the source reads it where a function says so. */
struct weir_partition {
    const char *topic; /* source's memory, until revoked */
    int32_t index;
    void *source_data;
    _Atomic int64_t end; /* one behind the last record known to exist; -1: unknown (any thread) */

    unsigned lane, source; /* source: its index among the pipeline's */
    int64_t read, written, closing, committed;
};

/* What a source says when a partition becomes this process's. */
struct weir_assignment {
    const char *topic;
    int32_t index;
    int64_t position;        /* ≥ 0: where reading begins. Also what counts as committed. */
    int32_t partition_count; /* how many partitions the topic has; 0: unknown, or not fixed */
    int32_t total; /* how many the source's topics have together, when it feeds an exchange */
    bool is_moved; /* where it stood is gone, and it goes on here: what is kept of it follows */
    uint64_t topic_id; /* tells the topic from others that had its name; 0: unknown */
    /* What is kept is of another topic of that name: with a remedy that is the end, and the hint of its
     * error; NULL: it goes on here. */
    const char *remedy;
    void *source_data;
};

/* control: takes over partitions; lanes are stopped meanwhile. ret[i] stays valid until revoked. */
void weir_source_assign(struct weir_ctx *ctx,
                        const struct weir_assignment *items,
                        size_t count,
                        struct weir_partition **ret);
/* control: gives partitions back, of which the source delivers nothing more. Commits the open epoch
 * first, or aborts it when the partitions are lost already. True: no lane touches them and their
 * memory is gone. False: they are still this process's; called again soon, from poll, until then.
 */
WEIR_MUST_USE bool
weir_source_release(struct weir_ctx *ctx, struct weir_partition **items, size_t count, bool lost);
/* The same, and waits for it. */
void weir_source_revoke(struct weir_ctx *ctx,
                        struct weir_partition **items,
                        size_t count,
                        bool lost);
/* control: so many partitions are to be this process's as soon as their positions are known. */
void weir_source_await(struct weir_ctx *ctx, size_t count);
/* control: a source knows no further partitions will come (bounded sources). */
void weir_source_exhausted(struct weir_ctx *ctx);
/* any thread: something is there for the lane, or for the control thread, to look at. The file
 * descriptors are eventfds to which client libraries may write 8 bytes. */
int weir_lane_wake_fd(struct weir_ctx *ctx, unsigned lane);
int weir_control_wake_fd(struct weir_ctx *ctx);
/* control: one object shared by the components of a pipeline under a key; made by `create` the
 * first time. destroy is called after all components are closed. */
void *weir_ctx_share(struct weir_ctx *ctx,
                     const char *key,
                     void *(*create)(void *argument, struct weir_err *err),
                     void *argument,
                     void (*destroy)(void *object),
                     struct weir_err *err);
/* control, in a step's open: the index of the sink of that name, which then gets nothing but what
 * weir_emit_to sends; "dead_letter" names the one under that key. False: there is none. */
bool weir_ctx_sink(struct weir_ctx *ctx, const char *name, unsigned *ret_index);
/* control: a stop was asked for longer than shutdown_timeout ago; give up what can be given up. */
bool weir_ctx_must_hurry(const struct weir_ctx *ctx);
/* control: a stop was asked for, and what is not committed will be read again: a sink that cannot
 * reach its server fails, so that the process need not wait for the time-out. */
bool weir_ctx_may_give_up(const struct weir_ctx *ctx);
/* any thread: the open epoch holds as much as one commit of the component's domain should; lanes
 * read no more of it, and it is committed as soon as they stand between two batches. */
void weir_ctx_close_epoch(struct weir_ctx *ctx);
/* any thread: a source has much that waits for the commit; the epoch is closed as soon as the one before
 * it is committed. Lanes go on reading: others may have more, and what one of them waits for may be a
 * server that stands still. */
void weir_ctx_commit_soon(struct weir_ctx *ctx);
/* control: random bytes; reproducible under test. */
void weir_ctx_random(struct weir_ctx *ctx, void *bytes, size_t size);

/* lane, inside read(): appends a zeroed record to the partition's batch; fill it at once. NULL: no
 * memory, return what there is. `ref` is released with the batch (may be NULL). Records behind a
 * position that was already read are stale and must not be appended. */
struct weir_record *
weir_intake_record(struct weir_intake *intake, struct weir_partition *partition, void *ref);
/* lane, inside read(): nothing exists before this position (control records, compaction). */
void weir_intake_advance(struct weir_intake *intake,
                         struct weir_partition *partition,
                         int64_t position);
/* lane, inside read(): the partition has come to its end (bounded sources). */
void weir_intake_end(struct weir_intake *intake, struct weir_partition *partition);

/* What expressions are evaluated with. lane. Results live until the batch dies. */
struct weir_run;
WEIR_MUST_USE weir_status weir_expr_test(struct weir_run *run,
                                         const struct weir_expr *expr,
                                         struct weir_record *record,
                                         bool *ret_pass,
                                         struct weir_err *err);
/* Exactly one result, as text: a string as it is, null as absent, others as JSON. */
WEIR_MUST_USE weir_status weir_expr_text(struct weir_run *run,
                                         const struct weir_expr *expr,
                                         struct weir_record *record,
                                         struct weir_slice *ret_text,
                                         struct weir_err *err);
/* Exactly one result, any value. It lives until the batch is processed, as what it was read from.
 */
WEIR_MUST_USE weir_status weir_expr_value(struct weir_run *run,
                                          const struct weir_expr *expr,
                                          struct weir_record *record,
                                          struct weir_value *ret_value,
                                          struct weir_err *err);
/* The same with another input than a record. */
WEIR_MUST_USE weir_status weir_expr_of(struct weir_run *run,
                                       const struct weir_expr *expr,
                                       struct weir_value input,
                                       struct weir_value *ret_value,
                                       struct weir_err *err);
/* A time as in RFC 3339, in milliseconds since 1970. */
bool weir_parse_rfc3339(struct weir_slice text, int64_t *ret_ms);
/* Passes a record on (the struct is copied). False: no memory. */
WEIR_MUST_USE bool weir_emit(struct weir_run *run, const struct weir_record *record);
/* Passes on the record once for each of the 0..n results, with that as its value. */
WEIR_MUST_USE weir_status weir_emit_each(struct weir_run *run,
                                         const struct weir_expr *expr,
                                         struct weir_record *record,
                                         struct weir_err *err);
/* For steps that keep state. The fate of the record under way: it became part of the state
 * (counted as ok although nothing was passed on), or came too late for all of its windows. */
void weir_run_absorbed(struct weir_run *run);
void weir_run_late(struct weir_run *run);
/* The record came too late for so many windows (of all, or of some). */
void weir_run_missed(struct weir_run *run, size_t windows);
/* More is due at the watermark than should be emitted at once: the step's tick (at the end of the
 * input: its advance) is called again before the task reads on. */
void weir_run_again(struct weir_run *run);
/* A result that cannot be made (`having` fails, too long): `on_error` decides; the step goes on as
 * if it had emitted it. result: the record it would have been; its position is the trigger's. */
void weir_run_result_failed(struct weir_run *run,
                            const struct weir_record *result,
                            struct weir_err *err);
/* Gives a late record to the sink that `late: {to: NAME}` names; index from weir_ctx_sink. */
WEIR_MUST_USE bool
weir_emit_to(struct weir_run *run, unsigned sink, const struct weir_record *record);
/* Tells the following steps that nothing earlier than this comes any more. Results that this
 * released are emitted before. */
WEIR_MUST_USE bool weir_emit_watermark(struct weir_run *run, int64_t watermark_ms);
struct weir_batch *weir_run_batch(struct weir_run *run);
/* An empty buffer, until an expression is evaluated or something is emitted. */
struct weir_strbuf *weir_run_scratch(struct weir_run *run);
/* apply: what ahead() has put down for the record; NULL: it was not asked. */
void *weir_run_ahead(const struct weir_run *run);
/* The partition whose records, or whose timers, made the batch. Its source's. */
struct weir_partition *weir_batch_partition(struct weir_batch *batch);
/* Time passing made its records, not a record that was read. */
bool weir_batch_is_timed(const struct weir_batch *batch);
/* What made the step run: the record, or a mark that has its position and nothing else. Results of
 * timers are copies of it with their own key, value and time. */
const struct weir_record *weir_run_input(const struct weir_run *run);
/* A line of the `log` step, with topic, partition, offset. */
void weir_run_log(struct weir_run *run, const struct weir_record *record, struct weir_slice text);

/* --- sources -----------------------------------------------------------------------------------*/

/* Who remembers how far a source was read. */
enum weir_positions {
    WEIR_POSITIONS_NONE,  /* nobody can: what was in flight is gone after a crash (stdin) */
    WEIR_POSITIONS_LOG,   /* repositionable, but needs weir's state log (file, generate) */
    WEIR_POSITIONS_GROUP, /* the source's own system (Kafka consumer group) */
};

struct weir_source_ops {
    /* control: joins, lists partitions; assignments may come now or from poll. */
    weir_status (*start)(void *self, struct weir_err *err);
    /* control, often: serves events without blocking; calls weir_source_assign and _revoke. */
    weir_status (*poll)(void *self, struct weir_err *err);
    /* lane: up to max records of this lane's partitions, without blocking. WEIR_AGAIN: nothing now;
     * the lane is woken through its descriptor. An error stops the pipeline or, when its class is
     * UNAVAILABLE, is tried again. */
    weir_status (*read)(
        void *self, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err);
    /* paused: read on from partition->read; deliver nothing older. */
    weir_status (*seek)(void *self,
                        struct weir_partition *const *items,
                        size_t count,
                        struct weir_err *err);
    /* control: makes `closing` of these partitions durable (WEIR_POSITIONS_GROUP, when there is no
     * transaction). WEIR_AGAIN: under way, to be asked again; it wakes control when it is done, and
     * is asked of more when it is done before others. WEIR_ABORTED: no longer ours. May be NULL. */
    weir_status (*commit)(void *self,
                          struct weir_partition *const *items,
                          size_t count,
                          struct weir_err *err);
    /* control: leaves; revokes what is left. */
    void (*stop)(void *self);
    /* What the batches of this source need to die. NULL: nothing is referenced. */
    const struct weir_batch_origin *origin;
};

/* --- steps -------------------------------------------------------------------------------------*/

/* What an exchange in front of a step asks of a record. */
struct weir_route {
    struct weir_slice key; /* records with the same one must meet; the batch's memory */
    int64_t time_ms;       /* event time */
    bool has_time;         /* else the record moves no clock */
};

/* What a step asks somebody of one record. Bytes in the batch's memory. */
struct weir_question {
    struct weir_slice to;   /* whom or what: a subject, a key */
    struct weir_slice body; /* data == NULL: none */
    /* Set by the engine: what tells it from every other question of the pipeline, and is the same
     * when the record asks again, also after a replay; and what an answer is given by. */
    struct weir_slice id;
    uint64_t token;
};

/* Steps that ask. The batch rests until all of its questions are answered, while other tasks of the
 * lane go on. What has no answer in time, or fails for now, is asked again, for ever: the engine
 * alone decides. Every question may be asked several times. */
struct weir_ask_ops {
    /* lane: what to ask of the record. A failure is the record's. */
    weir_status (*question)(void *self,
                            struct weir_run *run,
                            struct weir_record *record,
                            struct weir_question *ret_question,
                            struct weir_err *err);
    /* control, after open: begins to connect. Not called when somebody else answers (`weir test`);
     * then send() is not, either. close() ends it. */
    weir_status (*start)(void *self, struct weir_err *err);
    /* lane: asks, without waiting for anything. WEIR_AGAIN: not yet; a failure other than
     * permanent: not now. */
    weir_status (*send)(void *self, const struct weir_question *question, struct weir_err *err);
    /* any thread: for how long an answer is waited for; the step's configuration. */
    weir_duration (*patience)(const void *config);
    bool asks_alike; /* equal questions of a batch have one answer: they are asked once */
};
/* any thread, between open and close: the answer to a question, copied; data == NULL: nothing is
 * known. With a failure, the text says why: a permanent one is the record's, after any other the
 * question is asked again. What comes too late, or twice, is dropped. */
void weir_answer(struct weir_ctx *ctx, uint64_t token, weir_status status, struct weir_slice text);
/* lane, in apply() of a step that asks: what was answered. The batch's memory. */
struct weir_slice weir_run_answer(const struct weir_run *run);
/* … what $answer is in the expressions that follow: a value in the batch's memory. */
void weir_run_show_answer(struct weir_run *run, struct weir_value answer);

/* A step that sets `stateful` has a struct weir_state (weir/state.h) per task. What it changes
 * there is committed with the outputs, or undone. It evaluates everything that can fail before it
 * changes anything: after a failure of a record its state must be as if the record had not come. */
struct weir_step_ops {
    /* lane: decides the fate of one record: passes on 0..n results with weir_emit. A failure is the
     * record's; whatever it had emitted is taken back. */
    weir_status (*apply)(void *self,
                         struct weir_run *run,
                         struct weir_record *record,
                         struct weir_err *err);
    /* lane, before apply() of some records in a row: evaluates what can be evaluated without the
     * state and asks for the memory that apply() will wait for. rooms: ahead_bytes for each record,
     * not zeroed. Nothing may depend on the call, and it changes nothing. False: it has put down
     * nothing, and is not to be called for others of the batch. May be NULL. */
    bool (*ahead)(const void *self,
                  struct weir_run *run,
                  struct weir_record *const *records,
                  size_t count,
                  void *rooms);
    size_t ahead_bytes; /* a multiple of 16 */
    /* lane: the watermark of the step's input moved to this (from a step before it, or INT64_MAX:
     * the input has ended and `on_end: close` asks for what is still open; that is not stored as
     * the clock). Time does not go back. May be NULL: passed on to the next step. */
    weir_status (*advance)(void *self,
                           struct weir_run *run,
                           int64_t watermark_ms,
                           struct weir_err *err);
    bool marks; /* makes the watermark of the steps behind it; else it only passes one on */
    /* lane, some ten times a second, also when no record comes: processing time, ms since the
     * epoch. NULL: the step does not look at it. */
    weir_status (*tick)(void *self, struct weir_run *run, int64_t now_ms, struct weir_err *err);
    /* Steps that keep state; any thread, without an instance: appends the members of a JSON object
     * that say what an entry is ("\"key\":…,\"start\":…"), without comma in front or behind. `weir
     * state` shows them and finds entries by `key`. May be NULL, and may append nothing. */
    void (*show)(struct weir_slice key, struct weir_slice value, struct weir_strbuf *out);
    /* lane: the key under which the step keeps what it knows of a record, and the record's time.
     * The step is asked in front of the exchange, and gets the record behind it. NULL: no exchange
     * can stand in front of it. */
    weir_status (*route)(void *self,
                         struct weir_run *run,
                         struct weir_record *record,
                         struct weir_route *ret_route,
                         struct weir_err *err);
    /* control, after open: for how long a source partition without records holds back time behind
     * the exchange. 0, or NULL: for ever. */
    weir_duration (*idle_timeout)(const void *self);
    /* apply() then comes when the record's question is answered. NULL: the step asks nobody. */
    const struct weir_ask_ops *ask;
};

/* --- sinks -------------------------------------------------------------------------------------*/

struct weir_sink_ops {
    /* lane, once per record before write: evaluates key, target and the like. May be NULL. */
    weir_status (*prepare)(void *self,
                           struct weir_run *run,
                           struct weir_record *record,
                           struct weir_err *err);
    /* lane: takes records[*cursor] … [count-1] over in order, moving *cursor. WEIR_AGAIN: full for
     * now. Any other failure is about records[*cursor]. After return the records may be freed. */
    weir_status (*write)(void *self,
                         unsigned lane,
                         struct weir_batch *batch,
                         struct weir_record *const *records,
                         size_t count,
                         size_t *cursor,
                         struct weir_err *err);
    /* control, often: serves callbacks without blocking. A failure aborts the epoch. May be NULL.
     */
    weir_status (*poll)(void *self, struct weir_err *err);
    /* paused: what was written so far belongs to the closing epoch. May be NULL. */
    void (*seal)(void *self);
    /* control: WEIR_OK when everything sealed is durable at the target, WEIR_AGAIN while it is not
     * yet; lanes may be writing the next epoch meanwhile. Not called when the domain commits the
     * sink. May be NULL: nothing to wait for. */
    weir_status (*confirm)(void *self, struct weir_err *err);
    /* paused: forgets what is not committed. May be NULL. */
    weir_status (*abort)(void *self, struct weir_err *err);
    /* control: appends what restore needs to return to the sealed extent (file lengths); goes into
     * the epoch's log entry. NULL: has no extent to keep. */
    weir_status (*mark)(void *self, struct weir_strbuf *out, struct weir_err *err);
    /* control, after open, before any write: returns to a committed mark; mark.data == NULL: there
     * was never a commit. Required with mark. */
    weir_status (*restore)(void *self, struct weir_slice mark, struct weir_err *err);
};

/* --- domains -----------------------------------------------------------------------------------*/

/* What one atomic commit is made of. */
struct weir_commit {
    uint64_t epoch;
    int64_t timeout_ms; /* the commit takes no longer than about this */
    bool last;          /* the process ends after it: an unknown outcome is left to the next start,
                           answered with WEIR_FATAL */
    struct weir_commit_source {
        void *self; /* the source's instance */
        struct weir_partition *const *items;
        size_t count; /* every owned partition of the epoch, moved or not */
        bool *stands; /* per item, false at first: see commit */
    } * sources;
    size_t source_count;
};

/* The state log of a domain: per shard (a task: the partition's index) a sequence of entries, each
 * opaque bytes, that become durable with the commit they are part of. Source: PROTOCOLS, state log;
 * Kafka: one topic, a partition per shard. All on the control thread. */
struct weir_state_log_ops {
    /* After the domain's open, before the first restore: the log of that name ("orders.state") with
     * so many shards, made if need be. WEIR_CONFIG: it is there with other settings or another
     * number of shards. *ret_entry_max: the most bytes of one entry. */
    weir_status (*open)(
        void *self, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err);
    /* Hands over every committed entry of the shard, oldest first; first waits until whatever was
     * under way when the partition changed hands is decided. `take` may be called for entries that
     * are older than what was cut. Nothing of the shard is processed meanwhile. */
    weir_status (*restore)(void *self,
                           int32_t shard,
                           weir_status (*take)(void *context,
                                               struct weir_slice entry,
                                               struct weir_err *err),
                           void *context,
                           struct weir_err *err);
    /* Between begin and commit: the entry becomes part of the commit. */
    weir_status (*append)(void *self, int32_t shard, struct weir_slice entry, struct weir_err *err);
    /* A place before which nothing is that is appended from now on. */
    weir_status (*place)(void *self, int32_t shard, int64_t *ret_place, struct weir_err *err);
    /* After a commit: what lies before the place is not needed any more. May be left out; never
     * fails the pipeline. */
    void (*cut)(void *self, int32_t shard, int64_t place);
};

/* Outputs and positions of one system committing together: of the whole pipeline (a Kafka
 * transaction), or of each task by itself (a Redis slot, a JetStream stream). With the latter some
 * partitions' parts of a commit may stand and others not: commit() sets `stands` of the former and
 * fails. The engine applies those and aborts the rest. A partition of which the domain cannot tell
 * is neither: its source must revoke it as lost before it reads on, and may take it anew. */
struct weir_domain_ops {
    size_t self_size;
    weir_status (*open)(void *self,
                        struct weir_ctx *ctx,
                        void *const *sources,
                        size_t source_count,
                        void *const *sinks,
                        size_t sink_count,
                        struct weir_err *err);
    void (*close)(void *self);
    /* control: outputs may be written after it. */
    weir_status (*begin)(void *self, struct weir_err *err);
    /* control, lanes running but not writing. WEIR_OK: committed. WEIR_AGAIN: not answered yet; to
     * be called again, soon, with the same commit. WEIR_ABORTED, WEIR_UNAVAILABLE:
     * certainly not committed, abort() follows. WEIR_UNKNOWN: neither this commit nor the last one
     * stands for all partitions; `committed` of each says what does. WEIR_FENCED: leave, rejoin as
     * a new member. Others: stop. With all but WEIR_OK and WEIR_UNKNOWN, partitions whose `stands`
     * is set are committed nonetheless. */
    weir_status (*commit)(void *self, const struct weir_commit *commit, struct weir_err *err);
    /* control: nothing of the open epoch becomes visible. WEIR_AGAIN: that holds already, and the
     * rest is under way: to be called again, soon, before begin(). Does not wait the first time. */
    weir_status (*abort)(void *self, struct weir_err *err);
    const struct weir_state_log_ops *state_log; /* NULL: cannot keep state */
};

/* --- leases ----------------------------------------------------------------------------------*/

struct weir_lease_medium; /* base/lease.h */

/* A system that can keep the lease of a pipeline's one working process (`singleton`). Opened by
 * control, without connecting; afterwards the medium's calls come from one thread, with this self.
 */
struct weir_lease_ops {
    size_t self_size;
    const struct weir_lease_medium *medium;
    /* config: of the component that offers it. nonce: a number of this start. */
    weir_status (*open)(void *self,
                        const void *config,
                        const char *pipeline,
                        uint64_t nonce,
                        int64_t ttl_ms,
                        struct weir_err *err);
    void (*close)(void *self);
};

/* --- exchanges ---------------------------------------------------------------------------------*/

/* How records reach another task through a topic of the source's own system, in the transactions of
 * its domain: a component that writes the topic and one that reads it. Each record comes to the
 * sink with a frame as its target, which goes in front of the value, and a shard, which is the
 * partition (weir_record_shard); a record without a source has the frame as its value and was not
 * prepared. */
struct weir_exchange_ops {
    const struct weir_component *source, *sink;
    /* any: their configurations. `like`: that of a sink of the same component in the pipeline,
     * NULL: there is none. WEIR_CONFIG: the source cannot feed an exchange. */
    weir_status (*configure)(const void *source,
                             const void *like,
                             const char *topic,
                             int32_t shards,
                             struct weir_arena *arena,
                             const void **ret_source,
                             const void **ret_sink,
                             struct weir_err *err);
};
/* lane, in an exchange's sink. */
int32_t weir_record_shard(const struct weir_record *record);

/* --- the component -----------------------------------------------------------------------------*/

struct weir_component {
    uint32_t abi;                    /* WEIR_ABI */
    struct weir_described described; /* kind, name, fields, help: see weir/fields.h */
    size_t self_size;
    enum weir_positions positions; /* sources */
    bool bounded;                  /* sources: may end by themselves */
    bool exclusive;                /* sources: only this process can read it (file, stdin) */
    bool deterministic;            /* steps, sources: same input, same output */
    bool stateful;                 /* steps: has a struct weir_state per task */
    uint32_t state_version;        /* stateful steps: layout of what they store; below 256 */
    /* Stateful steps: a number that differs, as far as a hash can, when state kept under one
     * configuration means something else under another (other aggregates, another kind of window).
     * Such state is refused as that of another version is. NULL: it always means the same. */
    uint32_t (*state_layout)(const void *config);
    bool durable;  /* sinks: what was written survives (not stdout, not drop) */
    bool discards; /* sinks: takes part in every guarantee (drop) */
    const char
        *needs; /* the server setting without which its crash breaks the guarantee; NULL: none */
    /* Sinks: by what the target drops an output that it has: "their Nats-Msg-Id, within …". The
     * sink makes an id of topic, partition and position of the input and a number among its
     * outputs; they are the same after a replay. NULL: it drops nothing. */
    const char *drops_repeats;
    const struct weir_domain_ops *domain;     /* NULL: no atomic commit with others */
    const struct weir_exchange_ops *exchange; /* sources: NULL: none through their system */

    /* control: self is zeroed. On failure close() is called on the half-open instance, and on those
     * that were not opened any more (stop() too): both accept a zeroed self. */
    weir_status (*open)(void *self, const void *config, struct weir_ctx *ctx, struct weir_err *err);
    void (*close)(void *self);
    /* any: finds what a table cannot know to be wrong (a property that does not exist), without
     * connecting. err->path: the field. May be NULL. */
    weir_status (*check)(const void *config, struct weir_err *err);
    /* Steps: the name of a sink that it gives records to beside the chain (weir_ctx_sink); its path
     * in the configuration goes to ret_path. NULL: none. May be NULL. */
    const char *(*side_sink)(const void *config, const char **ret_path);
    /* any: tries what only the system knows, and changes nothing there: it answers, the login is
     * good, the topic is there and may be read or written. err->path: the field. May be NULL. */
    weir_status (*probe)(const void *config, const char *pipeline, struct weir_err *err);
    /* control: names the system that commits as one, without connecting ("kafka:localhost:9092");
     * with `connect`, by its identity ("kafka:<cluster id>"). NULL: no domain. */
    weir_status (*domain_name)(const void *config,
                               bool connect,
                               struct weir_strbuf *out,
                               struct weir_err *err);
    union {
        const struct weir_source_ops *source;
        const struct weir_step_ops *step;
        const struct weir_sink_ops *sink;
    } ops;
    /* Sources of systems that can share a stream among competing consumers (no order, positions
     * that only the system knows, no domain) or read it by position: which of them this one does.
     * wanted: a step keeps state, or a guarantee above at-least-once is written. NULL: always by
     * position. */
    bool (*is_positioned)(const void *config, bool wanted);
    /* Sinks: the field that has outputs written within the commit of their source or not at all;
     * NULL, or returns NULL: none. */
    const char *(*needs_domain)(const void *config);
    /* Sources, when they are shared: what becomes of a record of which every process dies, for
     * `weir explain`; "it …". NULL: nothing is said. */
    const char *(*deadly)(const void *config);
    /* Sources: the field by which it reads several topics, NULL: it reads one. NULL: it always
     * does.
     */
    const char *(*reads_several)(const void *config);
    const struct weir_lease_ops *leases; /* sources and sinks; NULL: the system keeps none */
    /* Sources: how positions are looked at and moved from outside. NULL: only what the state log
     * knows can be. */
    const struct weir_positions_ops *position_ops;
};

#endif

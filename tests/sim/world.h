/* SPDX-License-Identifier: Apache-2.0
 *
 * A world: one broker in memory, one pipeline, and up to two processes that run it in turns on a
 * clock that only the test moves. The checker looks whenever something became visible or a position
 * moved, so a violation is found at the step that made it:
 *
 *   I1 no loss           every input before the committed position has all its outputs visible
 *   I2 no duplicate      with transactions, and without them as long as nothing failed
 *   I3 order             outputs of an input partition come in its order
 *   I4 commit not ahead  at every instant, not only in the end
 *   I5 atomicity         with transactions: no output of an input behind the committed position
 *   I8 fencing           follows from I2, I3 and I5: whatever a zombie made visible breaks them
 *   I10 liveness         a run ends within a bounded number of steps
 *
 * WEIR_SIM_TRACE=1 shows every call and the engine's log lines.
 */
#ifndef WEIR_TESTS_SIM_WORLD_H
#define WEIR_TESTS_SIM_WORLD_H

#include "base/clock.h"
#include "base/log.h"
#include "conf/diag.h"
#include "conf/pipeline.h"
#include "engine/engine.h"
#include "memory.h"

enum { SIM_SOURCES_MAX = 2, SIM_OUTS_MAX = 3, SIM_SLOTS = 2, SIM_STEP_MS = 5 };

/* What an output topic gets of the input with number n. */
enum sim_shape {
    SIM_PASS,   /* the record itself */
    SIM_REPEAT, /* n % 3 records */
    SIM_ODD,    /* the record itself, if n is odd */
    SIM_TALLY,  /* the record with its number among those of its key, modulo 3 */
};

struct sim_spec {
    const char *name;
    const char *tail; /* YAML behind the sources: steps and sinks */
    size_t sources, partitions, records, outs;
    enum sim_shape shapes[SIM_OUTS_MAX];
    unsigned lanes;
    size_t batch_size, chunk, room;
    bool at_least_once; /* no transaction */
    bool own_pace;      /* without a commit_interval of 20 ms */
    int transaction_ms; /* its time-out; 0: a second */
    bool instance;      /* static members and transactional ids */
    bool skip;          /* on_error */
    bool poison_in_commit;
    bool stateful;    /* has a step that keeps state: always in transactions */
    bool exchange;    /* through a topic: an input is committed before its outputs */
    const char *flag; /* put into the records below: poison, refused, unfit; NULL: none */
    int flagged[3];   /* numbers, of source 0, partition 0; 0: none */
};

enum sim_outcome {
    SIM_IDLE, /* never started */
    SIM_RUNNING,
    SIM_ENDED,  /* by itself, without an error */
    SIM_FAILED, /* by itself, with one */
    SIM_CRASHED,
};

struct sim_slot {
    struct weir_engine *engine;
    struct sim_process process;
    enum sim_outcome outcome;
    int64_t resume_ns; /* a fenced engine waits before it starts over */
    uint64_t epochs;
    struct weir_err err;
    int64_t skipped; /* what the engine counted, when it ended */
    int64_t processed;
};

struct sim_cursor {
    size_t position;
    int copy;
};

struct sim_world {
    const struct sim_spec *spec;
    struct weir_clock_manual clock;
    struct sim_broker broker;
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_loaded *loaded[SIM_SLOTS];
    struct weir_log_fd log;
    struct sim_slot slots[SIM_SLOTS];
    struct sim_topic *outs[SIM_OUTS_MAX];
    struct sim_cursor cursors[SIM_OUTS_MAX][SIM_SOURCES_MAX][SIM_PARTITIONS_MAX];
    size_t scanned[SIM_OUTS_MAX]; /* records before it were looked at */
    uint64_t seed, trace;
    int started;
    size_t checks, repeats;
    bool repeats_allowed;
    bool shows;
    char violation[400];
};

void sim_world_init(struct sim_world *world, const struct sim_spec *spec, uint64_t seed);
void sim_world_done(struct sim_world *world);
/* The pipeline as a process of that slot has it; released with weir_loaded_free. */
struct weir_loaded *sim_world_load(struct sim_world *world, size_t slot);

/* Makes a process that is not opened yet: the caller may set crash, faults, chaos. */
struct sim_process *sim_world_prepare(struct sim_world *world, size_t slot);
void sim_world_open(struct sim_world *world, size_t slot);
/* One tick; a step of one lane; both and a move of the clock until nothing runs or the process is
 * no longer running. False: it did not come to an end. */
void sim_world_tick(struct sim_world *world, size_t slot);
void sim_world_lane(struct sim_world *world, size_t slot, unsigned lane);
void sim_world_round(struct sim_world *world, size_t slot);
bool sim_world_run(struct sim_world *world, size_t slot);
void sim_world_advance(struct sim_world *world, int64_t ms);
/* kill -9 between two calls. */
void sim_world_kill(struct sim_world *world, size_t slot);

/* Runs slot 0 to its end, again after every crash or failure; everything must then be there. */
void sim_world_finish(struct sim_world *world);
/* Everything is there, committed, and no transaction is open. */
void sim_world_check_end(struct sim_world *world);
void sim_violate(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* From one moment at which something is tried to the next. 3 with a sanitizer, which makes a run ten times
 * slower, unless WEIR_LONG is 1: the release build has gone through every moment. */
unsigned sim_stride(void);

/* What the test is at, for the report of a failed assertion in the engine. */
void sim_scenario(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *sim_scenario_text(void);

#endif

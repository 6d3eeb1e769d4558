/* SPDX-License-Identifier: Apache-2.0
 *
 * The component `memory`: source, sink and transaction over the broker in memory, and the process
 * that they run in. Every call of the engine that reaches them goes through one door, where it is
 * counted, traced, made to fail, or made the last one: a process that has crashed answers nothing
 * and changes nothing, whatever the engine still asks on its way out.
 *
 * A step `repeat` turns a record into 0, 1 or 2, by its number, without an expression; `tally`
 * keeps state; `enquire` asks.
 */
#ifndef WEIR_TESTS_SIM_MEMORY_H
#define WEIR_TESTS_SIM_MEMORY_H

#include <weir/component.h>
#include <weir/random.h>

#include "broker.h"

// clang-format off
#define SIM_CALL_MAP(X) \
    X(OPEN) X(START) X(POLL) X(READ) X(SEEK) X(POSITIONS) X(STOP) X(PREPARE) X(WRITE) \
    X(SINK_POLL) X(SEAL) X(CONFIRM) X(SINK_ABORT) X(BEGIN) X(SEND_OFFSETS) X(END_TXN) X(TXN_ABORT) \
    X(STATE_OPEN) X(STATE_RESTORE) X(STATE_APPEND) X(ASK)
// clang-format on

enum sim_call_kind {
#define X(id) SIM_CALL_##id,
    SIM_CALL_MAP(X)
#undef X
        SIM_CALL_COUNT
};

const char *sim_call_name(enum sim_call_kind kind);

/* What a call answers instead of the truth; with `done`, after it did what was asked. */
struct sim_fault {
    enum sim_call_kind kind;
    uint64_t nth; /* of that kind; 0: none */
    weir_status status;
    bool done;
};

enum sim_crash { SIM_CRASH_BEFORE, SIM_CRASH_MIDDLE, SIM_CRASH_AFTER, SIM_CRASH_COUNT };

enum { SIM_FAULTS_MAX = 64, SIM_ENQUIRIES_MAX = 8 };

struct memory_producer;
struct enquire;

/* One run of the program. */
struct sim_process {
    int number;
    struct sim_broker *broker;
    uint64_t calls, calls_of[SIM_CALL_COUNT];
    uint64_t crash_at; /* the number of the call; 0: never */
    enum sim_crash crash;
    uint64_t dying_at;
    bool dead;
    struct sim_fault faults[SIM_FAULTS_MAX];
    size_t fault_count, faults_fired;
    struct weir_random *chaos; /* NULL: nothing by chance */
    uint64_t chaos_of;         /* a call fails by chance once in so many */
    uint64_t *trace;           /* running hash; may be NULL */
    bool shared;               /* other processes may take partitions over */
    size_t chunk;              /* records of a partition that one read gives */
    size_t room;               /* records that the sinks take between two polls */
    bool poison_in_commit;     /* where a poisoned record shows; else in poll */
    bool is_aside_silent;      /* the sink `aside` does not confirm */
    bool shows;                /* each call on standard error */
    const char *violation;     /* the engine broke the contract */
    struct memory_producer *producer;
    struct enquire *enquiries[SIM_ENQUIRIES_MAX]; /* by the number of the step */
};

/* The process whose engine is being opened. */
extern struct sim_process *sim_current;
/* Messages handed out and not released. */
extern long sim_messages_alive;

void sim_trace(struct sim_process *process, const void *bytes, size_t size);

extern const struct weir_component sim_memory_source, sim_memory_sink, sim_aside_sink,
    sim_repeat_step, sim_tally_step, sim_enquire_step;
/* Some answers come. */
void sim_enquire_poll(struct sim_process *process);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The door between engine and broker. A call that is the one to crash at either never arrives, or
 * arrives in part, or arrives without an answer; afterwards the process is dead and no call of its
 * arrives any more. Faults are planted by number or fall by chance from the table below, which
 * holds what each call may answer by its contract.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "memory_priv.h"

struct sim_process *sim_current;
long sim_messages_alive;

const char *sim_call_name(enum sim_call_kind kind)
{
    static const char *const names[] = {
#define X(id) #id,
        SIM_CALL_MAP(X)
#undef X
    };
    return names[kind];
}

void sim_trace(struct sim_process *process, const void *bytes, size_t size)
{
    if (process->trace == NULL) {
        return;
    }
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        *process->trace = (*process->trace ^ at[i]) * UINT64_C(1099511628211);
    }
}

static void process_die(struct sim_process *process, uint64_t number)
{
    process->dead = true;
    if (process->producer != NULL) {
        sim_producer_die(process->producer, number);
        process->producer = NULL;
    }
}

/* What may go wrong by chance, per call. */
static const struct sim_fault chances[] = {
    {SIM_CALL_POLL, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_READ, 0, WEIR_AGAIN, false},
    {SIM_CALL_READ, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SEEK, 0, WEIR_FENCED, false},
    {SIM_CALL_POSITIONS, 0, WEIR_AGAIN, false},
    {SIM_CALL_POSITIONS, 0, WEIR_AGAIN, true},
    {SIM_CALL_POSITIONS, 0, WEIR_ABORTED, false},
    {SIM_CALL_WRITE, 0, WEIR_AGAIN, false},
    {SIM_CALL_WRITE, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_WRITE, 0, WEIR_IO, false},
    {SIM_CALL_SINK_POLL, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SINK_POLL, 0, WEIR_ABORTED, false},
    {SIM_CALL_CONFIRM, 0, WEIR_AGAIN, false},
    {SIM_CALL_CONFIRM, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_SINK_ABORT, 0, WEIR_FENCED, false},
    {SIM_CALL_BEGIN, 0, WEIR_AGAIN, false},
    {SIM_CALL_BEGIN, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_BEGIN, 0, WEIR_FENCED, false},
    {SIM_CALL_SEND_OFFSETS, 0, WEIR_AGAIN, false},
    {SIM_CALL_SEND_OFFSETS, 0, WEIR_ABORTED, false},
    {SIM_CALL_SEND_OFFSETS, 0, WEIR_ABORTED, true},
    {SIM_CALL_SEND_OFFSETS, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_END_TXN, 0, WEIR_AGAIN, false},
    {SIM_CALL_END_TXN, 0, WEIR_ABORTED, false},
    {SIM_CALL_END_TXN, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_END_TXN, 0, WEIR_UNKNOWN, false},
    {SIM_CALL_END_TXN, 0, WEIR_UNKNOWN, true},
    {SIM_CALL_END_TXN, 0, WEIR_FENCED, false},
    {SIM_CALL_END_TXN, 0, WEIR_FENCED, true},
    {SIM_CALL_STATE_APPEND, 0, WEIR_ABORTED, false},
    {SIM_CALL_STATE_APPEND, 0, WEIR_UNAVAILABLE, true},
    {SIM_CALL_ASK, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_ASK, 0, WEIR_UNAVAILABLE, true},
    {SIM_CALL_TXN_ABORT, 0, WEIR_AGAIN, false},
    {SIM_CALL_TXN_ABORT, 0, WEIR_UNAVAILABLE, false},
    {SIM_CALL_TXN_ABORT, 0, WEIR_FENCED, false},
};

static const struct sim_fault *call_by_chance(struct sim_process *process, enum sim_call_kind kind)
{
    const struct sim_fault *fitting[8];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(chances) / sizeof(chances[0]); i++) {
        if (chances[i].kind == kind) {
            fitting[count++] = &chances[i];
        }
    }
    if (count == 0 || weir_random_below(process->chaos, process->chaos_of) != 0) {
        return NULL;
    }
    return fitting[weir_random_below(process->chaos, count)];
}

static const struct sim_fault *call_planned(struct sim_process *process, enum sim_call_kind kind)
{
    for (size_t i = 0; i < process->fault_count; i++) {
        if (process->faults[i].kind == kind && process->faults[i].nth == process->calls_of[kind]) {
            return &process->faults[i];
        }
    }
    return process->chaos == NULL ? NULL : call_by_chance(process, kind);
}

static void call_show(struct sim_process *process, enum sim_call_kind kind)
{
    int64_t now_ns = weir_clock_monotonic_ns(process->broker->clock);
    sim_trace(process, &process->number, sizeof(process->number));
    sim_trace(process, &(int32_t){(int32_t)kind}, 4);
    sim_trace(process, &now_ns, sizeof(now_ns));
    if (process->shows) {
        fprintf(stderr, "%7lld ms  process %d  call %llu  %s\n", (long long)(now_ns / 1000000),
                process->number, (unsigned long long)process->calls, sim_call_name(kind));
    }
}

/* False: answer call->status at once. */
bool sim_call_enter(struct sim_call *call, struct sim_process *process, enum sim_call_kind kind)
{
    *call = (struct sim_call){.process = process};
    if (process->dead) {
        call->status = WEIR_FATAL;
        return false;
    }
    call->number = ++process->calls;
    process->calls_of[kind]++;
    call_show(process, kind);
    if (call->number == process->crash_at) {
        if (process->crash == SIM_CRASH_BEFORE) {
            process_die(process, call->number);
            call->status = WEIR_FATAL;
            return false;
        }
        process->dying_at = call->number;
        call->half = process->crash == SIM_CRASH_MIDDLE;
        return true;
    }
    const struct sim_fault *fault = call_planned(process, kind);
    if (fault != NULL) {
        process->faults_fired++;
        call->failing = true;
        call->status = fault->status;
        call->done = fault->done;
        sim_trace(process, &(int32_t){(int32_t)fault->status}, 4);
        return fault->done;
    }
    return true;
}

weir_status sim_call_fail(const struct sim_call *call, struct weir_err *err)
{
    if (call->status == WEIR_OK || call->status == WEIR_AGAIN) {
        return call->status;
    }
    return weir_fail(err, call->status,
                     call->process->dead ? "the process is gone" : "a fault was planted");
}

/* What the call answers in the end, when it would have answered `status`. */
weir_status sim_call_leave(struct sim_call *call, weir_status status, struct weir_err *err)
{
    sim_trace(call->process, &(int32_t){(int32_t)status}, 4);
    if (!call->process->dead && call->number == call->process->dying_at) {
        process_die(call->process, call->number);
        call->status = WEIR_FATAL;
        return sim_call_fail(call, err);
    }
    if (status == WEIR_OK && call->failing) {
        return sim_call_fail(call, err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * tally: keeps how many records a key had, drops the key after three, and writes the number it
 * found into each record. What it writes is right only if no change was lost, doubled or kept from
 * an aborted epoch.
 */
#include <stdio.h>
#include <string.h>

#include <weir/state.h>

#include "base/alloc.h"
#include "memory.h"

static void tally_close(void *instance)
{
    (void)instance;
}

static weir_status
tally_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)instance;
    (void)config;
    (void)ctx;
    (void)err;
    return WEIR_OK;
}

static weir_status tally_emit(struct weir_run *run,
                              const struct weir_record *record,
                              struct weir_slice bytes,
                              long long count,
                              struct weir_err *err)
{
    struct weir_record result = *record;
    char made[160];
    int size =
        snprintf(made, sizeof(made), "%.*s,\"i\":%lld}", (int)bytes.size - 1, bytes.data, count);
    result.raw = weir_arena_copy(weir_batch_arena(weir_run_batch(run)),
                                 (struct weir_slice){made, (size_t)size});
    result.flags = (uint8_t)((result.flags | WEIR_RECORD_RAW) & ~WEIR_RECORD_JSON);
    return result.raw.data != NULL && weir_emit(run, &result)
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "no memory left");
}

static weir_status
tally_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    (void)instance;
    struct weir_slice bytes;
    weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (memmem(bytes.data, bytes.size, "unfit", 5) != NULL) {
        return weir_fail(err, WEIR_INVALID, "not fit to be counted");
    }
    struct weir_state *state = weir_run_state(run);
    bool is_new;
    struct weir_entry *entry = weir_state_put(state, record->key, sizeof(int64_t), &is_new);
    if (entry == NULL) {
        return weir_fail(err, WEIR_LIMIT, "no room in the state");
    }
    int64_t *count = weir_state_edit(state, entry);
    status = tally_emit(run, record, bytes, (long long)*count, err);
    if (++*count == 3) {
        weir_state_drop(state, entry);
    } else {
        weir_state_set_timer(state, entry, *count);
    }
    weir_state_set_clock(state, record->position);
    return status;
}

/* Keys are "k<partition>-…": those of a partition stay together, so that its outputs keep their
 * order. */
static weir_status tally_route(void *instance,
                               struct weir_run *run,
                               struct weir_record *record,
                               struct weir_route *ret_route,
                               struct weir_err *err)
{
    (void)instance;
    (void)run;
    (void)err;
    const char *dash = memchr(record->key.data, '-', record->key.size);
    *ret_route = (struct weir_route){
        .key = {record->key.data, (size_t)(dash - record->key.data)},
        .time_ms = record->position,
        .has_time = true,
    };
    return WEIR_OK;
}

static const struct weir_step_ops tally_ops = {.apply = tally_apply, .route = tally_route};

const struct weir_component sim_tally_step = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_STEP,
                  .name = "tally",
                  .summary = "Numbers the records of a key.",
                  .example = "tally"},
    .self_size = 1,
    .deterministic = true,
    .stateful = true,
    .state_version = 1,
    .open = tally_open,
    .close = tally_close,
    .ops = {.step = &tally_ops},
};

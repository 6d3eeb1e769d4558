/* SPDX-License-Identifier: Apache-2.0
 *
 * aside: a sink outside of the transaction, which confirms when its process is not told otherwise.
 */
#include "memory.h"

struct aside_sink {
    struct sim_process *process;
};

static weir_status
aside_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct aside_sink *self = instance;
    (void)config;
    (void)ctx;
    (void)err;
    self->process = sim_current;
    return WEIR_OK;
}

static void aside_close(void *instance)
{
    (void)instance;
}

static weir_status aside_write(void *instance,
                               unsigned lane,
                               struct weir_batch *batch,
                               struct weir_record *const *records,
                               size_t count,
                               size_t *cursor,
                               struct weir_err *err)
{
    (void)instance;
    (void)lane;
    (void)batch;
    (void)records;
    (void)err;
    *cursor = count;
    return WEIR_OK;
}

static weir_status aside_confirm(void *instance, struct weir_err *err)
{
    const struct aside_sink *self = instance;
    (void)err;
    return self->process->is_aside_silent ? WEIR_AGAIN : WEIR_OK;
}

static const struct weir_sink_ops aside_ops = {.write = aside_write, .confirm = aside_confirm};

const struct weir_component sim_aside_sink = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SINK,
                  .name = "aside",
                  .summary = "Takes records and keeps none.",
                  .example = "aside"},
    .self_size = sizeof(struct aside_sink),
    .durable = true,
    .open = aside_open,
    .close = aside_close,
    .ops = {.sink = &aside_ops},
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * drop: a sink that discards. Nothing can be lost or doubled in it, so it takes part in every
 * guarantee.
 */
#include <weir/component.h>

static weir_status
drop_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)instance;
    (void)config;
    (void)ctx;
    (void)err;
    return WEIR_OK;
}

static void drop_close(void *instance)
{
    (void)instance;
}

static weir_status drop_write(void *instance,
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

static const struct weir_sink_ops drop_ops = {.write = drop_write};

const struct weir_component weir_component_drop_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "drop",
            .summary = "Discards every record.",
            .help = "For measuring, and for branches that end in nothing.",
            .example = "drop",
        },
    .self_size = 1,
    .discards = true,
    .open = drop_open,
    .close = drop_close,
    .ops = {.sink = &drop_ops},
};

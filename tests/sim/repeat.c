/* SPDX-License-Identifier: Apache-2.0
 *
 * repeat: 0, 1 or 2 records from one, by its number, without an expression.
 */
#include <stdio.h>

#include "base/alloc.h"
#include "memory.h"

static void repeat_close(void *instance)
{
    (void)instance;
}

static weir_status
repeat_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)instance;
    (void)config;
    (void)ctx;
    (void)err;
    return WEIR_OK;
}

static weir_status
repeat_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    (void)instance;
    struct weir_batch *batch = weir_run_batch(run);
    struct weir_slice bytes;
    weir_status status = weir_record_bytes(batch, record, &bytes, err);
    int topic, partition, number, end = 0;
    char *text = weir_strndup(bytes.data, bytes.size);
    if (status == WEIR_OK &&
        sscanf(text, "{\"t\":%d,\"p\":%d,\"n\":%d%n", &topic, &partition, &number, &end) != 3) {
        status = weir_fail(err, WEIR_INVALID, "not a record of the simulator");
    }
    for (int i = 0; status == WEIR_OK && i < number % 3; i++) {
        struct weir_record result = *record;
        char made[160];
        int size = snprintf(made, sizeof(made), "%.*s,\"i\":%d%s", end, text, i, text + end);
        result.raw =
            weir_arena_copy(weir_batch_arena(batch), (struct weir_slice){made, (size_t)size});
        if (result.raw.data == NULL || !weir_emit(run, &result)) {
            status = weir_fail(err, WEIR_LIMIT, "no memory left");
        }
    }
    weir_free(text);
    return status;
}

static const struct weir_step_ops repeat_ops = {.apply = repeat_apply};

const struct weir_component sim_repeat_step = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_STEP,
                  .name = "repeat",
                  .summary = "Makes 0, 1 or 2 records of one.",
                  .example = "repeat"},
    .self_size = 1,
    .deterministic = true,
    .open = repeat_open,
    .close = repeat_close,
    .ops = {.step = &repeat_ops},
};

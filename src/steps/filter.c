/* SPDX-License-Identifier: Apache-2.0
 *
 * filter: passes the records for which an expression is neither false nor null. The record itself
 * goes on, with the bytes it came with.
 */
#include <weir/component.h>

struct filter_config {
    struct weir_expr condition;
};

struct filter {
    const struct filter_config *config;
};

static const struct weir_field filter_fields[] = {
    WEIR_F_JQ(struct filter_config,
              condition,
              .flags = WEIR_REQUIRED | WEIR_SHORT | WEIR_MANY,
              .example = ".status == \"paid\"",
              .help = "The condition."),
    WEIR_FIELDS_END,
};

static weir_status
filter_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    struct filter *self = instance;
    self->config = config;
    return WEIR_OK;
}

static weir_status
filter_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct filter *self = instance;
    bool passes = false;
    weir_status status = weir_expr_test(run, &self->config->condition, record, &passes, err);
    if (status == WEIR_OK && passes && !weir_emit(run, record)) {
        return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    return status;
}

static const struct weir_step_ops filter_ops = {.apply = filter_apply};

const struct weir_component weir_component_filter_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "filter",
            .summary = "Passes the records for which a jq expression holds.",
            .help = "Everything but `false` and `null` holds, as in jq.",
            .example = "filter: .status == \"paid\"",
            .fields = filter_fields,
            .config_size = sizeof(struct filter_config),
        },
    .self_size = sizeof(struct filter),
    .deterministic = true,
    .open = filter_open,
    .ops = {.step = &filter_ops},
};

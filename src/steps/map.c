/* SPDX-License-Identifier: Apache-2.0
 *
 * map: replaces a record by the 0..n results of an expression, in order. Each result keeps the
 * input's key, headers and time.
 */
#include <weir/component.h>

struct map_config {
    struct weir_expr program;
};

struct map {
    const struct map_config *config;
};

static const struct weir_field map_fields[] = {
    WEIR_F_JQ(struct map_config,
              program,
              .flags = WEIR_REQUIRED | WEIR_SHORT | WEIR_MANY,
              .example = "'{id, country: .address.country}'",
              .help = "What becomes of the value; several results are several records."),
    WEIR_FIELDS_END,
};

static weir_status
map_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    struct map *self = instance;
    self->config = config;
    return WEIR_OK;
}

static weir_status
map_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct map *self = instance;
    return weir_emit_each(run, &self->config->program, record, err);
}

static const struct weir_step_ops map_ops = {.apply = map_apply};

const struct weir_component weir_component_map_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "map",
            .summary = "Replaces each record by the results of a jq expression.",
            .help = "No result drops the record, several make several. Key, headers and time stay.",
            .example = "map: '{id, country: .address.country}'",
            .fields = map_fields,
            .config_size = sizeof(struct map_config),
        },
    .self_size = sizeof(struct map),
    .deterministic = true,
    .open = map_open,
    .ops = {.step = &map_ops},
};

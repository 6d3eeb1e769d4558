/* SPDX-License-Identifier: Apache-2.0
 *
 * key: gives each record another key. The value goes on untouched.
 */
#include <weir/component.h>

struct key_config {
    struct weir_expr key;
};

struct key {
    const struct key_config *config;
};

static const struct weir_field key_fields[] = {
    WEIR_F_JQ(struct key_config,
              key,
              .flags = WEIR_REQUIRED | WEIR_SHORT,
              .example = ".user",
              .help = "The new key: a string as it is, other values as JSON, null for no key."),
    WEIR_FIELDS_END,
};

static weir_status
key_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    struct key *self = instance;
    self->config = config;
    return WEIR_OK;
}

static weir_status
key_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct key *self = instance;
    struct weir_record result = *record;
    weir_status status = weir_expr_text(run, &self->config->key, record, &result.key, err);
    if (status != WEIR_OK) {
        return status;
    }
    /* The document that was just parsed serves the next step too. */
    result.json = record->json;
    result.flags = record->flags;
    return weir_emit(run, &result) ? WEIR_OK
                                   : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static const struct weir_step_ops key_ops = {.apply = key_apply};

const struct weir_component weir_component_key_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "key",
            .summary = "Gives each record another key.",
            .help = "The key decides the partition that a Kafka sink writes to.",
            .example = "key: .user",
            .fields = key_fields,
            .config_size = sizeof(struct key_config),
        },
    .self_size = sizeof(struct key),
    .deterministic = true,
    .open = key_open,
    .ops = {.step = &key_ops},
};

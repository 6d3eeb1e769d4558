/* SPDX-License-Identifier: Apache-2.0
 *
 * log: writes a line per record and passes it on. The line is what the expression says, never the
 * record by itself: values do not get into logs unless somebody asks for them.
 */
#include <weir/component.h>

struct log_config {
    struct weir_expr text;
};

struct log_step {
    const struct log_config *config;
};

static const struct weir_field log_fields[] = {
    WEIR_F_JQ(struct log_config,
              text,
              .flags = WEIR_REQUIRED | WEIR_SHORT,
              .example = "'\"order \\(.id)\"'",
              .help = "The text: a string as it is, other values as JSON, null for no line."),
    WEIR_FIELDS_END,
};

static weir_status
log_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)ctx;
    (void)err;
    struct log_step *self = instance;
    self->config = config;
    return WEIR_OK;
}

static weir_status
log_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct log_step *self = instance;
    struct weir_slice text;
    weir_status status = weir_expr_text(run, &self->config->text, record, &text, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (text.data != NULL) {
        weir_run_log(run, record, text);
    }
    return weir_emit(run, record) ? WEIR_OK
                                  : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static const struct weir_step_ops log_ops = {.apply = log_apply};

const struct weir_component weir_component_log_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "log",
            .summary = "Writes a log line for each record and passes it on.",
            .help = "The line carries topic, partition and offset. Many alike are suppressed and "
                    "counted.",
            .example = "log: '\"order \\(.id)\"'",
            .fields = log_fields,
            .config_size = sizeof(struct log_config),
        },
    .self_size = sizeof(struct log_step),
    .deterministic = true,
    .open = log_open,
    .ops = {.step = &log_ops},
};

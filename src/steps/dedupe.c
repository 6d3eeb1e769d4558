/* SPDX-License-Identifier: Apache-2.0
 *
 * dedupe: passes the first record with an id, leaves out those that follow within `ttl` of event
 * time. An id is remembered with the epoch of its record: if that is undone, so is the memory.
 *
 * An entry per id, no value: the id's bytes and about 53 more.
 */
#include <weir/component.h>
#include <weir/state.h>

enum { DEDUPE_ID_MAX = 65535 };

enum dedupe_full { DEDUPE_REJECT = 1, DEDUPE_EVICT_OLDEST };

struct dedupe_config {
    struct weir_expr id;
    weir_duration ttl;
    int64_t max_entries;
    int when_full;
};

struct dedupe {
    const struct dedupe_config *config;
    struct weir_ctx *ctx;
};

static const struct weir_choice full_choices[] = {
    {"reject", DEDUPE_REJECT, "A record with a new id fails; `on_error` decides."},
    {"evict_oldest", DEDUPE_EVICT_OLDEST, "The id that would be forgotten next is forgotten now."},
    WEIR_CHOICES_END,
};

static const struct weir_field dedupe_fields[] = {
    WEIR_F_JQ(struct dedupe_config,
              id,
              .flags = WEIR_REQUIRED | WEIR_SHORT,
              .example = ".id",
              .help = "What makes two records the same; a record whose id is null passes."),
    WEIR_F_DURATION(struct dedupe_config,
                    ttl,
                    .fallback = "1h",
                    .min = 1,
                    .max = INT64_C(366) * 86400000,
                    .help =
                        "How long an id is remembered, in event time, from its last record on."),
    WEIR_F_INT(struct dedupe_config,
               max_entries,
               .min = 1,
               .max = INT64_C(1) << 40,
               .unset = "no limit",
               .example = "10000000",
               .help = "How many ids are remembered at most, per source partition."),
    WEIR_F_ENUM(struct dedupe_config,
                when_full,
                full_choices,
                .fallback = "reject",
                .help = "What happens to the next one."),
    WEIR_FIELDS_END,
};

static weir_status
dedupe_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct dedupe *self = instance;
    self->config = config;
    self->ctx = ctx;
    return WEIR_OK;
}

static void dedupe_forget(struct weir_state *state, int64_t clock)
{
    struct weir_entry *entry;
    while ((entry = weir_state_due(state, clock)) != NULL) {
        weir_state_drop(state, entry);
    }
}

static weir_status
dedupe_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct dedupe *self = instance;
    struct weir_slice id;
    weir_status status = weir_expr_text(run, &self->config->id, record, &id, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (id.data == NULL || id.size == 0) {
        return weir_emit(run, record) ? WEIR_OK
                                      : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    if (id.size > DEDUPE_ID_MAX) {
        return weir_fail(err, WEIR_TOO_LARGE, "an id of %zu bytes is too long", id.size);
    }
    struct weir_state *state = weir_run_state(run);
    int64_t clock = weir_state_clock(state);
    if (!self->ctx->marked && record->time_ms > clock) {
        clock = record->time_ms;
        weir_state_set_clock(state, clock);
        dedupe_forget(state, clock);
    }
    bool is_new;
    bool is_full = self->config->max_entries > 0 &&
                   weir_state_count(state) >= (size_t)self->config->max_entries &&
                   weir_state_find(state, id) == NULL;
    if (is_full && self->config->when_full == DEDUPE_EVICT_OLDEST) {
        weir_state_drop(state, weir_state_due(state, INT64_MAX));
        is_full = false;
    }
    struct weir_entry *entry = is_full ? NULL : weir_state_put_mark(state, id, &is_new);
    if (entry == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the state has no room for another id");
    }
    int64_t until;
    if (__builtin_add_overflow(clock, self->config->ttl, &until)) {
        until = INT64_MAX - 1;
    }
    weir_state_set_timer(state, entry, until);
    if (is_new && !weir_emit(run, record)) {
        return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
    }
    return WEIR_OK;
}

static weir_status
dedupe_advance(void *instance, struct weir_run *run, int64_t watermark_ms, struct weir_err *err)
{
    (void)instance;
    struct weir_state *state = weir_run_state(run);
    if (watermark_ms != INT64_MAX && watermark_ms > weir_state_clock(state)) {
        weir_state_set_clock(state, watermark_ms);
        dedupe_forget(state, watermark_ms);
    }
    return weir_emit_watermark(run, watermark_ms)
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static void dedupe_show(struct weir_slice key, struct weir_slice value, struct weir_strbuf *out)
{
    (void)value;
    weir_strbuf_text(out, "\"key\":");
    weir_value_write(weir_value_string(key), out, 0);
}

static weir_status dedupe_route(void *instance,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_route *ret_route,
                                struct weir_err *err)
{
    const struct dedupe *self = instance;
    ret_route->time_ms = record->time_ms;
    ret_route->has_time = (record->flags & WEIR_RECORD_NO_TIME) == 0;
    return weir_expr_text(run, &self->config->id, record, &ret_route->key, err);
}

static const struct weir_step_ops dedupe_ops = {
    .apply = dedupe_apply,
    .advance = dedupe_advance,
    .show = dedupe_show,
    .route = dedupe_route,
};

const struct weir_component weir_component_dedupe_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "dedupe",
            .summary = "Passes each id once.",
            .help = "Exact, per source partition: two records with one id must be in the same one, "
                    "as records with one key are, or an `exchange` brings them together. What is "
                    "remembered survives restarts with the state log.",
            .example = "dedupe: {id: .order_id, ttl: 1h}",
            .fields = dedupe_fields,
            .config_size = sizeof(struct dedupe_config),
        },
    .self_size = sizeof(struct dedupe),
    .deterministic = true,
    .stateful = true,
    .state_version = 1,
    .open = dedupe_open,
    .ops = {.step = &dedupe_ops},
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * aggregate: running aggregates per key, without windows. Each record brings out what its key has
 * come to; `every` and `count` thin that out.
 */
#include <string.h>

#include "aggregates.h"

enum { RESULT_MAX = 16 << 20 };

enum aggregate_full { AGGREGATE_REJECT = 1, AGGREGATE_EVICT_OLDEST };

struct aggregate_config {
    struct weir_expr key, having;
    weir_duration ttl;
    int64_t count, max_entries;
    int when_full;
    struct weir_calls aggregate;
};

struct aggregate_step {
    const struct aggregate_config *config;
    struct weir_ctx *ctx;
    struct aggregates aggregates;
};

/* The fixed part of an entry's value; the slots follow. */
struct running {
    int64_t since; /* records since the last result */
};

static const struct weir_choice full_choices[] = {
    {"reject", AGGREGATE_REJECT, "A record with a new key fails; `on_error` decides."},
    {"evict_oldest", AGGREGATE_EVICT_OLDEST,
     "The key that would be forgotten next (`ttl`) is forgotten now."},
    WEIR_CHOICES_END,
};

// clang-format off
#define S struct aggregate_config
static const struct weir_field aggregate_fields[] = {
    WEIR_F_JQ(S, key, .unset = "the record's key", .example = ".user", .help = "What is aggregated apart; any value."),
    WEIR_F_CALLS(S, aggregate, aggregate_callables, .flags = WEIR_REQUIRED | WEIR_SHORT, .example = "{orders: count, spent: sum(.amount)}",
                 .help = "What a result has, by name."),
    WEIR_F_JQ(S, having, .flags = WEIR_MANY, .unset = "every result", .example = ".orders % 10 == 0", .help = "Only results for which it is neither false nor null come out."),
    WEIR_F_DURATION(S, ttl, .min = 1, .max = INT64_C(366) * 86400000, .unset = "for ever", .example = "1d",
                    .help = "A key without records for so long, in event time, is forgotten."),
    WEIR_F_INT(S, count, .fallback = "1", .min = 1, .max = 1000000000, .help = "A result after so many records of a key."),
    WEIR_F_INT(S, max_entries, .min = 1, .max = INT64_C(1) << 40, .unset = "no limit", .example = "1000000",
               .help = "How many entries are kept at most, per source partition: one per key, and one per key for each of collect, top, count_distinct, quantile and reduce."),
    WEIR_F_ENUM(S, when_full, full_choices, .fallback = "reject", .help = "What happens to the next key."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

static weir_status aggregate_check(const void *config, struct weir_err *err)
{
    const struct aggregate_config *self = config;
    weir_status status = aggregates_check(&self->aggregate, err);
    if (status == WEIR_OK && self->when_full == AGGREGATE_EVICT_OLDEST && self->ttl == 0) {
        status =
            weir_fail(err, WEIR_CONFIG, "what is oldest is known by `ttl`, which is not there");
        weir_err_path(err, "when_full");
    }
    return status;
}

static uint32_t aggregate_layout(const void *config)
{
    const struct aggregate_config *self = config;
    return aggregates_layout(&self->aggregate);
}

static weir_status
aggregate_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct aggregate_step *self = instance;
    self->config = config;
    self->ctx = ctx;
    return aggregates_open(&self->aggregates, &self->config->aggregate, err);
}

static void aggregate_close(void *instance)
{
    struct aggregate_step *self = instance;
    aggregates_close(&self->aggregates);
}

static void aggregate_forget(const struct aggregate_step *self, struct weir_run *run, int64_t clock)
{
    struct weir_state *state = weir_run_state(run);
    struct weir_entry *entry;
    while ((entry = weir_state_due(state, clock)) != NULL) {
        aggregates_drop(&self->aggregates, run, weir_entry_key(entry));
        weir_state_drop(state, entry);
    }
}

static void aggregate_emit(const struct aggregate_step *self,
                           struct weir_run *run,
                           const struct weir_record *input,
                           struct weir_slice key,
                           struct weir_slice group,
                           const char *slots)
{
    struct weir_arena *arena = weir_batch_arena(weir_run_batch(run));
    struct weir_strbuf text;
    weir_strbuf_init(&text, RESULT_MAX);
    weir_strbuf_text(&text, "{\"key\":");
    weir_strbuf_slice(&text, group);
    aggregates_write(&self->aggregates, run, key, slots, &text);
    weir_strbuf_push(&text, '}');
    struct weir_record record = *input;
    record.raw = weir_arena_copy(arena, weir_strbuf_view(&text));
    record.json = (struct weir_value){0};
    record.flags = (uint8_t)(WEIR_RECORD_RAW | (input->flags & WEIR_RECORD_NO_TIME));
    struct weir_err err;
    weir_err_clear(&err);
    weir_status status = WEIR_OK;
    bool wanted = true;
    if (text.failed || record.raw.data == NULL) {
        status = weir_fail(&err, WEIR_TOO_LARGE, "a result is too large");
    } else if (self->config->having.program != NULL) {
        status = weir_expr_test(run, &self->config->having, &record, &wanted, &err);
    }
    if (status == WEIR_OK && wanted && !weir_emit(run, &record)) {
        status = weir_fail(&err, WEIR_LIMIT, "the batch has no memory left");
    }
    if (status != WEIR_OK) {
        weir_run_result_failed(run, &record, &err);
    }
    weir_strbuf_done(&text);
}

/* 'p', a number that is not used, and the key as JSON text: see aggregates.h. */
static weir_status aggregate_key(const struct aggregate_step *self,
                                 struct weir_run *run,
                                 struct weir_record *record,
                                 struct weir_slice *ret_key,
                                 struct weir_err *err)
{
    struct weir_value value = weir_value_null();
    weir_status status = WEIR_OK;
    if (self->config->key.program != NULL) {
        status = weir_expr_value(run, &self->config->key, record, &value, err);
    } else if (record->key.data != NULL) {
        value = weir_value_string(record->key);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_strbuf text;
    weir_strbuf_init(&text, PANE_KEY_MAX);
    weir_strbuf_append(&text, "p\0\0\0\0\0\0\0\0", 9);
    weir_value_write(value, &text, 0);
    *ret_key = weir_arena_copy(weir_batch_arena(weir_run_batch(run)), weir_strbuf_view(&text));
    bool failed = text.failed || ret_key->data == NULL;
    weir_strbuf_done(&text);
    return failed ? weir_fail(err, WEIR_TOO_LARGE, "the key is too long") : WEIR_OK;
}

static bool
aggregate_has_room(const struct aggregate_step *self, struct weir_run *run, struct weir_slice key)
{
    struct weir_state *state = weir_run_state(run);
    size_t most = (size_t)self->config->max_entries;
    if (most == 0 || weir_state_count(state) < most || weir_state_find(state, key) != NULL) {
        return true;
    }
    struct weir_entry *oldest =
        self->config->when_full == AGGREGATE_EVICT_OLDEST ? weir_state_due(state, INT64_MAX) : NULL;
    if (oldest == NULL) {
        return false;
    }
    aggregates_drop(&self->aggregates, run, weir_entry_key(oldest));
    weir_state_drop(state, oldest);
    return true;
}

static weir_status aggregate_apply(void *instance,
                                   struct weir_run *run,
                                   struct weir_record *record,
                                   struct weir_err *err)
{
    const struct aggregate_step *self = instance;
    struct aggregate_values values;
    struct weir_slice key;
    weir_status status = aggregate_key(self, run, record, &key, err);
    if (status == WEIR_OK) {
        status = aggregates_read(&self->aggregates, run, record, record->time_ms, &values, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_state *state = weir_run_state(run);
    int64_t clock = weir_state_clock(state);
    if (!self->ctx->marked && record->time_ms > clock) {
        clock = record->time_ms;
        weir_state_set_clock(state, clock);
        aggregate_forget(self, run, clock);
    }
    bool is_new;
    struct weir_entry *entry =
        aggregate_has_room(self, run, key)
            ? weir_state_put(state, key, sizeof(struct running) + self->aggregates.size, &is_new)
            : NULL;
    if (entry == NULL) {
        return weir_fail(err, WEIR_LIMIT, "the state has no room for another key");
    }
    struct running *running = weir_state_edit(state, entry);
    char *slots = (char *)(running + 1);
    aggregates_add(&self->aggregates, run, record, key, slots, &values);
    int64_t until;
    if (self->config->ttl > 0 && !__builtin_add_overflow(clock, self->config->ttl, &until)) {
        weir_state_set_timer(state, entry, until);
    }
    weir_run_absorbed(run);
    if (++running->since >= self->config->count) {
        running->since = 0;
        aggregate_emit(self, run, record, key, (struct weir_slice){key.data + 9, key.size - 9},
                       slots);
    }
    return WEIR_OK;
}

static weir_status
aggregate_advance(void *instance, struct weir_run *run, int64_t watermark_ms, struct weir_err *err)
{
    const struct aggregate_step *self = instance;
    struct weir_state *state = weir_run_state(run);
    if (watermark_ms != INT64_MAX && watermark_ms > weir_state_clock(state)) {
        weir_state_set_clock(state, watermark_ms);
        aggregate_forget(self, run, watermark_ms);
    }
    return weir_emit_watermark(run, watermark_ms)
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static void aggregate_show(struct weir_slice key, struct weir_slice value, struct weir_strbuf *out)
{
    (void)value;
    if (key.size > 9 && key.data[0] == 'p') {
        weir_strbuf_text(out, "\"key\":");
        weir_strbuf_append(out, key.data + 9, key.size - 9);
    }
}

static weir_status aggregate_route(void *instance,
                                   struct weir_run *run,
                                   struct weir_record *record,
                                   struct weir_route *ret_route,
                                   struct weir_err *err)
{
    ret_route->time_ms = record->time_ms;
    ret_route->has_time = (record->flags & WEIR_RECORD_NO_TIME) == 0;
    return aggregate_key(instance, run, record, &ret_route->key, err);
}

static const struct weir_step_ops aggregate_ops = {
    .apply = aggregate_apply,
    .advance = aggregate_advance,
    .show = aggregate_show,
    .route = aggregate_route,
};

const struct weir_component weir_component_aggregate_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "aggregate",
            .summary = "Keeps running aggregates per key.",
            .help =
                "A result is `{\"key\":…}` with the aggregates behind; it has the record's key and "
                "time. Keys are aggregated per source partition, or over all of them behind "
                "an `exchange`. Without `ttl` the state grows "
                "with "
                "the number of keys.",
            .example =
                "aggregate: {key: .user, ttl: 1d, aggregate: {orders: count, spent: sum(.amount)}}",
            .fields = aggregate_fields,
            .config_size = sizeof(struct aggregate_config),
        },
    .self_size = sizeof(struct aggregate_step),
    .deterministic = true,
    .stateful = true,
    .state_version = 2,
    .state_layout = aggregate_layout,
    .open = aggregate_open,
    .close = aggregate_close,
    .check = aggregate_check,
    .ops = {.step = &aggregate_ops},
};

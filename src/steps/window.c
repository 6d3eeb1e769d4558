/* SPDX-License-Identifier: Apache-2.0
 *
 * window: aggregates per key and window of event time.
 *
 * The clock of a task is the greatest event time seen; a record is applied, then moves the clock,
 * so what is late never depends on batches. One predicate closes a window, drops what is late for
 * it and purges it: clock >= x + grace, x being the first instant that can no longer belong.
 */
#include "window.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "zone.h"

enum { DUE_AT_ONCE = 512 };

static const struct weir_choice when_choices[] = {
    {"close", WINDOW_WHEN_CLOSE, "Once, when the window closes."},
    {"update", WINDOW_WHEN_UPDATE, "After each record, and not at the close."},
    {"both", WINDOW_WHEN_BOTH, "After each record, and at the close."},
    WEIR_CHOICES_END,
};
static const struct weir_choice clock_choices[] = {
    {"event", WINDOW_CLOCK_EVENT, "The records' own time."},
    {"processing", WINDOW_CLOCK_PROCESSING, "The wall clock when a record is processed."},
    WEIR_CHOICES_END,
};
static const struct weir_choice late_choices[] = {
    {"drop", WINDOW_LATE_DROP, "Left out and counted."},
    {"dead_letter", WINDOW_LATE_DEAD_LETTER, "Given to the pipeline's `dead_letter`."},
    {"to", WINDOW_LATE_TO, "Given to the sink named by `to`."},
    WEIR_CHOICES_END,
};
static const struct weir_choice calendar_choices[] = {
    {"day", WINDOW_DAY, "Days."},
    {"week", WINDOW_WEEK, "Weeks from Monday."},
    {"month", WINDOW_MONTH, "Months."},
    WEIR_CHOICES_END,
};

#define LONGEST (INT64_C(366) * 86400000)

// clang-format off
static const struct weir_field tumbling_fields[] = {
    WEIR_F_DURATION(struct window_tumbling, size, .flags = WEIR_SHORT, .min = 1, .max = LONGEST, .unset = "a calendar unit",
                    .example = "1m", .help = "Length of a window; windows begin at multiples of it."),
    WEIR_F_ENUM(struct window_tumbling, calendar, calendar_choices, .unset = "a fixed size", .help = "Windows that follow the calendar."),
    WEIR_F_STR(struct window_tumbling, timezone, .unset = "UTC", .example = "Europe/Berlin", .help = "Whose calendar; a name of the tz database, which must be on the machine. A day there may have 23 or 25 hours."),
    WEIR_F_DURATION(struct window_tumbling, offset, .fallback = "0s", .max = LONGEST, .help = "Moves where windows begin."),
    WEIR_FIELDS_END,
};
static const struct weir_rule tumbling_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"size", "calendar"}, "Write `tumbling: 1m`, or `tumbling: {calendar: month}`."},
    {WEIR_RULE_NEEDS, {"timezone", "calendar"}, "A time zone is for days, weeks and months."},
    WEIR_RULES_END,
};
static const struct weir_field sliding_fields[] = {
    WEIR_F_DURATION(struct window_sliding, size, .flags = WEIR_REQUIRED | WEIR_SHORT, .min = 1, .max = LONGEST, .example = "1m",
                    .help = "Length of a window."),
    WEIR_F_DURATION(struct window_sliding, every, .min = 1, .max = LONGEST, .unset = "a window ends at each event (Kafka's kind)",
                    .example = "10s", .help = "How far apart windows begin."),
    WEIR_F_DURATION(struct window_sliding, offset, .fallback = "0s", .max = LONGEST, .help = "Moves where windows begin; with `every`."),
    WEIR_FIELDS_END,
};
static const struct weir_field session_fields[] = {
    WEIR_F_DURATION(struct window_session, gap, .flags = WEIR_REQUIRED | WEIR_SHORT, .min = 1, .max = LONGEST, .example = "30s",
                    .help = "A session ends when so long no record of its key came. Records exactly so far apart belong together."),
    WEIR_F_DURATION(struct window_session, max, .min = 1, .max = LONGEST, .unset = "any length", .example = "8h",
                    .help = "Longest time from a session's first record to its last."),
    WEIR_FIELDS_END,
};
static const struct weir_field count_fields[] = {
    WEIR_F_INT(struct window_count, size, .flags = WEIR_REQUIRED | WEIR_SHORT, .min = 1, .max = 1000000000, .example = "100",
               .help = "How many records of a key make a window."),
    WEIR_F_INT(struct window_count, every, .min = 1, .max = 1000000000, .unset = "the size", .example = "10",
               .help = "After how many records the next window ends; `size` is a multiple of it."),
    WEIR_FIELDS_END,
};
static const struct weir_field emit_fields[] = {
    WEIR_F_ENUM(struct window_emit, when, when_choices, .flags = WEIR_SHORT, .fallback = "close", .help = "When results come out."),
    WEIR_F_BOOL(struct window_emit, close, .fallback = "true", .help = "`false`: no final results, only early ones."),
    WEIR_F_DURATION(struct window_emit, every, .min = 100, .max = 86400000, .unset = "no early results by time", .example = "10s",
                    .help = "Also shows windows that have changed, this often by the wall clock."),
    WEIR_F_INT(struct window_emit, count, .min = 1, .max = 1000000000, .unset = "no early results by number", .example = "1000",
               .help = "Also shows a window after so many records; of sliding windows those that the last records of a key are in."),
    WEIR_F_BOOL(struct window_emit, discard, .fallback = "false", .help = "Begins a window anew after each early result, so that results add up; not for windows that overlap."),
    WEIR_FIELDS_END,
};
static const struct weir_field late_fields[] = {
    WEIR_F_ENUM(struct window_late, what, late_choices, .flags = WEIR_SHORT, .fallback = "drop", .help = "What happens to a record that is late for all its windows."),
    WEIR_F_STR(struct window_late, to, .unset = "no sink", .example = "late", .help = "Name of the sink; it then gets nothing else."),
    WEIR_FIELDS_END,
};
#define S struct window_config
static const struct weir_field window_fields[] = {
    WEIR_F_OBJECT_PTR(S, tumbling, struct window_tumbling, tumbling_fields, .rules = tumbling_rules, .example = "1m",
                      .help = "Windows side by side."),
    WEIR_F_OBJECT_PTR(S, sliding, struct window_sliding, sliding_fields, .example = "{size: 1m, every: 10s}",
                      .help = "Windows that overlap."),
    WEIR_F_OBJECT_PTR(S, session, struct window_session, session_fields, .example = "30s",
                      .help = "Windows that last as long as records of a key keep coming."),
    WEIR_F_OBJECT_PTR(S, count, struct window_count, count_fields, .example = "100",
                      .help = "Windows of so many records of a key; `start` and `end` of a result are its first and last event time."),
    WEIR_F_JQ(S, key, .unset = "the record's key", .example = ".country", .help = "What is aggregated apart; any value."),
    WEIR_F_JQ(S, time, .unset = "the record's time", .example = ".created_at",
              .help = "The event time: a number (see `time_format`), or a text as in RFC 3339."),
    WEIR_F_STR(S, time_format, .fallback = "ms", .max = 128, .example = "'%d/%b/%Y:%H:%M:%S %z'", .help = "What a number means: `ms`, `s`, `us` or `ns` since 1970; `rfc3339`: only texts; or a pattern of strptime(3) that texts follow (UTC where it has no %z)."),
    WEIR_F_ENUM(S, clock, clock_choices, .fallback = "event", .help = "What moves the windows on."),
    WEIR_F_DURATION(S, grace, .fallback = "0s", .max = LONGEST, .help = "How long a window stays open for records that come late."),
    WEIR_F_OBJECT(S, late, struct window_late, late_fields, .help = "What happens to late records."),
    WEIR_F_DURATION(S, idle_timeout, .min = 100, .max = LONGEST, .unset = "time stands still without records", .example = "30s",
                    .help = "After so long without records the clock goes on with the wall clock, so that the last windows close too."),
    WEIR_F_INT(S, max_entries, .min = 1, .max = INT64_C(1) << 40, .unset = "no limit", .example = "1000000",
               .help = "How many entries are kept at most, per source partition (`weir state list` shows them); a record of another key (tumbling: for another window) then fails, and `on_error` decides."),
    WEIR_F_CALLS(S, aggregate, aggregate_callables, .flags = WEIR_REQUIRED, .example = "{orders: count, revenue: sum(.amount)}",
                 .help = "What a result has, by name."),
    WEIR_F_JQ(S, having, .flags = WEIR_MANY, .unset = "every result", .example = ".orders > 10", .help = "Only results for which it is neither false nor null come out."),
    WEIR_F_OBJECT(S, emit, struct window_emit, emit_fields, .help = "When results come out."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule window_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"tumbling", "sliding", "session", "count"}, "Say which kind of window."},
    WEIR_RULES_END,
};
// clang-format on

/* --- time --------------------------------------------------------------------------------------*/

typedef void (*due_function)(const struct window *, struct weir_run *, struct weir_entry *);

static const due_function due_functions[] = {
    [WINDOW_TUMBLING] = window_tumbling_due, [WINDOW_SLIDING] = window_sliding_due,
    [WINDOW_EVENT] = window_event_due,       [WINDOW_SESSION] = window_session_due,
    [WINDOW_COUNT] = window_count_due,
};

static weir_status window_close_due(const struct window *self,
                                    struct weir_run *run,
                                    int64_t clock,
                                    struct weir_err *err)
{
    struct weir_state *state = weir_run_state(run);
    struct weir_entry *entry = NULL;
    for (size_t i = 0; i < DUE_AT_ONCE && (entry = weir_state_due(state, clock)) != NULL; i++) {
        due_functions[self->kind](self, run, entry);
    }
    if (entry != NULL && weir_state_next_timer(state) <= clock) {
        weir_run_again(run);
        return WEIR_OK;
    }
    int64_t mark = clock == INT64_MAX ? clock : window_add(clock, -self->config->grace);
    return weir_emit_watermark(run, mark)
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
}

static weir_status
window_advance(void *instance, struct weir_run *run, int64_t watermark_ms, struct weir_err *err)
{
    const struct window *self = instance;
    struct weir_state *state = weir_run_state(run);
    if (watermark_ms != INT64_MAX) {
        if (watermark_ms <= weir_state_clock(state)) {
            return WEIR_OK;
        }
        weir_state_set_clock(state, watermark_ms);
    }
    return window_close_due(self, run, watermark_ms, err);
}

/* --- processing time ---------------------------------------------------------------------------*/

struct idle {
    int64_t clock, since_ms, shown_ms;
};

static const due_function show_functions[] = {
    [WINDOW_TUMBLING] = window_tumbling_show, [WINDOW_SLIDING] = window_sliding_show,
    [WINDOW_EVENT] = window_event_show,       [WINDOW_SESSION] = window_session_show,
    [WINDOW_COUNT] = window_count_show,
};

/* Showing changes the state, which a walk does not allow: the keys are taken down first. */
static void window_show_changed(const struct window *self, struct weir_run *run)
{
    struct weir_state *state = weir_run_state(run);
    bool by_pane = self->kind == WINDOW_TUMBLING || self->kind == WINDOW_SESSION;
    struct weir_strbuf keys;
    weir_strbuf_init(&keys, SIZE_MAX / 2);
    struct weir_state_cursor cursor = {0};
    struct weir_entry *entry;
    while ((entry = weir_state_next(state, &cursor)) != NULL) {
        struct weir_slice key = weir_entry_key(entry);
        const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
        if (by_pane ? key.data[0] == 'p' && pane->since > 0 : key.data[0] == 'k') {
            uint32_t size = (uint32_t)key.size;
            weir_strbuf_append(&keys, &size, sizeof(size));
            weir_strbuf_slice(&keys, key);
        }
    }
    uint32_t size;
    for (size_t at = 0; at < keys.size; at += sizeof(size) + size) {
        memcpy(&size, keys.data + at, sizeof(size));
        entry = weir_state_find(state, (struct weir_slice){keys.data + at + sizeof(size), size});
        if (entry != NULL) {
            show_functions[self->kind](self, run, entry);
        }
    }
    weir_strbuf_done(&keys);
}

static weir_status
window_tick(void *instance, struct weir_run *run, int64_t now_ms, struct weir_err *err)
{
    const struct window *self = instance;
    const struct window_config *config = self->config;
    struct weir_state *state = weir_run_state(run);
    if (config->clock == WINDOW_CLOCK_PROCESSING) {
        return weir_state_next_timer(state) <= now_ms ? window_advance(instance, run, now_ms, err)
                                                      : WEIR_OK;
    }
    int64_t clock = weir_state_clock(state);
    if (weir_state_next_timer(state) <= clock) {
        return window_close_due(self, run, clock, err);
    }
    if (clock == INT64_MIN || (config->idle_timeout == 0 && config->emit.every == 0)) {
        return WEIR_OK;
    }
    bool is_new;
    struct weir_entry *entry = weir_state_put(state, WEIR_SLICE("i"), sizeof(struct idle), &is_new);
    if (entry == NULL) {
        return WEIR_OK;
    }
    const struct idle *seen = (const struct idle *)(const void *)weir_entry_value(entry).data;
    bool set_back = now_ms < seen->since_ms || now_ms < seen->shown_ms;
    if (is_new || set_back || seen->clock != clock) {
        struct idle *idle = weir_state_edit(state, entry);
        idle->clock = clock;
        idle->since_ms = now_ms;
        idle->shown_ms = is_new || set_back ? now_ms : idle->shown_ms;
    }
    if (config->emit.every > 0 && now_ms - seen->shown_ms >= config->emit.every) {
        ((struct idle *)weir_state_edit(state, entry))->shown_ms = now_ms;
        window_show_changed(self, run);
    }
    int64_t idle_ms = now_ms - seen->since_ms;
    int64_t moved = window_add(clock, idle_ms);
    if (config->idle_timeout == 0 || self->ctx->exchanged || idle_ms < config->idle_timeout ||
        weir_state_next_timer(state) > moved) {
        return WEIR_OK;
    }
    struct idle *idle = weir_state_edit(state, entry);
    idle->clock = moved;
    idle->since_ms = now_ms - config->idle_timeout;
    return window_advance(instance, run, moved, err);
}

/* --- records -----------------------------------------------------------------------------------*/

static bool parse_pattern(struct weir_slice text, const char *pattern, int64_t *ret_ms)
{
    char copy[128];
    struct tm tm = {.tm_mday = 1};
    if (text.size >= sizeof(copy) || memchr(text.data, '\0', text.size) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    const char *end = strptime(copy, pattern, &tm);
    long zone = tm.tm_gmtoff; /* timegm forgets it */
    *ret_ms = end == NULL ? 0 : ((int64_t)timegm(&tm) - zone) * 1000;
    return end != NULL && *end == '\0';
}

static weir_status time_of(const struct window *self,
                           struct weir_run *run,
                           struct weir_record *record,
                           int64_t *ret_ms,
                           struct weir_err *err)
{
    const struct window_config *config = self->config;
    if (config->clock == WINDOW_CLOCK_PROCESSING) {
        *ret_ms = weir_clock_wall_ms(self->ctx->clock);
        return WEIR_OK;
    }
    if (config->time.program == NULL) {
        *ret_ms = record->time_ms;
        return (record->flags & WEIR_RECORD_NO_TIME) == 0
                   ? WEIR_OK
                   : weir_fail(err, WEIR_INVALID, "the record has no time; name it with `time`");
    }
    struct weir_value value;
    weir_status status = weir_expr_value(run, &config->time, record, &value, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (weir_value_kind(value) == WEIR_KIND_STRING) {
        struct weir_slice text = weir_value_text(value);
        bool by_pattern = self->time_format == WINDOW_TIME_PATTERN;
        bool is_time = by_pattern ? parse_pattern(text, config->time_format, ret_ms)
                                  : weir_parse_rfc3339(text, ret_ms);
        return is_time ? WEIR_OK
                       : weir_fail(err, WEIR_INVALID, "\"%.*s\" is no time (%s)",
                                   (int)(text.size < 40 ? text.size : 40), text.data,
                                   by_pattern ? config->time_format : "RFC 3339");
    }
    if (self->time_format > WINDOW_TIME_NS) {
        return weir_fail(err, WEIR_INVALID, "the time is a %s, not a text",
                         weir_value_kind_name(value));
    }
    double number = weir_value_double(value);
    static const double scales[] = {[WINDOW_TIME_MS] = 1,
                                    [WINDOW_TIME_S] = 1000,
                                    [WINDOW_TIME_US] = 1e-3,
                                    [WINDOW_TIME_NS] = 1e-6};
    double ms = number * scales[self->time_format];
    if (weir_value_kind(value) != WEIR_KIND_NUMBER || !(ms > -9e15 && ms < 9e15)) {
        return weir_fail(err, WEIR_INVALID, "the time is a %s, not a number or a text",
                         weir_value_kind_name(value));
    }
    *ret_ms = (int64_t)ms - (ms < 0 && (double)(int64_t)ms != ms);
    return WEIR_OK;
}

static weir_status group_of(const struct window *self,
                            struct weir_run *run,
                            struct weir_record *record,
                            struct weir_slice *ret_group,
                            struct weir_err *err)
{
    weir_status status = WEIR_OK;
    struct weir_value value = weir_value_null();
    if (self->config->key.program != NULL) {
        status = weir_expr_value(run, &self->config->key, record, &value, err);
    } else if (record->key.data != NULL) {
        value = weir_value_string(record->key);
    }
    if (status != WEIR_OK) {
        return status;
    }
    struct weir_strbuf *text = weir_run_scratch(run);
    weir_value_write(value, text, 0);
    if (text->failed || text->size > GROUP_MAX) {
        return weir_fail(err, WEIR_TOO_LARGE, "the key is too long");
    }
    *ret_group = weir_arena_copy(weir_batch_arena(weir_run_batch(run)), weir_strbuf_view(text));
    return ret_group->data == NULL ? weir_fail(err, WEIR_LIMIT, "the batch has no memory left")
                                   : WEIR_OK;
}

/* What a record says, whatever the state knows. Sets `record` when it succeeds. */
static weir_status window_read(const struct window *self,
                               struct weir_run *run,
                               struct weir_record *record,
                               struct window_input *in,
                               struct weir_err *err)
{
    in->run = run;
    in->state = weir_run_state(run);
    in->record = NULL;
    in->late = 0;
    in->taken = false;
    weir_status status = time_of(self, run, record, &in->time_ms, err);
    if (status == WEIR_OK) {
        status = group_of(self, run, record, &in->group, err);
    }
    if (status == WEIR_OK) {
        status = aggregates_read(&self->aggregates, run, record, in->time_ms, &in->values, err);
    }
    in->record = status == WEIR_OK ? record : NULL;
    return status;
}

/* Tumbling windows alone: of the others, what a record needs is more often in the cache, and is
 * found in several steps. */
static bool window_ahead(const void *instance,
                         struct weir_run *run,
                         struct weir_record *const *records,
                         size_t count,
                         void *rooms)
{
    const struct window *self = instance;
    struct window_input *in = rooms;
    if (self->kind != WINDOW_TUMBLING) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_err ignored; /* apply() will find it too */
        weir_err_clear(&ignored);
        if (window_read(self, run, records[i], &in[i], &ignored) == WEIR_OK) {
            char room[PANE_KEY_MAX];
            int64_t id = window_tumbling_id(self, in[i].time_ms);
            in[i].place = weir_state_prefetch(in[i].state, window_pane_key(room, id, in[i].group));
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (in[i].record != NULL) {
            weir_state_prefetch_entry(in[i].state, in[i].place);
        }
    }
    return true;
}

typedef bool (*add_function)(const struct window *, struct window_input *);

static const add_function add_functions[] = {
    [WINDOW_TUMBLING] = window_tumbling_add, [WINDOW_SLIDING] = window_sliding_add,
    [WINDOW_EVENT] = window_event_add,       [WINDOW_SESSION] = window_session_add,
    [WINDOW_COUNT] = window_count_add,
};

/* Whoever has something already may go on; tumbling windows look for themselves. */
static bool window_has_room(const struct window *self, const struct window_input *in)
{
    char room[PANE_KEY_MAX];
    return !window_is_full(self, in->state) || self->kind == WINDOW_TUMBLING ||
           weir_state_find(in->state, window_group_key(room, in->group)) != NULL;
}

static weir_status
window_apply(void *instance, struct weir_run *run, struct weir_record *record, struct weir_err *err)
{
    const struct window *self = instance;
    struct window_input own, *in = weir_run_ahead(run);
    if (in == NULL || in->record != record) {
        in = &own;
        weir_status status = window_read(self, run, record, in, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    in->clock = weir_state_clock(in->state);
    bool moves = !self->ctx->marked && in->time_ms > in->clock;
    in->clock = moves ? in->time_ms : in->clock;
    if (!window_has_room(self, in) || !add_functions[self->kind](self, in)) {
        return weir_fail(err, WEIR_LIMIT, "the state has no room for another key");
    }
    if (in->late > 0) {
        weir_run_missed(run, in->late);
    }
    if (in->taken) {
        weir_run_absorbed(run);
    } else if (in->late > 0) {
        weir_run_late(run);
        if (self->has_late_sink && !weir_emit_to(run, self->late_sink, record)) {
            return weir_fail(err, WEIR_LIMIT, "the batch has no memory left");
        }
    }
    if (!moves) {
        return WEIR_OK;
    }
    weir_state_set_clock(in->state, in->time_ms);
    return window_close_due(self, run, in->time_ms, err);
}

static weir_status window_route(void *instance,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_route *ret_route,
                                struct weir_err *err)
{
    const struct window *self = instance;
    weir_status status = time_of(self, run, record, &ret_route->time_ms, err);
    ret_route->has_time = true;
    return status == WEIR_OK ? group_of(self, run, record, &ret_route->key, err) : status;
}

static weir_duration window_idle_timeout(const void *instance)
{
    return ((const struct window *)instance)->config->idle_timeout;
}

/* --- the component -----------------------------------------------------------------------------*/

static int64_t gcd(int64_t a, int64_t b)
{
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* 0: none. */
static int time_format_of(const char *text)
{
    static const char *const names[] = {"ms", "s", "us", "ns", "rfc3339"};
    for (int i = 0; i < 5; i++) {
        if (strcmp(text, names[i]) == 0) {
            return WINDOW_TIME_MS + i;
        }
    }
    return strchr(text, '%') != NULL ? WINDOW_TIME_PATTERN : 0;
}

static weir_status window_check(const void *config_, struct weir_err *err)
{
    const struct window_config *config = config_;
    weir_status status = aggregates_check(&config->aggregate, err);
    if (status == WEIR_OK && config->count != NULL && config->count->every > 0 &&
        config->count->size % config->count->every != 0) {
        status = weir_fail(err, WEIR_CONFIG, "`size` must be a multiple of `every`");
        weir_err_path(err, "count");
    }
    if (status == WEIR_OK && config->emit.discard &&
        (config->sliding != NULL || (config->count != NULL && config->count->every > 0))) {
        status = weir_fail(err, WEIR_CONFIG, "windows that overlap cannot begin anew (discard)");
        weir_err_path(err, "emit");
    }
    if (status == WEIR_OK && !config->emit.close && config->emit.when != WINDOW_WHEN_UPDATE &&
        config->emit.when != WINDOW_WHEN_BOTH && config->emit.every == 0 &&
        config->emit.count == 0) {
        status = weir_fail(err, WEIR_CONFIG, "no result would ever come out");
        weir_err_path(err, "emit");
    }
    if (status == WEIR_OK && time_format_of(config->time_format) == 0) {
        status =
            weir_fail(err, WEIR_CONFIG, "\"%.40s\" is no format of times", config->time_format);
        weir_err_hint(err,
                      "Write ms, s, us, ns, rfc3339, or a pattern such as '%%Y-%%m-%%d %%H:%%M'.");
        weir_err_path(err, "time_format");
    }
    if (status == WEIR_OK && config->tumbling != NULL && config->tumbling->timezone != NULL) {
        struct zone *zone = zone_open(config->tumbling->timezone, err);
        status = zone == NULL ? err->status : WEIR_OK;
        zone_close(zone);
        if (zone == NULL) {
            weir_err_path(err, "tumbling");
        }
    }
    bool overlaps = config->sliding != NULL || config->session != NULL ||
                    (config->count != NULL && config->count->every > 0);
    for (size_t i = 0; status == WEIR_OK && overlaps && i < config->aggregate.count; i++) {
        const struct weir_call *call = &config->aggregate.items[i];
        if (strcmp(aggregate_callables[call->function].name, "reduce") == 0 &&
            call->arg_count < 3) {
            status = weir_fail(err, WEIR_CONFIG,
                               "reduce needs a third argument here: windows are "
                               "merged of parts");
            weir_err_hint(
                err, "Write how two states become one: reduce(0; .state + .value.n; .a + .b).");
            weir_err_path(err, "aggregate");
        }
    }
    return status;
}

static const char *window_side_sink(const void *config, const char **ret_path)
{
    const struct window_late *late = &((const struct window_config *)config)->late;
    *ret_path = late->to != NULL ? "late.to" : "late";
    return late->to != NULL                        ? late->to
           : late->what == WINDOW_LATE_DEAD_LETTER ? "dead_letter"
                                                   : NULL;
}

static void window_fix_kind(struct window *self)
{
    const struct window_config *config = self->config;
    if (config->tumbling != NULL) {
        bool week = config->tumbling->calendar == WINDOW_WEEK;
        int64_t day = INT64_C(86400000);
        self->kind = WINDOW_TUMBLING;
        self->size = config->tumbling->size > 0 ? config->tumbling->size : week ? 7 * day : day;
        self->offset =
            config->tumbling->offset + (week ? 4 * day : 0); /* 1970 began on a Thursday */
    } else if (config->sliding != NULL) {
        self->kind = config->sliding->every > 0 ? WINDOW_SLIDING : WINDOW_EVENT;
        self->size = config->sliding->size;
        self->every = config->sliding->every;
        self->offset = config->sliding->offset;
        self->slice = self->every > 0 ? gcd(self->size, self->every) : 1;
    } else if (config->session != NULL) {
        self->kind = WINDOW_SESSION;
        self->gap = config->session->gap;
        self->session_max = config->session->max > 0 ? config->session->max : INT64_MAX / 2;
    } else {
        self->kind = WINDOW_COUNT;
        self->size = config->count->size;
        self->every = config->count->every > 0 ? config->count->every : self->size;
        self->slice = self->every;
    }
}

static weir_status
window_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct window *self = instance;
    self->config = config;
    self->ctx = ctx;
    window_fix_kind(self);
    self->time_format = time_format_of(self->config->time_format);
    if (self->config->tumbling != NULL && self->config->tumbling->timezone != NULL) {
        self->zone = zone_open(self->config->tumbling->timezone, err);
        if (self->zone == NULL) {
            return err->status;
        }
    }
    self->emits_final = self->config->emit.close && self->config->emit.when != WINDOW_WHEN_UPDATE;
    self->emits_updates = self->config->emit.when != WINDOW_WHEN_CLOSE;
    const char *path, *late = window_side_sink(config, &path);
    self->has_late_sink = late != NULL && weir_ctx_sink(ctx, late, &self->late_sink);
    if (late != NULL && !self->has_late_sink) {
        return weir_fail(err, WEIR_CONFIG, "late: there is no sink \"%s\"", late);
    }
    weir_status status = aggregates_open(&self->aggregates, &self->config->aggregate, err);
    self->folds = status == WEIR_OK && aggregates_are_fixed(&self->aggregates);
    return status;
}

static void window_close(void *instance)
{
    struct window *self = instance;
    zone_close(self->zone);
    aggregates_close(&self->aggregates);
}

/* A pane: the key, what it spans, how many records it has. A directory: the key. */
static void window_show(struct weir_slice key, struct weir_slice value, struct weir_strbuf *out)
{
    size_t head = key.data[0] == 'k' ? 1 : 9;
    if (key.size <= head || (key.data[0] != 'p' && key.data[0] != 'k' && key.data[0] != 'b')) {
        return;
    }
    weir_strbuf_text(out, "\"key\":");
    weir_strbuf_append(out, key.data + head, key.size - head);
    if (key.data[0] == 'p' && value.size >= sizeof(struct pane)) {
        struct pane pane;
        memcpy(&pane, value.data, sizeof(pane));
        weir_strbuf_printf(out, ",\"start\":%lld,\"first\":%lld,\"last\":%lld,\"records\":%lld",
                           (long long)pane.start, (long long)pane.first, (long long)pane.last,
                           (long long)pane.records);
    }
}

static const struct weir_step_ops window_ops = {
    .apply = window_apply,
    .ahead = window_ahead,
    .ahead_bytes = sizeof(struct window_input),
    .advance = window_advance,
    .marks = true,
    .tick = window_tick,
    .show = window_show,
    .route = window_route,
    .idle_timeout = window_idle_timeout,
};

/* Grace, output and lateness may change with state there; what belongs to which window may not. */
static uint32_t window_layout(const void *config)
{
    const struct window_config *self = config;
    uint32_t layout = aggregates_layout(&self->aggregate);
    if (self->tumbling != NULL) {
        layout = aggregates_mix(layout, 1);
        layout = aggregates_mix(layout, self->tumbling->size);
        layout = aggregates_mix(layout, self->tumbling->offset);
        layout = aggregates_mix(layout, self->tumbling->calendar);
        const char *zone = self->tumbling->timezone == NULL ? "" : self->tumbling->timezone;
        for (; *zone != '\0'; zone++) {
            layout = aggregates_mix(layout, *zone);
        }
    } else if (self->sliding != NULL) {
        layout = aggregates_mix(layout, 5); /* 2 before slices were merged ahead */
        layout = aggregates_mix(layout, self->sliding->size);
        layout = aggregates_mix(layout, self->sliding->every);
        layout = aggregates_mix(layout, self->sliding->offset);
    } else if (self->session != NULL) {
        layout = aggregates_mix(layout, 3);
        layout = aggregates_mix(layout, self->session->gap);
    } else if (self->count != NULL) {
        layout = aggregates_mix(layout, 4);
        layout = aggregates_mix(layout, self->count->size);
        layout = aggregates_mix(layout, self->count->every);
    }
    return layout;
}

const struct weir_component weir_component_window_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "window",
            .summary = "Aggregates records per key and window of time.",
            .help =
                "A result is `{\"key\":…,\"window\":{\"start\":ms,\"end\":ms,\"kind\":…},…}` with "
                "the "
                "aggregates behind; `kind` is `final`, `early`, `correction` (an early result that "
                "comes after the window's end, while `grace` lasts), or `retraction` (of an early "
                "result of a session that has grown). Its key is the window's key, its time the "
                "window's "
                "last "
                "instant.\n\n"
                "Time is that of the source partition: the greatest event time it has seen. A "
                "window "
                "closes when that reaches its end plus `grace`; what comes later for it is late.",
            .example =
                "window: {tumbling: 1m, key: .country, time: .created_at, aggregate: {orders: "
                "count, revenue: sum(.amount)}}",
            .fields = window_fields,
            .rules = window_rules,
            .config_size = sizeof(struct window_config),
        },
    .self_size = sizeof(struct window),
    .deterministic = true,
    .stateful = true,
    .state_version = 3,
    .state_layout = window_layout,
    .open = window_open,
    .close = window_close,
    .check = window_check,
    .side_sink = window_side_sink,
    .ops = {.step = &window_ops},
};

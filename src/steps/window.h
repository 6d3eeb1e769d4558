/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the window step: its configuration, and what the kinds of windows share.
 *
 * Keys of the state, all followed by the group's key as JSON text:
 *     'p' u64   a pane (aggregates.h): a window, a slice of sliding windows, a session
 *     'b' u64   the back of sliding windows (window_sliding.c); the number is INT64_MAX
 *     'v' …     what an aggregate keeps outside of its pane
 *     'k'       the directory of a group: which panes it has, for all kinds but tumbling
 * and alone:
 *     'i'       when the clock was last seen to move, for idle_timeout
 */
#ifndef WEIR_STEPS_WINDOW_H
#define WEIR_STEPS_WINDOW_H

#include "aggregates.h"

enum window_kind { WINDOW_TUMBLING, WINDOW_SLIDING, WINDOW_EVENT, WINDOW_SESSION, WINDOW_COUNT };

struct window_tumbling {
    weir_duration size, offset;
    int calendar; /* 0: none */
    const char *timezone;
};

struct window_sliding {
    weir_duration size, every; /* every == 0: one window ends at each event, Kafka's way */
    weir_duration offset;
};

struct window_session {
    weir_duration gap, max;
};

struct window_count {
    int64_t size, every;
};

struct window_emit {
    int when;
    bool close;
    weir_duration every;
    int64_t count;
    bool discard;
};

struct window_late {
    int what;
    const char *to;
};

struct window_config {
    struct window_tumbling *tumbling;
    struct window_sliding *sliding;
    struct window_session *session;
    struct window_count *count;
    struct weir_expr key, time, having;
    const char *time_format;
    int clock;
    weir_duration grace, idle_timeout;
    int64_t max_entries;
    struct window_late late;
    struct window_emit emit;
    struct weir_calls aggregate;
};

enum { WINDOW_WHEN_CLOSE = 1, WINDOW_WHEN_UPDATE, WINDOW_WHEN_BOTH };
enum {
    WINDOW_TIME_MS = 1,
    WINDOW_TIME_S,
    WINDOW_TIME_US,
    WINDOW_TIME_NS,
    WINDOW_TIME_RFC3339,
    WINDOW_TIME_PATTERN,
};
enum { WINDOW_CLOCK_EVENT = 1, WINDOW_CLOCK_PROCESSING };
enum { WINDOW_LATE_DROP = 1, WINDOW_LATE_DEAD_LETTER, WINDOW_LATE_TO };
enum { WINDOW_DAY = 1, WINDOW_WEEK, WINDOW_MONTH };

struct window {
    const struct window_config *config;
    struct weir_ctx *ctx;
    enum window_kind kind;
    struct aggregates aggregates;
    int64_t size, every, slice, offset, gap, session_max;
    bool emits_final, emits_updates;
    bool folds;        /* slices of sliding windows are merged before they are needed */
    int time_format;   /* of numbers; texts: RFC 3339, or WINDOW_TIME_PATTERN */
    struct zone *zone; /* of the calendar; NULL: UTC */
    bool has_late_sink;
    unsigned late_sink;
};

/* The fixed part of a pane's value; the slots follow. */
struct pane {
    int64_t start, last; /* first instant of the window; of the greatest event time in it */
    int64_t first;       /* least event time in it */
    int64_t records;
    int64_t since;     /* records since the last early result */
    int64_t shown_end; /* of the last early result; INT64_MIN: none */
};

/* One record on its way into the windows. */
struct window_input {
    struct weir_run *run;
    struct weir_state *state;
    struct weir_record *record;
    struct weir_slice group; /* JSON text of the key */
    int64_t time_ms, clock;
    size_t late;    /* windows that it missed */
    bool taken;     /* by one at least */
    uint32_t place; /* in the state, of what it will be looked up by */
    struct aggregate_values values;
};
_Static_assert(sizeof(struct window_input) % 16 == 0, "they lie one behind the other");

static inline int64_t window_add(int64_t a, int64_t b)
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? (b < 0 ? INT64_MIN + 1 : INT64_MAX - 1) : sum;
}

/* Is what can take nothing from `end` on closed at that clock? */
static inline bool window_is_closed(const struct window *self, int64_t end, int64_t clock)
{
    return clock >= window_add(end, self->config->grace);
}

/* Greatest multiple of `size` (plus offset) that is ≤ t; also for negative times. */
static inline int64_t window_floor(int64_t t, int64_t size, int64_t offset)
{
    int64_t rest = (t - offset) % size;
    return t - (rest < 0 ? rest + size : rest);
}

/* Has the state as many entries as it may? */
static inline bool window_is_full(const struct window *self, const struct weir_state *state)
{
    int64_t most = self->config->max_entries;
    return most > 0 && weir_state_count(state) >= (size_t)most;
}

/* Keys of entries; the room must hold PANE_KEY_MAX bytes. */
struct weir_slice window_pane_key(char *room, int64_t id, struct weir_slice group);
struct weir_slice window_group_key(char *room, struct weir_slice group);

/* The pane, made if need be; NULL and err when it cannot be. */
struct weir_entry *window_pane(const struct window *self,
                               struct weir_state *state,
                               int64_t id,
                               struct weir_slice group,
                               int64_t start,
                               int64_t t,
                               bool *ret_new);
/* Adds the record to a pane; notes its time. */
void window_pane_add(const struct window *self, struct window_input *in, struct weir_entry *entry);
/* The same for what the pane is merged of: the aggregates alone. */
void window_pane_count(const struct window *self,
                       struct window_input *in,
                       struct weir_entry *entry);
void window_pane_drop(const struct window *self, struct weir_run *run, struct weir_entry *entry);
char *window_slots(void *pane);

/* What a result says of its window. */
struct window_result {
    struct weir_slice group;
    int64_t start, end, time_ms;
    const char *kind;
};
/* Emits one; slots == NULL: a retraction. */
void window_emit(const struct window *self,
                 struct weir_run *run,
                 const struct window_result *result,
                 struct weir_slice pane,
                 const char *slots);
/* Is a pane that just got a record to be shown early? */
bool window_is_early(const struct window *self, const struct pane *pane);
/* What an early result is called: one that comes after the end corrects it, while grace lasts. */
const char *window_early_kind(int64_t end, int64_t clock);
/* A pane that was shown: nothing new is in it, and with `discard` nothing at all. */
void window_pane_shown(const struct window *self, struct weir_run *run, struct weir_entry *entry);

/* --- kinds -------------------------------------------------------------------------------------*/

/* Takes a record in. False: no room in the state. */
bool window_tumbling_add(const struct window *self, struct window_input *in);
/* The window of that time, as its pane is called. */
int64_t window_tumbling_id(const struct window *self, int64_t t);
bool window_sliding_add(const struct window *self, struct window_input *in);
bool window_event_add(const struct window *self, struct window_input *in);
bool window_session_add(const struct window *self, struct window_input *in);
bool window_count_add(const struct window *self, struct window_input *in);
/* An entry's timer has come. */
void window_tumbling_due(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_sliding_due(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_event_due(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_session_due(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_count_due(const struct window *self, struct weir_run *run, struct weir_entry *entry);
/* Shows early results of what an entry has: a pane (tumbling, session), or a directory. */
void window_tumbling_show(const struct window *self,
                          struct weir_run *run,
                          struct weir_entry *entry);
void window_sliding_show(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_event_show(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_session_show(const struct window *self, struct weir_run *run, struct weir_entry *entry);
void window_count_show(const struct window *self, struct weir_run *run, struct weir_entry *entry);

#endif

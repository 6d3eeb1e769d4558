/* SPDX-License-Identifier: Apache-2.0
 *
 * Tumbling, session and count windows. A tumbling window is its pane. A session is a pane that the
 * group's directory points at; two that a record brings together become one, and what had been
 * shown of either is taken back. Count windows are made of panes of `every` records.
 */
#include <string.h>

#include "window.h"
#include "zone.h"

/* --- tumbling ----------------------------------------------------------------------------------*/

#define DAY INT64_C(86400000)

/* Days since 1970 of the first of a month; months count from year 0. Proleptic Gregorian calendar
 * (H. Hinnant, chrono-compatible low-level date algorithms). */
static int64_t month_day(int64_t months)
{
    int64_t year = window_floor(months, 12, 0) / 12, month = months - year * 12;
    year -= month < 2;
    int64_t era = window_floor(year, 400, 0) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * ((month + 10) % 12) + 2) / 5;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t month_of(int64_t day)
{
    int64_t months = (day * 400 / 146097 + 1970) * 12;
    while (month_day(months) > day) {
        months--;
    }
    while (month_day(months + 1) <= day) {
        months++;
    }
    return months;
}

/* The first day of the unit, counted from one that began before 1970. */
static int64_t unit_day(const struct window *self, int64_t unit)
{
    int calendar = self->config->tumbling->calendar;
    return calendar == WINDOW_MONTH  ? month_day(unit)
           : calendar == WINDOW_WEEK ? unit * 7 - 3 /* 1970 began on a Thursday */
                                     : unit;
}

static int64_t unit_of(const struct window *self, int64_t day)
{
    int calendar = self->config->tumbling->calendar;
    return calendar == WINDOW_MONTH  ? month_of(day)
           : calendar == WINDOW_WEEK ? window_floor(day + 3, 7, 0) / 7
                                     : day;
}

/* A unit begins when the clocks there first show its first day at `offset`. */
static void zone_bounds(const struct window *self, int64_t t, int64_t *start, int64_t *end)
{
    int64_t offset = self->config->tumbling->offset;
    int64_t local = t + zone_offset_ms(self->zone, t) - offset;
    int64_t unit = unit_of(self, window_floor(local, DAY, 0) / DAY) + 1;
    do { /* clocks that were set back show a day twice: it is the first time that counts */
        *start = zone_first_ms(self->zone, unit_day(self, unit) * DAY + offset);
    } while (*start > t && unit-- > INT64_MIN);
    *end = zone_first_ms(self->zone, unit_day(self, unit + 1) * DAY + offset);
}

static void tumbling_bounds(const struct window *self, int64_t t, int64_t *start, int64_t *end)
{
    const struct window_tumbling *config = self->config->tumbling;
    if (self->zone != NULL) {
        zone_bounds(self, t, start, end);
        return;
    }
    if (config->calendar == WINDOW_MONTH) {
        int64_t month = month_of(window_floor(t - self->offset, DAY, 0) / DAY);
        *start = month_day(month) * DAY + self->offset;
        *end = month_day(month + 1) * DAY + self->offset;
        return;
    }
    *start = window_floor(t, self->size, self->offset);
    *end = window_add(*start, self->size);
}

static struct window_result tumbling_result(const struct window *self,
                                            const struct pane *pane,
                                            struct weir_slice key,
                                            const char *kind)
{
    int64_t start, end;
    tumbling_bounds(self, pane->start, &start, &end);
    return (struct window_result){
        .group = {key.data + 9, key.size - 9},
        .start = start,
        .end = end,
        .time_ms = end - 1,
        .kind = kind,
    };
}

int64_t window_tumbling_id(const struct window *self, int64_t t)
{
    int64_t start, end;
    tumbling_bounds(self, t, &start, &end);
    return start;
}

bool window_tumbling_add(const struct window *self, struct window_input *in)
{
    int64_t start, end;
    tumbling_bounds(self, in->time_ms, &start, &end);
    if (window_is_closed(self, end, in->clock)) {
        in->late++;
        return true;
    }
    char room[PANE_KEY_MAX];
    bool is_new;
    if (window_is_full(self, in->state) &&
        weir_state_find(in->state, window_pane_key(room, start, in->group)) == NULL) {
        return false;
    }
    struct weir_entry *entry =
        window_pane(self, in->state, start, in->group, start, in->time_ms, &is_new);
    if (entry == NULL) {
        return false;
    }
    if (is_new) {
        weir_state_set_timer(in->state, entry, window_add(end, self->config->grace));
    }
    window_pane_add(self, in, entry);
    if (window_is_early(self, weir_state_edit(in->state, entry))) {
        window_tumbling_show(self, in->run, entry);
    }
    return true;
}

void window_tumbling_show(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    struct pane *pane = weir_state_edit(state, entry);
    struct weir_slice key = weir_entry_key(entry);
    struct window_result result = tumbling_result(self, pane, key, "early");
    result.kind = window_early_kind(result.end, weir_state_clock(state));
    window_emit(self, run, &result, key, window_slots(pane));
    pane->shown_end = result.end;
    window_pane_shown(self, run, entry);
}

void window_tumbling_due(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
    struct weir_slice key = weir_entry_key(entry);
    if (self->emits_final) {
        struct window_result result = tumbling_result(self, pane, key, "final");
        window_emit(self, run, &result, key, window_slots((void *)(uintptr_t)pane));
    }
    window_pane_drop(self, run, entry);
}

/* --- sessions ----------------------------------------------------------------------------------*/

/* The directory of a group: its open sessions, by their last event. */
struct session {
    int64_t id, start, last;
};

static struct session *sessions_of(struct weir_entry *directory, size_t *ret_count)
{
    struct weir_slice value = weir_entry_value(directory);
    *ret_count = value.size / sizeof(struct session);
    return (struct session *)(uintptr_t)(const void *)value.data;
}

static struct weir_entry *
session_pane(struct weir_state *state, int64_t id, struct weir_slice group)
{
    char room[PANE_KEY_MAX];
    return weir_state_find(state, window_pane_key(room, id, group));
}

static void session_retract(const struct window *self,
                            struct weir_run *run,
                            struct weir_slice group,
                            struct pane *pane,
                            struct weir_slice key)
{
    if (pane->shown_end == INT64_MIN) {
        return;
    }
    const struct window_result result = {
        .group = group,
        .start = pane->start,
        .end = pane->shown_end,
        .time_ms = pane->shown_end - 1,
        .kind = "retraction",
    };
    window_emit(self, run, &result, key, NULL);
    pane->shown_end = INT64_MIN;
}

/* Takes out the sessions that the record touches; what they become together. */
static struct session session_gather(const struct window *self,
                                     const struct window_input *in,
                                     const struct session *sessions,
                                     size_t count,
                                     bool *touched)
{
    struct session merged = {.id = in->time_ms, .start = in->time_ms, .last = in->time_ms};
    bool has_id = false;
    for (size_t i = 0; i < count; i++) {
        const struct session *one = &sessions[i];
        int64_t start = one->start < merged.start ? one->start : merged.start;
        int64_t last = one->last > merged.last ? one->last : merged.last;
        touched[i] = one->last >= in->time_ms - self->gap &&
                     one->start <= in->time_ms + self->gap && last - start <= self->session_max;
        if (touched[i]) {
            merged.start = start;
            merged.last = last;
            merged.id = has_id ? merged.id : one->id;
            has_id = true;
        }
    }
    return merged;
}

/* Panes of touched sessions become that of the merged one. False: no room. */
static struct weir_entry *session_merge(const struct window *self,
                                        struct window_input *in,
                                        const struct session *sessions,
                                        size_t count,
                                        const bool *touched,
                                        const struct session *merged)
{
    bool is_new;
    struct weir_entry *entry =
        window_pane(self, in->state, merged->id, in->group, merged->start, in->time_ms, &is_new);
    for (size_t i = 0; i < count && entry != NULL; i++) {
        if (!touched[i]) {
            continue;
        }
        struct weir_entry *other = session_pane(in->state, sessions[i].id, in->group);
        struct pane *old = weir_state_edit(in->state, other);
        if (sessions[i].start != merged->start || sessions[i].last != merged->last) {
            session_retract(self, in->run, in->group, old, weir_entry_key(other));
        }
        if (other != entry) {
            struct pane *pane = weir_state_edit(in->state, entry);
            aggregates_merge(&self->aggregates, in->run, weir_entry_key(entry), window_slots(pane),
                             weir_entry_key(other), window_slots(old));
            pane->records += old->records;
            pane->since += old->since;
            pane->first = old->first < pane->first ? old->first : pane->first;
            pane->last = old->last > pane->last ? old->last : pane->last;
            window_pane_drop(self, in->run, other);
        }
    }
    if (entry != NULL) {
        ((struct pane *)weir_state_edit(in->state, entry))->start = merged->start;
    }
    return entry;
}

bool window_session_add(const struct window *self, struct window_input *in)
{
    char room[PANE_KEY_MAX];
    bool is_new;
    struct weir_slice key = window_group_key(room, in->group);
    struct weir_entry *directory = weir_state_find(in->state, key);
    size_t count = 0;
    const struct session *sessions = directory == NULL ? NULL : sessions_of(directory, &count);
    bool *touched = weir_arena_calloc(weir_batch_arena(weir_run_batch(in->run)), count + 1, 1);
    if (touched == NULL) {
        return false;
    }
    struct session merged = session_gather(self, in, sessions, count, touched);
    if (window_is_closed(self, window_add(merged.last, self->gap + 1), in->clock)) {
        in->late++;
        return true;
    }
    if (directory == NULL) {
        directory = weir_state_put(in->state, key, 0, &is_new);
    }
    struct weir_entry *entry =
        directory == NULL ? NULL : session_merge(self, in, sessions, count, touched, &merged);
    if (entry == NULL) {
        return false;
    }
    struct session *kept = weir_state_resize(in->state, directory, (count + 1) * sizeof(*kept));
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        if (!touched[i]) {
            kept[left++] = kept[i];
        }
    }
    size_t at = left++;
    for (; at > 0 && kept[at - 1].last > merged.last; at--) {
        kept[at] = kept[at - 1];
    }
    kept[at] = merged;
    (void)weir_state_resize(in->state, directory, left * sizeof(*kept));
    weir_state_set_timer(in->state, entry,
                         window_add(window_add(merged.last, self->gap + 1), self->config->grace));
    window_pane_add(self, in, entry);
    if (window_is_early(self, weir_state_edit(in->state, entry))) {
        window_session_show(self, in->run, entry);
    }
    return true;
}

static struct window_result session_result(const struct window *self,
                                           const struct pane *pane,
                                           struct weir_slice key,
                                           const char *kind)
{
    int64_t end = window_add(pane->last, self->gap);
    return (struct window_result){
        .group = {key.data + 9, key.size - 9},
        .start = pane->start,
        .end = end,
        .time_ms = end,
        .kind = kind,
    };
}

void window_session_show(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    struct pane *pane = weir_state_edit(state, entry);
    struct weir_slice key = weir_entry_key(entry);
    struct window_result result = session_result(self, pane, key, "early");
    result.kind = window_early_kind(result.end, weir_state_clock(state));
    window_emit(self, run, &result, key, window_slots(pane));
    /* What adds up is not taken back. */
    pane->shown_end = self->config->emit.discard ? INT64_MIN : result.end;
    window_pane_shown(self, run, entry);
}

void window_session_due(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
    struct weir_slice key = weir_entry_key(entry);
    struct window_result result = session_result(self, pane, key, "final");
    if (self->emits_final) {
        window_emit(self, run, &result, key, window_slots((void *)(uintptr_t)pane));
    }
    char room[PANE_KEY_MAX];
    struct weir_entry *directory = weir_state_find(state, window_group_key(room, result.group));
    size_t count, left = 0;
    (void)sessions_of(directory, &count);
    struct session *kept = weir_state_edit(state, directory);
    for (size_t i = 0; i < count; i++) {
        if (kept[i].start != pane->start || kept[i].last != pane->last) {
            kept[left++] = kept[i];
        }
    }
    if (left == 0) {
        weir_state_drop(state, directory);
    } else {
        (void)weir_state_resize(state, directory, left * sizeof(*kept));
    }
    window_pane_drop(self, run, entry);
}

/* --- count -------------------------------------------------------------------------------------*/

/* The directory of a group. */
struct counted {
    int64_t records; /* ever */
};

/* The records [first, last) in panes of `slice`; the panes before `keep` are dropped afterwards. */
static void count_emit(const struct window *self,
                       struct weir_run *run,
                       struct weir_slice group,
                       int64_t first,
                       int64_t last,
                       const char *kind)
{
    struct weir_state *state = weir_run_state(run);
    char room[PANE_KEY_MAX], merged_room[PANE_KEY_MAX];
    struct weir_slice merged_key = window_pane_key(merged_room, INT64_MIN, group);
    merged_room[0] = 't';
    struct pane whole = {.first = INT64_MAX, .last = INT64_MIN, .shown_end = INT64_MIN};
    char *slots =
        weir_arena_calloc(weir_batch_arena(weir_run_batch(run)), 1, self->aggregates.size + 8);
    for (int64_t at = first; at < last && slots != NULL; at += self->slice) {
        struct weir_entry *entry =
            weir_state_find(state, window_pane_key(room, at / self->slice, group));
        if (entry == NULL) {
            continue;
        }
        const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
        whole.first = pane->first < whole.first ? pane->first : whole.first;
        whole.last = pane->last > whole.last ? pane->last : whole.last;
        whole.records += pane->records;
        aggregates_merge(&self->aggregates, run, merged_key, slots, weir_entry_key(entry),
                         window_slots((void *)(uintptr_t)pane));
    }
    if (whole.records > 0) {
        const struct window_result result = {
            .group = group,
            .start = whole.first,
            .end = whole.last,
            .time_ms = whole.last,
            .kind = kind,
        };
        window_emit(self, run, &result, merged_key, slots);
    }
    aggregates_drop(&self->aggregates, run, merged_key);
}

static void
count_drop(const struct window *self, struct weir_run *run, struct weir_slice group, int64_t pane)
{
    char room[PANE_KEY_MAX];
    struct weir_entry *entry =
        weir_state_find(weir_run_state(run), window_pane_key(room, pane, group));
    if (entry != NULL) {
        window_pane_drop(self, run, entry);
    }
}

bool window_count_add(const struct window *self, struct window_input *in)
{
    char room[PANE_KEY_MAX];
    bool is_new;
    struct weir_entry *directory = weir_state_put(in->state, window_group_key(room, in->group),
                                                  sizeof(struct counted), &is_new);
    if (directory == NULL) {
        return false;
    }
    struct counted *counted = weir_state_edit(in->state, directory);
    if (is_new) { /* comes up when the input ends */
        weir_state_set_timer(in->state, directory, INT64_MAX - 1);
    }
    struct weir_entry *entry = window_pane(self, in->state, counted->records / self->slice,
                                           in->group, in->time_ms, in->time_ms, &is_new);
    if (entry == NULL) {
        return false;
    }
    window_pane_add(self, in, entry);
    int64_t records = ++counted->records;
    if (records % self->every == 0 && records >= self->size) {
        if (self->emits_final) {
            count_emit(self, in->run, in->group, records - self->size, records, "final");
        }
        ((struct pane *)weir_state_edit(in->state, entry))->since = 0;
        count_drop(self, in->run, in->group, (records - self->size) / self->slice);
    } else if (window_is_early(self, weir_state_edit(in->state, entry))) {
        window_count_show(self, in->run, directory);
    }
    return true;
}

/* The first record of the window that closes next. */
static int64_t count_first(const struct window *self, int64_t records)
{
    int64_t first = window_floor(records, self->every, 0) - self->size + self->every;
    return first < 0 ? 0 : first;
}

void window_count_show(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    const struct counted *counted =
        (const struct counted *)(const void *)weir_entry_value(entry).data;
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    int64_t last = counted->records;
    char room[PANE_KEY_MAX];
    struct weir_entry *pane = weir_state_find(
        weir_run_state(run), window_pane_key(room, (last - 1) / self->slice, group));
    if (pane != NULL &&
        ((const struct pane *)(const void *)weir_entry_value(pane).data)->since > 0) {
        count_emit(self, run, group, count_first(self, last), last, "early");
        window_pane_shown(self, run, pane);
    }
}

void window_count_due(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    const struct counted *counted =
        (const struct counted *)(const void *)weir_entry_value(entry).data;
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    int64_t last = counted->records, first = count_first(self, last);
    if (self->emits_final && (last % self->every != 0 || last < self->size)) {
        count_emit(self, run, group, first, last, "final");
    }
    for (int64_t at = first; at < last; at += self->slice) {
        count_drop(self, run, group, at / self->slice);
    }
    weir_state_drop(weir_run_state(run), entry);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sliding windows by slices: a record goes into one pane, whatever size/every is, and a window is
 * merged of its panes when it closes (two-level aggregation; Li et al., "No pane, no gain", 2005).
 * For {size, every} a slice is as wide as their greatest common divisor; for {size}, Kafka's kind,
 * each event time is a slice, and windows are [t - size, t] and [t + 1, t + 1 + size] of each t
 * that have a record in them, both ends included.
 *
 * The directory of a group has its slices, in order, and the end of the next window to close, which
 * is its timer.
 *
 * So that a window costs the same however many slices it has, the slices of one that closes become
 * the front: the aggregates of each are merged with those of all behind it in the front, in place.
 * What comes behind the front is merged once into an entry of its own, the back, as windows close.
 * A window that begins in the front is then two of these, until the front is used up and the next
 * one is made: two stacks as a queue. Windows close in order of their begin, so nothing is ever
 * taken out of the middle; a record that is late for some of them is added to what has its slice.
 * Only aggregates of a fixed size do so: lists and sketches would be kept many times over.
 */
#include <string.h>

#include "window.h"

enum { PANES_AT_ONCE = 64, FRONT_LEAST = 4 /* fewer slices are merged as quickly */ };

/* The directory's value: the head, then the starts of the slices, ascending. */
struct slices {
    int64_t next_end;  /* of the next window */
    int64_t since;     /* records since the last early results; only if there are any by number */
    int64_t front_end; /* slices before it have all behind them up to it; INT64_MIN: no front */
    int64_t back_end;  /* the back has the slices between the two; the same: there is no back */
    int64_t starts[];
};

static size_t slice_count(const struct weir_entry *directory)
{
    return (weir_entry_value(directory).size - sizeof(struct slices)) / sizeof(int64_t);
}

static const struct slices *slices_of(const struct weir_entry *directory)
{
    return (const struct slices *)(const void *)weir_entry_value(directory).data;
}

/* The first slice that starts at or after it. */
static size_t slice_find(const struct weir_entry *directory, int64_t start)
{
    const struct slices *slices = slices_of(directory);
    size_t low = 0, high = slice_count(directory);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slices->starts[middle] < start) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct weir_slice back_key(char *room, struct weir_slice group)
{
    struct weir_slice key = window_pane_key(room, INT64_MAX, group);
    room[0] = 'b';
    return key;
}

static struct weir_entry *
slice_pane(struct weir_state *state, int64_t start, struct weir_slice group)
{
    char room[PANE_KEY_MAX];
    return weir_state_find(state, window_pane_key(room, start, group));
}

/* Merges the aggregates of two panes; what is said of the records stays each one's own. */
static void slice_merge(const struct window *self,
                        struct weir_run *run,
                        struct weir_entry *entry,
                        const struct weir_entry *from)
{
    aggregates_merge(&self->aggregates, run, weir_entry_key(entry),
                     window_slots(weir_state_edit(weir_run_state(run), entry)),
                     weir_entry_key(from),
                     window_slots((void *)(uintptr_t)weir_entry_value(from).data));
}

/* The record's slice, which is at that place, has been merged already: so the record comes to all
 * that it was merged into, and a new slice gets what the others of the front have. */
static void slice_add_merged(const struct window *self,
                             struct window_input *in,
                             const struct weir_entry *directory,
                             size_t at,
                             struct weir_entry *entry,
                             bool is_new)
{
    char room[PANE_KEY_MAX];
    const struct slices *slices = slices_of(directory);
    if (slices->starts[at] >= slices->front_end) {
        window_pane_count(self, in, weir_state_find(in->state, back_key(room, in->group)));
        return;
    }
    if (is_new && at + 1 < slice_count(directory) && slices->starts[at + 1] < slices->front_end) {
        slice_merge(self, in->run, entry, slice_pane(in->state, slices->starts[at + 1], in->group));
    }
    for (size_t i = 0; i < at; i++) {
        window_pane_count(self, in, slice_pane(in->state, slices->starts[i], in->group));
    }
}

static struct weir_entry *slice_directory(const struct window_input *in)
{
    char room[PANE_KEY_MAX];
    return weir_state_find(in->state, window_group_key(room, in->group));
}

/* Puts the record into its slice, and the slice into the directory; NULL: there is none yet.
 * Returns it; NULL: no room. */
static struct weir_entry *slice_add(const struct window *self,
                                    struct window_input *in,
                                    struct weir_entry *directory,
                                    int64_t start)
{
    char room[PANE_KEY_MAX];
    bool is_new = false, is_new_slice;
    if (directory == NULL) {
        directory = weir_state_put(in->state, window_group_key(room, in->group),
                                   sizeof(struct slices), &is_new);
    }
    struct weir_entry *entry = directory == NULL ? NULL
                                                 : window_pane(self, in->state, start, in->group,
                                                               start, in->time_ms, &is_new_slice);
    if (entry == NULL) {
        return NULL;
    }
    if (is_new) {
        struct slices *slices = weir_state_edit(in->state, directory);
        slices->next_end = INT64_MAX;
        slices->front_end = slices->back_end = INT64_MIN;
    }
    size_t at = 0;
    bool is_merged = start < slices_of(directory)->back_end;
    if (is_new_slice || is_merged) {
        at = slice_find(directory, start);
    }
    if (is_new_slice) {
        size_t count = slice_count(directory);
        struct slices *slices = weir_state_resize(in->state, directory,
                                                  sizeof(*slices) + (count + 1) * sizeof(int64_t));
        memmove(slices->starts + at + 1, slices->starts + at, (count - at) * sizeof(int64_t));
        slices->starts[at] = start;
    }
    if (is_merged) {
        slice_add_merged(self, in, directory, at, entry, is_new_slice);
    }
    window_pane_add(self, in, entry);
    return directory;
}

static void slice_plan(const struct window *self,
                       struct weir_state *state,
                       struct weir_entry *directory,
                       int64_t end,
                       int64_t closes)
{
    if (end < slices_of(directory)->next_end) {
        ((struct slices *)weir_state_edit(state, directory))->next_end = end;
        weir_state_set_timer(state, directory, window_add(closes, self->config->grace));
    }
}

/* After so many records of the key. */
static bool
slice_is_early(const struct window *self, struct weir_state *state, struct weir_entry *directory)
{
    if (self->config->emit.count == 0) {
        return false;
    }
    struct slices *slices = weir_state_edit(state, directory);
    if (++slices->since < self->config->emit.count) {
        return false;
    }
    slices->since = 0;
    return true;
}

/* The pane of a slice, if records came since it was shown; NULL otherwise. */
static struct weir_entry *slice_changed(struct weir_state *state,
                                        const struct weir_entry *directory,
                                        size_t index,
                                        struct weir_slice group)
{
    struct weir_entry *entry = slice_pane(state, slices_of(directory)->starts[index], group);
    const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
    return pane->since > 0 ? entry : NULL;
}

/* Finds the panes of slices from `first` on. They lie anywhere, and what is waited for is memory,
 * so all are asked for at once. */
static void slice_find_panes(struct weir_state *state,
                             const struct weir_entry *directory,
                             size_t first,
                             size_t count,
                             struct weir_slice group,
                             struct weir_entry **ret_panes)
{
    char room[PANE_KEY_MAX];
    uint32_t places[PANES_AT_ONCE];
    const int64_t *starts = slices_of(directory)->starts + first;
    for (size_t i = 0; i < count; i++) {
        places[i] = weir_state_prefetch(state, window_pane_key(room, starts[i], group));
    }
    for (size_t i = 0; i < count; i++) {
        weir_state_prefetch_entry(state, places[i]);
    }
    for (size_t i = 0; i < count; i++) {
        ret_panes[i] =
            weir_state_find_at(state, window_pane_key(room, starts[i], group), places[i]);
    }
}

/* There is no front any more; what is behind it is only in its slices again. */
static void slice_drop_back(const struct window *self,
                            struct weir_run *run,
                            struct weir_entry *directory,
                            struct weir_slice group)
{
    struct weir_state *state = weir_run_state(run);
    char room[PANE_KEY_MAX];
    const struct slices *had = slices_of(directory);
    if (had->back_end > had->front_end) {
        window_pane_drop(self, run, weir_state_find(state, back_key(room, group)));
    }
    struct slices *slices = weir_state_edit(state, directory);
    slices->front_end = slices->back_end = INT64_MIN;
}

/* The window's slices into fewer, before it is shown for the last time. */
static void slice_fold(const struct window *self,
                       struct weir_run *run,
                       struct weir_entry *directory,
                       struct weir_slice group,
                       int64_t from,
                       int64_t to)
{
    struct weir_state *state = weir_run_state(run);
    char room[PANE_KEY_MAX];
    struct slices *slices = weir_state_edit(state, directory);
    struct weir_entry *panes[PANES_AT_ONCE];
    size_t end = slice_find(directory, to);
    bool is_new;
    if (from < slices->front_end) {
        size_t at = slice_find(directory, slices->back_end);
        struct weir_entry *back =
            at == end ? NULL
                      : weir_state_put(state, back_key(room, group),
                                       sizeof(struct pane) + self->aggregates.size, &is_new);
        for (; back != NULL && at < end; at++) {
            slice_merge(self, run, back, slice_pane(state, slices->starts[at], group));
            slices->back_end = to;
        }
        return;
    }
    slice_drop_back(self, run, directory, group);
    size_t at = slice_find(directory, from);
    if (!self->folds || end - at < FRONT_LEAST) {
        return;
    }
    const struct weir_entry *behind = NULL;
    for (size_t count; at < end; end -= count) {
        count = end - at < PANES_AT_ONCE ? end - at : PANES_AT_ONCE;
        slice_find_panes(state, directory, end - count, count, group, panes);
        for (size_t i = count; i-- > 0; behind = panes[i]) {
            if (behind != NULL) {
                slice_merge(self, run, panes[i], behind);
            }
        }
    }
    slices->front_end = slices->back_end = to;
}

/* Merges the slices that start in [from, to) and emits the window, if there are any. */
static void slice_emit(const struct window *self,
                       struct weir_run *run,
                       const struct weir_entry *directory,
                       int64_t from,
                       int64_t to,
                       const struct window_result *result)
{
    struct weir_state *state = weir_run_state(run);
    char room[PANE_KEY_MAX], merged_room[PANE_KEY_MAX];
    struct weir_slice merged_key = window_pane_key(merged_room, INT64_MIN, result->group);
    merged_room[0] = 't';
    char *slots =
        weir_arena_calloc(weir_batch_arena(weir_run_batch(run)), 1, self->aggregates.size + 8);
    const struct slices *slices = slices_of(directory);
    struct weir_entry *panes[PANES_AT_ONCE];
    size_t at = slice_find(directory, from), end = slice_find(directory, to);
    bool any = slots != NULL && at < end, begins_in_front = any && from < slices->front_end;
    size_t count = 0;
    if (begins_in_front) {
        if (slices->starts[at] < slices->front_end) {
            panes[count++] = slice_pane(state, slices->starts[at], result->group);
        }
        if (slices->back_end > slices->front_end) {
            panes[count++] = weir_state_find(state, back_key(room, result->group));
        }
        at = slice_find(directory, slices->back_end);
    }
    while (any) {
        for (size_t i = 0; i < count; i++) {
            aggregates_merge(&self->aggregates, run, merged_key, slots, weir_entry_key(panes[i]),
                             window_slots((void *)(uintptr_t)weir_entry_value(panes[i]).data));
        }
        if (at >= end) {
            break;
        }
        count = end - at < PANES_AT_ONCE ? end - at : PANES_AT_ONCE;
        slice_find_panes(state, directory, at, count, result->group, panes);
        at += count;
    }
    if (any) {
        window_emit(self, run, result, merged_key, slots);
    }
    aggregates_drop(&self->aggregates, run, merged_key);
}

/* Drops the slices that start before `from`. False: none is left, and the directory is gone. */
static bool slice_trim(const struct window *self,
                       struct weir_run *run,
                       struct weir_entry *directory,
                       struct weir_slice group,
                       int64_t from)
{
    struct weir_state *state = weir_run_state(run);
    size_t count = slice_count(directory), gone = slice_find(directory, from);
    for (size_t i = 0; i < gone; i++) {
        window_pane_drop(self, run, slice_pane(state, slices_of(directory)->starts[i], group));
    }
    if (gone == count) {
        slice_drop_back(self, run, directory, group);
        weir_state_drop(state, directory);
        return false;
    }
    if (gone > 0) {
        struct slices *slices = weir_state_edit(state, directory);
        memmove(slices->starts, slices->starts + gone, (count - gone) * sizeof(int64_t));
        (void)weir_state_resize(state, directory,
                                sizeof(*slices) + (count - gone) * sizeof(int64_t));
    }
    return true;
}

/* --- {size, every} -----------------------------------------------------------------------------*/

static struct window_result
sliding_result(const struct window *self, struct weir_slice group, int64_t end, const char *kind)
{
    return (struct window_result){
        .group = group,
        .start = end - self->size,
        .end = end,
        .time_ms = end - 1,
        .kind = kind,
    };
}

/* Most records come to a slice of which no window has ended: that is all there is to do. */
static bool sliding_add_plain(const struct window *self, struct window_input *in, int64_t slice)
{
    struct weir_entry *entry = self->emits_updates || self->config->emit.count > 0
                                   ? NULL
                                   : slice_pane(in->state, slice, in->group);
    if (entry != NULL) {
        window_pane_add(self, in, entry);
    }
    return entry != NULL;
}

bool window_sliding_add(const struct window *self, struct window_input *in)
{
    int64_t last_start = window_floor(in->time_ms, self->every, self->offset);
    int64_t slice = window_floor(in->time_ms, self->slice, self->offset);
    int64_t behind = in->time_ms - self->size; /* who starts there or before has not the record … */
    int64_t first = window_floor(behind, self->every, self->offset) + self->every;
    if (in->clock < first + self->size && sliding_add_plain(self, in, slice)) {
        return true;
    }
    struct weir_entry *directory = slice_directory(in);
    int64_t closed = window_add(in->clock, -self->config->grace - self->size); /* … or is closed */
    if (directory != NULL && slices_of(directory)->back_end > INT64_MIN) {
        int64_t last = slices_of(directory)->back_end - self->size;
        closed = closed > last ? closed : last; /* stays so when `grace` has become longer */
    }
    int64_t open =
        closed <= behind ? first : window_floor(closed, self->every, self->offset) + self->every;
    if (open > last_start) { /* none, or `every` left a gap here */
        in->late += (size_t)((last_start + self->every - first) / self->every);
        in->taken = in->late == 0;
        return true;
    }
    in->late += (size_t)((open - first) / self->every);
    int64_t first_open = open + self->size;
    directory = slice_add(self, in, directory, slice);
    if (directory == NULL) {
        return false;
    }
    slice_plan(self, in->state, directory, first_open, first_open);
    for (int64_t end = first_open; self->emits_updates && end - self->size <= last_start;
         end += self->every) {
        struct window_result result =
            sliding_result(self, in->group, end, window_early_kind(end, in->clock));
        slice_emit(self, in->run, directory, result.start, end, &result);
    }
    if (slice_is_early(self, in->state, directory)) {
        window_sliding_show(self, in->run, directory);
    }
    return true;
}

/* The first start of a window, at multiples of `every`, that has the slice. */
static int64_t sliding_first(const struct window *self, int64_t slice)
{
    return window_floor(slice - self->size + self->slice + self->every - 1, self->every,
                        self->offset);
}

void window_sliding_show(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    int64_t clock = weir_state_clock(state), shown = slices_of(entry)->back_end;
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    for (size_t i = 0; i < slice_count(entry); i++) {
        struct weir_entry *changed = slice_changed(state, entry, i, group);
        int64_t slice = slices_of(entry)->starts[i];
        for (int64_t start = sliding_first(self, slice); changed != NULL && start <= slice;
             start += self->every) {
            int64_t end = start + self->size;
            if (end > shown && !window_is_closed(self, end, clock)) {
                struct window_result result =
                    sliding_result(self, group, end, window_early_kind(end, clock));
                slice_emit(self, run, entry, start, end, &result);
                shown = end;
            }
        }
        if (changed != NULL) {
            window_pane_shown(self, run, changed);
        }
    }
}

void window_sliding_due(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    int64_t end = slices_of(entry)->next_end;
    struct window_result result = sliding_result(self, group, end, "final");
    slice_fold(self, run, entry, group, result.start, end);
    if (self->emits_final) {
        slice_emit(self, run, entry, result.start, end, &result);
    }
    ((struct slices *)weir_state_edit(state, entry))->next_end = INT64_MAX;
    if (!slice_trim(self, run, entry, group, result.start + self->every)) {
        return;
    }
    /* The next window that has the first slice that is left. */
    int64_t first = slices_of(entry)->starts[0];
    int64_t start = sliding_first(self, first);
    start = start < result.start + self->every ? result.start + self->every : start;
    slice_plan(self, state, entry, start + self->size, start + self->size);
}

/* --- {size}, Kafka's kind ----------------------------------------------------------------------*/

static struct window_result
event_result(const struct window *self, struct weir_slice group, int64_t end, const char *kind)
{
    return (struct window_result){
        .group = group,
        .start = end - self->size,
        .end = end,
        .time_ms = end,
        .kind = kind,
    };
}

/* The least end of a window that is greater than `after`; INT64_MAX: none. Ends are the times
 * themselves, and t + 1 + size where a record lies behind t and not behind that. */
static int64_t
event_next_end(const struct window *self, const struct weir_entry *directory, int64_t after)
{
    const struct slices *slices = slices_of(directory);
    size_t count = slice_count(directory);
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        int64_t t = slices->starts[i];
        int64_t right = window_add(t, 1 + self->size);
        bool has_right = i + 1 < count && slices->starts[i + 1] <= right;
        if (t > after && t < next) {
            next = t;
        }
        if (has_right && right > after && right < next) {
            next = right;
        }
    }
    return next;
}

/* The record has made the window behind it, [t + 1, t + 1 + size], from records that came before.
 */
static bool event_begins(const struct window *self,
                         const struct window_input *in,
                         const struct weir_entry *directory)
{
    char room[PANE_KEY_MAX];
    const struct weir_entry *entry =
        weir_state_find(in->state, window_pane_key(room, in->time_ms, in->group));
    const struct pane *pane = (const struct pane *)(const void *)weir_entry_value(entry).data;
    const struct slices *slices = slices_of(directory);
    int64_t end = window_add(in->time_ms, 1 + self->size);
    size_t next = slice_find(directory, in->time_ms + 1), count = slice_count(directory);
    size_t at_end = slice_find(directory, end);
    return pane->records == 1 && next < count && slices->starts[next] < end &&
           !(at_end < count && slices->starts[at_end] == end);
}

bool window_event_add(const struct window *self, struct window_input *in)
{
    int64_t last_end = window_add(in->time_ms, self->size);
    if (window_is_closed(self, window_add(last_end, 1), in->clock)) {
        in->late++;
        return true;
    }
    struct weir_entry *directory = slice_add(self, in, slice_directory(in), in->time_ms);
    if (directory == NULL) {
        return false;
    }
    int64_t closed =
        in->clock == INT64_MIN ? INT64_MIN : window_add(in->clock, -self->config->grace - 1);
    int64_t next = event_next_end(self, directory, closed);
    if (next != INT64_MAX) {
        slice_plan(self, in->state, directory, next, window_add(next, 1));
    }
    for (int64_t end = window_add(in->time_ms, -1);
         self->emits_updates && (end = event_next_end(self, directory, end)) <= last_end;) {
        if (end > closed) {
            struct window_result result =
                event_result(self, in->group, end, window_early_kind(end + 1, in->clock));
            slice_emit(self, in->run, directory, result.start, end + 1, &result);
        }
    }
    if (self->emits_updates && last_end + 1 > closed && event_begins(self, in, directory)) {
        struct window_result result = event_result(self, in->group, last_end + 1, "early");
        slice_emit(self, in->run, directory, result.start, result.end + 1, &result);
    }
    if (slice_is_early(self, in->state, directory)) {
        window_event_show(self, in->run, directory);
    }
    return true;
}

void window_event_show(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    int64_t clock = weir_state_clock(state), shown = INT64_MIN;
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    for (size_t i = 0; i < slice_count(entry); i++) {
        struct weir_entry *changed = slice_changed(state, entry, i, group);
        if (changed == NULL) {
            continue;
        }
        int64_t t = slices_of(entry)->starts[i], last_end = window_add(t, self->size);
        int64_t end = shown > t - 1 ? shown : t - 1;
        while ((end = event_next_end(self, entry, end)) <= last_end) {
            if (!window_is_closed(self, end + 1, clock)) {
                struct window_result result =
                    event_result(self, group, end, window_early_kind(end + 1, clock));
                slice_emit(self, run, entry, result.start, end + 1, &result);
            }
            shown = end;
        }
        window_pane_shown(self, run, changed);
    }
}

void window_event_due(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct weir_state *state = weir_run_state(run);
    struct weir_slice key = weir_entry_key(entry);
    struct weir_slice group = {key.data + 1, key.size - 1};
    int64_t end = slices_of(entry)->next_end;
    if (end == INT64_MAX) { /* no late record can come any more */
        (void)slice_trim(self, run, entry, group, INT64_MAX);
        return;
    }
    struct window_result result = event_result(self, group, end, "final");
    if (self->emits_final) {
        slice_emit(self, run, entry, result.start, end + 1, &result);
    }
    int64_t next = event_next_end(self, entry, end);
    ((struct slices *)weir_state_edit(state, entry))->next_end = INT64_MAX;
    int64_t needed = next == INT64_MAX ? INT64_MAX : next - self->size;
    /* A time is needed as long as a late record may end a window behind it. */
    int64_t open = weir_state_clock(state) == INT64_MIN
                       ? INT64_MIN
                       : window_add(weir_state_clock(state), -self->config->grace - self->size - 1);
    needed = needed < open ? needed : open;
    if (!slice_trim(self, run, entry, group, needed)) {
        return;
    }
    if (next != INT64_MAX) {
        slice_plan(self, state, entry, next, window_add(next, 1));
    } else { /* kept for late records only; looks again when they can no longer come */
        weir_state_set_timer(state, entry,
                             window_add(slices_of(entry)->starts[slice_count(entry) - 1],
                                        self->size + self->config->grace + 2));
        ((struct slices *)weir_state_edit(state, entry))->next_end = INT64_MAX;
    }
}

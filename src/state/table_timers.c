/* SPDX-License-Identifier: Apache-2.0
 *
 * Timers: a heap of (time, entry), four children a node. A timer that moves later changes only the
 * entry: its item stays where it is and is put in again when it comes up. What is due is taken out
 * one time at a time, so that it can come in the order of keys: item by item, or, where a time has
 * many, in one pass over the heap.
 */
#include <stdlib.h>

#include "state/spill.h"
#include "state/table_priv.h"

enum {
    SWEEP_SHARE = 16,    /* one comes out for about the price of looking at so many */
    SORT_BY_BYTES = 256, /* as many as a byte has values */
};

/* --- the heap ----------------------------------------------------------------------------------*/

static void heap_up(struct item *heap, size_t at, struct item item)
{
    while (at > 0 && heap[(at - 1) / 4].time > item.time) {
        heap[at] = heap[(at - 1) / 4];
        at = (at - 1) / 4;
    }
    heap[at] = item;
}

static void heap_down(struct item *heap, size_t count, size_t at, struct item item)
{
    for (;;) {
        size_t first = at * 4 + 1, best = first;
        if (first >= count) {
            break;
        }
        for (size_t i = first + 1; i < first + 4 && i < count; i++) {
            best = heap[i].time < heap[best].time ? i : best;
        }
        if (heap[best].time >= item.time) {
            break;
        }
        heap[at] = heap[best];
        at = best;
    }
    heap[at] = item;
}

void state_heap_push(struct weir_state *state, struct weir_entry *entry)
{
    if (entry->queued == QUEUED_MAX) {
        state_heap_rebuild(state); /* the entry is among the others */
        return;
    }
    if (state->heap_count == state->heap_capacity) {
        state->heap_capacity +=
            state->heap_capacity < 1024 ? 64 + state->heap_capacity : state->heap_capacity / 4;
        state->heap = weir_realloc(state->heap, state->heap_capacity, sizeof(*state->heap));
    }
    entry->queued++;
    heap_up(state->heap, state->heap_count++, (struct item){entry->timer, entry});
}

/* An item has left the heap, or the list of what is due. */
static void item_gone(struct weir_state *state, struct weir_entry *entry)
{
    entry->queued--;
    if ((entry->flags & ENTRY_ZOMBIE) != 0 && entry->queued == 0) {
        state->zombies--;
        entry_free(state, entry);
    }
}

static void heap_clear(struct weir_state *state)
{
    for (size_t i = 0; i < state->heap_count; i++) {
        item_gone(state, state->heap[i].entry);
    }
    state->heap_count = 0;
}

/* The item lives on elsewhere. */
static void heap_pop(struct weir_state *state)
{
    struct item last = state->heap[--state->heap_count];
    if (state->heap_count > 0) {
        /* The next ones will be looked at. */
        for (size_t i = 1; i < 5 && i < state->heap_count; i++) {
            __builtin_prefetch(state->heap[i].entry);
        }
        heap_down(state->heap, state->heap_count, 0, last);
    }
}

/* Every entry with a timer once; nothing else. */
void state_heap_rebuild(struct weir_state *state)
{
    heap_clear(state);
    struct weir_state_cursor cursor = {0};
    struct weir_entry *entry;
    while ((entry = state_next_resident(state, &cursor)) != NULL) {
        if (entry->timer != WEIR_NO_TIMER && (entry->flags & ENTRY_DUE) == 0) {
            state_heap_push(state, entry);
        }
    }
}

/* Brings the earliest timer that still holds to the top. False: there is none. */
bool state_heap_settle(struct weir_state *state)
{
    while (state->heap_count > 0) {
        struct item top = state->heap[0];
        if ((top.entry->flags & ENTRY_DEAD) == 0 && top.entry->timer == top.time) {
            return true;
        }
        if ((top.entry->flags & ENTRY_DEAD) == 0 && top.entry->timer != WEIR_NO_TIMER &&
            top.entry->timer > top.time) {
            top.time = top.entry->timer;
            heap_down(state->heap, state->heap_count, 0, top);
            continue;
        }
        heap_pop(state);
        item_gone(state, top.entry);
    }
    return false;
}

/* --- what is due -------------------------------------------------------------------------------*/

/* What was not taken goes back into the heap. */
static void due_put_back(struct weir_state *state)
{
    for (size_t i = state->due_at; i < state->due_count; i++) {
        struct weir_entry *entry = state->due[i].entry;
        entry->flags &= (uint8_t)~ENTRY_DUE;
        if ((entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time) {
            state_heap_push(state, entry);
        }
        item_gone(state, entry);
    }
    state->due_at = state->due_count = 0;
}

void state_forget_timers(struct weir_state *state)
{
    heap_clear(state);
    for (size_t i = state->due_at; i < state->due_count; i++) {
        struct weir_entry *entry = state->due[i].entry;
        entry->flags &= (uint8_t)~ENTRY_DUE;
        item_gone(state, entry);
    }
    state->due_at = state->due_count = 0;
}

void weir_state_set_timer(struct weir_state *state, struct weir_entry *entry, int64_t time)
{
    if (time == entry->timer) {
        return;
    }
    state_save(state, entry);
    /* An item comes up early enough. */
    bool covered = entry->queued > 0 && entry->timer <= time && (entry->flags & ENTRY_DUE) == 0;
    entry->timer = time;
    if (time == WEIR_NO_TIMER || covered) {
        return;
    }
    entry->flags &= (uint8_t)~ENTRY_DUE;
    state_heap_push(state, entry);
}

static int due_compare(const void *left, const void *right)
{
    const struct due *a = left, *b = right;
    if (a->order != b->order) {
        return a->order < b->order ? -1 : 1;
    }
    size_t sizes[] = {a->entry->key_size, b->entry->key_size};
    int order = memcmp(entry_key_bytes(a->entry), entry_key_bytes(b->entry),
                       sizes[0] < sizes[1] ? sizes[0] : sizes[1]);
    return order != 0 ? order : (sizes[0] > sizes[1]) - (sizes[0] < sizes[1]);
}

/* The same order as of whole keys: a key that ends early counts as followed by zeros, and equal
 * ones are compared in full. */
static uint64_t due_order(const struct weir_entry *entry, size_t common)
{
    const char *key = entry_key_bytes(entry);
    uint64_t order = 0;
    if (entry->key_size >= common + sizeof(order)) {
        memcpy(&order, key + common, sizeof(order));
    } else if (entry->key_size > common) {
        memcpy(&order, key + common, entry->key_size - common);
    }
    return __builtin_bswap64(order);
}

static size_t common_bytes(const struct weir_entry *a, const struct weir_entry *b, size_t most)
{
    const char *left = entry_key_bytes(a), *right = entry_key_bytes(b);
    size_t size = b->key_size < most ? b->key_size : most, same = 0;
    while (same < size && left[same] == right[same]) {
        same++;
    }
    return same;
}

/* The first so many bytes of a list's keys are the same; where a key has fewer of them than those
 * before, theirs has to be found anew. */
static void due_add(struct weir_state *state, struct weir_entry *entry)
{
    if (state->due_count == state->due_capacity) {
        state->due_capacity = state->due_capacity == 0 ? 64 : state->due_capacity * 2;
        state->due = weir_realloc(state->due, state->due_capacity, sizeof(*state->due));
    }
    struct due *due = &state->due[state->due_count];
    due->entry = entry;
    size_t common = common_bytes(state->due[state->due_at].entry, entry, state->due_common);
    if (common < state->due_common) {
        state->due_common = common;
        state->due_unordered = state->due_count;
    }
    due->order = due_order(entry, state->due_common);
    entry->flags |= ENTRY_DUE;
    state->due_count++;
}

/* Byte by byte, the last one first; bytes that all have in common are left out. */
static void due_sort_by_order(struct due *due, size_t count)
{
    size_t(*counts)[256] = weir_calloc(sizeof(due->order), sizeof(*counts));
    struct due *from = due, *to = weir_calloc(count, sizeof(*to)), *spare = to;
    for (size_t i = 0; i < count; i++) {
        for (unsigned byte = 0; byte < sizeof(due->order); byte++) {
            counts[byte][due[i].order >> 8 * byte & 255]++;
        }
    }
    for (unsigned byte = 0; byte < sizeof(due->order); byte++) {
        size_t *places = counts[byte], place = 0;
        if (places[due[0].order >> 8 * byte & 255] == count) {
            continue;
        }
        for (unsigned digit = 0; digit < 256; digit++) {
            size_t many = places[digit];
            places[digit] = place;
            place += many;
        }
        for (size_t i = 0; i < count; i++) {
            to[places[from[i].order >> 8 * byte & 255]++] = from[i];
        }
        struct due *swap = from;
        from = to;
        to = swap;
    }
    if (from != due) {
        memcpy(due, from, count * sizeof(*due));
    }
    weir_free(spare);
    weir_free(counts);
}

/* What has not been taken yet. */
static void due_sort(struct weir_state *state)
{
    struct due *due = state->due + state->due_at;
    size_t count = state->due_count - state->due_at;
    for (size_t i = state->due_at; i < state->due_unordered; i++) {
        state->due[i].order = due_order(state->due[i].entry, state->due_common);
    }
    state->due_unordered = state->due_at;
    if (count < SORT_BY_BYTES) {
        qsort(due, count, sizeof(*due), due_compare);
        return;
    }
    due_sort_by_order(due, count);
    for (size_t first = 0, last; first < count; first = last) {
        for (last = first + 1; last < count && due[last].order == due[first].order; last++) {
        }
        if (last > first + 1) {
            qsort(due + first, last - first, sizeof(*due), due_compare);
        }
    }
}

/* Their blocks and slots lie anywhere: who walks the list asks for them some steps ahead. */
static void due_prefetch(const struct weir_state *state)
{
    size_t at = state->due_at + AHEAD;
    if (at + AHEAD < state->due_count) {
        const char *block = (const char *)state->due[at + AHEAD].entry;
        __builtin_prefetch(block);
        __builtin_prefetch(block + 64);
        __builtin_prefetch(block + 128);
    }
    if (at < state->due_count) {
        state_prefetch_slot(state, state->due[at].entry->hash);
    }
}

/* How many items of that time lie at the top: all of it, as none is earlier. */
static size_t heap_count_top(const struct weir_state *state, size_t at, int64_t time)
{
    size_t count = 0;
    if (at < state->heap_count && state->heap[at].time == time) {
        count = 1;
        for (size_t child = at * 4 + 1; child <= at * 4 + 4; child++) {
            count += heap_count_top(state, child, time);
        }
    }
    return count;
}

/* What is due comes out in the order in which it lies, and the rest is made a heap again. */
static void due_sweep(struct weir_state *state)
{
    size_t kept = 0;
    for (size_t i = 0; i < state->heap_count; i++) {
        struct item item = state->heap[i];
        if (i + AHEAD < state->heap_count) {
            __builtin_prefetch(state->heap[i + AHEAD].entry);
        }
        bool dead = (item.entry->flags & ENTRY_DEAD) != 0;
        if (item.time == state->due_time && !dead && item.entry->timer == item.time) {
            due_add(state, item.entry);
        } else {
            state->heap[kept++] = item;
        }
    }
    state->heap_count = kept;
    for (size_t i = (kept + 2) / 4; i-- > 0;) {
        heap_down(state->heap, kept, i, state->heap[i]);
    }
}

/* All entries of the earliest timer, if that is ≤ now; of those on disk as many as one call loads.
 */
static void state_fill_due(struct weir_state *state, int64_t now)
{
    state->due_at = state->due_count = state->due_unordered = 0;
    state->due_common = SIZE_MAX;
    bool any = state_heap_settle(state);
    int64_t limit = any && state->heap[0].time < now ? state->heap[0].time : now;
    while (state->spill != NULL && weir_spill_next_timer(state->spill) <= limit) {
        if (weir_spill_load_due(state) > 0) {
            break;
        }
    }
    if (!state_heap_settle(state) || state->heap[0].time > now) {
        return;
    }
    state->due_time = state->heap[0].time;
    if (heap_count_top(state, 0, state->due_time) > state->heap_count / SWEEP_SHARE) {
        due_sweep(state);
    }
    while (state_heap_settle(state) && state->heap[0].time == state->due_time) {
        due_add(state, state->heap[0].entry);
        heap_pop(state);
    }
    due_sort(state);
}

/* Timers that were set since the list was filled, to its time or an earlier one. */
static void state_merge_due(struct weir_state *state)
{
    while (state_heap_settle(state) && state->heap[0].time <= state->due_time) {
        struct weir_entry *entry = state->heap[0].entry;
        if (state->heap[0].time < state->due_time) {
            due_put_back(state);
            return;
        }
        heap_pop(state);
        due_add(state, entry);
        size_t first = state->due_at, at = state->due_count - 1;
        if (state->due_unordered > first) {
            due_sort(state);
            continue;
        }
        struct due own = state->due[at];
        while (first < at) {
            size_t middle = first + (at - first) / 2;
            if (due_compare(&state->due[middle], &own) < 0) {
                first = middle + 1;
            } else {
                at = middle;
            }
        }
        memmove(state->due + at + 1, state->due + at,
                (state->due_count - 1 - at) * sizeof(*state->due));
        state->due[at] = own;
    }
}

struct weir_entry *weir_state_due(struct weir_state *state, int64_t now)
{
    if (now == WEIR_NO_TIMER) {
        now--;
    }
    for (;;) {
        if (state->due_at < state->due_count) {
            state_merge_due(state);
        }
        if (state->due_at == state->due_count) {
            state_fill_due(state, now);
        }
        if (state->due_count == 0) {
            return NULL;
        }
        struct weir_entry *entry = state->due[state->due_at].entry;
        due_prefetch(state);
        if (state->spill != NULL &&
            weir_spill_comes_before(state->spill, state->due_time, weir_entry_key(entry))) {
            if (weir_spill_next_timer(state->spill) < state->due_time) {
                due_put_back(state);
            } else {
                (void)weir_spill_load_due(state);
            }
            continue;
        }
        if (state->due_time > now) { /* they were filled for a later `now` */
            return NULL;
        }
        state->due_at++;
        entry->flags &= (uint8_t)~ENTRY_DUE;
        bool holds = (entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time;
        item_gone(state, entry);
        if (holds) {
            state_save_taken(state, entry);
            entry->timer = WEIR_NO_TIMER;
            return entry;
        }
    }
}

int64_t weir_state_next_timer(struct weir_state *state)
{
    int64_t next = state_heap_settle(state) ? state->heap[0].time : WEIR_NO_TIMER;
    if (state->spill != NULL && weir_spill_next_timer(state->spill) < next) {
        next = weir_spill_next_timer(state->spill);
    }
    for (size_t i = state->due_at; i < state->due_count; i++) {
        const struct weir_entry *entry = state->due[i].entry;
        if ((entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time) {
            return state->due_time < next ? state->due_time : next;
        }
    }
    return next;
}

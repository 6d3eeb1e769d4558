/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory table.
 *
 *     index   open addressing, 8 bytes a slot: address of the entry, 16 bits of its hash
 *     slabs   blocks of one size class; an entry is a header of 24 bytes, the key, the value
 *     heap    (time, entry), four children a node
 *     undo    per layer, what each entry was before its first change
 *
 * The surprising parts. A timer that moves later changes only the entry: its item in the heap stays
 * where it is and is put in again when it comes up. An entry that is dropped leaves the index at
 * once, but keeps its block until the layer that dropped it is committed, because rollback may
 * revive it, and until its items have left the heap.
 */
#include "state/table.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "state/table_delta.h"

enum {
    CLASS_STEP = 16,
    CLASS_COUNT = 64,                  /* blocks of 16 … 1024 bytes */
    CLASS_ALONE = 255,                 /* a slab of its own */
    SLAB_FIRST = 4096,                 /* bytes; each next slab of a class is twice as large … */
    SLAB_MAX = 256 * 1024,             /* … up to this */
    INDEX_FIRST = 64,                  /* slots; a power of two */
    QUEUED_MAX = 255,
    CHUNK_MAX = 1 << 20,
};

enum entry_flags {
    ENTRY_LIVE = 1,    /* the block is an entry; else it is free */
    ENTRY_DEAD = 2,    /* dropped; waits for its layer */
    ENTRY_OUTSIDE = 4, /* the value lies in memory of its own */
    ENTRY_ZOMBIE = 8,  /* dead for good; waits for its items in the heap */
    ENTRY_DUE = 16,    /* its item has left the heap for the list of what is due */
};

struct weir_entry {
    union {
        int64_t timer;
        struct weir_entry *next; /* of a free block */
    };
    uint32_t hash;
    uint32_t stamp; /* the layer that saved it last */
    uint32_t value_size : 24, queued : 8;
    uint16_t key_size;
    uint8_t class, flags;
};
_Static_assert(sizeof(struct weir_entry) == 24, "one header, no holes");

struct outside {
    size_t capacity;
    max_align_t bytes[];
};

struct slab {
    char *memory; /* NULL: a free place in the list */
    size_t block, used, size;
};

struct class {
    struct weir_entry *free; /* linked through `next` */
    size_t slab;             /* where blocks are taken from; SIZE_MAX: none yet */
};

struct item {
    int64_t time;
    struct weir_entry *entry;
};

struct undo {
    struct weir_entry *entry;
    int64_t timer;
    char *value; /* NULL: the entry did not exist */
    uint32_t value_size;
};

struct layer {
    struct undo *items;
    size_t count, capacity;
    struct chunk *values; /* memory of the saved values */
    int64_t clock;
    bool clock_moved;
};

struct chunk {
    struct chunk *next;
    size_t used, size;
    char bytes[];
};

struct weir_state {
    struct weir_state_limits limits;
    uint64_t *index;
    size_t index_size, index_used; /* used: with the places of what was dropped */
    unsigned index_shift;
    struct slab *slabs;
    size_t slab_count, slab_capacity, slabs_free;
    struct class classes[CLASS_COUNT];
    struct item *heap;
    size_t heap_count, heap_capacity, zombies;
    struct weir_entry **due; /* of one time, by key, from due_at on */
    size_t due_at, due_count, due_capacity;
    int64_t due_time;
    struct layer open, closing;
    uint32_t stamp; /* of the open layer */
    size_t count, bytes;
    int64_t clock;
    bool restoring; /* see table_delta.h */
};

#define SLOT_EMPTY UINT64_C(0)
#define SLOT_GONE UINT64_C(1)

/* --- blocks ------------------------------------------------------------------------------------*/

static size_t round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* There is always room for a pointer, for values that outgrow the block. */
static size_t block_size(size_t key_size, size_t value_size)
{
    size_t room = value_size < sizeof(void *) ? sizeof(void *) : value_size;
    size_t size = round8(sizeof(struct weir_entry) + key_size) + room;
    return (size + CLASS_STEP - 1) / CLASS_STEP * CLASS_STEP;
}

/* Slabs of many entries stay until the state is freed; those of one leave a free place. */
static size_t state_add_slab(struct weir_state *state, size_t block, size_t size)
{
    size_t at = state->slab_count;
    if (state->slabs_free > 0) {
        for (at = 0; state->slabs[at].memory != NULL; at++) {
        }
        state->slabs_free--;
    } else if (state->slab_count == state->slab_capacity) {
        state->slab_capacity = state->slab_capacity == 0 ? 16 : state->slab_capacity * 2;
        state->slabs = weir_realloc(state->slabs, state->slab_capacity, sizeof(*state->slabs));
    }
    state->slab_count += at == state->slab_count;
    state->slabs[at] = (struct slab){.memory = weir_calloc(1, size), .block = block, .size = size};
    return at;
}

static struct weir_entry *block_take(struct weir_state *state, size_t size)
{
    size_t number = size / CLASS_STEP - 1;
    if (number >= CLASS_COUNT) {
        size_t place = state_add_slab(state, size, size); /* may move the slabs */
        struct slab *slab = &state->slabs[place];
        slab->used = size;
        struct weir_entry *alone = (struct weir_entry *)(void *)slab->memory;
        alone->class = CLASS_ALONE;
        return alone;
    }
    struct class *class = &state->classes[number];
    struct weir_entry *entry = class->free;
    if (entry != NULL) {
        class->free = entry->next;
        memset(entry, 0, size);
    } else {
        struct slab *slab = class->slab == SIZE_MAX ? NULL : &state->slabs[class->slab];
        if (slab == NULL || slab->used + size > slab->size) {
            size_t bytes = slab == NULL ? SLAB_FIRST : slab->size * 2;
            bytes = bytes > SLAB_MAX ? SLAB_MAX : bytes;
            class->slab = state_add_slab(state, size, bytes);
            slab = &state->slabs[class->slab];
        }
        entry = (struct weir_entry *)(void *)(slab->memory + slab->used);
        slab->used += size;
    }
    entry->class = (uint8_t)number;
    return entry;
}

/* --- entries -----------------------------------------------------------------------------------*/

static char *entry_key_bytes(const struct weir_entry *entry)
{
    return (char *)(uintptr_t)(const void *)(entry + 1);
}

static char *entry_area(const struct weir_entry *entry)
{
    return (char *)(uintptr_t)(const void *)entry + round8(sizeof(*entry) + entry->key_size);
}

static struct outside *entry_outside(const struct weir_entry *entry)
{
    struct outside *outside;
    memcpy(&outside, entry_area(entry), sizeof(outside));
    return outside;
}

static char *entry_bytes(const struct weir_entry *entry)
{
    return (entry->flags & ENTRY_OUTSIDE) != 0 ? (char *)entry_outside(entry)->bytes
                                               : entry_area(entry);
}

static size_t entry_block(const struct weir_entry *entry)
{
    return entry->class == CLASS_ALONE ? block_size(entry->key_size, entry->value_size)
                                       : (size_t)(entry->class + 1) * CLASS_STEP;
}

/* How large the value may become where it is. */
static size_t entry_room(const struct weir_entry *entry)
{
    if ((entry->flags & ENTRY_OUTSIDE) != 0) {
        return entry_outside(entry)->capacity;
    }
    return entry->class == CLASS_ALONE
               ? entry->value_size
               : entry_block(entry) - round8(sizeof(*entry) + entry->key_size);
}

/* What the entry counts for in weir_state_bytes: the same whatever its history. */
static size_t entry_cost(size_t key_size, size_t value_size)
{
    return block_size(key_size, value_size) + sizeof(uint64_t);
}

static void entry_free(struct weir_state *state, struct weir_entry *entry)
{
    if ((entry->flags & ENTRY_OUTSIDE) != 0) {
        weir_free(entry_outside(entry));
    }
    if (entry->class != CLASS_ALONE) {
        struct class *class = &state->classes[entry->class];
        entry->flags = 0;
        entry->next = class->free;
        class->free = entry;
        return;
    }
    for (size_t i = 0; i < state->slab_count; i++) {
        if (state->slabs[i].memory == (char *)entry) {
            weir_free(state->slabs[i].memory);
            state->slabs[i] = (struct slab){0};
            state->slabs_free++;
            return;
        }
    }
    WEIR_UNREACHABLE();
}

/* Room for `size` bytes, the first of them kept. */
static void entry_make_room(struct weir_entry *entry, size_t size)
{
    if (size <= entry_room(entry)) {
        return;
    }
    size_t capacity = size + size / 2;
    struct outside *outside = weir_calloc(1, sizeof(*outside) + capacity);
    outside->capacity = capacity;
    memcpy(outside->bytes, entry_bytes(entry), entry->value_size);
    if ((entry->flags & ENTRY_OUTSIDE) != 0) {
        weir_free(entry_outside(entry));
    }
    memcpy(entry_area(entry), &outside, sizeof(outside));
    entry->flags |= ENTRY_OUTSIDE;
}

static void
entry_set_value(struct weir_state *state, struct weir_entry *entry, const void *bytes, size_t size)
{
    entry_make_room(entry, size);
    if (size > 0) {
        memcpy(entry_bytes(entry), bytes, size);
    }
    state->bytes += entry_cost(entry->key_size, size);
    state->bytes -= entry_cost(entry->key_size, entry->value_size);
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
}

/* --- the index ---------------------------------------------------------------------------------*/

static uint32_t key_hash(struct weir_slice key)
{
    return (uint32_t)XXH3_64bits(key.data, key.size);
}

static size_t index_home(const struct weir_state *state, uint32_t hash)
{
    return (size_t)((hash * UINT64_C(0x9e3779b97f4a7c15)) >> state->index_shift);
}

static uint64_t index_slot(const struct weir_entry *entry)
{
    return (uint64_t)(uintptr_t)entry | (uint64_t)(entry->hash & 0xffff) << 48;
}

static struct weir_entry *slot_entry(uint64_t slot)
{
    return (struct weir_entry *)(uintptr_t)(slot & UINT64_C(0xffffffffffff));
}

static void index_insert(struct weir_state *state, struct weir_entry *entry)
{
    size_t mask = state->index_size - 1;
    size_t at = index_home(state, entry->hash);
    while (state->index[at] > SLOT_GONE) {
        at = (at + 1) & mask;
    }
    state->index_used += state->index[at] == SLOT_EMPTY;
    state->index[at] = index_slot(entry);
}

static void index_grow(struct weir_state *state)
{
    size_t size = INDEX_FIRST;
    while (size * 6 / 10 <= state->count) {
        size *= 2;
    }
    uint64_t *old = state->index;
    size_t old_size = state->index_size;
    state->index = weir_calloc(size, sizeof(*state->index));
    state->index_size = size;
    state->index_shift = 64 - (unsigned)__builtin_ctzll(size);
    state->index_used = 0;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] > SLOT_GONE) {
            index_insert(state, slot_entry(old[i]));
        }
    }
    weir_free(old);
}

static struct weir_entry *index_find(const struct weir_state *state, struct weir_slice key, uint32_t hash)
{
    if (state->index_size == 0) {
        return NULL;
    }
    size_t mask = state->index_size - 1;
    for (size_t at = index_home(state, hash); state->index[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        uint64_t slot = state->index[at];
        if (slot > SLOT_GONE && slot >> 48 == (hash & 0xffff)) {
            struct weir_entry *entry = slot_entry(slot);
            if (entry->hash == hash && entry->key_size == key.size &&
                memcmp(entry_key_bytes(entry), key.data, key.size) == 0) {
                return entry;
            }
        }
    }
    return NULL;
}

static void index_remove(struct weir_state *state, const struct weir_entry *entry)
{
    size_t mask = state->index_size - 1;
    size_t at = index_home(state, entry->hash);
    while (slot_entry(state->index[at]) != entry || state->index[at] <= SLOT_GONE) {
        WEIR_ASSERT(state->index[at] != SLOT_EMPTY);
        at = (at + 1) & mask;
    }
    bool last = state->index[(at + 1) & mask] == SLOT_EMPTY;
    state->index[at] = last ? SLOT_EMPTY : SLOT_GONE;
    state->index_used -= last;
}

static void index_add(struct weir_state *state, struct weir_entry *entry)
{
    state->count++;
    if (state->index_size == 0 || state->index_used * 10 >= state->index_size * 7) {
        index_grow(state);
    }
    index_insert(state, entry);
}

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

static void heap_rebuild(struct weir_state *state);

static void heap_push(struct weir_state *state, struct weir_entry *entry)
{
    if (entry->queued == QUEUED_MAX) {
        heap_rebuild(state); /* the entry is among the others */
        return;
    }
    if (state->heap_count == state->heap_capacity) {
        state->heap_capacity = state->heap_capacity == 0 ? 64 : state->heap_capacity * 2;
        state->heap = weir_realloc(state->heap, state->heap_capacity, sizeof(*state->heap));
    }
    entry->queued++;
    heap_up(state->heap, state->heap_count++, (struct item){entry->timer, entry});
}

static void heap_pop(struct weir_state *state)
{
    state->heap[0].entry->queued--;
    struct item last = state->heap[--state->heap_count];
    if (state->heap_count > 0) {
        heap_down(state->heap, state->heap_count, 0, last);
    }
}

/* Every entry with a timer once; nothing else. */
static void heap_rebuild(struct weir_state *state)
{
    for (size_t i = 0; i < state->heap_count; i++) {
        struct weir_entry *entry = state->heap[i].entry;
        entry->queued--;
        if ((entry->flags & ENTRY_ZOMBIE) != 0 && entry->queued == 0) {
            entry_free(state, entry);
        }
    }
    state->heap_count = state->zombies = 0;
    struct weir_state_cursor cursor = {0};
    struct weir_entry *entry;
    while ((entry = weir_state_next(state, &cursor)) != NULL) {
        if (entry->timer != WEIR_NO_TIMER) {
            heap_push(state, entry);
        }
    }
}

/* Brings the earliest timer that still holds to the top. False: there is none. */
static bool heap_settle(struct weir_state *state)
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
        if ((top.entry->flags & ENTRY_ZOMBIE) != 0 && top.entry->queued == 0) {
            state->zombies--;
            entry_free(state, top.entry);
        }
    }
    return false;
}

/* --- layers ------------------------------------------------------------------------------------*/

static char *layer_keep(struct layer *layer, const char *bytes, size_t size)
{
    struct chunk *chunk = layer->values;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t room = chunk == NULL ? 4096 : chunk->size * 2;
        room = room > CHUNK_MAX ? CHUNK_MAX : room;
        room = room < size ? size : room;
        chunk = weir_calloc(1, sizeof(*chunk) + room);
        chunk->next = layer->values;
        chunk->size = room;
        layer->values = chunk;
    }
    char *copy = chunk->bytes + chunk->used;
    chunk->used += size;
    memcpy(copy, bytes, size);
    return copy;
}

static void layer_clear(struct layer *layer)
{
    struct chunk *kept = NULL;
    while (layer->values != NULL) {
        struct chunk *next = layer->values->next;
        if (kept == NULL) { /* the newest is the largest; the next epoch will want it */
            kept = layer->values;
        } else {
            weir_free(layer->values);
        }
        layer->values = next;
    }
    if (kept != NULL) {
        kept->used = 0;
        kept->next = NULL;
    }
    layer->values = kept;
    layer->count = 0;
    layer->clock_moved = false;
}

static void layer_done(struct layer *layer)
{
    layer_clear(layer);
    weir_free(layer->values);
    weir_free(layer->items);
}

/* Keeps what the entry is, once per layer. */
static void state_save(struct weir_state *state, struct weir_entry *entry, bool existed)
{
    if (entry->stamp == state->stamp || state->restoring) {
        return;
    }
    struct layer *layer = &state->open;
    if (layer->count == layer->capacity) {
        layer->capacity = layer->capacity == 0 ? 64 : layer->capacity * 2;
        layer->items = weir_realloc(layer->items, layer->capacity, sizeof(*layer->items));
    }
    struct undo *undo = &layer->items[layer->count++];
    *undo = (struct undo){.entry = entry, .timer = entry->timer, .value_size = entry->value_size};
    if (existed) {
        undo->value = layer_keep(layer, entry_bytes(entry), entry->value_size);
    }
    entry->stamp = state->stamp;
}

static void state_unlink(struct weir_state *state, struct weir_entry *entry)
{
    index_remove(state, entry);
    state->count--;
    state->bytes -= entry_cost(entry->key_size, entry->value_size);
    entry->flags |= ENTRY_DEAD;
}

/* The block of an entry that no layer can revive. */
static void state_bury(struct weir_state *state, struct weir_entry *entry)
{
    if (entry->queued > 0) {
        entry->flags |= ENTRY_ZOMBIE;
        state->zombies++;
    } else {
        entry_free(state, entry);
    }
}

/* What was not taken goes back into the heap. */
static void state_clear_due(struct weir_state *state)
{
    for (size_t i = state->due_at; i < state->due_count; i++) {
        struct weir_entry *entry = state->due[i];
        entry->flags &= (uint8_t)~ENTRY_DUE;
        if ((entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time) {
            heap_push(state, entry);
        }
    }
    state->due_at = state->due_count = 0;
}

/* --- what steps do -----------------------------------------------------------------------------*/

struct weir_entry *weir_state_find(struct weir_state *state, struct weir_slice key)
{
    return index_find(state, key, key_hash(key));
}

struct weir_entry *
weir_state_put(struct weir_state *state, struct weir_slice key, size_t size, bool *ret_new)
{
    WEIR_ASSERT(key.size > 0 && key.size <= WEIR_STATE_KEY_MAX && size <= WEIR_STATE_VALUE_MAX);
    uint32_t hash = key_hash(key);
    struct weir_entry *entry = index_find(state, key, hash);
    *ret_new = entry == NULL;
    if (entry != NULL) {
        return entry;
    }
    size_t cost = entry_cost(key.size, size);
    bool is_full = (state->limits.keys_max > 0 && state->count >= state->limits.keys_max) ||
                   (state->limits.bytes_max > 0 && state->bytes + cost > state->limits.bytes_max);
    if (is_full && !state->restoring) {
        return NULL;
    }
    entry = block_take(state, block_size(key.size, size));
    entry->timer = WEIR_NO_TIMER;
    entry->hash = hash;
    entry->stamp = state->stamp - 1;
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
    entry->key_size = (uint16_t)key.size;
    entry->flags = ENTRY_LIVE;
    memcpy(entry_key_bytes(entry), key.data, key.size);
    state->bytes += cost;
    index_add(state, entry);
    state_save(state, entry, false);
    return entry;
}

void weir_state_drop(struct weir_state *state, struct weir_entry *entry)
{
    state_save(state, entry, true);
    state_unlink(state, entry);
    if (state->restoring) {
        state_bury(state, entry);
    }
}

struct weir_slice weir_entry_key(const struct weir_entry *entry)
{
    return (struct weir_slice){entry_key_bytes(entry), entry->key_size};
}

struct weir_slice weir_entry_value(const struct weir_entry *entry)
{
    return (struct weir_slice){entry_bytes(entry), entry->value_size};
}

void *weir_state_edit(struct weir_state *state, struct weir_entry *entry)
{
    state_save(state, entry, true);
    return entry_bytes(entry);
}

void *weir_state_resize(struct weir_state *state, struct weir_entry *entry, size_t size)
{
    WEIR_ASSERT(size <= WEIR_STATE_VALUE_MAX);
    size_t old = entry->value_size;
    if (size > old && state->limits.bytes_max > 0 && !state->restoring &&
        state->bytes + entry_cost(entry->key_size, size) - entry_cost(entry->key_size, old) >
            state->limits.bytes_max) {
        return NULL;
    }
    state_save(state, entry, true);
    entry_make_room(entry, size);
    char *bytes = entry_bytes(entry);
    if (size > old) {
        memset(bytes + old, 0, size - old);
    }
    state->bytes += entry_cost(entry->key_size, size);
    state->bytes -= entry_cost(entry->key_size, old);
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
    return bytes;
}

void weir_state_set_timer(struct weir_state *state, struct weir_entry *entry, int64_t time)
{
    if (time == entry->timer) {
        return;
    }
    state_save(state, entry, true);
    /* An item comes up early enough. */
    bool covered =
        entry->queued > 0 && entry->timer <= time && (entry->flags & ENTRY_DUE) == 0;
    entry->timer = time;
    if (time == WEIR_NO_TIMER || covered) {
        return;
    }
    entry->flags &= (uint8_t)~ENTRY_DUE;
    heap_push(state, entry);
}

int64_t weir_entry_timer(const struct weir_entry *entry)
{
    return entry->timer;
}

static int due_compare(const void *left, const void *right)
{
    const struct weir_entry *a = *(struct weir_entry *const *)left;
    const struct weir_entry *b = *(struct weir_entry *const *)right;
    size_t size = a->key_size < b->key_size ? a->key_size : b->key_size;
    int order = memcmp(entry_key_bytes(a), entry_key_bytes(b), size);
    return order != 0 ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}

static void due_add(struct weir_state *state, struct weir_entry *entry)
{
    if (state->due_count == state->due_capacity) {
        state->due_capacity = state->due_capacity == 0 ? 64 : state->due_capacity * 2;
        state->due = weir_realloc(state->due, state->due_capacity, sizeof(struct weir_entry *));
    }
    entry->flags |= ENTRY_DUE;
    state->due[state->due_count++] = entry;
}

/* All entries of the earliest timer, if that is ≤ now. */
static void state_fill_due(struct weir_state *state, int64_t now)
{
    state->due_at = state->due_count = 0;
    if (!heap_settle(state) || state->heap[0].time > now) {
        return;
    }
    state->due_time = state->heap[0].time;
    while (heap_settle(state) && state->heap[0].time == state->due_time) {
        due_add(state, state->heap[0].entry);
        heap_pop(state);
    }
    qsort(state->due, state->due_count, sizeof(struct weir_entry *), due_compare);
}

/* Timers that were set since the list was filled, to its time or an earlier one. */
static void state_merge_due(struct weir_state *state)
{
    while (heap_settle(state) && state->heap[0].time <= state->due_time) {
        struct weir_entry *entry = state->heap[0].entry;
        if (state->heap[0].time < state->due_time) {
            state_clear_due(state);
            return;
        }
        heap_pop(state);
        due_add(state, entry);
        size_t first = state->due_at, at = state->due_count - 1;
        while (first < at) {
            size_t middle = first + (at - first) / 2;
            if (due_compare(&state->due[middle], &entry) < 0) {
                first = middle + 1;
            } else {
                at = middle;
            }
        }
        memmove(state->due + at + 1, state->due + at,
                (state->due_count - 1 - at) * sizeof(struct weir_entry *));
        state->due[at] = entry;
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
        if (state->due_count == 0 || state->due_time > now) {
            return NULL;
        }
        struct weir_entry *entry = state->due[state->due_at++];
        entry->flags &= (uint8_t)~ENTRY_DUE;
        if ((entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time) {
            state_save(state, entry, true);
            entry->timer = WEIR_NO_TIMER;
            return entry;
        }
    }
}

int64_t weir_state_next_timer(struct weir_state *state)
{
    int64_t next = heap_settle(state) ? state->heap[0].time : WEIR_NO_TIMER;
    for (size_t i = state->due_at; i < state->due_count; i++) {
        const struct weir_entry *entry = state->due[i];
        if ((entry->flags & ENTRY_DEAD) == 0 && entry->timer == state->due_time) {
            return state->due_time < next ? state->due_time : next;
        }
    }
    return next;
}

int64_t weir_state_clock(const struct weir_state *state)
{
    return state->clock;
}

void weir_state_set_clock(struct weir_state *state, int64_t clock)
{
    if (clock == state->clock) {
        return;
    }
    if (!state->open.clock_moved && !state->restoring) {
        state->open.clock_moved = true;
        state->open.clock = state->clock;
    }
    state->clock = clock;
}

struct weir_entry *weir_state_next(struct weir_state *state, struct weir_state_cursor *cursor)
{
    while (cursor->slab < state->slab_count) {
        const struct slab *slab = &state->slabs[cursor->slab];
        struct weir_entry *entry = NULL;
        if (cursor->offset < slab->used) {
            entry = (struct weir_entry *)(void *)(slab->memory + cursor->offset);
            cursor->offset += slab->block;
        }
        if (cursor->offset >= slab->used) { /* never left inside: its place may be taken */
            cursor->slab++;
            cursor->offset = 0;
        }
        if (entry != NULL && (entry->flags & (ENTRY_LIVE | ENTRY_DEAD)) == ENTRY_LIVE) {
            return entry;
        }
    }
    return NULL;
}

size_t weir_state_count(const struct weir_state *state)
{
    return state->count;
}

size_t weir_state_bytes(const struct weir_state *state)
{
    return state->bytes;
}

void weir_state_prefetch(const struct weir_state *state, struct weir_slice key)
{
    if (state->index_size > 0) {
        __builtin_prefetch(&state->index[index_home(state, key_hash(key))]);
    }
}

/* --- what the engine does ----------------------------------------------------------------------*/

struct weir_state *weir_state_new(const struct weir_state_limits *limits)
{
    struct weir_state *state = weir_calloc(1, sizeof(*state));
    if (limits != NULL) {
        state->limits = *limits;
    }
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        state->classes[i].slab = SIZE_MAX;
    }
    state->stamp = 1;
    state->clock = INT64_MIN;
    return state;
}

void weir_state_free(struct weir_state *state)
{
    if (state == NULL) {
        return;
    }
    for (size_t i = 0; i < state->slab_count; i++) {
        const struct slab *slab = &state->slabs[i];
        for (size_t at = 0; at < slab->used; at += slab->block) {
            struct weir_entry *entry = (struct weir_entry *)(void *)(slab->memory + at);
            if ((entry->flags & ENTRY_OUTSIDE) != 0) {
                weir_free(entry_outside(entry));
            }
        }
        weir_free(slab->memory);
    }
    layer_done(&state->open);
    layer_done(&state->closing);
    weir_free(state->slabs);
    weir_free(state->index);
    weir_free(state->heap);
    weir_free(state->due);
    weir_free(state);
}

bool weir_state_is_dirty(const struct weir_state *state)
{
    return state->open.count > 0 || state->open.clock_moved;
}

void weir_state_seal(struct weir_state *state, struct weir_strbuf *out)
{
    WEIR_ASSERT(state->closing.count == 0 && !state->closing.clock_moved);
    state_clear_due(state);
    if (out != NULL) {
        if (state->open.clock_moved) {
            weir_delta_clock(out, state->clock);
        }
        /* In the order of first changes: a key that was dropped and put again has two entries, the
         * dropped one first. */
        for (size_t i = 0; i < state->open.count; i++) {
            const struct undo *undo = &state->open.items[i];
            if ((undo->entry->flags & ENTRY_DEAD) == 0) {
                weir_delta_put(out, undo->entry);
            } else if (undo->value != NULL) {
                weir_delta_drop(out, undo->entry);
            }
        }
    }
    struct layer spare = state->closing;
    state->closing = state->open;
    state->open = spare;
    state->stamp++;
}

void weir_state_commit(struct weir_state *state)
{
    /* An entry that is dead now and was not touched since the seal was dropped by this layer. */
    for (size_t i = 0; i < state->closing.count; i++) {
        struct weir_entry *entry = state->closing.items[i].entry;
        if ((entry->flags & ENTRY_DEAD) != 0 && entry->stamp == state->stamp - 1) {
            state_bury(state, entry);
        }
    }
    layer_clear(&state->closing);
    if (state->zombies > 1024 && state->zombies > state->heap_count / 2) {
        heap_rebuild(state);
    }
}

static void layer_undo(struct weir_state *state, struct layer *layer)
{
    for (size_t i = layer->count; i-- > 0;) {
        const struct undo *undo = &layer->items[i];
        struct weir_entry *entry = undo->entry;
        if (undo->value == NULL) { /* it was made in this layer */
            if ((entry->flags & ENTRY_DEAD) == 0) {
                state_unlink(state, entry);
            }
            entry->timer = WEIR_NO_TIMER;
            continue; /* freed below, when no undo points at it */
        }
        if ((entry->flags & ENTRY_DEAD) != 0) {
            entry->flags &= (uint8_t)~ENTRY_DEAD;
            state->bytes += entry_cost(entry->key_size, entry->value_size);
            index_add(state, entry);
        }
        entry_set_value(state, entry, undo->value, undo->value_size);
        entry->timer = undo->timer;
    }
    if (layer->clock_moved) {
        state->clock = layer->clock;
    }
}

static void layer_free_made(struct weir_state *state, struct layer *layer)
{
    for (size_t i = 0; i < layer->count; i++) {
        if (layer->items[i].value == NULL) {
            entry_free(state, layer->items[i].entry);
        }
    }
    layer_clear(layer);
}

void weir_state_rollback(struct weir_state *state)
{
    for (size_t i = state->due_at; i < state->due_count; i++) {
        state->due[i]->flags &= (uint8_t)~ENTRY_DUE;
    }
    state->due_at = state->due_count = 0;
    layer_undo(state, &state->open);
    layer_undo(state, &state->closing);
    for (size_t i = 0; i < state->heap_count; i++) { /* the heap is made anew */
        struct weir_entry *entry = state->heap[i].entry;
        entry->queued--;
        if (entry->queued == 0 && (entry->flags & ENTRY_ZOMBIE) != 0) {
            entry_free(state, entry);
        }
    }
    state->heap_count = state->zombies = 0;
    layer_free_made(state, &state->open);
    layer_free_made(state, &state->closing);
    state->stamp++;
    heap_rebuild(state);
}

void weir_state_set_restoring(struct weir_state *state, bool restoring)
{
    WEIR_ASSERT(state->open.count == 0 && state->closing.count == 0);
    state->restoring = restoring;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory table.
 *
 *     index   open addressing, 8 bytes a slot: address of the entry, 16 bits of its hash
 *     slabs   blocks of one size class; an entry is a header of 24 bytes, the key, the value
 *     heap    (time, entry), four children a node
 *     layers  of each, what entries were before their first change, and which ones it made
 *
 * The surprising parts. A timer that moves later changes only the entry: its item in the heap stays
 * where it is and is put in again when it comes up. An entry that is dropped leaves the index at
 * once, but keeps its block until the layer that dropped it is committed, because rollback may
 * revive it, and until its items have left the heap.
 */
#include "state/table.h"

#include "state/spill.h"
#include "state/table_delta.h"
#include "state/table_priv.h"

#define SLOT_EMPTY UINT64_C(0)
#define SLOT_GONE UINT64_C(1)

/* --- the index ---------------------------------------------------------------------------------*/

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

void state_prefetch_slot(const struct weir_state *state, uint32_t hash)
{
    if (state->index_size > 0) {
        __builtin_prefetch(&state->index[index_home(state, hash)]);
    }
}

void state_prefetch_block(const struct weir_state *state, uint32_t hash)
{
    if (state->index_size == 0) {
        return;
    }
    size_t mask = state->index_size - 1;
    for (size_t at = index_home(state, hash); state->index[at] != SLOT_EMPTY;
         at = (at + 1) & mask) {
        uint64_t slot = state->index[at];
        if (slot > SLOT_GONE && slot >> 48 == (hash & 0xffff)) {
            const char *block = (const char *)slot_entry(slot);
            __builtin_prefetch(block);
            __builtin_prefetch(block + 64);
            __builtin_prefetch(block + 128);
            return;
        }
    }
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

static size_t index_size_for(size_t entries)
{
    size_t size = INDEX_FIRST;
    while (size * 6 / 10 <= entries) {
        size *= 2;
    }
    return size;
}

/* How many entries there will be if the rest of the log is like what has come of it. It may be of
 * other steps, or of the same keys again: never many times what there is. */
static size_t state_expected(const struct weir_state *state)
{
    double growth =
        state->coming == 0 ? 1 : (double)state->coming / (double)(state->came == 0 ? 1 : state->came);
    growth = growth < 1 ? 1 : growth > GROWTH_MAX ? GROWTH_MAX : growth;
    return (size_t)((double)state->linked * growth);
}

static void index_resize(struct weir_state *state, size_t size)
{
    uint64_t *old = state->index;
    size_t old_size = state->index_size;
    state->index = weir_pages_new_filled(size * sizeof(*state->index)); /* soon in use everywhere */
    state->index_size = size;
    state->index_shift = 64 - (unsigned)__builtin_ctzll(size);
    state->index_used = 0;
    for (size_t i = 0; i < old_size; i++) {
        if (i + 2 * AHEAD < old_size) {
            __builtin_prefetch(slot_entry(old[i + 2 * AHEAD]));
        }
        if (i + AHEAD < old_size && old[i + AHEAD] > SLOT_GONE) {
            state_prefetch_slot(state, slot_entry(old[i + AHEAD])->hash);
        }
        if (old[i] > SLOT_GONE) {
            index_insert(state, slot_entry(old[i]));
        }
    }
    weir_pages_free(old, old_size * sizeof(*old));
}

struct weir_entry *
state_find_resident(const struct weir_state *state, struct weir_slice key, uint32_t hash)
{
    if (state->index_size == 0) {
        return NULL;
    }
    struct weir_entry *dead = NULL;
    size_t mask = state->index_size - 1;
    for (size_t at = index_home(state, hash); state->index[at] != SLOT_EMPTY;
         at = (at + 1) & mask) {
        uint64_t slot = state->index[at];
        if (slot > SLOT_GONE && slot >> 48 == (hash & 0xffff)) {
            struct weir_entry *entry = slot_entry(slot);
            if (entry->hash == hash && entry->key_size == key.size &&
                memcmp(entry_key_bytes(entry), key.data, key.size) == 0) {
                if ((entry->flags & ENTRY_DEAD) == 0) {
                    return entry;
                }
                dead = entry;
            }
        }
    }
    return dead;
}

void state_index_remove(struct weir_state *state, const struct weir_entry *entry)
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
    state->linked--;
}

static void index_add(struct weir_state *state, struct weir_entry *entry)
{
    state->linked++;
    if (state->index_size == 0 || state->index_used * 10 >= state->index_size * 7) {
        index_resize(state, index_size_for(state_expected(state)));
    }
    index_insert(state, entry);
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

/* Who walks a layer finds its entries anywhere in memory. */
static void block_prefetch(const struct weir_entry *entry)
{
    __builtin_prefetch(entry);
    __builtin_prefetch((const char *)entry + 64);
}

/* The entries of a layer, those first that were there before it: where a key was dropped and put
 * again, that is the order. NULL at the end. */
static struct weir_entry *layer_entry(const struct layer *layer, size_t at)
{
    if (at + AHEAD < layer->saved_count) {
        block_prefetch(layer->saved[at + AHEAD].entry);
    } else if (at + AHEAD < layer->saved_count + layer->made_count) {
        block_prefetch(layer->made[at + AHEAD - layer->saved_count]);
    }
    if (at < layer->saved_count) {
        return layer->saved[at].entry;
    }
    at -= layer->saved_count;
    return at < layer->made_count ? layer->made[at] : NULL;
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
    layer->saved_count = layer->made_count = layer->bytes = 0;
    layer->clock_moved = false;
}

static void layer_done(struct layer *layer)
{
    layer_clear(layer);
    weir_free(layer->values);
    weir_free(layer->saved);
    weir_free(layer->made);
}

/* Room for one more. */
static void *layer_grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return items;
    }
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    return weir_realloc(items, *capacity, size);
}

/* False: the layer knows the entry, or there is none. */
static bool state_is_first_change(const struct weir_state *state, struct weir_entry *entry)
{
    entry->flags |= ENTRY_CHANGED;
    return entry->stamp != state->stamp && !state->restoring;
}

static void layer_count(struct weir_state *state, struct weir_entry *entry)
{
    entry->stamp = state->stamp;
    state->open.bytes += sizeof(struct undo) + sizeof(*entry) + entry->key_size + entry->value_size;
}

/* Of the first change of an entry that was there before. */
static struct undo *layer_save(struct weir_state *state, struct weir_entry *entry)
{
    struct layer *layer = &state->open;
    layer->saved =
        layer_grow(layer->saved, layer->saved_count, &layer->saved_capacity, sizeof(*layer->saved));
    struct undo *undo = &layer->saved[layer->saved_count++];
    *undo = (struct undo){.entry = entry, .timer = entry->timer, .value_size = entry->value_size};
    layer_count(state, entry);
    return undo;
}

static void undo_keep_value(struct weir_state *state, struct undo *undo)
{
    undo->value = layer_keep(&state->open, entry_bytes(undo->entry), undo->value_size);
}

/* The value of what was taken last is about to change, or nobody will look any more. */
static void state_keep_taken(struct weir_state *state)
{
    undo_keep_value(state, &state->open.saved[state->taken_undo]);
    state->taken = NULL;
}

void state_save(struct weir_state *state, struct weir_entry *entry)
{
    if (state_is_first_change(state, entry)) {
        undo_keep_value(state, layer_save(state, entry));
    } else if (entry == state->taken) {
        state_keep_taken(state);
    }
}

void state_save_taken(struct weir_state *state, struct weir_entry *entry)
{
    if (state->taken != NULL && (state->taken->flags & ENTRY_DEAD) == 0) {
        state_keep_taken(state);
    }
    state->taken = NULL;
    if (state_is_first_change(state, entry)) {
        (void)layer_save(state, entry);
        state->taken = entry;
        state->taken_undo = state->open.saved_count - 1;
    }
}

/* A rollback takes it away again. */
static void state_note_made(struct weir_state *state, struct weir_entry *entry)
{
    if (!state_is_first_change(state, entry)) {
        return;
    }
    struct layer *layer = &state->open;
    layer->made = layer_grow(layer->made, layer->made_count, &layer->made_capacity,
                             sizeof(struct weir_entry *));
    layer->made[layer->made_count++] = entry;
    layer_count(state, entry);
}

/* With a row on disk it has to be found, dead, until the row is gone; else nobody may come by it
 * again: a key that is put and dropped many times in an epoch leaves that many behind. */
static bool stays_in_index(const struct weir_entry *entry)
{
    return (entry->flags & ENTRY_ON_DISK) != 0;
}

static void state_unlink(struct weir_state *state, struct weir_entry *entry)
{
    if (!stays_in_index(entry)) {
        state_index_remove(state, entry);
    }
    state->count--;
    state->bytes -= entry_cost(entry->key_size, entry->value_size);
    entry->flags |= ENTRY_DEAD;
}

/* The block of an entry that no layer can revive. */
void state_bury(struct weir_state *state, struct weir_entry *entry)
{
    state->resident -= entry_cost(entry->key_size, entry->value_size);
    if (stays_in_index(entry)) {
        state_index_remove(state, entry);
        weir_spill_drop(state->spill, weir_entry_key(entry));
    }
    if (entry->queued > 0) {
        entry->flags |= ENTRY_ZOMBIE;
        state->zombies++;
    } else {
        entry_free(state, entry);
    }
}

/* --- what steps do -----------------------------------------------------------------------------*/

struct weir_entry *state_find(struct weir_state *state, struct weir_slice key, uint32_t hash)
{
    struct weir_entry *entry = state_find_resident(state, key, hash);
    return state->spill == NULL ? entry : weir_spill_find(state, key, hash, entry);
}

struct weir_entry *weir_state_find(struct weir_state *state, struct weir_slice key)
{
    return state_find(state, key, key_hash(key));
}

struct weir_entry *state_make(
    struct weir_state *state, struct weir_slice key, uint32_t hash, size_t size, bool is_bare)
{
    struct weir_entry *entry =
        entry_take(state, is_bare ? bare_size(key.size) : block_size(key.size, size));
    entry->timer = WEIR_NO_TIMER;
    entry->hash = hash;
    entry->stamp = state->stamp - 2; /* of neither layer */
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
    entry->key_size = (uint16_t)key.size;
    entry->flags = ENTRY_LIVE;
    memcpy(entry_key_bytes(entry), key.data, key.size);
    state->resident += entry_cost(key.size, size);
    index_add(state, entry);
    return entry;
}

struct weir_entry *state_put(struct weir_state *state,
                             struct weir_slice key,
                             uint32_t hash,
                             size_t size,
                             bool is_bare,
                             bool *ret_new)
{
    WEIR_ASSERT(key.size > 0 && key.size <= WEIR_STATE_KEY_MAX && size <= WEIR_STATE_VALUE_MAX);
    struct weir_entry *entry = state_find(state, key, hash);
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
    entry = state_make(state, key, hash, size, is_bare);
    state->bytes += cost;
    state->count++;
    state_note_made(state, entry);
    return entry;
}

struct weir_entry *
weir_state_put(struct weir_state *state, struct weir_slice key, size_t size, bool *ret_new)
{
    return state_put(state, key, key_hash(key), size, false, ret_new);
}

struct weir_entry *
weir_state_put_mark(struct weir_state *state, struct weir_slice key, bool *ret_new)
{
    return state_put(state, key, key_hash(key), 0, true, ret_new);
}

void weir_state_drop(struct weir_state *state, struct weir_entry *entry)
{
    if (state_is_first_change(state, entry)) {
        (void)layer_save(state, entry); /* the value stays where it is */
    }
    state_unlink(state, entry);
    if (state->restoring) {
        state_bury(state, entry);
        if (state->spill != NULL) { /* who puts it again must not find the row */
            weir_spill_committed(state->spill);
        }
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
    state_save(state, entry);
    return entry_bytes(entry);
}

void *weir_state_resize(struct weir_state *state, struct weir_entry *entry, size_t size)
{
    WEIR_ASSERT(size <= WEIR_STATE_VALUE_MAX && (size == 0 || !entry_is_bare(entry)));
    size_t old = entry->value_size;
    if (size > old && state->limits.bytes_max > 0 && !state->restoring &&
        state->bytes + entry_cost(entry->key_size, size) - entry_cost(entry->key_size, old) >
            state->limits.bytes_max) {
        return NULL;
    }
    state_save(state, entry);
    entry_make_room(entry, size);
    char *bytes = entry_bytes(entry);
    if (size > old) {
        memset(bytes + old, 0, size - old);
    }
    size_t more = entry_cost(entry->key_size, size) - entry_cost(entry->key_size, old);
    state->open.bytes += size > old ? size - old : 0;
    state->bytes += more; /* which may be less: unsigned numbers go round */
    state->resident += more;
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
    return bytes;
}

int64_t weir_entry_timer(const struct weir_entry *entry)
{
    return entry->timer;
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
    return state->spill == NULL ? state_next_resident(state, cursor)
                                : weir_spill_next(state, cursor);
}

size_t weir_state_count(const struct weir_state *state)
{
    return state->count;
}

size_t weir_state_bytes(const struct weir_state *state)
{
    return state->bytes;
}

uint32_t weir_state_prefetch(const struct weir_state *state, struct weir_slice key)
{
    uint32_t hash = key_hash(key);
    state_prefetch_slot(state, hash);
    return hash;
}

void weir_state_prefetch_entry(const struct weir_state *state, uint32_t place)
{
    state_prefetch_block(state, place);
}

struct weir_entry *
weir_state_find_at(struct weir_state *state, struct weir_slice key, uint32_t place)
{
    return state_find(state, key, place);
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
    weir_spill_free(state->spill);
    for (size_t i = 0; i < state->slab_count; i++) {
        const struct slab *slab = &state->slabs[i];
        for (size_t at = 0; at < slab->used; at += slab->block) {
            struct weir_entry *entry = (struct weir_entry *)(void *)(slab->memory + at);
            if ((entry->flags & ENTRY_OUTSIDE) != 0) {
                weir_free(entry_outside(entry));
            }
        }
        weir_pages_free(slab->memory, slab->size);
    }
    layer_done(&state->open);
    layer_done(&state->closing);
    weir_free(state->slabs);
    weir_pages_free(state->index, state->index_size * sizeof(*state->index));
    weir_free(state->heap);
    weir_free(state->due);
    weir_free(state);
}

bool weir_state_is_dirty(const struct weir_state *state)
{
    return !layer_is_empty(&state->open) || state->open.clock_moved;
}

size_t weir_state_changed_bytes(const struct weir_state *state)
{
    return state->open.bytes;
}

void weir_state_seal(struct weir_state *state, struct weir_strbuf *out)
{
    WEIR_ASSERT(layer_is_empty(&state->closing) && !state->closing.clock_moved);
    state->taken = NULL;
    if (out != NULL) {
        if (state->open.clock_moved) {
            weir_delta_clock(out, state->clock);
        }
        const struct weir_entry *entry;
        for (size_t i = 0; (entry = layer_entry(&state->open, i)) != NULL; i++) {
            if ((entry->flags & ENTRY_DEAD) == 0) {
                weir_delta_put_entry(out, entry);
            } else if (i < state->open.saved_count) {
                weir_delta_drop(out, entry);
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
    struct weir_entry *entry;
    for (size_t i = 0; (entry = layer_entry(&state->closing, i)) != NULL; i++) {
        if ((entry->flags & ENTRY_DEAD) != 0 && entry->stamp == state->stamp - 1) {
            state_bury(state, entry);
        }
    }
    layer_clear(&state->closing);
    if (state->spill != NULL) {
        weir_spill_committed(state->spill);
    }
    if (state->zombies > 1024 && state->zombies > state->heap_count / 2) {
        state_heap_rebuild(state);
    }
}

static void layer_undo(struct weir_state *state, struct layer *layer)
{
    for (size_t i = 0; i < layer->made_count; i++) {
        struct weir_entry *entry = layer->made[i];
        if ((entry->flags & ENTRY_DEAD) == 0) {
            state_unlink(state, entry);
        }
        entry->timer = WEIR_NO_TIMER; /* freed below, when no undo points at it */
    }
    for (size_t i = 0; i < layer->saved_count; i++) {
        const struct undo *undo = &layer->saved[i];
        struct weir_entry *entry = undo->entry;
        if ((entry->flags & ENTRY_DEAD) != 0) {
            entry->flags &= (uint8_t)~ENTRY_DEAD;
            state->bytes += entry_cost(entry->key_size, entry->value_size);
            state->count++;
            if (!stays_in_index(entry)) {
                index_add(state, entry);
            }
        }
        if (undo->value != NULL) {
            entry_set_value(state, entry, undo->value, undo->value_size);
        }
        entry->timer = undo->timer;
    }
    if (layer->clock_moved) {
        state->clock = layer->clock;
    }
}

static void layer_free_made(struct weir_state *state, struct layer *layer)
{
    for (size_t i = 0; i < layer->made_count; i++) {
        struct weir_entry *entry = layer->made[i];
        state->resident -= entry_cost(entry->key_size, entry->value_size);
        entry_free(state, entry);
    }
    layer_clear(layer);
}

void weir_state_rollback(struct weir_state *state)
{
    state->taken = NULL;
    state_forget_timers(state);
    layer_undo(state, &state->open);
    layer_undo(state, &state->closing);
    layer_free_made(state, &state->open);
    layer_free_made(state, &state->closing);
    state->stamp++;
    state_heap_rebuild(state);
    if (state->spill != NULL) {
        weir_spill_rolled_back(state->spill);
    }
}

void weir_state_set_restoring(struct weir_state *state, bool restoring)
{
    WEIR_ASSERT(layer_is_empty(&state->open) && layer_is_empty(&state->closing));
    state->restoring = restoring;
}

void weir_state_expect(struct weir_state *state, size_t came, size_t coming)
{
    state->came = came;
    state->coming = coming;
}

void weir_state_restored(struct weir_state *state)
{
    weir_state_expect(state, 0, 0);
    size_t size = index_size_for(state->linked);
    if (size < state->index_size / 2) { /* more was expected than came */
        index_resize(state, size);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Where entries lie: blocks of size classes in slabs, so that an entry costs no allocation and
 * never moves; a value that outgrows its block gets memory of its own.
 */
#include "state/table_priv.h"

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
    state->slabs[at] = (struct slab){.memory = weir_pages_new(size), .block = block, .size = size};
    return at;
}

struct weir_entry *entry_take(struct weir_state *state, size_t size)
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
        for (size_t at = 0; class->free != NULL && at < size; at += 64) {
            __builtin_prefetch((const char *)class->free + at, 1); /* for whoever comes next */
        }
        memset(entry, 0, size);
    } else {
        struct slab *slab = class->slab == SIZE_MAX ? NULL : &state->slabs[class->slab];
        if (slab == NULL || slab->used + size > slab->size) {
            size_t bytes = class->bytes / 8 / SLAB_LEAST * SLAB_LEAST;
            bytes = bytes < SLAB_LEAST ? SLAB_LEAST : bytes > SLAB_MOST ? SLAB_MOST : bytes;
            class->bytes += bytes;
            class->slab = state_add_slab(state, size, bytes);
            slab = &state->slabs[class->slab];
        }
        entry = (struct weir_entry *)(void *)(slab->memory + slab->used);
        slab->used += size;
    }
    entry->class = (uint8_t)number;
    return entry;
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

void entry_free(struct weir_state *state, struct weir_entry *entry)
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
            weir_pages_free(state->slabs[i].memory, state->slabs[i].size);
            state->slabs[i] = (struct slab){0};
            state->slabs_free++;
            return;
        }
    }
    WEIR_UNREACHABLE();
}

void entry_make_room(struct weir_entry *entry, size_t size)
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

void entry_set_value(struct weir_state *state,
                     struct weir_entry *entry,
                     const void *bytes,
                     size_t size)
{
    entry_make_room(entry, size);
    if (size > 0) {
        memcpy(entry_bytes(entry), bytes, size);
    }
    size_t more =
        entry_cost(entry->key_size, size) - entry_cost(entry->key_size, entry->value_size);
    state->bytes += more; /* which may be less: unsigned numbers go round */
    state->resident += more;
    entry->value_size = (uint32_t)size & WEIR_STATE_VALUE_MAX;
}

struct weir_entry *state_next_block(const struct weir_state *state,
                                    struct weir_state_cursor *cursor)
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
        if (entry != NULL && (entry->flags & ENTRY_LIVE) != 0) {
            return entry;
        }
    }
    return NULL;
}

struct weir_entry *state_next_resident(struct weir_state *state, struct weir_state_cursor *cursor)
{
    struct weir_entry *entry;
    do {
        entry = state_next_block(state, cursor);
    } while (entry != NULL && (entry->flags & ENTRY_DEAD) != 0);
    return entry;
}

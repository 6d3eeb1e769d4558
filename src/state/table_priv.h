/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the table. An entry in memory:
 *
 *     header (24 bytes) | key, to a multiple of 8 | value, or a pointer to it (ENTRY_OUTSIDE)
 *
 * With a disk (state/spill.h) the table in memory is what is in use of a larger one: an entry that
 * is not there may be on disk, so one that was dropped and has a row stays in the index, dead, until
 * the disk has forgotten it too.
 */
#ifndef WEIR_STATE_TABLE_PRIV_H
#define WEIR_STATE_TABLE_PRIV_H

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/pages.h"
#include "state/table.h"

enum {
    CLASS_STEP = 8,
    CLASS_COUNT = 128,           /* blocks of 8 … 1024 bytes */
    CLASS_ALONE = 255,           /* a slab of its own */
    SLAB_LEAST = 4096,           /* bytes; each next slab is an eighth of what its class has … */
    SLAB_MOST = WEIR_PAGES_HUGE, /* … up to this */
    INDEX_FIRST = 64,            /* slots; a power of two */
    QUEUED_MAX = 255,
    CHUNK_MAX = 1 << 20,
    GROWTH_MAX = 16,             /* of the index, at once */
    AHEAD = 8, /* so many steps before it is used memory is asked for */
};

enum entry_flags {
    ENTRY_LIVE = 1,     /* the block is an entry; else it is free */
    ENTRY_DEAD = 2,     /* dropped; waits for its layer */
    ENTRY_OUTSIDE = 4,  /* the value lies in memory of its own */
    ENTRY_ZOMBIE = 8,   /* dead for good; waits for its items */
    ENTRY_DUE = 16,     /* its item has left the heap for the list of what is due */
    ENTRY_ON_DISK = 32, /* the disk has a row of it, which may be older */
    ENTRY_CHANGED = 64, /* since that was written */
    ENTRY_USED = 128,   /* since it was last looked at for leaving memory */
};

struct weir_entry {
    union {
        int64_t timer;
        struct weir_entry *next; /* of a free block */
    };
    uint32_t hash;
    uint32_t stamp;                       /* the layer that saved it last */
    uint32_t value_size : 24, queued : 8; /* items, in the heap and in the list of what is due */
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

struct class
{
    struct weir_entry *free; /* linked through `next` */
    size_t slab;             /* where blocks are taken from; SIZE_MAX: none yet */
    size_t bytes;            /* of all its slabs */
};

struct item {
    int64_t time;
    struct weir_entry *entry;
};

/* What is due, with the bytes that decide most comparisons of keys: those behind what the keys of
 * all of them begin with. */
struct due {
    uint64_t order;
    struct weir_entry *entry;
};

/* What an entry was. */
struct undo {
    struct weir_entry *entry;
    int64_t timer;
    char *value; /* NULL: the layer has not changed it */
    uint32_t value_size;
};

struct layer {
    struct undo *saved; /* entries that were there before */
    size_t saved_count, saved_capacity;
    struct weir_entry **made;
    size_t made_count, made_capacity;
    struct chunk *values; /* memory of the saved values */
    size_t bytes;         /* what was changed, about as much as undo list and delta take */
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
    size_t linked;                 /* entries in the index */
    unsigned index_shift;
    struct slab *slabs;
    size_t slab_count, slab_capacity, slabs_free;
    struct class classes[CLASS_COUNT];
    struct item *heap;
    size_t heap_count, heap_capacity, zombies;
    struct due *due; /* of one time, by key, from due_at on */
    size_t due_at, due_count, due_capacity;
    size_t due_common;    /* bytes that their keys begin with */
    size_t due_unordered; /* those before have an `order` that left out more bytes */
    int64_t due_time;
    struct weir_entry *taken; /* what was due last, while its undo says nothing of its value … */
    size_t taken_undo;        /* … and which one that is */
    struct layer open, closing;
    uint32_t stamp;           /* of the open layer */
    size_t count, bytes;      /* of all entries, wherever they are */
    size_t resident;          /* bytes of those in memory */
    struct weir_spill *spill; /* NULL: all are in memory */
    int64_t clock;
    bool restoring;      /* see table_delta.h */
    size_t came, coming; /* bytes to restore: so far, in all; coming 0: nobody knows */
};

/* Of its entries; the clock may have moved. */
static inline bool layer_is_empty(const struct layer *layer)
{
    return layer->saved_count == 0 && layer->made_count == 0;
}

static inline size_t round8(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

/* There is always room for a pointer, for values that outgrow the block. */
static inline size_t block_size(size_t key_size, size_t value_size)
{
    size_t room = value_size < sizeof(void *) ? sizeof(void *) : value_size;
    size_t size = round8(sizeof(struct weir_entry) + key_size) + room;
    return (size + CLASS_STEP - 1) / CLASS_STEP * CLASS_STEP;
}

/* Of an entry that never has a value: no room at all, as long as it has a class. */
static inline size_t bare_size(size_t key_size)
{
    size_t size = round8(sizeof(struct weir_entry) + key_size);
    return size / CLASS_STEP <= CLASS_COUNT ? size : block_size(key_size, 0);
}

static inline bool entry_is_bare(const struct weir_entry *entry)
{
    return entry->class != CLASS_ALONE &&
           (size_t)(entry->class + 1) * CLASS_STEP == round8(sizeof(*entry) + entry->key_size);
}

static inline char *entry_key_bytes(const struct weir_entry *entry)
{
    return (char *)(uintptr_t)(const void *)(entry + 1);
}

static inline char *entry_area(const struct weir_entry *entry)
{
    return (char *)(uintptr_t)(const void *)entry + round8(sizeof(*entry) + entry->key_size);
}

static inline struct outside *entry_outside(const struct weir_entry *entry)
{
    struct outside *outside;
    memcpy(&outside, entry_area(entry), sizeof(outside));
    return outside;
}

static inline char *entry_bytes(const struct weir_entry *entry)
{
    return (entry->flags & ENTRY_OUTSIDE) != 0 ? (char *)entry_outside(entry)->bytes
                                               : entry_area(entry);
}

/* What the entry counts for in weir_state_bytes: the same whatever its history. */
static inline size_t entry_cost(size_t key_size, size_t value_size)
{
    return block_size(key_size, value_size) + sizeof(uint64_t);
}

static inline uint32_t key_hash(struct weir_slice key)
{
    return (uint32_t)XXH3_64bits(key.data, key.size);
}

/* --- table_entries.c: where entries lie --------------------------------------------------------*/

/* A zeroed block. */
struct weir_entry *entry_take(struct weir_state *state, size_t size);
/* The block of an entry that nothing points at any more. */
void entry_free(struct weir_state *state, struct weir_entry *entry);
/* Room for `size` bytes, the first of them kept. */
void entry_make_room(struct weir_entry *entry, size_t size);
void entry_set_value(struct weir_state *state,
                     struct weir_entry *entry,
                     const void *bytes,
                     size_t size);
/* Every entry in memory, also those that were dropped and may be revived. */
struct weir_entry *state_next_block(const struct weir_state *state,
                                    struct weir_state_cursor *cursor);
/* As weir_state_next, of what is in memory. */
struct weir_entry *state_next_resident(struct weir_state *state, struct weir_state_cursor *cursor);

/* --- table_timers.c: when they are due ---------------------------------------------------------*/

void state_heap_push(struct weir_state *state, struct weir_entry *entry);
/* Every entry with a timer once; nothing else. */
void state_heap_rebuild(struct weir_state *state);
/* Brings the earliest timer that still holds to the top. False: there is none. */
bool state_heap_settle(struct weir_state *state);
/* No item is left; entries keep their timers. */
void state_forget_timers(struct weir_state *state);

/* --- table.c -----------------------------------------------------------------------------------*/

/* The entry of that key in memory, dead only if there is no living one. */
struct weir_entry *
state_find_resident(const struct weir_state *state, struct weir_slice key, uint32_t hash);
/* Asks for the memory of a key's slot; some steps later, of the entry that the slot points at. */
void state_prefetch_slot(const struct weir_state *state, uint32_t hash);
void state_prefetch_block(const struct weir_state *state, uint32_t hash);
struct weir_entry *state_find(struct weir_state *state, struct weir_slice key, uint32_t hash);
struct weir_entry *state_put(struct weir_state *state,
                             struct weir_slice key,
                             uint32_t hash,
                             size_t size,
                             bool is_bare,
                             bool *ret_new);
/* A new entry in the index, of no layer. */
struct weir_entry *state_make(
    struct weir_state *state, struct weir_slice key, uint32_t hash, size_t size, bool is_bare);
/* Leaves the index. */
void state_index_remove(struct weir_state *state, const struct weir_entry *entry);
/* Keeps what the entry is, once per layer. */
void state_save(struct weir_state *state, struct weir_entry *entry);
/* The same for what is due and loses its timer: its value is kept when that is about to change. */
void state_save_taken(struct weir_state *state, struct weir_entry *entry);
/* The block of an entry that no layer can revive, once its items have left the heap. */
void state_bury(struct weir_state *state, struct weir_entry *entry);

#endif

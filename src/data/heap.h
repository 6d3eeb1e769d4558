/* SPDX-License-Identifier: Apache-2.0
 *
 * The heap of an evaluation: strings, arrays and objects that count their references.
 *
 *     ┌─────────────────────────┬──────────────────────────
 *     │ refs · class · capacity │ bytes, array or object …
 *     └─────────────────────────┴──────────────────────────
 *       struct weir_counted      ↑ what a value points at
 *
 * A value with one reference is changed in place, so `reduce … (.; . + [$x])` is linear and its
 * garbage is reused at once. The whole heap is dropped at reset: code on error paths may leak.
 * Small requests never fail: they only set `exceeded`, which the evaluator looks at with each step;
 * large ones (weir_heap_room) are refused beforehand. Owned by one thread.
 */
#ifndef WEIR_DATA_HEAP_H
#define WEIR_DATA_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/slice.h>
#include <weir/value.h>

#define WEIR_HEAP_CLASSES 28

struct weir_heap_big;

struct weir_heap {
    char *at, *end; /* of the current block */
    struct weir_heap_block *blocks;
    struct weir_heap_big *bigs;
    void *free[WEIR_HEAP_CLASSES];
    size_t used_bytes, limit_bytes;
    bool exceeded;
};

struct weir_counted {
    uint32_t refs;
    uint32_t class;  /* index of a size class; WEIR_HEAP_CLASSES: a big object */
    size_t capacity; /* bytes behind this header */
};

struct weir_array {
    uint32_t size, capacity;
    uint64_t reserved;
    struct weir_value items[];
};

struct weir_member {
    struct weir_value key; /* absent: deleted */
    struct weir_value value;
};

/* Members in order of insertion; above 8 an index of open addressing over their places. */
struct weir_object {
    uint32_t size, capacity; /* places used and allocated */
    uint32_t count;          /* without the deleted ones */
    uint32_t mask;           /* of the index; 0: none */
    uint32_t *index;         /* place + 1; 0: free */
    uint64_t reserved;
    struct weir_member members[];
};

void weir_heap_init(struct weir_heap *heap, size_t limit_bytes);
void weir_heap_done(struct weir_heap *heap);
/* Drops everything, keeps one block. */
void weir_heap_reset(struct weir_heap *heap);
/* False, and exceeded, if `bytes` more would pass the limit. */
bool weir_heap_room(struct weir_heap *heap, size_t bytes);

void *weir_heap_alloc(struct weir_heap *heap, size_t bytes);
void weir_heap_free(struct weir_heap *heap, void *memory);
void weir_heap_destroy(struct weir_heap *heap, struct weir_value value);

static inline struct weir_counted *weir_counted_of(struct weir_value value)
{
    return (struct weir_counted *)(uintptr_t)value.as.container - 1;
}

static inline bool weir_is_counted(struct weir_value value)
{
    return (value.form & WEIR_FORM_COUNTED) != 0;
}

static inline struct weir_value weir_retain(struct weir_value value)
{
    if (weir_is_counted(value)) {
        weir_counted_of(value)->refs++;
    }
    return value;
}

static inline void weir_release(struct weir_heap *heap, struct weir_value value)
{
    if (weir_is_counted(value) && --weir_counted_of(value)->refs == 0) {
        weir_heap_destroy(heap, value);
    }
}

/* True if the value may be changed in place by its only owner. */
static inline bool weir_is_owned(struct weir_value value)
{
    return weir_is_counted(value) && weir_counted_of(value)->refs == 1;
}

/* Strings. All `_take` the value they change and return the changed one. */
struct weir_value weir_string_new(struct weir_heap *heap, struct weir_slice bytes);
/* Uninitialised bytes to be filled by the caller. */
struct weir_value weir_string_room(struct weir_heap *heap, size_t size, char **ret_bytes);
struct weir_value
weir_string_append(struct weir_heap *heap, struct weir_value text, struct weir_slice more);
/* Keeps the bytes alive if the value is counted, else copies nothing: a slice of the text. */
struct weir_value weir_number_text(struct weir_heap *heap, struct weir_slice bytes);

/* Arrays. */
static inline const struct weir_array *weir_array_of(struct weir_value value)
{
    return value.as.container;
}
struct weir_value weir_array_new(struct weir_heap *heap, size_t capacity);
/* Consumes both. */
struct weir_value
weir_array_push(struct weir_heap *heap, struct weir_value array, struct weir_value item);
/* An array whose items may be written: its only owner, built, with room for `capacity` items. */
struct weir_value weir_array_own(struct weir_heap *heap, struct weir_value array, size_t capacity);
static inline struct weir_array *weir_array_mut(struct weir_value owned)
{
    return (struct weir_array *)(uintptr_t)owned.as.container;
}
/* A new array of the items [start, end). Consumes the array. */
struct weir_value
weir_array_slice(struct weir_heap *heap, struct weir_value array, size_t start, size_t end);

/* Objects. */
static inline const struct weir_object *weir_object_of(struct weir_value value)
{
    return value.as.container;
}
struct weir_value weir_object_new(struct weir_heap *heap, size_t capacity);
/* Consumes all three. The key must be a string. */
struct weir_value weir_object_set(struct weir_heap *heap,
                                  struct weir_value object,
                                  struct weir_value key,
                                  struct weir_value value);
/* Adds a member with a key that is known to be new, to an owned object with room for it. */
void weir_object_add(struct weir_heap *heap,
                     struct weir_value owned,
                     struct weir_value key,
                     struct weir_value value);
/* Consumes the object. */
struct weir_value
weir_object_delete(struct weir_heap *heap, struct weir_value object, struct weir_slice key);
/* An object whose values may be written by its only owner. Consumes. */
struct weir_value weir_object_own(struct weir_heap *heap, struct weir_value object);
/* The place of a value in an owned object, NULL if there is no such key. */
struct weir_value *weir_object_slot(struct weir_value owned, struct weir_slice key);
const struct weir_member *weir_object_find(const struct weir_object *object, struct weir_slice key);
/* Members sorted by key into ret, which has room for weir_value_count; borrowed. */
void weir_object_sorted(struct weir_value object, struct weir_member *ret);

/* A copy of the value that depends on the heap only. Consumes nothing. */
struct weir_value weir_heap_copy(struct weir_heap *heap, struct weir_value value);

#endif

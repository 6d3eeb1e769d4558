/* SPDX-License-Identifier: Apache-2.0
 *
 * The evaluation heap: size classes over bump-allocated blocks, free lists per class, and single
 * system allocations for what is larger than the last class. Classes step by about a third, so an
 * array that doubles finds its old memory used again by others.
 *
 * Destroying a container must not recurse (hostile values are a million deep), so dead containers
 * wait in a list threaded through their capacity field.
 */
#include "data/heap.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

#define FIRST_BLOCK_BYTES ((size_t)64 * 1024)
#define BLOCK_BYTES ((size_t)512 * 1024)

struct weir_heap_block {
    struct weir_heap_block *next;
    size_t size;
};

struct weir_heap_big {
    struct weir_heap_big *next, *previous;
    struct weir_counted counted;
};

/* The header included. */
static const uint32_t class_bytes[WEIR_HEAP_CLASSES] = {
    32,   48,   64,   80,   96,   128,  160,  192,  256,   320,   384,   512,   640,   768,
    1024, 1280, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768, 49152, 65536,
};

static uint32_t class_for(size_t bytes)
{
    uint32_t class = 0;
    if (bytes > 1024) {
        class = 15;
    } else if (bytes > 192) {
        class = 8;
    }
    while (class < WEIR_HEAP_CLASSES && class_bytes[class] < bytes) {
        class ++;
    }
    return class;
}

void weir_heap_init(struct weir_heap *heap, size_t limit_bytes)
{
    memset(heap, 0, sizeof *heap);
    heap->limit_bytes = limit_bytes == 0 ? SIZE_MAX : limit_bytes;
}

static void free_bigs(struct weir_heap *heap)
{
    while (heap->bigs != NULL) {
        struct weir_heap_big *next = heap->bigs->next;
        free(heap->bigs);
        heap->bigs = next;
    }
}

void weir_heap_done(struct weir_heap *heap)
{
    free_bigs(heap);
    while (heap->blocks != NULL) {
        struct weir_heap_block *next = heap->blocks->next;
        free(heap->blocks);
        heap->blocks = next;
    }
    weir_heap_init(heap, heap->limit_bytes);
}

void weir_heap_reset(struct weir_heap *heap)
{
    free_bigs(heap);
    struct weir_heap_block *keep = heap->blocks;
    heap->used_bytes = 0;
    heap->exceeded = false;
    if (keep == NULL) {
        return;
    }
    struct weir_heap_block *block = keep->next;
    while (block != NULL) {
        struct weir_heap_block *next = block->next;
        free(block);
        block = next;
    }
    keep->next = NULL;
    heap->at = (char *)(keep + 1);
    heap->end = (char *)keep + keep->size;
    heap->used_bytes = keep->size;
    memset(heap->free, 0, sizeof heap->free);
}

bool weir_heap_room(struct weir_heap *heap, size_t bytes)
{
    if (heap->used_bytes > heap->limit_bytes || bytes > heap->limit_bytes - heap->used_bytes) {
        heap->exceeded = true;
        return false;
    }
    return true;
}

static void *system_alloc(struct weir_heap *heap, size_t bytes)
{
    void *memory = malloc(bytes);
    WEIR_ASSERT(memory != NULL); /* large requests were checked against the limit */
    heap->used_bytes += bytes;
    heap->exceeded |= heap->used_bytes > heap->limit_bytes;
    return memory;
}

static void *alloc_big(struct weir_heap *heap, size_t bytes)
{
    WEIR_ASSERT(bytes < SIZE_MAX / 2);
    struct weir_heap_big *big = system_alloc(heap, sizeof *big + bytes);
    big->next = heap->bigs;
    big->previous = NULL;
    if (heap->bigs != NULL) {
        heap->bigs->previous = big;
    }
    heap->bigs = big;
    big->counted = (struct weir_counted){.refs = 1, .class = WEIR_HEAP_CLASSES, .capacity = bytes};
    return &big->counted + 1;
}

static void *alloc_block(struct weir_heap *heap, size_t bytes)
{
    /* The rest of the old block is given up: at most 64 KiB of 512. */
    size_t size = heap->blocks == NULL ? FIRST_BLOCK_BYTES : BLOCK_BYTES;
    if (size < bytes + sizeof(struct weir_heap_block)) {
        size = BLOCK_BYTES;
    }
    struct weir_heap_block *block = system_alloc(heap, size);
    block->next = heap->blocks;
    block->size = size;
    heap->blocks = block;
    heap->at = (char *)(block + 1);
    heap->end = (char *)block + size;
    return heap->at;
}

void *weir_heap_alloc(struct weir_heap *heap, size_t bytes)
{
    uint32_t class = class_for(bytes + sizeof(struct weir_counted));
    if (class == WEIR_HEAP_CLASSES) {
        return alloc_big(heap, bytes);
    }
    struct weir_counted *counted = heap->free[class];
    size_t size = class_bytes[class];
    if (counted != NULL) {
        memcpy(&heap->free[class], counted + 1, sizeof(void *));
    } else {
        if ((size_t)(heap->end - heap->at) < size) {
            alloc_block(heap, size);
        }
        counted = (struct weir_counted *)(void *)heap->at;
        heap->at += size;
    }
    *counted = (struct weir_counted){.refs = 1, .class = class, .capacity = size - sizeof *counted};
    return counted + 1;
}

void weir_heap_free(struct weir_heap *heap, void *memory)
{
    struct weir_counted *counted = (struct weir_counted *)memory - 1;
    if (counted->class < WEIR_HEAP_CLASSES) {
        memcpy(memory, &heap->free[counted->class], sizeof(void *));
        heap->free[counted->class] = counted;
        return;
    }
    struct weir_heap_big *big =
        (struct weir_heap_big *)(void *)((char *)counted - offsetof(struct weir_heap_big, counted));
    if (big->previous != NULL) {
        big->previous->next = big->next;
    } else {
        heap->bigs = big->next;
    }
    if (big->next != NULL) {
        big->next->previous = big->previous;
    }
    heap->used_bytes -= sizeof *big + counted->capacity;
    free(big);
}

/* Drops one reference; a container that died joins the list. */
static void drop(struct weir_heap *heap, struct weir_value value, struct weir_value *dead)
{
    if (!weir_is_counted(value) || --weir_counted_of(value)->refs > 0) {
        return;
    }
    if (value.kind < WEIR_KIND_ARRAY) {
        weir_heap_free(heap, (void *)(uintptr_t)value.as.container);
        return;
    }
    /* The link takes the place of fields that nobody reads any more. */
    if (value.kind == WEIR_KIND_ARRAY) {
        weir_array_mut(value)->reserved = (uintptr_t)dead->as.container;
        weir_array_mut(value)->capacity = dead->kind;
    } else {
        struct weir_object *object = (struct weir_object *)(uintptr_t)value.as.container;
        object->reserved = (uintptr_t)dead->as.container;
        object->capacity = dead->kind;
    }
    *dead = value;
}

void weir_heap_destroy(struct weir_heap *heap, struct weir_value value)
{
    if (value.kind < WEIR_KIND_ARRAY) {
        weir_heap_free(heap, (void *)(uintptr_t)value.as.container);
        return;
    }
    struct weir_value dead = {0};
    weir_counted_of(value)->refs = 1;
    drop(heap, value, &dead);
    while (dead.kind != WEIR_KIND_ABSENT) {
        struct weir_value next = {0};
        void *memory = (void *)(uintptr_t)dead.as.container;
        if (dead.kind == WEIR_KIND_ARRAY) {
            struct weir_array *array = memory;
            next.kind = (uint8_t)array->capacity;
            next.as.container = (const void *)(uintptr_t)array->reserved;
            for (uint32_t i = 0; i < array->size; i++) {
                drop(heap, array->items[i], &next);
            }
        } else {
            struct weir_object *object = memory;
            next.kind = (uint8_t)object->capacity;
            next.as.container = (const void *)(uintptr_t)object->reserved;
            for (uint32_t i = 0; i < object->size; i++) {
                drop(heap, object->members[i].key, &next);
                drop(heap, object->members[i].value, &next);
            }
            if (object->index != NULL) {
                weir_heap_free(heap, object->index);
            }
        }
        weir_heap_free(heap, memory);
        next.form = WEIR_FORM_BUILT | WEIR_FORM_COUNTED;
        dead = next;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks double in size so that a batch of any shape needs few of them. Reset keeps those of
 * ordinary size, up to a limit: a lane that works in rhythm asks the system for no memory after its
 * first batches. Given back and asked for again, each page would be cleared and mapped anew.
 */
#include <weir/arena.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define WEIR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_ASAN 1
#endif
#endif
#ifdef WEIR_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(memory, size) ASAN_POISON_MEMORY_REGION(memory, size)
#define UNPOISON(memory, size) ASAN_UNPOISON_MEMORY_REGION(memory, size)
#else
#define POISON(memory, size) ((void)0)
#define UNPOISON(memory, size) ((void)0)
#endif

enum { BLOCK_MIN = 4096, BLOCK_MAX = 1024 * 1024, SPARE_MAX = 4 * BLOCK_MAX };

struct weir_arena_block {
    struct weir_arena_block *next;
    size_t size; /* header included */
};

static const size_t header_size = (sizeof(struct weir_arena_block) + 15u) & ~(size_t)15u;

void weir_arena_init(struct weir_arena *arena, size_t limit_bytes)
{
    *arena = (struct weir_arena){.limit_bytes = limit_bytes};
}

static void block_free(struct weir_arena_block *block)
{
    UNPOISON((char *)block, block->size);
    free(block);
}

static void blocks_free(struct weir_arena_block *block)
{
    while (block != NULL) {
        struct weir_arena_block *next = block->next;
        block_free(block);
        block = next;
    }
}

void weir_arena_done(struct weir_arena *arena)
{
    blocks_free(arena->block);
    blocks_free(arena->spare);
    weir_arena_init(arena, arena->limit_bytes);
}

/* The newest blocks, which are the largest, stand first among the spare ones. */
void weir_arena_reset(struct weir_arena *arena)
{
    struct weir_arena_block *old_spare = arena->spare, **place = &arena->spare;
    size_t kept = 0;
    for (int list = 0; list < 2; list++) {
        struct weir_arena_block *block = list == 0 ? arena->block : old_spare;
        while (block != NULL) {
            struct weir_arena_block *next = block->next;
            if (block->size <= BLOCK_MAX && kept + block->size <= SPARE_MAX) {
                kept += block->size;
                POISON((char *)block + header_size, block->size - header_size);
                *place = block;
                place = &block->next;
            } else {
                block_free(block);
            }
            block = next;
        }
    }
    *place = NULL;
    arena->block = NULL;
    arena->at = arena->end = NULL;
    arena->used_bytes = 0;
}

/* A spare block of at least `least` bytes and at most `most`. */
static struct weir_arena_block *block_reuse(struct weir_arena *arena, size_t least, size_t most)
{
    struct weir_arena_block **place = &arena->spare;
    while (*place != NULL && ((*place)->size < least || (*place)->size > most)) {
        place = &(*place)->next;
    }
    struct weir_arena_block *block = *place;
    if (block != NULL) {
        *place = block->next;
        UNPOISON((char *)block, block->size);
    }
    return block;
}

void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size, size_t align)
{
    WEIR_ASSERT(align == 16);
    size_t want = arena->block == NULL ? BLOCK_MIN : arena->block->size * 2;
    if (want > BLOCK_MAX) {
        want = BLOCK_MAX;
    }
    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    if (want < size + header_size) {
        want = size + header_size;
    }
    size_t room = SIZE_MAX;
    if (arena->limit_bytes != 0) {
        room = arena->limit_bytes > arena->used_bytes ? arena->limit_bytes - arena->used_bytes : 0;
        if (want > room) {
            want = room;
        }
        if (want < size + header_size) {
            return NULL;
        }
    }
    struct weir_arena_block *block = block_reuse(arena, size + header_size, room);
    if (block == NULL) {
        block = malloc(want);
        if (block == NULL) {
            return NULL;
        }
        block->size = want;
    }
    want = block->size;
    arena->used_bytes += want;
    char *memory = (char *)block + header_size;
    size_t room_left = arena->at == NULL ? 0 : (size_t)(arena->end - arena->at);
    if (arena->block != NULL && want - header_size - size < room_left) {
        block->next = arena->block->next; /* an own block; go on bumping the current one */
        arena->block->next = block;
        return memory;
    }
    block->next = arena->block;
    arena->block = block;
    arena->at = memory + size;
    arena->end = (char *)block + want;
    return memory;
}

void *weir_arena_regrow(struct weir_arena *arena, void *memory, size_t old_size, size_t new_size)
{
    if (arena->at == (char *)memory + old_size &&
        (size_t)(arena->end - (char *)memory) >= new_size) {
        arena->at = (char *)memory + new_size;
        return memory;
    }
    void *grown = weir_arena_alloc(arena, new_size);
    if (grown != NULL) {
        memcpy(grown, memory, old_size);
    }
    return grown;
}

void *weir_arena_calloc(struct weir_arena *arena, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    void *memory = weir_arena_alloc(arena, count * size);
    if (memory != NULL) {
        memset(memory, 0, count * size);
    }
    return memory;
}

struct weir_slice weir_arena_copy(struct weir_arena *arena, struct weir_slice bytes)
{
    char *copy = weir_arena_alloc(arena, bytes.size + 1);
    if (copy == NULL) {
        return (struct weir_slice){0};
    }
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    copy[bytes.size] = '\0';
    return (struct weir_slice){copy, bytes.size};
}

char *weir_arena_strdup(struct weir_arena *arena, const char *text)
{
    struct weir_slice copy = weir_arena_copy(arena, weir_slice_of(text));
    return copy.data == NULL ? NULL : (char *)(uintptr_t)copy.data;
}

char *weir_arena_printf(struct weir_arena *arena, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : weir_arena_alloc(arena, (size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    return text;
}

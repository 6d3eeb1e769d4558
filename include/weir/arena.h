/* SPDX-License-Identifier: Apache-2.0
 *
 * A bump allocator: everything in it dies together. One arena per lifetime (process, pipeline,
 * batch). Owned by one thread at a time. Under AddressSanitizer freed blocks are poisoned.
 *
 *     block ── block ── block        the newest block is bumped
 *     spare ── spare                 of ordinary size, kept by reset up to 4 MiB and used again
 *
 * An arena has a limit in bytes; an allocation beyond it returns NULL, and so does one for which
 * the system has no memory. Blocks grow from 4 KiB to 1 MiB; larger objects get their own block.
 */
#ifndef WEIR_ARENA_H
#define WEIR_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>

struct weir_arena_block;

struct weir_arena {
    char *at, *end;                 /* free space of the current block */
    struct weir_arena_block *block; /* newest first */
    struct weir_arena_block *spare;
    size_t used_bytes; /* sum of block sizes, the spare ones not counted */
    size_t limit_bytes;
};

/* limit_bytes: 0 = no limit. Allocates nothing yet. */
void weir_arena_init(struct weir_arena *arena, size_t limit_bytes);
void weir_arena_done(struct weir_arena *arena);
/* Forgets everything, keeps blocks for reuse. */
void weir_arena_reset(struct weir_arena *arena);

void *weir_arena_alloc_slow(struct weir_arena *arena, size_t size, size_t align);

/* Uninitialised bytes, aligned to 16; NULL at the limit. */
static inline void *weir_arena_alloc(struct weir_arena *arena, size_t size)
{
    uintptr_t at = ((uintptr_t)arena->at + 15u) & ~(uintptr_t)15u;
    if (arena->at != NULL && at <= (uintptr_t)arena->end && (uintptr_t)arena->end - at >= size) {
        arena->at = (char *)at + size;
        return (char *)at;
    }
    return weir_arena_alloc_slow(arena, size, 16);
}

/* The memory with more room, which must be the newest of the arena or is copied; NULL at the limit.
 */
void *weir_arena_regrow(struct weir_arena *arena, void *memory, size_t old_size, size_t new_size);
/* Gives the end of an allocation back, if nothing was allocated behind it. */
static inline void
weir_arena_shrink(struct weir_arena *arena, void *memory, size_t old_size, size_t new_size)
{
    if (arena->at == (char *)memory + old_size) {
        arena->at = (char *)memory + new_size;
    }
}

/* Zeroed memory for count items of size bytes; NULL at the limit or on overflow. */
void *weir_arena_calloc(struct weir_arena *arena, size_t count, size_t size);
/* A copy of the bytes with a NUL after them (not counted in the size). data == NULL at the limit.
 */
struct weir_slice weir_arena_copy(struct weir_arena *arena, struct weir_slice bytes);
char *weir_arena_strdup(struct weir_arena *arena, const char *text);
char *weir_arena_printf(struct weir_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration's arena, which has no limit: running out of memory while loading a bounded file
 * ends the process, as for all small objects (base/alloc.h). Never NULL.
 */
#ifndef WEIR_CONF_MEMORY_H
#define WEIR_CONF_MEMORY_H

#include <weir/arena.h>

#include "base/assert.h"

/* Zeroed. */
static inline void *weir_conf_alloc(struct weir_arena *arena, size_t count, size_t size)
{
    void *memory = weir_arena_calloc(arena, count > 0 ? count : 1, size > 0 ? size : 1);
    WEIR_ASSERT(memory != NULL);
    return memory;
}

static inline struct weir_slice weir_conf_copy(struct weir_arena *arena, struct weir_slice bytes)
{
    struct weir_slice copy = weir_arena_copy(arena, bytes.data == NULL ? WEIR_SLICE("") : bytes);
    WEIR_ASSERT(copy.data != NULL);
    return copy;
}

static inline const char *weir_conf_strdup(struct weir_arena *arena, const char *text)
{
    return weir_conf_copy(arena, weir_slice_of(text)).data;
}

#endif

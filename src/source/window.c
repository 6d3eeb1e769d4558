/* SPDX-License-Identifier: Apache-2.0
 *
 * A list, oldest chunk first. Whoever looks holds a reference before the lock is let go, so a chunk
 * that is cut meanwhile lives on until its last batch is gone.
 */
#include "source/window.h"

#include "base/assert.h"

void weir_chunk_init(struct weir_chunk *chunk, void (*free)(struct weir_chunk *chunk))
{
    *chunk = (struct weir_chunk){.free = free};
    atomic_init(&chunk->refs, 1);
}

void weir_chunk_ref(struct weir_chunk *chunk)
{
    /* Relaxed: whoever takes one more holds one, or the window's lock. */
    atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
}

void weir_chunk_unref(struct weir_chunk *chunk)
{
    /* Acquire and release: the last one frees what the others have read. */
    if (atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) == 1) {
        chunk->free(chunk);
    }
}

int64_t weir_chunk_end(const struct weir_chunk *chunk)
{
    return chunk->start + (int64_t)chunk->count;
}

void weir_chunk_release(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_chunk_unref(refs[i]);
    }
}

void weir_window_push(struct weir_window *window, struct weir_chunk *chunk)
{
    WEIR_ASSERT(chunk->next == NULL && chunk->count > 0);
    chunk->start = window->filled;
    window->filled += (int64_t)chunk->count;
    window->bytes += chunk->bytes;
    if (window->last == NULL) {
        window->first = chunk;
    } else {
        window->last->next = chunk;
    }
    window->last = chunk;
}

struct weir_chunk *weir_window_at(const struct weir_window *window, int64_t number)
{
    struct weir_chunk *chunk = window->first;
    while (chunk != NULL && number >= weir_chunk_end(chunk)) {
        chunk = chunk->next;
    }
    if (chunk != NULL) {
        weir_chunk_ref(chunk);
    }
    return chunk;
}

void weir_window_cut(struct weir_window *window, int64_t number)
{
    while (window->first != NULL && weir_chunk_end(window->first) <= number) {
        struct weir_chunk *chunk = window->first;
        window->first = chunk->next;
        if (window->first == NULL) {
            window->last = NULL;
        }
        window->bytes -= chunk->bytes;
        weir_chunk_unref(chunk);
    }
}

bool weir_window_is_short(const struct weir_window *window, size_t limit_bytes, int64_t next)
{
    return window->first != NULL && window->bytes > limit_bytes / 2 &&
           (next - window->first->start) * 2 > window->filled - window->first->start;
}

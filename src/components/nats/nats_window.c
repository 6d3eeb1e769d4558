/* SPDX-License-Identifier: Apache-2.0
 *
 * The window's hard question is whether a message that the server delivers once more is in it
 * already. It is asked for repeats alone, and first deliveries come in the order of the stream: so
 * each chunk knows its lowest and highest sequence, and of many chunks hardly more than one is
 * searched.
 */
#include "nats_window.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/thread.h"

enum { ITEM_OVERHEAD_BYTES = 250 }; /* what the client library keeps of a message */

static void chunk_free(struct weir_chunk *base)
{
    struct nats_chunk *chunk = (struct nats_chunk *)base;
    for (size_t i = 0; i < base->count; i++) {
        natsMsg_Destroy(chunk->items[i].message);
    }
    weir_free(chunk);
}

struct nats_chunk *nats_chunk_new(size_t capacity)
{
    struct nats_chunk *chunk = weir_calloc(1, sizeof(*chunk) + capacity * sizeof(struct nats_item));
    weir_chunk_init(&chunk->base, chunk_free);
    chunk->capacity = capacity;
    chunk->lowest = UINT64_MAX;
    return chunk;
}

void nats_chunk_add(struct nats_chunk *chunk, natsMsg *message, uint64_t sequence, int64_t time_ms)
{
    WEIR_ASSERT(chunk->base.count < chunk->capacity);
    chunk->items[chunk->base.count++] =
        (struct nats_item){.message = message, .sequence = sequence, .time_ms = time_ms};
    chunk->base.bytes += (size_t)natsMsg_GetDataLength(message) + ITEM_OVERHEAD_BYTES;
    chunk->lowest = sequence < chunk->lowest ? sequence : chunk->lowest;
    chunk->highest = sequence > chunk->highest ? sequence : chunk->highest;
}

void nats_chunk_cut(struct nats_chunk *chunk, size_t count)
{
    while (chunk->base.count > count) {
        struct nats_item *item = &chunk->items[--chunk->base.count];
        chunk->base.bytes -= (size_t)natsMsg_GetDataLength(item->message) + ITEM_OVERHEAD_BYTES;
        natsMsg_Destroy(item->message);
    }
    if (count > 0) {
        chunk->highest = chunk->items[count - 1].sequence;
    }
}

void nats_chunk_unref(struct nats_chunk *chunk)
{
    weir_chunk_unref(&chunk->base);
}

void nats_window_init(struct nats_window *window)
{
    *window = (struct nats_window){0};
    pthread_mutex_init(&window->lock, NULL);
    weir_cond_init(&window->room);
}

void nats_window_done(struct nats_window *window)
{
    nats_window_cut(window, INT64_MAX);
    pthread_cond_destroy(&window->room);
    pthread_mutex_destroy(&window->lock);
}

void nats_window_push(struct nats_window *window, struct nats_chunk *chunk)
{
    pthread_mutex_lock(&window->lock);
    weir_window_push(&window->chunks, &chunk->base);
    pthread_mutex_unlock(&window->lock);
}

struct nats_chunk *nats_window_at(struct nats_window *window, int64_t number)
{
    pthread_mutex_lock(&window->lock);
    struct weir_chunk *chunk = weir_window_at(&window->chunks, number);
    pthread_mutex_unlock(&window->lock);
    return (struct nats_chunk *)chunk;
}

/* Of what is not acknowledged, and borrowed; NULL: nothing. Under the lock. */
static struct nats_chunk *window_first(const struct nats_window *window)
{
    struct weir_chunk *chunk = weir_window_at(&window->chunks, window->acked);
    if (chunk != NULL) {
        weir_chunk_unref(chunk); /* the window has another one */
    }
    return (struct nats_chunk *)chunk;
}

struct nats_chunk *nats_window_next(struct nats_window *window, int64_t number, bool *ret_held)
{
    pthread_mutex_lock(&window->lock);
    struct nats_chunk *chunk = (struct nats_chunk *)weir_window_at(&window->chunks, number);
    const struct nats_chunk *first = window_first(window);
    bool is_behind = first != NULL && chunk != first && first->is_trial;
    bool is_held = is_behind || (chunk != NULL && chunk != first && chunk->is_trial);
    bool may = chunk != NULL && !is_held && (!chunk->is_trial || chunk->is_ready);
    pthread_mutex_unlock(&window->lock);
    if (chunk != NULL && !may) {
        nats_chunk_unref(chunk);
    }
    if (ret_held != NULL) {
        *ret_held = is_held;
    }
    return may ? chunk : NULL;
}

struct nats_chunk *nats_window_trial(struct nats_window *window)
{
    pthread_mutex_lock(&window->lock);
    struct nats_chunk *chunk = window_first(window);
    chunk = chunk != NULL && chunk->is_trial ? chunk : NULL;
    if (chunk != NULL) {
        weir_chunk_ref(&chunk->base);
    }
    pthread_mutex_unlock(&window->lock);
    return chunk;
}

void nats_window_ready(struct nats_window *window, struct nats_chunk *trial, bool is_condemned)
{
    pthread_mutex_lock(&window->lock);
    trial->is_ready = true;
    trial->is_condemned = is_condemned;
    pthread_mutex_unlock(&window->lock);
}

struct nats_chunk *nats_window_after(struct nats_window *window, const struct nats_chunk *chunk)
{
    /* By number: the one we know may have left the window meanwhile. */
    return nats_window_at(window, chunk == NULL ? 0 : weir_chunk_end(&chunk->base));
}

static bool chunk_has(const struct nats_chunk *chunk, uint64_t sequence)
{
    if (sequence < chunk->lowest || sequence > chunk->highest) {
        return false;
    }
    for (size_t i = 0; i < chunk->base.count; i++) {
        if (chunk->items[i].sequence == sequence) {
            return true;
        }
    }
    return false;
}

bool nats_window_has(struct nats_window *window, uint64_t sequence)
{
    bool found = false;
    pthread_mutex_lock(&window->lock);
    for (const struct weir_chunk *chunk = window->chunks.first; chunk != NULL && !found;
         chunk = chunk->next) {
        found = chunk_has((const struct nats_chunk *)chunk, sequence);
    }
    pthread_mutex_unlock(&window->lock);
    return found;
}

int64_t nats_window_find(struct nats_window *window, uint64_t sequence)
{
    pthread_mutex_lock(&window->lock);
    int64_t number = window->chunks.filled;
    for (const struct weir_chunk *base = window->chunks.first; base != NULL; base = base->next) {
        const struct nats_chunk *chunk = (const struct nats_chunk *)base;
        if (chunk->highest >= sequence) {
            size_t i = 0;
            while (chunk->items[i].sequence < sequence) {
                i++;
            }
            number = base->start + (int64_t)i;
            break;
        }
    }
    pthread_mutex_unlock(&window->lock);
    return number;
}

void nats_window_cut(struct nats_window *window, int64_t number)
{
    pthread_mutex_lock(&window->lock);
    window->acked = number;
    weir_window_cut(&window->chunks, number);
    pthread_cond_signal(&window->room);
    pthread_mutex_unlock(&window->lock);
}

bool nats_window_wait(struct nats_window *window, size_t limit, int timeout_ms)
{
    const struct timespec until = weir_deadline(timeout_ms);
    pthread_mutex_lock(&window->lock);
    int code = 0;
    while (window->chunks.bytes > limit && code == 0) {
        code = pthread_cond_timedwait(&window->room, &window->lock, &until);
    }
    bool has_room = window->chunks.bytes <= limit;
    pthread_mutex_unlock(&window->lock);
    return has_room;
}

size_t nats_window_bytes(struct nats_window *window)
{
    pthread_mutex_lock(&window->lock);
    size_t bytes = window->chunks.bytes;
    pthread_mutex_unlock(&window->lock);
    return bytes;
}

int64_t nats_window_acked(struct nats_window *window)
{
    pthread_mutex_lock(&window->lock);
    int64_t acked = window->acked;
    pthread_mutex_unlock(&window->lock);
    return acked;
}

int64_t nats_window_filled(struct nats_window *window)
{
    pthread_mutex_lock(&window->lock);
    int64_t filled = window->chunks.filled;
    pthread_mutex_unlock(&window->lock);
    return filled;
}

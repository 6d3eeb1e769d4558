/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool keeps a few free blocks of its usual size; larger ones (for a long line) go back to the
 * system at once. The pool outlives its owner until the last block is home, so the order in which
 * components and batches die does not matter.
 */
#include "base/block.h"

#include <pthread.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { FREE_MAX = 64 };

struct weir_block_pool {
    pthread_mutex_t lock;
    size_t block_bytes;
    struct weir_block *free;
    size_t free_count, live; /* live: handed out */
    bool closed;
};

struct weir_block_pool *weir_block_pool_new(size_t block_bytes)
{
    struct weir_block_pool *pool = weir_calloc(1, sizeof(*pool));
    pool->block_bytes = block_bytes;
    pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

static void pool_free(struct weir_block_pool *pool)
{
    while (pool->free != NULL) {
        struct weir_block *next = pool->free->next;
        weir_free(pool->free);
        pool->free = next;
    }
    pthread_mutex_destroy(&pool->lock);
    weir_free(pool);
}

void weir_block_pool_close(struct weir_block_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    bool last = pool->live == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last) {
        pool_free(pool);
    }
}

struct weir_block *weir_block_take(struct weir_block_pool *pool, size_t capacity)
{
    struct weir_block *block = NULL;
    pthread_mutex_lock(&pool->lock);
    WEIR_ASSERT(!pool->closed);
    pool->live++;
    if (capacity <= pool->block_bytes) {
        capacity = pool->block_bytes;
        block = pool->free;
        if (block != NULL) {
            pool->free = block->next;
            pool->free_count--;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    if (block == NULL) {
        block = weir_realloc(NULL, sizeof(*block) + capacity, 1);
        block->pool = pool;
        block->capacity = capacity;
    }
    block->next = NULL;
    block->size = 0;
    atomic_init(&block->refs, 1);
    return block;
}

void weir_block_ref(struct weir_block *block)
{
    /* Relaxed: who takes a reference has one already. */
    atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
}

void weir_block_unref(struct weir_block *block)
{
    /* Release and acquire: all use of the bytes is over before they are reused. */
    if (block == NULL || atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    struct weir_block_pool *pool = block->pool;
    pthread_mutex_lock(&pool->lock);
    WEIR_ASSERT(pool->live > 0);
    pool->live--;
    bool last = pool->closed && pool->live == 0;
    bool keep = block->capacity == pool->block_bytes && pool->free_count < FREE_MAX;
    if (keep) {
        block->next = pool->free;
        pool->free = block;
        pool->free_count++;
    }
    pthread_mutex_unlock(&pool->lock);
    if (!keep) {
        weir_free(block);
    }
    if (last) {
        pool_free(pool);
    }
}

void weir_block_release(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        weir_block_unref(refs[i]);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Blocks of bytes that sources read into and records point into, so that a line is never copied. A
 * block lives as long as somebody holds a reference: the source while it reads on in it, and each
 * batch with a record in it. Freed blocks are kept for reuse, so that steady reading touches the
 * same memory again and again.
 *
 * Reference counts are atomic and the pool is locked: a reader thread may fill what a lane frees.
 */
#ifndef WEIR_BASE_BLOCK_H
#define WEIR_BASE_BLOCK_H

#include <stdatomic.h>
#include <stddef.h>

struct weir_block_pool;

struct weir_block {
    struct weir_block_pool *pool;
    struct weir_block *next; /* free list of the pool, or the owner's list */
    atomic_uint refs;
    size_t capacity, size; /* size: bytes filled; the owner's */
    char bytes[];
};

/* block_bytes: the capacity that is reused. */
struct weir_block_pool *weir_block_pool_new(size_t block_bytes);
/* The pool's memory goes when the last block comes back. NULL is allowed. */
void weir_block_pool_close(struct weir_block_pool *pool);

/* A block of at least this capacity, size 0, one reference. Never NULL. */
struct weir_block *weir_block_take(struct weir_block_pool *pool, size_t capacity);
void weir_block_ref(struct weir_block *block);
/* NULL is allowed. */
void weir_block_unref(struct weir_block *block);
/* For struct weir_batch_origin: drops the references that a batch held. */
void weir_block_release(void **refs, size_t count);

#endif

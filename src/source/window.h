/* SPDX-License-Identifier: Apache-2.0
 *
 * What a source has read ahead: chunks of numbered items, between their arrival and their commit. A
 * thread of the source appends, lanes look, control cuts what is committed; the source's lock
 * guards the window.
 *
 *     committed │ first … delivered to the lane │ next … read ahead │ filled
 *
 * A chunk is the beginning of a struct of the source. It is counted: the window holds one
 * reference, each batch that points into it another.
 */
#ifndef WEIR_SOURCE_WINDOW_H
#define WEIR_SOURCE_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/component.h>

struct weir_chunk {
    struct weir_chunk *next;
    atomic_uint refs;
    void (*free)(struct weir_chunk *chunk);
    int64_t start;       /* number of the first item */
    size_t count, bytes; /* items, and what they weigh */
};

struct weir_window {
    struct weir_chunk *first, *last;
    int64_t filled; /* number of the next item that comes */
    size_t bytes;
};

/* One reference. */
void weir_chunk_init(struct weir_chunk *chunk, void (*free)(struct weir_chunk *chunk));
/* Any thread. */
void weir_chunk_ref(struct weir_chunk *chunk);
void weir_chunk_unref(struct weir_chunk *chunk);
/* One behind the last item. */
int64_t weir_chunk_end(const struct weir_chunk *chunk);
/* Of weir_batch_origin, when what batches refer to are chunks. */
void weir_chunk_release(void **refs, size_t count);

/* Takes the chunk over. */
void weir_window_push(struct weir_window *window, struct weir_chunk *chunk);
/* The chunk that holds the number or, if there is a gap, a later one; with a reference. NULL: it is
 * not there yet. */
struct weir_chunk *weir_window_at(const struct weir_window *window, int64_t number);
/* Removes chunks that lie below the number as a whole. */
void weir_window_cut(struct weir_window *window, int64_t number);
/* More than half of what it may hold waits for a commit and not for a lane: only the end of the
 * epoch makes room. next: what is delivered next. */
bool weir_window_is_short(const struct weir_window *window, size_t limit_bytes, int64_t next);

#endif

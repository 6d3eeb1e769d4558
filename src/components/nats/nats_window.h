/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages between their delivery by the server and their acknowledgement, numbered from 0 in the
 * order of delivery: a window (source/window.h) with a lock of its own, and a way to wait for room.
 */
#ifndef WEIR_NATS_WINDOW_H
#define WEIR_NATS_WINDOW_H

#include <nats/nats.h>
#include <pthread.h>

#include "source/window.h"

struct nats_item {
    natsMsg *message;
    uint64_t sequence; /* in the stream */
    int64_t time_ms;
    bool is_given_up; /* a failed record: not acknowledged, but terminated */
};

struct nats_chunk {
    struct weir_chunk base; /* first: what the window holds */
    size_t capacity;
    uint64_t lowest, highest; /* sequences */
    int64_t touched_ns;       /* the server heard last that these are worked on; the reader's */
    /* One message that is tried alone, when what is before it is acknowledged and it is_ready; what
     * is behind it waits. */
    bool is_trial, is_ready;
    int64_t attempts;  /* how often it was delivered in vain */
    bool is_condemned; /* it has been tried often enough: not processed, but failed */
    struct nats_item items[];
};

struct nats_window {
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t room;
    struct weir_window chunks;
    int64_t acked; /* everything below is */
};

/* One reference. */
struct nats_chunk *nats_chunk_new(size_t capacity);
/* Takes the message over; the chunk must have room. */
void nats_chunk_add(struct nats_chunk *chunk, natsMsg *message, uint64_t sequence, int64_t time_ms);
/* Leaves the first `count` messages of one that was filled in the stream's order. */
void nats_chunk_cut(struct nats_chunk *chunk, size_t count);
void nats_chunk_unref(struct nats_chunk *chunk);

void nats_window_init(struct nats_window *window);
void nats_window_done(struct nats_window *window);
/* Takes the chunk over. */
void nats_window_push(struct nats_window *window, struct nats_chunk *chunk);
/* The chunk that holds the number or, if that is not there yet, none; with a reference. */
struct nats_chunk *nats_window_at(struct nats_window *window, int64_t number);
/* The same, if it may be delivered. *ret_held, if not NULL: not before something is
 * acknowledged. */
struct nats_chunk *nats_window_next(struct nats_window *window, int64_t number, bool *ret_held);
/* The first message that is not acknowledged, if it is to be tried alone; with a reference. */
struct nats_chunk *nats_window_trial(struct nats_window *window);
/* Its try may begin. */
void nats_window_ready(struct nats_window *window, struct nats_chunk *trial, bool is_condemned);
/* The chunk behind this one (NULL: the first); with a reference. */
struct nats_chunk *nats_window_after(struct nats_window *window, const struct nats_chunk *chunk);
/* The number of the first message, of a window in the stream's order, with that sequence or a later
 * one. */
int64_t nats_window_find(struct nats_window *window, uint64_t sequence);
/* Is the message of that sequence in the window? */
bool nats_window_has(struct nats_window *window, uint64_t sequence);
/* Everything below the number is acknowledged: removes chunks that lie below it as a whole. */
void nats_window_cut(struct nats_window *window, int64_t number);
/* Waits, at most so long, until it holds no more than `limit` bytes; false: it holds more. */
bool nats_window_wait(struct nats_window *window, size_t limit, int timeout_ms);
size_t nats_window_bytes(struct nats_window *window);
int64_t nats_window_acked(struct nats_window *window);
int64_t nats_window_filled(struct nats_window *window);

#endif

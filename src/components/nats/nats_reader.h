/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that keeps a window of messages filled from a durable consumer, by requests of its own,
 * and tells the server about them: still worked on, acknowledged, given back.
 */
#ifndef WEIR_NATS_READER_H
#define WEIR_NATS_READER_H

#include "base/thread.h"
#include "nats_acker.h"
#include "nats_api.h"
#include "nats_trial.h"
#include "nats_window.h"

enum { NATS_PULLS = 2 };

/* A request for messages that is under way. Requests are served one after the other. */
struct nats_pull {
    uint64_t number;
    int64_t left; /* messages */
    bool was_served;
};

struct nats_reader {
    struct weir_ctx *ctx;
    const struct nats_address *address;
    struct nats_stream_spec stream;
    struct nats_consumer_spec consumer;
    bool is_ordered;         /* from a position, in order, by a consumer of our own */
    bool skips_lost;         /* ordered: messages deleted before they were read are left out */
    uint64_t start_sequence; /* ordered: where the configuration begins, perhaps behind the end; 0:
                                not said */
    int64_t count;           /* messages of one request */
    size_t budget;           /* bytes of the window */
    unsigned lane;           /* to wake */
    int64_t max_deliveries;  /* a message that was delivered so often is tried alone; 0: none is */
    /* Messages on the server behind the last one delivered; ordered: the sequence behind them. -1:
     * unknown. */
    _Atomic int64_t behind;

    struct nats_window window;
    struct weir_thread thread;
    struct weir_link link;   /* the thread's */
    struct nats_acker acker; /* started unless it is ordered */
    atomic_bool draining;    /* nothing more is to be asked for */

    /* The thread's. */
    struct nats_pull pulls[NATS_PULLS];
    size_t pull_count;
    uint64_t pulled;
    size_t unclosed; /* bytes that came since an end of the epoch was asked for */
    bool oversized, was_connected, is_unsubscribed, is_drained;
    bool was_waiting; /* ordered: the server found no more until the last request ended */
    int64_t heard_ns, touched_ns, looked_ns, ack_wait_ms;
    /* Shared: what all processes have acknowledged of that stream, as the server said last; a
     * consumer that is gone is made again behind it. */
    uint64_t floor;
    char created[40];      /* empty: there was none yet */
    uint64_t next, number; /* ordered: sequence to go on from (the caller fills it), deliveries */
    char consumer_name[NATS_NAME_MAX + 1];
    struct nats_trials trials;
    int64_t trials_end; /* in the window, behind the last message that is to be tried alone */

    struct nats_line line;

    pthread_mutex_t lock; /* guards what follows */
    struct weir_err failure;

    int64_t leave_by_ns;              /* control: when what it waits for is given up */
    struct nats_reader *next_leaving; /* the owner's */
};

/* The caller has filled what stands before `window`. control. */
void nats_reader_init(struct nats_reader *self);
WEIR_MUST_USE weir_status nats_reader_start(struct nats_reader *self, struct weir_err *err);
/* Why it gave up, else WEIR_OK. control. */
WEIR_MUST_USE weir_status nats_reader_failed(struct nats_reader *self, struct weir_err *err);
/* Acknowledges the messages with numbers below `to`: WEIR_AGAIN until the server knows. control. */
WEIR_MUST_USE weir_status nats_reader_ack(struct nats_reader *self, int64_t to);
/* Asks for nothing more. Does not wait. control. */
void nats_reader_drain(struct nats_reader *self);
/* Ends the thread, which gives back what was not acknowledged. Waits for a server that answers, for
 * two seconds at most and not at all when there is no time left. Accepts a reader that was never
 * started. control. */
void nats_reader_stop(struct nats_reader *self);
/* Tells the thread to end, and does not wait. control. */
void nats_reader_leave(struct nats_reader *self);
/* Whether it has ended; what it waits for is given up after two seconds, and at once when there is
 * no time left. Waits so long at most. control. */
bool nats_reader_has_left(struct nats_reader *self, int timeout_ms);
void nats_reader_done(struct nats_reader *self);

#endif

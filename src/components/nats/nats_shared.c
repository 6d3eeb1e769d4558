/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading as one of several: a durable consumer that processes share. Which one gets a message is
 * the server's choice, and a repeat comes after newer ones, so there is no order between processes;
 * the partition of a lane is this process's own sequence of deliveries, numbered from 0 at each
 * start (nats_window.h).
 *
 * A message is acknowledged when its outputs are safe, and the server has said that it knows. Until
 * then its reader keeps the server from handing it to another process; so the holder decides its
 * fate, however long that takes.
 */
#include <string.h>

#include "base/assert.h"
#include "nats_reader.h"
#include "nats_record.h"
#include "nats_source.h"

struct nats_shared {
    const struct nats_source_config *config;
    struct weir_ctx *ctx;
    struct weir_partition *part;
    char durable[NATS_NAME_MAX + 1];
    struct nats_reader reader;
    bool opened;
    int64_t next; /* lane, or paused: what is delivered next */
    int64_t held; /* likewise: what waits for an acknowledgement that was asked for; -1: nothing */
};

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
shared_open(void *instance, const void *config_of, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct nats_shared *self = instance;
    const struct nats_source_config *config = config_of;
    self->config = config;
    self->ctx = ctx;
    nats_source_durable(config, ctx->pipeline, self->durable);
    self->reader = (struct nats_reader){
        .ctx = ctx,
        .address = &config->address,
        .stream = {.name = config->stream,
                   .subjects = config->subjects,
                   .manage = (enum nats_manage)config->manage},
        .consumer = nats_source_consumer(config, self->durable),
        .count = config->count,
        .max_deliveries = config->max_deliveries,
        .budget = (size_t)ctx->in_flight_bytes,
        .behind = -1,
    };
    nats_reader_init(&self->reader);
    return WEIR_OK;
}

static void shared_close(void *instance)
{
    struct nats_shared *self = instance;
    nats_reader_done(&self->reader);
}

static weir_status shared_start(void *instance, struct weir_err *err)
{
    struct nats_shared *self = instance;
    const struct weir_assignment item = {.topic = self->config->stream, .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    self->reader.lane = self->part->lane;
    return nats_reader_start(&self->reader, err);
}

static void shared_stop(void *instance)
{
    struct nats_shared *self = instance;
    if (self->part == NULL) {
        return;
    }
    nats_reader_drain(&self->reader);
    weir_source_revoke(self->ctx, &self->part, 1, false);
    self->part = NULL;
    nats_reader_stop(&self->reader);
}

static weir_status shared_poll(void *instance, struct weir_err *err)
{
    struct nats_shared *self = instance;
    int64_t behind = atomic_load_explicit(&self->reader.behind, memory_order_relaxed);
    if (self->part != NULL) {
        int64_t filled = nats_window_filled(&self->reader.window);
        atomic_store_explicit(&self->part->end, behind < 0 ? -1 : filled + behind,
                              memory_order_relaxed);
    }
    return nats_reader_failed(&self->reader, err);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* A try waits for what is before it, and what is behind it for the try. */
static void close_if_held(struct nats_shared *self)
{
    bool is_held = false;
    struct nats_chunk *chunk = nats_window_next(&self->reader.window, self->next, &is_held);
    if (chunk != NULL) {
        nats_chunk_unref(chunk);
    }
    if (is_held && self->held != self->next) {
        weir_ctx_close_epoch(self->ctx);
    }
    self->held = is_held ? self->next : -1;
}

static weir_status shared_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    (void)err;
    struct nats_shared *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    weir_status status = nats_window_deliver(&self->reader.window, &self->config->key, intake,
                                             self->part, &self->next, max);
    if (self->config->max_deliveries > 0) {
        close_if_held(self);
    }
    return status;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status
shared_seek(void *instance, struct weir_partition *const *items, size_t count, struct weir_err *err)
{
    (void)err;
    struct nats_shared *self = instance;
    WEIR_ASSERT(count == 1);
    /* What is being acknowledged is done with, also if another source failed to commit. */
    int64_t done = atomic_load(&self->reader.acker.wanted);
    self->next = items[0]->read > done ? items[0]->read : done;
    self->held = -1;
    return WEIR_OK;
}

static weir_status shared_commit(void *instance,
                                 struct weir_partition *const *items,
                                 size_t count,
                                 struct weir_err *err)
{
    (void)err;
    struct nats_shared *self = instance;
    WEIR_ASSERT(count == 1);
    return nats_reader_ack(&self->reader, items[0]->closing);
}

const struct weir_mode nats_shared_mode = {
    .self_size = sizeof(struct nats_shared),
    .open = shared_open,
    .close = shared_close,
    .ops =
        {
            .start = shared_start,
            .poll = shared_poll,
            .read = shared_read,
            .seek = shared_seek,
            .commit = shared_commit,
            .stop = shared_stop,
        },
};

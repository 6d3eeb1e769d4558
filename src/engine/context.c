/* SPDX-License-Identifier: Apache-2.0
 *
 * What components may ask of the engine (weir/component.h): where to wake whom, randomness, what
 * they share. Nothing here decides anything; a component that wants an epoch to end only says so.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"
#include "engine/engine_priv.h"

int weir_lane_wake_fd(struct weir_ctx *ctx, unsigned lane)
{
    WEIR_ASSERT(lane < ctx->engine->lane_count);
    return ctx->engine->lanes[lane].wake_fd;
}

int weir_control_wake_fd(struct weir_ctx *ctx)
{
    return ctx->engine->wake_fd;
}

void weir_link_down(struct weir_ctx *ctx, struct weir_link *link, const struct weir_err *why)
{
    struct weir_engine *engine = ctx->engine;
    pthread_mutex_lock(&engine->shown_lock);
    link->why = *why;
    if (!link->is_down) {
        link->is_down = true;
        link->ctx = ctx;
        link->next = engine->down;
        engine->down = link;
    }
    pthread_mutex_unlock(&engine->shown_lock);
}

void weir_link_up(struct weir_ctx *ctx, struct weir_link *link)
{
    if (!link->is_down) { /* nobody else sets it */
        return;
    }
    struct weir_engine *engine = ctx->engine;
    pthread_mutex_lock(&engine->shown_lock);
    struct weir_link **place = &engine->down;
    while (*place != link) {
        place = &(*place)->next;
    }
    *place = link->next;
    link->is_down = false;
    pthread_mutex_unlock(&engine->shown_lock);
}

bool weir_ctx_must_hurry(const struct weir_ctx *ctx)
{
    const struct weir_engine *engine = ctx->engine;
    int64_t asked_ns = atomic_load_explicit(&engine->stop_asked_ns, memory_order_relaxed);
    return asked_ns != 0 && weir_clock_monotonic_ns(engine->clock) - asked_ns >
                                engine->config->shutdown_timeout * WEIR_NS_PER_MS;
}

bool weir_ctx_may_give_up(const struct weir_ctx *ctx)
{
    return ctx->engine->stopping && ctx->engine->reads_again;
}

void weir_ctx_close_epoch(struct weir_ctx *ctx)
{
    struct weir_engine *engine = ctx->engine;
    /* Until the epoch is sealed, or was aborted. */
    if (!atomic_exchange_explicit(&engine->epoch_full, true, memory_order_release)) {
        weir_wake(engine->wake_fd);
    }
}

void weir_ctx_commit_soon(struct weir_ctx *ctx)
{
    struct weir_engine *engine = ctx->engine;
    if (!atomic_exchange_explicit(&engine->epoch_due, true, memory_order_relaxed)) {
        weir_wake(engine->wake_fd);
    }
}

void weir_ctx_random(struct weir_ctx *ctx, void *bytes, size_t size)
{
    char *at = bytes;
    while (size > 0) {
        uint64_t bits = weir_random_next(&ctx->engine->random);
        size_t part = size < sizeof(bits) ? size : sizeof(bits);
        memcpy(at, &bits, part);
        at += part;
        size -= part;
    }
}

void *weir_ctx_share(struct weir_ctx *ctx,
                     const char *key,
                     void *(*create)(void *argument, struct weir_err *err),
                     void *argument,
                     void (*destroy)(void *object),
                     struct weir_err *err)
{
    for (struct weir_shared *shared = ctx->engine->shared; shared != NULL; shared = shared->next) {
        if (strcmp(shared->key, key) == 0) {
            return shared->object;
        }
    }
    void *object = create(argument, err);
    if (object != NULL) {
        struct weir_shared *shared = weir_calloc(1, sizeof(*shared));
        *shared = (struct weir_shared){weir_strdup(key), object, destroy, ctx->engine->shared};
        ctx->engine->shared = shared;
    }
    return object;
}

bool weir_ctx_sink(struct weir_ctx *ctx, const char *name, unsigned *ret_index)
{
    struct weir_engine *engine = ctx->engine;
    for (unsigned i = 0; i < engine->sink_count; i++) {
        if (strcmp(engine->sinks[i].name, name) == 0) {
            engine->sinks[i].is_routed = true;
            *ret_index = i;
            return true;
        }
    }
    return false;
}

void weir_source_exhausted(struct weir_ctx *ctx)
{
    ctx->engine->sources[ctx->index].exhausted = true;
}

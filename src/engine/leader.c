/* SPDX-License-Identifier: Apache-2.0
 *
 * One lease that goes to whoever takes it first. The component that keeps it is the first source or
 * sink whose system can.
 */
#include "engine/leader.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/lease.h"
#include "base/wake.h"
#include "engine/engine_priv.h"

struct weir_leader {
    struct weir_engine *engine;
    const struct weir_lease_ops *ops;
    void *medium;
    struct weir_leases *leases;
    int stop_fd, keep_fd;
    bool running;
    pthread_t keeper;
    atomic_bool sound;
    pthread_mutex_t lock; /* guards failure */
    struct weir_err failure;
};

/* Until it is to end, or has failed for good. */
static void *keeper_main(void *argument)
{
    struct weir_leader *self = argument;
    bool told = false;
    for (;;) {
        int64_t wait_ns =
            weir_leases_due_ns(self->leases) - weir_clock_monotonic_ns(self->engine->clock);
        struct pollfd wait[] = {{.fd = self->stop_fd, .events = POLLIN},
                                {.fd = self->keep_fd, .events = POLLIN}};
        (void)!poll(wait, 2, wait_ns <= 0 ? 0 : (int)(wait_ns / WEIR_NS_PER_MS) + 1);
        if (wait[0].revents != 0) {
            return NULL;
        }
        if (wait[1].revents != 0) {
            uint64_t count;
            ssize_t got = read(self->keep_fd, &count, sizeof(count));
            WEIR_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
        }
        struct weir_err err = {0};
        weir_status status = weir_leases_round(self->leases, &err);
        atomic_store_explicit(&self->sound, status == WEIR_OK, memory_order_relaxed);
        if (status != WEIR_OK && !told) {
            WEIR_LOG_WARN(&self->engine->log, "the lease of the singleton cannot be asked for",
                          WEIR_F_ERR(&err));
        }
        told = status != WEIR_OK;
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            pthread_mutex_lock(&self->lock);
            self->failure = err;
            pthread_mutex_unlock(&self->lock);
        }
        weir_wake(self->engine->wake_fd);
        if (weir_status_class(status) == WEIR_CLASS_FATAL) {
            return NULL;
        }
    }
}

struct weir_leader *weir_leader_start(struct weir_engine *engine, struct weir_err *err)
{
    const struct weir_plan_edge *edge = engine->plan.leases;
    if (edge == NULL) {
        return NULL;
    }
    struct weir_leader *self = weir_calloc(1, sizeof(*self));
    self->engine = engine;
    self->ops = edge->component->leases;
    self->medium = weir_calloc(1, self->ops->self_size);
    pthread_mutex_init(&self->lock, NULL);
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->keep_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    WEIR_ASSERT(self->stop_fd >= 0 && self->keep_fd >= 0);
    const struct weir_leases_settings settings = {
        .medium = self->ops->medium,
        .medium_self = self->medium,
        .clock = engine->clock,
        .count = 1,
        .member = weir_random_next(&engine->random),
        .ttl_ms = engine->config->singleton_timeout,
        .sticky = true,
    };
    self->leases = weir_leases_new(&settings);
    if (self->ops->open(self->medium, edge->config, engine->config->name, settings.member,
                        settings.ttl_ms, err) == WEIR_OK) {
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        int code = pthread_create(&self->keeper, NULL, keeper_main, self);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        WEIR_ASSERT(code == 0);
        self->running = true;
        return self;
    }
    weir_leader_stop(self);
    return NULL;
}

void weir_leader_stop(struct weir_leader *self)
{
    if (self == NULL) {
        return;
    }
    if (self->running) {
        uint64_t one = 1;
        ssize_t written = write(self->stop_fd, &one, sizeof(one));
        WEIR_ASSERT(written == (ssize_t)sizeof(one));
        pthread_join(self->keeper, NULL);
        weir_leases_let_go(self->leases, 0, false);
        struct weir_err ignored = {0}; /* what is not released ends by itself */
        if (atomic_load_explicit(&self->sound, memory_order_relaxed)) {
            (void)!weir_leases_leave(self->leases, &ignored);
        }
    }
    self->ops->close(self->medium);
    weir_leases_free(self->leases);
    close(self->stop_fd);
    close(self->keep_fd);
    pthread_mutex_destroy(&self->lock);
    weir_free(self->medium);
    weir_free(self);
}

bool weir_leader_leads(struct weir_leader *self)
{
    return self == NULL || weir_leases_state(self->leases, 0, NULL) == WEIR_LEASE_HELD;
}

void weir_leader_yield(struct weir_leader *self)
{
    weir_leases_let_go(self->leases, 0, true);
    weir_wake(self->keep_fd);
}

bool weir_leader_is_sound(const struct weir_leader *self)
{
    return atomic_load_explicit(&self->sound, memory_order_relaxed);
}

bool weir_leader_has_failed(struct weir_leader *self, struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    bool failed = self->failure.status != WEIR_OK;
    if (failed) {
        *err = self->failure;
    }
    pthread_mutex_unlock(&self->lock);
    return failed;
}

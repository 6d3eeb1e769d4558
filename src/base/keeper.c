/* SPDX-License-Identifier: Apache-2.0
 *
 * Waits for the time of the next round, on one descriptor that ends it and one that makes it look.
 * A medium that did not answer last is not asked once more at the end: a server that hangs must not
 * hold up whoever stops.
 */
#include "base/keeper.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"

/* Until the next round is due. False: to end. */
static bool keeper_wait(struct weir_keeper *self)
{
    int64_t wait_ns = weir_leases_due_ns(self->leases) - weir_clock_monotonic_ns(self->clock);
    return !weir_thread_wait(&self->thread, self->look_fd,
                             wait_ns <= 0 ? 0 : (int)(wait_ns / WEIR_NS_PER_MS) + 1);
}

static void *keeper_main(void *argument)
{
    struct weir_keeper *self = argument;
    bool told = false, is_over = false;
    while (!is_over && keeper_wait(self)) {
        struct weir_err err = {0};
        weir_status status = weir_leases_round(self->leases, &err);
        atomic_store_explicit(&self->sound, status == WEIR_OK, memory_order_relaxed);
        is_over = weir_status_class(status) == WEIR_CLASS_FATAL && status != WEIR_FENCED;
        pthread_mutex_lock(&self->lock);
        self->trouble = err;
        self->trouble.status = status;
        self->is_over = is_over;
        pthread_mutex_unlock(&self->lock);
        if (status != WEIR_OK && !told && !is_over) {
            WEIR_LOG_WARN(self->log, "leases cannot be renewed", WEIR_F_ERR(&err));
        } else if (status == WEIR_OK && told) {
            WEIR_LOG_INFO(self->log, "leases are renewed again");
        }
        told = status != WEIR_OK;
        weir_wake(self->owner_fd);
    }
    struct weir_err ignored = {0};
    if (weir_keeper_is_sound(self)) {
        (void)!weir_leases_leave(self->leases, &ignored);
    }
    return NULL;
}

weir_status weir_keeper_init(struct weir_keeper *self, struct weir_err *err)
{
    pthread_mutex_init(&self->lock, NULL);
    self->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return self->look_fd >= 0 ? WEIR_OK
                              : weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
}

weir_status weir_keeper_start(struct weir_keeper *self, struct weir_err *err)
{
    return weir_thread_start(&self->thread, keeper_main, self, err);
}

void weir_keeper_look(struct weir_keeper *self)
{
    weir_wake(self->look_fd);
}

bool weir_keeper_is_sound(const struct weir_keeper *self)
{
    return atomic_load_explicit(&self->sound, memory_order_relaxed);
}

weir_status weir_keeper_trouble(struct weir_keeper *self, struct weir_err *ret_err)
{
    pthread_mutex_lock(&self->lock);
    *ret_err = self->trouble;
    pthread_mutex_unlock(&self->lock);
    return ret_err->status;
}

weir_status weir_keeper_failed(struct weir_keeper *self, struct weir_err *err)
{
    pthread_mutex_lock(&self->lock);
    weir_status status = self->is_over ? self->trouble.status : WEIR_OK;
    if (status != WEIR_OK) {
        *err = self->trouble;
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

void weir_keeper_stop(struct weir_keeper *self, int patience_ms)
{
    if (!weir_thread_stop_within(&self->thread, patience_ms)) {
        weir_leases_cut(self->leases);
        weir_thread_stop(&self->thread);
    }
}

void weir_keeper_done(struct weir_keeper *self)
{
    WEIR_ASSERT(!self->thread.is_running);
    if (self->look_fd >= 0) {
        close(self->look_fd);
    }
    pthread_mutex_destroy(&self->lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The errand that runs stays first in the list until it is done, so an empty list means that
 * nothing is under way.
 */
#include "base/desk.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/wake.h"

static struct weir_errand *desk_first(struct weir_desk *self)
{
    pthread_mutex_lock(&self->lock);
    struct weir_errand *errand = self->first;
    pthread_mutex_unlock(&self->lock);
    return errand;
}

static void desk_done(struct weir_desk *self, struct weir_errand *errand)
{
    pthread_mutex_lock(&self->lock);
    self->first = errand->next;
    self->last = self->first == NULL ? NULL : self->last;
    pthread_mutex_unlock(&self->lock);
    atomic_store_explicit(&errand->state, WEIR_ERRAND_DONE, memory_order_release);
    weir_wake(self->owner_fd);
}

static void *desk_main(void *argument)
{
    struct weir_desk *self = argument;
    while (!weir_thread_wait(&self->thread, self->wake_fd, -1)) {
        struct weir_errand *errand;
        while ((errand = desk_first(self)) != NULL && !weir_thread_pause(&self->thread, 0)) {
            errand->run(errand);
            desk_done(self, errand);
        }
    }
    return NULL;
}

weir_status weir_desk_start(struct weir_desk *self, int owner_fd, struct weir_err *err)
{
    *self = (struct weir_desk){.owner_fd = owner_fd};
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
    }
    pthread_mutex_init(&self->lock, NULL);
    weir_status status = weir_thread_start(&self->thread, desk_main, self, err);
    if (status != WEIR_OK) {
        pthread_mutex_destroy(&self->lock);
        close(self->wake_fd);
    }
    return status;
}

void weir_desk_give(struct weir_desk *self, struct weir_errand *errand)
{
    WEIR_ASSERT(atomic_load_explicit(&errand->state, memory_order_relaxed) != WEIR_ERRAND_GIVEN);
    atomic_store_explicit(&errand->state, WEIR_ERRAND_GIVEN, memory_order_relaxed);
    errand->next = NULL;
    pthread_mutex_lock(&self->lock);
    if (self->last == NULL) {
        self->first = errand;
    } else {
        self->last->next = errand;
    }
    self->last = errand;
    pthread_mutex_unlock(&self->lock);
    weir_wake(self->wake_fd);
}

bool weir_desk_is_idle(struct weir_desk *self)
{
    return desk_first(self) == NULL;
}

bool weir_desk_stop(struct weir_desk *self, int timeout_ms)
{
    bool was_running = self->thread.is_running;
    if (!weir_thread_stop_within(&self->thread, timeout_ms)) {
        return false;
    }
    if (was_running) {
        pthread_mutex_destroy(&self->lock);
        close(self->wake_fd);
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The descriptor outlives the thread: it is closed after the thread is joined, so that nobody ever
 * waits on a number that became another file's.
 */
#include "base/thread.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/wake.h"

enum { BACK_OFF_MIN_MS = 100, BACK_OFF_MAX_MS = 5000 };

weir_status weir_thread_start(struct weir_thread *self,
                              void *(*main)(void *argument),
                              void *argument,
                              struct weir_err *err)
{
    self->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->stop_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "no descriptor: %s", strerror(errno));
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&self->id, NULL, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code != 0) {
        close(self->stop_fd);
        return weir_fail(err, WEIR_FATAL, "cannot start a thread: %s", strerror(code));
    }
    self->is_running = true;
    return WEIR_OK;
}

static void thread_joined(struct weir_thread *self)
{
    close(self->stop_fd);
    self->is_running = false;
}

void weir_thread_stop(struct weir_thread *self)
{
    if (self->is_running) {
        weir_wake(self->stop_fd);
        pthread_join(self->id, NULL);
        thread_joined(self);
    }
}

void weir_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct timespec weir_deadline(int64_t from_now_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += from_now_ms % 1000 * 1000000;
    until.tv_sec += from_now_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return until;
}

bool weir_thread_stop_within(struct weir_thread *self, int timeout_ms)
{
    if (self->is_running) {
        const struct timespec until = weir_deadline(timeout_ms);
        weir_wake(self->stop_fd);
        if (pthread_clockjoin_np(self->id, NULL, CLOCK_MONOTONIC, &until) != 0) {
            return false;
        }
        thread_joined(self);
    }
    return true;
}

bool weir_thread_pause(const struct weir_thread *self, int timeout_ms)
{
    struct pollfd wait = {.fd = self->stop_fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) > 0;
}

bool weir_thread_wait(const struct weir_thread *self, int fd, int timeout_ms)
{
    struct pollfd wait[] = {{.fd = self->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    (void)!poll(wait, 2, timeout_ms);
    weir_wake_take(fd);
    return wait[0].revents != 0;
}

bool weir_thread_back_off(const struct weir_thread *self, int *ret_ms)
{
    int next_ms = *ret_ms == 0 ? BACK_OFF_MIN_MS : *ret_ms * 2;
    *ret_ms = next_ms < BACK_OFF_MAX_MS ? next_ms : BACK_OFF_MAX_MS;
    return weir_thread_pause(self, *ret_ms);
}

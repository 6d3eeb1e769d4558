/* SPDX-License-Identifier: Apache-2.0
 *
 * A part at a time, each synced before the next: a commit that syncs the file beside it waits for
 * one part at most, not for a gigabyte that a file system's journal may have to write first. What
 * is written meanwhile is moved too, so a pipeline that writes as fast as the disk would never see
 * it end; hence the rule in weir_log_mover_gains: two are moved for one that is added.
 */
#include "state/log_mover.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/thread.h"
#include "state/state_log_priv.h"

enum { PART_BYTES = 8 << 20, PIECE_BYTES = 256 << 10 };

struct weir_log_mover {
    struct weir_thread thread;
    int from, to;
    int64_t first, had, shift; /* where it began, how far the file went then */
    pthread_mutex_t lock;      /* guards all that follows */
    pthread_cond_t told;
    int64_t at, until;
    bool ends, lets_go;
    int failure; /* errno */
};

static bool move_part(const struct weir_log_mover *self, int64_t at, int64_t size, char *buffer)
{
    while (size > 0) {
        ssize_t got =
            pread(self->from, buffer, size < PIECE_BYTES ? (size_t)size : PIECE_BYTES, at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got == 0) {
            errno = EIO; /* somebody has cut it */
        }
        if (got <= 0 ||
            weir_state_log_write(self->to, buffer, (size_t)got, at + self->shift) != WEIR_OK) {
            return false;
        }
        at += got;
        size -= got;
    }
    return fdatasync(self->to) == 0;
}

static void *mover_main(void *argument)
{
    struct weir_log_mover *self = argument;
    char *buffer = weir_calloc(1, PIECE_BYTES);
    pthread_mutex_lock(&self->lock);
    while (!self->ends && self->failure == 0) {
        int64_t at = self->at, left = self->until - at;
        if (left == 0) {
            pthread_cond_wait(&self->told, &self->lock);
            continue;
        }
        pthread_mutex_unlock(&self->lock);
        int64_t size = left < PART_BYTES ? left : PART_BYTES;
        int failure = move_part(self, at, size, buffer) ? 0 : errno != 0 ? errno : EIO;
        pthread_mutex_lock(&self->lock);
        self->failure = failure;
        self->at += failure == 0 ? size : 0;
    }
    bool lets_go = self->lets_go;
    pthread_mutex_unlock(&self->lock);
    if (lets_go) {
        close(self->from);
    }
    weir_free(buffer);
    return NULL;
}

struct weir_log_mover *weir_log_mover_start(
    int from, int to, int64_t at, int64_t until, int64_t shift, struct weir_err *err)
{
    struct weir_log_mover *self = weir_calloc(1, sizeof(*self));
    *self = (struct weir_log_mover){.from = from,
                                    .to = to,
                                    .first = at,
                                    .had = until,
                                    .shift = shift,
                                    .at = at,
                                    .until = until};
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->told, NULL);
    if (weir_thread_start(&self->thread, mover_main, self, err) != WEIR_OK) {
        weir_log_mover_free(self);
        return NULL;
    }
    return self;
}

void weir_log_mover_tell(struct weir_log_mover *self, int64_t until)
{
    pthread_mutex_lock(&self->lock);
    self->until = until;
    pthread_cond_signal(&self->told);
    pthread_mutex_unlock(&self->lock);
}

weir_status weir_log_mover_at(struct weir_log_mover *self, int64_t *ret_at)
{
    pthread_mutex_lock(&self->lock);
    *ret_at = self->at;
    int failure = self->failure;
    pthread_mutex_unlock(&self->lock);
    errno = failure;
    return failure == 0 ? WEIR_OK : WEIR_IO;
}

bool weir_log_mover_gains(struct weir_log_mover *self)
{
    pthread_mutex_lock(&self->lock);
    int64_t moved = self->at - self->first, added = self->until - self->had;
    bool gains = self->failure != 0 || self->at == self->until || moved >= 2 * added;
    pthread_mutex_unlock(&self->lock);
    return gains;
}

static void mover_end(struct weir_log_mover *self, bool lets_go)
{
    pthread_mutex_lock(&self->lock);
    self->ends = true;
    self->lets_go = self->lets_go || lets_go;
    pthread_cond_signal(&self->told);
    pthread_mutex_unlock(&self->lock);
}

void weir_log_mover_let_go(struct weir_log_mover *self)
{
    mover_end(self, true);
}

void weir_log_mover_free(struct weir_log_mover *self)
{
    if (self == NULL) {
        return;
    }
    mover_end(self, false);
    weir_thread_stop(&self->thread);
    pthread_cond_destroy(&self->told);
    pthread_mutex_destroy(&self->lock);
    weir_free(self);
}

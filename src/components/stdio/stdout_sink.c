/* SPDX-License-Identifier: Apache-2.0
 *
 * stdout: writes a line per record to standard output. What is written cannot be taken back, so it
 * is written at once, batch by batch, for whoever watches: an aborted epoch or a crash repeats
 * lines and loses none that were committed.
 *
 * A reader that does not read must not hold a lane: the descriptor is asked first, pipes and
 * terminals get pieces that fit without waiting (PIPE_BUF), and what does not fit stays in a
 * bounded buffer. Its mode is not changed, since other processes share it.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/component.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/wake.h"

enum {
    BUFFER_BYTES = 64 * 1024, /* beyond it the lane waits */
    BUFFER_BYTES_MAX = 128 * 1024 * 1024,
    PATIENCE_MS = 20, /* a lane waits for the reader this long within a batch */
};

struct stdout_sink {
    struct weir_ctx *ctx;
    size_t piece_max; /* what a write takes without waiting once poll said so */
    pthread_mutex_t lock;
    struct weir_strbuf buffer;
    size_t at;               /* of the buffer, written up to here */
    uint64_t taken, written; /* bytes in all */
    uint64_t sealed;         /* of taken, up to here the closing epoch */
    bool idle;               /* the reader took nothing when it was waited for last */
    struct weir_err failure; /* for good */
};

static weir_status
stdout_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)config;
    struct stdout_sink *self = instance;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    weir_strbuf_init(&self->buffer, (size_t)BUFFER_BYTES_MAX + WEIR_RECORD_BYTES_MAX);
    struct stat info;
    if (fstat(STDOUT_FILENO, &info) != 0) {
        return weir_fail(err, WEIR_CONFIG, "standard output is closed");
    }
    self->piece_max = S_ISREG(info.st_mode) ? SSIZE_MAX : PIPE_BUF;
    return WEIR_OK;
}

static void stdout_close(void *instance)
{
    struct stdout_sink *self = instance;
    if (self->ctx != NULL) {
        weir_strbuf_done(&self->buffer);
        pthread_mutex_destroy(&self->lock);
        *self = (struct stdout_sink){0};
    }
}

/* --- under the lock ----------------------------------------------------------------------------*/

static void sink_fail(struct stdout_sink *self, int code)
{
    if (code == EPIPE) {
        (void)!weir_fail(&self->failure, WEIR_FATAL, "standard output was closed by its reader");
    } else {
        (void)!weir_fail(&self->failure, WEIR_FATAL, "cannot write standard output: %s",
                         strerror(code));
    }
    weir_wake(weir_control_wake_fd(self->ctx));
}

/* Writes what can be written, waiting at most so long for the reader. */
static void sink_drain(struct stdout_sink *self, int patience_ms)
{
    while (self->at < self->buffer.size && self->failure.status == WEIR_OK) {
        struct pollfd wait = {.fd = STDOUT_FILENO, .events = POLLOUT};
        if (self->piece_max == PIPE_BUF && poll(&wait, 1, self->idle ? 0 : patience_ms) <= 0) {
            self->idle = self->idle || patience_ms > 0;
            break;
        }
        size_t left = self->buffer.size - self->at;
        ssize_t written = write(STDOUT_FILENO, self->buffer.data + self->at,
                                left < self->piece_max ? left : self->piece_max);
        if (written > 0) {
            self->idle = false;
            self->at += (size_t)written;
            self->written += (uint64_t)written;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            sink_fail(self, errno);
        }
    }
    if (self->at == self->buffer.size) {
        weir_strbuf_clear(&self->buffer);
        self->at = 0;
    }
}

static weir_status sink_append(struct stdout_sink *self,
                               struct weir_record *const *records,
                               size_t count,
                               size_t *cursor)
{
    size_t first = *cursor;
    bool stuck = false;
    for (; *cursor < count; (*cursor)++) {
        if (self->buffer.size >= BUFFER_BYTES && !stuck) {
            sink_drain(self, PATIENCE_MS);
            stuck = self->buffer.size >= BUFFER_BYTES;
        }
        if (stuck && (*cursor == first || self->buffer.size >= BUFFER_BYTES_MAX)) {
            return WEIR_AGAIN; /* a batch that was begun is finished in the buffer */
        }
        struct weir_slice value = records[*cursor]->raw;
        size_t before = self->buffer.size;
        weir_strbuf_slice(&self->buffer, value.data == NULL ? WEIR_SLICE("null") : value);
        weir_strbuf_push(&self->buffer, '\n');
        WEIR_ASSERT(!self->buffer.failed);
        self->taken += self->buffer.size - before;
    }
    sink_drain(self, stuck ? 0 : PATIENCE_MS);
    return WEIR_OK;
}

/* --- lane --------------------------------------------------------------------------------------*/

static weir_status stdout_prepare(void *instance,
                                  struct weir_run *run,
                                  struct weir_record *record,
                                  struct weir_err *err)
{
    (void)instance;
    struct weir_slice value;
    weir_status status = weir_record_bytes(weir_run_batch(run), record, &value, err);
    if (status == WEIR_OK && value.size > WEIR_RECORD_BYTES_MAX) {
        return weir_fail(err, WEIR_TOO_LARGE, "the value has %zu bytes, a line may have %d",
                         value.size, WEIR_RECORD_BYTES_MAX);
    }
    if (status == WEIR_OK && value.size > 0 && memchr(value.data, '\n', value.size) != NULL) {
        status = weir_fail(err, WEIR_REJECTED, "the value contains a line break");
        weir_err_hint(err, "Add a step `map: .` for JSON on several lines.");
    }
    return status;
}

static weir_status stdout_write(void *instance,
                                unsigned lane,
                                struct weir_batch *batch,
                                struct weir_record *const *records,
                                size_t count,
                                size_t *cursor,
                                struct weir_err *err)
{
    (void)lane;
    (void)batch;
    (void)err;
    struct stdout_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    /* After a failure nothing is taken; poll tells control. */
    weir_status status =
        self->failure.status == WEIR_OK ? sink_append(self, records, count, cursor) : WEIR_AGAIN;
    pthread_mutex_unlock(&self->lock);
    return status;
}

/* --- control -----------------------------------------------------------------------------------*/

static weir_status stdout_poll(void *instance, struct weir_err *err)
{
    struct stdout_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    sink_drain(self, 0);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    weir_status status = self->failure.status;
    pthread_mutex_unlock(&self->lock);
    return status;
}

static void stdout_seal(void *instance)
{
    struct stdout_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    self->sealed = self->taken;
    pthread_mutex_unlock(&self->lock);
}

static weir_status stdout_confirm(void *instance, struct weir_err *err)
{
    struct stdout_sink *self = instance;
    weir_status status = stdout_poll(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    pthread_mutex_lock(&self->lock);
    bool done = self->written >= self->sealed;
    pthread_mutex_unlock(&self->lock);
    return done ? WEIR_OK : WEIR_AGAIN;
}

/* Drops what is not written, to the end of the line that is under way. */
static weir_status stdout_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct stdout_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    size_t keep = self->at;
    if (keep > 0 && self->buffer.data[keep - 1] != '\n') {
        const char *rest = self->buffer.data + keep;
        const char *stop = memchr(rest, '\n', self->buffer.size - keep);
        WEIR_ASSERT(stop != NULL);
        keep += (size_t)(stop - rest) + 1;
    }
    self->buffer.size = keep;
    self->taken = self->written + (keep - self->at);
    self->sealed = self->taken;
    pthread_mutex_unlock(&self->lock);
    return WEIR_OK;
}

static const struct weir_sink_ops stdout_ops = {
    .prepare = stdout_prepare,
    .write = stdout_write,
    .poll = stdout_poll,
    .seal = stdout_seal,
    .confirm = stdout_confirm,
    .abort = stdout_abort,
};

const struct weir_component weir_component_stdout_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "stdout",
            .summary = "Writes a line per record to standard output.",
            .help = "Lines are written at once, before their epoch is committed: after a crash "
                    "some are written again. A tombstone is the line `null`. A value with a line "
                    "break cannot be a line and fails. A reader that stops reading holds the "
                    "pipeline up; one that goes away ends it.",
            .example = "stdout: {}",
        },
    .self_size = sizeof(struct stdout_sink),
    .open = stdout_open,
    .close = stdout_close,
    .ops = {.sink = &stdout_ops},
};

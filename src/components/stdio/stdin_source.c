/* SPDX-License-Identifier: Apache-2.0
 *
 * stdin: reads lines from standard input. Nobody can read them again after a crash; within the
 * process an aborted epoch can, because what is not committed stays in a window.
 *
 *     piece ── piece ── piece        blocks of the stream, each begins with a line
 *     │ committed │ read │ ready     ready: behind the last whole line
 *
 * A thread of its own fills the window, because a read may wait for ever and setting O_NONBLOCK
 * would change the terminal or pipe for every process that shares it. It touches nothing but the
 * window (under the lock) and the lane's descriptor. The window is bounded: when it is full the
 * thread waits for a commit, and whoever writes to the pipe waits for it.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <weir/component.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/block.h"
#include "base/thread.h"
#include "base/wake.h"

enum { BLOCK_BYTES = 256 * 1024 };
enum stdin_empty { EMPTY_SKIP = 1, EMPTY_KEEP };

struct stdin_config {
    int empty_lines;
    weir_bytesize max_line;
};

// clang-format off
static const struct weir_choice empty_choices[] = {
    {"skip", EMPTY_SKIP, "They are no records."},
    {"keep", EMPTY_KEEP, "They are records with an empty value."},
    WEIR_CHOICES_END,
};

#define S struct stdin_config
static const struct weir_field stdin_fields[] = {
    WEIR_F_ENUM(S, empty_lines, empty_choices, .fallback = "skip",
                .help = "What becomes of empty lines."),
    WEIR_F_SIZE(S, max_line, .fallback = "16MiB", .min = 1024, .max = 64 * 1024 * 1024,
                .help = "Longest line; a longer one stops the pipeline."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* A block of the stream. Its bytes up to `ready` never change. */
struct stdin_piece {
    struct weir_block *block;
    int64_t start; /* position of its first byte */
    size_t ready;  /* whole lines; the last line of all, too, once the stream has ended */
    struct stdin_piece *next;
};

struct stdin_source {
    const struct stdin_config *config;
    struct weir_ctx *ctx;
    struct weir_block_pool *pool;
    struct weir_partition *part;
    struct weir_thread thread;
    size_t window_bytes_max;
    int64_t next; /* lane, or paused: what is delivered next */
    bool told;    /* the end */

    pthread_mutex_t lock; /* guards the window: what follows */
    pthread_cond_t room;
    struct stdin_piece *first, *last;
    size_t window_bytes;
    bool stopping, ended;
    struct weir_err failure;
};

/* --- the window; under the lock ----------------------------------------------------------------*/

static void window_push(struct stdin_source *self, struct weir_block *block, int64_t start)
{
    struct stdin_piece *piece = weir_calloc(1, sizeof(*piece));
    *piece = (struct stdin_piece){.block = block, .start = start};
    if (self->last == NULL) {
        self->first = piece;
    } else {
        self->last->next = piece;
    }
    self->last = piece;
    self->window_bytes += block->capacity;
}

static void window_shift(struct stdin_source *self)
{
    struct stdin_piece *piece = self->first;
    self->first = piece->next;
    if (self->first == NULL) {
        self->last = NULL;
    }
    self->window_bytes -= piece->block->capacity;
    weir_block_unref(piece->block);
    weir_free(piece);
}

/* The last piece is full: the line that its end cuts moves to a new one. */
static void window_grow(struct stdin_source *self)
{
    struct stdin_piece *last = self->last;
    size_t tail = last->block->size - last->ready;
    struct weir_block *block =
        weir_block_take(self->pool, tail > BLOCK_BYTES / 2 ? tail * 2 : BLOCK_BYTES);
    memcpy(block->bytes, last->block->bytes + last->ready, tail);
    block->size = tail;
    if (last->ready == 0) { /* all of it is the beginning of one long line */
        self->window_bytes += block->capacity - last->block->capacity;
        weir_block_unref(last->block);
        last->block = block;
    } else {
        last->block->size = last->ready;
        window_push(self, block, last->start + (int64_t)last->ready);
    }
}

/* --- the thread --------------------------------------------------------------------------------*/

static void thread_wake_lane(struct stdin_source *self)
{
    weir_wake(weir_lane_wake_fd(self->ctx, self->part->lane));
}

/* Waits for room and finds the place for the next bytes. False: to end. */
static bool thread_prepare(struct stdin_source *self, char **ret_at, size_t *ret_size)
{
    pthread_mutex_lock(&self->lock);
    while (!self->stopping && self->window_bytes + BLOCK_BYTES > self->window_bytes_max &&
           self->first != self->last && self->last->block->size == self->last->block->capacity) {
        pthread_cond_wait(&self->room, &self->lock);
    }
    bool go_on = !self->stopping;
    if (go_on && self->last->block->size == self->last->block->capacity) {
        if (self->last->block->size - self->last->ready > (size_t)self->config->max_line) {
            (void)!weir_fail(&self->failure, WEIR_TOO_LARGE,
                             "the line at byte %lld is longer than %lld bytes",
                             (long long)(self->last->start + (int64_t)self->last->ready),
                             (long long)self->config->max_line);
            weir_err_hint(&self->failure, "Raise `max_line`.");
            go_on = false;
        } else {
            window_grow(self);
        }
    }
    struct weir_block *block = self->last->block;
    *ret_at = block->bytes + block->size;
    *ret_size = block->capacity - block->size;
    pthread_mutex_unlock(&self->lock);
    return go_on;
}

/* True when the lane has something new to look at. */
static bool thread_take(struct stdin_source *self, ssize_t got, int code)
{
    pthread_mutex_lock(&self->lock);
    struct stdin_piece *last = self->last;
    struct weir_block *block = last->block;
    bool news = got <= 0;
    if (got > 0) {
        const char *fresh = block->bytes + block->size;
        const char *stop = memrchr(fresh, '\n', (size_t)got);
        block->size += (size_t)got;
        if (stop != NULL) {
            last->ready = (size_t)(stop + 1 - block->bytes);
            news = true;
        }
    } else if (got == 0) {
        last->ready = block->size;
        self->ended = true;
    } else {
        (void)!weir_fail(&self->failure, WEIR_FATAL, "cannot read standard input: %s",
                         strerror(code));
    }
    pthread_mutex_unlock(&self->lock);
    return news;
}

static ssize_t thread_read(struct stdin_source *self, char *at, size_t size)
{
    struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                            {.fd = self->thread.stop_fd, .events = POLLIN}};
    if (poll(wait, 2, -1) < 0 || wait[1].revents != 0) {
        errno = EINTR;
        return -1;
    }
    if (wait[0].revents & POLLNVAL) {
        errno = EBADF;
        return -1;
    }
    /* Another reader of the same pipe may be faster: then this waits, and can be cancelled. */
    int unused;
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &unused);
    ssize_t got = read(STDIN_FILENO, at, size);
    int code = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
    errno = code;
    return got;
}

static void *thread_main(void *argument)
{
    struct stdin_source *self = argument;
    int unused;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
    char *at;
    size_t size;
    bool go_on = true;
    while (go_on && thread_prepare(self, &at, &size)) {
        ssize_t got = thread_read(self, at, size);
        int code = errno;
        if (got < 0 && (code == EINTR || code == EAGAIN)) {
            continue;
        }
        if (thread_take(self, got, code)) {
            thread_wake_lane(self);
        }
        go_on = got > 0;
    }
    thread_wake_lane(self);
    return NULL;
}

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
stdin_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct stdin_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    self->pool = weir_block_pool_new(BLOCK_BYTES);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->room, NULL);
    self->window_bytes_max = (size_t)ctx->in_flight_bytes;
    return WEIR_OK;
}

static void stdin_close(void *instance)
{
    struct stdin_source *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    while (self->first != NULL) {
        window_shift(self);
    }
    weir_block_pool_close(self->pool);
    pthread_cond_destroy(&self->room);
    pthread_mutex_destroy(&self->lock);
    *self = (struct stdin_source){0};
}

static weir_status stdin_start(void *instance, struct weir_err *err)
{
    struct stdin_source *self = instance;
    const struct weir_assignment item = {.topic = "stdin", .source_data = self};
    weir_source_assign(self->ctx, &item, 1, &self->part);
    weir_source_exhausted(self->ctx);
    window_push(self, weir_block_take(self->pool, BLOCK_BYTES), 0);
    return weir_thread_start(&self->thread, thread_main, self, err);
}

static void stdin_stop(void *instance)
{
    struct stdin_source *self = instance;
    if (self->thread.is_running) {
        pthread_mutex_lock(&self->lock);
        self->stopping = true;
        pthread_cond_signal(&self->room);
        pthread_mutex_unlock(&self->lock);
        pthread_cancel(self->thread.id);
        weir_thread_stop(&self->thread);
    }
    if (self->part != NULL) {
        weir_source_revoke(self->ctx, &self->part, 1, false);
        self->part = NULL;
    }
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* The whole lines from `next` on that lie in one block, with a reference; false if there are none.
 */
static bool window_look(struct stdin_source *self,
                        struct weir_block **ret_block,
                        struct weir_slice *ret_lines,
                        bool *ret_end,
                        struct weir_err *err)
{
    bool found = false;
    pthread_mutex_lock(&self->lock);
    WEIR_ASSERT(self->first != NULL);
    if (self->next < self->first->start) {
        self->next = self->first->start; /* committed already */
    }
    struct stdin_piece *piece = self->first;
    while (piece->next != NULL && self->next >= piece->start + (int64_t)piece->ready) {
        piece = piece->next;
    }
    size_t at = (size_t)(self->next - piece->start);
    if (at < piece->ready) {
        found = true;
        weir_block_ref(piece->block);
        *ret_block = piece->block;
        *ret_lines = (struct weir_slice){piece->block->bytes + at, piece->ready - at};
    } else if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    *ret_end = !found && self->ended;
    pthread_mutex_unlock(&self->lock);
    return found;
}

/* Takes up to max lines off *lines. */
static size_t deliver_lines(struct stdin_source *self,
                            struct weir_intake *intake,
                            struct weir_block *block,
                            struct weir_slice *lines,
                            size_t max)
{
    size_t count = 0;
    while (count < max && lines->size > 0) {
        const char *stop = memchr(lines->data, '\n', lines->size);
        size_t size = stop == NULL ? lines->size : (size_t)(stop - lines->data);
        size_t step = stop == NULL ? size : size + 1;
        if (size > 0 && stop != NULL && lines->data[size - 1] == '\r') {
            size--;
        }
        if (size > 0 || self->config->empty_lines == EMPTY_KEEP) {
            struct weir_block *ref = count == 0 ? block : NULL;
            if (ref != NULL) {
                weir_block_ref(ref);
            }
            struct weir_record *record = weir_intake_record(intake, self->part, ref);
            if (record == NULL) {
                weir_block_unref(ref);
                break;
            }
            record->position = self->next;
            record->flags = WEIR_RECORD_RAW | WEIR_RECORD_NO_TIME;
            record->raw = (struct weir_slice){lines->data, size};
            count++;
        }
        lines->data += step;
        lines->size -= step;
        self->next += (int64_t)step;
    }
    return count;
}

static weir_status stdin_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct stdin_source *self = instance;
    if (self->part == NULL || self->part->lane != lane) {
        return WEIR_AGAIN;
    }
    size_t count = 0;
    bool end = false;
    struct weir_block *block;
    struct weir_slice lines;
    while (count < max && window_look(self, &block, &lines, &end, err)) {
        count += deliver_lines(self, intake, block, &lines, max - count);
        weir_block_unref(block);
    }
    weir_intake_advance(intake, self->part, self->next);
    atomic_store_explicit(&self->part->end, self->next, memory_order_relaxed);
    if (end && !self->told) {
        self->told = true;
        weir_intake_end(intake, self->part);
        weir_wake(weir_control_wake_fd(self->ctx));
    }
    return err->status != WEIR_OK ? err->status : count > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* --- positions; control ------------------------------------------------------------------------*/

static weir_status
stdin_seek(void *instance, struct weir_partition *const *items, size_t count, struct weir_err *err)
{
    (void)err;
    struct stdin_source *self = instance;
    WEIR_ASSERT(count == 1);
    self->next = items[0]->read;
    self->told = false;
    return WEIR_OK;
}

/* The sinks have everything up to `closing`: the window need not keep it. */
static weir_status stdin_commit(void *instance,
                                struct weir_partition *const *items,
                                size_t count,
                                struct weir_err *err)
{
    (void)err;
    struct stdin_source *self = instance;
    WEIR_ASSERT(count == 1);
    pthread_mutex_lock(&self->lock);
    while (self->first != self->last &&
           self->first->start + (int64_t)self->first->ready <= items[0]->closing) {
        window_shift(self);
    }
    pthread_cond_signal(&self->room);
    pthread_mutex_unlock(&self->lock);
    return WEIR_OK;
}

static const struct weir_batch_origin stdin_origin = {.release = weir_block_release};

static const struct weir_source_ops stdin_ops = {
    .start = stdin_start,
    .read = stdin_read,
    .seek = stdin_seek,
    .commit = stdin_commit,
    .stop = stdin_stop,
    .origin = &stdin_origin,
};

const struct weir_component weir_component_stdin_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "stdin",
            .summary = "Reads lines from standard input.",
            .help = "Ends with the stream. Line ends may be `\\n` or `\\r\\n`; a last line without "
                    "one counts. What was in flight is gone after a crash; within the process "
                    "lines are kept until they are committed, at most a quarter of `in_flight`: "
                    "then reading waits for a commit.",
            .example = "stdin: {}",
            .fields = stdin_fields,
            .config_size = sizeof(struct stdin_config),
        },
    .self_size = sizeof(struct stdin_source),
    .positions = WEIR_POSITIONS_NONE,
    .bounded = true,
    .exclusive = true,
    .deterministic = true,
    .open = stdin_open,
    .close = stdin_close,
    .ops = {.source = &stdin_ops},
};

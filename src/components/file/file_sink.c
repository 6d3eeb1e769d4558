/* SPDX-License-Identifier: Apache-2.0
 *
 * file: appends a line per record to one file. Lanes share it under a lock; the records of a batch
 * stay together and those of a task in order.
 *
 *     0 … committed … sealed … size … size + buffer
 *         in the log  in the   in the    not written yet
 *                     closing  file
 *                     epoch
 *
 * With a state log its entry holds the committed length beside the positions: restoring cuts the
 * file there, an abort too. Without one (Kafka to file) nothing is cut that was once synced, so a
 * crash repeats some lines and loses none.
 *
 * A full disk is back-pressure: the lanes wait, and what a failed write left behind is cut off, so
 * that readers see whole lines. After a failed sync the kernel may have dropped the pages: the
 * pipeline stops and nothing is tried again.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/component.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/wake.h"

enum {
    FLUSH_BYTES = 256 * 1024,
    BUFFER_BYTES_MAX = 128 * 1024 * 1024,
    RETRY_MS = 100, /* a full disk is looked at again */
    MARK_HEAD = 8,
};
enum file_existing { EXISTING_APPEND = 1, EXISTING_OVERWRITE, EXISTING_REFUSE };

struct file_sink_config {
    const char *path;
    int existing;
};

// clang-format off
static const struct weir_choice existing_choices[] = {
    {"append", EXISTING_APPEND, "What is there stays; lines are added."},
    {"overwrite", EXISTING_OVERWRITE, "What is there is lost."},
    {"refuse", EXISTING_REFUSE, "The pipeline does not start."},
    WEIR_CHOICES_END,
};

#define S struct file_sink_config
static const struct weir_field file_sink_fields[] = {
    WEIR_F_STR(S, path, .flags = WEIR_REQUIRED | WEIR_SHORT, .example = "out/results.jsonl",
               .help = "The file; its directory must exist."),
    WEIR_F_ENUM(S, existing, existing_choices,
                .unset = "`refuse` with a state log, else `append`",
                .help = "What to do when the file has content that this pipeline did not write."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct file_sink {
    const struct file_sink_config *config;
    struct weir_ctx *ctx;
    pthread_mutex_t lock; /* guards what follows */
    int fd;
    bool begun;  /* it is decided what becomes of existing content */
    bool logged; /* there is a state log */
    bool full;   /* the disk is */
    bool linked; /* the directory entry is durable */
    int64_t retry_ns;
    int64_t size;      /* of the file, as we wrote it */
    int64_t sealed;    /* up to here the closing epoch */
    int64_t synced;    /* up to here durable */
    int64_t committed; /* up to here an abort leaves it alone */
    struct weir_strbuf buffer;
    struct weir_err failure; /* for good */
};

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
file_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct file_sink *self = instance;
    self->config = config;
    self->ctx = ctx;
    pthread_mutex_init(&self->lock, NULL);
    weir_strbuf_init(&self->buffer, (size_t)BUFFER_BYTES_MAX + WEIR_RECORD_BYTES_MAX);
    const char *path = self->config->path;
    self->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    struct stat info;
    if (self->fd < 0 || fstat(self->fd, &info) != 0) {
        return weir_fail(err, WEIR_CONFIG, "cannot write %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%s is not a regular file", path);
        weir_err_hint(err, "Pipes and terminals are written by the sink `stdout`; `drop` "
                           "discards.");
        return status;
    }
    if (flock(self->fd, LOCK_EX | LOCK_NB) != 0) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%s is being written by another", path);
        weir_err_hint(err, "Each pipeline and each sink writes a file of its own.");
        return status;
    }
    self->size = info.st_size;
    return WEIR_OK;
}

static void file_sink_close(void *instance)
{
    struct file_sink *self = instance;
    if (self->ctx == NULL) {
        return;
    }
    if (self->fd >= 0) {
        close(self->fd);
    }
    weir_strbuf_done(&self->buffer);
    pthread_mutex_destroy(&self->lock);
    *self = (struct file_sink){0};
}

static weir_status sink_cut(struct file_sink *self, int64_t size, struct weir_err *err)
{
    if (ftruncate(self->fd, size) != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot cut %s to %lld bytes: %s", self->config->path,
                         (long long)size, strerror(errno));
    }
    self->size = size;
    return WEIR_OK;
}

/* Content that this pipeline has not committed: keep, cut or refuse. A torn last line is ended. */
static weir_status sink_begin(struct file_sink *self, struct weir_err *err)
{
    const char *path = self->config->path;
    int existing = self->config->existing != 0 ? self->config->existing
                   : self->logged              ? EXISTING_REFUSE
                                               : EXISTING_APPEND;
    weir_status status = WEIR_OK;
    if (self->size > 0 && existing == EXISTING_REFUSE) {
        status = weir_fail(err, WEIR_CONFIG, "%s is not empty and not of this pipeline", path);
        weir_err_hint(err, "Move it away, write to another file, or set `existing: append` or "
                           "`existing: overwrite`.");
        return status;
    }
    if (self->size > 0 && existing == EXISTING_OVERWRITE) {
        status = sink_cut(self, 0, err);
    }
    char last = '\n';
    if (status == WEIR_OK && self->size > 0 && pread(self->fd, &last, 1, self->size - 1) == 1 &&
        last != '\n') {
        WEIR_LOG_WARN(self->ctx->log, "the last line of the file was torn; ended it",
                      WEIR_F("file", path), WEIR_F("bytes", self->size));
        if (pwrite(self->fd, "\n", 1, self->size) != 1) {
            return weir_fail(err, WEIR_FATAL, "cannot write %s: %s", path, strerror(errno));
        }
        self->size++;
    }
    self->begun = status == WEIR_OK;
    self->committed = self->sealed = self->size;
    return status;
}

/* --- the mark; control -------------------------------------------------------------------------*/

/* u64 length, path. */
static weir_status file_sink_mark(void *instance, struct weir_strbuf *out, struct weir_err *err)
{
    struct file_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    uint8_t bytes[MARK_HEAD];
    for (size_t i = 0; i < MARK_HEAD; i++) {
        bytes[i] = (uint8_t)((uint64_t)self->sealed >> (8 * i));
    }
    /* What fails from here on is the log, and that ends the pipeline. */
    self->committed = self->sealed;
    pthread_mutex_unlock(&self->lock);
    weir_strbuf_append(out, bytes, sizeof(bytes));
    weir_strbuf_text(out, self->config->path);
    return out->failed
               ? weir_fail(err, WEIR_FATAL, "the mark of %s is too long", self->config->path)
               : WEIR_OK;
}

static weir_status sink_restore_to(struct file_sink *self, int64_t length, struct weir_err *err)
{
    const char *path = self->config->path;
    if (self->size < length) {
        weir_status status =
            weir_fail(err, WEIR_CORRUPT, "%s has %lld bytes, but %lld were committed", path,
                      (long long)self->size, (long long)length);
        weir_err_hint(err, "Put it back, or remove it and the state directory to begin anew.");
        return status;
    }
    if (self->size > length) {
        WEIR_LOG_INFO(self->ctx->log, "cut what was not committed off the file",
                      WEIR_F("file", path), WEIR_F("bytes", self->size - length));
        weir_status status = sink_cut(self, length, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    self->committed = self->sealed = self->synced = length;
    self->linked = length > 0;
    self->begun = true;
    return WEIR_OK;
}

static weir_status file_sink_restore(void *instance, struct weir_slice mark, struct weir_err *err)
{
    struct file_sink *self = instance;
    self->logged = true;
    struct weir_slice path = weir_slice_of(self->config->path);
    if (mark.data == NULL || mark.size < MARK_HEAD ||
        !weir_slice_equal((struct weir_slice){mark.data + MARK_HEAD, mark.size - MARK_HEAD},
                          path)) {
        return sink_begin(self, err);
    }
    uint64_t length = 0;
    for (size_t i = 0; i < MARK_HEAD; i++) {
        length |= (uint64_t)(uint8_t)mark.data[i] << (8 * i);
    }
    return sink_restore_to(self, (int64_t)length, err);
}

/* --- writing; under the lock -------------------------------------------------------------------*/

static bool is_full(int code)
{
    return code == ENOSPC || code == EDQUOT || code == EFBIG;
}

static weir_status sink_fail(struct file_sink *self, const char *what, int code)
{
    weir_status status = weir_fail(&self->failure, WEIR_FATAL, "cannot %s %s: %s", what,
                                   self->config->path, strerror(code));
    weir_err_hint(&self->failure, "Check the disk; what was committed is safe.");
    weir_wake(weir_control_wake_fd(self->ctx));
    return status;
}

static weir_status sink_no_room(struct file_sink *self, int code)
{
    self->retry_ns = weir_clock_monotonic_ns(self->ctx->clock) + RETRY_MS * INT64_C(1000000);
    if (!self->full) {
        self->full = true;
        WEIR_LOG_WARN(self->ctx->log, "no room for the file; waiting",
                      WEIR_F("file", self->config->path),
                      WEIR_F("error", (const char *)strerror(code)));
    }
    return ftruncate(self->fd, self->size) == 0 ? WEIR_AGAIN : sink_fail(self, "cut", errno);
}

/* Writes the buffer. WEIR_AGAIN: the disk is full, nothing of it is in the file. */
static weir_status sink_flush(struct file_sink *self)
{
    size_t done = 0;
    if (self->full && weir_clock_monotonic_ns(self->ctx->clock) < self->retry_ns) {
        return WEIR_AGAIN;
    }
    while (done < self->buffer.size) {
        ssize_t written = pwrite(self->fd, self->buffer.data + done, self->buffer.size - done,
                                 self->size + (int64_t)done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            int code = written == 0 ? ENOSPC : errno;
            return is_full(code) ? sink_no_room(self, code) : sink_fail(self, "write", code);
        }
        done += (size_t)written;
    }
    self->size += (int64_t)done;
    weir_strbuf_clear(&self->buffer);
    if (self->full && done > 0) {
        self->full = false;
        WEIR_LOG_INFO(self->ctx->log, "there is room again", WEIR_F("file", self->config->path));
    }
    return WEIR_OK;
}

static weir_status sink_append(struct file_sink *self,
                               struct weir_record *const *records,
                               size_t count,
                               size_t *cursor)
{
    size_t first = *cursor;
    for (; *cursor < count; (*cursor)++) {
        if (self->buffer.size >= FLUSH_BYTES && sink_flush(self) != WEIR_OK &&
            (*cursor == first || self->buffer.size >= BUFFER_BYTES_MAX)) {
            return WEIR_AGAIN; /* a batch that was begun is finished in the buffer */
        }
        struct weir_slice value = records[*cursor]->raw;
        weir_strbuf_slice(&self->buffer, value.data == NULL ? WEIR_SLICE("null") : value);
        weir_strbuf_push(&self->buffer, '\n');
        WEIR_ASSERT(!self->buffer.failed);
    }
    return WEIR_OK;
}

static weir_status file_sink_write(void *instance,
                                   unsigned lane,
                                   struct weir_batch *batch,
                                   struct weir_record *const *records,
                                   size_t count,
                                   size_t *cursor,
                                   struct weir_err *err)
{
    (void)lane;
    (void)batch;
    struct file_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    weir_status status = self->begun ? WEIR_OK : sink_begin(self, &self->failure);
    if (status == WEIR_OK && self->failure.status == WEIR_OK) {
        status = sink_append(self, records, count, cursor);
    } else {
        status = WEIR_AGAIN; /* poll tells control */
    }
    pthread_mutex_unlock(&self->lock);
    (void)err;
    return status;
}

static weir_status file_sink_prepare(void *instance,
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

/* --- epochs; control ---------------------------------------------------------------------------*/

static weir_status file_sink_poll(void *instance, struct weir_err *err)
{
    struct file_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    weir_status status = self->failure.status;
    pthread_mutex_unlock(&self->lock);
    return status;
}

static void file_sink_seal(void *instance)
{
    struct file_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    if (self->begun) {
        self->sealed = self->size + (int64_t)self->buffer.size;
    }
    pthread_mutex_unlock(&self->lock);
}

/* The directory entry of a new file must last, too. */
static bool sync_directory(const char *path)
{
    WEIR_AUTO_FREE char *copy = weir_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return done;
}

static weir_status file_sink_confirm(void *instance, struct weir_err *err)
{
    struct file_sink *self = instance;
    weir_status status = file_sink_poll(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    pthread_mutex_lock(&self->lock);
    int64_t sealed = self->sealed;
    if (self->size < sealed) {
        status = sink_flush(self);
    }
    bool linked = self->linked, behind = self->synced < sealed;
    pthread_mutex_unlock(&self->lock);
    if (status == WEIR_AGAIN) {
        return WEIR_AGAIN;
    }
    /* Outside the lock: lanes write the next epoch meanwhile. */
    bool failed = status == WEIR_OK && behind &&
                  (fdatasync(self->fd) != 0 || (!linked && !sync_directory(self->config->path)));
    int code = errno;
    pthread_mutex_lock(&self->lock);
    if (failed) {
        (void)!sink_fail(self, "sync", code);
    } else if (status == WEIR_OK) {
        self->synced = sealed;
        self->linked = self->linked || behind;
        if (!self->logged) {
            self->committed = sealed;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return file_sink_poll(self, err);
}

static weir_status file_sink_abort(void *instance, struct weir_err *err)
{
    struct file_sink *self = instance;
    pthread_mutex_lock(&self->lock);
    weir_strbuf_clear(&self->buffer);
    weir_status status = WEIR_OK;
    if (self->begun) {
        status = self->size > self->committed ? sink_cut(self, self->committed, err) : WEIR_OK;
        self->sealed = self->committed;
        self->synced = self->synced < self->committed ? self->synced : self->committed;
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

static const struct weir_sink_ops file_sink_ops = {
    .prepare = file_sink_prepare,
    .write = file_sink_write,
    .poll = file_sink_poll,
    .seal = file_sink_seal,
    .confirm = file_sink_confirm,
    .abort = file_sink_abort,
    .mark = file_sink_mark,
    .restore = file_sink_restore,
};

const struct weir_component weir_component_file_sink = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SINK,
            .name = "file",
            .summary = "Appends a line per record to a file.",
            .help = "A tombstone is the line `null`. A value with a line break cannot be a line "
                    "and fails. From local sources (`file`, `generate`) it is exactly-once: the "
                    "file's length is committed together with the positions, and what a crash left "
                    "behind it is cut off at the next start. A full disk is waited for.",
            .example = "file: {path: out/results.jsonl}",
            .fields = file_sink_fields,
            .config_size = sizeof(struct file_sink_config),
        },
    .self_size = sizeof(struct file_sink),
    .durable = true,
    .open = file_sink_open,
    .close = file_sink_close,
    .ops = {.sink = &file_sink_ops},
};

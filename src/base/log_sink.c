/* SPDX-License-Identifier: Apache-2.0
 *
 * The two sinks. A line is complete before the lock is taken and leaves in one write(2), so that
 * processes that share a log file do not cut into each other's lines. A log that cannot be written
 * must neither stop nor slow the stream: the line is dropped and counted.
 */
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

/* Writes all or says that it could not; a pipe may take a long line in parts, and then the next
 * line must not stick to the torn one. */
static bool write_all(struct weir_log_fd *self, const char *bytes, size_t size)
{
    if (self->torn) {
        self->torn = write(self->fd, "\n", 1) != 1;
    }
    size_t written = 0;
    while (!self->torn && written < size) {
        ssize_t done = write(self->fd, bytes + written, size - written);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            self->torn = written > 0;
            return false;
        }
        written += (size_t)done;
    }
    return written == size;
}

static void fd_write(struct weir_log_sink *sink, const struct weir_log_entry *entry)
{
    struct weir_log_fd *self = (struct weir_log_fd *)(void *)sink; /* its first member */
    char line[WEIR_LOG_LINE_MAX];
    size_t size = self->text ? weir_log_render_text(entry, self->colour, line)
                             : weir_log_render_json(entry, line);
    pthread_mutex_lock(&self->lock);
    if (self->lost > 0) {
        const struct weir_log_field fields[] = {WEIR_F("lost", self->lost), WEIR_F_END_};
        const struct weir_log_entry lost_entry = {
            .level = WEIR_LEVEL_WARN,
            .wall_ms = entry->wall_ms,
            .message = "log lines could not be written",
            .fields = fields,
        };
        char lost[WEIR_LOG_LINE_MAX];
        size_t lost_size = self->text ? weir_log_render_text(&lost_entry, self->colour, lost)
                                      : weir_log_render_json(&lost_entry, lost);
        if (write_all(self, lost, lost_size)) {
            self->lost = 0;
        }
    }
    if (!write_all(self, line, size)) {
        self->lost++;
    }
    pthread_mutex_unlock(&self->lock);
}

static bool wants_colour(int fd)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool forbidden = no_color != NULL && no_color[0] != '\0';
    return isatty(fd) && !forbidden && term != NULL && strcmp(term, "dumb") != 0;
}

void weir_log_fd_init(struct weir_log_fd *self,
                      int fd,
                      enum weir_log_format format,
                      enum weir_log_level level)
{
    *self = (struct weir_log_fd){
        .sink = {.write = fd_write, .level = (int)level},
        .fd = fd,
    };
    weir_log_fd_change(self, format);
    pthread_mutex_init(&self->lock, NULL);
}

void weir_log_fd_change(struct weir_log_fd *self, enum weir_log_format format)
{
    bool text =
        format == WEIR_LOG_FORMAT_TEXT || (format == WEIR_LOG_FORMAT_AUTO && isatty(self->fd));
    atomic_store_explicit(&self->text, text, memory_order_relaxed);
    atomic_store_explicit(&self->colour, text && wants_colour(self->fd), memory_order_relaxed);
}

void weir_log_fd_done(struct weir_log_fd *self)
{
    weir_log_sink_flush(&self->sink);
    pthread_mutex_destroy(&self->lock);
}

static void capture_write(struct weir_log_sink *sink, const struct weir_log_entry *entry)
{
    struct weir_log_capture *self = (struct weir_log_capture *)(void *)sink;
    char line[WEIR_LOG_LINE_MAX];
    size_t size = weir_log_render_json(entry, line);
    pthread_mutex_lock(&self->lock);
    weir_strbuf_append(&self->lines, line, size);
    WEIR_ASSERT(!self->lines.failed);
    self->count++;
    pthread_mutex_unlock(&self->lock);
}

void weir_log_capture_init(struct weir_log_capture *self, enum weir_log_level level)
{
    *self = (struct weir_log_capture){.sink = {.write = capture_write, .level = (int)level}};
    weir_strbuf_init(&self->lines, 1024 * 1024);
    pthread_mutex_init(&self->lock, NULL);
}

void weir_log_capture_done(struct weir_log_capture *self)
{
    weir_log_sink_flush(&self->sink);
    weir_strbuf_done(&self->lines);
    pthread_mutex_destroy(&self->lock);
}

size_t weir_log_capture_count(struct weir_log_capture *self, const char *text)
{
    size_t count = 0;
    pthread_mutex_lock(&self->lock);
    const char *at = self->lines.data;
    for (size_t i = 0; i < self->count; i++) {
        const char *end = strchr(at, '\n');
        size_t size = (size_t)(end - at);
        count += memmem(at, size, text, strlen(text)) != NULL ? 1 : 0;
        at = end + 1;
    }
    pthread_mutex_unlock(&self->lock);
    return count;
}

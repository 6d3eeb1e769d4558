/* SPDX-License-Identifier: Apache-2.0
 *
 * The sinks of the program: lines to a file descriptor, as JSON or as text, and a capture for
 * tests. How a line is written:
 *
 *     {"time":"2026-11-23T14:08:26.123Z","level":"info","pipeline":"revenue",
 *      "component":"source.kafka","message":"partition assigned","topic":"orders","partition":3}
 *
 *     14:08:26.123 info  revenue source.kafka: partition assigned topic=orders partition=3
 */
#ifndef WEIR_BASE_LOG_H
#define WEIR_BASE_LOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <weir/log.h>
#include <weir/strbuf.h>

/* A longer text field is cut at a character's end and gets "…"; fields for which a line has no more
 * room are left out and the line says "truncated":true. */
enum { WEIR_LOG_LINE_MAX = 8192, WEIR_LOG_TEXT_MAX = 2048 };

enum weir_log_format {
    WEIR_LOG_FORMAT_AUTO, /* text on a terminal, else JSON */
    WEIR_LOG_FORMAT_JSON,
    WEIR_LOG_FORMAT_TEXT,
};

const char *
weir_log_level_name(enum weir_log_level level); /* "debug", "info", "warn", "error", "off" */

/* One line, its newline included, into line[WEIR_LOG_LINE_MAX]; returns its size. */
size_t weir_log_render_json(const struct weir_log_entry *entry, char *line);
size_t weir_log_render_text(const struct weir_log_entry *entry, bool colour, char *line);

/* Lines to a file descriptor, one write(2) each. What could not be written is counted and told by
 * the next line that can, as the field `lost`. Use &fd_sink.sink. */
struct weir_log_fd {
    struct weir_log_sink sink;
    int fd;
    atomic_bool text, colour; /* relaxed: a line more or less in the old format is harmless */
    pthread_mutex_t lock;     /* one line at a time; guards the rest */
    bool torn;                /* the last line ended before its newline */
    uint64_t lost;
};

/* The descriptor stays the caller's. Colours: only text on a terminal, TERM not "dumb", NO_COLOR
 * unset or empty. */
void weir_log_fd_init(struct weir_log_fd *self,
                      int fd,
                      enum weir_log_format format,
                      enum weir_log_level level);
/* Another format from here on. Any thread. */
void weir_log_fd_change(struct weir_log_fd *self, enum weir_log_format format);
void weir_log_fd_done(struct weir_log_fd *self);

/* Keeps JSON lines, up to 1 MiB (asserted). For tests; any thread. Use &capture.sink. */
struct weir_log_capture {
    struct weir_log_sink sink;
    pthread_mutex_t lock; /* guards the rest */
    struct weir_strbuf lines;
    size_t count;
};

void weir_log_capture_init(struct weir_log_capture *self, enum weir_log_level level);
void weir_log_capture_done(struct weir_log_capture *self);
/* Lines that contain the text; "" counts all. */
size_t weir_log_capture_count(struct weir_log_capture *self, const char *text);

#endif

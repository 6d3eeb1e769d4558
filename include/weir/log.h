/* SPDX-License-Identifier: Apache-2.0
 *
 * Structured log lines. The message is a constant sentence; everything that varies is a field:
 *
 *     WEIR_LOG_INFO(log, "partition assigned", WEIR_F("topic", topic), WEIR_F("partition", 3));
 *     WEIR_LOG_ERROR(log, "produce failed", WEIR_F("offset", offset), WEIR_F_ERR(&err));
 *
 * WEIR_F takes the value's type as it is (text, slice, bool, integers, double). Field names are
 * constant lower_case words; the common ones are topic, partition, offset, message_id, error, hint.
 * A field whose text or slice is NULL is left out. Record keys and values are never logged.
 *
 * A `struct weir_log` is a sink with the names of the pipeline and the component bound to it; it is
 * small, is copied freely and handed on by pointer. A NULL log, or one without a sink, is silent
 * and costs a comparison. A line of a level that is off evaluates none of its fields.
 *
 * Each call site may write WEIR_LOG_BURST lines in WEIR_LOG_WINDOW_MS; what goes beyond is counted
 * and told by the site's next line, or by one of its own, as the field `suppressed`.
 *
 * Any thread may log. A program that embeds weir makes a sink with its own `write`.
 */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/clock.h>
#include <weir/slice.h>
#include <weir/status.h>

enum { WEIR_LOG_BURST = 20, WEIR_LOG_WINDOW_MS = 10000 };

enum weir_log_level {
    WEIR_LEVEL_DEBUG,
    WEIR_LEVEL_INFO,
    WEIR_LEVEL_WARN,
    WEIR_LEVEL_ERROR,
    WEIR_LEVEL_OFF, /* a threshold only */
};

enum weir_log_kind {
    WEIR_LOG_END, /* closes the list */
    WEIR_LOG_TEXT,
    WEIR_LOG_INT,
    WEIR_LOG_UINT,
    WEIR_LOG_DOUBLE,
    WEIR_LOG_BOOL,
    WEIR_LOG_ERR, /* becomes status, path, error and hint, as far as they are set; values that a
                   * failed expression names are hidden */
};

struct weir_log_field {
    const char *name;
    enum weir_log_kind kind;
    union {
        struct weir_slice text; /* any bytes; the sink escapes them */
        int64_t integer;
        uint64_t natural;
        double real;
        bool truth;
        const struct weir_err *err;
    } as;
};

/* A line on its way to the sink. Everything is borrowed for the time of the call. */
struct weir_log_entry {
    enum weir_log_level level;
    int64_t wall_ms;
    const char *pipeline, *component; /* may be NULL */
    const char *message;
    const struct weir_log_field *fields; /* up to the first WEIR_LOG_END; NULL: none */
    uint64_t suppressed;                 /* lines of this site held back before this one */
};

/* Where lines go. */
struct weir_log_sink {
    /* Called by any thread, by several at once. */
    void (*write)(struct weir_log_sink *self, const struct weir_log_entry *entry);
    const struct weir_clock *clock; /* NULL: the system's */
    int level;                      /* see weir_log_set_level */
};

struct weir_log {
    struct weir_log_sink *sink; /* NULL: silent */
    const char *pipeline;       /* borrowed, outlive the log; may be NULL */
    const char *component;      /* in the user's words, e.g. "source.kafka"; may be NULL */
};

/* The same sink and pipeline under another component's name. log may be NULL. */
static inline struct weir_log weir_log_named(const struct weir_log *log, const char *component)
{
    return log == NULL ? (struct weir_log){0}
                       : (struct weir_log){log->sink, log->pipeline, component};
}

/* At any time, by any thread; lines of at least this level are written from then on. */
void weir_log_set_level(struct weir_log_sink *sink, enum weir_log_level level);

static inline bool weir_log_enabled(const struct weir_log *log, enum weir_log_level level)
{
    /* Relaxed: the level orders nothing; a line more or less at a change is harmless. */
    return log != NULL && log->sink != NULL &&
           (int)level >= __atomic_load_n(&log->sink->level, __ATOMIC_RELAXED);
}

/* Tells what was held back and forgets the sink's call sites; before the sink goes away, when no
 * other thread logs to it any more. */
void weir_log_sink_flush(struct weir_log_sink *sink);

/* Memory of one call site; zeroed and static. Only log.c looks inside. */
struct weir_log_site {
    struct weir_log_sink *sink;
    struct weir_log_site *next;
    int64_t window_ns;
    uint64_t written, suppressed;
    enum weir_log_level level;
    const char *message;
    char pipeline[64], component[64];
};

void weir_log_write(const struct weir_log *log,
                    struct weir_log_site *site,
                    enum weir_log_level level,
                    const char *message,
                    const struct weir_log_field *fields);

static inline struct weir_log_field weir_log_field_slice(const char *name, struct weir_slice value)
{
    return (struct weir_log_field){name, WEIR_LOG_TEXT, {.text = value}};
}
static inline struct weir_log_field weir_log_field_text(const char *name, const char *value)
{
    return weir_log_field_slice(name, weir_slice_of(value));
}
static inline struct weir_log_field weir_log_field_int(const char *name, int64_t value)
{
    return (struct weir_log_field){name, WEIR_LOG_INT, {.integer = value}};
}
static inline struct weir_log_field weir_log_field_uint(const char *name, uint64_t value)
{
    return (struct weir_log_field){name, WEIR_LOG_UINT, {.natural = value}};
}
static inline struct weir_log_field weir_log_field_double(const char *name, double value)
{
    return (struct weir_log_field){name, WEIR_LOG_DOUBLE, {.real = value}};
}
static inline struct weir_log_field weir_log_field_bool(const char *name, bool value)
{
    return (struct weir_log_field){name, WEIR_LOG_BOOL, {.truth = value}};
}

// clang-format off
#define WEIR_F(name, value)                                                                        \
    _Generic((value),                                                                              \
        const char *: weir_log_field_text, char *: weir_log_field_text,                            \
        struct weir_slice: weir_log_field_slice, bool: weir_log_field_bool,                        \
        short: weir_log_field_int, int: weir_log_field_int, long: weir_log_field_int,              \
        long long: weir_log_field_int, unsigned short: weir_log_field_uint,                        \
        unsigned: weir_log_field_uint, unsigned long: weir_log_field_uint,                         \
        unsigned long long: weir_log_field_uint, double: weir_log_field_double)("" name, (value))
#define WEIR_F_ERR(error)                                                                          \
    ((struct weir_log_field){"error", WEIR_LOG_ERR, {.err = (error)}})
#define WEIR_F_END_ ((struct weir_log_field){NULL, WEIR_LOG_END, {.integer = 0}})

#define WEIR_LOG_(log, line_level, message, ...)                                                   \
    do {                                                                                           \
        static struct weir_log_site weir_log_site_;                                                \
        if (weir_log_enabled((log), (line_level))) {                                               \
            weir_log_write((log), &weir_log_site_, (line_level), "" message,                       \
                           (const struct weir_log_field[]){__VA_ARGS__});                          \
        }                                                                                          \
    } while (0)
/* WEIR_LOG_INFO(log, "message", fields…) */
#define WEIR_LOG_DEBUG(log, ...) WEIR_LOG_(log, WEIR_LEVEL_DEBUG, __VA_ARGS__, WEIR_F_END_)
#define WEIR_LOG_INFO(log, ...) WEIR_LOG_(log, WEIR_LEVEL_INFO, __VA_ARGS__, WEIR_F_END_)
#define WEIR_LOG_WARN(log, ...) WEIR_LOG_(log, WEIR_LEVEL_WARN, __VA_ARGS__, WEIR_F_END_)
#define WEIR_LOG_ERROR(log, ...) WEIR_LOG_(log, WEIR_LEVEL_ERROR, __VA_ARGS__, WEIR_F_END_)
/* With a level computed at run time. */
#define WEIR_LOG_AT(log, line_level, ...) WEIR_LOG_(log, line_level, __VA_ARGS__, WEIR_F_END_)
// clang-format on

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What an operation answered. One table gives each status its name, its text and its class; the
 * engine decides by class (retry, dead-letter, stop), never by the name of a component.
 *
 * Errors are values: a function that can fail returns a weir_status and fills the caller's
 * struct weir_err, which lives on the caller's stack and holds no heap memory. The first writer
 * wins; callers on the way up add the path (weir_err_path), not prose. A message is one factual
 * line in the user's words, lower case, without a full stop; a hint is a sentence on what to do.
 */
#ifndef WEIR_STATUS_H
#define WEIR_STATUS_H

#include <stdbool.h>
#include <stddef.h>

/* How the engine treats a status (DESIGN: failure policy).
 *   NONE         not a failure
 *   TRANSIENT    may go well when tried again; an attempt is counted
 *   PERMANENT    this record can never go well; others can
 *   UNAVAILABLE  nobody to talk to (no connection, throttled): back-pressure, no attempt is counted
 *   FATAL        the pipeline stops */
enum weir_class {
    WEIR_CLASS_NONE,
    WEIR_CLASS_TRANSIENT,
    WEIR_CLASS_PERMANENT,
    WEIR_CLASS_UNAVAILABLE,
    WEIR_CLASS_FATAL,
};

// clang-format off
#define WEIR_STATUS_MAP(X) \
    X(OK,          "ok",           "ok",                           NONE)        \
    X(AGAIN,       "again",        "nothing to do now",            NONE)        \
    X(END,         "end",          "end of input",                 NONE)        \
    X(IO,          "io",           "input or output failed",       TRANSIENT)   \
    X(TIMEOUT,     "timeout",      "timed out",                    TRANSIENT)   \
    X(INVALID,     "invalid",      "invalid data",                 PERMANENT)   \
    X(EVAL,        "eval",         "expression failed",            PERMANENT)   \
    X(TOO_LARGE,   "too_large",    "too large",                    PERMANENT)   \
    X(LIMIT,       "limit",        "limit reached",                PERMANENT)   \
    X(REJECTED,    "rejected",     "rejected by the target",       PERMANENT)   \
    X(UNAVAILABLE, "unavailable",  "unavailable",                  UNAVAILABLE) \
    X(NOBODY,      "nobody",       "nobody listens",               UNAVAILABLE) \
    X(ABORTED,     "aborted",      "epoch aborted",                UNAVAILABLE) \
    X(UNKNOWN,     "unknown",      "outcome unknown",              UNAVAILABLE) \
    X(USAGE,       "usage",        "wrong use",                    FATAL)       \
    X(CONFIG,      "config",       "configuration error",          FATAL)       \
    X(DENIED,      "denied",       "permission denied",            FATAL)       \
    X(DATA_LOSS,   "data_loss",    "data was lost at the source",  FATAL)       \
    X(CORRUPT,     "corrupt",      "damaged data",                 FATAL)       \
    X(FENCED,      "fenced",       "another process took over",    FATAL)       \
    X(FATAL,       "fatal",        "cannot go on",                 FATAL)
// clang-format on

typedef enum weir_status {
#define X(name, label, text, class) WEIR_##name,
    WEIR_STATUS_MAP(X)
#undef X
        WEIR_STATUS_COUNT
} weir_status;

#define WEIR_MUST_USE __attribute__((warn_unused_result))

/* Static strings and the class of a status. Any thread. */
const char *
weir_status_name(weir_status status); /* "too_large": lower case, for metrics and JSON */
const char *weir_status_text(weir_status status);
enum weir_class weir_status_class(weir_status status);

/* An error on the caller's stack. Zero-initialise: struct weir_err err = {0}. Where that happens
 * for each record, weir_err_clear() does it faster: texts are emptied, not zeroed. */
struct weir_err {
    weir_status status;
    const char *file; /* of the user's text (YAML), or NULL; borrowed from the loaded file */
    int line, column; /* 1-based; 0 = no place */
    char path[128];   /* component path in the user's words, e.g. "source.kafka" */
    char message[384];
    char hint[256];
};

/* Fills err unless it already holds an error; returns status. err may be NULL. */
weir_status weir_fail(struct weir_err *err, weir_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a hint (a sentence on what to do) to an error that has none. err may be NULL. */
void weir_err_hint(struct weir_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Puts "part" before the path: part.path. err may be NULL. */
void weir_err_path(struct weir_err *err, const char *part);
static inline void weir_err_clear(struct weir_err *err)
{
    err->status = WEIR_OK;
    err->file = NULL;
    err->line = err->column = 0;
    err->path[0] = err->message[0] = err->hint[0] = '\0';
}

#endif

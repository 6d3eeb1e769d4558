/* SPDX-License-Identifier: Apache-2.0
 *
 * Diagnostics: everything that is wrong with some configuration texts, collected, then shown at
 * once in the order of the texts. One thread.
 */
#ifndef WEIR_CONF_DIAG_H
#define WEIR_CONF_DIAG_H

#include <stdbool.h>
#include <stddef.h>

#include <weir/arena.h>
#include <weir/status.h>
#include <weir/strbuf.h>

struct weir_text;

struct weir_diag {
    const struct weir_text *text; /* NULL: no place; `file` may still name one */
    const char *file;
    size_t start, end; /* bytes of the text */
    const char *path;  /* "source.kafka.topic" or NULL */
    const char *message;
    const char *suggestion; /* a name, for: did you mean "…"? */
    const char *allowed;    /* the possible values, comma-separated */
    const char *hint;       /* what to do, a sentence */
    bool is_warning;
};

struct weir_diags {
    struct weir_arena *arena; /* holds messages; not owned */
    struct weir_diag *items;
    size_t count, capacity;
    size_t errors;
    bool more; /* WEIR_CONF_DIAGS_MAX was reached */
};

void weir_diags_init(struct weir_diags *diags, struct weir_arena *arena);

/* Adds an error with the bytes it is about and returns it so that the caller can add to it. Never
 * NULL: beyond the limit it returns a place that nobody shows. */
struct weir_diag *weir_diag_add(struct weir_diags *diags,
                                const struct weir_text *text,
                                size_t start,
                                size_t end,
                                const char *format,
                                ...) __attribute__((format(printf, 5, 6)));
/* An error about a file that could not be loaded. */
struct weir_diag *
weir_diag_add_err(struct weir_diags *diags, const char *file, const struct weir_err *err);
void weir_diag_hint(struct weir_diags *diags, struct weir_diag *diag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes a warning of an error that was just added: it is shown and counts for nothing. */
void weir_diag_warn(struct weir_diags *diags, struct weir_diag *diag);

/* Sorts by text (in order of first use) and place; drops exact repeats. Then render. */
void weir_diags_sort(struct weir_diags *diags);
void weir_diags_render_text(const struct weir_diags *diags,
                            bool use_colour,
                            struct weir_strbuf *out);
/* {"errors":N,"diagnostics":[{…}]} on one line per diagnostic. */
void weir_diags_render_json(const struct weir_diags *diags, struct weir_strbuf *out);

#endif

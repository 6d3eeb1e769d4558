/* SPDX-License-Identifier: Apache-2.0
 *
 * A configuration text: its bytes, its name for messages, and where its lines begin. Lives in an
 * arena; immutable after loading, except for the masks.
 */
#ifndef WEIR_CONF_TEXT_H
#define WEIR_CONF_TEXT_H

#include <weir/arena.h>
#include <weir/slice.h>
#include <weir/status.h>

/* Bytes of the text that are a secret; excerpts show * instead. */
struct weir_text_mask {
    size_t start, end;
    struct weir_text_mask *next;
};

struct weir_text {
    const char *name; /* as the user gave it */
    struct weir_slice bytes;
    const size_t *lines; /* byte offset of each line's first byte */
    int line_count;
    /* In environment-only mode: the variable that each line was made from, or NULL. Has line_count
     * items; NULL for a file. */
    const char *const *variables;
    unsigned mode; /* permission bits of the file; 0 if it is not one */
    struct weir_text_mask *masks;
};

/* Copies bytes (UTF-8, a byte order mark is skipped). NULL and err: too large, not UTF-8, NUL. */
struct weir_text *weir_text_new(struct weir_arena *arena,
                                const char *name,
                                struct weir_slice bytes,
                                struct weir_err *err);
/* Reads a file; "-" is standard input. */
struct weir_text *weir_text_read(struct weir_arena *arena, const char *path, struct weir_err *err);

/* 1-based line and column (in characters) of a byte offset; offsets behind the end are clamped. */
void weir_text_locate(const struct weir_text *text, size_t offset, int *ret_line, int *ret_column);
/* The byte offset of a 1-based line and column; clamped to the line. */
size_t weir_text_offset(const struct weir_text *text, int line, int column);
/* A 1-based line without its end. */
struct weir_slice weir_text_line(const struct weir_text *text, int line);
void weir_text_mask_range(struct weir_arena *arena,
                          struct weir_text *text,
                          size_t start,
                          size_t end);

#endif

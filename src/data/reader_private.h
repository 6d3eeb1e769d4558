/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of the lenient reader, shared by its two halves: values and stream events.
 */
#ifndef WEIR_DATA_READER_PRIVATE_H
#define WEIR_DATA_READER_PRIVATE_H

#include "data/reader.h"

enum reader_state {
    READER_NORMAL,
    READER_STRING,
    READER_ESCAPE, /* in a string, behind a backslash */
    READER_RESYNC, /* skipping to the next record separator */
};

enum reader_last {
    LAST_NONE,
    LAST_OPEN_ARRAY,
    LAST_OPEN_OBJECT,
    LAST_COLON,
    LAST_COMMA,
    LAST_VALUE
};

struct weir_reader {
    struct weir_heap *heap;
    unsigned flags;
    uint32_t depth;
    enum reader_state state;
    struct weir_slice bytes;
    bool is_last, ended, after_space;
    unsigned mark_size; /* bytes of the byte order mark seen; 3: done; 4: malformed */
    int line, column;
    struct weir_value *stack;
    size_t stack_size, stack_capacity;
    struct weir_value next; /* finished, not yet taken */
    struct weir_strbuf token, clean, message;
    /* events */
    struct weir_value path; /* array: keys and indices of the open containers */
    size_t path_size;
    enum reader_last last;
    struct weir_value output;
};

const char *weir_reader_stream_token(struct weir_reader *reader, char c);
bool weir_reader_stream_done(struct weir_reader *reader, struct weir_value *ret);

#endif

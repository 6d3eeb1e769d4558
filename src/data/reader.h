/* SPDX-License-Identifier: Apache-2.0
 *
 * A JSON reader that takes bytes in pieces and gives one value after the other, with jq's leniency
 * and jq's messages. It is not fast: records go through weir_json_parse, which comes here only for
 * what the fast parser refuses; `fromjson` and `weir eval` read with it.
 */
#ifndef WEIR_DATA_READER_H
#define WEIR_DATA_READER_H

#include <weir/strbuf.h>

#include "data/heap.h"

enum weir_reader_flags {
    WEIR_READER_SEQ = 1,           /* RS-separated texts (RFC 7464) */
    WEIR_READER_STREAM = 2,        /* [path, leaf] events instead of values */
    WEIR_READER_STREAM_ERRORS = 4, /* errors as [message, path] values */
};

struct weir_reader;

enum weir_reader_result {
    WEIR_READER_VALUE,
    WEIR_READER_MORE, /* the piece is used up */
    WEIR_READER_END,  /* the last piece is used up */
    WEIR_READER_ERROR,
};

/* Values are made in the heap, which must outlive the reader. */
struct weir_reader *weir_reader_new(struct weir_heap *heap, unsigned flags, uint32_t depth);
void weir_reader_free(struct weir_reader *reader);
/* The next piece; the one before must be used up. The bytes are borrowed until then. */
void weir_reader_feed(struct weir_reader *reader, struct weir_slice bytes, bool last);
/* On WEIR_READER_VALUE: an owned value. On WEIR_READER_ERROR: weir_reader_message. */
enum weir_reader_result weir_reader_next(struct weir_reader *reader, struct weir_value *ret_value);
const char *weir_reader_message(const struct weir_reader *reader);

/* One text that holds exactly one value; absent and a message otherwise. */
struct weir_value weir_reader_parse(struct weir_heap *heap,
                                    struct weir_slice bytes,
                                    uint32_t depth,
                                    struct weir_strbuf *ret_message);

/* Appends the bytes with broken UTF-8 replaced by U+FFFD, as jq does. */
void weir_utf8_clean(struct weir_slice bytes, struct weir_strbuf *buf);
bool weir_utf8_valid(struct weir_slice bytes);
/* The next code point at *at (< end); moves *at. -1 for an invalid sequence (moves over it). */
int32_t weir_utf8_next(const char **at, const char *end);
/* Returns the size, 1 to 4. */
size_t weir_utf8_put(uint32_t codepoint, char ret[4]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON text to values. What is accepted is what jq accepts: RFC 8259, and beyond it nan, numbers
 * like 01, .5 and +1. Numbers keep their text. Broken UTF-8 and unpaired surrogates are replaced
 * by U+FFFD, as jq does; the input's bytes are not changed.
 */
#ifndef WEIR_JSON_H
#define WEIR_JSON_H

#include <weir/arena.h>
#include <weir/slice.h>
#include <weir/status.h>
#include <weir/value.h>

struct weir_json_limits {
    uint32_t depth; /* containers inside each other; 0: 10000 */
};

/* Parses exactly one JSON text into the arena; the value lives as long as the arena and does not
 * refer to `bytes`. limits may be NULL. Fails with WEIR_INVALID and jq's message (line and column),
 * WEIR_LIMIT for the depth, WEIR_TOO_LARGE when the arena is full. */
WEIR_MUST_USE weir_status weir_json_parse(struct weir_arena *arena,
                                          struct weir_slice bytes,
                                          const struct weir_json_limits *limits,
                                          struct weir_value *ret_value,
                                          struct weir_err *err);
/* The same without a copy: texts of the value lie in `bytes`, which must live as long as it. */
WEIR_MUST_USE weir_status weir_json_parse_in_place(struct weir_arena *arena,
                                                   struct weir_slice bytes,
                                                   const struct weir_json_limits *limits,
                                                   struct weir_value *ret_value,
                                                   struct weir_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as people write them: 5m, 64KiB, 100ms..10s, 2026-01-31T12:00:00Z, and back again.
 */
#ifndef WEIR_CONF_SCALAR_H
#define WEIR_CONF_SCALAR_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/fields.h>
#include <weir/strbuf.h>

/* Each takes the whole text or fails. */
bool weir_parse_int(struct weir_slice text, int64_t *ret_value);
bool weir_parse_number(struct weir_slice text, double *ret_value);
bool weir_parse_bool(struct weir_slice text, bool *ret_value);
/* A number and its unit: ms s m h d (w is not one). Fractions are fine: 1.5s. 0 needs no unit. */
bool weir_parse_duration(struct weir_slice text, weir_duration *ret_value);
bool weir_parse_duration_range(struct weir_slice text, struct weir_duration_range *ret_value);
/* A number of bytes, with an optional unit: B kB KB MB GB TB (1000s), KiB MiB GiB TiB (1024s). */
bool weir_parse_size(struct weir_slice text, weir_bytesize *ret_value);
/* RFC 3339 (a date alone is its midnight UTC) or milliseconds since the epoch. */
bool weir_parse_time(struct weir_slice text, int64_t *ret_time_ms);

/* The shortest text that parses to the same value. */
void weir_format_duration(weir_duration value, struct weir_strbuf *out);
void weir_format_size(weir_bytesize value, struct weir_strbuf *out);
void weir_format_time(int64_t time_ms, struct weir_strbuf *out);

#endif

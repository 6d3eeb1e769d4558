/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock that stands still until it is told to move, for tests and the simulator, and the one
 * way in which an instant is written.
 */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/clock.h>

#define WEIR_NS_PER_MS INT64_C(1000000)
#define WEIR_NS_PER_S INT64_C(1000000000)

/* Hand out &manual.clock. Any thread may read and move it. */
struct weir_clock_manual {
    struct weir_clock clock;
    _Atomic int64_t monotonic_ns;
    _Atomic int64_t wall_offset_ns; /* wall time = monotonic + offset */
};

/* Monotonic time begins at 0, wall time at wall_ms. */
void weir_clock_manual_init(struct weir_clock_manual *manual, int64_t wall_ms);
/* Moves both readings on; ns must not be negative (asserted). */
void weir_clock_manual_advance_ns(struct weir_clock_manual *manual, int64_t ns);
/* Sets the wall alone, as an administrator or NTP would; it may go back. */
void weir_clock_manual_set_wall_ms(struct weir_clock_manual *manual, int64_t wall_ms);

/* "2026-11-23T14:08:26.123Z": 24 bytes and a NUL for the years 0 to 9999 (others are clamped).
 * text has WEIR_TIME_TEXT_SIZE bytes. */
enum { WEIR_TIME_TEXT_SIZE = 25 };
void weir_time_format(int64_t wall_ms, char *text);

#endif

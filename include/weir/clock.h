/* SPDX-License-Identifier: Apache-2.0
 *
 * Time reaches the engine, components and steps only through a clock, so that a test or the
 * simulator can hold it. Two readings that never mix: monotonic nanoseconds measure durations and
 * deadlines (their zero has no meaning), wall milliseconds since the epoch name an instant.
 * Reading is safe from any thread.
 */
#ifndef WEIR_CLOCK_H
#define WEIR_CLOCK_H

#include <stdint.h>

struct weir_clock;

struct weir_clock_ops {
    int64_t (*monotonic_ns)(const struct weir_clock *clock);
    int64_t (*wall_ms)(const struct weir_clock *clock);
};

struct weir_clock {
    const struct weir_clock_ops *ops;
};

static inline int64_t weir_clock_monotonic_ns(const struct weir_clock *clock)
{
    return clock->ops->monotonic_ns(clock);
}

static inline int64_t weir_clock_wall_ms(const struct weir_clock *clock)
{
    return clock->ops->wall_ms(clock);
}

/* The operating system's clocks. Static, any thread. */
const struct weir_clock *weir_clock_system(void);

#endif

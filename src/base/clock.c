/* SPDX-License-Identifier: Apache-2.0
 *
 * The only callers of clock_gettime. The manual clock keeps its wall as an offset to its monotonic
 * reading, so that one store moves both and a reader can never see them apart by more than the
 * wall's own jumps. Dates are computed here and not by the C library: no locale, no time zone, no
 * lock, and the same answer for times before 1970.
 */
#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

static int64_t system_read_ns(clockid_t id)
{
    struct timespec now;
    WEIR_ASSERT(clock_gettime(id, &now) == 0);
    return (int64_t)now.tv_sec * WEIR_NS_PER_S + now.tv_nsec;
}

static int64_t system_monotonic_ns(const struct weir_clock *clock)
{
    (void)clock;
    return system_read_ns(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(const struct weir_clock *clock)
{
    (void)clock;
    return system_read_ns(CLOCK_REALTIME) / WEIR_NS_PER_MS;
}

const struct weir_clock *weir_clock_system(void)
{
    static const struct weir_clock_ops ops = {system_monotonic_ns, system_wall_ms};
    static const struct weir_clock clock = {&ops};
    return &clock;
}

/* Relaxed throughout: a clock orders nothing but itself. The clock is the first member. */
static int64_t manual_monotonic_ns(const struct weir_clock *clock)
{
    const struct weir_clock_manual *manual = (const struct weir_clock_manual *)(const void *)clock;
    return atomic_load_explicit(&manual->monotonic_ns, memory_order_relaxed);
}

static int64_t manual_wall_ms(const struct weir_clock *clock)
{
    const struct weir_clock_manual *manual = (const struct weir_clock_manual *)(const void *)clock;
    int64_t offset = atomic_load_explicit(&manual->wall_offset_ns, memory_order_relaxed);
    return (manual_monotonic_ns(clock) + offset) / WEIR_NS_PER_MS;
}

void weir_clock_manual_init(struct weir_clock_manual *manual, int64_t wall_ms)
{
    static const struct weir_clock_ops ops = {manual_monotonic_ns, manual_wall_ms};
    manual->clock.ops = &ops;
    atomic_init(&manual->monotonic_ns, 0);
    atomic_init(&manual->wall_offset_ns, wall_ms * WEIR_NS_PER_MS);
}

void weir_clock_manual_advance_ns(struct weir_clock_manual *manual, int64_t ns)
{
    WEIR_ASSERT(ns >= 0);
    atomic_fetch_add_explicit(&manual->monotonic_ns, ns, memory_order_relaxed);
}

void weir_clock_manual_set_wall_ms(struct weir_clock_manual *manual, int64_t wall_ms)
{
    int64_t now_ns = manual_monotonic_ns(&manual->clock);
    atomic_store_explicit(&manual->wall_offset_ns, wall_ms * WEIR_NS_PER_MS - now_ns,
                          memory_order_relaxed);
}

/* Days since 1970-01-01 to year, month, day; after Howard Hinnant, "chrono-compatible low-level
 * date algorithms": years begin in March, so that the leap day is a year's last. */
static void date_of_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    int64_t shifted = days + 719468; /* since 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* from March */
    *ret_day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = (int)(year_of_era + era * 400 + (*ret_month <= 2 ? 1 : 0));
}

static void put_digits(char *text, int value, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        text[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

void weir_time_format(int64_t wall_ms, char *text)
{
    const int64_t day_ms = 86400000;
    const int64_t first_ms = INT64_C(-62167219200000); /* 0000-01-01T00:00:00.000Z */
    const int64_t last_ms = INT64_C(253402300799999);  /* 9999-12-31T23:59:59.999Z */
    int64_t ms = wall_ms < first_ms ? first_ms : wall_ms > last_ms ? last_ms : wall_ms;
    int64_t days = ms / day_ms - (ms % day_ms < 0 ? 1 : 0);
    int rest = (int)(ms - days * day_ms);
    int year, month, day;
    date_of_days(days, &year, &month, &day);
    static const char shape[WEIR_TIME_TEXT_SIZE] = "0000-00-00T00:00:00.000Z";
    for (int i = 0; i < WEIR_TIME_TEXT_SIZE; i++) {
        text[i] = shape[i];
    }
    put_digits(text, year, 4);
    put_digits(text + 5, month, 2);
    put_digits(text + 8, day, 2);
    put_digits(text + 11, rest / 3600000, 2);
    put_digits(text + 14, rest / 60000 % 60, 2);
    put_digits(text + 17, rest / 1000 % 60, 2);
    put_digits(text + 20, rest % 1000, 3);
}

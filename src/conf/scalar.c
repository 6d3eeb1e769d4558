/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers with units. Amounts are parsed as an exact decimal and multiplied by the unit in
 * integers, so 1.5s is 1500 ms and 0.3ms is refused instead of rounded. Overflow is a parse
 * failure: a number that does not fit is as wrong as one that is no number.
 */
#include "conf/scalar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { TEXT_MAX = 63 };

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"kB", 1000},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {NULL, 0},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool weir_parse_int(struct weir_slice text, int64_t *ret_value)
{
    size_t at = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+');
    bool negative = at > 0 && text.data[0] == '-';
    if (at == text.size) {
        return false;
    }
    int64_t value = 0;
    for (; at < text.size; at++) {
        if (text.data[at] == '_' && at > 0 && is_digit(text.data[at - 1]) && at + 1 < text.size) {
            continue;
        }
        if (!is_digit(text.data[at])) {
            return false;
        }
        int digit = text.data[at] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, negative ? -digit : digit, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

bool weir_parse_number(struct weir_slice text, double *ret_value)
{
    char copy[TEXT_MAX + 1];
    if (text.size == 0 || text.size > TEXT_MAX) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (strspn(copy, "+-.0123456789eE") < text.size) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    double value = strtod(copy, &end);
    if (end != copy + text.size || errno == ERANGE) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool weir_parse_bool(struct weir_slice text, bool *ret_value)
{
    *ret_value = weir_slice_equal(text, WEIR_SLICE("true"));
    return *ret_value || weir_slice_equal(text, WEIR_SLICE("false"));
}

static const struct unit *find_unit(const struct unit *units, struct weir_slice name)
{
    for (; units->name != NULL; units++) {
        if (weir_slice_equal(name, weir_slice_of(units->name))) {
            return units;
        }
    }
    return NULL;
}

/* whole.fraction with a unit, exactly; false when the product is no integer. */
static bool parse_amount(struct weir_slice text, const struct unit *units, int64_t *ret_value)
{
    int64_t digits = 0;
    int64_t scale = 1;
    size_t at = 0;
    bool in_fraction = false;
    for (; at < text.size; at++) {
        char c = text.data[at];
        if (c == '.' && !in_fraction && at > 0 && at + 1 < text.size &&
            is_digit(text.data[at + 1])) {
            in_fraction = true;
            continue;
        }
        if (!is_digit(c)) {
            break;
        }
        if (__builtin_mul_overflow(digits, 10, &digits) ||
            __builtin_add_overflow(digits, c - '0', &digits) ||
            (in_fraction && __builtin_mul_overflow(scale, 10, &scale))) {
            return false;
        }
    }
    if (at == 0) {
        return false;
    }
    while (at < text.size && text.data[at] == ' ') {
        at++;
    }
    const struct unit *unit = find_unit(units, (struct weir_slice){text.data + at, text.size - at});
    int64_t product = 0;
    if (unit == NULL || __builtin_mul_overflow(digits, unit->factor, &product) ||
        product % scale != 0) {
        return false;
    }
    *ret_value = product / scale;
    return true;
}

bool weir_parse_duration(struct weir_slice text, weir_duration *ret_value)
{
    if (weir_slice_equal(text, WEIR_SLICE("0"))) {
        *ret_value = 0;
        return true;
    }
    return parse_amount(text, duration_units, ret_value);
}

bool weir_parse_duration_range(struct weir_slice text, struct weir_duration_range *ret_value)
{
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] == '.' && text.data[i + 1] == '.') {
            struct weir_slice low = {text.data, i};
            struct weir_slice high = {text.data + i + 2, text.size - i - 2};
            return weir_parse_duration(low, &ret_value->min) &&
                   weir_parse_duration(high, &ret_value->max) && ret_value->min <= ret_value->max;
        }
    }
    if (!weir_parse_duration(text, &ret_value->min)) {
        return false;
    }
    ret_value->max = ret_value->min;
    return true;
}

bool weir_parse_size(struct weir_slice text, weir_bytesize *ret_value)
{
    return parse_amount(text, size_units, ret_value);
}

/* --- time ------------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms"). */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Exactly `count` digits at *at. */
static bool take_digits(struct weir_slice text, size_t *at, size_t count, int64_t *ret_value)
{
    int64_t value = 0;
    for (size_t i = 0; i < count; i++, (*at)++) {
        if (*at >= text.size || !is_digit(text.data[*at])) {
            return false;
        }
        value = value * 10 + (text.data[*at] - '0');
    }
    *ret_value = value;
    return true;
}

static bool take_char(struct weir_slice text, size_t *at, const char *any_of)
{
    if (*at < text.size && text.data[*at] != '\0' && strchr(any_of, text.data[*at]) != NULL) {
        (*at)++;
        return true;
    }
    return false;
}

static int64_t days_of_month(int64_t year, int64_t month)
{
    static const int64_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool take_date(struct weir_slice text, size_t *at, int64_t *ret_days)
{
    int64_t year = 0;
    int64_t month = 0;
    int64_t day = 0;
    if (!take_digits(text, at, 4, &year) || !take_char(text, at, "-") ||
        !take_digits(text, at, 2, &month) || !take_char(text, at, "-") ||
        !take_digits(text, at, 2, &day) || month < 1 || month > 12 || day < 1 ||
        day > days_of_month(year, month)) {
        return false;
    }
    *ret_days = days_from_civil(year, month, day);
    return true;
}

static bool take_zone(struct weir_slice text, size_t *at, int64_t *ret_minutes)
{
    if (take_char(text, at, "Zz")) {
        *ret_minutes = 0;
        return true;
    }
    bool negative = *at < text.size && text.data[*at] == '-';
    int64_t hours = 0;
    int64_t minutes = 0;
    if (!take_char(text, at, "+-") || !take_digits(text, at, 2, &hours) ||
        !take_char(text, at, ":") || !take_digits(text, at, 2, &minutes) || hours > 23 ||
        minutes > 59) {
        return false;
    }
    *ret_minutes = (hours * 60 + minutes) * (negative ? -1 : 1);
    return true;
}

static bool take_clock(struct weir_slice text, size_t *at, int64_t *ret_ms)
{
    int64_t hour = 0;
    int64_t minute = 0;
    int64_t second = 0;
    int64_t ms = 0;
    if (!take_digits(text, at, 2, &hour) || !take_char(text, at, ":") ||
        !take_digits(text, at, 2, &minute) || !take_char(text, at, ":") ||
        !take_digits(text, at, 2, &second) || hour > 23 || minute > 59 || second > 60) {
        return false;
    }
    if (take_char(text, at, ".")) {
        int64_t weight = 100;
        size_t first = *at;
        for (; *at < text.size && is_digit(text.data[*at]); (*at)++, weight /= 10) {
            ms += (text.data[*at] - '0') * weight;
        }
        if (*at == first) {
            return false;
        }
    }
    *ret_ms = ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    return true;
}

bool weir_parse_time(struct weir_slice text, int64_t *ret_time_ms)
{
    if (weir_parse_int(text, ret_time_ms)) {
        return true;
    }
    size_t at = 0;
    int64_t days = 0;
    int64_t ms = 0;
    int64_t zone_minutes = 0;
    if (!take_date(text, &at, &days)) {
        return false;
    }
    if (at < text.size && (!take_char(text, &at, "Tt ") || !take_clock(text, &at, &ms) ||
                           !take_zone(text, &at, &zone_minutes))) {
        return false;
    }
    *ret_time_ms = days * 86400000 + ms - zone_minutes * 60000;
    return at == text.size;
}

/* --- formatting ------------------------------------------------------------------------------- */

void weir_format_duration(weir_duration value, struct weir_strbuf *out)
{
    const struct unit *unit = &duration_units[4];
    while (unit > duration_units && (value == 0 || value % unit->factor != 0)) {
        unit--;
    }
    if (value == 0) {
        weir_strbuf_text(out, "0s");
    } else {
        weir_strbuf_printf(out, "%lld%s", (long long)(value / unit->factor), unit->name);
    }
}

void weir_format_size(weir_bytesize value, struct weir_strbuf *out)
{
    const struct unit *best = size_units;
    for (const struct unit *unit = size_units; unit->name != NULL && value != 0; unit++) {
        if (value % unit->factor == 0 && unit->factor > best->factor) {
            best = unit;
        }
    }
    weir_strbuf_printf(out, "%lld%s", (long long)(value / best->factor), best->name);
}

void weir_format_time(int64_t time_ms, struct weir_strbuf *out)
{
    int64_t days = time_ms / 86400000 - (time_ms % 86400000 < 0);
    int64_t ms = time_ms - days * 86400000;
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_index = (5 * day_of_year + 2) / 153;
    int64_t day = day_of_year - (153 * month_index + 2) / 5 + 1;
    int64_t month = month_index < 10 ? month_index + 3 : month_index - 9;
    int64_t year = year_of_era + era * 400 + (month <= 2);
    weir_strbuf_printf(out, "%04lld-%02lld-%02lldT%02lld:%02lld:%02lld", (long long)year,
                       (long long)month, (long long)day, (long long)(ms / 3600000),
                       (long long)(ms / 60000 % 60), (long long)(ms / 1000 % 60));
    if (ms % 1000 != 0) {
        weir_strbuf_printf(out, ".%03lld", (long long)(ms % 1000));
    }
    weir_strbuf_push(out, 'Z');
}

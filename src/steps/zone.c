/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads TZif files (RFC 8536): the table of changes, and the rule for the years behind it (POSIX
 * TZ, with the extension for hours beyond a day), which is written out as more changes until 2500.
 * After that the last offset stays.
 */
#include "zone.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum { FILE_MAX = 1 << 20, HEAD = 44, YEAR_LAST = 2500, DAY_S = 86400 };

struct change {
    int64_t at_s;     /* from here on … */
    int32_t offset_s; /* … so far ahead of UTC */
};

struct zone {
    int32_t first_offset_s; /* before all changes */
    struct change *changes;
    size_t count;
};

static void zone_add(struct zone *self, int64_t at_s, int32_t offset_s)
{
    if ((self->count & (self->count - 1)) == 0) { /* full at each power of two */
        size_t capacity = self->count == 0 ? 1 : self->count * 2;
        self->changes = weir_realloc(self->changes, capacity, sizeof(*self->changes));
    }
    self->changes[self->count++] = (struct change){at_s, offset_s};
}

/* --- the rule for the future -------------------------------------------------------------------*/

struct rule_date {
    char kind; /* 'M': month, week, weekday · 'J': day without 29 February · '0': day */
    int month, week, day;
    int32_t time_s;
};

static const char *skip_name(const char *at)
{
    if (*at == '<') {
        const char *end = strchr(at, '>');
        return end == NULL ? NULL : end + 1;
    }
    const char *begin = at;
    while (isalpha((unsigned char)*at)) {
        at++;
    }
    return at - begin >= 3 ? at : NULL;
}

/* [+-]h[:m[:s]] */
static const char *take_time(const char *at, int32_t *ret_s)
{
    int sign = *at == '-' ? -1 : 1;
    at += *at == '-' || *at == '+';
    int32_t total = 0, unit = 3600;
    for (int i = 0; i < 3; i++, unit /= 60) {
        if (!isdigit((unsigned char)*at)) {
            return NULL;
        }
        char *end;
        long number = strtol(at, &end, 10);
        total += (int32_t)(number % 1000) * unit;
        at = end;
        if (*at != ':') {
            break;
        }
        at++;
    }
    *ret_s = sign * total;
    return at;
}

/* ",M3.5.0/2" */
static const char *take_date(const char *at, struct rule_date *ret)
{
    int used = 0;
    *ret = (struct rule_date){.kind = 'M', .time_s = 7200};
    if (sscanf(at, ",M%d.%d.%d%n", &ret->month, &ret->week, &ret->day, &used) == 3) {
    } else if (sscanf(at, ",J%d%n", &ret->day, &used) == 1) {
        ret->kind = 'J';
    } else if (sscanf(at, ",%d%n", &ret->day, &used) == 1) {
        ret->kind = '0';
    } else {
        return NULL;
    }
    at += used;
    return *at == '/' ? take_time(at + 1, &ret->time_s) : at;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970 of 1 January. */
static int64_t year_day(int year)
{
    int64_t before = year - 1;
    return before * 365 + before / 4 - before / 100 + before / 400 - 719162;
}

static int64_t date_s(const struct rule_date *date, int year)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t day = year_day(year);
    if (date->kind == 'J') {
        day += date->day - 1 + (is_leap(year) && date->day > 59);
    } else if (date->kind == '0') {
        day += date->day;
    } else {
        for (int month = 1; month < date->month; month++) {
            day += lengths[month - 1] + (month == 2 && is_leap(year));
        }
        int length = lengths[date->month - 1] + (date->month == 2 && is_leap(year));
        int weekday = (int)(((day + 4) % 7 + 7) % 7); /* of the first; 1970 began on a Thursday */
        int of_month = (date->day - weekday + 7) % 7 + (date->week - 1) * 7;
        day += of_month < length ? of_month : of_month - 7;
    }
    return day * DAY_S + date->time_s;
}

/* "CET-1CEST,M3.5.0,M10.5.0/3" */
static bool zone_add_rule(struct zone *self, const char *text)
{
    int32_t standard, summer;
    struct rule_date begins, ends;
    const char *at = skip_name(text);
    at = at == NULL ? NULL : take_time(at, &standard);
    if (at == NULL || *at == '\0') {
        return at != NULL; /* no summer time: the last change stands */
    }
    summer = standard - 3600;
    at = skip_name(at);
    if (at != NULL && *at != ',') {
        at = take_time(at, &summer);
    }
    at = at == NULL ? NULL : take_date(at, &begins);
    at = at == NULL ? NULL : take_date(at, &ends);
    if (at == NULL || *at != '\0' ||
        (begins.kind == 'M' && (begins.month < 1 || begins.month > 12)) ||
        (ends.kind == 'M' && (ends.month < 1 || ends.month > 12))) {
        return false;
    }
    int64_t last_s = self->count == 0 ? 0 : self->changes[self->count - 1].at_s;
    int first_year = (int)(1970 + last_s / (DAY_S * 366LL));
    for (int year = first_year < 1970 ? 1970 : first_year; year <= YEAR_LAST; year++) {
        struct change both[2] = {{date_s(&begins, year) + standard, -summer},
                                 {date_s(&ends, year) + summer, -standard}};
        bool swapped = both[0].at_s > both[1].at_s;
        for (int i = 0; i < 2; i++) {
            const struct change *one = &both[swapped ? 1 - i : i];
            if (self->count == 0 || one->at_s > self->changes[self->count - 1].at_s) {
                zone_add(self, one->at_s, one->offset_s);
            }
        }
    }
    return true;
}

/* --- the file ----------------------------------------------------------------------------------*/

static uint64_t take_number(const unsigned char *at, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* The numbers of a header: what follows it has. */
struct counts {
    size_t isut, isstd, leap, times, types, chars;
};

static bool take_head(const unsigned char *bytes, size_t size, struct counts *ret)
{
    if (size < HEAD || memcmp(bytes, "TZif", 4) != 0 || bytes[4] < '2') {
        return false;
    }
    *ret = (struct counts){take_number(bytes + 20, 4), take_number(bytes + 24, 4),
                           take_number(bytes + 28, 4), take_number(bytes + 32, 4),
                           take_number(bytes + 36, 4), take_number(bytes + 40, 4)};
    return ret->types > 0 && ret->times < FILE_MAX && ret->types < FILE_MAX &&
           ret->leap < FILE_MAX && ret->chars < FILE_MAX && ret->isut < FILE_MAX &&
           ret->isstd < FILE_MAX;
}

static bool zone_parse(struct zone *self, unsigned char *bytes, size_t size)
{
    struct counts old, counts;
    if (!take_head(bytes, size, &old)) {
        return false;
    }
    size_t at =
        HEAD + old.times * 5 + old.types * 6 + old.chars + old.leap * 8 + old.isstd + old.isut;
    if (at >= size || !take_head(bytes + at, size - at, &counts)) {
        return false;
    }
    at += HEAD;
    size_t types = at + counts.times * 9;
    size_t rule =
        types + counts.types * 6 + counts.chars + counts.leap * 12 + counts.isstd + counts.isut;
    if (rule + 2 > size || bytes[rule] != '\n') {
        return false;
    }
    self->first_offset_s = (int32_t)take_number(bytes + types, 4);
    for (size_t i = 0; i < counts.times; i++) {
        size_t type = bytes[at + counts.times * 8 + i];
        if (type >= counts.types) {
            return false;
        }
        zone_add(self, (int64_t)take_number(bytes + at + i * 8, 8),
                 (int32_t)take_number(bytes + types + type * 6, 4));
    }
    char *text = (char *)bytes + rule + 1, *end = memchr(text, '\n', size - rule - 1);
    if (end == NULL) {
        return false;
    }
    *end = '\0';
    return *text == '\0' || zone_add_rule(self, text);
}

/* A name cannot leave the folder. */
static bool is_name(const char *name)
{
    return name[0] != '/' && name[0] != '\0' && strstr(name, "..") == NULL && strlen(name) < 100;
}

struct zone *zone_open(const char *name, struct weir_err *err)
{
    char path[160];
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", name);
    FILE *file = is_name(name) ? fopen(path, "re") : NULL;
    struct zone *self = weir_calloc(1, sizeof(*self));
    bool is_sound = false;
    if (file != NULL) {
        unsigned char *bytes = weir_calloc(1, FILE_MAX);
        is_sound = zone_parse(self, bytes, fread(bytes, 1, FILE_MAX - 1, file));
        weir_free(bytes);
        (void)fclose(file);
    }
    if (!is_sound) {
        (void)!weir_fail(err, WEIR_CONFIG, "there is no time zone \"%.60s\" on this machine", name);
        weir_err_hint(err, "Write a name such as Europe/Berlin, and install the package tzdata.");
        weir_err_path(err, "timezone");
        zone_close(self);
        return NULL;
    }
    return self;
}

void zone_close(struct zone *self)
{
    if (self != NULL) {
        weir_free(self->changes);
        weir_free(self);
    }
}

/* --- asking ------------------------------------------------------------------------------------*/

/* How many changes are at that second or before. */
static size_t changes_until(const struct zone *self, int64_t utc_s)
{
    size_t low = 0, high = self->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (self->changes[middle].at_s <= utc_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int32_t offset_after(const struct zone *self, size_t changes)
{
    return changes == 0 ? self->first_offset_s : self->changes[changes - 1].offset_s;
}

static int64_t floor_s(int64_t ms)
{
    return ms / 1000 - (ms % 1000 < 0);
}

int64_t zone_offset_ms(const struct zone *self, int64_t utc_ms)
{
    return (int64_t)offset_after(self, changes_until(self, floor_s(utc_ms))) * 1000;
}

int64_t zone_first_ms(const struct zone *self, int64_t local_ms)
{
    /* No clock is further from UTC than two days. */
    for (size_t i = changes_until(self, floor_s(local_ms) - 2 * DAY_S);; i++) {
        int64_t from_ms = i == 0 ? INT64_MIN : self->changes[i - 1].at_s * 1000;
        int64_t utc_ms = local_ms - (int64_t)offset_after(self, i) * 1000;
        utc_ms = utc_ms < from_ms ? from_ms : utc_ms;
        if (i == self->count || utc_ms < self->changes[i].at_s * 1000) {
            return utc_ms;
        }
    }
}

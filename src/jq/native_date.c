/* SPDX-License-Identifier: Apache-2.0
 *
 * Dates. A broken-down time is [year, month 0-11, day, hours, minutes, seconds, weekday, day of the
 * year]; the C library converts, as it does for jq. Formatting goes through timegm first, so days
 * of the week need not be given.
 */
#include <ctype.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "jq/native.h"

static struct weir_value from_tm(struct weir_jq_run *run, const struct tm *tm, double seconds)
{
    const double parts[8] = {(double)tm->tm_year + 1900,
                             tm->tm_mon,
                             tm->tm_mday,
                             tm->tm_hour,
                             tm->tm_min,
                             tm->tm_sec + (seconds - floor(seconds)),
                             tm->tm_wday,
                             tm->tm_yday};
    struct weir_value array = weir_array_new(&run->heap, 8);
    for (int i = 0; i < 8; i++) {
        array = weir_array_push(&run->heap, array, weir_value_number(parts[i]));
    }
    return array;
}

/* False: not a broken-down time. */
static bool to_tm(struct weir_value array, bool local, struct tm *ret)
{
    memset(ret, 0, sizeof *ret);
    int *const fields[8] = {&ret->tm_year, &ret->tm_mon, &ret->tm_mday, &ret->tm_hour,
                            &ret->tm_min,  &ret->tm_sec, &ret->tm_wday, &ret->tm_yday};
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, array);
    struct weir_value item;
    for (int i = 0; i < 8 && weir_value_iter_next(&iter, NULL, &item); i++) {
        double number = weir_value_double(item);
        if (item.kind != WEIR_KIND_NUMBER || isnan(number)) {
            return false;
        }
        number -= i == 0 ? 1900 : 0;
        *fields[i] = number < INT_MIN ? INT_MIN : number > INT_MAX ? INT_MAX : (int)number;
    }
    if (local) {
        ret->tm_isdst = -1;
        mktime(ret);
    } else {
        timegm(ret);
    }
    return true;
}

static struct weir_value break_down(struct weir_jq_run *run, struct weir_value input, bool local)
{
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_fail(run, "%s() requires numeric inputs", local ? "localtime" : "gmtime");
    }
    double seconds = weir_value_double(input);
    weir_release(&run->heap, input);
    time_t whole = seconds >= -9.2e18 && seconds <= 9.2e18 ? (time_t)seconds : (time_t)INT64_MIN;
    struct tm tm = {0};
    if ((local ? localtime_r(&whole, &tm) : gmtime_r(&whole, &tm)) == NULL) {
        return jq_fail(run, "error converting number of seconds since epoch to datetime");
    }
    return from_tm(run, &tm, seconds);
}

static struct weir_value
gm_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return break_down(run, input, false);
}

static struct weir_value
local_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return break_down(run, input, true);
}

static struct weir_value
make_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "mktime requires array inputs");
    }
    struct tm tm;
    if (!to_tm(input, false, &tm)) {
        return jq_fail(run, "mktime requires parsed datetime inputs");
    }
    time_t seconds = timegm(&tm);
    weir_release(&run->heap, input);
    return seconds == (time_t)-1 ? jq_fail(run, "invalid gmtime representation")
                                 : weir_value_number((double)seconds);
}

/* The text with a NUL behind it, cut at the first NUL of its own. Freed by the caller. */
static char *c_text(struct weir_value text)
{
    return weir_strndup(text.as.bytes, strnlen(text.as.bytes, text.size));
}

static struct weir_value
parse_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind != WEIR_KIND_STRING || arguments[0].kind != WEIR_KIND_STRING) {
        return jq_fail(run, "strptime/1 requires string inputs and arguments");
    }
    WEIR_AUTO_FREE char *text = c_text(input);
    WEIR_AUTO_FREE char *format = c_text(arguments[0]);
    struct tm tm = {.tm_wday = 8, .tm_yday = 367};
    const char *end = strptime(text, format, &tm);
    if (end == NULL || (*end != '\0' && !isspace((unsigned char)*end))) {
        return jq_fail(run, "date \"%s\" does not match format \"%s\"", text, format);
    }
    if (tm.tm_wday == 8 && tm.tm_mday >= 1 && tm.tm_mday <= 31) {
        struct tm copy = tm;
        timegm(&copy);
        tm.tm_wday = copy.tm_wday;
    }
    if (tm.tm_yday == 367 && tm.tm_mday >= 1 && tm.tm_mday <= 31) {
        struct tm copy = tm;
        timegm(&copy);
        tm.tm_yday = copy.tm_yday;
    }
    struct weir_value result = from_tm(run, &tm, 0);
    if (*end != '\0') {
        result = weir_array_push(&run->heap, result, jq_text(run, end));
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return result;
}

static struct weir_value
format_time(struct weir_jq_run *run, struct weir_value input, struct weir_value format, bool local)
{
    const char *name = local ? "strflocaltime/1" : "strftime/1";
    if (input.kind == WEIR_KIND_NUMBER) {
        input = break_down(run, input, local);
        if (weir_value_is_absent(input)) {
            return input;
        }
    } else if (input.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "%s requires parsed datetime inputs", name);
    }
    if (format.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "%s requires a string format", name);
    }
    struct tm tm;
    if (!to_tm(input, local, &tm)) {
        return jq_fail(run, "%s requires parsed datetime inputs", name);
    }
    WEIR_AUTO_FREE char *text = c_text(format);
    size_t room = strlen(text) + 100;
    WEIR_AUTO_FREE char *buf = weir_calloc(1, room);
    size_t size = 0;
    if (text[0] != '\0') {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        size = strftime(buf, room, text, &tm);
#pragma GCC diagnostic pop
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, format);
    if (size == 0 && text[0] != '\0') {
        return jq_fail(run, "%s: unknown system failure", name);
    }
    return weir_string_new(&run->heap, (struct weir_slice){buf, size});
}

static struct weir_value
format_gm_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return format_time(run, input, arguments[0], false);
}

static struct weir_value
format_local_time(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return format_time(run, input, arguments[0], true);
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)(now.tv_nsec / 1000) / 1000000.0;
}

static struct weir_value
now(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, input);
    return weir_value_number(seconds_now());
}

static struct weir_value
now_ms(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, input);
    return weir_value_number(floor(seconds_now() * 1000));
}

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("gmtime", 0, gm_time, 0, "Seconds since 1970 as a broken-down time.", "gmtime", "0", "[1970,0,1,0,0,0,4,0]"),
    JQ_FN("localtime", 0, local_time, JQ_UNSTABLE, "Seconds since 1970 as a broken-down local time.", JQ_NO_EXAMPLE),
    JQ_FN("mktime", 0, make_time, 0, "A broken-down time as seconds since 1970.", "mktime", "[1970,0,2,0,0,0,0,0]", "86400"),
    JQ_FN("strptime", 1, parse_time, 0, "A text as a broken-down time.", "strptime(\"%Y-%m-%d\") | mktime", "\"1970-01-02\"", "86400"),
    JQ_FN("strftime", 1, format_gm_time, 0, "A time as text.", "strftime(\"%Y-%m-%d\")", "0", "\"1970-01-01\""),
    JQ_FN("strflocaltime", 1, format_local_time, JQ_UNSTABLE, "A time as local text.", JQ_NO_EXAMPLE),
    JQ_FN("now", 0, now, JQ_UNSTABLE, "Seconds since 1970, now.", "now > 0", "null", "true"),
    JQ_FN("now_ms", 0, now_ms, JQ_UNSTABLE | JQ_WEIR, "Milliseconds since 1970, now.", "now_ms > 0", "null", "true"),
    JQ_DEF("fromdateiso8601", 0, "def fromdateiso8601: strptime(\"%Y-%m-%dT%H:%M:%SZ\") | mktime;", 0, "An ISO 8601 text as seconds since 1970.", "fromdateiso8601", "\"1970-01-02T00:00:00Z\"", "86400"),
    JQ_DEF("todateiso8601", 0, "def todateiso8601: strftime(\"%Y-%m-%dT%H:%M:%SZ\");", 0, "Seconds since 1970 as an ISO 8601 text.", "todateiso8601", "0", "\"1970-01-01T00:00:00Z\""),
    JQ_DEF("fromdate", 0, "def fromdate: fromdateiso8601;", 0, "An ISO 8601 text as seconds since 1970.", "fromdate", "\"1970-01-02T00:00:00Z\"", "86400"),
    JQ_DEF("todate", 0, "def todate: todateiso8601;", 0, "Seconds since 1970 as an ISO 8601 text.", "todate", "0", "\"1970-01-01T00:00:00Z\""),
};
// clang-format on

JQ_FAMILY(jq_date_natives, table);

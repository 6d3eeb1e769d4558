/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers. A number that was read and not computed with keeps its decimal text, whatever its
 * length, and prints in decNumber's scientific form: 1.10, 1E+2, 0.000001, 1E-7. A computed number
 * is a double and prints with the fewest digits that read back the same.
 *
 * Reading: up to 19 digits are gathered in an integer; if that is below 2^53 and the power of ten
 * is exact, one multiplication or division gives the correctly rounded double (Clinger 1990). The
 * rest goes through strtod. jq rounds longer decimals to 17 digits first, and so do we.
 *
 * Printing: most doubles in documents are integers or decimals of few places. m = x * 10^k is tried
 * for small k; when m is below 10^15 and m / 10^k gives x back, these are the shortest digits,
 * because no two decimals of at most 15 digits share a double. Else printf with 15, 16, 17 digits,
 * the first that reads back.
 */
#include "data/number.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define EXPONENT_LIMIT 999999999 /* decNumber's largest exponent */
#define DOUBLE_DIGITS 17

static const double exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                      1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                      1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

static bool is_infinity(const char *at, const char *end)
{
    size_t size = (size_t)(end - at);
    return (size == 3 && strncasecmp(at, "inf", 3) == 0) ||
           (size == 8 && strncasecmp(at, "infinity", 8) == 0);
}

/* Reads [e[+-]digits] up to the end; false if something else stands there. */
static bool parse_exponent(const char *at, const char *end, int64_t *ret)
{
    *ret = 0;
    if (at == end) {
        return true;
    }
    if (*at != 'e' && *at != 'E') {
        return false;
    }
    at++;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) {
        at++;
    }
    if (at == end) {
        return false;
    }
    int64_t exponent = 0;
    for (; at < end; at++) {
        if (!is_digit(*at)) {
            return false;
        }
        if (exponent < 1000000000000) {
            exponent = exponent * 10 + (*at - '0');
        }
    }
    *ret = negative ? -exponent : exponent;
    return true;
}

bool weir_decimal_parse(struct weir_slice text, struct weir_decimal *ret)
{
    const char *at = text.data;
    const char *end = text.data + text.size;
    memset(ret, 0, sizeof *ret);
    if (at < end && (*at == '-' || *at == '+')) {
        ret->negative = *at == '-';
        at++;
    }
    if (is_infinity(at, end)) {
        ret->infinite = true;
        return true;
    }
    const char *first = NULL; /* significant digit */
    size_t seen = 0, significant = 0, places = 0;
    bool point = false;
    const char *last = at;
    for (; at < end; at++) {
        if (*at == '.' && !point) {
            point = true;
            continue;
        }
        if (!is_digit(*at)) {
            break;
        }
        seen++;
        places += point;
        if (first == NULL && *at != '0') {
            first = at;
        }
        significant += first != NULL;
        last = at;
    }
    int64_t exponent;
    if (seen == 0 || !parse_exponent(at, end, &exponent)) {
        return false;
    }
    ret->exponent = exponent - (int64_t)places;
    ret->zero = first == NULL;
    ret->digits = ret->zero ? last : first;
    ret->count = ret->zero ? 1 : significant;
    ret->end = last + 1;
    if (!ret->zero && ret->exponent + (int64_t)ret->count - 1 > EXPONENT_LIMIT) {
        ret->infinite = true;
    }
    return true;
}

int weir_decimal_compare(const struct weir_decimal *a, const struct weir_decimal *b)
{
    bool a_zero = a->zero && !a->infinite, b_zero = b->zero && !b->infinite;
    if (a_zero && b_zero) {
        return 0;
    }
    int a_sign = a_zero ? 0 : a->negative ? -1 : 1;
    int b_sign = b_zero ? 0 : b->negative ? -1 : 1;
    if (a_sign != b_sign || a->infinite || b->infinite) {
        if (a_sign != b_sign) {
            return a_sign < b_sign ? -1 : 1;
        }
        return a->infinite == b->infinite ? 0 : a->infinite ? a_sign : -b_sign;
    }
    int64_t a_top = a->exponent + (int64_t)a->count, b_top = b->exponent + (int64_t)b->count;
    if (a_top != b_top) {
        return a_top < b_top ? -a_sign : a_sign;
    }
    const char *p = a->digits, *q = b->digits;
    while (p < a->end || q < b->end) {
        p += p < a->end && *p == '.';
        q += q < b->end && *q == '.';
        char c = p < a->end ? *p++ : '0';
        char d = q < b->end ? *q++ : '0';
        if (c != d) {
            return c < d ? -a_sign : a_sign;
        }
    }
    return 0;
}

uint64_t weir_decimal_hash(const struct weir_decimal *decimal, size_t digits)
{
    size_t count = decimal->count;
    for (const char *at = decimal->end - 1; count > 1 && (*at == '0' || *at == '.'); at--) {
        count -= *at == '0';
    }
    if (count <= digits || decimal->infinite) {
        return 0;
    }
    int64_t exponent = decimal->exponent + (int64_t)(decimal->count - count);
    uint64_t hash = (uint64_t)exponent * 2 + decimal->negative + 1;
    const char *at = decimal->digits;
    for (size_t i = 0; i < count; at++) {
        if (*at != '.') {
            hash = (hash ^ (uint64_t)(unsigned char)*at) * 0xff51afd7ed558ccdu;
            hash ^= hash >> 32;
            i++;
        }
    }
    return hash | 1;
}

/* The first 17 digits, rounded half to even, and strtod. */
static double parse_slow(const struct weir_decimal *decimal)
{
    if (decimal->infinite) {
        return decimal->negative ? -HUGE_VAL : HUGE_VAL;
    }
    char text[DOUBLE_DIGITS + 40];
    size_t size = 0, count = 0;
    int64_t exponent = decimal->exponent + (int64_t)decimal->count;
    if (decimal->negative) {
        text[size++] = '-';
    }
    size_t start = size;
    const char *at = decimal->digits;
    for (; at < decimal->end && count < DOUBLE_DIGITS; at++) {
        if (*at != '.') {
            text[size++] = *at;
            count++;
        }
    }
    int next = -1; /* the digit behind the last kept one */
    bool more = false;
    for (; at < decimal->end; at++) {
        if (*at == '.') {
            continue;
        }
        if (next < 0) {
            next = *at - '0';
        } else {
            more |= *at != '0';
        }
    }
    if (next > 5 || (next == 5 && (more || ((text[size - 1] - '0') & 1) != 0))) {
        size_t i = size;
        while (i > start && text[i - 1] == '9') {
            text[--i] = '0';
        }
        if (i > start) {
            text[i - 1]++;
        } else {
            text[start] = '1';
            exponent++;
        }
    }
    if (exponent > 400) {
        exponent = 400;
    } else if (exponent < -800) {
        exponent = -800;
    }
    int written =
        snprintf(text + size, sizeof text - size, "e%d", (int)(exponent - (int64_t)count));
    WEIR_ASSERT(written > 0 && (size_t)written < sizeof text - size);
    double number = strtod(text, NULL);
    return decimal->zero ? (decimal->negative ? -0.0 : 0.0) : number;
}

double weir_number_parse(const char *text, size_t size)
{
    const char *at = text, *end = text + size;
    bool negative = at < end && *at == '-';
    at += negative;
    uint64_t digits = 0;
    const char *first = at;
    while (at < end && is_digit(*at)) {
        digits = digits * 10 + (uint64_t)(*at++ - '0');
    }
    size_t count = (size_t)(at - first);
    int64_t exponent = 0;
    bool plain = count > 0;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && is_digit(*at)) {
            digits = digits * 10 + (uint64_t)(*at++ - '0');
        }
        exponent = fraction - at;
        count += (size_t)(at - fraction);
    }
    if (at < end) {
        int64_t written = 0;
        plain = plain && parse_exponent(at, end, &written);
        exponent += written;
    }
    if (plain && count <= 19 && digits <= (UINT64_C(1) << 53) && exponent >= -22 &&
        exponent <= 22) {
        double number = (double)digits;
        number = exponent < 0 ? number / exact_powers[-exponent] : number * exact_powers[exponent];
        return negative ? -number : number;
    }
    struct weir_decimal decimal;
    return weir_decimal_parse((struct weir_slice){text, size}, &decimal) ? parse_slow(&decimal)
                                                                         : (double)NAN;
}

static size_t put_integer(uint64_t n, char *ret)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    memcpy(ret, text + at, sizeof text - at);
    return sizeof text - at;
}

/* Digits (no trailing zeros) with the decimal point at `place`, in jq's notation. */
static size_t put_digits(const char *digits, int count, int place, char *ret)
{
    char *at = ret;
    if (place <= -4 || place > count + 15) {
        *at++ = digits[0];
        if (count > 1) {
            *at++ = '.';
            memcpy(at, digits + 1, (size_t)(count - 1));
            at += count - 1;
        }
        int exponent = place - 1;
        *at++ = 'e';
        *at++ = exponent < 0 ? '-' : '+';
        exponent = abs(exponent);
        if (exponent < 10) {
            *at++ = '0';
        }
        return (size_t)(at - ret) + put_integer((uint64_t)exponent, at);
    }
    if (place <= 0) {
        *at++ = '0';
        *at++ = '.';
        memset(at, '0', (size_t)-place);
        at += -place;
        memcpy(at, digits, (size_t)count);
        return (size_t)(at - ret) + (size_t)count;
    }
    for (int i = 0; i < count || i < place; i++) {
        if (i == place) {
            *at++ = '.';
        }
        *at++ = i < count ? digits[i] : '0';
    }
    return (size_t)(at - ret);
}

static int strip_zeros(const char *digits, int count)
{
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    return count;
}

/* Short decimals: true if x = m / 10^k with m < 10^15. x > 0. */
static bool format_short(double x, char *ret, size_t *ret_size)
{
    if (x >= 1e15 || x < 1e-5) {
        return false;
    }
    for (int places = 1; places <= 17; places++) {
        double scaled = x * exact_powers[places];
        if (scaled >= 1e15) {
            return false;
        }
        double rounded = nearbyint(scaled);
        if (rounded / exact_powers[places] == x) {
            char digits[20];
            int count = (int)put_integer((uint64_t)rounded, digits);
            *ret_size = put_digits(digits, strip_zeros(digits, count), count - places, ret);
            return true;
        }
    }
    return false;
}

/* d.ddde±xx with its last digit one up; false when that carries out of the digits. */
static bool next_decimal(char *text)
{
    char *at = strchr(text, 'e');
    while (at > text) {
        at--;
        if (*at == '.') {
            continue;
        }
        if (*at != '9') {
            ++*at;
            return true;
        }
        *at = '0';
    }
    return false;
}

/* The digits of the fewest that read back as x. At a power of two the gap above is twice the gap
 * below: there the decimal above may do where the nearest one does not. */
static void shortest(double x, char *text, size_t size)
{
    int exponent;
    bool power = frexp(x, &exponent) == 0.5;
    for (int precision = x < DBL_MIN ? 1 : 15; precision <= DOUBLE_DIGITS; precision++) {
        snprintf(text, size, "%.*e", precision - 1, x);
        if (strtod(text, NULL) == x || (power && next_decimal(text) && strtod(text, NULL) == x)) {
            return;
        }
    }
}

static size_t format_general(double x, char *ret)
{
    char text[40];
    shortest(x, text, sizeof text);
    char digits[DOUBLE_DIGITS + 1];
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.') {
            digits[count++] = *at;
        }
    }
    int exponent = (int)strtol(at + 1, NULL, 10);
    return put_digits(digits, strip_zeros(digits, count), exponent + 1, ret);
}

size_t weir_number_format(double number, char ret[WEIR_NUMBER_TEXT_MAX])
{
    if (isnan(number)) {
        memcpy(ret, "null", 4);
        return 4;
    }
    size_t sign = 0;
    if (signbit(number)) {
        ret[sign++] = '-';
        number = -number;
    }
    if (number > DBL_MAX) {
        number = DBL_MAX;
    }
    if (number < 1e15 && number == (double)(uint64_t)number) {
        return sign + put_integer((uint64_t)number, ret + sign);
    }
    size_t size;
    if (number < 0x1p53 && number == (double)(uint64_t)number) {
        char digits[20];
        int count = (int)put_integer((uint64_t)number, digits);
        return sign + put_digits(digits, strip_zeros(digits, count), count, ret + sign);
    }
    if (!format_short(number, ret + sign, &size)) {
        size = format_general(number, ret + sign);
    }
    return sign + size;
}

bool weir_number_is_canonical(const char *text, size_t size)
{
    size_t at = size > 0 && text[0] == '-';
    if (at == size || text[at] < '0' || text[at] > '9' || (text[at] == '0' && size - at > 1)) {
        return false;
    }
    size_t points = 0;
    for (; at < size; at++) {
        if (text[at] == '.') {
            points++;
        } else if (!is_digit(text[at])) {
            return false;
        }
    }
    return points == 0 || (points == 1 && text[size - 1] != '.');
}

static void put_zeros(struct weir_strbuf *buf, int64_t count)
{
    for (; count > 0; count--) {
        weir_strbuf_push(buf, '0');
    }
}

/* Appends digits, skipping the point of the source, with a new point before digit `place`. */
static void write_digits(const struct weir_decimal *decimal, int64_t place, struct weir_strbuf *buf)
{
    int64_t index = 0;
    for (const char *at = decimal->digits; at < decimal->end; at++) {
        if (*at == '.') {
            continue;
        }
        if (index++ == place) {
            weir_strbuf_push(buf, '.');
        }
        weir_strbuf_push(buf, *at);
    }
}

void weir_number_write_text(const char *text, size_t size, struct weir_strbuf *buf)
{
    struct weir_decimal decimal;
    if (weir_number_is_canonical(text, size)) {
        weir_strbuf_append(buf, text, size);
        return;
    }
    bool valid = weir_decimal_parse((struct weir_slice){text, size}, &decimal);
    if (!valid || decimal.infinite) {
        char number[WEIR_NUMBER_TEXT_MAX];
        double value = !valid ? (double)NAN : decimal.negative ? -HUGE_VAL : HUGE_VAL;
        weir_strbuf_append(buf, number, weir_number_format(value, number));
        return;
    }
    int64_t count = (int64_t)decimal.count;
    int64_t adjusted = decimal.exponent + count - 1;
    if (decimal.negative) {
        weir_strbuf_push(buf, '-');
    }
    if (decimal.exponent <= 0 && adjusted >= -6) {
        int64_t place = count + decimal.exponent;
        if (place <= 0) {
            weir_strbuf_text(buf, "0.");
            put_zeros(buf, -place);
            write_digits(&decimal, -1, buf);
        } else {
            write_digits(&decimal, place, buf);
        }
        return;
    }
    write_digits(&decimal, 1, buf);
    weir_strbuf_printf(buf, "E%+lld", (long long)adjusted);
}

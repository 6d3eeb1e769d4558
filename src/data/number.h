/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers as text and as doubles, by the rules of jq 1.8.
 */
#ifndef WEIR_DATA_NUMBER_H
#define WEIR_DATA_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/value.h>

/* Room for any double: a sign, 17 digits and 15 zeros at most. */
#define WEIR_NUMBER_TEXT_MAX 48

/* A decimal number taken apart: digits d1 d2 … dn (no leading zeros; one 0 for zero) with value
 * (-1)^negative * d1d2…dn * 10^exponent. The digits lie in the text, `point` bytes of which are a
 * decimal point to be skipped. */
struct weir_decimal {
    const char *digits; /* first significant digit in the text */
    const char *end;    /* behind the last digit */
    size_t count;       /* digits, the point not counted */
    int64_t exponent;
    bool negative, zero, infinite;
};

/* True if the text is a number as jq reads one: [+-]digits[.digits][e[+-]digits], a digit on one
 * side of the point suffices; infinity, inf. Not nan. */
bool weir_decimal_parse(struct weir_slice text, struct weir_decimal *ret);
/* Exact order of two decimals: negative, 0, positive. */
int weir_decimal_compare(const struct weir_decimal *a, const struct weir_decimal *b);
/* A hash of the number, not of how it is written: 1.50e1 is 15. 0 when `digits` digits hold it. */
uint64_t weir_decimal_hash(const struct weir_decimal *decimal, size_t digits);

/* The double nearest to the decimal text (after rounding to 17 digits, as jq does). */
double weir_number_parse(const char *text, size_t size);

/* Writes the double with the fewest digits that read back the same; infinities as the largest
 * double, nan as null. Returns the size; no NUL. */
size_t weir_number_format(double number, char ret[WEIR_NUMBER_TEXT_MAX]);

/* Appends the decimal text in the form jq prints: 1.10, 1E+2, -0. False: write it as a double. */
void weir_number_write_text(const char *text, size_t size, struct weir_strbuf *buf);
/* True if the JSON number text is already in the printed form. */
bool weir_number_is_canonical(const char *text, size_t size);

#endif

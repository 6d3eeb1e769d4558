/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators over values, with jq's meaning for each pair of types. Arithmetic is on doubles;
 * comparisons of two numbers that nobody computed with are exact. What grows is changed in place
 * when the left operand has no other owner.
 */
#include "jq/run.h"

#include <limits.h>
#include <math.h>

#include "base/assert.h"
#include "data/node.h"
#include "data/number.h"

#define DEPTH_MAX 10000

int jq_equal(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    int same = weir_value_same(a, b, 0);
    if (same < 0) {
        jq_fail(run, "Equality check too deep");
    }
    return same + 1;
}

bool jq_order(struct weir_jq_run *run, struct weir_value a, struct weir_value b, int *ret_order)
{
    *ret_order = weir_value_order(a, b, 0);
    if (*ret_order == INT_MIN) {
        jq_fail(run, "Comparison too deep");
        return false;
    }
    return true;
}

/* ── + ── */

static struct weir_value
concat_text(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (b.size > INT_MAX / 2 - a.size) {
        return jq_fail(run, "String too long");
    }
    if (!jq_room(run, (size_t)a.size + b.size)) {
        return (struct weir_value){0};
    }
    a = weir_string_append(&run->heap, a, weir_value_text(b));
    weir_release(&run->heap, b);
    return a;
}

static struct weir_value
concat_arrays(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    size_t left = weir_value_count(a), right = weir_value_count(b);
    if (right == 0) {
        weir_release(&run->heap, b);
        return a;
    }
    if (left == 0) {
        weir_release(&run->heap, a);
        return b;
    }
    if (!jq_room(run, (left + right) * sizeof(struct weir_value))) {
        return (struct weir_value){0};
    }
    if (!weir_is_owned(a) || weir_array_of(a)->capacity < left + right) {
        a = weir_array_own(&run->heap, a, left + right + left / 2);
    }
    struct weir_array *target = weir_array_mut(a);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, b);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        target->items[target->size++] = weir_retain(item);
    }
    weir_release(&run->heap, b);
    return a;
}

static struct weir_value merge(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, b);
    struct weir_value key, value;
    while (weir_value_iter_next(&iter, &key, &value)) {
        a = weir_object_set(&run->heap, a, weir_retain(key), weir_retain(value));
    }
    weir_release(&run->heap, b);
    return a;
}

static struct weir_value add(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (a.kind == WEIR_KIND_NUMBER && b.kind == WEIR_KIND_NUMBER) {
        double sum = weir_value_double(a) + weir_value_double(b);
        weir_release(&run->heap, a);
        weir_release(&run->heap, b);
        return weir_value_number(sum);
    }
    if (a.kind == WEIR_KIND_NULL) {
        return b;
    }
    if (b.kind == WEIR_KIND_NULL) {
        return a;
    }
    if (a.kind == b.kind) {
        if (a.kind == WEIR_KIND_STRING) {
            return concat_text(run, a, b);
        }
        if (a.kind == WEIR_KIND_ARRAY) {
            return concat_arrays(run, a, b);
        }
        if (a.kind == WEIR_KIND_OBJECT) {
            return merge(run, a, b);
        }
    }
    return jq_type_error2(run, a, b, "cannot be added");
}

/* ── the others ── */

static struct weir_value subtract(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (a.kind == WEIR_KIND_NUMBER && b.kind == WEIR_KIND_NUMBER) {
        double difference = weir_value_double(a) - weir_value_double(b);
        weir_release(&run->heap, a);
        weir_release(&run->heap, b);
        return weir_value_number(difference);
    }
    if (a.kind != WEIR_KIND_ARRAY || b.kind != WEIR_KIND_ARRAY) {
        return jq_type_error2(run, a, b, "cannot be subtracted");
    }
    struct weir_value kept = weir_array_new(&run->heap, weir_value_count(a));
    struct weir_value_iter left;
    weir_value_iter_init(&left, a);
    for (struct weir_value item; weir_value_iter_next(&left, NULL, &item);) {
        int same = 1;
        struct weir_value_iter right;
        weir_value_iter_init(&right, b);
        for (struct weir_value other; same == 1 && weir_value_iter_next(&right, NULL, &other);) {
            same = jq_equal(run, item, other);
            run->steps++;
        }
        if (same == 0) {
            return (struct weir_value){0};
        }
        if (same == 1) {
            kept = weir_array_push(&run->heap, kept, weir_retain(item));
        }
    }
    weir_release(&run->heap, a);
    weir_release(&run->heap, b);
    return kept;
}

static struct weir_value
repeat_text(struct weir_jq_run *run, struct weir_value text, struct weir_value number)
{
    double count = weir_value_double(number);
    weir_release(&run->heap, number);
    if (count < 0 || isnan(count)) {
        weir_release(&run->heap, text);
        return weir_value_null();
    }
    int64_t times = count > INT_MAX ? INT_MAX : (int64_t)count;
    if ((int64_t)text.size * times >= INT_MAX - 8) {
        weir_release(&run->heap, text);
        return jq_fail(run, "Repeat string result too long");
    }
    size_t size = (size_t)text.size * (size_t)times;
    if (!jq_room(run, size)) {
        return (struct weir_value){0};
    }
    char *room;
    struct weir_value repeated = weir_string_room(&run->heap, size, &room);
    for (size_t at = 0; at < size; at += text.size) {
        memcpy(room + at, text.as.bytes, text.size);
    }
    weir_release(&run->heap, text);
    return repeated;
}

/* Objects merged, and the objects in them. */
static struct weir_value
merge_deep(struct weir_jq_run *run, struct weir_value a, struct weir_value b, int depth)
{
    if (depth > DEPTH_MAX) {
        return jq_fail(run, "Object merge too deep");
    }
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, b);
    struct weir_value key, value;
    while (weir_value_iter_next(&iter, &key, &value)) {
        struct weir_value old = weir_value_get(a, weir_value_text(key));
        struct weir_value made = weir_retain(value);
        if (old.kind == WEIR_KIND_OBJECT && value.kind == WEIR_KIND_OBJECT) {
            made = merge_deep(run, weir_retain(old), made, depth + 1);
            if (weir_value_is_absent(made)) {
                return made;
            }
        }
        a = weir_object_set(&run->heap, a, weir_retain(key), made);
    }
    weir_release(&run->heap, b);
    return a;
}

static struct weir_value multiply(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (a.kind == WEIR_KIND_NUMBER && b.kind == WEIR_KIND_NUMBER) {
        double product = weir_value_double(a) * weir_value_double(b);
        weir_release(&run->heap, a);
        weir_release(&run->heap, b);
        return weir_value_number(product);
    }
    if (a.kind == WEIR_KIND_STRING && b.kind == WEIR_KIND_NUMBER) {
        return repeat_text(run, a, b);
    }
    if (a.kind == WEIR_KIND_NUMBER && b.kind == WEIR_KIND_STRING) {
        return repeat_text(run, b, a);
    }
    if (a.kind == WEIR_KIND_OBJECT && b.kind == WEIR_KIND_OBJECT) {
        return merge_deep(run, a, b, 0);
    }
    return jq_type_error2(run, a, b, "cannot be multiplied");
}

static struct weir_value divide(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (a.kind == WEIR_KIND_NUMBER && b.kind == WEIR_KIND_NUMBER) {
        double divisor = weir_value_double(b);
        if (divisor == 0) {
            return jq_type_error2(run, a, b, "cannot be divided because the divisor is zero");
        }
        double quotient = weir_value_double(a) / divisor;
        weir_release(&run->heap, a);
        weir_release(&run->heap, b);
        return weir_value_number(quotient);
    }
    if (a.kind == WEIR_KIND_STRING && b.kind == WEIR_KIND_STRING) {
        return jq_split(run, a, b);
    }
    return jq_type_error2(run, a, b, "cannot be divided");
}

static int64_t clamp(double number)
{
    return number < (double)INT64_MIN    ? INT64_MIN
           : number >= (double)INT64_MAX ? INT64_MAX
                                         : (int64_t)number;
}

static struct weir_value modulo(struct weir_jq_run *run, struct weir_value a, struct weir_value b)
{
    if (a.kind != WEIR_KIND_NUMBER || b.kind != WEIR_KIND_NUMBER) {
        return jq_type_error2(run, a, b, "cannot be divided (remainder)");
    }
    double dividend = weir_value_double(a), divisor = weir_value_double(b);
    double remainder = (double)NAN;
    if (!isnan(dividend) && !isnan(divisor)) {
        int64_t by = clamp(divisor);
        if (by == 0) {
            return jq_type_error2(run, a, b,
                                  "cannot be divided (remainder) because the divisor is zero");
        }
        remainder = by == -1 ? 0 : (double)(clamp(dividend) % by);
    }
    weir_release(&run->heap, a);
    weir_release(&run->heap, b);
    return weir_value_number(remainder);
}

static struct weir_value
compare(struct weir_jq_run *run, enum jq_binary op, struct weir_value a, struct weir_value b)
{
    bool truth = false, valid = true;
    if (op == JQ_EQUAL || op == JQ_UNEQUAL) {
        int same = jq_equal(run, a, b);
        valid = same != 0;
        truth = (same == 2) == (op == JQ_EQUAL);
    } else {
        int order;
        valid = jq_order(run, a, b, &order);
        truth = op == JQ_LESS         ? order < 0
                : op == JQ_GREATER    ? order > 0
                : op == JQ_LESS_EQUAL ? order <= 0
                                      : order >= 0;
    }
    weir_release(&run->heap, a);
    weir_release(&run->heap, b);
    return valid ? weir_value_bool(truth) : (struct weir_value){0};
}

struct weir_value
jq_binary(struct weir_jq_run *run, enum jq_binary op, struct weir_value a, struct weir_value b)
{
    switch (op) {
    case JQ_PLUS:
        return add(run, a, b);
    case JQ_MINUS:
        return subtract(run, a, b);
    case JQ_TIMES:
        return multiply(run, a, b);
    case JQ_DIVIDE:
        return divide(run, a, b);
    case JQ_MODULO:
        return modulo(run, a, b);
    case JQ_EQUAL:
    case JQ_UNEQUAL:
    case JQ_LESS:
    case JQ_GREATER:
    case JQ_LESS_EQUAL:
    case JQ_GREATER_EQUAL:
        return compare(run, op, a, b);
    case JQ_ALTERNATIVE:
    default:
        WEIR_UNREACHABLE();
    }
}

struct weir_value jq_negate(struct weir_jq_run *run, struct weir_value a)
{
    if (a.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, a, "cannot be negated");
    }
    if ((a.form & WEIR_FORM_TEXT) == 0) {
        return weir_value_number(-a.as.number);
    }
    /* A number that still is text only changes its sign; zero loses it. */
    struct weir_decimal decimal;
    struct weir_slice text = {a.as.bytes, a.size};
    if (!weir_decimal_parse(text, &decimal)) {
        return jq_type_error(run, a, "cannot be negated");
    }
    if (text.data[0] == '-' || text.data[0] == '+') {
        text.data++;
        text.size--;
    }
    bool negative = !decimal.negative && (!decimal.zero || decimal.infinite);
    char *room;
    struct weir_value negated = weir_string_room(&run->heap, text.size + negative, &room);
    room[0] = '-';
    memcpy(room + negative, text.data, text.size);
    negated.kind = WEIR_KIND_NUMBER;
    negated.form = WEIR_FORM_TEXT | WEIR_FORM_COUNTED;
    weir_release(&run->heap, a);
    return negated;
}

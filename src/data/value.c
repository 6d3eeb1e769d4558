/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading values: members, elements, order, equality, hash. Nothing here allocates for small
 * values, and nothing changes a value, so all of it works on parsed and on built ones alike.
 *
 * The surprising part is doubled keys. jq keeps the place of the first and the value of the last.
 * A parsed object of up to WEIR_NODE_DOUBLED_MAX members still has both, and a mark that says so:
 * then a lookup goes on to the end, and a walk steps over what came before. The parser resolves
 * larger ones (json_parse.c), so no walk is quadratic in more than that.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "data/heap.h"
#include "data/node.h"
#include "data/number.h"

#define DEPTH_MAX 10000
#define SORT_ON_STACK 24
#define SMALL_DEPTH 100
#define EXACT_DIGITS 15 /* no two decimals of so many share a double */

const char *weir_value_kind_name(struct weir_value value)
{
    static const char *const names[] = {"absent", "null",   "boolean", "boolean",
                                        "number", "string", "array",   "object"};
    return names[value.kind & 7];
}

/* Most numbers are short and whole. */
static double text_double(const char *text, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned digit = (unsigned char)(text[i] - '0');
        if (digit > 9 || size > 15) {
            return weir_number_parse(text, size);
        }
        number = number * 10 + digit;
    }
    return size == 0 ? (double)NAN : (double)number;
}

double weir_value_double(struct weir_value value)
{
    if (value.kind != WEIR_KIND_NUMBER) {
        return (double)NAN;
    }
    return (value.form & WEIR_FORM_TEXT) != 0 ? text_double(value.as.bytes, value.size)
                                              : value.as.number;
}

bool weir_value_int64(struct weir_value value, int64_t *ret)
{
    double number = weir_value_double(value);
    if (!(number >= -0x1p63 && number < 0x1p63) || number != trunc(number)) {
        return false;
    }
    *ret = (int64_t)number;
    return true;
}

/* ── members of parsed objects ── */

static struct weir_value node_member(const struct weir_json_node *object, struct weir_slice name)
{
    struct weir_value found = {0};
    bool doubled = weir_node_is_doubled(object);
    const struct weir_json_node *key = weir_node_first(object);
    for (uint32_t i = 0; i < object->size; i++) {
        if (key->size == name.size && memcmp(key->as.bytes, name.data, name.size) == 0) {
            found = weir_node_value(key + 1);
            if (!doubled) {
                break;
            }
        }
        key = weir_node_next(key + 1);
    }
    return found;
}

struct weir_value weir_value_get(struct weir_value object, struct weir_slice key)
{
    if (object.kind != WEIR_KIND_OBJECT) {
        return (struct weir_value){0};
    }
    if (object.form == WEIR_FORM_NODE) {
        return node_member(object.as.container, key);
    }
    const struct weir_member *member = weir_object_find(object.as.container, key);
    return member == NULL ? (struct weir_value){0} : member->value;
}

struct weir_value weir_value_at(struct weir_value array, size_t index)
{
    if (array.kind != WEIR_KIND_ARRAY || index >= weir_value_count(array)) {
        return (struct weir_value){0};
    }
    if (array.form != WEIR_FORM_NODE) {
        return weir_array_of(array)->items[index];
    }
    const struct weir_json_node *node = array.as.container, *item = weir_node_first(node);
    if (node->as.span == (uint64_t)node->size + 2) {
        return weir_node_value(item + index); /* scalars only */
    }
    while (index-- > 0) {
        item = weir_node_next(item);
    }
    return weir_node_value(item);
}

size_t weir_value_count(struct weir_value value)
{
    if (value.kind == WEIR_KIND_ARRAY) {
        return value.form == WEIR_FORM_NODE ? value.size : weir_array_of(value)->size;
    }
    if (value.kind != WEIR_KIND_OBJECT) {
        return 0;
    }
    if (value.form != WEIR_FORM_NODE) {
        return weir_object_of(value)->count;
    }
    if (!weir_node_is_doubled(value.as.container)) {
        return value.size;
    }
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    size_t count = 0;
    while (weir_value_iter_next(&iter, NULL, NULL)) {
        count++;
    }
    return count;
}

void weir_value_iter_init(struct weir_value_iter *iter, struct weir_value container)
{
    *iter = (struct weir_value_iter){
        .kind = container.kind, .form = container.form, .owner = container.as.container};
    if (container.kind < WEIR_KIND_ARRAY) {
        return;
    }
    if (container.form == WEIR_FORM_NODE) {
        const struct weir_json_node *node = container.as.container;
        iter->at = weir_node_first(node);
        iter->count = node->size;
        iter->doubled = weir_node_is_doubled(node);
    } else if (container.kind == WEIR_KIND_ARRAY) {
        iter->at = weir_array_of(container)->items;
        iter->count = weir_array_of(container)->size;
    } else {
        iter->at = weir_object_of(container)->members;
        iter->count = weir_object_of(container)->size;
    }
}

/* Steps over members whose key came before; ret: the last value of this key. */
static bool
doubled_next(struct weir_value_iter *iter, struct weir_value *ret_key, struct weir_value *ret_value)
{
    const struct weir_json_node *first = weir_node_first(iter->owner);
    while (iter->index < iter->count) {
        const struct weir_json_node *key = iter->at;
        bool seen = false;
        for (const struct weir_json_node *other = first; other != key;
             other = weir_node_next(other + 1)) {
            seen |= weir_node_keys_equal(other, key);
        }
        iter->at = weir_node_next(key + 1);
        iter->index++;
        if (!seen) {
            struct weir_value name = weir_node_value(key);
            if (ret_key != NULL) {
                *ret_key = name;
            }
            if (ret_value != NULL) {
                *ret_value = node_member(iter->owner, weir_value_text(name));
            }
            return true;
        }
    }
    return false;
}

bool weir_value_iter_next(struct weir_value_iter *iter,
                          struct weir_value *ret_key,
                          struct weir_value *ret_value)
{
    if (iter->doubled) {
        return doubled_next(iter, ret_key, ret_value);
    }
    struct weir_value key = {0}, value;
    do {
        if (iter->index >= iter->count) {
            return false;
        }
        if (iter->form == WEIR_FORM_NODE) {
            const struct weir_json_node *node = iter->at;
            if (iter->kind == WEIR_KIND_OBJECT) {
                key = weir_node_value(node++);
            }
            value = weir_node_value(node);
            iter->at = weir_node_next(node);
        } else if (iter->kind == WEIR_KIND_ARRAY) {
            const struct weir_value *item = iter->at;
            value = *item;
            iter->at = item + 1;
        } else {
            const struct weir_member *member = iter->at;
            key = member->key;
            value = member->value;
            iter->at = member + 1;
        }
        iter->index++;
    } while (iter->kind == WEIR_KIND_OBJECT && key.kind == WEIR_KIND_ABSENT);
    if (ret_key != NULL) {
        *ret_key = key;
    }
    if (ret_value != NULL) {
        *ret_value = value;
    }
    return true;
}

/* ── order ── */

static bool is_text(struct weir_value number)
{
    return (number.form & WEIR_FORM_TEXT) != 0;
}

static int number_order(struct weir_value a, struct weir_value b, double x, double y)
{
    bool exact = !is_text(a) || !is_text(b) ||
                 (a.size <= 15 && b.size <= 15 && x != 0 && y != 0 && isfinite(x) && isfinite(y));
    struct weir_decimal p, q;
    if (!exact && weir_decimal_parse((struct weir_slice){a.as.bytes, a.size}, &p) &&
        weir_decimal_parse((struct weir_slice){b.as.bytes, b.size}, &q)) {
        return weir_decimal_compare(&p, &q);
    }
    return x < y ? -1 : x == y ? 0 : 1;
}

static int text_order(struct weir_value a, struct weir_value b)
{
    uint32_t shorter = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.as.bytes, b.as.bytes, shorter);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int array_order(struct weir_value a, struct weir_value b, int depth)
{
    struct weir_value_iter left, right;
    weir_value_iter_init(&left, a);
    weir_value_iter_init(&right, b);
    for (;;) {
        struct weir_value x, y;
        bool more_left = weir_value_iter_next(&left, NULL, &x);
        bool more_right = weir_value_iter_next(&right, NULL, &y);
        if (!more_left || !more_right) {
            return more_left - more_right;
        }
        int order = weir_value_order(x, y, depth + 1);
        if (order != 0) {
            return order;
        }
    }
}

/* Keys first, as sorted lists; then values in the order of the keys. */
static int members_order(const struct weir_member *left,
                         size_t left_count,
                         const struct weir_member *right,
                         size_t right_count,
                         int depth)
{
    for (size_t i = 0; i < left_count || i < right_count; i++) {
        if (i == left_count || i == right_count) {
            return i == left_count ? -1 : 1;
        }
        int order = text_order(left[i].key, right[i].key);
        if (order != 0) {
            return order;
        }
    }
    for (size_t i = 0; i < left_count; i++) {
        int order = weir_value_order(left[i].value, right[i].value, depth + 1);
        if (order != 0) {
            return order;
        }
    }
    return 0;
}

static int object_order_large(struct weir_value a, struct weir_value b, int depth)
{
    size_t left_count = weir_value_count(a), right_count = weir_value_count(b);
    struct weir_member *members = weir_calloc(left_count + right_count + 1, sizeof *members);
    weir_object_sorted(a, members);
    weir_object_sorted(b, members + left_count);
    int order = members_order(members, left_count, members + left_count, right_count, depth);
    weir_free(members);
    return order;
}

static int object_order_small(struct weir_value a, struct weir_value b, int depth)
{
    size_t left_count = weir_value_count(a), right_count = weir_value_count(b);
    struct weir_member left[SORT_ON_STACK], right[SORT_ON_STACK];
    weir_object_sorted(a, left);
    weir_object_sorted(b, right);
    return members_order(left, left_count, right, right_count, depth);
}

/* Deep levels keep off the stack. */
static int object_order(struct weir_value a, struct weir_value b, int depth)
{
    bool small = depth < SMALL_DEPTH && weir_value_count(a) <= SORT_ON_STACK &&
                 weir_value_count(b) <= SORT_ON_STACK;
    return small ? object_order_small(a, b, depth) : object_order_large(a, b, depth);
}

int weir_value_order(struct weir_value a, struct weir_value b, int depth)
{
    if (depth > DEPTH_MAX) {
        return INT_MIN;
    }
    if (a.kind != b.kind) {
        return (int)a.kind - (int)b.kind;
    }
    switch (weir_value_kind(a)) {
    case WEIR_KIND_NUMBER: {
        double x = weir_value_double(a), y = weir_value_double(b);
        if (isnan(x)) {
            return -1;
        }
        return isnan(y) ? 1 : number_order(a, b, x, y);
    }
    case WEIR_KIND_STRING:
        return text_order(a, b);
    case WEIR_KIND_ARRAY:
        return array_order(a, b, depth);
    case WEIR_KIND_OBJECT:
        return object_order(a, b, depth);
    case WEIR_KIND_ABSENT:
    case WEIR_KIND_NULL:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    default:
        return 0;
    }
}

int weir_value_compare(struct weir_value a, struct weir_value b)
{
    return weir_value_order(a, b, 0);
}

/* ── equality ── */

static int array_same(struct weir_value a, struct weir_value b, int depth)
{
    if (weir_value_count(a) != weir_value_count(b)) {
        return 0;
    }
    struct weir_value_iter left, right;
    weir_value_iter_init(&left, a);
    weir_value_iter_init(&right, b);
    struct weir_value x, y;
    while (weir_value_iter_next(&left, NULL, &x) && weir_value_iter_next(&right, NULL, &y)) {
        int same = weir_value_same(x, y, depth + 1);
        if (same != 1) {
            return same;
        }
    }
    return 1;
}

static int object_same(struct weir_value a, struct weir_value b, int depth)
{
    if (weir_value_count(a) != weir_value_count(b)) {
        return 0;
    }
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, a);
    struct weir_value key, value;
    while (weir_value_iter_next(&iter, &key, &value)) {
        struct weir_value other = weir_value_get(b, weir_value_text(key));
        int same = weir_value_is_absent(other) ? 0 : weir_value_same(value, other, depth + 1);
        if (same != 1) {
            return same;
        }
    }
    return 1;
}

int weir_value_same(struct weir_value a, struct weir_value b, int depth)
{
    if (depth > DEPTH_MAX) {
        return -1;
    }
    if (a.kind != b.kind) {
        return 0;
    }
    switch (weir_value_kind(a)) {
    case WEIR_KIND_NUMBER:
        return number_order(a, b, weir_value_double(a), weir_value_double(b)) == 0;
    case WEIR_KIND_STRING:
        return a.size == b.size && memcmp(a.as.bytes, b.as.bytes, a.size) == 0;
    case WEIR_KIND_ARRAY:
        return a.as.container == b.as.container ? 1 : array_same(a, b, depth);
    case WEIR_KIND_OBJECT:
        return a.as.container == b.as.container ? 1 : object_same(a, b, depth);
    case WEIR_KIND_ABSENT:
    case WEIR_KIND_NULL:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    default:
        return 1;
    }
}

bool weir_value_equal(struct weir_value a, struct weir_value b)
{
    return weir_value_same(a, b, 0) == 1;
}

/* Two texts may be one double and yet different numbers (long ids), so a text of more digits than a
 * double carries hashes by its digits. */
static uint64_t number_hash(struct weir_value number)
{
    struct weir_decimal decimal;
    if (is_text(number) && number.size > EXACT_DIGITS &&
        weir_decimal_parse((struct weir_slice){number.as.bytes, number.size}, &decimal)) {
        uint64_t hash = weir_decimal_hash(&decimal, EXACT_DIGITS);
        if (hash != 0) {
            return hash;
        }
    }
    double value = weir_value_double(number);
    uint64_t bits = 0;
    if (value != 0) {
        memcpy(&bits, &value, sizeof bits);
    }
    return bits * 0xff51afd7ed558ccdu;
}

uint64_t weir_value_hash(struct weir_value value)
{
    uint64_t hash = (uint64_t)value.kind * 0x9e3779b97f4a7c15u;
    struct weir_value_iter iter;
    struct weir_value key, item;
    switch (weir_value_kind(value)) {
    case WEIR_KIND_NUMBER:
        hash ^= number_hash(value);
        break;
    case WEIR_KIND_STRING:
        hash ^= XXH3_64bits(value.as.bytes, value.size);
        break;
    case WEIR_KIND_ARRAY:
        weir_value_iter_init(&iter, value);
        while (weir_value_iter_next(&iter, NULL, &item)) {
            hash = (hash ^ weir_value_hash(item)) * 0xff51afd7ed558ccdu;
        }
        break;
    case WEIR_KIND_OBJECT: /* members in any order */
        weir_value_iter_init(&iter, value);
        while (weir_value_iter_next(&iter, &key, &item)) {
            hash +=
                (XXH3_64bits(key.as.bytes, key.size) ^ weir_value_hash(item)) * 0xff51afd7ed558ccdu;
        }
        break;
    case WEIR_KIND_ABSENT:
    case WEIR_KIND_NULL:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    default:
        break;
    }
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15u;
}

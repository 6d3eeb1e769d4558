/* SPDX-License-Identifier: Apache-2.0
 *
 * Builtins about arrays and objects: keys, entries, sorting, grouping, searching. Sorting is
 * stable and works on an array of places, so elements are moved once.
 */
#include <math.h>
#include <stdlib.h>

#include "jq/native.h"

/* ── keys and entries ── */

static struct weir_value index_keys(struct weir_jq_run *run, struct weir_value array)
{
    size_t count = weir_value_count(array);
    struct weir_value keys = weir_array_new(&run->heap, count);
    for (size_t i = 0; i < count; i++) {
        keys = weir_array_push(&run->heap, keys, weir_value_number((double)i));
    }
    weir_release(&run->heap, array);
    return keys;
}

static struct weir_value keys_of(struct weir_jq_run *run, struct weir_value input, bool sorted)
{
    if (input.kind == WEIR_KIND_ARRAY) {
        return index_keys(run, input);
    }
    if (input.kind != WEIR_KIND_OBJECT) {
        return jq_type_error(run, input, "has no keys");
    }
    size_t count = weir_value_count(input);
    struct weir_value keys = weir_array_new(&run->heap, count);
    if (sorted) {
        struct weir_member *members = weir_heap_alloc(&run->heap, (count + 1) * sizeof *members);
        weir_object_sorted(input, members);
        for (size_t i = 0; i < count; i++) {
            keys = weir_array_push(&run->heap, keys, weir_retain(members[i].key));
        }
        weir_heap_free(&run->heap, members);
    } else {
        struct weir_value_iter iter;
        weir_value_iter_init(&iter, input);
        for (struct weir_value key; weir_value_iter_next(&iter, &key, NULL);) {
            keys = weir_array_push(&run->heap, keys, weir_retain(key));
        }
    }
    weir_release(&run->heap, input);
    return keys;
}

static struct weir_value
keys_sorted(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return keys_of(run, input, true);
}

static struct weir_value
keys_unsorted(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return keys_of(run, input, false);
}

static struct weir_value
to_entries(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind < WEIR_KIND_ARRAY) {
        return jq_type_error(run, input, "has no keys");
    }
    struct weir_value entries = weir_array_new(&run->heap, weir_value_count(input));
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    struct weir_value key, value;
    for (double index = 0; weir_value_iter_next(&iter, &key, &value); index++) {
        struct weir_value entry = weir_object_new(&run->heap, 2);
        struct weir_value name =
            input.kind == WEIR_KIND_ARRAY ? weir_value_number(index) : weir_retain(key);
        weir_object_add(&run->heap, entry, weir_value_string(WEIR_SLICE("key")), name);
        weir_object_add(&run->heap, entry, weir_value_string(WEIR_SLICE("value")),
                        weir_retain(value));
        entries = weir_array_push(&run->heap, entries, entry);
    }
    weir_release(&run->heap, input);
    return entries;
}

/* The first of the names that is neither false nor null, else the last one's value; borrowed. */
static struct weir_value entry_key(struct weir_value entry)
{
    static const struct weir_slice names[] = {{"key", 3}, {"Key", 3}, {"name", 4}, {"Name", 4}};
    struct weir_value found = weir_value_null();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        found = weir_value_get(entry, names[i]);
        if (weir_value_is_true(found)) {
            break;
        }
    }
    return weir_value_is_absent(found) ? weir_value_null() : found;
}

static struct weir_value
from_entries(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    char room[JQ_DUMP_ROOM];
    if (input.kind < WEIR_KIND_ARRAY) {
        return jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(input),
                       jq_dump(input, room));
    }
    struct weir_value object = weir_object_new(&run->heap, weir_value_count(input));
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value entry; weir_value_iter_next(&iter, NULL, &entry);) {
        if (entry.kind != WEIR_KIND_OBJECT && entry.kind != WEIR_KIND_NULL) {
            return jq_get(run, weir_retain(entry), weir_value_string(WEIR_SLICE("key")));
        }
        struct weir_value key = entry_key(entry);
        struct weir_value value = weir_value_get(entry, WEIR_SLICE("value"));
        if (weir_value_is_absent(value)) {
            value = weir_value_get(entry, WEIR_SLICE("Value"));
        }
        if (key.kind != WEIR_KIND_STRING) {
            return jq_fail(run, "Cannot use %s (%s) as object key", weir_value_kind_name(key),
                           jq_dump(key, room));
        }
        object =
            weir_object_set(&run->heap, object, weir_retain(key),
                            weir_value_is_absent(value) ? weir_value_null() : weir_retain(value));
    }
    weir_release(&run->heap, input);
    return object;
}

/* ── sorting ── */

struct place {
    struct weir_value key;
    size_t index;
};

struct order {
    struct weir_jq_run *run;
    bool failed;
};

static int place_order(const void *a, const void *b, void *context)
{
    const struct place *left = a, *right = b;
    struct order *self = context;
    int order = 0;
    if (!self->failed && !jq_order(self->run, left->key, right->key, &order)) {
        self->failed = true;
    }
    return order != 0 ? order : (left->index > right->index) - (left->index < right->index);
}

static int by_place(const struct place *left, const struct place *right)
{
    return (left->index > right->index) - (left->index < right->index);
}

static int place_order_numbers(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    double x = left->key.as.number, y = right->key.as.number;
    return x < y ? -1 : x > y ? 1 : by_place(left, right);
}

static int place_order_texts(const void *a, const void *b)
{
    const struct place *left = a, *right = b;
    struct weir_value x = left->key, y = right->key;
    int order = memcmp(x.as.bytes, y.as.bytes, x.size < y.size ? x.size : y.size);
    return order != 0         ? order
           : x.size != y.size ? (x.size < y.size ? -1 : 1)
                              : by_place(left, right);
}

/* True if the number is compared as its double is, whatever it is compared with. */
static bool is_short(struct weir_value number, double value)
{
    if ((number.form & WEIR_FORM_TEXT) == 0) {
        return !isnan(value);
    }
    return number.size <= 15 && isfinite(value) &&
           (value != 0 || (number.size == 1 && number.as.bytes[0] == '0'));
}

/* Keys come as [f]. Where all of them are one short number, or one string, that stands for them.
 * Returns their kind; absent: they stay as they are. */
static enum weir_kind simplify_keys(struct place *places, size_t count)
{
    enum weir_kind kind = WEIR_KIND_ABSENT;
    for (size_t i = 0; i < count; i++) {
        struct weir_value key = places[i].key;
        if (key.kind != WEIR_KIND_ARRAY || key.form == WEIR_FORM_NODE ||
            weir_value_count(key) != 1) {
            return WEIR_KIND_ABSENT;
        }
        key = weir_array_of(key)->items[0];
        kind = i == 0 ? weir_value_kind(key) : kind;
        bool simple = key.kind == WEIR_KIND_STRING ||
                      (key.kind == WEIR_KIND_NUMBER && is_short(key, weir_value_double(key)));
        if (!simple || key.kind != kind) {
            return WEIR_KIND_ABSENT;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_value key = weir_array_of(places[i].key)->items[0];
        places[i].key = kind == WEIR_KIND_NUMBER ? weir_value_number(weir_value_double(key)) : key;
    }
    return kind;
}

/* The places of the items in order of their keys; NULL: failed. Borrows. */
static struct place *sort_places(struct weir_jq_run *run, struct weir_value keys, size_t count)
{
    if (!jq_room(run, count * 2 * sizeof(struct place))) {
        return NULL;
    }
    struct place *places = weir_heap_alloc(&run->heap, (count + 1) * sizeof *places);
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct place){weir_array_of(keys)->items[i], i};
    }
    struct order order = {run, false};
    run->steps += count;
    enum weir_kind kind = simplify_keys(places, count);
    if (kind != WEIR_KIND_ABSENT) {
        qsort(places, count, sizeof *places,
              kind == WEIR_KIND_NUMBER ? place_order_numbers : place_order_texts);
    } else {
        qsort_r(places, count, sizeof *places, place_order, &order);
    }
    if (order.failed) {
        weir_heap_free(&run->heap, places);
        return NULL;
    }
    return places;
}

static bool keys_equal(struct weir_value a, struct weir_value b)
{
    return weir_value_equal(a, b);
}

static struct weir_value gather(struct weir_jq_run *run,
                                enum jq_sorting what,
                                struct weir_value items,
                                const struct place *places,
                                size_t count)
{
    const struct weir_value *item = weir_array_of(items)->items;
    struct weir_value result = weir_array_new(&run->heap, what == JQ_SORT_BY ? count : 4);
    struct weir_value group = {0};
    for (size_t i = 0; i < count; i++) {
        struct weir_value value = weir_retain(item[places[i].index]);
        bool fresh = i == 0 || !keys_equal(places[i - 1].key, places[i].key);
        if (what == JQ_SORT_BY) {
            result = weir_array_push(&run->heap, result, value);
        } else if (what == JQ_UNIQUE_BY) {
            if (fresh) {
                result = weir_array_push(&run->heap, result, value);
            } else {
                weir_release(&run->heap, value);
            }
        } else {
            if (fresh && i > 0) {
                result = weir_array_push(&run->heap, result, group);
            }
            group = fresh ? weir_array_new(&run->heap, 2) : group;
            group = weir_array_push(&run->heap, group, value);
        }
    }
    if (what == JQ_GROUP_BY && count > 0) {
        result = weir_array_push(&run->heap, result, group);
    }
    return result;
}

static struct weir_value
extreme(struct weir_jq_run *run, bool least, struct weir_value items, struct weir_value keys)
{
    size_t count = weir_value_count(items), best = 0;
    for (size_t i = 1; i < count; i++) {
        int order;
        if (!jq_order(run, weir_array_of(keys)->items[i], weir_array_of(keys)->items[best],
                      &order)) {
            return (struct weir_value){0};
        }
        if ((order < 0) == least) {
            best = i;
        }
    }
    return count == 0 ? weir_value_null() : weir_retain(weir_array_of(items)->items[best]);
}

/* Parsed arrays are built first, so that places can be reached. */
static struct weir_value built(struct weir_jq_run *run, struct weir_value array)
{
    return array.form == WEIR_FORM_NODE ? weir_array_own(&run->heap, array, weir_value_count(array))
                                        : array;
}

struct weir_value jq_sorting(struct weir_jq_run *run,
                             enum jq_sorting what,
                             struct weir_value array,
                             struct weir_value keys)
{
    bool extremes = what == JQ_MIN_BY || what == JQ_MAX_BY;
    if (array.kind != WEIR_KIND_ARRAY || keys.kind != WEIR_KIND_ARRAY) {
        return jq_type_error2(run, array, keys,
                              extremes ? "cannot be iterated over"
                                       : "cannot be sorted, as they are not both arrays");
    }
    array = built(run, array);
    keys = built(run, keys);
    struct weir_value result;
    if (extremes) {
        result = extreme(run, what == JQ_MIN_BY, array, keys);
    } else {
        size_t count = weir_value_count(array);
        struct place *places = sort_places(run, keys, count);
        if (places == NULL) {
            return (struct weir_value){0};
        }
        result = gather(run, what, array, places, count);
        weir_heap_free(&run->heap, places);
    }
    weir_release(&run->heap, array);
    weir_release(&run->heap, keys);
    return result;
}

static struct weir_value
sort_whole(struct weir_jq_run *run, struct weir_value input, enum jq_sorting what)
{
    if (input.kind != WEIR_KIND_ARRAY) {
        if (what == JQ_SORT_BY || what == JQ_UNIQUE_BY) {
            return jq_type_error(run, input, "cannot be sorted, as it is not an array");
        }
        return jq_type_error2(run, weir_retain(input), input, "cannot be iterated over");
    }
    return jq_sorting(run, what, weir_retain(input), input);
}

static struct weir_value
sort(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return sort_whole(run, input, JQ_SORT_BY);
}

static struct weir_value
unique(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return sort_whole(run, input, JQ_UNIQUE_BY);
}

static struct weir_value
least(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return sort_whole(run, input, JQ_MIN_BY);
}

static struct weir_value
greatest(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return sort_whole(run, input, JQ_MAX_BY);
}

/* ── others ── */

static struct weir_value
bsearch_array(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind != WEIR_KIND_ARRAY) {
        return jq_type_error(run, input, "cannot be searched from");
    }
    input = built(run, input);
    size_t start = 0, end = weir_value_count(input);
    double found = -1;
    while (start < end && found < 0) {
        size_t middle = start + (end - start) / 2;
        int order;
        if (!jq_order(run, arguments[0], weir_array_of(input)->items[middle], &order)) {
            return (struct weir_value){0};
        }
        if (order == 0) {
            found = (double)middle;
        } else if (order < 0) {
            end = middle;
        } else {
            start = middle + 1;
        }
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return weir_value_number(found >= 0 ? found : -1 - (double)start);
}

static struct weir_value
reverse(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    size_t count = weir_value_count(input);
    if (input.kind == WEIR_KIND_ARRAY) {
        input = weir_array_own(&run->heap, input, count);
        struct weir_value *items = weir_array_mut(input)->items;
        for (size_t i = 0; i < count / 2; i++) {
            struct weir_value item = items[i];
            items[i] = items[count - 1 - i];
            items[count - 1 - i] = item;
        }
        return input;
    }
    /* [.[length - 1 - range(0; length)]] */
    const struct jq_native *length = jq_native_find(WEIR_SLICE("length"), 0);
    struct weir_value size = length->fn(run, weir_retain(input), NULL);
    if (weir_value_is_absent(size)) {
        return size;
    }
    double number = weir_value_double(size);
    weir_release(&run->heap, size);
    if (number > 0) {
        return jq_get(run, input, weir_value_number(number - 1));
    }
    weir_release(&run->heap, input);
    return weir_array_new(&run->heap, 0);
}

/* The depth is borrowed; one that is no number fails at the first array that would be opened. */
static struct weir_value flatten_into(struct weir_jq_run *run,
                                      struct weir_value flat,
                                      struct weir_value input,
                                      struct weir_value depth)
{
    double levels = weir_value_double(depth);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        if (item.kind != WEIR_KIND_ARRAY || levels == 0) {
            flat = weir_array_push(&run->heap, flat, weir_retain(item));
            continue;
        }
        if (depth.kind != WEIR_KIND_NUMBER) {
            jq_binary(run, JQ_MINUS, weir_retain(depth), weir_value_number(1));
            return flat;
        }
        if (jq_stack_is_low(run)) {
            jq_limit(run, "expression is nested too deeply");
            return flat;
        }
        flat = flatten_into(run, flat, item, weir_value_number(levels - 1));
        if (run->failed != JQ_FINE) {
            return flat;
        }
    }
    return flat;
}

static struct weir_value
flatten_to(struct weir_jq_run *run, struct weir_value input, struct weir_value depth)
{
    if (input.kind < WEIR_KIND_ARRAY) {
        char room[JQ_DUMP_ROOM];
        return jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(input),
                       jq_dump(input, room));
    }
    struct weir_value flat = weir_array_new(&run->heap, weir_value_count(input));
    flat = flatten_into(run, flat, input, depth);
    weir_release(&run->heap, input);
    return run->failed == JQ_FINE ? flat : (struct weir_value){0};
}

static struct weir_value
flatten(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return flatten_to(run, input, weir_value_number(-1));
}

static struct weir_value
flatten_depth(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    int order;
    if (!jq_order(run, arguments[0], weir_value_number(0), &order)) {
        return (struct weir_value){0};
    }
    if (order < 0) {
        return jq_fail(run, "flatten depth must not be negative");
    }
    struct weir_value flat = flatten_to(run, input, arguments[0]);
    weir_release(&run->heap, arguments[0]);
    return flat;
}

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("keys", 0, keys_sorted, 0, "The keys, sorted, or the indices.", "keys", "{\"b\":1,\"a\":2}", "[\"a\",\"b\"]"),
    JQ_FN("keys_unsorted", 0, keys_unsorted, 0, "The keys in their order.", "keys_unsorted", "{\"b\":1,\"a\":2}", "[\"b\",\"a\"]"),
    JQ_FN("to_entries", 0, to_entries, 0, "The members as {key, value}.", "to_entries", "{\"a\":1}", "[{\"key\":\"a\",\"value\":1}]"),
    JQ_FN("from_entries", 0, from_entries, 0, "An object of {key, value} entries.", "from_entries", "[{\"key\":\"a\",\"value\":1}]", "{\"a\":1}"),
    JQ_DEF("with_entries", 1, "def with_entries(f): to_entries | map(f) | from_entries;", 0, "The object with each entry changed.", "with_entries(.value += 1)", "{\"a\":1}", "{\"a\":2}"),
    JQ_FN("sort", 0, sort, 0, "The elements in order.", "sort", "[2,1]", "[1,2]"),
    JQ_FN("unique", 0, unique, 0, "The different elements in order.", "unique", "[2,1,2]", "[1,2]"),
    JQ_FN("min", 0, least, 0, "The least element.", "min", "[2,1]", "1"),
    JQ_FN("max", 0, greatest, 0, "The greatest element.", "max", "[2,1]", "2"),
    JQ_FN("bsearch", 1, bsearch_array, 0, "The index in a sorted array, or -1 - where it would stand.", "bsearch(2)", "[1,2,3]", "1"),
    JQ_FN("reverse", 0, reverse, 0, "The elements from last to first.", "reverse", "[1,2]", "[2,1]"),
    JQ_FN("flatten", 0, flatten, 0, "Arrays in arrays opened.", "flatten", "[1,[2,[3]]]", "[1,2,3]"),
    JQ_FN("flatten", 1, flatten_depth, 0, "Arrays in arrays opened, n levels.", "flatten(1)", "[1,[2,[3]]]", "[1,2,[3]]"),
};
// clang-format on

JQ_FAMILY(jq_collection_natives, table);

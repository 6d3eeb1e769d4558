/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading and writing at keys and paths, with jq's rules and messages: null can be read and written
 * at any key, negative indices count from the end, {"start": …, "end": …} is a slice. Writing takes
 * the old value out of its container first, so that a value with one owner keeps having one all the
 * way down a path and is changed in place.
 */
#include "jq/run.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "base/assert.h"
#include "data/reader.h"

#define PATH_MAX_DEPTH 10000
#define ARRAY_INDEX_MAX (INT_MAX >> 2)

static size_t count_codepoints(struct weir_value text)
{
    const char *at = text.as.bytes, *end = at + text.size;
    size_t count = 0;
    while (at < end) {
        if ((unsigned char)*at < 0x80) {
            at++;
        } else {
            weir_utf8_next(&at, end);
        }
        count++;
    }
    return count;
}

/* ── slices ── */

struct weir_value
jq_slice_key(struct weir_jq_run *run, struct weir_value from, struct weir_value to)
{
    struct weir_value key = weir_object_new(&run->heap, 2);
    key = weir_object_set(&run->heap, key, weir_value_string(WEIR_SLICE("start")), from);
    return weir_object_set(&run->heap, key, weir_value_string(WEIR_SLICE("end")), to);
}

/* [start, end) of a slice key over a length. False: failed. */
static bool slice_range(struct weir_jq_run *run,
                        struct weir_value key,
                        size_t length,
                        size_t *ret_start,
                        size_t *ret_end)
{
    struct weir_value from = weir_value_get(key, WEIR_SLICE("start"));
    struct weir_value to = weir_value_get(key, WEIR_SLICE("end"));
    bool from_null = from.kind == WEIR_KIND_NULL, to_null = to.kind == WEIR_KIND_NULL;
    if ((!from_null && from.kind != WEIR_KIND_NUMBER) ||
        (!to_null && to.kind != WEIR_KIND_NUMBER)) {
        jq_fail(run, "Array/string slice indices must be integers");
        return false;
    }
    double size = (double)length;
    double start = from_null ? 0 : weir_value_double(from);
    double end = to_null ? size : weir_value_double(to);
    if (isnan(start)) {
        start = 0;
    }
    if (start < 0) {
        start += size;
    }
    start = start < 0 ? 0 : start > size ? size : start;
    if (isnan(end)) {
        end = size;
    }
    if (end < 0) {
        end += size;
    }
    if (end < 0) {
        end = floor(start);
    }
    /* The start is rounded down, the end up. */
    *ret_start = (size_t)start;
    *ret_end = end >= size ? length : (size_t)ceil(end);
    if (*ret_end < *ret_start) {
        *ret_end = *ret_start;
    }
    return true;
}

static struct weir_value
slice_text(struct weir_jq_run *run, struct weir_value text, size_t start, size_t end)
{
    const char *at = text.as.bytes, *stop = at + text.size;
    size_t index = 0;
    while (index < start && at < stop) {
        weir_utf8_next(&at, stop);
        index++;
    }
    const char *first = at;
    while (index < end && at < stop) {
        weir_utf8_next(&at, stop);
        index++;
    }
    struct weir_slice part = {first, (size_t)(at - first)};
    struct weir_value slice;
    if (weir_is_counted(text)) {
        slice = weir_string_new(&run->heap, part);
        weir_release(&run->heap, text);
    } else {
        slice = weir_value_string(part);
    }
    return slice;
}

static struct weir_value
get_slice(struct weir_jq_run *run, struct weir_value target, struct weir_value key)
{
    bool is_text = target.kind == WEIR_KIND_STRING;
    size_t length = is_text ? count_codepoints(target) : weir_value_count(target);
    size_t start, end;
    bool valid = slice_range(run, key, length, &start, &end);
    weir_release(&run->heap, key);
    if (!valid) {
        weir_release(&run->heap, target);
        return (struct weir_value){0};
    }
    return is_text ? slice_text(run, target, start, end)
                   : weir_array_slice(&run->heap, target, start, end);
}

/* ── reading ── */

/* The place of an index in an array of this length; false: outside. */
static bool index_place(struct weir_value key, size_t length, size_t *ret_place)
{
    double number = weir_value_double(key);
    if (isnan(number)) {
        return false;
    }
    number = number < INT_MIN ? INT_MIN : number > INT_MAX ? INT_MAX : trunc(number);
    if (number < 0) {
        number += (double)length;
    }
    *ret_place = number < 0 ? 0 : (size_t)number;
    return number >= 0 && *ret_place < length;
}

static struct weir_value
indices_of(struct weir_jq_run *run, struct weir_value array, struct weir_value part)
{
    size_t length = weir_value_count(array), width = weir_value_count(part);
    struct weir_value found = weir_array_new(&run->heap, 4);
    array = weir_array_own(&run->heap, array, length);
    part = weir_array_own(&run->heap, part, width);
    for (size_t at = 0; width > 0 && at + width <= length; at++) {
        int same = 2;
        for (size_t i = 0; same == 2 && i < width; i++) {
            same =
                jq_equal(run, weir_array_of(array)->items[at + i], weir_array_of(part)->items[i]);
            run->steps++;
        }
        if (same == 0) {
            return (struct weir_value){0};
        }
        if (same == 2) {
            found = weir_array_push(&run->heap, found, weir_value_number((double)at));
        }
    }
    weir_release(&run->heap, array);
    weir_release(&run->heap, part);
    return found;
}

static struct weir_value
cannot_index(struct weir_jq_run *run, struct weir_value target, struct weir_value key)
{
    char room[JQ_DUMP_ROOM];
    jq_fail(run, "Cannot index %s with %s (%s)", weir_value_kind_name(target),
            weir_value_kind_name(key), jq_dump(key, room));
    weir_release(&run->heap, target);
    weir_release(&run->heap, key);
    return (struct weir_value){0};
}

struct weir_value jq_get(struct weir_jq_run *run, struct weir_value target, struct weir_value key)
{
    struct weir_value found = {0};
    if (target.kind == WEIR_KIND_OBJECT && key.kind == WEIR_KIND_STRING) {
        found = weir_value_get(target, weir_value_text(key));
    } else if (target.kind == WEIR_KIND_ARRAY && key.kind == WEIR_KIND_NUMBER) {
        size_t place;
        if (index_place(key, weir_value_count(target), &place)) {
            found = weir_value_at(target, place);
        }
    } else if (target.kind == WEIR_KIND_NULL &&
               (key.kind == WEIR_KIND_STRING || key.kind == WEIR_KIND_NUMBER ||
                key.kind == WEIR_KIND_OBJECT)) {
        found = target;
    } else if ((target.kind == WEIR_KIND_ARRAY || target.kind == WEIR_KIND_STRING) &&
               key.kind == WEIR_KIND_OBJECT) {
        return get_slice(run, target, key);
    } else if (target.kind == WEIR_KIND_ARRAY && key.kind == WEIR_KIND_ARRAY) {
        return indices_of(run, target, key);
    } else {
        return cannot_index(run, target, key);
    }
    found = weir_value_is_absent(found) ? weir_value_null() : weir_retain(found);
    weir_release(&run->heap, target);
    weir_release(&run->heap, key);
    return found;
}

struct weir_value
jq_get_path(struct weir_jq_run *run, struct weir_value root, struct weir_value path)
{
    if (path.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "Path must be specified as an array");
    }
    if (weir_value_count(path) > PATH_MAX_DEPTH) {
        return jq_fail(run, "Path too deep");
    }
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, path);
    for (struct weir_value key; weir_value_iter_next(&iter, NULL, &key);) {
        root = jq_get(run, root, weir_retain(key));
        if (weir_value_is_absent(root)) {
            break;
        }
    }
    weir_release(&run->heap, path);
    return root;
}

/* ── writing ── */

/* The place in an array of so many elements that can be written to. False: failed. */
static bool
writable_place(struct weir_jq_run *run, struct weir_value key, size_t count, size_t *ret_place)
{
    double number = weir_value_double(key);
    if (isnan(number)) {
        jq_fail(run, "Cannot set array element at NaN index");
        return false;
    }
    number = number < INT_MIN ? INT_MIN : number > INT_MAX ? INT_MAX : trunc(number);
    if (number < 0) {
        number += (double)count;
    }
    if (number < 0 || number > ARRAY_INDEX_MAX) {
        jq_fail(run, number < 0 ? "Out of bounds negative array index" : "Array index too large");
        return false;
    }
    *ret_place = (size_t)number;
    return true;
}

static struct weir_value set_index(struct weir_jq_run *run,
                                   struct weir_value array,
                                   struct weir_value key,
                                   struct weir_value value)
{
    size_t count = weir_value_count(array), place;
    if (!writable_place(run, key, count, &place)) {
        return (struct weir_value){0};
    }
    size_t size = place < count ? count : place + 1;
    if (!jq_room(run, size * sizeof value)) {
        return (struct weir_value){0};
    }
    if (!weir_is_owned(array) || weir_array_of(array)->capacity < size) {
        array = weir_array_own(&run->heap, array,
                               size > count && weir_is_owned(array) ? size + size / 2 : size);
    }
    struct weir_array *target = weir_array_mut(array);
    while (target->size <= place) {
        target->items[target->size++] = weir_value_null();
    }
    struct weir_value old = target->items[place];
    target->items[place] = value;
    weir_release(&run->heap, old);
    return array;
}

static struct weir_value set_slice(struct weir_jq_run *run,
                                   struct weir_value array,
                                   struct weir_value key,
                                   struct weir_value value)
{
    size_t count = weir_value_count(array), start, end;
    if (!slice_range(run, key, count, &start, &end)) {
        return (struct weir_value){0};
    }
    if (value.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "A slice of an array can only be assigned another array");
    }
    size_t inserted = weir_value_count(value);
    if (!jq_room(run, (count + inserted) * sizeof value)) {
        return (struct weir_value){0};
    }
    struct weir_value made = weir_array_new(&run->heap, count - (end - start) + inserted);
    struct weir_array *target = weir_array_mut(made);
    struct weir_value_iter old, new;
    weir_value_iter_init(&old, array);
    weir_value_iter_init(&new, value);
    struct weir_value item;
    for (size_t i = 0; i < start && weir_value_iter_next(&old, NULL, &item); i++) {
        target->items[target->size++] = weir_retain(item);
    }
    while (weir_value_iter_next(&new, NULL, &item)) {
        target->items[target->size++] = weir_retain(item);
    }
    for (size_t i = start; weir_value_iter_next(&old, NULL, &item); i++) {
        if (i >= end) {
            target->items[target->size++] = weir_retain(item);
        }
    }
    weir_release(&run->heap, array);
    weir_release(&run->heap, value);
    return made;
}

struct weir_value jq_set(struct weir_jq_run *run,
                         struct weir_value target,
                         struct weir_value key,
                         struct weir_value value)
{
    bool is_null = target.kind == WEIR_KIND_NULL;
    if (key.kind == WEIR_KIND_STRING && (is_null || target.kind == WEIR_KIND_OBJECT)) {
        if (is_null) {
            target = weir_object_new(&run->heap, 1);
        }
        return weir_object_set(&run->heap, target, weir_retain(key), value);
    }
    bool array = is_null || target.kind == WEIR_KIND_ARRAY;
    if (array && (key.kind == WEIR_KIND_NUMBER || key.kind == WEIR_KIND_OBJECT)) {
        if (is_null) {
            target = weir_array_new(&run->heap, 1);
        }
        return key.kind == WEIR_KIND_NUMBER ? set_index(run, target, key, value)
                                            : set_slice(run, target, key, value);
    }
    if (key.kind == WEIR_KIND_OBJECT && target.kind == WEIR_KIND_STRING) {
        return jq_fail(run, "Cannot update string slices");
    }
    return jq_fail(run, "Cannot update field at %s index of %s", weir_value_kind_name(key),
                   weir_value_kind_name(target));
}

/* Takes the value at the key out of the container, which must not be shared. */
static struct weir_value
take(struct weir_jq_run *run, struct weir_value *container, struct weir_value key)
{
    struct weir_value *slot = NULL;
    if (container->kind == WEIR_KIND_OBJECT && key.kind == WEIR_KIND_STRING) {
        *container = weir_object_own(&run->heap, *container);
        slot = weir_object_slot(*container, weir_value_text(key));
    } else if ((container->kind == WEIR_KIND_ARRAY || container->kind == WEIR_KIND_NULL) &&
               key.kind == WEIR_KIND_NUMBER) {
        size_t count = weir_value_count(*container), place;
        if (!writable_place(run, key, count, &place)) {
            return (struct weir_value){0};
        }
        if (place < count) {
            *container = weir_array_own(&run->heap, *container, count);
            slot = &weir_array_mut(*container)->items[place];
        }
    } else {
        bool unwritable = key.kind == WEIR_KIND_ARRAY && container->kind == WEIR_KIND_ARRAY;
        return unwritable ? jq_fail(run, "Cannot update field at array index of array")
                          : jq_get(run, weir_retain(*container), weir_retain(key));
    }
    if (slot == NULL) {
        return weir_value_null();
    }
    struct weir_value taken = *slot;
    *slot = weir_value_null();
    return taken;
}

/* A key that can be read here can be a step of a path. */
static bool is_step(struct weir_value target, struct weir_value key)
{
    if (key.kind == WEIR_KIND_STRING) {
        return target.kind == WEIR_KIND_OBJECT || target.kind == WEIR_KIND_NULL;
    }
    return key.kind == WEIR_KIND_NUMBER &&
           (target.kind == WEIR_KIND_ARRAY || target.kind == WEIR_KIND_NULL);
}

/* Sets keys[0 … count) of the path to the value. */
static struct weir_value set_along(struct weir_jq_run *run,
                                   struct weir_value root,
                                   const struct weir_value *keys,
                                   size_t count,
                                   struct weir_value value)
{
    if (count == 0) {
        weir_release(&run->heap, root);
        return value;
    }
    if (count == 1 && !is_step(root, keys[0])) {
        struct weir_value old = jq_get(run, weir_retain(root), weir_retain(keys[0]));
        if (weir_value_is_absent(old)) {
            return old;
        }
        weir_release(&run->heap, old);
    }
    if (count > 1) {
        struct weir_value child = take(run, &root, keys[0]);
        if (weir_value_is_absent(child)) {
            return child;
        }
        value = set_along(run, child, keys + 1, count - 1, value);
        if (weir_value_is_absent(value)) {
            return value;
        }
    }
    return jq_set(run, root, keys[0], value);
}

struct weir_value jq_set_path(struct weir_jq_run *run,
                              struct weir_value root,
                              struct weir_value path,
                              struct weir_value value)
{
    if (path.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "Path must be specified as an array");
    }
    size_t count = weir_value_count(path);
    if (count > PATH_MAX_DEPTH) {
        return jq_fail(run, "Path too deep");
    }
    if (path.form == WEIR_FORM_NODE) {
        path = weir_array_own(&run->heap, path, count);
    }
    root = set_along(run, root, weir_array_of(path)->items, count, value);
    weir_release(&run->heap, path);
    return root;
}

/* ── deleting ── */

struct doomed {
    bool *dead;
    size_t count;
};

static bool mark_doomed(struct weir_jq_run *run,
                        struct weir_value array,
                        struct weir_value key,
                        struct doomed *doomed)
{
    if (key.kind == WEIR_KIND_NUMBER) {
        double number = weir_value_double(key);
        if (isnan(number)) {
            return true;
        }
        number = trunc(number);
        if (number < 0) {
            number += (double)doomed->count;
        }
        if (number >= 0 && number < (double)doomed->count) {
            doomed->dead[(size_t)number] = true;
        }
        return true;
    }
    if (key.kind != WEIR_KIND_OBJECT) {
        jq_fail(run, "Cannot delete %s element of array", weir_value_kind_name(key));
        return false;
    }
    size_t start, end;
    if (!slice_range(run, key, weir_value_count(array), &start, &end)) {
        return false;
    }
    for (size_t i = start; i < end; i++) {
        doomed->dead[i] = true;
    }
    return true;
}

static struct weir_value delete_elements(struct weir_jq_run *run,
                                         struct weir_value array,
                                         const struct weir_value *keys,
                                         size_t count)
{
    struct doomed doomed = {.count = weir_value_count(array)};
    doomed.dead = weir_heap_alloc(&run->heap, doomed.count + 1);
    memset(doomed.dead, 0, doomed.count);
    bool valid = true;
    for (size_t i = 0; valid && i < count; i++) {
        valid = mark_doomed(run, array, keys[i], &doomed);
    }
    struct weir_value kept = {0};
    if (valid) {
        kept = weir_array_new(&run->heap, doomed.count);
        struct weir_value_iter iter;
        weir_value_iter_init(&iter, array);
        struct weir_value item;
        for (size_t i = 0; weir_value_iter_next(&iter, NULL, &item); i++) {
            if (!doomed.dead[i]) {
                kept = weir_array_push(&run->heap, kept, weir_retain(item));
            }
        }
    }
    weir_heap_free(&run->heap, doomed.dead);
    weir_release(&run->heap, array);
    return kept;
}

static struct weir_value delete_keys(struct weir_jq_run *run,
                                     struct weir_value root,
                                     const struct weir_value *keys,
                                     size_t count)
{
    if (root.kind == WEIR_KIND_NULL || count == 0) {
        return root;
    }
    if (root.kind == WEIR_KIND_ARRAY) {
        return delete_elements(run, root, keys, count);
    }
    if (root.kind != WEIR_KIND_OBJECT) {
        return jq_fail(run, "Cannot delete fields from %s", weir_value_kind_name(root));
    }
    for (size_t i = 0; i < count; i++) {
        if (keys[i].kind != WEIR_KIND_STRING) {
            return jq_fail(run, "Cannot delete %s field of object", weir_value_kind_name(keys[i]));
        }
        root = weir_object_delete(&run->heap, root, weir_value_text(keys[i]));
    }
    return root;
}

static struct weir_value path_key(struct weir_value path, size_t index)
{
    return weir_value_at(path, index);
}

/* Deletes sorted paths [first, last), which agree in their first `start` keys. */
static struct weir_value delete_sorted(struct weir_jq_run *run,
                                       struct weir_value root,
                                       const struct weir_value *paths,
                                       size_t count,
                                       size_t start)
{
    struct weir_value *keys = weir_heap_alloc(&run->heap, count * sizeof *keys);
    size_t doomed = 0;
    for (size_t i = 0; i < count && !weir_value_is_absent(root);) {
        struct weir_value key = path_key(paths[i], start);
        size_t end = i + 1;
        while (end < count && weir_value_equal(key, path_key(paths[end], start))) {
            end++;
        }
        if (weir_value_count(paths[i]) == start + 1) {
            keys[doomed++] = key;
        } else {
            struct weir_value child = jq_get(run, weir_retain(root), weir_retain(key));
            if (weir_value_is_absent(child)) {
                root = child;
            } else if (child.kind != WEIR_KIND_NULL) {
                weir_release(&run->heap, child);
                child = take(run, &root, key);
                child = delete_sorted(run, child, paths + i, end - i, start + 1);
                root = weir_value_is_absent(child) ? child : jq_set(run, root, key, child);
            }
        }
        i = end;
    }
    if (!weir_value_is_absent(root)) {
        root = delete_keys(run, root, keys, doomed);
    }
    weir_heap_free(&run->heap, keys);
    return root;
}

struct weir_value
jq_delete_paths(struct weir_jq_run *run, struct weir_value root, struct weir_value paths)
{
    if (paths.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "Paths must be specified as an array");
    }
    paths = jq_sorting(run, JQ_SORT_BY, weir_retain(paths), paths);
    if (weir_value_is_absent(paths)) {
        return paths;
    }
    size_t count = weir_value_count(paths);
    const struct weir_value *items = weir_array_of(paths)->items;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != WEIR_KIND_ARRAY) {
            return jq_fail(run, "Path must be specified as array, not %s",
                           weir_value_kind_name(items[i]));
        }
        if (weir_value_count(items[i]) > PATH_MAX_DEPTH) {
            return jq_fail(run, "Path too deep");
        }
    }
    if (count > 0 && weir_value_count(items[0]) == 0) {
        weir_release(&run->heap, root);
        root = weir_value_null();
    } else if (count > 0) {
        root = delete_sorted(run, root, items, count, 0);
    }
    weir_release(&run->heap, paths);
    return root;
}

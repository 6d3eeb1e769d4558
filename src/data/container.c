/* SPDX-License-Identifier: Apache-2.0
 *
 * Strings, arrays and objects of the evaluation heap. Each function consumes the values it is given
 * and changes them in place when they have no other owner; otherwise it copies one level, sharing
 * what lies below. Parsed containers are turned into built ones when something is written to them.
 *
 * Capacity comes from the memory class, so growing by one element costs a move only when the class
 * is full, and the next class is at least a third larger.
 */
#include "data/heap.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "data/node.h"

#define INDEX_FROM 9 /* members from which an object has an index */

struct weir_value weir_string_room(struct weir_heap *heap, size_t size, char **ret_bytes)
{
    WEIR_ASSERT(size <= UINT32_MAX);
    *ret_bytes = weir_heap_alloc(heap, size);
    return (struct weir_value){.kind = WEIR_KIND_STRING,
                               .form = WEIR_FORM_COUNTED,
                               .size = (uint32_t)size,
                               .as.bytes = *ret_bytes};
}

struct weir_value weir_string_new(struct weir_heap *heap, struct weir_slice bytes)
{
    char *room;
    struct weir_value text = weir_string_room(heap, bytes.size, &room);
    if (bytes.size > 0) {
        memcpy(room, bytes.data, bytes.size);
    }
    return text;
}

struct weir_value weir_number_text(struct weir_heap *heap, struct weir_slice bytes)
{
    struct weir_value number = weir_string_new(heap, bytes);
    number.kind = WEIR_KIND_NUMBER;
    number.form = WEIR_FORM_TEXT | WEIR_FORM_COUNTED;
    return number;
}

struct weir_value
weir_string_append(struct weir_heap *heap, struct weir_value text, struct weir_slice more)
{
    size_t size = (size_t)text.size + more.size;
    WEIR_ASSERT(size <= UINT32_MAX);
    if (weir_is_owned(text) && weir_counted_of(text)->capacity >= size) {
        if (more.size > 0) {
            memcpy((char *)(uintptr_t)text.as.bytes + text.size, more.data, more.size);
        }
        text.size = (uint32_t)size;
        return text;
    }
    char *room = weir_heap_alloc(heap, weir_is_owned(text) ? size + size / 2 : size);
    if (text.size > 0) {
        memcpy(room, text.as.bytes, text.size);
    }
    if (more.size > 0) {
        memcpy(room + text.size, more.data, more.size);
    }
    weir_release(heap, text);
    return (struct weir_value){.kind = WEIR_KIND_STRING,
                               .form = WEIR_FORM_COUNTED,
                               .size = (uint32_t)size,
                               .as.bytes = room};
}

struct weir_value weir_array_new(struct weir_heap *heap, size_t capacity)
{
    size_t bytes = sizeof(struct weir_array) + capacity * sizeof(struct weir_value);
    struct weir_array *array = weir_heap_alloc(heap, bytes);
    size_t room = ((struct weir_counted *)(void *)array)[-1].capacity - sizeof *array;
    array->size = 0;
    array->capacity = (uint32_t)(room / sizeof(struct weir_value));
    return (struct weir_value){.kind = WEIR_KIND_ARRAY,
                               .form = WEIR_FORM_BUILT | WEIR_FORM_COUNTED,
                               .as.container = array};
}

/* Moves the items of an owned array into a larger one. */
static struct weir_value
array_grow(struct weir_heap *heap, struct weir_value array, size_t capacity)
{
    struct weir_array *old = weir_array_mut(array);
    if (capacity < (size_t)old->capacity + old->capacity / 2) {
        capacity = (size_t)old->capacity + old->capacity / 2;
    }
    struct weir_value grown = weir_array_new(heap, capacity);
    memcpy(weir_array_mut(grown)->items, old->items, old->size * sizeof old->items[0]);
    weir_array_mut(grown)->size = old->size;
    weir_heap_free(heap, old);
    return grown;
}

struct weir_value weir_array_own(struct weir_heap *heap, struct weir_value array, size_t capacity)
{
    WEIR_ASSERT(array.kind == WEIR_KIND_ARRAY);
    if (weir_is_owned(array)) {
        return capacity <= weir_array_of(array)->capacity ? array
                                                          : array_grow(heap, array, capacity);
    }
    size_t count = weir_value_count(array);
    struct weir_value copy = weir_array_new(heap, capacity > count ? capacity : count);
    struct weir_array *target = weir_array_mut(copy);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, array);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        target->items[target->size++] = weir_retain(item);
    }
    weir_release(heap, array);
    return copy;
}

struct weir_value
weir_array_push(struct weir_heap *heap, struct weir_value array, struct weir_value item)
{
    if (!weir_is_owned(array) || weir_array_of(array)->size == weir_array_of(array)->capacity) {
        size_t count = weir_value_count(array);
        array = weir_array_own(heap, array, count + count / 2 + 1);
    }
    struct weir_array *target = weir_array_mut(array);
    target->items[target->size++] = item;
    return array;
}

struct weir_value
weir_array_slice(struct weir_heap *heap, struct weir_value array, size_t start, size_t end)
{
    size_t count = weir_value_count(array);
    WEIR_ASSERT(start <= end && end <= count);
    if (start == 0 && end == count) {
        return array;
    }
    if (start == 0 && weir_is_owned(array)) {
        struct weir_array *target = weir_array_mut(array);
        for (size_t i = end; i < count; i++) {
            weir_release(heap, target->items[i]);
        }
        target->size = (uint32_t)end;
        return array;
    }
    struct weir_value slice = weir_array_new(heap, end - start);
    struct weir_array *target = weir_array_mut(slice);
    if (array.form == WEIR_FORM_NODE) {
        struct weir_value_iter iter;
        weir_value_iter_init(&iter, array);
        struct weir_value item;
        for (size_t i = 0; i < end && weir_value_iter_next(&iter, NULL, &item); i++) {
            if (i >= start) {
                target->items[target->size++] = item;
            }
        }
        return slice;
    }
    for (size_t i = start; i < end; i++) {
        target->items[target->size++] = weir_retain(weir_array_of(array)->items[i]);
    }
    weir_release(heap, array);
    return slice;
}

/* ── objects ── */

struct weir_value weir_object_new(struct weir_heap *heap, size_t capacity)
{
    size_t bytes = sizeof(struct weir_object) + capacity * sizeof(struct weir_member);
    struct weir_object *object = weir_heap_alloc(heap, bytes);
    size_t room = ((struct weir_counted *)(void *)object)[-1].capacity - sizeof *object;
    object->size = object->count = object->mask = 0;
    object->capacity = (uint32_t)(room / sizeof(struct weir_member));
    object->index = NULL;
    return (struct weir_value){.kind = WEIR_KIND_OBJECT,
                               .form = WEIR_FORM_BUILT | WEIR_FORM_COUNTED,
                               .as.container = object};
}

static bool key_equal(struct weir_value key, struct weir_slice name)
{
    return key.size == name.size && key.kind == WEIR_KIND_STRING &&
           (key.as.bytes == name.data || memcmp(key.as.bytes, name.data, name.size) == 0);
}

const struct weir_member *weir_object_find(const struct weir_object *object, struct weir_slice key)
{
    if (object->index == NULL) {
        for (uint32_t i = 0; i < object->size; i++) {
            if (key_equal(object->members[i].key, key)) {
                return &object->members[i];
            }
        }
        return NULL;
    }
    uint32_t at = weir_hash_key(key.data, key.size) & object->mask;
    while (object->index[at] != 0) {
        const struct weir_member *member = &object->members[object->index[at] - 1];
        if (key_equal(member->key, key)) {
            return member;
        }
        at = (at + 1) & object->mask;
    }
    return NULL;
}

struct weir_value *weir_object_slot(struct weir_value owned, struct weir_slice key)
{
    const struct weir_member *member = weir_object_find(weir_object_of(owned), key);
    return member == NULL ? NULL : (struct weir_value *)(uintptr_t)&member->value;
}

static void index_add(struct weir_object *object, uint32_t place)
{
    struct weir_value key = object->members[place].key;
    uint32_t at = weir_hash_key(key.as.bytes, key.size) & object->mask;
    while (object->index[at] != 0) {
        at = (at + 1) & object->mask;
    }
    object->index[at] = place + 1;
}

/* (Re)builds the index for the capacity; squeezes deleted members out before. */
static void reindex(struct weir_heap *heap, struct weir_object *object)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < object->size; i++) {
        if (object->members[i].key.kind != WEIR_KIND_ABSENT) {
            object->members[kept++] = object->members[i];
        }
    }
    object->size = kept;
    if (object->index != NULL) {
        weir_heap_free(heap, object->index);
        object->index = NULL;
    }
    if (object->capacity < INDEX_FROM) {
        return;
    }
    uint32_t slots = 16;
    while (slots < object->capacity + object->capacity / 2) {
        slots *= 2;
    }
    object->mask = slots - 1;
    object->index = weir_heap_alloc(heap, slots * sizeof(uint32_t));
    memset(object->index, 0, slots * sizeof(uint32_t));
    for (uint32_t i = 0; i < object->size; i++) {
        index_add(object, i);
    }
}

/* Appends a member whose key is new; there must be room. */
static void object_append(struct weir_heap *heap,
                          struct weir_object *object,
                          struct weir_value key,
                          struct weir_value value)
{
    uint32_t place = object->size++;
    object->members[place] = (struct weir_member){key, value};
    object->count++;
    if (object->index != NULL) {
        index_add(object, place);
    } else if (object->size >= INDEX_FROM) {
        reindex(heap, object);
    }
}

static struct weir_value
object_copy(struct weir_heap *heap, struct weir_value object, size_t capacity)
{
    struct weir_value copy = weir_object_new(heap, capacity);
    struct weir_object *target = (struct weir_object *)(uintptr_t)copy.as.container;
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, object);
    struct weir_value key, value;
    while (weir_value_iter_next(&iter, &key, &value)) {
        object_append(heap, target, weir_retain(key), weir_retain(value));
    }
    weir_release(heap, object);
    return copy;
}

struct weir_value weir_object_own(struct weir_heap *heap, struct weir_value object)
{
    WEIR_ASSERT(object.kind == WEIR_KIND_OBJECT);
    return weir_is_owned(object) ? object : object_copy(heap, object, weir_value_count(object) + 1);
}

/* Moves the members of an owned object into a larger one. */
static struct weir_value object_grow(struct weir_heap *heap, struct weir_value object)
{
    struct weir_object *old = (struct weir_object *)(uintptr_t)object.as.container;
    struct weir_value grown = weir_object_new(heap, (size_t)old->count * 2 + 2);
    struct weir_object *target = (struct weir_object *)(uintptr_t)grown.as.container;
    memcpy(target->members, old->members, old->size * sizeof old->members[0]);
    target->size = old->size;
    target->count = old->count;
    if (old->index != NULL) {
        weir_heap_free(heap, old->index);
    }
    weir_heap_free(heap, old);
    reindex(heap, target);
    return grown;
}

void weir_object_add(struct weir_heap *heap,
                     struct weir_value owned,
                     struct weir_value key,
                     struct weir_value value)
{
    struct weir_object *object = (struct weir_object *)(uintptr_t)owned.as.container;
    WEIR_ASSERT(object->size < object->capacity);
    object_append(heap, object, key, value);
}

struct weir_value weir_object_set(struct weir_heap *heap,
                                  struct weir_value object,
                                  struct weir_value key,
                                  struct weir_value value)
{
    WEIR_ASSERT(key.kind == WEIR_KIND_STRING);
    object = weir_object_own(heap, object);
    struct weir_value *slot = weir_object_slot(object, weir_value_text(key));
    if (slot != NULL) {
        struct weir_value old = *slot;
        *slot = value;
        weir_release(heap, old);
        weir_release(heap, key);
        return object;
    }
    struct weir_object *target = (struct weir_object *)(uintptr_t)object.as.container;
    if (target->size == target->capacity) {
        if (target->count < target->size / 2) {
            reindex(heap, target);
        } else {
            object = object_grow(heap, object);
            target = (struct weir_object *)(uintptr_t)object.as.container;
        }
    }
    object_append(heap, target, key, value);
    return object;
}

struct weir_value
weir_object_delete(struct weir_heap *heap, struct weir_value object, struct weir_slice key)
{
    if (weir_value_is_absent(weir_value_get(object, key))) {
        return object;
    }
    object = weir_object_own(heap, object);
    struct weir_object *target = (struct weir_object *)(uintptr_t)object.as.container;
    struct weir_member *member = (struct weir_member *)(uintptr_t)weir_object_find(target, key);
    WEIR_ASSERT(member != NULL);
    struct weir_member old = *member;
    target->count--;
    if (target->index == NULL) {
        size_t behind = (size_t)(target->members + target->size - (member + 1));
        memmove(member, member + 1, behind * sizeof *member);
        target->size--;
    } else {
        /* The index still leads here; an absent key equals no name. */
        member->key = (struct weir_value){0};
        member->value = weir_value_null();
    }
    weir_release(heap, old.key);
    weir_release(heap, old.value);
    return object;
}

static int member_order(const void *a, const void *b)
{
    const struct weir_member *left = a, *right = b;
    size_t shorter = left->key.size < right->key.size ? left->key.size : right->key.size;
    int order = memcmp(left->key.as.bytes, right->key.as.bytes, shorter);
    return order != 0 ? order
                      : (left->key.size > right->key.size) - (left->key.size < right->key.size);
}

void weir_object_sorted(struct weir_value object, struct weir_member *ret)
{
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, object);
    size_t count = 0;
    while (weir_value_iter_next(&iter, &ret[count].key, &ret[count].value)) {
        count++;
    }
    if (count <= 16) {
        for (size_t i = 1; i < count; i++) {
            struct weir_member member = ret[i];
            size_t at = i;
            for (; at > 0 && member_order(&ret[at - 1], &member) > 0; at--) {
                ret[at] = ret[at - 1];
            }
            ret[at] = member;
        }
        return;
    }
    qsort(ret, count, sizeof *ret, member_order);
}

struct weir_value weir_heap_copy(struct weir_heap *heap, struct weir_value value)
{
    switch (weir_value_kind(value)) {
    case WEIR_KIND_STRING:
        return weir_string_new(heap, weir_value_text(value));
    case WEIR_KIND_NUMBER:
        if ((value.form & WEIR_FORM_TEXT) != 0) {
            return weir_number_text(heap, (struct weir_slice){value.as.bytes, value.size});
        }
        return value;
    case WEIR_KIND_ARRAY: {
        struct weir_value copy = weir_array_new(heap, weir_value_count(value));
        struct weir_value_iter iter;
        weir_value_iter_init(&iter, value);
        for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
            copy = weir_array_push(heap, copy, weir_heap_copy(heap, item));
        }
        return copy;
    }
    case WEIR_KIND_OBJECT: {
        struct weir_value copy = weir_object_new(heap, weir_value_count(value));
        struct weir_value_iter iter;
        weir_value_iter_init(&iter, value);
        struct weir_value key, item;
        while (weir_value_iter_next(&iter, &key, &item)) {
            copy =
                weir_object_set(heap, copy, weir_heap_copy(heap, key), weir_heap_copy(heap, item));
        }
        return copy;
    }
    case WEIR_KIND_ABSENT:
    case WEIR_KIND_NULL:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    default:
        return value;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Freezing copies a value into an arena as built containers that nobody counts, so any number of
 * threads may read them. Large objects get their index at once. Values are at most 10,000 deep when
 * they come from a text; deeper ones are refused, which keeps the recursion bounded.
 */
#include "data/freeze.h"

#include "base/hash.h"
#include "data/heap.h"
#include "data/node.h"

#define DEPTH_MAX 10001
#define INDEX_FROM 9

static bool
freeze(struct weir_arena *arena, struct weir_value value, int depth, struct weir_value *ret);

static bool freeze_bytes(struct weir_arena *arena, struct weir_value value, struct weir_value *ret)
{
    struct weir_slice copy =
        weir_arena_copy(arena, (struct weir_slice){value.as.bytes, value.size});
    *ret = value;
    ret->form &= (uint8_t)~WEIR_FORM_COUNTED;
    ret->as.bytes = copy.data;
    return copy.data != NULL;
}

static bool
freeze_array(struct weir_arena *arena, struct weir_value value, int depth, struct weir_value *ret)
{
    size_t count = weir_value_count(value);
    struct weir_array *array =
        weir_arena_calloc(arena, 1, sizeof *array + count * sizeof array->items[0]);
    if (array == NULL) {
        return false;
    }
    array->capacity = (uint32_t)count;
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        if (!freeze(arena, item, depth + 1, &array->items[array->size++])) {
            return false;
        }
    }
    *ret = (struct weir_value){
        .kind = WEIR_KIND_ARRAY, .form = WEIR_FORM_BUILT, .as.container = array};
    return true;
}

static bool index_members(struct weir_arena *arena, struct weir_object *object)
{
    uint32_t slots = 16;
    while (slots < object->size + object->size / 2) {
        slots *= 2;
    }
    object->index = weir_arena_calloc(arena, slots, sizeof object->index[0]);
    if (object->index == NULL) {
        return false;
    }
    object->mask = slots - 1;
    for (uint32_t i = 0; i < object->size; i++) {
        struct weir_value key = object->members[i].key;
        uint32_t at = weir_hash_key(key.as.bytes, key.size) & object->mask;
        while (object->index[at] != 0) {
            at = (at + 1) & object->mask;
        }
        object->index[at] = i + 1;
    }
    return true;
}

static bool
freeze_object(struct weir_arena *arena, struct weir_value value, int depth, struct weir_value *ret)
{
    size_t count = weir_value_count(value);
    struct weir_object *object =
        weir_arena_calloc(arena, 1, sizeof *object + count * sizeof object->members[0]);
    if (object == NULL) {
        return false;
    }
    object->capacity = object->count = (uint32_t)count;
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    struct weir_value key, item;
    while (weir_value_iter_next(&iter, &key, &item)) {
        struct weir_member *member = &object->members[object->size++];
        if (!freeze_bytes(arena, key, &member->key) ||
            !freeze(arena, item, depth + 1, &member->value)) {
            return false;
        }
    }
    *ret = (struct weir_value){
        .kind = WEIR_KIND_OBJECT, .form = WEIR_FORM_BUILT, .as.container = object};
    return object->size < INDEX_FROM || index_members(arena, object);
}

static bool
freeze(struct weir_arena *arena, struct weir_value value, int depth, struct weir_value *ret)
{
    if (depth > DEPTH_MAX) {
        return false;
    }
    switch (weir_value_kind(value)) {
    case WEIR_KIND_STRING:
        return freeze_bytes(arena, value, ret);
    case WEIR_KIND_NUMBER:
        if ((value.form & WEIR_FORM_TEXT) != 0) {
            return freeze_bytes(arena, value, ret);
        }
        *ret = value;
        return true;
    case WEIR_KIND_ARRAY:
        return freeze_array(arena, value, depth, ret);
    case WEIR_KIND_OBJECT:
        return freeze_object(arena, value, depth, ret);
    case WEIR_KIND_ABSENT:
    case WEIR_KIND_NULL:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    default:
        *ret = value;
        return true;
    }
}

bool weir_value_freeze(struct weir_arena *arena,
                       struct weir_value value,
                       struct weir_value *ret_value)
{
    return freeze(arena, value, 0, ret_value);
}

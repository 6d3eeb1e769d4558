/* SPDX-License-Identifier: Apache-2.0
 *
 * Events of the reader: [path, leaf] for each scalar and empty container, [path] when a container
 * that is not empty closes. The last part of the path is the index in the open array, the key in
 * the open object, or null while the key is not known yet. An output of three elements stands for
 * two events: the leaf, then the closing of what held it.
 */
#include "data/reader_private.h"

static struct weir_value last_part(const struct weir_reader *reader)
{
    return reader->path_size == 0 ? (struct weir_value){0}
                                  : weir_value_at(reader->path, reader->path_size - 1);
}

static void set_last_part(struct weir_reader *reader, struct weir_value part)
{
    reader->path = weir_array_own(reader->heap, reader->path, reader->path_size);
    struct weir_value *place = &weir_array_mut(reader->path)->items[reader->path_size - 1];
    weir_release(reader->heap, *place);
    *place = part;
}

static struct weir_value take_next(struct weir_reader *reader)
{
    struct weir_value value = reader->next;
    reader->next = (struct weir_value){0};
    return value;
}

/* [path], [path, leaf] or [path, leaf, true]. */
static void emit(struct weir_reader *reader, struct weir_value leaf, bool closes)
{
    struct weir_value event = weir_array_new(reader->heap, 3);
    event = weir_array_push(reader->heap, event, weir_retain(reader->path));
    if (!weir_value_is_absent(leaf)) {
        event = weir_array_push(reader->heap, event, leaf);
    }
    if (closes) {
        event = weir_array_push(reader->heap, event, weir_value_bool(true));
    }
    weir_release(reader->heap, reader->output);
    reader->output = event;
}

static void path_push(struct weir_reader *reader, struct weir_value part)
{
    reader->path = weir_array_push(reader->heap, reader->path, part);
    reader->path_size++;
}

static void path_pop(struct weir_reader *reader)
{
    reader->path = weir_array_slice(reader->heap, reader->path, 0, --reader->path_size);
}

static const char *on_open(struct weir_reader *reader, bool array)
{
    bool in_object = last_part(reader).kind != WEIR_KIND_NUMBER;
    if (array ? !weir_value_is_absent(reader->next) : reader->last == LAST_VALUE) {
        return "Expected a separator between values";
    }
    if (reader->last == LAST_OPEN_OBJECT) {
        return array ? "Expected string key after '{', not '['"
                     : "Expected string key after '{', not '{'";
    }
    if (reader->last == LAST_COMMA && in_object) {
        return array ? "Expected string key after ',' in object, not '['"
                     : "Expected string key after ',' in object, not '{'";
    }
    if (reader->path_size >= reader->depth) {
        return "Exceeds depth limit for parsing";
    }
    path_push(reader, array ? weir_value_number(0) : weir_value_null());
    reader->last = array ? LAST_OPEN_ARRAY : LAST_OPEN_OBJECT;
    return NULL;
}

static const char *on_colon(struct weir_reader *reader)
{
    if (reader->path_size == 0 || last_part(reader).kind == WEIR_KIND_NUMBER) {
        return "':' not as part of an object";
    }
    if (weir_value_is_absent(reader->next) || reader->last == LAST_NONE) {
        return "Expected string key before ':'";
    }
    if (reader->next.kind != WEIR_KIND_STRING) {
        return "Object keys must be strings";
    }
    if (reader->last != LAST_VALUE) {
        return "':' should follow a key";
    }
    reader->last = LAST_COLON;
    set_last_part(reader, take_next(reader));
    return NULL;
}

static const char *on_comma(struct weir_reader *reader)
{
    if (reader->last != LAST_VALUE) {
        return "Expected value before ','";
    }
    if (reader->path_size == 0) {
        return "',' not as part of an object or array";
    }
    struct weir_value part = last_part(reader);
    if (part.kind != WEIR_KIND_NUMBER && part.kind != WEIR_KIND_STRING) {
        return "Objects must consist of key:value pairs";
    }
    if (!weir_value_is_absent(reader->next)) {
        emit(reader, take_next(reader), false);
    }
    set_last_part(reader, part.kind == WEIR_KIND_NUMBER ? weir_value_number(part.as.number + 1)
                                                        : weir_value_null());
    reader->last = LAST_COMMA;
    return NULL;
}

static const char *closing_problem(const struct weir_reader *reader, bool array)
{
    enum weir_kind kind = weir_value_kind(last_part(reader));
    if (reader->path_size == 0) {
        return array ? "Unmatched ']' at the top-level" : "Unmatched '}' at the top-level";
    }
    if (reader->last == LAST_COMMA) {
        return array ? "Expected another array element" : "Expected another key:value pair";
    }
    if (array) {
        return kind == WEIR_KIND_NUMBER ? NULL : "Unmatched ']' in the middle of an object";
    }
    if (kind == WEIR_KIND_NUMBER) {
        return "Unmatched '}' in the middle of an array";
    }
    if (!weir_value_is_absent(reader->next)) {
        return kind == WEIR_KIND_STRING ? NULL : "Objects must consist of key:value pairs";
    }
    if (reader->last == LAST_COLON) {
        return "Missing value in key:value pair";
    }
    if (reader->last == LAST_OPEN_ARRAY) {
        return "Unmatched '}' in the middle of an array";
    }
    return reader->last == LAST_VALUE || reader->last == LAST_OPEN_OBJECT ? NULL : "Unmatched '}'";
}

static const char *on_close(struct weir_reader *reader, bool array)
{
    const char *problem = closing_problem(reader, array);
    if (problem != NULL) {
        return problem;
    }
    bool empty = reader->last == (array ? LAST_OPEN_ARRAY : LAST_OPEN_OBJECT);
    if (!weir_value_is_absent(reader->next)) {
        emit(reader, take_next(reader), true);
        empty = false;
    } else if (!empty) {
        emit(reader, (struct weir_value){0}, false);
    }
    path_pop(reader);
    if (empty) {
        emit(reader, array ? weir_array_new(reader->heap, 0) : weir_object_new(reader->heap, 0),
             false);
    }
    reader->last = reader->path_size == 0 ? LAST_NONE : LAST_VALUE;
    return NULL;
}

const char *weir_reader_stream_token(struct weir_reader *reader, char c)
{
    switch (c) {
    case '[':
    case '{':
        return on_open(reader, c == '[');
    case ':':
        return on_colon(reader);
    case ',':
        return on_comma(reader);
    default:
        return on_close(reader, c == ']');
    }
}

bool weir_reader_stream_done(struct weir_reader *reader, struct weir_value *ret)
{
    if (reader->path_size == 0 && !weir_value_is_absent(reader->next)) {
        emit(reader, take_next(reader), false);
    }
    if (weir_value_is_absent(reader->output)) {
        return false;
    }
    struct weir_value event = reader->output;
    if (weir_value_count(event) > 2) {
        *ret = weir_array_slice(reader->heap, weir_retain(event), 0, 2);
        reader->output = weir_array_slice(reader->heap, event, 0, 1);
    } else {
        *ret = event;
        reader->output = (struct weir_value){0};
    }
    return true;
}

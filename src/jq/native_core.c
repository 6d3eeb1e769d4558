/* SPDX-License-Identifier: Apache-2.0
 *
 * Builtins about values in general: types, conversion, control flow, paths. Most of control flow is
 * nodes of their own; the table only says which.
 */
#include <limits.h>
#include <math.h>

#include <weir/json.h>

#include "data/number.h"
#include "data/reader.h"
#include "jq/native.h"

static struct weir_value
type(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    const char *name = weir_value_kind_name(input);
    weir_release(&run->heap, input);
    return weir_value_string(weir_slice_of(name));
}

static struct weir_value codepoint_count(struct weir_value text)
{
    const char *at = text.as.bytes, *end = at + text.size;
    size_t count = 0;
    for (; at < end; at++) {
        count += ((unsigned char)*at & 0xc0) != 0x80;
    }
    return weir_value_number((double)count);
}

static struct weir_value
absolute(struct weir_jq_run *run, struct weir_value input, const char *problem)
{
    if (input.kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, input, problem);
    }
    if ((input.form & WEIR_FORM_TEXT) == 0) {
        return weir_value_number(fabs(input.as.number));
    }
    return input.size > 0 && input.as.bytes[0] == '-' ? jq_negate(run, input) : input;
}

static struct weir_value
length(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    struct weir_value result = weir_value_number(0);
    switch (weir_value_kind(input)) {
    case WEIR_KIND_NULL:
        return result;
    case WEIR_KIND_STRING:
        result = codepoint_count(input);
        break;
    case WEIR_KIND_ARRAY:
    case WEIR_KIND_OBJECT:
        result = weir_value_number((double)weir_value_count(input));
        break;
    case WEIR_KIND_NUMBER:
    case WEIR_KIND_FALSE:
    case WEIR_KIND_TRUE:
    case WEIR_KIND_ABSENT:
    default:
        return absolute(run, input, "has no length");
    }
    weir_release(&run->heap, input);
    return result;
}

/* abs keeps numbers that are not negative, -0 among them. */
static struct weir_value
absolute_value(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    int order = 0;
    if (input.kind != WEIR_KIND_NUMBER) {
        /* jq: if . < 0 then - . else . end */
        if (!jq_order(run, input, weir_value_number(0), &order)) {
            return (struct weir_value){0};
        }
        return order < 0 ? jq_negate(run, input) : input;
    }
    double number = weir_value_double(input);
    return number < 0 || isnan(number) ? jq_negate(run, input) : input;
}

static struct weir_value
has(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_value key = arguments[0];
    bool found = false;
    if (input.kind == WEIR_KIND_OBJECT && key.kind == WEIR_KIND_STRING) {
        found = !weir_value_is_absent(weir_value_get(input, weir_value_text(key)));
    } else if (input.kind == WEIR_KIND_ARRAY && key.kind == WEIR_KIND_NUMBER) {
        double index = weir_value_double(key);
        found = index > -1 && index < (double)weir_value_count(input);
    } else if (input.kind != WEIR_KIND_NULL) {
        return jq_fail(run, "Cannot check whether %s has a %s key", weir_value_kind_name(input),
                       weir_value_kind_name(key));
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, key);
    return weir_value_bool(found);
}

/* ── containment ── */

static int contains_value(struct weir_value a, struct weir_value b, int depth);

static int contains_elements(struct weir_value a, struct weir_value b, int depth)
{
    struct weir_value_iter wanted;
    weir_value_iter_init(&wanted, b);
    for (struct weir_value item; weir_value_iter_next(&wanted, NULL, &item);) {
        struct weir_value_iter have;
        weir_value_iter_init(&have, a);
        int found = 0;
        for (struct weir_value other; found == 0 && weir_value_iter_next(&have, NULL, &other);) {
            found = contains_value(other, item, depth + 1);
        }
        if (found != 1) {
            return found;
        }
    }
    return 1;
}

static int contains_members(struct weir_value a, struct weir_value b, int depth)
{
    struct weir_value_iter wanted;
    weir_value_iter_init(&wanted, b);
    struct weir_value key, item;
    while (weir_value_iter_next(&wanted, &key, &item)) {
        struct weir_value other = weir_value_get(a, weir_value_text(key));
        int found = weir_value_is_absent(other) ? 0 : contains_value(other, item, depth + 1);
        if (found != 1) {
            return found;
        }
    }
    return 1;
}

/* 1 yes, 0 no, -1 too deep. */
static int contains_value(struct weir_value a, struct weir_value b, int depth)
{
    if (depth > 10000) {
        return -1;
    }
    if (a.kind != b.kind) {
        return 0;
    }
    if (a.kind == WEIR_KIND_OBJECT) {
        return contains_members(a, b, depth);
    }
    if (a.kind == WEIR_KIND_ARRAY) {
        return contains_elements(a, b, depth);
    }
    if (a.kind == WEIR_KIND_STRING) {
        return b.size == 0 || memmem(a.as.bytes, a.size, b.as.bytes, b.size) != NULL;
    }
    return weir_value_equal(a, b);
}

static struct weir_value
contains(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind != arguments[0].kind) {
        return jq_type_error2(run, input, arguments[0], "cannot have their containment checked");
    }
    int found = contains_value(input, arguments[0], 0);
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return found < 0 ? jq_fail(run, "Containment check too deep") : weir_value_bool(found == 1);
}

/* ── conversion ── */

struct weir_value jq_to_json(struct weir_jq_run *run, struct weir_value value)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT_MAX / 2);
    weir_value_write(value, &buf, WEIR_WRITE_COMPACT);
    weir_release(&run->heap, value);
    struct weir_value text = {0};
    if (buf.failed) {
        jq_fail(run, "String too long");
    } else if (jq_room(run, buf.size)) {
        text = weir_string_new(&run->heap, weir_strbuf_view(&buf));
    }
    weir_strbuf_done(&buf);
    return text;
}

struct weir_value jq_to_string(struct weir_jq_run *run, struct weir_value value)
{
    return value.kind == WEIR_KIND_STRING ? value : jq_to_json(run, value);
}

static struct weir_value
to_json(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return jq_to_json(run, input);
}

static struct weir_value
to_string(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return jq_to_string(run, input);
}

static struct weir_value
from_json(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_STRING) {
        return jq_type_error(run, input, "only strings can be parsed");
    }
    /* The fast parser first; the other one knows jq's messages. */
    struct weir_arena arena;
    struct weir_value parsed, value = {0};
    weir_arena_init(&arena, run->heap.limit_bytes);
    if (weir_json_parse(&arena, weir_value_text(input), NULL, &parsed, NULL) == WEIR_OK) {
        value = weir_heap_copy(&run->heap, parsed);
    }
    weir_arena_done(&arena);
    if (!weir_value_is_absent(value)) {
        weir_release(&run->heap, input);
        return value;
    }
    struct weir_strbuf message;
    weir_strbuf_init(&message, 4096);
    value = weir_reader_parse(&run->heap, weir_value_text(input), 0, &message);
    if (weir_value_is_absent(value)) {
        jq_fail(run, "%s (while parsing '%.*s')", message.data,
                (int)strnlen(input.as.bytes, input.size), input.as.bytes);
    }
    weir_strbuf_done(&message);
    weir_release(&run->heap, input);
    return value;
}

static bool is_nan_text(struct weir_slice text)
{
    if (text.size > 0 && (text.data[0] == '-' || text.data[0] == '+')) {
        text.data++;
        text.size--;
    }
    return text.size == 3 && strncasecmp(text.data, "nan", 3) == 0;
}

static struct weir_value
to_number(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind == WEIR_KIND_NUMBER) {
        return input;
    }
    struct weir_decimal decimal;
    struct weir_slice text = weir_value_text(input);
    if (text.data != NULL && is_nan_text(text)) {
        weir_release(&run->heap, input);
        return weir_value_number((double)NAN);
    }
    if (text.data == NULL || !weir_decimal_parse(text, &decimal)) {
        return jq_type_error(run, input, "cannot be parsed as a number");
    }
    input.kind = WEIR_KIND_NUMBER;
    input.form |= WEIR_FORM_TEXT;
    return input;
}

static struct weir_value
to_boolean(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind == WEIR_KIND_TRUE || input.kind == WEIR_KIND_FALSE) {
        return input;
    }
    struct weir_slice text = weir_value_text(input);
    bool truth = weir_slice_equal(text, WEIR_SLICE("true"));
    if (!truth && !weir_slice_equal(text, WEIR_SLICE("false"))) {
        return jq_type_error(run, input, "cannot be parsed as a boolean");
    }
    weir_release(&run->heap, input);
    return weir_value_bool(truth);
}

/* ── paths ── */

static struct weir_value
set_path(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return jq_set_path(run, input, arguments[0], arguments[1]);
}

static struct weir_value
delete_paths(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return jq_delete_paths(run, input, arguments[0]);
}

static struct weir_value
literal_numbers(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, input);
    return weir_value_bool(true);
}

/* ["name/arity", …] */
static struct weir_value
builtins(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, input);
    struct weir_value names = weir_array_new(&run->heap, 256);
    const struct jq_native *native;
    for (size_t i = 0; (native = jq_native_at(i)) != NULL; i++) {
        if ((native->flags & JQ_HIDDEN) == 0) {
            char digit = (char)('0' + native->arity);
            struct weir_value name = jq_text(run, native->name);
            name = weir_string_append(&run->heap, name, WEIR_SLICE("/"));
            name = weir_string_append(&run->heap, name, (struct weir_slice){&digit, 1});
            names = weir_array_push(&run->heap, names, name);
        }
    }
    return names;
}

// clang-format off
static const struct jq_native table[] = {
    JQ_OP("empty", 0, JQ_EMPTY, 0, 0, "Yields nothing.", "[1, empty, 2]", "null", "[1,2]"),
    JQ_OP("error", 0, JQ_ERROR, 0, 0, "Fails with the input as the error.", "try error catch .", "\"x\"", "\"x\""),
    JQ_OP("error", 1, JQ_PIPE, 0, 0, "Fails with the argument as the error.", "try error(\"no\") catch .", "null", "\"no\""),
    JQ_OP("not", 0, JQ_NOT, 0, 0, "The opposite truth.", "map(not)", "[true,null]", "[false,true]"),
    JQ_OP("map", 1, JQ_ARRAY, 0, 0, "The results for each element, in an array.", "map(. + 1)", "[1,2]", "[2,3]"),
    JQ_OP("select", 1, JQ_IF, 0, 0, "The input if the condition holds, else nothing.", "map(select(. > 1))", "[1,2]", "[2]"),
    JQ_OP("map_values", 1, JQ_UPDATE, 0, 0, "Each value replaced by the first result for it.", "map_values(. + 1)", "{\"a\":1}", "{\"a\":2}"),
    JQ_OP("recurse", 0, JQ_RECURSE, 0, 0, "The input and everything in it; same as `..`.", "[recurse]", "[1]", "[[1],1]"),
    JQ_OP("path", 1, JQ_PATHS_OF, 0, 0, "The paths of the results.", "path(.a[0])", "null", "[\"a\",0]"),
    JQ_OP("getpath", 1, JQ_GETPATH, 0, 0, "The value at a path.", "getpath([\"a\",\"b\"])", "{\"a\":{\"b\":1}}", "1"),
    JQ_OP("range", 1, JQ_RANGE, 0, 0, "Numbers from 0 to below n.", "[range(3)]", "null", "[0,1,2]"),
    JQ_OP("range", 2, JQ_RANGE, 0, 0, "Numbers from the first to below the second.", "[range(2;4)]", "null", "[2,3]"),
    JQ_OP("first", 1, JQ_FIRST, 0, 0, "The first result.", "first(range(5))", "null", "0"),
    JQ_OP("last", 1, JQ_LAST, 0, 0, "The last result.", "last(range(5))", "null", "4"),
    JQ_OP("limit", 2, JQ_LIMIT, 0, 0, "The first n results.", "[limit(2; range(5))]", "null", "[0,1]"),
    JQ_OP("isempty", 1, JQ_ISEMPTY, 0, 0, "True if there is no result.", "isempty(empty)", "null", "true"),
    JQ_OP("add", 1, JQ_ADD, 0, 0, "The sum of the results.", "add(.[].a)", "[{\"a\":1},{\"a\":2}]", "3"),
    JQ_OP("sort_by", 1, JQ_SORTING, JQ_SORT_BY, 0, "Sorted by the results for each element.", "sort_by(.a)", "[{\"a\":2},{\"a\":1}]", "[{\"a\":1},{\"a\":2}]"),
    JQ_OP("group_by", 1, JQ_SORTING, JQ_GROUP_BY, 0, "Elements with equal results, in arrays.", "group_by(.a)", "[{\"a\":1},{\"a\":1}]", "[[{\"a\":1},{\"a\":1}]]"),
    JQ_OP("unique_by", 1, JQ_SORTING, JQ_UNIQUE_BY, 0, "The first element for each result.", "unique_by(length)", "[\"a\",\"b\"]", "[\"a\"]"),
    JQ_OP("min_by", 1, JQ_SORTING, JQ_MIN_BY, 0, "The element with the least result.", "min_by(.a)", "[{\"a\":2},{\"a\":1}]", "{\"a\":1}"),
    JQ_OP("max_by", 1, JQ_SORTING, JQ_MAX_BY, 0, "The element with the greatest result.", "max_by(.a)", "[{\"a\":2},{\"a\":1}]", "{\"a\":2}"),
    JQ_OP("env", 0, JQ_GLOBAL, JQ_GLOBAL_ENV, JQ_UNSTABLE | JQ_ENVIRONMENT, "The environment, an object.", JQ_NO_EXAMPLE),
    JQ_FN("type", 0, type, 0, "The name of the type.", "map(type)", "[1,null]", "[\"number\",\"null\"]"),
    JQ_FN("length", 0, length, 0, "Code points, elements, members, or the absolute value.", "map(length)", "[\"ab\",[1],-3]", "[2,1,3]"),
    JQ_FN("abs", 0, absolute_value, 0, "The absolute value.", "map(abs)", "[-1,2]", "[1,2]"),
    JQ_FN("has", 1, has, 0, "True if the key or index is there.", "has(\"a\")", "{\"a\":null}", "true"),
    JQ_FN("contains", 1, contains, 0, "True if the argument lies in the input.", "contains([\"b\"])", "[\"abc\"]", "true"),
    JQ_FN("tojson", 0, to_json, 0, "The value as JSON text.", "tojson", "[1]", "\"[1]\""),
    JQ_FN("fromjson", 0, from_json, 0, "The value of a JSON text.", "fromjson", "\"[1]\"", "[1]"),
    JQ_FN("tostring", 0, to_string, 0, "Strings as they are, others as JSON text.", "map(tostring)", "[1,\"a\"]", "[\"1\",\"a\"]"),
    JQ_FN("tonumber", 0, to_number, 0, "A string as a number.", "tonumber", "\"1.50\"", "1.50"),
    JQ_FN("toboolean", 0, to_boolean, 0, "A string as a boolean.", "toboolean", "\"true\"", "true"),
    JQ_FN("setpath", 2, set_path, 0, "The input with another value at the path.", "setpath([\"a\"]; 1)", "null", "{\"a\":1}"),
    JQ_FN("delpaths", 1, delete_paths, 0, "The input without what lies at the paths.", "delpaths([[\"a\"]])", "{\"a\":1}", "{}"),
    JQ_FN("have_literal_numbers", 0, literal_numbers, 0, "True: numbers keep their digits.", "have_literal_numbers", "null", "true"),
    JQ_FN("have_decnum", 0, literal_numbers, 0, "True: numbers keep their digits.", "have_decnum", "null", "true"),
    JQ_FN("builtins", 0, builtins, 0, "The names of all builtins.", "builtins | index(\"map/1\") != null", "null", "true"),
};
// clang-format on

JQ_FAMILY(jq_core_natives, table);

/* SPDX-License-Identifier: Apache-2.0
 *
 * Builtins about strings. Offsets and lengths count code points. Results that are a part of a
 * string of the document borrow it; others are new.
 */
#include <math.h>

#include "data/reader.h"
#include "jq/native.h"

static struct weir_value
starts_with(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_slice text = weir_value_text(input), head = weir_value_text(arguments[0]);
    if (text.data == NULL || head.data == NULL) {
        return jq_fail(run, "startswith() requires string inputs");
    }
    bool truth = head.size <= text.size && memcmp(text.data, head.data, head.size) == 0;
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return weir_value_bool(truth);
}

static struct weir_value
ends_with(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_slice text = weir_value_text(input), tail = weir_value_text(arguments[0]);
    if (text.data == NULL || tail.data == NULL) {
        return jq_fail(run, "endswith() requires string inputs");
    }
    bool truth = tail.size <= text.size &&
                 memcmp(text.data + text.size - tail.size, tail.data, tail.size) == 0;
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return weir_value_bool(truth);
}

/* A part of the text as a value: borrowed if the text is, else copied. Consumes the text. */
static struct weir_value
part_of(struct weir_jq_run *run, struct weir_value text, const char *start, const char *end)
{
    struct weir_slice part = {start, (size_t)(end - start)};
    if (part.size == text.size) {
        return text;
    }
    if (!weir_is_counted(text)) {
        return weir_value_string(part);
    }
    struct weir_value copy = weir_string_new(&run->heap, part);
    weir_release(&run->heap, text);
    return copy;
}

static struct weir_value strip(
    struct weir_jq_run *run, struct weir_value input, struct weir_value affix, bool head, bool tail)
{
    struct weir_slice text = weir_value_text(input), cut = weir_value_text(affix);
    if (text.data == NULL || cut.data == NULL) {
        return jq_fail(run, "%s() requires string inputs", head ? "startswith" : "endswith");
    }
    const char *start = text.data, *end = text.data + text.size;
    if (head && (size_t)(end - start) >= cut.size && memcmp(start, cut.data, cut.size) == 0) {
        start += cut.size;
    }
    if (tail && (size_t)(end - start) >= cut.size &&
        memcmp(end - cut.size, cut.data, cut.size) == 0) {
        end -= cut.size;
    }
    struct weir_value result = part_of(run, input, start, end);
    weir_release(&run->heap, affix);
    return result;
}

static struct weir_value
strip_left(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return strip(run, input, arguments[0], true, false);
}

static struct weir_value
strip_right(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return strip(run, input, arguments[0], false, true);
}

static struct weir_value
strip_both(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    return strip(run, input, arguments[0], true, true);
}

static bool is_space(int32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

static struct weir_value
trim(struct weir_jq_run *run, struct weir_value input, bool left, bool right)
{
    if (input.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "trim input must be a string");
    }
    const char *start = input.as.bytes, *end = start + input.size;
    while (left && start < end) {
        const char *next = start;
        if (!is_space(weir_utf8_next(&next, end))) {
            break;
        }
        start = next;
    }
    while (right && start < end) {
        const char *last = end - 1;
        while (last > start && ((unsigned char)*last & 0xc0) == 0x80) {
            last--;
        }
        const char *next = last;
        if (!is_space(weir_utf8_next(&next, end))) {
            break;
        }
        end = last;
    }
    return part_of(run, input, start, end);
}

static struct weir_value
trim_both(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return trim(run, input, true, true);
}

static struct weir_value
trim_left(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return trim(run, input, true, false);
}

static struct weir_value
trim_right(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return trim(run, input, false, true);
}

/* ── code points ── */

static struct weir_value
explode(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "explode input must be a string");
    }
    if (!jq_room(run, (size_t)input.size * sizeof input)) {
        return (struct weir_value){0};
    }
    struct weir_value points = weir_array_new(&run->heap, input.size);
    const char *at = input.as.bytes, *end = at + input.size;
    while (at < end) {
        points = weir_array_push(&run->heap, points, weir_value_number(weir_utf8_next(&at, end)));
    }
    weir_release(&run->heap, input);
    return points;
}

static struct weir_value
implode(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_ARRAY) {
        return jq_fail(run, "implode input must be an array");
    }
    struct weir_value text = weir_string_new(&run->heap, WEIR_SLICE(""));
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        double number = weir_value_double(item);
        if (item.kind != WEIR_KIND_NUMBER || isnan(number)) {
            return jq_type_error(run, weir_retain(item),
                                 "can't be imploded, unicode codepoint needs to be numeric");
        }
        uint32_t point = number > -1 && number < 0x110000 ? (uint32_t)number : 0xfffd;
        if (point >= 0xd800 && point <= 0xdfff) {
            point = 0xfffd;
        }
        char bytes[4];
        size_t size = weir_utf8_put(point, bytes);
        text = weir_string_append(&run->heap, text, (struct weir_slice){bytes, size});
    }
    weir_release(&run->heap, input);
    return text;
}

static struct weir_value
change_case(struct weir_jq_run *run, struct weir_value input, char first, char last)
{
    if (input.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "explode input must be a string");
    }
    char *room;
    struct weir_value changed = weir_string_room(&run->heap, input.size, &room);
    for (uint32_t i = 0; i < input.size; i++) {
        char c = input.as.bytes[i];
        room[i] = c >= first && c <= last ? (char)(c ^ 0x20) : c;
    }
    weir_release(&run->heap, input);
    return changed;
}

static struct weir_value
downcase(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return change_case(run, input, 'A', 'Z');
}

static struct weir_value
upcase(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    return change_case(run, input, 'a', 'z');
}

static struct weir_value
byte_length(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    if (input.kind != WEIR_KIND_STRING) {
        return jq_type_error(run, input, "only strings have UTF-8 byte length");
    }
    weir_release(&run->heap, input);
    return weir_value_number(input.size);
}

/* ── searching, splitting, joining ── */

static struct weir_value push_part(struct weir_jq_run *run,
                                   struct weir_value parts,
                                   struct weir_value text,
                                   const char *start,
                                   const char *end)
{
    struct weir_slice part = {start, (size_t)(end - start)};
    struct weir_value value =
        weir_is_counted(text) ? weir_string_new(&run->heap, part) : weir_value_string(part);
    return weir_array_push(&run->heap, parts, value);
}

struct weir_value jq_split(struct weir_jq_run *run, struct weir_value text, struct weir_value by)
{
    struct weir_value parts = weir_array_new(&run->heap, 4);
    const char *at = text.as.bytes, *end = at + text.size;
    if (by.size == 0) {
        while (at < end) {
            const char *start = at;
            weir_utf8_next(&at, end);
            parts = push_part(run, parts, text, start, at);
        }
    }
    while (by.size > 0 && at < end) {
        const char *found = memmem(at, (size_t)(end - at), by.as.bytes, by.size);
        parts = push_part(run, parts, text, at, found == NULL ? end : found);
        at = found == NULL ? end : found + by.size;
        if (found != NULL && at == end) {
            parts = push_part(run, parts, text, end, end);
        }
    }
    weir_release(&run->heap, text);
    weir_release(&run->heap, by);
    return parts;
}

static struct weir_value
split(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind != WEIR_KIND_STRING || arguments[0].kind != WEIR_KIND_STRING) {
        return jq_fail(run, "split input and separator must be strings");
    }
    return jq_split(run, input, arguments[0]);
}

static struct weir_value
string_indices(struct weir_jq_run *run, struct weir_value input, struct weir_value part)
{
    struct weir_value found = weir_array_new(&run->heap, 2);
    const char *at = input.as.bytes, *end = at + input.size, *counted = at;
    double points = 0;
    while (part.size > 0 && at < end &&
           (at = memmem(at, (size_t)(end - at), part.as.bytes, part.size)) != NULL) {
        for (; counted < at; counted++) {
            points += ((unsigned char)*counted & 0xc0) != 0x80;
        }
        found = weir_array_push(&run->heap, found, weir_value_number(points));
        at++;
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, part);
    return found;
}

static struct weir_value
indices(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    struct weir_value part = arguments[0];
    if (input.kind == WEIR_KIND_STRING && part.kind == WEIR_KIND_STRING) {
        return string_indices(run, input, part);
    }
    if (input.kind == WEIR_KIND_ARRAY && part.kind != WEIR_KIND_ARRAY) {
        struct weir_value wrapped = weir_array_new(&run->heap, 1);
        part = weir_array_push(&run->heap, wrapped, part);
    }
    return jq_get(run, input, part);
}

static struct weir_value
join(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (input.kind < WEIR_KIND_ARRAY) {
        char room[JQ_DUMP_ROOM];
        return jq_fail(run, "Cannot iterate over %s (%s)", weir_value_kind_name(input),
                       jq_dump(input, room));
    }
    struct weir_value joined = weir_value_null();
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, input);
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item);) {
        joined = joined.kind == WEIR_KIND_NULL
                     ? weir_string_new(&run->heap, WEIR_SLICE(""))
                     : jq_binary(run, JQ_PLUS, joined, weir_retain(arguments[0]));
        if (item.kind == WEIR_KIND_NULL) {
            item = weir_value_string(WEIR_SLICE(""));
        } else if (item.kind <= WEIR_KIND_NUMBER) {
            item = jq_to_json(run, weir_retain(item));
        } else {
            weir_retain(item);
        }
        if (!weir_value_is_absent(joined)) {
            joined = jq_binary(run, JQ_PLUS, joined, item);
        }
        if (weir_value_is_absent(joined)) {
            return joined;
        }
    }
    weir_release(&run->heap, input);
    weir_release(&run->heap, arguments[0]);
    return joined.kind == WEIR_KIND_NULL ? weir_value_string(WEIR_SLICE("")) : joined;
}

static struct weir_value
format(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    if (arguments[0].kind != WEIR_KIND_STRING) {
        return jq_type_error(run, arguments[0], "is not a valid format");
    }
    struct weir_value result = jq_format(run, input, weir_value_text(arguments[0]));
    weir_release(&run->heap, arguments[0]);
    return result;
}

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("startswith", 1, starts_with, 0, "True if the string starts with the argument.", "startswith(\"a\")", "\"ab\"", "true"),
    JQ_FN("endswith", 1, ends_with, 0, "True if the string ends with the argument.", "endswith(\"b\")", "\"ab\"", "true"),
    JQ_FN("ltrimstr", 1, strip_left, 0, "The string without this start.", "ltrimstr(\"a\")", "\"ab\"", "\"b\""),
    JQ_FN("rtrimstr", 1, strip_right, 0, "The string without this end.", "rtrimstr(\"b\")", "\"ab\"", "\"a\""),
    JQ_FN("trimstr", 1, strip_both, 0, "The string without this start and end.", "trimstr(\"-\")", "\"-a-\"", "\"a\""),
    JQ_FN("trim", 0, trim_both, 0, "The string without white space around it.", "trim", "\" a \"", "\"a\""),
    JQ_FN("ltrim", 0, trim_left, 0, "The string without white space before it.", "ltrim", "\" a\"", "\"a\""),
    JQ_FN("rtrim", 0, trim_right, 0, "The string without white space behind it.", "rtrim", "\"a \"", "\"a\""),
    JQ_FN("explode", 0, explode, 0, "The code points of a string.", "explode", "\"ab\"", "[97,98]"),
    JQ_FN("implode", 0, implode, 0, "The string of these code points.", "implode", "[97,98]", "\"ab\""),
    JQ_FN("ascii_downcase", 0, downcase, 0, "Letters A to Z in lower case.", "ascii_downcase", "\"Ab\"", "\"ab\""),
    JQ_FN("ascii_upcase", 0, upcase, 0, "Letters a to z in upper case.", "ascii_upcase", "\"Ab\"", "\"AB\""),
    JQ_FN("utf8bytelength", 0, byte_length, 0, "The size of a string in bytes.", "utf8bytelength", "\"\\u00e9\"", "2"),
    JQ_FN("split", 1, split, 0, "The parts between separators.", "split(\",\")", "\"a,b\"", "[\"a\",\"b\"]"),
    JQ_FN("join", 1, join, 0, "The elements with a separator between them.", "join(\",\")", "[\"a\",1,null]", "\"a,1,\""),
    JQ_FN("indices", 1, indices, 0, "Where the argument occurs.", "indices(\"a\")", "\"aba\"", "[0,2]"),
    JQ_DEF("index", 1, "def index($i): indices($i) | .[0];", 0, "Where the argument occurs first.", "index(\"b\")", "\"abb\"", "1"),
    JQ_DEF("rindex", 1, "def rindex($i): indices($i) | .[-1:][0];", 0, "Where the argument occurs last.", "rindex(\"b\")", "\"abb\"", "2"),
    JQ_FN("format", 1, format, 0, "The input in a format: json, text, csv, tsv, html, uri, urid, sh, base64, base64d.", "format(\"csv\")", "[1,\"a\"]", "\"1,\\\"a\\\"\""),
    JQ_DEF("ascii", 0, "def ascii: [.] | implode;", 0, "The character of a code.", "ascii", "65", "\"A\""),
};
// clang-format on

JQ_FAMILY(jq_text_natives, table);

/* SPDX-License-Identifier: Apache-2.0
 *
 * How evaluations fail, in jq's words. An error is a value: `error({a: 1})` is caught as an object.
 * A limit is none: nothing in the program can catch it.
 */
#include "jq/run.h"

#include <stdarg.h>
#include <stdio.h>

#include "data/reader.h"

struct weir_value jq_text(struct weir_jq_run *run, const char *text)
{
    return weir_string_new(&run->heap, weir_slice_of(text));
}

struct weir_value jq_fail_value(struct weir_jq_run *run, struct weir_value error)
{
    weir_release(&run->heap, run->error);
    run->error = error;
    run->failed = JQ_FAILED;
    return (struct weir_value){0};
}

struct weir_value jq_fail(struct weir_jq_run *run, const char *format, ...)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, UINT32_MAX);
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    if (size >= 0 && weir_strbuf_reserve(&buf, (size_t)size + 1)) {
        vsnprintf(buf.data, (size_t)size + 1, format, again);
        buf.size = (size_t)size;
    }
    va_end(again);
    va_end(arguments);
    struct weir_value text = weir_string_new(&run->heap, weir_strbuf_view(&buf));
    weir_strbuf_done(&buf);
    return jq_fail_value(run, text);
}

struct weir_value jq_limit(struct weir_jq_run *run, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(run->message, sizeof run->message, format, arguments);
    va_end(arguments);
    run->failed = JQ_LIMITED;
    return (struct weir_value){0};
}

struct weir_value jq_step_failed(struct weir_jq_run *run)
{
    if (run->heap.exceeded) {
        return jq_limit(run, "expression needs more than %zu bytes", run->memory_max);
    }
    return jq_limit(run, "expression took more than %llu steps",
                    (unsigned long long)run->steps_max);
}

bool jq_room(struct weir_jq_run *run, size_t bytes)
{
    if (bytes < 65536 || weir_heap_room(&run->heap, bytes)) {
        return true;
    }
    jq_step_failed(run);
    return false;
}

const char *jq_dump(struct weir_value value, char room[JQ_DUMP_ROOM])
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, UINT32_MAX);
    if (value.kind == WEIR_KIND_STRING && value.size > JQ_DUMP_ROOM) {
        /* Only the first code points can show. */
        struct weir_slice head = {value.as.bytes, 0};
        const char *at = value.as.bytes, *end = at + value.size;
        for (int i = 0; i < JQ_DUMP_ROOM && at < end; i++) {
            weir_utf8_next(&at, end);
        }
        head.size = (size_t)(at - value.as.bytes);
        value = weir_value_string(head);
    }
    weir_value_write(value, &buf, WEIR_WRITE_COMPACT);
    size_t size = buf.size;
    if (size > JQ_DUMP_ROOM - 1) {
        /* Cut at a code point, then the close of what was open, or dots. */
        char close = buf.data[0] == '"'   ? '"'
                     : buf.data[0] == '[' ? ']'
                     : buf.data[0] == '{' ? '}'
                                          : '\0';
        size_t keep = JQ_DUMP_ROOM - 1 - 3 - (close != '\0');
        while (keep > 0 && ((unsigned char)buf.data[keep] & 0xc0) == 0x80) {
            keep--;
        }
        memcpy(room, buf.data, keep);
        memcpy(room + keep, "...", 3);
        size = keep + 3;
        if (close != '\0') {
            room[size++] = close;
        }
        room[size] = '\0';
    } else {
        memcpy(room, buf.data == NULL ? "" : buf.data, size);
        room[size] = '\0';
    }
    weir_strbuf_done(&buf);
    return room;
}

struct weir_value jq_type_error(struct weir_jq_run *run, struct weir_value bad, const char *text)
{
    char room[JQ_DUMP_ROOM];
    jq_fail(run, "%s (%s) %s", weir_value_kind_name(bad), jq_dump(bad, room), text);
    weir_release(&run->heap, bad);
    return (struct weir_value){0};
}

struct weir_value jq_type_error2(struct weir_jq_run *run,
                                 struct weir_value bad,
                                 struct weir_value other,
                                 const char *text)
{
    char room[JQ_DUMP_ROOM], other_room[JQ_DUMP_ROOM];
    jq_fail(run, "%s (%s) and %s (%s) %s", weir_value_kind_name(bad), jq_dump(bad, room),
            weir_value_kind_name(other), jq_dump(other, other_room), text);
    weir_release(&run->heap, bad);
    weir_release(&run->heap, other);
    return (struct weir_value){0};
}

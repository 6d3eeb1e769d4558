/* SPDX-License-Identifier: Apache-2.0
 *
 * Records to values. yyjson parses into the arena with numbers left as text: one run of 16-byte
 * nodes and one copy of the bytes, and nothing else is built. What yyjson refuses goes to the
 * lenient reader, which either accepts it (nan, broken UTF-8, a lone surrogate) or gives jq's
 * message with line and column.
 *
 * Large documents are looked over once more: containers deeper than the limit are an error, and an
 * object of many members that has a key twice is rebuilt, so that no walk is ever quadratic.
 */
#include <weir/json.h>

#include <stdlib.h>

#include "base/alloc.h"
#include "data/freeze.h"
#include "data/heap.h"
#include "data/node.h"
#include "data/reader.h"

#define DEPTH_DEFAULT 10000
#define READER_HEAP_BYTES ((size_t)1 << 32)

static void *arena_malloc(void *arena, size_t size)
{
    return weir_arena_alloc(arena, size);
}

static void *arena_realloc(void *arena, void *memory, size_t old_size, size_t size)
{
    void *grown = weir_arena_alloc(arena, size);
    if (grown != NULL) {
        memcpy(grown, memory, old_size < size ? old_size : size);
    }
    return grown;
}

static void arena_free(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static bool has_doubled_key(const yyjson_val *object)
{
    size_t count = (size_t)(object->tag >> YYJSON_TAG_BIT);
    size_t slots = 256;
    while (slots < count * 2) {
        slots *= 2;
    }
    const yyjson_val **table = weir_calloc(slots, sizeof *table);
    const yyjson_val *key = object + 1;
    bool doubled = false;
    for (size_t i = 0; i < count && !doubled; i++) {
        size_t size = (size_t)(key->tag >> YYJSON_TAG_BIT);
        size_t at = weir_key_hash(key->uni.str, size) & (slots - 1);
        for (; table[at] != NULL && !doubled; at = (at + 1) & (slots - 1)) {
            doubled = table[at]->tag >> YYJSON_TAG_BIT == size &&
                      memcmp(table[at]->uni.str, key->uni.str, size) == 0;
        }
        table[at] = key;
        key = weir_node_next(key + 1);
    }
    weir_free(table);
    return doubled;
}

enum survey { SURVEY_FINE, SURVEY_DEEP, SURVEY_DOUBLED };

static bool is_doubled(const yyjson_val *node)
{
    return (node->tag & YYJSON_TYPE_MASK) == YYJSON_TYPE_OBJ &&
           node->tag >> YYJSON_TAG_BIT > WEIR_NODE_DOUBLED_MAX && has_doubled_key(node);
}

/* With fewer nodes than the depth allows there is nothing to count. */
static enum survey survey_small(yyjson_doc *doc)
{
    const yyjson_val *node = yyjson_doc_get_root(doc), *end = weir_node_next(node);
    for (; node < end; node++) {
        if (is_doubled(node)) {
            return SURVEY_DOUBLED;
        }
    }
    return SURVEY_FINE;
}

/* One pass over all nodes with the ends of the open containers on a stack. */
static enum survey survey_nodes(yyjson_doc *doc, uint32_t depth)
{
    const yyjson_val *node = yyjson_doc_get_root(doc), *end = weir_node_next(node);
    const yyjson_val **ends = weir_calloc((size_t)depth + 1, sizeof *ends);
    size_t open = 0;
    enum survey result = SURVEY_FINE;
    for (; node < end && result == SURVEY_FINE; node++) {
        while (open > 0 && node >= ends[open - 1]) {
            open--;
        }
        if ((node->tag & 6) != 6) {
            continue;
        }
        if (open == depth) {
            result = SURVEY_DEEP;
            break;
        }
        ends[open++] = weir_node_next(node);
        if (is_doubled(node)) {
            result = SURVEY_DOUBLED;
        }
    }
    weir_free(ends);
    return result;
}

static weir_status parse_leniently(struct weir_arena *arena,
                                   struct weir_slice bytes,
                                   uint32_t depth,
                                   struct weir_value *ret_value,
                                   struct weir_err *err)
{
    struct weir_heap heap;
    struct weir_strbuf message;
    weir_heap_init(&heap, READER_HEAP_BYTES);
    weir_strbuf_init(&message, 1 << 16);
    weir_status status = WEIR_OK;
    struct weir_value value = weir_reader_parse(&heap, bytes, depth, &message);
    if (weir_value_is_absent(value)) {
        bool deep = strstr(message.data, "depth limit") != NULL;
        status = weir_fail(err, deep ? WEIR_LIMIT : WEIR_INVALID, "not JSON: %s", message.data);
    } else if (!weir_value_freeze(arena, value, ret_value)) {
        status =
            weir_fail(err, WEIR_TOO_LARGE, "parsed JSON of %zu bytes does not fit", bytes.size);
    }
    weir_strbuf_done(&message);
    weir_heap_done(&heap);
    return status;
}

weir_status weir_json_parse(struct weir_arena *arena,
                            struct weir_slice bytes,
                            const struct weir_json_limits *limits,
                            struct weir_value *ret_value,
                            struct weir_err *err)
{
    uint32_t depth = limits == NULL || limits->depth == 0 ? DEPTH_DEFAULT : limits->depth;
    if (bytes.size >= UINT32_MAX) {
        return weir_fail(err, WEIR_TOO_LARGE, "JSON text of %zu bytes is too large", bytes.size);
    }
    yyjson_alc alc = {arena_malloc, arena_realloc, arena_free, arena};
    yyjson_read_err problem;
    /* Without INSITU the parser copies the bytes and does not write to ours. */
    char *text = (char *)(uintptr_t)(bytes.data == NULL ? "" : bytes.data);
    yyjson_doc *doc = yyjson_read_opts(text, bytes.size, YYJSON_READ_NUMBER_AS_RAW, &alc, &problem);
    if (doc == NULL) {
        if (problem.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
            return weir_fail(err, WEIR_TOO_LARGE, "parsed JSON of %zu bytes does not fit",
                             bytes.size);
        }
        return parse_leniently(arena, bytes, depth, ret_value, err);
    }
    if (doc->val_read > 2 * WEIR_NODE_DOUBLED_MAX || doc->val_read > depth) {
        enum survey survey = doc->val_read > depth ? survey_nodes(doc, depth) : survey_small(doc);
        if (survey == SURVEY_DEEP) {
            return weir_fail(err, WEIR_LIMIT, "not JSON: deeper than %u containers",
                             (unsigned)depth);
        }
        if (survey == SURVEY_DOUBLED) {
            return parse_leniently(arena, bytes, depth, ret_value, err);
        }
    }
    *ret_value = weir_node_value(yyjson_doc_get_root(doc));
    return WEIR_OK;
}

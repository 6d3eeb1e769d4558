/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes of a parsed document as values. The parser lays all nodes of a document out in one run, 16
 * bytes each; a container's node says how far away its next sibling is. Nothing is built: strings
 * and number texts are borrowed, containers are referred to.
 */
#ifndef WEIR_DATA_NODE_H
#define WEIR_DATA_NODE_H

#include <yyjson.h>

#include <weir/value.h>

/* Parsed objects with more members have no doubled keys: the parser sees to it. */
#define WEIR_NODE_DOUBLED_MAX 64

static inline struct weir_value weir_node_value(const yyjson_val *node)
{
    uint64_t size = node->tag >> YYJSON_TAG_BIT;
    switch (node->tag & YYJSON_TYPE_MASK) {
    case YYJSON_TYPE_RAW:
        return (struct weir_value){.kind = WEIR_KIND_NUMBER,
                                   .form = WEIR_FORM_TEXT,
                                   .size = (uint32_t)size,
                                   .as.bytes = node->uni.str};
    case YYJSON_TYPE_STR:
        return (struct weir_value){
            .kind = WEIR_KIND_STRING, .size = (uint32_t)size, .as.bytes = node->uni.str};
    case YYJSON_TYPE_ARR:
        return (struct weir_value){
            .kind = WEIR_KIND_ARRAY, .form = WEIR_FORM_NODE, .as.container = node};
    case YYJSON_TYPE_OBJ:
        return (struct weir_value){
            .kind = WEIR_KIND_OBJECT, .form = WEIR_FORM_NODE, .as.container = node};
    case YYJSON_TYPE_BOOL:
        return weir_value_bool((node->tag & YYJSON_SUBTYPE_MASK) == YYJSON_SUBTYPE_TRUE);
    default:
        return weir_value_null();
    }
}

/* The node behind this one and all that lies in it. */
static inline const yyjson_val *weir_node_next(const yyjson_val *node)
{
    bool container = (node->tag & 6) == 6; /* YYJSON_TYPE_ARR, YYJSON_TYPE_OBJ */
    return container ? (const yyjson_val *)(const void *)((const char *)node + node->uni.ofs)
                     : node + 1;
}

uint32_t weir_key_hash(const char *bytes, size_t size);
/* weir_value_compare that gives up below 10,000 levels: INT_MIN. */
int weir_value_order(struct weir_value a, struct weir_value b, int depth);
/* 1 equal, 0 not, -1 too deep. */
int weir_value_same(struct weir_value a, struct weir_value b, int depth);

#endif

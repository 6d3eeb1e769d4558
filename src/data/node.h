/* SPDX-License-Identifier: Apache-2.0
 *
 * Nodes of a parsed document. The parser lays all nodes of a document out in one run, 16 bytes
 * each, in the order of the text. The node of a scalar is the value itself: strings and number
 * texts are borrowed. A container takes two nodes and then those of its keys and values:
 *
 *      kind  form  flags   size            as
 *     ┌─────┬─────┬───────┬───────────────┬──────────────────────────┐
 *     │ kind│ NODE│DOUBLED│ members       │ nodes up to the sibling  │
 *     ├─────┴─────┴───────┼───────────────┼──────────────────────────┤
 *     │                   │ bytes of text │ its text                 │
 *     └───────────────────┴───────────────┴──────────────────────────┘
 *
 * A container that jq would print just as it stands in the document (no blanks, no key twice,
 * numbers and strings in jq's form) says so by the size of its text, which is 0 otherwise.
 */
#ifndef WEIR_DATA_NODE_H
#define WEIR_DATA_NODE_H

#include <string.h>

#include <weir/value.h>

/* Parsed objects with more members have no doubled keys: the parser sees to it. */
#define WEIR_NODE_DOUBLED_MAX 64

struct weir_json_node {
    uint8_t kind, form;
    uint16_t flags; /* enum weir_value_flags */
    uint32_t size;
    union {
        const char *bytes;
        uint64_t span;
    } as;
};
_Static_assert(sizeof(struct weir_json_node) == sizeof(struct weir_value),
               "a scalar's node is a value");

static inline struct weir_value weir_node_value(const struct weir_json_node *node)
{
    struct weir_value value;
    memcpy(&value, node, sizeof value);
    if (value.kind >= WEIR_KIND_ARRAY) {
        value.as.container = node;
    }
    return value;
}

static inline const struct weir_json_node *weir_node_first(const struct weir_json_node *container)
{
    return container + 2;
}

/* The node behind this one and all that lies in it. */
static inline const struct weir_json_node *weir_node_next(const struct weir_json_node *node)
{
    return node + (node->kind >= WEIR_KIND_ARRAY ? node->as.span : 1);
}

static inline bool weir_node_is_doubled(const struct weir_json_node *container)
{
    return (container->flags & WEIR_VALUE_DOUBLED) != 0;
}

/* The text of a container that prints as it stands; of others: absent. */
static inline struct weir_slice weir_node_text(const struct weir_json_node *container)
{
    return (struct weir_slice){container[1].size == 0 ? NULL : container[1].as.bytes,
                               container[1].size};
}

static inline bool weir_node_keys_equal(const struct weir_json_node *a,
                                        const struct weir_json_node *b)
{
    return a->size == b->size && memcmp(a->as.bytes, b->as.bytes, a->size) == 0;
}

/* weir_value_compare that gives up below 10,000 levels: INT_MIN. */
int weir_value_order(struct weir_value a, struct weir_value b, int depth);
/* 1 equal, 0 not, -1 too deep. */
int weir_value_same(struct weir_value a, struct weir_value b, int depth);

#endif

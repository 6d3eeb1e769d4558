/* SPDX-License-Identifier: Apache-2.0
 *
 * What families of builtins need: the shape of a table row, and the end of a family.
 */
#ifndef WEIR_JQ_NATIVE_H
#define WEIR_JQ_NATIVE_H

#include "jq/run.h"

/* A function; a node of its own; a definition in jq. Then flags, doc, and an example (program,
 * input, output) or nothing. */
#define JQ_FN(name, arity, fn, flags, doc, ...)                                                    \
    {                                                                                              \
        name, arity, flags, 0, 0, fn, NULL, doc, __VA_ARGS__                                       \
    }
#define JQ_OP(name, arity, op, sub, flags, doc, ...)                                               \
    {                                                                                              \
        name, arity, flags, op, sub, NULL, NULL, doc, __VA_ARGS__                                  \
    }
#define JQ_DEF(name, arity, source, flags, doc, ...)                                               \
    {                                                                                              \
        name, arity, flags, 0, 0, NULL, source, doc, __VA_ARGS__                                   \
    }
#define JQ_NO_EXAMPLE NULL, NULL, NULL
#define JQ_FAMILY(family, table)                                                                   \
    const struct jq_native_family family = {table, sizeof table / sizeof table[0]}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Making nodes and reporting what is wrong with a program. Trees have a height limit, checked as
 * they grow, so that everything that walks one may recurse.
 */
#include "jq/node.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"

#define DEPTH_MAX 3000

void *jq_build_alloc(const struct jq_build *build, size_t size)
{
    void *memory = weir_arena_calloc(build->arena, 1, size);
    WEIR_ASSERT(memory != NULL);
    return memory;
}

static void locate(struct weir_slice text, uint32_t offset, int *ret_line, int *ret_column)
{
    *ret_line = 1;
    *ret_column = 1;
    for (uint32_t i = 0; i < offset && i < text.size; i++) {
        ++*ret_column;
        if (text.data[i] == '\n') {
            ++*ret_line;
            *ret_column = 1;
        }
    }
}

void *
jq_build_fail(const struct jq_build *build, uint32_t offset, uint32_t size, const char *format, ...)
{
    char message[sizeof build->err->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (build->err == NULL || build->err->status != WEIR_OK) {
        return NULL;
    }
    int line, column;
    locate(build->source->text, offset, &line, &column);
    weir_fail(build->err, WEIR_CONFIG, "%s", message);
    build->err->line = line;
    build->err->column = column;
    if (build->fault != NULL) {
        *build->fault = (struct weir_jq_fault){offset, size, line, column};
    }
    return NULL;
}

void jq_build_move_fault(const struct jq_build *build,
                         uint32_t offset,
                         uint32_t size,
                         const char *file)
{
    struct weir_err *err = build->err;
    const char *message =
        weir_arena_printf(build->arena, "%s:%d:%d: %s", file, err->line, err->column, err->message);
    const char *hint = weir_arena_strdup(build->arena, err->hint);
    weir_err_clear(err);
    jq_build_fail(build, offset, size, "%s", message);
    if (hint != NULL && hint[0] != '\0') {
        weir_err_hint(err, "%s", hint);
    }
}

static void adopt(struct jq_node *node, const struct jq_node *child)
{
    if (child == NULL) {
        return;
    }
    node->binds |= child->binds;
    if (child->depth >= node->depth) {
        node->depth = (uint16_t)(child->depth + 1);
    }
}

struct jq_node *jq_node_new(const struct jq_build *build,
                            enum jq_op op,
                            uint32_t offset,
                            struct jq_node *a,
                            struct jq_node *b)
{
    struct jq_node *node = jq_build_alloc(build, sizeof *node);
    node->op = (uint8_t)op;
    node->offset = offset;
    node->a = a;
    node->b = b;
    jq_node_adopt(build, node);
    return node;
}

bool jq_node_adopt(const struct jq_build *build, struct jq_node *node)
{
    adopt(node, node->a);
    adopt(node, node->b);
    adopt(node, node->c);
    adopt(node, node->d);
    for (uint32_t i = 0; i < node->count; i++) {
        adopt(node, node->list[i]);
    }
    if (node->depth > DEPTH_MAX) {
        node->depth = DEPTH_MAX;
        jq_build_fail(build, node->offset, 1, "the program is nested too deeply");
        return false;
    }
    return true;
}

const char *jq_op_name(enum jq_op op)
{
    static const char *const names[] = {
#define X(name, text) text,
        JQ_OP_MAP(X)
#undef X
    };
    return names[op];
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Compiling: parse, resolve, optimise, and what can be said about the result. Everything of a
 * program lies in one arena.
 */
#include "jq/program.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "jq/run.h"

/* True if the node looks at nothing that differs from one evaluation to the next. */
static bool is_constant(const struct jq_node *node)
{
    switch ((int)node->op) {
    case JQ_LITERAL:
        return true;
    case JQ_PIPE:
        return is_constant(node->a) && node->b->op == JQ_NATIVE && node->b->count == 0 &&
               (node->b->native->flags & JQ_UNSTABLE) == 0;
    case JQ_EMPTY:
        return true;
    default:
        return false;
    }
}

static bool build(struct jq_resolver *self, struct weir_jq *program)
{
    struct jq_module *module = jq_parse(&self->build);
    if (module == NULL || !jq_resolve_program(self, module)) {
        return false;
    }
    if (!module->has_query) {
        jq_build_fail(&self->build, 0, 0, "a program is missing: write . for the input itself");
        return false;
    }
    program->body = module->body;
    jq_optimise(self, &program->body);
    if (self->build.err->status != WEIR_OK) {
        return false;
    }
    program->facts.single = program->body->many == JQ_ONE;
    program->facts.several = jq_least(program->body) > 1;
    program->facts.constant = program->facts.deterministic && is_constant(program->body);
    return true;
}

static void keep_paths(struct weir_jq *program, const struct weir_jq_options *options)
{
    if (options == NULL || options->paths == NULL) {
        return;
    }
    const char **paths = weir_arena_calloc(&program->arena, options->path_count + 1, sizeof *paths);
    for (size_t i = 0; i < options->path_count; i++) {
        paths[i] = weir_arena_strdup(&program->arena, options->paths[i]);
    }
    program->modules.paths = paths;
    program->modules.path_count = options->path_count;
    program->modules.origin =
        options->origin == NULL ? NULL : weir_arena_strdup(&program->arena, options->origin);
}

struct weir_jq *weir_jq_compile(struct weir_slice text,
                                const struct weir_jq_options *options,
                                struct weir_jq_fault *ret_fault,
                                struct weir_err *err)
{
    struct weir_jq *program = weir_calloc(1, sizeof *program);
    struct weir_heap heap;
    struct weir_err own = {0};
    weir_arena_init(&program->arena, 0);
    weir_heap_init(&heap, 0);
    program->facts.deterministic = true;
    keep_paths(program, options);
    const char *name = options == NULL || options->name == NULL ? "<top-level>" : options->name;
    struct weir_slice copy =
        weir_arena_copy(&program->arena, text.data == NULL ? (struct weir_slice){"", 0} : text);
    struct jq_source *source = weir_arena_calloc(&program->arena, 1, sizeof *source);
    *source = (struct jq_source){
        .name = weir_arena_strdup(&program->arena, name), .text = copy, .line = 1};
    struct jq_resolver resolver = {
        .build = {.arena = &program->arena,
                  .heap = &heap,
                  .source = source,
                  .fault = ret_fault,
                  .err = err == NULL ? &own : err},
        .options = options,
        .program = program,
    };
    bool done = build(&resolver, program);
    weir_heap_done(&heap);
    if (!done) {
        weir_jq_free(program);
        return NULL;
    }
    return program;
}

void weir_jq_free(struct weir_jq *program)
{
    if (program != NULL) {
        weir_arena_done(&program->arena);
        weir_free(program);
    }
}

struct weir_jq_facts weir_jq_facts(const struct weir_jq *program)
{
    return program->facts;
}

/* ── explain ── */

static void
explain(const struct jq_node *node, const char *role, int depth, struct weir_strbuf *buf)
{
    if (node == NULL) {
        return;
    }
    weir_strbuf_printf(buf, "%*s%s%s", depth * 2, "", role, jq_op_name((enum jq_op)node->op));
    if (node->op == JQ_LITERAL || node->op == JQ_FIELD) {
        weir_strbuf_push(buf, ' ');
        weir_value_write(node->value, buf, WEIR_WRITE_COMPACT);
    } else if (node->op == JQ_PATH) {
        for (uint32_t i = 0; i < node->slot; i++) {
            weir_strbuf_push(buf, i == 0 ? ' ' : '.');
            weir_strbuf_slice(buf, weir_value_text(node->keys[i]));
        }
    } else if (node->op == JQ_BINARY || node->op == JQ_MODIFY) {
        static const char *const signs[] = {
            "+", "-", "*", "/", "%", "==", "!=", "<", ">", "<=", ">=", "//"};
        weir_strbuf_printf(buf, " %s%s", signs[node->sub], node->op == JQ_MODIFY ? "=" : "");
    } else if (node->text.data != NULL) {
        weir_strbuf_push(buf, ' ');
        weir_strbuf_slice(buf, node->text);
    }
    static const char *const counts[] = {"", "  0..1", "  0..n"};
    weir_strbuf_printf(buf, "%s%s\n", node->opt ? "?" : "", counts[node->many]);
    if (node->op == JQ_DEFINE) {
        weir_strbuf_printf(buf, "%*s%.*s:\n", depth * 2 + 2, "",
                           WEIR_SLICE_ARG(node->function->name));
        explain(node->function->body, "", depth + 2, buf);
    }
    explain(node->a, "", depth + 1, buf);
    explain(node->b, "", depth + 1, buf);
    explain(node->c, "", depth + 1, buf);
    explain(node->d, "", depth + 1, buf);
    for (uint32_t i = 0; i < node->count; i++) {
        explain(node->list[i], "", depth + 1, buf);
    }
}

void weir_jq_explain(const struct weir_jq *program, struct weir_strbuf *buf)
{
    explain(program->body, "", 0, buf);
}

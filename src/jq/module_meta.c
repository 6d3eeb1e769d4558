/* SPDX-License-Identifier: Apache-2.0
 *
 * modulemeta: what a module says about itself, whom it imports and what it defines. The module is
 * found and parsed when the program runs; nothing of it is resolved.
 */
#include "jq/modules.h"
#include "jq/run.h"

/* {search …, as, is_data, relpath} of one import; absent when its metadata is not constant. */
static struct weir_value dependency(const struct jq_build *build, const struct jq_import *import)
{
    struct weir_heap *heap = build->heap;
    struct weir_value meta = weir_object_new(heap, 4);
    if (import->meta != NULL && !jq_module_constant(build, import->meta, &meta)) {
        return (struct weir_value){0};
    }
    if (import->alias.data != NULL) {
        meta = weir_object_set(heap, meta, weir_value_string(WEIR_SLICE("as")),
                               weir_string_new(heap, import->alias));
    }
    meta = weir_object_set(heap, meta, weir_value_string(WEIR_SLICE("is_data")),
                           weir_value_bool(import->is_data));
    return weir_object_set(heap, meta, weir_value_string(WEIR_SLICE("relpath")),
                           weir_string_new(heap, import->path));
}

static struct weir_value describe(const struct jq_build *build, const struct jq_module *module)
{
    struct weir_heap *heap = build->heap;
    struct weir_value meta = weir_object_new(heap, 4), deps = weir_array_new(heap, 4),
                      defs = weir_array_new(heap, 4);
    if (module->meta != NULL && !jq_module_constant(build, module->meta, &meta)) {
        return (struct weir_value){0};
    }
    for (const struct jq_import *import = module->imports; import != NULL; import = import->next) {
        struct weir_value item = dependency(build, import);
        if (weir_value_is_absent(item)) {
            return item;
        }
        deps = weir_array_push(heap, deps, item);
    }
    for (const struct jq_node *node = module->body; node != NULL && node->op == JQ_DEFINE;
         node = node->a) {
        const char *text =
            weir_arena_printf(build->arena, "%.*s/%u", WEIR_SLICE_ARG(node->function->name),
                              (unsigned)node->function->param_count);
        defs = weir_array_push(heap, defs, weir_string_new(heap, weir_slice_of(text)));
    }
    meta = weir_object_set(heap, meta, weir_value_string(WEIR_SLICE("deps")), deps);
    return weir_object_set(heap, meta, weir_value_string(WEIR_SLICE("defs")), defs);
}

struct weir_value jq_module_meta(struct weir_jq_run *run, struct weir_value name)
{
    if (name.kind != WEIR_KIND_STRING) {
        return jq_fail(run, "modulemeta input module name must be a string");
    }
    struct weir_arena arena;
    struct weir_err err = {0};
    struct jq_source source = {.name = "modulemeta", .text = {"", 0}, .line = 1};
    weir_arena_init(&arena, 0);
    struct jq_resolver self = {
        .build = {.arena = &arena, .heap = &run->heap, .source = &source, .err = &err},
        .options = &run->program->modules,
    };
    const struct jq_import import = {.path = weir_arena_copy(&arena, weir_value_text(name))};
    struct weir_value meta = {0};
    const char *path = jq_module_find(&self, &import, NULL);
    if (path != NULL && jq_module_read(&self, &import, path, &source.text)) {
        struct jq_module *module = jq_parse(&self.build);
        meta = module == NULL ? meta : describe(&self.build, module);
    }
    if (weir_value_is_absent(meta)) {
        jq_fail(run, "%s",
                err.message[0] == '\0' ? "module metadata must be constant" : err.message);
    } else {
        weir_release(&run->heap, name);
        struct weir_value copy = weir_heap_copy(&run->heap, meta);
        weir_release(&run->heap, meta);
        meta = copy;
    }
    weir_arena_done(&arena);
    return meta;
}

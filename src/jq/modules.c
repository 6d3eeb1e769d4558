/* SPDX-License-Identifier: Apache-2.0
 *
 * import and include. A module is found under the import's own `search` paths, which are relative
 * to the file that imports, else next to that file and under the search path of the options; as
 * PATH.jq, PATH/jq/main.jq or PATH/NAME.jq. Its definitions are resolved in a scope of their own
 * and then made known, as alias::name or, for include, under their own names.
 */
#include "jq/modules.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "data/freeze.h"
#include "data/reader.h"

#define FILE_MAX ((size_t)256 * 1024 * 1024)

bool jq_build_freeze(const struct jq_build *build,
                     struct weir_value value,
                     struct weir_value *ret_value)
{
    if (weir_value_freeze(build->arena, value, ret_value)) {
        return true;
    }
    jq_build_fail(build, 0, 1, "a constant is nested too deeply");
    return false;
}

/* ── metadata ── */

bool jq_module_constant(const struct jq_build *build,
                        const struct jq_node *node,
                        struct weir_value *ret)
{
    if (node->op == JQ_LITERAL) {
        *ret = node->value;
        return true;
    }
    if (node->op == JQ_ARRAY) {
        struct weir_value array = weir_array_new(build->heap, 4), item;
        const struct jq_node *items = node->a;
        if (items == NULL) {
            *ret = array;
            return true;
        }
        if (items->op == JQ_COMMA) {
            const struct jq_node *left = items->a;
            struct jq_node one = {.op = JQ_ARRAY, .a = items->a};
            if (!jq_module_constant(build, left->op == JQ_COMMA ? &one : left, &item)) {
                return false;
            }
            array = left->op == JQ_COMMA ? item : weir_array_push(build->heap, array, item);
            items = items->b;
        }
        if (!jq_module_constant(build, items, &item)) {
            return false;
        }
        *ret = weir_array_push(build->heap, array, item);
        return true;
    }
    if (node->op != JQ_OBJECT) {
        return false;
    }
    *ret = weir_object_new(build->heap, 4);
    for (uint32_t i = 0; i < node->count; i += 2) {
        struct weir_value key, value;
        if (!jq_module_constant(build, node->list[i], &key) || key.kind != WEIR_KIND_STRING ||
            !jq_module_constant(build, node->list[i + 1], &value)) {
            return false;
        }
        *ret = weir_object_set(build->heap, *ret, key, value);
    }
    return true;
}

/* The paths of `search` in an import's metadata; absent if there is none. */
static bool import_search(struct jq_resolver *self,
                          const struct jq_import *import,
                          struct weir_value *ret_search,
                          bool *ret_optional)
{
    *ret_search = (struct weir_value){0};
    *ret_optional = false;
    if (import->meta == NULL) {
        return true;
    }
    struct weir_value meta;
    if (!jq_module_constant(&self->build, import->meta, &meta)) {
        jq_build_fail(&self->build, import->meta->offset, import->meta->size,
                      "module metadata must be a constant object");
        return false;
    }
    *ret_search = weir_value_get(meta, WEIR_SLICE("search"));
    *ret_optional = weir_value_get(meta, WEIR_SLICE("optional")).kind == WEIR_KIND_TRUE;
    return true;
}

/* ── finding ── */

static const char *path_problem(struct weir_slice path)
{
    if (memchr(path.data, '\0', path.size) != NULL) {
        return "a module path cannot contain NUL";
    }
    if (memchr(path.data, '\\', path.size) != NULL) {
        return "modules are named by relative paths with '/'";
    }
    struct weir_slice before = {NULL, 0};
    const char *at = path.data, *end = path.data + path.size;
    while (at <= end) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        struct weir_slice part = {at, (size_t)((slash == NULL ? end : slash) - at)};
        if (weir_slice_equal(part, WEIR_SLICE(".."))) {
            return "a module path cannot go to a parent folder";
        }
        if (before.data != NULL && weir_slice_equal(part, before)) {
            return "a module path cannot have the same part twice in a row";
        }
        before = part;
        at = slash == NULL ? end + 1 : slash + 1;
    }
    return NULL;
}

static bool is_file(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* folder/PATH.suffix, folder/PATH/jq/main.suffix, folder/PATH/NAME.suffix; NULL if none is there.
 */
static const char *
try_folder(struct jq_resolver *self, const char *folder, struct weir_slice path, const char *suffix)
{
    struct weir_arena *arena = self->build.arena;
    const char *slash = path.data + path.size;
    while (slash > path.data && slash[-1] != '/') {
        slash--;
    }
    int size = (int)path.size, name_size = (int)(path.data + path.size - slash);
    const char *tries[] = {
        weir_arena_printf(arena, "%s/%.*s%s", folder, size, path.data, suffix),
        weir_arena_printf(arena, "%s/%.*s/jq/main%s", folder, size, path.data, suffix),
        weir_arena_printf(arena, "%s/%.*s/%.*s%s", folder, size, path.data, name_size, slash,
                          suffix),
    };
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        if (is_file(tries[i])) {
            return tries[i];
        }
    }
    return NULL;
}

/* The folder of the running program. */
static const char *program_folder(struct jq_resolver *self)
{
    char *path = weir_arena_alloc(self->build.arena, PATH_MAX);
    ssize_t size = path == NULL ? -1 : readlink("/proc/self/exe", path, PATH_MAX - 1);
    if (size <= 0) {
        return ".";
    }
    path[size] = '\0';
    *strrchr(path, '/') = '\0';
    return path;
}

static const char *try_entry(struct jq_resolver *self,
                             const char *entry,
                             const char *origin,
                             struct weir_slice path,
                             const char *suffix)
{
    if (entry[0] == '~' && (entry[1] == '/' || entry[1] == '\0')) {
        const char *home = getenv("HOME");
        entry = weir_arena_printf(self->build.arena, "%s%s", home == NULL ? "" : home, entry + 1);
    } else if (strncmp(entry, "$ORIGIN/", 8) == 0) {
        entry = weir_arena_printf(self->build.arena, "%s%s", program_folder(self), entry + 7);
    } else if (origin != NULL && entry[0] != '/') {
        entry = weir_arena_printf(self->build.arena, "%s/%s", origin, entry);
    }
    return try_folder(self, entry, path, suffix);
}

static const char *find_module(struct jq_resolver *self,
                               const struct jq_import *import,
                               struct weir_value search,
                               const char *origin)
{
    const char *suffix = import->is_data ? ".json" : ".jq";
    const char *found = NULL;
    if (!weir_value_is_absent(search)) {
        struct weir_value_iter iter;
        struct weir_value entry = search;
        weir_value_iter_init(&iter, search);
        while (found == NULL &&
               (search.kind == WEIR_KIND_STRING || weir_value_iter_next(&iter, NULL, &entry))) {
            struct weir_slice text = weir_value_text(entry);
            if (text.data != NULL && text.size > 0) {
                const char *folder = weir_arena_copy(self->build.arena, text).data;
                found = try_entry(self, folder, origin, import->path, suffix);
            }
            if (search.kind == WEIR_KIND_STRING) {
                break;
            }
        }
        return found;
    }
    found = try_folder(self, origin, import->path, suffix);
    for (size_t i = 0; found == NULL && i < self->options->path_count; i++) {
        found = try_entry(self, self->options->paths[i], NULL, import->path, suffix);
    }
    return found;
}

/* ── reading ── */

bool jq_module_read(struct jq_resolver *self,
                    const struct jq_import *import,
                    const char *path,
                    struct weir_slice *ret_text)
{
    FILE *file = fopen(path, "rb");
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, FILE_MAX);
    if (file != NULL) {
        char piece[65536];
        for (size_t size; (size = fread(piece, 1, sizeof piece, file)) > 0;) {
            weir_strbuf_append(&buf, piece, size);
        }
    }
    bool done = file != NULL && !ferror(file) && !buf.failed;
    if (file != NULL) {
        fclose(file);
    }
    *ret_text = weir_arena_copy(self->build.arena, weir_strbuf_view(&buf));
    weir_strbuf_done(&buf);
    if (!done) {
        jq_build_fail(&self->build, import->offset, import->size, "module %s cannot be read", path);
    }
    return done;
}

/* `import "x" as $name;`: all values of the file in an array. */
static bool import_data(struct jq_resolver *self,
                        const struct jq_import *import,
                        const char *path,
                        struct jq_place *place)
{
    struct weir_slice text;
    if (!jq_module_read(self, import, path, &text)) {
        return false;
    }
    struct weir_reader *reader = weir_reader_new(self->build.heap, 0, 0);
    weir_reader_feed(reader, text, true);
    struct weir_value values = weir_array_new(self->build.heap, 4), value;
    enum weir_reader_result result;
    while ((result = weir_reader_next(reader, &value)) == WEIR_READER_VALUE) {
        values = weir_array_push(self->build.heap, values, value);
    }
    if (result == WEIR_READER_ERROR) {
        jq_build_fail(&self->build, import->offset, import->size, "module %s is not JSON: %s", path,
                      weir_reader_message(reader));
    }
    weir_reader_free(reader);
    struct weir_value frozen;
    if (result == WEIR_READER_ERROR || !jq_build_freeze(&self->build, values, &frozen)) {
        return false;
    }
    const char *qualified =
        weir_arena_printf(self->build.arena, "%.*s::%.*s", WEIR_SLICE_ARG(import->alias),
                          WEIR_SLICE_ARG(import->alias));
    place->scope = jq_scope_push(self, place->scope, JQ_SCOPE_CONSTANT, import->alias);
    place->scope->value = frozen;
    place->scope = jq_scope_push(self, place->scope, JQ_SCOPE_CONSTANT, weir_slice_of(qualified));
    place->scope->value = frozen;
    return true;
}

/* Resolves the definitions of a library; *ret_scope: the chain down to `outer`. */
static bool load_library(struct jq_resolver *self,
                         const struct jq_import *import,
                         const char *path,
                         struct jq_scope **ret_scope)
{
    struct weir_slice text;
    if (!jq_module_read(self, import, path, &text)) {
        return false;
    }
    const struct jq_source *outer = self->build.source;
    struct jq_source *source = jq_build_alloc(&self->build, sizeof *source);
    *source = (struct jq_source){.name = path, .text = text, .line = 1};
    self->build.source = source;
    struct jq_module *module = jq_parse(&self->build);
    bool done = module != NULL;
    if (done && module->has_query) {
        jq_build_fail(&self->build, 0, 1, "module %s has more than definitions", path);
        done = false;
    }
    struct jq_place place = {.frame = &self->program->frame};
    char *folder = weir_arena_strdup(self->build.arena, path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    done = done && jq_modules_import(self, module, slash == NULL ? "." : folder, &place);
    struct jq_scope *imported = place.scope;
    for (struct jq_node *node = done ? module->body : NULL;
         done && node != NULL && node->op == JQ_DEFINE; node = node->a) {
        done = jq_resolve_define(self, node->function, &place);
    }
    self->build.source = outer;
    if (!done) {
        jq_build_move_fault(&self->build, import->offset, import->size, path);
    }
    /* What the library imported is its own affair. */
    struct jq_scope *own = NULL;
    for (struct jq_scope *scope = place.scope; scope != imported; scope = scope->up) {
        struct jq_scope *copy = jq_scope_push(self, NULL, scope->kind, scope->name);
        *copy = *scope;
        copy->up = own;
        own = copy;
    }
    *ret_scope = own; /* oldest first */
    return done;
}

static bool import_library(struct jq_resolver *self,
                           const struct jq_import *import,
                           const char *path,
                           struct jq_place *place)
{
    char *real = realpath(path, NULL);
    const char *key = weir_arena_strdup(self->build.arena, real == NULL ? path : real);
    weir_free(real);
    for (uint32_t i = 0; i < self->module_depth; i++) {
        if (strcmp(self->loading[i], key) == 0) {
            jq_build_fail(&self->build, import->offset, import->size, "circular import of %s", key);
            return false;
        }
    }
    if (self->module_depth == sizeof self->loading / sizeof self->loading[0]) {
        jq_build_fail(&self->build, import->offset, import->size, "modules are nested too deeply");
        return false;
    }
    self->loading[self->module_depth++] = key;
    struct jq_scope *own = NULL;
    bool done = load_library(self, import, path, &own);
    self->module_depth--;
    for (; done && own != NULL; own = own->up) {
        struct weir_slice name = own->name;
        if (import->alias.data != NULL) {
            name = weir_slice_of(weir_arena_printf(self->build.arena, "%.*s::%.*s",
                                                   WEIR_SLICE_ARG(import->alias),
                                                   WEIR_SLICE_ARG(own->name)));
        }
        place->scope = jq_scope_push(self, place->scope, own->kind, name);
        place->scope->function = own->function;
        place->scope->frame = own->frame;
    }
    return done;
}

const char *
jq_module_find(struct jq_resolver *self, const struct jq_import *import, const char *origin)
{
    if (self->options == NULL || self->options->paths == NULL) {
        return jq_build_fail(&self->build, import->offset, import->size,
                             "modules cannot be imported here");
    }
    const char *problem = path_problem(import->path);
    if (problem != NULL) {
        return jq_build_fail(&self->build, import->offset, import->size, "%s", problem);
    }
    struct weir_value search;
    bool optional;
    if (!import_search(self, import, &search, &optional)) {
        return NULL;
    }
    const char *main_origin = self->options->origin == NULL ? "." : self->options->origin;
    const char *path = find_module(self, import, search, origin == NULL ? main_origin : origin);
    if (path == NULL && !optional) {
        return jq_build_fail(&self->build, import->offset, import->size, "module not found: %.*s",
                             WEIR_SLICE_ARG(import->path));
    }
    return path;
}

bool jq_modules_import(struct jq_resolver *self,
                       const struct jq_module *module,
                       const char *origin,
                       struct jq_place *place)
{
    for (const struct jq_import *import = module->imports; import != NULL; import = import->next) {
        const char *path = jq_module_find(self, import, origin);
        bool done = path == NULL      ? self->build.err->status == WEIR_OK
                    : import->is_data ? import_data(self, import, path, place)
                                      : import_library(self, import, path, place);
        if (!done) {
            return false;
        }
    }
    return true;
}

bool jq_modules_prelude(struct jq_resolver *self, const char *path, struct jq_place *place)
{
    const struct jq_import import = {.path = weir_slice_of(path)};
    return import_library(self, &import, path, place);
}

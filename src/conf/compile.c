/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines get jq without input, and without $ENV unless they ask for it: a record's result
 * depends on the record, and the environment enters a file by ${VAR}, where it can be seen. Modules
 * are found beside the pipeline file and in the folders that it names.
 */
#include "conf/compile.h"

#include <stdlib.h>

#include <weir/arena.h>
#include <weir/jq.h>

#include "conf/memory.h"
#include "conf/pipeline.h"

static struct weir_jq *compile_program(
    void *context, struct weir_slice text, size_t *ret_start, size_t *ret_end, struct weir_err *err)
{
    const struct weir_jq_place *place = context;
    struct weir_jq_options options = {.answer = true}; /* whether it is known there, a field says */
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    if (place != NULL) {
        size_t count = place->config->path.count;
        const char **paths = weir_conf_alloc(&arena, count + 1, sizeof(*paths));
        for (size_t i = 0; i < count; i++) {
            const char *path = place->config->path.items[i];
            bool fixed = path[0] == '/' || path[0] == '~' || path[0] == '$';
            paths[i] = fixed ? path : weir_arena_printf(&arena, "%s/%s", place->folder, path);
        }
        options.environment = place->config->environment;
        options.paths = paths;
        options.path_count = count;
        options.origin = place->folder;
    }
    struct weir_jq_fault fault = {0};
    struct weir_jq *program = weir_jq_compile(text, &options, &fault, err);
    weir_arena_done(&arena);
    *ret_start = fault.offset;
    *ret_end = fault.offset + fault.size;
    return program;
}

static void release_program(void *context, struct weir_jq *program)
{
    (void)context;
    weir_jq_free(program);
}

static bool has_several(const struct weir_jq *program)
{
    return weir_jq_facts(program).several;
}

static bool reads_answer(const struct weir_jq *program)
{
    return weir_jq_facts(program).uses_answer;
}

const struct weir_compiler weir_jq_compiler = {compile_program, release_program, NULL, has_several,
                                               reads_answer};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Builtins that ask for something outside of the program: the next input, the terminal, the files
 * read. They work in `weir eval`; in a pipeline they are refused when the program is compiled.
 */
#include <stdlib.h>

#include "jq/native.h"

static struct weir_value
input(struct weir_jq_run *run, struct weir_value input_value, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, input_value);
    struct weir_value value = {0};
    struct weir_err err = {0};
    weir_status status =
        run->host.input == NULL ? WEIR_END : run->host.input(run->host.context, &value, &err);
    if (status == WEIR_OK) {
        return value;
    }
    return jq_fail(run, "%s", status == WEIR_END ? "break" : err.message);
}

static struct weir_value
debug(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    if (run->host.debug != NULL) {
        run->host.debug(run->host.context, value);
    }
    return value;
}

static struct weir_value
to_stderr(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    if (run->host.stderr_write != NULL) {
        run->host.stderr_write(run->host.context, value);
    }
    return value;
}

static struct weir_value
input_filename(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, value);
    const char *name =
        run->host.input_filename == NULL ? NULL : run->host.input_filename(run->host.context);
    return name == NULL ? weir_value_null() : jq_text(run, name);
}

static struct weir_value
input_line(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, value);
    uint64_t line = run->host.input_line == NULL ? 0 : run->host.input_line(run->host.context);
    return weir_value_number((double)line);
}

static struct weir_value
halt(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, value);
    run->exit_code = 0;
    run->halt_value = (struct weir_value){0};
    run->failed = JQ_HALTED;
    return (struct weir_value){0};
}

static struct weir_value
halt_error(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    if (arguments[0].kind != WEIR_KIND_NUMBER) {
        return jq_type_error(run, value, "halt_error/1: number required");
    }
    run->exit_code = (int)weir_value_double(arguments[0]);
    run->halt_value = value;
    run->failed = JQ_HALTED;
    return (struct weir_value){0};
}

static struct weir_value
search_list(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    weir_release(&run->heap, value);
    const struct weir_jq_options *modules = &run->program->modules;
    struct weir_value list = weir_array_new(&run->heap, modules->path_count);
    for (size_t i = 0; i < modules->path_count; i++) {
        list = weir_array_push(&run->heap, list, jq_text(run, modules->paths[i]));
    }
    return list;
}

static struct weir_value
module_meta(struct weir_jq_run *run, struct weir_value value, struct weir_value *arguments)
{
    (void)arguments;
    return jq_module_meta(run, value);
}

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("input", 0, input, JQ_EVAL_ONLY | JQ_UNSTABLE, "The next input.", JQ_NO_EXAMPLE),
    JQ_FN("debug", 0, debug, JQ_EVAL_ONLY | JQ_UNSTABLE, "Shows the input and yields it.", JQ_NO_EXAMPLE),
    JQ_FN("stderr", 0, to_stderr, JQ_EVAL_ONLY | JQ_UNSTABLE, "Writes the input as JSON and yields it.", JQ_NO_EXAMPLE),
    JQ_FN("input_filename", 0, input_filename, JQ_EVAL_ONLY | JQ_UNSTABLE, "The file being read.", JQ_NO_EXAMPLE),
    JQ_FN("input_line_number", 0, input_line, JQ_EVAL_ONLY | JQ_UNSTABLE, "The lines read so far.", JQ_NO_EXAMPLE),
    JQ_FN("halt", 0, halt, JQ_EVAL_ONLY | JQ_UNSTABLE, "Ends with code 0.", JQ_NO_EXAMPLE),
    JQ_FN("halt_error", 1, halt_error, JQ_EVAL_ONLY | JQ_UNSTABLE, "Ends with the input as message and this code.", JQ_NO_EXAMPLE),
    JQ_FN("get_search_list", 0, search_list, JQ_EVAL_ONLY, "Where modules are looked for.", JQ_NO_EXAMPLE),
    JQ_FN("modulemeta", 0, module_meta, JQ_EVAL_ONLY | JQ_UNSTABLE, "The metadata of the module named by the input: what it imports and defines.", JQ_NO_EXAMPLE),
};
// clang-format on

JQ_FAMILY(jq_host_natives, table);

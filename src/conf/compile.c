/* SPDX-License-Identifier: Apache-2.0
 *
 * Pipelines get jq without $ENV and without input: a record's result depends on the record, and the
 * environment enters a file by ${VAR}, where it can be seen.
 */
#include "conf/compile.h"

#include <weir/jq.h>

static struct weir_jq *compile_program(
    void *context, struct weir_slice text, size_t *ret_start, size_t *ret_end, struct weir_err *err)
{
    (void)context;
    struct weir_jq_fault fault = {0};
    struct weir_jq *program = weir_jq_compile(text, NULL, &fault, err);
    *ret_start = fault.offset;
    *ret_end = fault.offset + fault.size;
    return program;
}

static void release_program(void *context, struct weir_jq *program)
{
    (void)context;
    weir_jq_free(program);
}

const struct weir_compiler weir_jq_compiler = {compile_program, release_program, NULL};

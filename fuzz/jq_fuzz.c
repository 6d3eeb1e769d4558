/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: no program and no input makes the jq evaluator crash, leak, or go on beyond its limits.
 * Method: libFuzzer gives a program, a NUL byte, and the JSON it runs on. Programs that compile are
 * run twice with small limits, the second time over reused memory; results are printed.
 *
 * Sources: src/jq src/data src/base
 * Links: onig
 * Seeds: fuzz/seeds/jq
 */
#include <stdint.h>
#include <string.h>

#include <weir/jq.h>
#include <weir/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static weir_status print(void *context, struct weir_value value, struct weir_err *err)
{
    (void)err;
    struct weir_strbuf *buf = context;
    weir_strbuf_clear(buf);
    weir_value_write(value, buf, 0);
    return WEIR_OK;
}

static void run(struct weir_jq *program, struct weir_slice json)
{
    struct weir_arena arena;
    struct weir_strbuf buf;
    struct weir_value input = weir_value_null();
    struct weir_err err = {0};
    struct weir_jq_limits limits = {
        .steps = 20000, .depth = 300, .results = 200, .memory_bytes = 4 << 20, .regex_steps = 2000};
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&buf, 1 << 20);
    if (json.size > 0 && weir_json_parse(&arena, json, NULL, &input, &err) != WEIR_OK) {
        input = weir_value_null();
    }
    struct weir_jq_run *evaluation = weir_jq_run_new(&limits);
    for (int i = 0; i < 2; i++) { /* the second time over reused memory */
        weir_err_clear(&err);
        weir_status status = weir_jq_each(evaluation, program, input, print, &buf, &err);
        (void)status;
        weir_jq_run_reset(evaluation);
    }
    weir_jq_run_free(evaluation);
    weir_strbuf_done(&buf);
    weir_arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *nul = size == 0 ? NULL : memchr(text, '\0', size);
    struct weir_slice program = {text, nul == NULL ? size : (size_t)(nul - text)};
    struct weir_slice json = {nul == NULL ? "" : nul + 1,
                              nul == NULL ? 0 : size - program.size - 1};
    struct weir_err err = {0};
    struct weir_jq *compiled = weir_jq_compile(program, NULL, NULL, &err);
    if (compiled != NULL) {
        run(compiled, json);
        weir_jq_free(compiled);
    }
    return 0;
}

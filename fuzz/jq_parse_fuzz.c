/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: no text makes the lexer, the parser or what follows them crash, leak, or report a place
 * outside of the text. Method: libFuzzer gives the text of a program, which is compiled as in a
 * pipeline and as in `weir eval`, by turns; what compiles is explained.
 *
 * Sources: src/jq src/data src/base
 * Links: onig
 * Seeds: fuzz/seeds/jq
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <weir/jq.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const paths[] = {"/nowhere"};
    struct weir_jq_options eval = {
        .eval = true, .environment = true, .paths = paths, .path_count = 1, .origin = "/nowhere"};
    const char *nul = size == 0 ? NULL : memchr(data, '\0', size);
    struct weir_slice text = {(const char *)data,
                              nul == NULL ? size : (size_t)(nul - (const char *)data)};
    struct weir_jq_fault fault = {0};
    struct weir_err err = {0};
    struct weir_jq *program = weir_jq_compile(text, size % 2 == 0 ? &eval : NULL, &fault, &err);
    if (program == NULL) {
        bool told = err.message[0] != '\0' && fault.offset <= text.size && fault.line >= 1;
        if (!told) {
            abort();
        }
        return 0;
    }
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, 1 << 24);
    weir_jq_explain(program, &buf);
    weir_strbuf_done(&buf);
    weir_jq_free(program);
    return 0;
}

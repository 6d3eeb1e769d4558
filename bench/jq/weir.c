/* SPDX-License-Identifier: Apache-2.0
 *
 * Nanoseconds of CPU per document for a jq program in weir: parse, evaluate, print. A filter that
 * forwards would print nothing; here every result is printed, as the peers do it.
 *
 *     weir PROGRAM ROUNDS < DOCUMENT        0 rounds: the results
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <weir/jq.h>
#include <weir/json.h>

/* As the engine: a batch is of so many records, or of so many bytes. */
enum { DOCUMENT_MAX = 1 << 24, BATCH = 500, BATCH_BYTES = 256 * 1024 };

static weir_status show_line(void *context, struct weir_value value, struct weir_err *err)
{
    struct weir_strbuf *buf = context;
    (void)err;
    weir_strbuf_clear(buf);
    weir_value_write(value, buf, WEIR_WRITE_COMPACT);
    printf("%.*s\n", (int)buf->size, buf->data);
    return WEIR_OK;
}

static weir_status print(void *context, struct weir_value value, struct weir_err *err)
{
    struct weir_strbuf *buf = context;
    (void)err;
    weir_strbuf_clear(buf);
    weir_value_write(value, buf, WEIR_WRITE_COMPACT);
    return WEIR_OK;
}

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static char document[DOCUMENT_MAX];
    struct weir_err err = {0};
    struct weir_arena arena;
    struct weir_strbuf buf;
    if (argc != 3) {
        fputs("usage: weir PROGRAM ROUNDS < DOCUMENT\n", stderr);
        return 2;
    }
    struct weir_slice text = {document, fread(document, 1, sizeof document, stdin)};
    struct weir_jq *program = weir_jq_compile(weir_slice_of(argv[1]), NULL, NULL, &err);
    if (program == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
        return 1;
    }
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&buf, SIZE_MAX / 2);
    size_t fit = BATCH_BYTES / (text.size + 1) + 1;
    long batch = fit < BATCH ? (long)fit : BATCH;
    long rounds = strtol(argv[2], NULL, 10);
    bool show = rounds == 0;
    double start = cpu_ns();
    for (long i = 0; i < rounds + show; i++) {
        struct weir_value value;
        if (i % batch == 0) {
            weir_arena_reset(&arena);
            weir_jq_run_reset(run);
        }
        if (weir_json_parse_in_place(&arena, text, NULL, &value, &err) != WEIR_OK ||
            weir_jq_each(run, program, value, show ? show_line : print, &buf, &err) != WEIR_OK) {
            fprintf(stderr, "%s: %s\n", argv[1], err.message);
            return 1;
        }
    }
    if (!show) {
        printf("%.0f\n", (cpu_ns() - start) / (double)rounds);
    }
    weir_strbuf_done(&buf);
    weir_arena_done(&arena);
    weir_jq_run_free(run);
    weir_jq_free(program);
    return 0;
}

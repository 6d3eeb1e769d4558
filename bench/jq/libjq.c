/* SPDX-License-Identifier: Apache-2.0
 *
 * The same for jq's own library.
 *
 *     libjq PROGRAM ROUNDS < DOCUMENT
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jq.h>
#include <jv.h>

enum { DOCUMENT_MAX = 1 << 24 };

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    static char document[DOCUMENT_MAX];
    jq_state *jq = jq_init();
    if (argc != 3 || jq == NULL || !jq_compile(jq, argv[1])) {
        return 2;
    }
    int size = (int)fread(document, 1, sizeof document, stdin);
    long rounds = strtol(argv[2], NULL, 10);
    int show = rounds == 0;
    double start = cpu_ns();
    for (long i = 0; i < rounds + show; i++) {
        jq_start(jq, jv_parse_sized(document, size), 0);
        jv result;
        while (jv_is_valid(result = jq_next(jq))) {
            jv text = jv_dump_string(result, 0);
            if (show) {
                puts(jv_string_value(text));
            }
            jv_free(text);
        }
        jv_free(result);
    }
    if (!show) {
        printf("%.0f\n", (cpu_ns() - start) / (double)rounds);
    }
    jq_teardown(&jq);
    return 0;
}

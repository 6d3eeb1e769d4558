/* SPDX-License-Identifier: Apache-2.0
 *
 * jq's own library for test_differential.py, which describes what goes in and out. Compiled by it
 * against the source tree that tests/support/jq_suite --build leaves.
 */
#include <jq.h>
#include <jv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESULTS_MAX = 100, SECONDS_MAX = 2 };

static void swallow(void *context, jv message)
{
    (void)context;
    jv_free(message);
}

static void print(jv value)
{
    jv text = jv_dump_string(value, 0);
    printf("%s\t", jv_string_value(text));
    jv_free(text);
}

static void run(jq_state *jq, const char *input)
{
    jv value = jv_parse(input);
    if (!jv_is_valid(value)) {
        jv_free(value);
        puts("input");
        return;
    }
    jq_start(jq, value, 0);
    int count = 0;
    jv result = jv_null();
    while (count < RESULTS_MAX && jv_is_valid(result = jq_next(jq))) {
        print(result);
        count++;
    }
    if (count == RESULTS_MAX) {
        puts("and so on");
        return;
    }
    if (jv_invalid_has_msg(jv_copy(result))) {
        fputs("error ", stdout);
        print(jv_invalid_get_msg(result));
    } else {
        jv_free(result);
    }
    puts("");
}

int main(void)
{
    jq_state *jq = NULL;
    int compiled = 0;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t size; (size = getline(&line, &room, stdin)) > 0;) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == 'P') {
            fflush(stdout);
            alarm(SECONDS_MAX);
            jq_teardown(&jq);
            jq = jq_init();
            jq_set_error_cb(jq, swallow, NULL);
            compiled = jq_compile(jq, line + 1);
        } else if (compiled) {
            run(jq, line + 1);
        } else {
            puts("compile");
        }
    }
    free(line);
    jq_teardown(&jq);
    return 0;
}

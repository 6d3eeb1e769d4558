/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what an error reply of Redis means for the pipeline is decided by its first word: wait,
 * stop, or blame the record. Method: the replies as a server words them, and the class of each.
 */
#include "components/redis/redis_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text;
    enum weir_class class;
} replies[] = {
    {"LOADING Redis is loading the dataset in memory", WEIR_CLASS_UNAVAILABLE},
    {"READONLY You can't write against a read only replica.", WEIR_CLASS_UNAVAILABLE},
    {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
     WEIR_CLASS_UNAVAILABLE},
    {"CLUSTERDOWN The cluster is down", WEIR_CLASS_UNAVAILABLE},
    {"TRYAGAIN Multiple keys request during rehashing of slot", WEIR_CLASS_UNAVAILABLE},
    {"OOM command not allowed when used memory > 'maxmemory'.", WEIR_CLASS_UNAVAILABLE},
    {"MISCONF Redis is configured to save RDB snapshots", WEIR_CLASS_UNAVAILABLE},
    {"NOREPLICAS Not enough good replicas to write.", WEIR_CLASS_UNAVAILABLE},
    {"BUSY Redis is busy running a script.", WEIR_CLASS_UNAVAILABLE},
    {"NOGROUP No such key 's' or consumer group 'g'", WEIR_CLASS_UNAVAILABLE},
    {"MOVED 3999 127.0.0.1:6381", WEIR_CLASS_UNAVAILABLE},
    {"ASK 3999 127.0.0.1:6381", WEIR_CLASS_UNAVAILABLE},
    {"NOPERM this user has no permissions to run the 'xadd' command", WEIR_CLASS_FATAL},
    {"NOAUTH Authentication required.", WEIR_CLASS_FATAL},
    {"WRONGPASS invalid username-password pair or user is disabled.", WEIR_CLASS_FATAL},
    {"WRONGTYPE Operation against a key holding the wrong kind of value", WEIR_CLASS_PERMANENT},
    {"ERR value is not an integer or out of range", WEIR_CLASS_PERMANENT},
    {"LOADINGS is another word", WEIR_CLASS_PERMANENT},
    {"", WEIR_CLASS_PERMANENT},
};

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s", replies[i].text);
        const redisReply reply = {.type = REDIS_REPLY_ERROR, .str = text, .len = strlen(text)};
        struct weir_err err = {0};
        weir_status status = redis_fail(&err, "orders", NULL, &reply);
        if (weir_status_class(status) != replies[i].class) {
            fail_msg("\"%s\" is %s", text, weir_status_name(status));
        }
        assert_non_null(strstr(err.message, text));
    }
}

static void test_no_answer_is_waited_for(void **state)
{
    (void)state;
    struct weir_err err = {0};
    assert_int_equal(redis_fail(&err, "orders", NULL, NULL), WEIR_UNAVAILABLE);
    const redisReply strange = {.type = REDIS_REPLY_ARRAY};
    weir_err_clear(&err);
    assert_int_equal(weir_status_class(redis_fail(&err, "orders", NULL, &strange)),
                     WEIR_CLASS_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_no_answer_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

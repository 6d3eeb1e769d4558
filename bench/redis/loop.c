/* SPDX-License-Identifier: Apache-2.0
 *
 * What anybody would write with hiredis: the same work as weir's, without weir. loop PORT MODE
 * COUNT
 *
 *     add        XADD of 100 bytes, 500 to a pipeline, two pipelines under way
 *     read       XREAD by position, 500 at a time
 *     group      XREADGROUP, XACK
 *     copy       XREADGROUP, 500 XADD, XACK
 *     exact      XREAD, then WATCH, check, MULTI, 500 XADD, SET, EXEC
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

enum { BATCH = 500 };
static redisContext *context;

static redisReply *answer(void)
{
    void *reply = NULL;
    if (redisGetReply(context, &reply) != REDIS_OK ||
        ((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
        fprintf(stderr, "loop: %s\n", reply == NULL ? context->errstr : ((redisReply *)reply)->str);
        exit(1);
    }
    return reply;
}

static void answers(int count)
{
    for (int i = 0; i < count; i++) {
        freeReplyObject(answer());
    }
}

static void add(const char *value, size_t size)
{
    const char *line[] = {"XADD", "out", "*", "v", value};
    size_t sizes[] = {4, 3, 1, 1, size};
    redisAppendCommandArgv(context, 5, line, sizes);
}

static void mode_add(long count)
{
    char value[100];
    memset(value, 'x', sizeof(value));
    long sent = 0, done = 0;
    while (done < count) {
        for (int i = 0; i < BATCH && sent < count; i++, sent++) {
            add(value, sizeof(value));
        }
        int written = 0;
        while (!written) {
            redisBufferWrite(context, &written);
        }
        if (sent - done > BATCH || sent == count) {
            answers(BATCH);
            done += BATCH;
        }
    }
}

static redisReply *entries(redisReply *reply)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 ? reply->element[0]->element[1]
                                                                    : NULL;
}

static void put_outputs(const redisReply *list)
{
    for (size_t i = 0; i < list->elements; i++) {
        const redisReply *value = list->element[i]->element[1]->element[1];
        add(value->str, value->len);
    }
}

static void put_ack(const redisReply *list)
{
    const char *line[3 + BATCH] = {"XACK", "in", "loop"};
    for (size_t i = 0; i < list->elements; i++) {
        line[3 + i] = list->element[i]->element[0]->str;
    }
    redisAppendCommandArgv(context, 3 + (int)list->elements, line, NULL);
}

static void put_commit(const redisReply *list, const char *old, const char *new)
{
    static const char check[] = "if redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end\n"
                                "redis.call('SET', KEYS[1], 'stale') return 0";
    redisAppendCommand(context, "WATCH at");
    redisAppendCommand(context, "EVAL %s 1 at %s", check, old);
    redisAppendCommand(context, "MULTI");
    put_outputs(list);
    redisAppendCommand(context, "SET at %s", new);
    redisAppendCommand(context, "EXEC");
}

static void mode_read(const char *mode, long count)
{
    char last[64] = "0-0", next[64];
    int exact = strcmp(mode, "exact") == 0, copy = strcmp(mode, "copy") == 0;
    int grouped = copy || strcmp(mode, "group") == 0;
    if (grouped) {
        freeReplyObject(redisCommand(context, "XGROUP CREATE in loop 0"));
    }
    if (exact) {
        freeReplyObject(redisCommand(context, "SET at 0-0"));
    }
    for (long done = 0; done < count;) {
        redisReply *reply =
            grouped ? redisCommand(context, "XREADGROUP GROUP loop me COUNT 500 STREAMS in >")
                    : redisCommand(context, "XREAD COUNT 500 STREAMS in %s", last);
        redisReply *list = entries(reply);
        if (list == NULL) {
            fprintf(stderr, "loop: no entries\n");
            exit(1);
        }
        int size = (int)list->elements;
        snprintf(next, sizeof(next), "%s", list->element[size - 1]->element[0]->str);
        if (exact) {
            put_commit(list, last, next);
            answers(size + 5);
        } else if (grouped) {
            if (copy) {
                put_outputs(list);
            }
            put_ack(list);
            answers(1 + (copy ? size : 0));
        }
        memcpy(last, next, sizeof(last));
        done += size;
        freeReplyObject(reply);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        return 2;
    }
    context = redisConnect("127.0.0.1", (int)strtol(argv[1], NULL, 10));
    if (context == NULL || context->err != 0) {
        return 1;
    }
    if (strcmp(argv[2], "add") == 0) {
        mode_add(strtol(argv[3], NULL, 10));
    } else {
        mode_read(argv[2], strtol(argv[3], NULL, 10));
    }
    redisFree(context);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * hiredis lets the maker of replies be replaced; what is made here are its own redisReply objects,
 * so that whoever reads them sees no difference.
 */
#include "redis_answer.h"

#include <string.h>

#include "base/alloc.h"

static void *take_object(const redisReadTask *task, size_t more, char **ret_more)
{
    struct redis_answers *self = task->privdata;
    if (self->filling == NULL) {
        self->filling = weir_calloc(1, sizeof(*self->filling));
        atomic_init(&self->filling->refs, 1);
        weir_arena_init(&self->filling->arena, 0);
    }
    redisReply *reply = weir_arena_alloc(&self->filling->arena, sizeof(*reply) + more);
    if (reply == NULL) {
        return NULL;
    }
    memset(reply, 0, sizeof(*reply));
    reply->type = task->type;
    *ret_more = (char *)(reply + 1);
    if (task->parent != NULL) {
        redisReply *parent = task->parent->obj;
        parent->element[task->idx] = reply;
    }
    return reply;
}

static void *make_string(const redisReadTask *task, char *text, size_t size)
{
    char *more;
    redisReply *reply = take_object(task, size + 1, &more);
    if (reply != NULL) {
        memcpy(more, text, size);
        more[size] = '\0';
        reply->str = more;
        reply->len = size;
    }
    return reply;
}

static void *make_array(const redisReadTask *task, size_t elements)
{
    char *more;
    redisReply *reply = take_object(task, elements * sizeof(redisReply *), &more);
    if (reply != NULL) {
        reply->element = (redisReply **)(void *)more;
        reply->elements = elements;
        memset((void *)reply->element, 0, elements * sizeof(redisReply *));
    }
    return reply;
}

static void *make_integer(const redisReadTask *task, long long integer)
{
    char *more;
    redisReply *reply = take_object(task, 0, &more);
    if (reply != NULL) {
        reply->integer = integer;
    }
    return reply;
}

static void *make_double(const redisReadTask *task, double number, char *text, size_t size)
{
    redisReply *reply = make_string(task, text, size);
    if (reply != NULL) {
        reply->dval = number;
    }
    return reply;
}

static void *make_nil(const redisReadTask *task)
{
    char *more;
    redisReply *reply = take_object(task, 0, &more);
    if (reply != NULL) {
        reply->type = REDIS_REPLY_NIL;
    }
    return reply;
}

static void *make_bool(const redisReadTask *task, int value)
{
    return make_integer(task, value);
}

/* A reply that was begun when the connection broke stays where it is. */
static void free_object(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions functions = {
    .createString = make_string,
    .createArray = make_array,
    .createInteger = make_integer,
    .createDouble = make_double,
    .createNil = make_nil,
    .createBool = make_bool,
    .freeObject = free_object,
};

void redis_answers_use(struct redis_answers *self, redisContext *context)
{
    context->reader->fn = &functions;
    context->reader->privdata = self;
}

struct redis_answer *redis_answers_take(struct redis_answers *self)
{
    struct redis_answer *answer = self->filling;
    self->filling = NULL;
    return answer;
}

void redis_answers_done(struct redis_answers *self)
{
    redis_answer_unref(redis_answers_take(self));
}

void redis_answer_ref(struct redis_answer *answer)
{
    atomic_fetch_add_explicit(&answer->refs, 1, memory_order_relaxed); /* whoever calls has one */
}

void redis_answer_unref(struct redis_answer *answer)
{
    /* Acquire and release: the last one frees what the others have read. */
    if (answer != NULL && atomic_fetch_sub_explicit(&answer->refs, 1, memory_order_acq_rel) == 1) {
        weir_arena_done(&answer->arena);
        weir_free(answer);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer of the server in memory of its own: hiredis makes ten allocations for an entry of a
 * stream, and freeing them, on another thread and out of order, costs more than everything else.
 * Here all objects of an answer lie in one arena that dies with the last reference.
 *
 * On a connection that was switched over, replies are freed with redis_answer_free, never with
 * freeReplyObject.
 */
#ifndef WEIR_REDIS_ANSWER_H
#define WEIR_REDIS_ANSWER_H

#include <hiredis/hiredis.h>
#include <stdatomic.h>

#include <weir/arena.h>

struct redis_answer {
    atomic_uint refs;
    struct weir_arena arena;
};

/* The reading side of a connection. One thread. */
struct redis_answers {
    struct redis_answer *filling; /* NULL: none is begun */
};

/* From now on the connection's replies come from arenas. `self` outlives the connection. */
void redis_answers_use(struct redis_answers *self, redisContext *context);
/* After a reply was got: whose memory it is, with the one reference. NULL reply: NULL. */
struct redis_answer *redis_answers_take(struct redis_answers *self);
void redis_answers_done(struct redis_answers *self);
void redis_answer_ref(struct redis_answer *answer);
/* Any thread. answer may be NULL. */
void redis_answer_unref(struct redis_answer *answer);

#endif

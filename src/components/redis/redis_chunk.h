/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer of the server that holds entries of a stream. It is kept as it came: records point
 * into it. Referenced by the window of a source and by the lane's batches, from any thread.
 */
#ifndef WEIR_REDIS_CHUNK_H
#define WEIR_REDIS_CHUNK_H

#include "redis_answer.h"
#include "redis_source.h"
#include "source/window.h"

/* An entry of an answer. Key and value lie in the answer, or in the chunk's text. */
struct redis_entry {
    const redisReply *id;
    struct weir_slice key, value; /* while the text grows, the value is an offset and a size */
    int64_t spent; /* it was delivered so often in vain: not to be processed; 0: it is */
};

struct redis_chunk {
    struct weir_chunk base; /* first: what the window holds */
    struct redis_answer *answer;
    struct weir_strbuf text; /* entries as JSON objects */
    int64_t given_ns;        /* shared: when the server was told last that they are under way */
    struct redis_entry entries[];
};

/* Entries of an answer, which it keeps alive; room for so many. One reference. */
struct redis_chunk *redis_chunk_new(struct redis_answer *answer, size_t room);
/* An entry (id, fields) of the reply. */
void redis_chunk_add(const struct redis_source_config *config,
                     struct redis_chunk *chunk,
                     const redisReply *item);
/* After the last. */
void redis_chunk_finish(const struct redis_source_config *config, struct redis_chunk *chunk);
/* Hands entries [*next, …) of the chunk to the lane, at most max; moves *next. */
size_t redis_chunk_deliver(struct weir_chunk *chunk,
                           struct weir_intake *intake,
                           struct weir_partition *part,
                           int64_t *next,
                           size_t max);
extern const struct weir_batch_origin redis_chunk_origin;

bool redis_reply_is_list(const redisReply *reply);
/* Behind a name in a list of names and values, as XINFO answers; NULL: an old server does not say. */
const redisReply *redis_reply_find(const redisReply *reply, const char *name);
/* Is it (id, fields)? Deleted entries are not. */
bool redis_reply_is_entry(const redisReply *reply);
struct weir_slice redis_reply_slice(const redisReply *reply);

#endif

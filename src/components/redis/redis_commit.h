/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream that this process has the lease of, and how what was done with it is committed: outputs,
 * state and position in one EXEC, that the server answers with nil if anybody else has touched the
 * position. Keys beside the stream's (redis_lease.h says how they are named):
 *
 *     …:position   "w1:NONCE:TOKEN:EPOCH:COUNT:ID": whose it is, how many entries were read, the
 * last …:state      stream: the frames of the task's state
 *
 * Weir numbers entries: the position of a partition is COUNT, what `entries-read` is for the
 * server.
 *
 * Adopting: whoever takes the lease writes its nonce and token into the position, once, which ends
 * what its predecessor has under way. Committing compares the whole text, epoch included, so an
 * answer that got lost is asked for again: the commit finds its own text and stands.
 */
#ifndef WEIR_REDIS_COMMIT_H
#define WEIR_REDIS_COMMIT_H

#include "redis_chunk.h"
#include "redis_lease.h"
#include "redis_reader.h"
#include "source/leased.h"

enum { REDIS_POSITION_MAX = 160 };
/* What a task's commit should hold at most. It grows a batch beyond. */
enum { REDIS_COMMIT_BYTES = 2 << 20, REDIS_COMMIT_COMMANDS = 10000 };

struct redis_position {
    uint64_t nonce, token, epoch;
    int64_t count;
    char id[REDIS_ID_MAX];
};

struct redis_part {
    struct weir_leased_part base; /* first; topic is `stream` */
    const char *group;
    char stream[REDIS_NAME_MAX + 24];
    char tag[REDIS_NAME_MAX + 24];
    char position_key[REDIS_KEY_MAX], state_key[REDIS_KEY_MAX];

    /* control */
    struct redis_position at;  /* what stands at the server */
    bool is_groupless;         /* the group was deleted: to be made again */
    /* Where it was adopted: what was read or committed elsewhere need not follow on it. */
    char server[REDIS_SERVER_MAX];
    uint64_t state_next;       /* first part of the id of the next frames */
    struct weir_strbuf frames; /* commands of the open epoch */
    size_t frame_count;

    /* lane; control while no lane writes */
    struct weir_strbuf outputs; /* commands of the open epoch */
    size_t output_count;
    int64_t next; /* number of the entry that is delivered next */

    /* the reader's lock */
    struct redis_reader *reader;
    struct weir_window window;
    bool is_elsewhere; /* the reader came upon another server: the tenure is to end */
    bool is_read;  /* it is this process's, to read from: base.part is valid */
    int64_t shift; /* of our numbers against the server's count of entries added */
    char read_id[REDIS_ID_MAX];
};

/* How the streams of a source, and the keys beside them, are called. */
enum { REDIS_KEYS_NAME_MAX = 2 * REDIS_NAME_MAX + 2 };
void redis_keys_name(char name[REDIS_KEYS_NAME_MAX], const char *group, const char *stream);
void redis_part_name(struct redis_part *part,
                     const struct redis_source_config *config,
                     const char *group,
                     int32_t index);
/* False: it is none. */
bool redis_position_parse(const char *text, struct redis_position *ret);

/* What XINFO STREAM says; all zero when there is no stream. */
struct redis_counts {
    int64_t added, length;
    char last[REDIS_ID_MAX];
};
weir_status redis_stream_counts(redisContext *context,
                                const char *stream,
                                struct redis_counts *ret,
                                struct weir_err *err);
/* Adds how many entries there are up to the id, but at most `max`; last (may be NULL): the id of
 * the last one counted. Goes through them. */
weir_status redis_count_until(redisContext *context,
                              const char *stream,
                              const char *id,
                              int64_t max,
                              int64_t *count,
                              char last[REDIS_ID_MAX],
                              struct weir_err *err);

enum redis_outcome {
    REDIS_OUTCOME_UNKNOWN,
    REDIS_OUTCOME_STANDS,
    REDIS_OUTCOME_REFUSED, /* as a whole, nothing was done */
    REDIS_OUTCOME_OVER,    /* the tenure is over, nothing was done */
    REDIS_OUTCOME_TORN,    /* some of the commands failed, the rest stands */
};

struct redis_commit_item {
    struct redis_part *part;
    struct redis_position next; /* what is to stand */
    enum redis_outcome outcome;
    redisContext *context; /* where it was sent in this try; NULL: it was not */
    bool is_sent;          /* in any */
    struct weir_err err;
};

/* Makes the position of a task this tenure's; finds out where it begins if there is none yet.
 * WEIR_FENCED: a later tenure has it. control. */
weir_status redis_part_adopt(struct redis_part *part,
                             redisContext *context,
                             const struct weir_moment *start,
                             uint64_t nonce,
                             uint64_t token,
                             struct weir_err *err);
/* The position behind so many entries, which are in the window. Under the source's lock. */
struct redis_position redis_part_next(const struct redis_part *part, int64_t count);
/* The group shows others how far reading is; makes it if it is not there. control. */
weir_status
redis_part_make_group(struct redis_part *part, redisContext *context, struct weir_err *err);
/* Commits each item that has not been yet, in one round trip. The nodes are dropped when anything
 * is wrong with them. Outcomes are in the items; fails when one does not stand. control. */
weir_status redis_commit(struct redis_nodes *nodes,
                         struct redis_commit_item *items,
                         size_t count,
                         int64_t deadline_ns,
                         const struct weir_clock *clock,
                         struct weir_err *err);

#endif

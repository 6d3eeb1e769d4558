/* SPDX-License-Identifier: Apache-2.0
 *
 * Whose a task is, how far it is, and its state: one subject of a stream of weir's own, on which
 * every message expects the last one. Whoever takes a task appends an owner record first; from then
 * on whatever its predecessor appends is refused by the server.
 *
 *     o NONCE TOKEN                   a tenure begins
 *     f BYTES                         a frame of the state, of the commit that follows
 *     c NONCE TOKEN EPOCH POSITION    what stands: the frames before it, and this position
 *     a NONCE TOKEN POSITION STREAM   the task's log is in that stream, from this position on
 *
 * Frames without their `c` are of a commit that never was. One thread at a time: control, or the
 * desk of its source (nats_positioned.c).
 */
#ifndef WEIR_NATS_LOG_H
#define WEIR_NATS_LOG_H

#include "nats_batch.h"

/* What a frame has at most: a server takes 1 MiB, unless it is told otherwise. With less than the
 * least, state would be all frames. */
enum { NATS_FRAME_BYTES_MAX = 512 * 1024, NATS_FRAME_BYTES_MIN = 4096, NATS_FRAME_HEAD = 2 };

struct nats_log {
    const char *stream; /* borrowed */
    char subject[NATS_SUBJECT_MAX];
    uint64_t nonce, token, epoch;
    uint64_t last;    /* sequence of the subject's last message: what the next one expects */
    int64_t position; /* what stands; -1: nothing was ever committed */
    uint64_t commits; /* since the subject was cut */
    struct weir_strbuf *frames;
    size_t frame_count;

    /* Not NULL: the log lies in this stream, and each commit is one batch with these outputs. */
    const struct nats_target *target;
    struct nats_batch outputs; /* lane; control while no lane writes */
    size_t timed;              /* of them, how many came of time passing */
};

/* Which subject of which stream it is. ret_stream: NATS_NAME_MAX + 8, outlives the log. */
void nats_log_name(struct nats_log *log,
                   const char *pipeline,
                   const char *source,
                   int32_t index,
                   char *ret_stream);
/* The stream of that name with those subjects, made if need be. *ret_payload: what a message of it
 * has room for. */
WEIR_MUST_USE weir_status nats_log_make_stream(struct nats_client *client,
                                               const char *stream,
                                               const char *subjects,
                                               size_t *ret_payload,
                                               struct weir_err *err);
/* Begins a tenure, and finds out what stands. WEIR_FENCED: a later tenure has begun. */
WEIR_MUST_USE weir_status nats_log_adopt(struct nats_log *log,
                                         struct nats_client *client,
                                         uint64_t nonce,
                                         uint64_t token,
                                         struct weir_err *err);
/* The log goes on in the stream of `to`, a log with a target: what stands here becomes
 * *ret_position
 * (-1: nothing), for when there is nothing there. WEIR_CONFIG: it went to another one, or there is
 * state. */
WEIR_MUST_USE weir_status nats_log_hand_over(struct nats_log *log,
                                             struct nats_client *client,
                                             const struct nats_log *to,
                                             bool has_state,
                                             int64_t *ret_position,
                                             struct weir_err *err);
/* What stands, without beginning a tenure; -1: nothing, also when there is no such stream. */
WEIR_MUST_USE weir_status nats_log_look(struct nats_log *log,
                                        struct nats_client *client,
                                        int64_t *ret_position,
                                        struct weir_err *err);
/* After nats_log_look: if the log went on in another stream, it is that one from now on.
 * ret_stream: NATS_NAME_MAX + 8, outlives the log. */
WEIR_MUST_USE weir_status nats_log_follow(struct nats_log *log,
                                          struct nats_client *client,
                                          char *ret_stream,
                                          struct weir_err *err);
/* Begins a tenure from outside, while nobody has one. */
WEIR_MUST_USE weir_status nats_log_adopt_idle(struct nats_log *log,
                                              struct nats_client *client,
                                              struct weir_err *err);
/* Hands over the frames that stand, oldest first. After nats_log_adopt or nats_log_look. */
WEIR_MUST_USE weir_status nats_log_restore(struct nats_log *log,
                                           struct nats_client *client,
                                           weir_status (*take)(void *context,
                                                               struct weir_slice entry,
                                                               struct weir_err *err),
                                           void *context,
                                           struct weir_err *err);
/* Where a log with a target lies. */
void nats_log_name_in(struct nats_log *log,
                      const char *pipeline,
                      const char *source,
                      int32_t index,
                      const struct nats_target *target);
/* A frame of the next commit. */
void nats_log_append(struct nats_log *log, struct weir_slice entry);
void nats_log_forget(struct nats_log *log); /* and the outputs */
/* Sends the frames that there are; they stand with the commit. As nats_log_commit otherwise. */
WEIR_MUST_USE weir_status nats_log_flush(struct nats_log *log,
                                         struct nats_client *client,
                                         struct weir_err *err);
/* Appends the frames and the position. WEIR_FENCED: the tenure is over, nothing of it stands.
 * WEIR_UNKNOWN: cannot tell. Others: nothing of it stands, and it may be tried again. */
WEIR_MUST_USE weir_status nats_log_commit(struct nats_log *log,
                                          struct nats_client *client,
                                          int64_t position,
                                          struct weir_err *err);
/* Nothing before that sequence is needed any more. */
WEIR_MUST_USE weir_status nats_log_cut(struct nats_log *log,
                                       struct nats_client *client,
                                       uint64_t before,
                                       struct weir_err *err);

#endif

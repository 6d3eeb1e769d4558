/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands on their way to a server. Lanes append them, in the protocol's form, to a buffer that
 * they share; a thread sends the buffer and counts the answers. While answers to one part of the
 * stream are on their way the next part is being sent. In a cluster the thread gives each node its
 * commands, round by round.
 *
 * Commands are numbered. `answered` reaches the number that was sealed: the epoch is confirmed. An
 * answer that is an error, or a connection that breaks with answers outstanding, is the failure of
 * the epoch: it is aborted and written again, so a command may be applied twice, never not at all.
 *
 *        answered        sent           written
 *     ──────┬──────────────┬───────────────┬──▶ commands
 *           │ on their way │ in the buffer │
 *
 * An abort drops the buffer. What is on its way is answered to nobody: numbers up to `ignored`.
 */
#ifndef WEIR_REDIS_SENDER_H
#define WEIR_REDIS_SENDER_H

#include "base/thread.h"
#include "redis_answer.h"
#include "redis_topology.h"
#include "sink/delivery.h"

enum { REDIS_COMMAND_BYTES_MAX = 512 << 20 };

struct redis_sender {
    const struct redis_connection *connection;
    const char *stream; /* that all commands add to; NULL: they differ */
    struct weir_ctx *ctx;
    int wake_fd;
    struct weir_thread thread;
    struct redis_answers answers; /* the thread's */

    struct weir_delivery delivery; /* its lock guards what follows */
    struct weir_strbuf buffer;
    uint64_t sent, ignored;
};

/* control. In a transaction there is no thread, as nothing is written here. To be closed also when
 * it fails. WEIR_FATAL: the system has nothing left. */
WEIR_MUST_USE weir_status redis_sender_open(struct redis_sender *self,
                                            const struct redis_connection *connection,
                                            const char *stream,
                                            struct weir_ctx *ctx,
                                            struct weir_err *err);
void redis_sender_close(struct redis_sender *self);
void redis_sender_abort(struct redis_sender *self);

/* lane. Appends the records' targets from *cursor on; WEIR_AGAIN: the buffer is full. */
WEIR_MUST_USE weir_status redis_sender_write(struct redis_sender *self,
                                             struct weir_record *const *records,
                                             size_t count,
                                             size_t *cursor);

#endif

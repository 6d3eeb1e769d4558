/* SPDX-License-Identifier: Apache-2.0
 *
 * What the domain needs of a source that reads by position. control.
 */
#ifndef WEIR_NATS_POSITIONED_H
#define WEIR_NATS_POSITIONED_H

#include "nats_log.h"

struct nats_positioned;

/* Commits `closing` of those partitions that moved, or have frames; stands (may be NULL): which do,
 * when not all do. Fails otherwise. */
weir_status nats_positioned_commit(struct nats_positioned *self,
                                   struct weir_partition *const *items,
                                   size_t count,
                                   bool *stands,
                                   struct weir_err *err);
/* Forgets the frames of the open epoch. */
void nats_positioned_abort(struct nats_positioned *self);
/* The log of that number; its lease may be another's. */
struct nats_log *nats_positioned_log(struct nats_positioned *self, int32_t index);
/* A connection for questions and commits; NULL and err on failure. */
struct nats_client *nats_positioned_client(struct nats_positioned *self, struct weir_err *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A source that is read by position under leases: each part of it (a stream, a partition of one) is
 * read by the process that has its lease (base/lease.h), from the position that stands at the
 * system. What stands is the system's word: whoever takes a part ends what a predecessor has under
 * way there before it reads, and a commit of which nobody knows whether it stands ends the tenure,
 * so that it is found out anew.
 *
 *     FREE ──lease──▶ adopt ──assigned──▶ begin … read, commit … ──revoked──▶ pause, end ──▶ FREE
 *
 * A source's struct begins with a weir_leased, each of its parts with a weir_leased_part, which is
 * also the source_data of its partition. Everything here is control's.
 */
#ifndef WEIR_SOURCE_LEASED_H
#define WEIR_SOURCE_LEASED_H

#include <weir/component.h>

#include "base/keeper.h"

struct weir_leased_part {
    int32_t index;
    const char *topic;           /* what users know it by; outlives the part */
    struct weir_partition *part; /* NULL: not this process's */
    bool is_over;    /* a commit found out that the tenure is over, or cannot tell what stands */
    bool is_leaving; /* given back as soon as the engine lets it go */
};

/* What is the system's own. self: the source's struct. */
struct weir_leased_ops {
    /* Before the start: the sinks (their instances) whose outputs are part of its commits. NULL:
     * any will do. */
    weir_status (*join)(void *self, void *const *sinks, size_t count, struct weir_err *err);
    /* Makes what stands this tenure's, and says where it is; -1 never. WEIR_AGAIN: under way, to be
     * asked again with the same token, or with another when the lease was lost meanwhile; wakes
     * control. WEIR_FENCED: a later tenure has begun. */
    weir_status (*adopt)(void *self,
                         struct weir_leased_part *part,
                         uint64_t token,
                         int64_t *ret_position,
                         struct weir_err *err);
    /* It is assigned: reading begins at that position. */
    weir_status (*begin)(void *self,
                         struct weir_leased_part *part,
                         int64_t position,
                         struct weir_err *err);
    /* Lanes get nothing more of it. A commit follows, unless it is lost. */
    void (*pause)(void *self, struct weir_leased_part *part);
    /* It is revoked: forgets what was read ahead, and the open epoch's part. */
    void (*end)(void *self, struct weir_leased_part *part);
    /* Often, while it is this process's. */
    weir_status (*serve)(void *self, struct weir_leased_part *part, struct weir_err *err);
    /* Commits `closing` of those partitions that moved, or have something in the open epoch; stands
     * (may be NULL): which do, when not all do. WEIR_AGAIN: under way, to be asked again with the
     * same ones, or with others when that epoch was aborted; wakes control. Fails otherwise. */
    weir_status (*commit)(void *self,
                          struct weir_partition *const *items,
                          size_t count,
                          bool *stands,
                          int64_t timeout_ms,
                          struct weir_err *err);
    /* Forgets what the open epoch would commit with the part's position. It may be nobody's. */
    void (*forget)(void *self, struct weir_leased_part *part);

    /* The state of a task lies beside its position: see weir_state_log_ops. */
    size_t frame_bytes_max; /* of an entry, unless the system takes less */
    weir_status (*state_restore)(void *self,
                                 struct weir_leased_part *part,
                                 weir_status (*take)(void *context,
                                                     struct weir_slice entry,
                                                     struct weir_err *err),
                                 void *context,
                                 struct weir_err *err);
    void (*state_append)(void *self, struct weir_leased_part *part, struct weir_slice entry);
    int64_t (*state_place)(void *self, struct weir_leased_part *part);
    weir_status (*state_cut)(void *self,
                             struct weir_leased_part *part,
                             int64_t place,
                             struct weir_err *err);
};

struct weir_leased_settings {
    const struct weir_leased_ops *ops;
    struct weir_ctx *ctx;
    void *parts; /* the source's: part_count of them, of part_size bytes */
    size_t part_size;
    uint32_t part_count;
    const struct weir_lease_medium *medium;
    void *medium_self;
    uint64_t nonce;
    int64_t ttl_ms;
};

struct weir_leased {
    struct weir_leased_settings settings;
    struct weir_leases *leases;
    struct weir_keeper keeper;
    bool is_known;          /* the engine was told what this process has */
    int64_t tried_ns;       /* when adopting failed last */
    size_t frame_bytes_max; /* the ops', or less: known when a part is adopted */
    struct weir_link link;
};

enum { WEIR_LEASED_TTL_MS = 10000 }; /* when nothing else is said */

WEIR_MUST_USE weir_status weir_leased_init(struct weir_leased *self,
                                           const struct weir_leased_settings *settings,
                                           struct weir_err *err);
/* Accepts one that init failed for. */
void weir_leased_done(struct weir_leased *self);
/* The part of that number; its lease may be another's. */
struct weir_leased_part *weir_leased_part(const struct weir_leased *self, uint32_t index);

/* weir_source_ops; self is the source's struct. */
WEIR_MUST_USE weir_status weir_leased_start(void *self, struct weir_err *err);
WEIR_MUST_USE weir_status weir_leased_poll(void *self, struct weir_err *err);
WEIR_MUST_USE weir_status weir_leased_commit(void *self,
                                             struct weir_partition *const *items,
                                             size_t count,
                                             struct weir_err *err);
void weir_leased_stop(void *self);

/* One epoch, many commits: each task's is its own. The domain of sources whose instance is a struct
 * weir_modal (source/modal.h) in a mode that begins with a weir_leased. */
extern const struct weir_domain_ops weir_leased_domain_ops;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Positions from outside: what `weir lag` and `weir positions` ask of a source that is not open,
 * and that may be running in another process meanwhile. Each function connects, asks and leaves;
 * none joins a group or disturbs who reads. A component names its functions in `position_ops`.
 *
 * The state log of a pipeline lies in the same system, if there at all, and is looked at and filled
 * from outside in the same way (`weir state`).
 *
 * Where positions lie. A source with WEIR_POSITIONS_GROUP answers `committed` and takes `commit`.
 * One with WEIR_POSITIONS_LOG leaves both alone: weir's state log has them.
 */
#ifndef WEIR_POSITIONS_H
#define WEIR_POSITIONS_H

#include <stdint.h>

#include <weir/arena.h>
#include <weir/log.h>
#include <weir/status.h>
#include <weir/strbuf.h>

/* A partition as it is stored. */
struct weir_position {
    const char *topic; /* in the arena */
    int32_t partition;
    int64_t first, end; /* [first, end) can be read; -1: unknown */
    int64_t committed;  /* where reading goes on; -1: nowhere yet, or the state log knows */
    int64_t others;     /* numbers between them that are no records of this partition */
    int64_t target;     /* where it should go on */
};

/* Borrowed for the call. */
struct weir_positions_call {
    const void *config;
    const char *pipeline;
    struct weir_arena *arena; /* without limit */
    const struct weir_log *log;
};

/* One thread at a time. */
/* The entries of a state log, to be written somewhere. */
struct weir_state_entries {
    void *self;
    /* Hands over each, borrowed for the call, until `take` fails. */
    weir_status (*each)(void *self,
                        weir_status (*take)(void *context,
                                            int32_t shard,
                                            struct weir_slice entry,
                                            struct weir_err *err),
                        void *context,
                        struct weir_err *err);
};

struct weir_positions_ops {
    const char *unit; /* what positions count: "records", "bytes" */
    /* Every partition of the source, by topic and number. */
    weir_status (*list)(const struct weir_positions_call *call,
                        struct weir_position **ret_items,
                        size_t *ret_count,
                        struct weir_err *err);
    /* target = the first record of that time or later, or end. NULL: records have no time. */
    weir_status (*find)(const struct weir_positions_call *call,
                        int64_t time_ms,
                        struct weir_position *items,
                        size_t count,
                        struct weir_err *err);
    /* Can reading begin at target, which lies in [first, end]? NULL: anywhere. */
    weir_status (*check)(const struct weir_positions_call *call,
                         const struct weir_position *item,
                         struct weir_err *err);
    /* Appends a line per process that reads now. NULL: the lock of the state log tells. */
    weir_status (*readers)(const struct weir_positions_call *call,
                           struct weir_strbuf *out,
                           struct weir_err *err);
    /* Makes the targets durable; fails when somebody reads, also since `readers` was asked. NULL:
     * the state log keeps them. */
    weir_status (*commit)(const struct weir_positions_call *call,
                          const struct weir_position *items,
                          size_t count,
                          struct weir_err *err);
    /* Hands over every committed entry of the state log of that name ("orders.state"), shard by
     * shard, oldest first. *ret_shards: how many there are, known before the first; 0: there is no
     * such log. NULL: the system keeps no state. */
    weir_status (*read_state)(const struct weir_positions_call *call,
                              const char *name,
                              int32_t *ret_shards,
                              weir_status (*take)(void *context,
                                                  int32_t shard,
                                                  struct weir_slice entry,
                                                  struct weir_err *err),
                              void *context,
                              struct weir_err *err);
    /* Makes a log that must be empty, and fills it with what `entries` gives, shard by shard. Nothing
     * of it counts unless all does. NULL: only reading is possible. Entries have at most
     * `state_entry_max` bytes. items: every partition, as list has them; target: where its state
     * stands, -1: it has none. */
    weir_status (*write_state)(const struct weir_positions_call *call,
                               const char *name,
                               const struct weir_position *items,
                               size_t count,
                               const struct weir_state_entries *entries,
                               struct weir_err *err);
    size_t state_entry_max;
    /* Empties the log of that name, if there is one, while nobody reads. NULL: cannot be done. */
    weir_status (*drop_state)(const struct weir_positions_call *call,
                              const char *name,
                              struct weir_err *err);
};

#endif

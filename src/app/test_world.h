/* SPDX-License-Identifier: Apache-2.0
 *
 * The world that a test case runs in: topics, sinks and state logs in memory, a clock that only the
 * case moves, and a process that can be killed at any call. Source, sink and state log are one
 * domain, so an epoch commits whole or leaves no trace, as in a Kafka transaction. One thread.
 *
 *     records ──▶ part: [0 1 2 3 4 …]          the case appends; committed, next
 *                        │
 *     engine ────────────┘──▶ open outputs, open state entries ──commit──▶ committed
 */
#ifndef WEIR_APP_TEST_WORLD_H
#define WEIR_APP_TEST_WORLD_H

#include <weir/component.h>
#include <weir/random.h>

#include "app/test_file.h"

struct weir_test_message {
    struct weir_slice key, value;
    const struct weir_header *headers;
    uint32_t header_count;
    int64_t time_ms;
};

struct weir_test_part {
    unsigned source;
    const char *topic;
    int32_t index;
    struct weir_test_message *messages;
    size_t count, capacity;
    int64_t committed, next;
    struct weir_partition *owned; /* NULL: not assigned */
};

/* What a sink got. */
struct weir_test_output {
    unsigned sink;
    size_t part; /* of the input it comes from; SIZE_MAX: of several, behind an exchange */
    struct weir_slice key, value, topic;
    const struct weir_header *headers;
    uint32_t header_count;
    int64_t time_ms;
};

struct weir_test_outputs {
    struct weir_test_output *items;
    size_t count, capacity;
};

enum weir_test_crash { WEIR_TEST_CRASH_BEFORE, WEIR_TEST_CRASH_AFTER, WEIR_TEST_CRASH_COUNT };

struct weir_test_shard;

struct weir_test_world {
    struct weir_clock clock; /* both readings move only when they are told to */
    int64_t monotonic_ns, wall_ms;
    struct weir_arena arena; /* messages, outputs: until reset */
    struct weir_test_part *parts;
    size_t part_count;
    struct weir_test_outputs open, committed;
    struct weir_test_shard *shards;
    bool ended;               /* nothing is appended any more */
    struct weir_random *dice; /* NULL: a read gives all there is */

    uint64_t calls, crash_at; /* the number of the call; 0: never */
    enum weir_test_crash crash;
    const char *crashed_in; /* what the call was for */
    bool dead;
    uint64_t changes; /* grows with everything that happens */
};

/* Every call that would reach the outside. False: the process is dead, the call does not arrive. */
bool weir_test_world_enter(struct weir_test_world *world, const char *what);
/* The process may die before it learns of the status. */
weir_status weir_test_world_leave(struct weir_test_world *world, weir_status status);
/* A member of a component's configuration; NULL: it has none of that name and type. */
const void *
weir_test_world_member(const struct weir_chosen *chosen, const char *name, enum weir_type type);
/* Empties the world. A world is zeroed before its first reset. */
void weir_test_world_reset(struct weir_test_world *world, int64_t wall_ms);
void weir_test_world_done(struct weir_test_world *world);
/* After a death: what was not committed is gone. */
void weir_test_world_revive(struct weir_test_world *world);
/* Found, or made. The topic's name is borrowed. */
struct weir_test_part *weir_test_world_part(struct weir_test_world *world,
                                            unsigned source,
                                            const char *topic,
                                            int32_t index);
void weir_test_world_append(struct weir_test_part *part, const struct weir_test_message *message);

/* Puts the world in the place of all sources and sinks of the file's pipeline, for good. */
void weir_test_world_replace(struct weir_test_world *world, struct weir_test_file *file);
/* The topic that a source reads if nothing else is said. */
const char *weir_test_world_topic(const struct weir_test_file *file, unsigned source);

#endif

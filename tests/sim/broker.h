/* SPDX-License-Identifier: Apache-2.0
 *
 * A Kafka in memory, as far as committing goes: logs whose records are open, committed or aborted;
 * a consumer group per topic with generations, session time-outs and static members; offsets that
 * are pending while the transaction that carries them is open; producers with epochs that fence.
 *
 * It answers what a broker answers and knows nothing of weir. Time comes from the simulator's
 * clock, so that a dead client's session and transaction run out. One thread.
 */
#ifndef WEIR_TESTS_SIM_BROKER_H
#define WEIR_TESTS_SIM_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/clock.h>

enum {
    SIM_TOPICS_MAX = 6,
    SIM_PARTITIONS_MAX = 5,
    SIM_MEMBERS_MAX = 64,
    SIM_PRODUCERS_MAX = 512,
    SIM_SESSION_MS = 400,
};

enum sim_state { SIM_OPEN, SIM_COMMITTED, SIM_ABORTED };

/* What happened to a request. */
enum sim_answer {
    SIM_OK,
    SIM_STALE,    /* the generation is not the current one */
    SIM_EXPELLED, /* not a member (any more) */
    SIM_REPLACED, /* a member with the same instance took its place */
    SIM_FENCED,   /* a newer producer with the same id */
    SIM_UNSTABLE, /* offsets are pending in an open transaction */
};

struct sim_entry {
    char *key, *value;
    bool control; /* occupies an offset, is never delivered */
    bool seen;    /* the checker's */
    enum sim_state state;
    int producer; /* -1: none */
    int process;  /* who wrote it */
};

struct sim_member {
    int id; /* 0: free place */
    const char *instance;
    unsigned generation;
    int64_t seen_ns;
};

struct sim_partition {
    struct sim_entry *entries;
    size_t count, capacity;
    size_t stable;               /* entries before it are not open */
    int64_t committed;           /* of the group; -1: none */
    int64_t pending;             /* sent with an open transaction; -1: none */
    int pending_producer, owner; /* owner: member id, 0: nobody */
};

struct sim_topic {
    char name[32];
    struct sim_partition partitions[SIM_PARTITIONS_MAX];
    size_t partition_count;
    unsigned generation;
    struct sim_member members[SIM_MEMBERS_MAX];
};

struct sim_producer {
    char id[64];
    unsigned epoch;
    bool open;
    int64_t began_ns, timeout_ms;
};

struct sim_broker {
    const struct weir_clock *clock;
    struct sim_topic topics[SIM_TOPICS_MAX];
    size_t topic_count;
    struct sim_producer producers[SIM_PRODUCERS_MAX];
    size_t producer_count;
    int next_member;
    /* Called whenever positions or visible records have changed. */
    void (*changed)(void *context);
    void *context;
    size_t commits, aborts, fenced_writes, refused_commits;
};

void sim_broker_init(struct sim_broker *broker, const struct weir_clock *clock);
void sim_broker_done(struct sim_broker *broker);
struct sim_topic *sim_broker_add_topic(struct sim_broker *broker, const char *name, size_t parts);
/* NULL: there is none. */
struct sim_topic *sim_broker_topic(struct sim_broker *broker, const char *name);
/* Lets sessions and transactions run out. */
void sim_broker_sweep(struct sim_broker *broker);
bool sim_broker_has_open(const struct sim_broker *broker);

/* Appends for no transaction; key and value are copied, NULL value: a control record. */
void sim_broker_append(struct sim_broker *broker,
                       struct sim_partition *partition,
                       const char *key,
                       const char *value,
                       int process);

/* A new member; its id. */
int sim_group_join(struct sim_broker *broker, struct sim_topic *topic, const char *instance);
void sim_group_leave(struct sim_broker *broker, struct sim_topic *topic, int member);
/* Heartbeat: takes the member into the current generation. */
enum sim_answer sim_group_sync(struct sim_broker *broker, struct sim_topic *topic, int member);
enum sim_answer sim_group_check(const struct sim_topic *topic, int member);
/* The member whose the partition is to be; 0: nobody's. */
int sim_group_target(const struct sim_topic *topic, size_t partition);
/* The owner lets go: somebody else may take it from the next generation on. */
void sim_group_release(struct sim_topic *topic, size_t partition, int member);
enum sim_answer sim_group_fetch(const struct sim_partition *partition, int64_t *ret_offset);
enum sim_answer sim_group_commit(struct sim_broker *broker,
                                 struct sim_topic *topic,
                                 int member,
                                 size_t partition,
                                 int64_t offset);

/* A producer with that id: ends what an older one left open, and fences it. */
int sim_producer_init(struct sim_broker *broker, const char *id, int64_t timeout_ms);
unsigned sim_producer_epoch(const struct sim_broker *broker, int producer);
enum sim_answer sim_txn_begin(struct sim_broker *broker, int producer, unsigned epoch);
enum sim_answer sim_txn_write(struct sim_broker *broker,
                              int producer,
                              unsigned epoch,
                              struct sim_partition *partition,
                              const char *key,
                              const char *value,
                              int process);
enum sim_answer sim_txn_offset(struct sim_broker *broker,
                               int producer,
                               unsigned epoch,
                               struct sim_topic *topic,
                               int member,
                               size_t partition,
                               int64_t offset);
enum sim_answer sim_txn_end(struct sim_broker *broker, int producer, unsigned epoch, bool commit);

#endif

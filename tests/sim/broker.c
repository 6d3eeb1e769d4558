/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's rules, each as strict as the real one's: offsets of a transaction are checked
 * against the group's generation when they are sent, a write with an old epoch vanishes, offsets
 * that are pending are not told to anybody. Ending a transaction is one step; what lies between
 * sending offsets and ending it is where clients crash.
 *
 * Assignment is round robin over the members; a partition passes from one to another only after
 * its owner has let go or was expelled.
 */
#include "broker.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"

void sim_broker_init(struct sim_broker *broker, const struct weir_clock *clock)
{
    *broker = (struct sim_broker){.clock = clock, .next_member = 1};
}

void sim_broker_done(struct sim_broker *broker)
{
    for (size_t t = 0; t < broker->topic_count; t++) {
        for (size_t p = 0; p < broker->topics[t].partition_count; p++) {
            struct sim_partition *partition = &broker->topics[t].partitions[p];
            for (size_t i = 0; i < partition->count; i++) {
                weir_free(partition->entries[i].key);
                weir_free(partition->entries[i].value);
            }
            weir_free(partition->entries);
        }
    }
}

struct sim_topic *sim_broker_add_topic(struct sim_broker *broker, const char *name, size_t parts)
{
    WEIR_ASSERT(broker->topic_count < SIM_TOPICS_MAX && parts <= SIM_PARTITIONS_MAX);
    struct sim_topic *topic = &broker->topics[broker->topic_count++];
    snprintf(topic->name, sizeof(topic->name), "%s", name);
    topic->partition_count = parts;
    topic->generation = 1;
    for (size_t p = 0; p < parts; p++) {
        topic->partitions[p].committed = topic->partitions[p].pending = -1;
        topic->partitions[p].pending_producer = -1;
    }
    return topic;
}

struct sim_topic *sim_broker_topic(struct sim_broker *broker, const char *name)
{
    for (size_t t = 0; t < broker->topic_count; t++) {
        if (strcmp(broker->topics[t].name, name) == 0) {
            return &broker->topics[t];
        }
    }
    return NULL;
}

static struct sim_entry *partition_push(struct sim_partition *partition)
{
    if (partition->count == partition->capacity) {
        partition->capacity = partition->capacity == 0 ? 64 : partition->capacity * 2;
        partition->entries =
            weir_realloc(partition->entries, partition->capacity, sizeof(struct sim_entry));
    }
    return &partition->entries[partition->count++];
}

static void partition_settle(struct sim_partition *partition)
{
    while (partition->stable < partition->count &&
           partition->entries[partition->stable].state != SIM_OPEN) {
        partition->stable++;
    }
}

static void broker_changed(struct sim_broker *broker)
{
    if (broker->changed != NULL) {
        broker->changed(broker->context);
    }
}

void sim_broker_append(struct sim_broker *broker,
                       struct sim_partition *partition,
                       const char *key,
                       const char *value,
                       int process)
{
    *partition_push(partition) = (struct sim_entry){
        .key = key == NULL ? NULL : weir_strdup(key),
        .value = value == NULL ? NULL : weir_strdup(value),
        .control = value == NULL,
        .state = SIM_COMMITTED,
        .producer = -1,
        .process = process,
    };
    partition_settle(partition);
    broker_changed(broker);
}

/* --- the group ---------------------------------------------------------------------------------*/

static struct sim_member *group_find(struct sim_topic *topic, int member)
{
    for (size_t i = 0; member != 0 && i < SIM_MEMBERS_MAX; i++) {
        if (topic->members[i].id == member) {
            return &topic->members[i];
        }
    }
    return NULL;
}

static void group_expel(struct sim_topic *topic, struct sim_member *member)
{
    for (size_t p = 0; p < topic->partition_count; p++) {
        if (topic->partitions[p].owner == member->id) {
            topic->partitions[p].owner = 0;
        }
    }
    *member = (struct sim_member){0};
    topic->generation++;
}

int sim_group_join(struct sim_broker *broker, struct sim_topic *topic, const char *instance)
{
    int64_t now_ns = weir_clock_monotonic_ns(broker->clock);
    struct sim_member *place = NULL;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        struct sim_member *member = &topic->members[i];
        bool same = member->id != 0 && instance != NULL && member->instance != NULL &&
                    strcmp(instance, member->instance) == 0;
        if (same) { /* a static member comes back: no rebalance, the old id is void */
            for (size_t p = 0; p < topic->partition_count; p++) {
                if (topic->partitions[p].owner == member->id) {
                    topic->partitions[p].owner = 0;
                }
            }
            member->id = broker->next_member++;
            member->seen_ns = now_ns;
            member->generation = topic->generation;
            return member->id;
        }
        if (member->id == 0 && place == NULL) {
            place = member;
        }
    }
    WEIR_ASSERT(place != NULL);
    topic->generation++;
    *place = (struct sim_member){broker->next_member++, instance, 0, now_ns};
    return place->id;
}

void sim_group_leave(struct sim_broker *broker, struct sim_topic *topic, int member)
{
    (void)broker;
    struct sim_member *found = group_find(topic, member);
    if (found != NULL) {
        group_expel(topic, found);
    }
}

enum sim_answer sim_group_check(const struct sim_topic *topic, int member)
{
    for (size_t i = 0; member != 0 && i < SIM_MEMBERS_MAX; i++) {
        if (topic->members[i].id == member) {
            return topic->members[i].generation == topic->generation ? SIM_OK : SIM_STALE;
        }
    }
    return SIM_EXPELLED;
}

enum sim_answer sim_group_sync(struct sim_broker *broker, struct sim_topic *topic, int member)
{
    struct sim_member *found = group_find(topic, member);
    if (found == NULL) {
        return SIM_EXPELLED;
    }
    found->seen_ns = weir_clock_monotonic_ns(broker->clock);
    found->generation = topic->generation;
    return SIM_OK;
}

int sim_group_target(const struct sim_topic *topic, size_t partition)
{
    int members[SIM_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
        if (topic->members[i].id != 0) {
            members[count++] = topic->members[i].id;
        }
    }
    return count == 0 ? 0 : members[partition % count];
}

void sim_group_release(struct sim_topic *topic, size_t partition, int member)
{
    if (topic->partitions[partition].owner == member) {
        topic->partitions[partition].owner = 0;
        topic->generation++;
    }
}

enum sim_answer sim_group_fetch(const struct sim_partition *partition, int64_t *ret_offset)
{
    *ret_offset = partition->committed;
    return partition->pending >= 0 ? SIM_UNSTABLE : SIM_OK;
}

enum sim_answer sim_group_commit(struct sim_broker *broker,
                                 struct sim_topic *topic,
                                 int member,
                                 size_t partition,
                                 int64_t offset)
{
    enum sim_answer answer = sim_group_check(topic, member);
    if (answer == SIM_OK) {
        topic->partitions[partition].committed = offset;
        broker_changed(broker);
    } else {
        broker->refused_commits++;
    }
    return answer;
}

/* --- transactions ------------------------------------------------------------------------------*/

static void txn_finish(struct sim_broker *broker, int producer, bool commit)
{
    for (size_t t = 0; t < broker->topic_count; t++) {
        for (size_t p = 0; p < broker->topics[t].partition_count; p++) {
            struct sim_partition *partition = &broker->topics[t].partitions[p];
            for (size_t i = partition->stable; i < partition->count; i++) {
                struct sim_entry *entry = &partition->entries[i];
                if (entry->producer == producer && entry->state == SIM_OPEN) {
                    entry->state = commit ? SIM_COMMITTED : SIM_ABORTED;
                }
            }
            partition_settle(partition);
            if (partition->pending >= 0 && partition->pending_producer == producer) {
                if (commit) {
                    partition->committed = partition->pending;
                }
                partition->pending = -1;
                partition->pending_producer = -1;
            }
        }
    }
    broker->producers[producer].open = false;
    broker->commits += commit;
    broker->aborts += !commit;
    broker_changed(broker);
}

int sim_producer_init(struct sim_broker *broker, const char *id, int64_t timeout_ms)
{
    for (size_t i = 0; i < broker->producer_count; i++) {
        struct sim_producer *producer = &broker->producers[i];
        if (strcmp(producer->id, id) == 0) {
            if (producer->open) {
                txn_finish(broker, (int)i, false);
            }
            producer->epoch++;
            return (int)i;
        }
    }
    WEIR_ASSERT(broker->producer_count < SIM_PRODUCERS_MAX);
    struct sim_producer *producer = &broker->producers[broker->producer_count];
    *producer = (struct sim_producer){.timeout_ms = timeout_ms};
    snprintf(producer->id, sizeof(producer->id), "%s", id);
    return (int)broker->producer_count++;
}

unsigned sim_producer_epoch(const struct sim_broker *broker, int producer)
{
    return broker->producers[producer].epoch;
}

static bool txn_is_current(const struct sim_broker *broker, int producer, unsigned epoch)
{
    return broker->producers[producer].epoch == epoch;
}

enum sim_answer sim_txn_begin(struct sim_broker *broker, int producer, unsigned epoch)
{
    if (!txn_is_current(broker, producer, epoch)) {
        return SIM_FENCED;
    }
    WEIR_ASSERT(!broker->producers[producer].open);
    broker->producers[producer].open = true;
    broker->producers[producer].began_ns = weir_clock_monotonic_ns(broker->clock);
    return SIM_OK;
}

enum sim_answer sim_txn_write(struct sim_broker *broker,
                              int producer,
                              unsigned epoch,
                              struct sim_partition *partition,
                              const char *key,
                              const char *value,
                              int process)
{
    if (!txn_is_current(broker, producer, epoch)) {
        broker->fenced_writes++;
        return SIM_FENCED;
    }
    WEIR_ASSERT(broker->producers[producer].open);
    *partition_push(partition) = (struct sim_entry){
        .key = key == NULL ? NULL : weir_strdup(key),
        .value = weir_strdup(value),
        .state = SIM_OPEN,
        .producer = producer,
        .process = process,
    };
    return SIM_OK;
}

enum sim_answer sim_txn_offset(struct sim_broker *broker,
                               int producer,
                               unsigned epoch,
                               struct sim_topic *topic,
                               int member,
                               size_t partition,
                               int64_t offset)
{
    if (!txn_is_current(broker, producer, epoch)) {
        return SIM_FENCED;
    }
    enum sim_answer answer = sim_group_check(topic, member);
    if (answer != SIM_OK) {
        broker->refused_commits++;
        return answer;
    }
    topic->partitions[partition].pending = offset;
    topic->partitions[partition].pending_producer = producer;
    return SIM_OK;
}

enum sim_answer sim_txn_end(struct sim_broker *broker, int producer, unsigned epoch, bool commit)
{
    if (!txn_is_current(broker, producer, epoch)) {
        return SIM_FENCED;
    }
    txn_finish(broker, producer, commit);
    return SIM_OK;
}

/* --- time --------------------------------------------------------------------------------------*/

void sim_broker_sweep(struct sim_broker *broker)
{
    int64_t now_ns = weir_clock_monotonic_ns(broker->clock);
    for (size_t t = 0; t < broker->topic_count; t++) {
        struct sim_topic *topic = &broker->topics[t];
        for (size_t i = 0; i < SIM_MEMBERS_MAX; i++) {
            struct sim_member *member = &topic->members[i];
            if (member->id != 0 && now_ns - member->seen_ns > SIM_SESSION_MS * WEIR_NS_PER_MS) {
                group_expel(topic, member);
            }
        }
    }
    for (size_t i = 0; i < broker->producer_count; i++) {
        struct sim_producer *producer = &broker->producers[i];
        if (producer->open && now_ns - producer->began_ns > producer->timeout_ms * WEIR_NS_PER_MS) {
            txn_finish(broker, (int)i, false);
            producer->epoch++;
        }
    }
}

bool sim_broker_has_open(const struct sim_broker *broker)
{
    for (size_t i = 0; i < broker->producer_count; i++) {
        if (broker->producers[i].open) {
            return true;
        }
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The source, modelled on src/components/kafka: positions are numbers at assignment, partitions are
 * given back inside poll before they are released, a member that was expelled has lost all it had.
 * Where a partition stands at offsets without records these are gone, and it goes on behind them.
 * Each record is a message of its own on the heap, so that a use after its release is found.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "memory_priv.h"

struct message {
    char *key, *value;
};

static weir_status
memory_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct memory_source *self = instance;
    const struct memory_config *options = config;
    struct sim_call call;
    self->process = sim_current;
    self->ctx = ctx;
    self->topic = sim_memory_topic(sim_current->broker, options);
    self->is_exchange = options->shards > 0;
    return sim_call_enter(&call, sim_current, SIM_CALL_OPEN) ? sim_call_leave(&call, WEIR_OK, err)
                                                             : sim_call_fail(&call, err);
}

static void source_drop(struct memory_source *self, struct memory_part *item)
{
    struct memory_part **place = &self->parts;
    while (*place != item) {
        place = &(*place)->link;
    }
    *place = item->link;
    weir_free(item);
}

static void memory_source_close(void *instance)
{
    struct memory_source *self = instance;
    while (self->parts != NULL) {
        source_drop(self, self->parts);
    }
}

static weir_status memory_source_start(void *instance, struct weir_err *err)
{
    struct memory_source *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->process, SIM_CALL_START)) {
        return sim_call_fail(&call, err);
    }
    self->member = sim_group_join(self->process->broker, self->topic, self->ctx->instance);
    return sim_call_leave(&call, WEIR_OK, err);
}

/* Gives back every partition that is not to be this member's, or all. False: not yet, and until then
 * none is taken over. */
static bool source_give_back(struct memory_source *self, bool all, bool lost)
{
    struct memory_part *items[SIM_PARTITIONS_MAX];
    struct weir_partition *parts[SIM_PARTITIONS_MAX];
    size_t count = 0;
    for (struct memory_part *item = self->parts; item != NULL; item = item->link) {
        item->leaving = item->leaving || all ||
                        sim_group_target(self->topic, item->index) != self->member;
        if (item->leaving) {
            parts[count] = item->part;
            items[count++] = item;
        }
    }
    if (count == 0) {
        return true;
    }
    if (!weir_source_release(self->ctx, parts, count, lost)) {
        return self->process->dead;
    }
    for (size_t i = 0; i < count; i++) {
        if (!self->process->dead) {
            sim_group_release(self->topic, items[i]->index, self->member);
        }
        source_drop(self, items[i]);
    }
    return true;
}

static int64_t source_skip_gone(const struct sim_partition *partition, int64_t position)
{
    while (position < (int64_t)partition->stable && partition->entries[position].control) {
        position++;
    }
    return position;
}

static void source_take(struct memory_source *self)
{
    struct weir_assignment items[SIM_PARTITIONS_MAX];
    struct weir_partition *parts[SIM_PARTITIONS_MAX];
    size_t count = 0;
    for (size_t p = 0; p < self->topic->partition_count; p++) {
        struct sim_partition *partition = &self->topic->partitions[p];
        int64_t position;
        if (sim_group_target(self->topic, p) != self->member || partition->owner != 0 ||
            sim_group_fetch(partition, &position) != SIM_OK) {
            continue;
        }
        partition->owner = self->member;
        struct memory_part *item = weir_calloc(1, sizeof(*item));
        position = position < 0 ? 0 : position;
        int64_t found = source_skip_gone(partition, position);
        item->index = p;
        item->link = self->parts;
        self->parts = item;
        items[count++] =
            (struct weir_assignment){.topic = self->topic->name,
                                     .partition_count = (int32_t)self->topic->partition_count,
                                     .index = (int32_t)p,
                                     .total = (int32_t)self->topic->partition_count,
                                     .position = found,
                                     .is_moved = found != position,
                                     .source_data = item};
    }
    if (count == 0 && self->told) {
        return;
    }
    self->told = true;
    weir_source_assign(self->ctx, items, count, parts);
    for (size_t i = 0; i < count; i++) {
        struct memory_part *item = items[i].source_data;
        item->part = parts[i];
        item->next = parts[i]->read;
    }
}

/* Alone: once everything is owned. With others: once everything is committed, by whomever. */
static bool source_is_exhausted(const struct memory_source *self)
{
    for (size_t p = 0; p < self->topic->partition_count; p++) {
        const struct sim_partition *partition = &self->topic->partitions[p];
        bool settled = self->process->shared ? partition->committed == (int64_t)partition->count
                                             : partition->owner == self->member;
        if (!settled) {
            return false;
        }
    }
    return true;
}

static bool source_is_replaced(const struct memory_source *self)
{
    for (size_t i = 0; self->ctx->instance != NULL && i < SIM_MEMBERS_MAX; i++) {
        const struct sim_member *member = &self->topic->members[i];
        if (member->id != 0 && member->instance != NULL &&
            strcmp(member->instance, self->ctx->instance) == 0) {
            return true;
        }
    }
    return false;
}

static weir_status source_serve(struct memory_source *self, struct weir_err *err)
{
    struct sim_broker *broker = self->process->broker;
    if (sim_group_sync(broker, self->topic, self->member) == SIM_EXPELLED) {
        if (!source_give_back(self, true, true) || self->process->dead) {
            return WEIR_OK;
        }
        if (source_is_replaced(self)) {
            return weir_fail(err, WEIR_FATAL, "another process has the same instance");
        }
        self->member = sim_group_join(broker, self->topic, self->ctx->instance);
        (void)sim_group_sync(broker, self->topic, self->member);
    }
    if (!source_give_back(self, false, false)) {
        return WEIR_OK;
    }
    if (!self->process->dead) {
        source_take(self);
    }
    if (!self->process->dead && !self->is_exchange && source_is_exhausted(self)) {
        weir_source_exhausted(self->ctx);
    }
    return WEIR_OK;
}

static weir_status memory_source_poll(void *instance, struct weir_err *err)
{
    struct memory_source *self = instance;
    struct sim_call call;
    sim_enquire_poll(self->process);
    if (!sim_call_enter(&call, self->process, SIM_CALL_POLL)) {
        return sim_call_fail(&call, err);
    }
    return sim_call_leave(&call, source_serve(self, err), err);
}

/* Bytes of an exchange lie in the broker as text. */
static void source_give(struct memory_source *self,
                        struct weir_intake *intake,
                        struct memory_part *item,
                        const struct sim_entry *entry)
{
    struct message *message = weir_calloc(1, sizeof(*message));
    size_t size = strlen(entry->value);
    message->key = entry->key == NULL ? NULL : weir_strdup(entry->key);
    message->value = self->is_exchange ? sim_unhex(entry->value, &size) : weir_strdup(entry->value);
    sim_messages_alive++;
    struct weir_record *record = weir_intake_record(intake, item->part, message);
    WEIR_ASSERT(record != NULL);
    record->position = item->next;
    record->flags = WEIR_RECORD_RAW;
    record->raw = (struct weir_slice){message->value, size};
    record->key = message->key == NULL ? record->key : weir_slice_of(message->key);
    record->time_ms = item->next;
}

/* What a reader of committed records is given. */
static bool is_given(const struct sim_entry *entry)
{
    return !entry->control && entry->state == SIM_COMMITTED;
}

static void source_read_part(struct memory_source *self,
                             struct weir_intake *intake,
                             struct memory_part *item,
                             size_t most,
                             size_t *left)
{
    const struct sim_partition *partition = &self->topic->partitions[item->index];
    int64_t end = (int64_t)partition->stable;
    while (item->next < end && most > 0 && *left > 0) {
        const struct sim_entry *entry = &partition->entries[item->next];
        if (is_given(entry)) {
            source_give(self, intake, item, entry);
            most--;
            (*left)--;
        }
        item->next++;
    }
    while (item->next < end && !is_given(&partition->entries[item->next])) {
        item->next++;
    }
    atomic_store(&item->part->end, end);
    if (item->next == end) {
        weir_intake_advance(intake, item->part, item->next);
        if (!self->is_exchange) { /* more may come */
            weir_intake_end(intake, item->part);
        }
    }
}

static weir_status memory_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct memory_source *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->process, SIM_CALL_READ)) {
        return sim_call_fail(&call, err);
    }
    size_t left = max;
    for (struct memory_part *item = self->parts; item != NULL && left > 0; item = item->link) {
        if (item->part != NULL && !item->leaving && item->part->lane == lane) {
            source_read_part(self, intake, item, self->process->chunk, &left);
        }
    }
    return sim_call_leave(&call, left == max ? WEIR_AGAIN : WEIR_OK, err);
}

static weir_status memory_source_seek(void *instance,
                                      struct weir_partition *const *items,
                                      size_t count,
                                      struct weir_err *err)
{
    struct memory_source *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->process, SIM_CALL_SEEK)) {
        return sim_call_fail(&call, err);
    }
    for (size_t i = 0; i < (call.half ? count / 2 : count); i++) {
        struct memory_part *item = items[i]->source_data;
        item->next = items[i]->read;
    }
    return sim_call_leave(&call, WEIR_OK, err);
}

static weir_status memory_source_commit(void *instance,
                                        struct weir_partition *const *items,
                                        size_t count,
                                        struct weir_err *err)
{
    struct memory_source *self = instance;
    struct sim_call call;
    if (!sim_call_enter(&call, self->process, SIM_CALL_POSITIONS)) {
        return sim_call_fail(&call, err);
    }
    enum sim_answer answer = SIM_OK;
    for (size_t i = 0; i < (call.half ? count / 2 : count) && answer == SIM_OK; i++) {
        answer = sim_group_commit(self->process->broker, self->topic, self->member,
                                  (size_t)items[i]->index, items[i]->closing);
    }
    weir_status status = WEIR_OK;
    if (answer == SIM_STALE) { /* the client joins the new generation on its own */
        (void)sim_group_sync(self->process->broker, self->topic, self->member);
        status = WEIR_AGAIN;
    } else if (answer != SIM_OK) {
        status = weir_fail(err, WEIR_ABORTED, "not a member of the group now");
    }
    return sim_call_leave(&call, status, err);
}

static void memory_source_stop(void *instance)
{
    struct memory_source *self = instance;
    struct sim_call call;
    if (self->process == NULL || !sim_call_enter(&call, self->process, SIM_CALL_STOP)) {
        return; /* the first of these: what came before it failed to open */
    }
    bool gone = source_give_back(self, true, false);
    WEIR_ASSERT(gone); /* nothing is open any more */
    if (!self->process->dead) {
        sim_group_leave(self->process->broker, self->topic, self->member);
    }
    struct weir_err ignored = {0};
    (void)!sim_call_leave(&call, WEIR_OK, &ignored);
}

static void release_messages(void **refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct message *message = refs[i];
        weir_free(message->key);
        weir_free(message->value);
        weir_free(message);
        sim_messages_alive--;
    }
}

static const struct weir_batch_origin memory_origin = {.release = release_messages};

static const struct weir_source_ops memory_source_ops = {
    .start = memory_source_start,
    .poll = memory_source_poll,
    .read = memory_source_read,
    .seek = memory_source_seek,
    .commit = memory_source_commit,
    .stop = memory_source_stop,
    .origin = &memory_origin,
};

const struct weir_component sim_memory_source = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SOURCE,
                  .name = "memory",
                  .summary = "Reads a topic in memory as a member of a group.",
                  .example = "memory: {topic: in}",
                  .fields = sim_memory_fields,
                  .config_size = sizeof(struct memory_config)},
    .self_size = sizeof(struct memory_source),
    .positions = WEIR_POSITIONS_GROUP,
    .bounded = true,
    .exclusive = true, /* where a test runs one process at a time */
    .deterministic = true,
    .domain = &sim_memory_domain,
    .exchange = &sim_memory_exchange,
    .open = memory_source_open,
    .close = memory_source_close,
    .domain_name = sim_memory_name,
    .ops = {.source = &memory_source_ops},
};

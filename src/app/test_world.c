/* SPDX-License-Identifier: Apache-2.0
 *
 * Source, sink and domain in memory. The engine cannot tell them from others: positions, aborts,
 * transactions and restores go the way they go with a broker. Every call that would reach the
 * outside passes one door, where it is counted and where the process can die: before the call, or
 * after it without an answer. A dead process changes nothing, whatever the engine still asks.
 *
 * A sink keeps what its original says about the record itself: its `key` and `topic`.
 */
#include "app/test_world.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "conf/memory.h"
#include "data/batch.h"

enum { ENTRY_MAX = 64 * 1024 };

/* --- the world ---------------------------------------------------------------------------------*/

enum entry_state { ENTRY_OPEN, ENTRY_COMMITTED, ENTRY_GONE };

struct entry {
    struct weir_slice bytes;
    enum entry_state state;
};

struct weir_test_shard {
    const char *log;
    int32_t index;
    struct entry *entries;
    size_t count, capacity;
    struct weir_test_shard *next;
};

static const struct weir_test_world *world_of(const struct weir_clock *clock)
{
    return (const struct weir_test_world *)(const void *)clock;
}

static int64_t world_monotonic_ns(const struct weir_clock *clock)
{
    return world_of(clock)->monotonic_ns;
}

static int64_t world_wall_ms(const struct weir_clock *clock)
{
    return world_of(clock)->wall_ms;
}

static const struct weir_clock_ops world_clock = {
    .monotonic_ns = world_monotonic_ns,
    .wall_ms = world_wall_ms,
};

void weir_test_world_done(struct weir_test_world *world)
{
    for (size_t i = 0; i < world->part_count; i++) {
        weir_free(world->parts[i].messages);
    }
    while (world->shards != NULL) {
        struct weir_test_shard *next = world->shards->next;
        weir_free(world->shards->entries);
        weir_free(world->shards);
        world->shards = next;
    }
    weir_free(world->parts);
    weir_free(world->open.items);
    weir_free(world->committed.items);
    weir_arena_done(&world->arena);
}

void weir_test_world_reset(struct weir_test_world *world, int64_t wall_ms)
{
    weir_test_world_done(world);
    *world = (struct weir_test_world){
        .clock = {&world_clock}, .monotonic_ns = WEIR_NS_PER_S, .wall_ms = wall_ms};
    weir_arena_init(&world->arena, 0);
}

static void world_abort(struct weir_test_world *world)
{
    world->changes += world->open.count;
    world->open.count = 0;
    for (struct weir_test_shard *shard = world->shards; shard != NULL; shard = shard->next) {
        for (size_t i = 0; i < shard->count; i++) {
            if (shard->entries[i].state == ENTRY_OPEN) {
                shard->entries[i].state = ENTRY_GONE;
            }
        }
    }
}

void weir_test_world_revive(struct weir_test_world *world)
{
    world_abort(world);
    world->dead = false;
    for (size_t i = 0; i < world->part_count; i++) {
        world->parts[i].owned = NULL;
        world->parts[i].next = world->parts[i].committed;
    }
}

struct weir_test_part *weir_test_world_part(struct weir_test_world *world,
                                            unsigned source,
                                            const char *topic,
                                            int32_t index)
{
    for (size_t i = 0; i < world->part_count; i++) {
        struct weir_test_part *part = &world->parts[i];
        if (part->source == source && part->index == index && strcmp(part->topic, topic) == 0) {
            return part;
        }
    }
    world->parts = weir_realloc(world->parts, world->part_count + 1, sizeof(*world->parts));
    struct weir_test_part *part = &world->parts[world->part_count++];
    *part = (struct weir_test_part){.source = source, .topic = topic, .index = index};
    return part;
}

void weir_test_world_append(struct weir_test_part *part, const struct weir_test_message *message)
{
    if (part->count == part->capacity) {
        part->capacity = part->capacity == 0 ? 16 : 2 * part->capacity;
        part->messages = weir_realloc(part->messages, part->capacity, sizeof(*part->messages));
    }
    part->messages[part->count++] = *message;
}

static struct weir_test_output *add_output(struct weir_test_outputs *outputs)
{
    if (outputs->count == outputs->capacity) {
        outputs->capacity = outputs->capacity == 0 ? 64 : 2 * outputs->capacity;
        outputs->items = weir_realloc(outputs->items, outputs->capacity, sizeof(*outputs->items));
    }
    return &outputs->items[outputs->count++];
}

static struct weir_slice keep(struct weir_test_world *world, struct weir_slice bytes)
{
    return bytes.data == NULL ? bytes : weir_conf_copy(&world->arena, bytes);
}

/* --- the door ----------------------------------------------------------------------------------*/

bool weir_test_world_enter(struct weir_test_world *world, const char *what)
{
    if (world->dead) {
        return false;
    }
    world->calls++;
    if (world->calls == world->crash_at) {
        world->crashed_in = what;
        world->dead = world->crash == WEIR_TEST_CRASH_BEFORE;
    }
    return !world->dead;
}

weir_status weir_test_world_leave(struct weir_test_world *world, weir_status status)
{
    if (world->calls == world->crash_at) {
        world->dead = true;
        return WEIR_UNAVAILABLE;
    }
    return status;
}

static weir_status door_closed(struct weir_err *err)
{
    return weir_fail(err, WEIR_UNAVAILABLE, "the process is dead");
}

/* --- the source --------------------------------------------------------------------------------*/

struct source_config {
    struct weir_test_world *world;
    unsigned index;
};

struct test_source {
    const struct source_config *config;
    struct weir_ctx *ctx;
    bool told;
};

static weir_status
test_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct test_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    struct weir_test_world *world = self->config->world;
    return weir_test_world_enter(world, "open") ? weir_test_world_leave(world, WEIR_OK)
                                                : door_closed(err);
}

static void test_source_close(void *instance)
{
    (void)instance;
}

static weir_status test_source_start(void *instance, struct weir_err *err)
{
    struct test_source *self = instance;
    struct weir_test_world *world = self->config->world;
    return weir_test_world_enter(world, "join") ? weir_test_world_leave(world, WEIR_OK)
                                                : door_closed(err);
}

static void source_assign(struct test_source *self)
{
    struct weir_test_world *world = self->config->world;
    struct weir_assignment *items = weir_calloc(world->part_count + 1, sizeof(*items));
    struct weir_partition **owned = weir_calloc(world->part_count + 1, sizeof(*owned));
    size_t count = 0;
    for (size_t i = 0; i < world->part_count; i++) {
        const struct weir_test_part *part = &world->parts[i];
        if (part->source != self->config->index) {
            continue;
        }
        int32_t partitions = 0;
        for (size_t k = 0; k < world->part_count; k++) {
            partitions += world->parts[k].source == part->source &&
                          strcmp(world->parts[k].topic, part->topic) == 0;
        }
        items[count++] = (struct weir_assignment){.topic = part->topic,
                                                  .index = part->index,
                                                  .position = part->committed,
                                                  .partition_count = partitions,
                                                  .source_data = &world->parts[i]};
    }
    weir_source_assign(self->ctx, items, count, owned);
    for (size_t i = 0; i < count; i++) {
        struct weir_test_part *part = items[i].source_data;
        part->owned = owned[i];
        part->next = owned[i]->read;
    }
    weir_free(items);
    weir_free(owned);
}

static weir_status test_source_poll(void *instance, struct weir_err *err)
{
    struct test_source *self = instance;
    struct weir_test_world *world = self->config->world;
    (void)err;
    if (world->dead) {
        return WEIR_OK;
    }
    if (!self->told) {
        self->told = true;
        source_assign(self);
    }
    if (world->ended && !world->dead) {
        weir_source_exhausted(self->ctx);
    }
    return WEIR_OK;
}

static void give_record(struct weir_intake *intake, struct weir_test_part *part)
{
    const struct weir_test_message *message = &part->messages[part->next];
    struct weir_record *record = weir_intake_record(intake, part->owned, NULL);
    WEIR_ASSERT(record != NULL);
    record->position = part->next;
    record->flags = WEIR_RECORD_RAW;
    record->raw = message->value;
    record->key = message->key;
    record->time_ms = message->time_ms;
    record->headers = message->headers;
    record->header_count = message->header_count;
    record->headers_read = true;
    part->next++;
}

static weir_status test_source_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct test_source *self = instance;
    struct weir_test_world *world = self->config->world;
    (void)lane;
    size_t left = max, there = 0;
    for (size_t i = 0; i < world->part_count; i++) {
        const struct weir_test_part *part = &world->parts[i];
        bool mine = part->source == self->config->index && part->owned != NULL;
        there += mine && part->next < (int64_t)part->count ? part->count - (size_t)part->next : 0;
    }
    if (there > 0 && !weir_test_world_enter(world, "read")) {
        return door_closed(err);
    }
    for (size_t i = 0; i < world->part_count && !world->dead; i++) {
        struct weir_test_part *part = &world->parts[i];
        if (part->source != self->config->index || part->owned == NULL) {
            continue;
        }
        size_t most = world->dice == NULL ? left : (size_t)weir_random_below(world->dice, left + 1);
        for (; most > 0 && part->next < (int64_t)part->count; most--, left--) {
            give_record(intake, part);
            world->changes++;
        }
        atomic_store(&part->owned->end, (int64_t)part->count);
        if (world->ended && part->next >= (int64_t)part->count) {
            weir_intake_end(intake, part->owned);
        }
    }
    return there > 0 ? weir_test_world_leave(world, left == max ? WEIR_AGAIN : WEIR_OK)
                     : WEIR_AGAIN;
}

static weir_status test_source_seek(void *instance,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    struct weir_err *err)
{
    struct test_source *self = instance;
    struct weir_test_world *world = self->config->world;
    if (!weir_test_world_enter(world, "seek")) {
        return door_closed(err);
    }
    for (size_t i = 0; i < count; i++) {
        struct weir_test_part *part = items[i]->source_data;
        part->next = items[i]->read;
    }
    return weir_test_world_leave(world, WEIR_OK);
}

/* --- the sink ----------------------------------------------------------------------------------*/

struct sink_config {
    struct weir_test_world *world;
    unsigned index;
    const struct weir_expr *key; /* of the original; NULL: it has none */
    const struct weir_template *topic;
};

struct test_sink {
    const struct sink_config *config;
};

static weir_status
test_sink_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    struct test_sink *self = instance;
    (void)ctx;
    self->config = config;
    struct weir_test_world *world = self->config->world;
    return weir_test_world_enter(world, "open") ? weir_test_world_leave(world, WEIR_OK)
                                                : door_closed(err);
}

static void test_sink_close(void *instance)
{
    (void)instance;
}

static weir_status test_sink_prepare(void *instance,
                                     struct weir_run *run,
                                     struct weir_record *record,
                                     struct weir_err *err)
{
    const struct sink_config *config = ((struct test_sink *)instance)->config;
    weir_status status = WEIR_OK;
    if (config->key != NULL && config->key->program != NULL) {
        status = weir_expr_text(run, config->key, record, &record->key, err);
    }
    if (status == WEIR_OK && config->topic != NULL && config->topic->text != NULL) {
        record->target = weir_slice_of(config->topic->text);
    } else if (status == WEIR_OK && config->topic != NULL && config->topic->expr.program != NULL) {
        status = weir_expr_text(run, &config->topic->expr, record, &record->target, err);
    }
    return status == WEIR_OK ? weir_record_read_headers(weir_run_batch(run), record, err) : status;
}

static const struct weir_header *keep_headers(struct weir_test_world *world,
                                              const struct weir_record *record)
{
    struct weir_header *headers =
        weir_conf_alloc(&world->arena, record->header_count, sizeof(*headers));
    for (uint32_t i = 0; i < record->header_count; i++) {
        headers[i].key = keep(world, record->headers[i].key);
        headers[i].value = keep(world, record->headers[i].value);
    }
    return headers;
}

static weir_status test_sink_write(void *instance,
                                   unsigned lane,
                                   struct weir_batch *batch,
                                   struct weir_record *const *records,
                                   size_t count,
                                   size_t *cursor,
                                   struct weir_err *err)
{
    const struct sink_config *config = ((struct test_sink *)instance)->config;
    struct weir_test_world *world = config->world;
    (void)lane;
    if (!weir_test_world_enter(world, "write")) {
        return door_closed(err);
    }
    const struct weir_partition *owned = batch->task; /* a task begins with its partition */
    const struct weir_test_part *part = owned->source_data;
    for (; *cursor < count; ++*cursor) {
        struct weir_record *record = records[*cursor];
        struct weir_slice value;
        weir_status status = weir_record_bytes(batch, record, &value, err);
        if (status != WEIR_OK) {
            return status;
        }
        *add_output(&world->open) = (struct weir_test_output){
            .sink = config->index,
            .part = part == NULL ? SIZE_MAX : (size_t)(part - world->parts),
            .key = keep(world, record->key),
            .value = keep(world, value),
            .topic = keep(world, record->target),
            .headers = keep_headers(world, record),
            .header_count = record->header_count,
            .time_ms = record->time_ms,
        };
        world->changes++;
    }
    return weir_test_world_leave(world, WEIR_OK);
}

/* --- the domain --------------------------------------------------------------------------------*/

struct test_domain {
    struct weir_test_world *world;
    const char *log;
};

static weir_status test_domain_open(void *instance,
                                    struct weir_ctx *ctx,
                                    void *const *sources,
                                    size_t source_count,
                                    void *const *sinks,
                                    size_t sink_count,
                                    struct weir_err *err)
{
    struct test_domain *self = instance;
    (void)ctx;
    (void)source_count;
    (void)sinks;
    (void)sink_count;
    (void)err;
    self->world = ((const struct test_source *)sources[0])->config->world;
    return WEIR_OK;
}

static void test_domain_close(void *instance)
{
    (void)instance;
}

static weir_status test_domain_begin(void *instance, struct weir_err *err)
{
    struct weir_test_world *world = ((struct test_domain *)instance)->world;
    return weir_test_world_enter(world, "begin") ? weir_test_world_leave(world, WEIR_OK)
                                                 : door_closed(err);
}

static weir_status
test_domain_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    struct weir_test_world *world = ((struct test_domain *)instance)->world;
    if (!weir_test_world_enter(world, "commit")) {
        return door_closed(err);
    }
    for (size_t i = 0; i < world->open.count; i++) {
        *add_output(&world->committed) = world->open.items[i];
    }
    world->open.count = 0;
    for (struct weir_test_shard *shard = world->shards; shard != NULL; shard = shard->next) {
        for (size_t i = 0; i < shard->count; i++) {
            if (shard->entries[i].state == ENTRY_OPEN) {
                shard->entries[i].state = ENTRY_COMMITTED;
            }
        }
    }
    for (size_t i = 0; i < commit->source_count; i++) {
        for (size_t k = 0; k < commit->sources[i].count; k++) {
            const struct weir_partition *item = commit->sources[i].items[k];
            struct weir_test_part *part = item->source_data;
            part->committed = item->closing;
        }
    }
    world->changes++;
    return weir_test_world_leave(world, WEIR_OK);
}

static weir_status test_domain_abort(void *instance, struct weir_err *err)
{
    struct weir_test_world *world = ((struct test_domain *)instance)->world;
    if (!weir_test_world_enter(world, "abort")) {
        return door_closed(err);
    }
    world_abort(world);
    world->changes++;
    return weir_test_world_leave(world, WEIR_OK);
}

/* --- the state log -----------------------------------------------------------------------------*/

static struct weir_test_shard *find_shard(const struct test_domain *self, int32_t index)
{
    struct weir_test_shard *shard = self->world->shards;
    while (shard != NULL && (shard->index != index || strcmp(shard->log, self->log) != 0)) {
        shard = shard->next;
    }
    WEIR_ASSERT(shard != NULL);
    return shard;
}

static weir_status test_log_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    struct test_domain *self = instance;
    struct weir_test_world *world = self->world;
    if (!weir_test_world_enter(world, "open of the state log")) {
        return door_closed(err);
    }
    self->log = NULL;
    for (const struct weir_test_shard *shard = world->shards; shard != NULL; shard = shard->next) {
        self->log = strcmp(shard->log, name) == 0 ? shard->log : self->log;
    }
    if (self->log == NULL) {
        self->log = weir_conf_strdup(&world->arena, name);
        for (int32_t i = 0; i < shards; i++) {
            struct weir_test_shard *shard = weir_calloc(1, sizeof(*shard));
            *shard = (struct weir_test_shard){.log = self->log, .index = i, .next = world->shards};
            world->shards = shard;
        }
    }
    *ret_entry_max = ENTRY_MAX;
    return weir_test_world_leave(world, WEIR_OK);
}

static weir_status
test_log_restore(void *instance,
                 int32_t index,
                 weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
                 void *context,
                 struct weir_err *err)
{
    const struct test_domain *self = instance;
    if (!weir_test_world_enter(self->world, "restore")) {
        return door_closed(err);
    }
    const struct weir_test_shard *shard = find_shard(self, index);
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < shard->count && status == WEIR_OK; i++) {
        if (shard->entries[i].state == ENTRY_COMMITTED) {
            status = take(context, shard->entries[i].bytes, err);
        }
    }
    return status == WEIR_OK ? weir_test_world_leave(self->world, WEIR_OK) : status;
}

static weir_status
test_log_append(void *instance, int32_t index, struct weir_slice entry, struct weir_err *err)
{
    const struct test_domain *self = instance;
    if (!weir_test_world_enter(self->world, "append of state")) {
        return door_closed(err);
    }
    struct weir_test_shard *shard = find_shard(self, index);
    if (shard->count == shard->capacity) {
        shard->capacity = shard->capacity == 0 ? 16 : 2 * shard->capacity;
        shard->entries = weir_realloc(shard->entries, shard->capacity, sizeof(*shard->entries));
    }
    shard->entries[shard->count++] =
        (struct entry){weir_conf_copy(&self->world->arena, entry), ENTRY_OPEN};
    return weir_test_world_leave(self->world, WEIR_OK);
}

static weir_status
test_log_place(void *instance, int32_t index, int64_t *ret_place, struct weir_err *err)
{
    (void)err;
    *ret_place = (int64_t)find_shard(instance, index)->count;
    return WEIR_OK;
}

static void test_log_cut(void *instance, int32_t index, int64_t place)
{
    struct test_domain *self = instance;
    struct weir_test_shard *shard = find_shard(self, index);
    if (!weir_test_world_enter(self->world, "cut of the state log")) {
        return;
    }
    for (int64_t i = 0; i < place; i++) {
        shard->entries[i].state = ENTRY_GONE;
    }
    (void)weir_test_world_leave(self->world, WEIR_OK);
}

static const struct weir_state_log_ops test_log_ops = {
    .open = test_log_open,
    .restore = test_log_restore,
    .append = test_log_append,
    .place = test_log_place,
    .cut = test_log_cut,
};

static const struct weir_domain_ops test_domain_ops = {
    .self_size = sizeof(struct test_domain),
    .open = test_domain_open,
    .close = test_domain_close,
    .begin = test_domain_begin,
    .commit = test_domain_commit,
    .abort = test_domain_abort,
    .state_log = &test_log_ops,
};

/* --- the components ----------------------------------------------------------------------------*/

static weir_status
test_domain_name(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err)
{
    (void)config;
    (void)connect;
    (void)err;
    weir_strbuf_text(out, "test");
    return WEIR_OK;
}

static const struct weir_source_ops test_source_ops = {
    .start = test_source_start,
    .poll = test_source_poll,
    .read = test_source_read,
    .seek = test_source_seek,
};

static const struct weir_component test_source = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SOURCE, .name = "test", .summary = "The input of a case."},
    .self_size = sizeof(struct test_source),
    .positions = WEIR_POSITIONS_GROUP,
    .bounded = true,
    .exclusive = true,
    .deterministic = true,
    .domain = &test_domain_ops,
    .open = test_source_open,
    .close = test_source_close,
    .domain_name = test_domain_name,
    .ops = {.source = &test_source_ops},
};

static const struct weir_sink_ops test_sink_ops = {
    .prepare = test_sink_prepare,
    .write = test_sink_write,
};

static const struct weir_component test_sink = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SINK, .name = "test", .summary = "The output of a case."},
    .self_size = sizeof(struct test_sink),
    .durable = true,
    .domain = &test_domain_ops,
    .open = test_sink_open,
    .close = test_sink_close,
    .domain_name = test_domain_name,
    .ops = {.sink = &test_sink_ops},
};

/* --- taking the place of others ----------------------------------------------------------------*/

const void *
weir_test_world_member(const struct weir_chosen *chosen, const char *name, enum weir_type type)
{
    const struct weir_field *field = chosen->described->fields;
    for (; field != NULL && field->type != WEIR_TYPE_END; field++) {
        if (field->type == type && field->name != NULL && strcmp(field->name, name) == 0) {
            return (const char *)chosen->config + field->offset;
        }
    }
    return NULL;
}

static void replace_sink(struct weir_test_world *world,
                         struct weir_test_file *file,
                         struct weir_chosen *chosen,
                         unsigned *index)
{
    struct sink_config *config = weir_conf_alloc(&file->arena, 1, sizeof(*config));
    *config = (struct sink_config){
        .world = world,
        .index = (*index)++,
        .key = weir_test_world_member(chosen, "key", WEIR_TYPE_JQ),
        .topic = weir_test_world_member(chosen, "topic", WEIR_TYPE_TEMPLATE),
    };
    chosen->described = &test_sink.described;
    chosen->config = config;
}

static void replace_sinks(struct weir_test_world *world,
                          struct weir_test_file *file,
                          struct weir_items *sinks,
                          unsigned *index)
{
    for (size_t i = 0; i < sinks->count; i++) {
        replace_sink(world, file, &WEIR_ITEMS_AT(struct weir_sink_config, sinks, i)->component,
                     index);
    }
}

void weir_test_world_replace(struct weir_test_world *world, struct weir_test_file *file)
{
    struct weir_pipeline_config *config = &file->loading.loaded->config;
    for (unsigned i = 0; i < config->sources.count; i++) {
        struct source_config *source = weir_conf_alloc(&file->arena, 1, sizeof(*source));
        *source = (struct source_config){world, i};
        struct weir_chosen *chosen =
            &WEIR_ITEMS_AT(struct weir_source_config, &config->sources, i)->component;
        chosen->described = &test_source.described;
        chosen->config = source;
    }
    unsigned index = 0;
    replace_sinks(world, file, &config->sinks, &index);
    for (size_t i = 0; i < config->branches.count; i++) {
        replace_sinks(world, file,
                      &WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, i)->sinks,
                      &index);
    }
    if (config->dead_letter != NULL) {
        replace_sink(world, file, &config->dead_letter->component, &index);
    }
    for (size_t i = 0; i < config->steps.count; i++) { /* so that results have an order */
        struct weir_exchange_config *exchange =
            WEIR_ITEMS_AT(struct weir_step_config, &config->steps, i)->exchange;
        if (exchange != NULL) {
            *exchange = (struct weir_exchange_config){.via = WEIR_EXCHANGE_MEMORY, .shards = 1};
        }
    }
    config->guarantee = WEIR_WISH_STRONGEST;
    config->state.log = WEIR_STATE_AUTO;
    config->commit_interval = 0;
    config->lanes = 1;
    config->http = NULL;
}

const char *weir_test_world_topic(const struct weir_test_file *file, unsigned source)
{
    const struct weir_plan_edge *edge = &file->plan.sources[source];
    const struct weir_chosen chosen = {&edge->component->described, edge->config, {NULL, 0, 0}};
    const char *const *topic = weir_test_world_member(&chosen, "topic", WEIR_TYPE_STR);
    const struct weir_strs *topics = weir_test_world_member(&chosen, "topics", WEIR_TYPE_STRS);
    const char *const *path = weir_test_world_member(&chosen, "path", WEIR_TYPE_STR);
    if (topic != NULL && *topic != NULL) {
        return *topic;
    }
    if (topics != NULL && topics->count > 0) {
        return topics->items[0];
    }
    return path != NULL && *path != NULL ? *path : edge->component->described.name;
}

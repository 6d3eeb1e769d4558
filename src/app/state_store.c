/* SPDX-License-Identifier: Apache-2.0
 *
 * State from outside. The log is read as a start would read it, but with steps found in it instead
 * of those that the pipeline has, so that what a start would refuse can still be looked at, saved
 * and moved. Writing makes one snapshot per shard: the frames are those of an engine that began
 * with these tables.
 */
#include "app/state_store.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "app/builtin.h"
#include "app/commands.h"
#include "base/assert.h"
#include "base/log.h"

enum { FILE_FRAME_MAX = 64 << 20, SHARDS_MAX = 1 << 20 };

static struct weir_log_fd client_log;

static struct weir_arena *store_arena(const struct weir_store *self)
{
    return (struct weir_arena *)(uintptr_t)&self->loading.arena;
}

/* The source in whose system the log lies; NULL: it lies in a file, or nowhere. */
static const struct weir_plan_edge *store_system(const struct weir_store *self)
{
    for (size_t i = 0; self->plan.state_in_domain && i < self->plan.source_count; i++) {
        const struct weir_positions_ops *ops = self->plan.sources[i].component->position_ops;
        if (ops != NULL && ops->read_state != NULL) {
            return &self->plan.sources[i];
        }
    }
    return NULL;
}

static struct weir_positions_call store_call(const struct weir_store *self,
                                             const struct weir_plan_edge *edge)
{
    return (struct weir_positions_call){
        .config = edge->config,
        .pipeline = self->loading.loaded->config.name,
        .arena = store_arena(self),
        .log = &self->log,
    };
}

static const char *log_name(const struct weir_store *self)
{
    return weir_arena_printf(store_arena(self), "%s.state", self->loading.loaded->config.name);
}

bool weir_store_open(struct weir_store *self, const char *command, const char *path, int *ret_code)
{
    *self = (struct weir_store){.command = command};
    weir_log_fd_init(&client_log, STDERR_FILENO, WEIR_LOG_FORMAT_TEXT, WEIR_LEVEL_WARN);
    self->log = (struct weir_log){&client_log.sink, NULL, command};
    weir_loading_init(&self->loading);
    bool is_sound = weir_loading_pipeline(&self->loading, path, &self->plan);
    weir_loading_report(&self->loading);
    *ret_code = is_sound ? WEIR_EXIT_OK : WEIR_EXIT_CONFIG;
    return is_sound;
}

void weir_store_close(struct weir_store *self)
{
    for (size_t i = 0; i < self->shard_count; i++) {
        weir_shard_log_free(self->shards[i].log);
    }
    weir_loading_done(&self->loading);
    weir_log_sink_flush(&client_log.sink);
    weir_log_fd_done(&client_log);
}

const struct weir_component *weir_store_component(const struct weir_store *self, const char *step)
{
    for (size_t i = 0; i < self->plan.stateful_step_count; i++) {
        if (strcmp(self->plan.stateful_steps[i].name, step) == 0) {
            return self->plan.stateful_steps[i].component;
        }
    }
    const char *kind = strrchr(step, '.');
    const struct weir_component *component;
    for (size_t i = 0; kind != NULL && (component = weir_builtin_at(i)) != NULL; i++) {
        if (component->described.kind == WEIR_ROLE_STEP &&
            strcmp(component->described.name, kind + 1) == 0) {
            return component;
        }
    }
    return NULL;
}

/* --- shards ------------------------------------------------------------------------------------*/

static struct weir_store_shard *store_add(struct weir_store *self)
{
    WEIR_ASSERT(self->shard_count < SHARDS_MAX);
    if ((self->shard_count & (self->shard_count - 1)) == 0) { /* full at each power of two */
        size_t capacity = self->shard_count == 0 ? 1 : self->shard_count * 2;
        struct weir_store_shard *larger =
            weir_arena_calloc(store_arena(self), capacity, sizeof(*larger));
        WEIR_ASSERT(larger != NULL);
        if (self->shard_count > 0) {
            memcpy(larger, self->shards, self->shard_count * sizeof(*larger));
        }
        self->shards = larger;
    }
    struct weir_store_shard *shard = &self->shards[self->shard_count++];
    *shard = (struct weir_store_shard){.position = -1, .log = weir_shard_log_new_discovering()};
    return shard;
}

struct weir_store_shard *
weir_store_shard(struct weir_store *self, struct weir_slice topic, int32_t partition)
{
    for (size_t i = 0; i < self->shard_count; i++) {
        struct weir_store_shard *shard = &self->shards[i];
        if (shard->partition == partition && weir_slice_equal(topic, weir_slice_of(shard->topic))) {
            return shard;
        }
    }
    struct weir_store_shard *shard = store_add(self);
    struct weir_slice copy = weir_arena_copy(store_arena(self), topic);
    shard->topic = weir_arena_printf(store_arena(self), "%.*s", (int)copy.size, copy.data);
    const char *exchange = self->plan.exchange_topic_name; /* what is behind it keeps the state */
    bool is_behind = exchange != NULL && strcmp(exchange, shard->topic) == 0;
    shard->source = is_behind                      ? self->plan.exchange_name
                    : self->plan.source_count == 1 ? weir_plan_edge_name(&self->plan.sources[0])
                                                   : NULL;
    shard->partition = partition;
    return shard;
}

/* --- reading -----------------------------------------------------------------------------------*/

static weir_status
take_entry(void *context, int32_t number, struct weir_slice entry, struct weir_err *err)
{
    struct weir_store *self = context;
    while (self->shard_count <= (size_t)number) {
        store_add(self)->partition = (int32_t)self->shard_count - 1;
    }
    self->shards[number].frames++;
    return weir_shard_log_take(self->shards[number].log, entry, err);
}

static weir_status take_frame(void *context, struct weir_slice frame, struct weir_err *err)
{
    struct weir_store_shard *shard = context;
    shard->frames++;
    return weir_shard_log_take(shard->log, frame, err);
}

static weir_status read_file(struct weir_store *self, struct weir_err *err)
{
    struct weir_state_log *file =
        weir_state_log_read(self->plan.log_dir, self->loading.loaded->config.name, err);
    weir_status status = file == NULL ? err->status : WEIR_OK;
    struct weir_state_position row;
    for (size_t i = 0; status == WEIR_OK && weir_state_log_position_at(file, i, &row); i++) {
        struct weir_store_shard *shard = store_add(self);
        shard->source = weir_arena_strdup(store_arena(self), row.source);
        shard->topic = weir_arena_strdup(store_arena(self), row.topic);
        shard->partition = row.partition;
        shard->position = row.position;
        status = weir_state_log_frames(file, row.source, row.topic, row.partition, take_frame,
                                       shard, err);
    }
    weir_state_log_close(file);
    return status;
}

static weir_status no_state(const struct weir_store *self, struct weir_err *err)
{
    if (self->plan.state_in_domain) {
        return weir_fail(err, WEIR_CONFIG,
                         "the state log of this system cannot be read from outside yet");
    }
    weir_status status =
        weir_fail(err, WEIR_CONFIG,
                  self->plan.stateful ? "the pipeline keeps its state nowhere (state: best effort)"
                                      : "the pipeline has no steps that keep state");
    return status;
}

weir_status weir_store_read(struct weir_store *self, struct weir_err *err)
{
    const struct weir_plan_edge *system = store_system(self);
    weir_status status = WEIR_OK;
    if (system != NULL) {
        int32_t shards = 0;
        struct weir_positions_call call = store_call(self, system);
        status = system->component->position_ops->read_state(&call, log_name(self), &shards,
                                                             take_entry, self, err);
    } else if (self->plan.uses_log) {
        status = read_file(self, err);
    } else {
        status = no_state(self, err);
    }
    for (size_t i = 0; i < self->shard_count && status == WEIR_OK; i++) {
        struct weir_store_shard *shard = &self->shards[i];
        struct weir_state_position row;
        status = weir_shard_log_restored(shard->log, err);
        if (weir_shard_log_position_at(shard->log, 0, &row)) {
            shard->source = row.source;
            shard->topic = row.topic;
            shard->partition = row.partition;
            shard->position = row.position;
        }
    }
    return status;
}

/* --- writing -----------------------------------------------------------------------------------*/

/* The frames of all shards, one after the other. */
/* Frames of a snapshot of each shard, one shard after the other. */
static weir_status each_frame(struct weir_store *self,
                              size_t frame_max,
                              weir_status (*take)(void *context,
                                                  const struct weir_store_shard *shard,
                                                  struct weir_slice frame,
                                                  struct weir_err *err),
                              void *context,
                              struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < self->shard_count && status == WEIR_OK; i++) {
        struct weir_store_shard *shard = &self->shards[i];
        weir_shard_log_want_snapshot(shard->log);
        do {
            struct weir_slice frame;
            const struct weir_state_position at = {shard->source, shard->topic, shard->partition,
                                                   shard->position, 0};
            weir_shard_log_seal(shard->log, &at, frame_max);
            for (size_t k = 0;
                 status == WEIR_OK && weir_shard_log_frame(shard->log, k, &frame); k++) {
                status = take(context, shard, frame, err);
            }
            (void)weir_shard_log_committed(shard->log);
        } while (status == WEIR_OK && weir_shard_log_has_more(shard->log));
    }
    return status;
}

static weir_status put_in_file(void *context,
                               const struct weir_store_shard *shard,
                               struct weir_slice frame,
                               struct weir_err *err)
{
    (void)err;
    weir_state_log_put_frame(context, shard->source, shard->topic, shard->partition, frame);
    return WEIR_OK;
}

static weir_status write_file(struct weir_store *self, struct weir_err *err)
{
    struct weir_state_log *file =
        weir_state_log_open(self->plan.log_dir, self->loading.loaded->config.name, err);
    if (file == NULL) {
        return err->status;
    }
    weir_status status = WEIR_OK;
    if (weir_state_log_epoch(file) > 0) {
        status = weir_fail(err, WEIR_REJECTED, "%s is not empty", self->plan.log_dir);
        weir_err_hint(err, "Remove it, or give the pipeline another `name`.");
    }
    if (status == WEIR_OK) {
        status = each_frame(self, FILE_FRAME_MAX, put_in_file, file, err);
    }
    for (size_t i = 0; i < self->shard_count; i++) {
        const struct weir_store_shard *shard = &self->shards[i];
        weir_state_log_put_position(file, shard->source, shard->topic, shard->partition,
                                    shard->position);
    }
    if (status == WEIR_OK) {
        status = weir_state_log_commit(file, 1, err);
    }
    weir_state_log_close(file);
    return status;
}

/* Every partition, with the positions to go on from. */
static weir_status find_shards(struct weir_store *self,
                               const struct weir_positions_call *call,
                               const struct weir_positions_ops *ops,
                               struct weir_position **ret_items,
                               size_t *ret_count,
                               struct weir_err *err)
{
    size_t count = 0;
    weir_status status = ops->list(call, ret_items, &count, err);
    *ret_count = count;
    for (size_t i = 0; i < count; i++) {
        (*ret_items)[i].target = -1;
    }
    for (size_t i = 0; i < self->shard_count && status == WEIR_OK; i++) {
        const struct weir_store_shard *shard = &self->shards[i];
        struct weir_position *item = NULL;
        for (size_t k = 0; k < count && item == NULL; k++) {
            struct weir_position *one = &(*ret_items)[k];
            bool same = one->partition == shard->partition && strcmp(one->topic, shard->topic) == 0;
            item = same ? one : NULL;
        }
        if (item == NULL) {
            status = weir_fail(err, WEIR_REJECTED, "the pipeline does not read partition %d of %s",
                               shard->partition, shard->topic);
        } else {
            item->target = shard->position;
        }
    }
    return status;
}

static weir_status check_readers(const struct weir_positions_call *call,
                                 const struct weir_positions_ops *ops,
                                 struct weir_err *err)
{
    struct weir_strbuf readers;
    weir_strbuf_init(&readers, 1 << 20);
    weir_status status = ops->readers == NULL ? WEIR_OK : ops->readers(call, &readers, err);
    if (status == WEIR_OK && readers.size > 0) {
        status = weir_fail(err, WEIR_REJECTED, "the pipeline runs: %.200s", readers.data);
        weir_err_hint(err, "Stop it first. A process that was killed counts until its "
                           "session_timeout is over.");
    }
    weir_strbuf_done(&readers);
    return status;
}

/* For a system a shard is its partition. */
struct system_frames {
    struct weir_store *store;
    size_t frame_max;
    weir_status (*take)(void *context,
                        int32_t shard,
                        struct weir_slice entry,
                        struct weir_err *err);
    void *context;
};

static weir_status give_to_system(void *context,
                                  const struct weir_store_shard *shard,
                                  struct weir_slice frame,
                                  struct weir_err *err)
{
    const struct system_frames *self = context;
    return self->take(self->context, shard->partition, frame, err);
}

static weir_status each_entry(void *instance,
                              weir_status (*take)(void *context,
                                                  int32_t shard,
                                                  struct weir_slice entry,
                                                  struct weir_err *err),
                              void *context,
                              struct weir_err *err)
{
    struct system_frames *self = instance;
    self->take = take;
    self->context = context;
    return each_frame(self->store, self->frame_max, give_to_system, self, err);
}

static weir_status
write_system(struct weir_store *self, const struct weir_plan_edge *system, struct weir_err *err)
{
    const struct weir_positions_ops *ops = system->component->position_ops;
    const struct weir_positions_call call = store_call(self, system);
    struct weir_position *items = NULL;
    size_t count = 0;
    if (ops->write_state == NULL) {
        return weir_fail(err, WEIR_CONFIG, "state cannot be imported into this system yet");
    }
    weir_status status = check_readers(&call, ops, err);
    if (status == WEIR_OK) {
        status = find_shards(self, &call, ops, &items, &count, err);
    }
    if (status == WEIR_OK) {
        struct system_frames frames = {.store = self, .frame_max = ops->state_entry_max};
        const struct weir_state_entries entries = {&frames, each_entry};
        status = ops->write_state(&call, log_name(self), items, count, &entries, err);
    }
    if (status == WEIR_OK && ops->commit != NULL) {
        struct weir_position *moved =
            weir_arena_calloc(store_arena(self), self->shard_count + 1, sizeof(*moved));
        WEIR_ASSERT(moved != NULL);
        for (size_t i = 0; i < self->shard_count; i++) {
            moved[i] = (struct weir_position){.topic = self->shards[i].topic,
                                              .partition = self->shards[i].partition,
                                              .target = self->shards[i].position};
        }
        status = ops->commit(&call, moved, self->shard_count, err);
    }
    return status;
}

weir_status weir_store_write(struct weir_store *self, struct weir_err *err)
{
    const struct weir_plan_edge *system = store_system(self);
    for (size_t i = 0; i < self->shard_count; i++) {
        weir_status status = weir_shard_log_restored(self->shards[i].log, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    return system != NULL        ? write_system(self, system, err)
           : self->plan.uses_log ? write_file(self, err)
                                 : no_state(self, err);
}

/* --- what would become of it -------------------------------------------------------------------*/

struct found {
    const char *name;
    uint32_t version;
    size_t keys;
};

static size_t find_steps(const struct weir_store *self, struct found *found, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < self->shard_count; i++) {
        const struct weir_shard_step *step;
        for (size_t k = 0; (step = weir_shard_log_step_at(self->shards[i].log, k)) != NULL; k++) {
            size_t at = 0;
            while (at < count && strcmp(found[at].name, step->name) != 0) {
                at++;
            }
            if (at == max) {
                continue;
            }
            if (at == count) {
                found[count++] = (struct found){.name = step->name, .version = step->version};
            }
            found[at].keys += weir_state_count(step->state);
        }
    }
    return count;
}

bool weir_store_plan(const struct weir_store *self, struct weir_strbuf *out)
{
    enum { STEPS_MAX = 1024 };
    struct found *found = weir_arena_calloc(store_arena(self), STEPS_MAX, sizeof(*found));
    WEIR_ASSERT(found != NULL);
    size_t count = find_steps(self, found, STEPS_MAX);
    bool fits = true;
    for (size_t i = 0; i < count; i++) {
        const struct weir_plan_step *step = NULL;
        for (size_t k = 0; k < self->plan.stateful_step_count && step == NULL; k++) {
            const struct weir_plan_step *one = &self->plan.stateful_steps[k];
            step = strcmp(one->name, found[i].name) == 0 ? one : NULL;
        }
        weir_strbuf_printf(out, "  %-24s ", found[i].name);
        if (step == NULL) {
            weir_strbuf_printf(out, "refused: no step has this name now (%zu keys)\n",
                               found[i].keys);
        } else if (step->version >> 24 != found[i].version >> 24) {
            weir_strbuf_printf(out, "refused: its %zu keys have layout %u, this weir writes %u\n",
                               found[i].keys, found[i].version >> 24, step->version >> 24);
        } else if (step->version != found[i].version) {
            weir_strbuf_printf(out,
                               "refused: its %zu keys are of other aggregates, or of another kind "
                               "or size of window\n",
                               found[i].keys);
        } else {
            weir_strbuf_printf(out, "goes on with %zu keys\n", found[i].keys);
        }
        fits = fits && step != NULL && step->version == found[i].version;
    }
    for (size_t k = 0; k < self->plan.stateful_step_count; k++) {
        size_t at = 0;
        while (at < count && strcmp(found[at].name, self->plan.stateful_steps[k].name) != 0) {
            at++;
        }
        if (at == count) {
            weir_strbuf_printf(out, "  %-24s begins empty\n", self->plan.stateful_steps[k].name);
        }
    }
    return fits;
}

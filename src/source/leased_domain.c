/* SPDX-License-Identifier: Apache-2.0
 *
 * The domain keeps nothing of its own: what an epoch commits lies in the parts of its sources, and
 * every call is one of theirs. State is of a pipeline with one source, so a shard is a part of the
 * first.
 */
#include "base/alloc.h"
#include "source/leased.h"
#include "source/modal.h"

struct leased_domain {
    struct weir_ctx *ctx;
    struct weir_leased **sources;
    size_t source_count;
};

static weir_status domain_open(void *instance,
                               struct weir_ctx *ctx,
                               void *const *sources,
                               size_t source_count,
                               void *const *sinks,
                               size_t sink_count,
                               struct weir_err *err)
{
    struct leased_domain *self = instance;
    weir_status status = WEIR_OK;
    self->ctx = ctx;
    self->sources = weir_calloc(source_count, sizeof(*self->sources));
    self->source_count = source_count;
    for (size_t i = 0; i < source_count; i++) {
        struct weir_leased *source = ((const struct weir_modal *)sources[i])->inner;
        self->sources[i] = source;
        if (status == WEIR_OK && source->settings.ops->join != NULL) {
            status = source->settings.ops->join(source, sinks, sink_count, err);
        }
    }
    return status;
}

static void domain_close(void *instance)
{
    struct leased_domain *self = instance;
    weir_free(self->sources);
}

static weir_status domain_begin(void *instance, struct weir_err *err)
{
    (void)instance;
    (void)err;
    return WEIR_OK;
}

static weir_status
domain_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    struct leased_domain *self = instance;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < commit->source_count && status == WEIR_OK; i++) {
        const struct weir_commit_source *source = &commit->sources[i];
        status =
            self->sources[i]->settings.ops->commit(self->sources[i], source->items, source->count,
                                                   source->stands, commit->timeout_ms, err);
    }
    return status;
}

static weir_status domain_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct leased_domain *self = instance;
    for (size_t i = 0; i < self->source_count; i++) {
        struct weir_leased *source = self->sources[i];
        for (uint32_t k = 0; k < source->settings.part_count; k++) {
            source->settings.ops->forget(source, weir_leased_part(source, k));
        }
    }
    return WEIR_OK;
}

/* --- the state log -----------------------------------------------------------------------------*/

static const struct weir_leased_ops *state_ops(const struct leased_domain *self)
{
    return self->sources[0]->settings.ops;
}

static struct weir_leased_part *state_part(const struct leased_domain *self, int32_t shard)
{
    return weir_leased_part(self->sources[0], (uint32_t)shard);
}

static weir_status state_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    (void)name;
    (void)shards;
    (void)err;
    const struct leased_domain *self = instance;
    *ret_entry_max = self->sources[0]->frame_bytes_max;
    return WEIR_OK;
}

/* The position was adopted before: what a predecessor had under way can no longer be applied. */
static weir_status
state_restore(void *instance,
              int32_t shard,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct leased_domain *self = instance;
    return state_ops(self)->state_restore(self->sources[0], state_part(self, shard), take, context,
                                          err);
}

static weir_status
state_append(void *instance, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    (void)err;
    struct leased_domain *self = instance;
    state_ops(self)->state_append(self->sources[0], state_part(self, shard), entry);
    return WEIR_OK;
}

static weir_status
state_place(void *instance, int32_t shard, int64_t *ret_place, struct weir_err *err)
{
    (void)err;
    struct leased_domain *self = instance;
    *ret_place = state_ops(self)->state_place(self->sources[0], state_part(self, shard));
    return WEIR_OK;
}

static void state_cut(void *instance, int32_t shard, int64_t place)
{
    struct leased_domain *self = instance;
    struct weir_leased_part *part = state_part(self, shard);
    struct weir_err err = {0};
    if (state_ops(self)->state_cut(self->sources[0], part, place, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the state", WEIR_F_ERR(&err));
        return; /* the next snapshot cuts more */
    }
    WEIR_LOG_INFO(self->ctx->log, "state cut behind a snapshot", WEIR_F("partition", part->topic));
}

static const struct weir_state_log_ops leased_state_log_ops = {
    .open = state_open,
    .restore = state_restore,
    .append = state_append,
    .place = state_place,
    .cut = state_cut,
};

const struct weir_domain_ops weir_leased_domain_ops = {
    .self_size = sizeof(struct leased_domain),
    .open = domain_open,
    .close = domain_close,
    .begin = domain_begin,
    .commit = domain_commit,
    .abort = domain_abort,
    .state_log = &leased_state_log_ops,
};

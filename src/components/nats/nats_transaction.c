/* SPDX-License-Identifier: Apache-2.0
 *
 * One epoch, many commits: each task's is its own. The state of a task lies in the log of its
 * positions, frames in front of the commit that they are part of; a place in it is a sequence of
 * weir's stream.
 */
#include "nats_transaction.h"

#include "base/alloc.h"
#include "nats_positioned.h"
#include "nats_source.h"

enum { FRAME_BYTES_MAX = 512 * 1024 }; /* a server takes 1 MiB, unless it is told otherwise */

struct nats_transaction {
    struct weir_ctx *ctx;
    struct nats_positioned **sources;
    size_t source_count;
};

static weir_status transaction_open(void *instance,
                                    struct weir_ctx *ctx,
                                    void *const *sources,
                                    size_t source_count,
                                    void *const *sinks,
                                    size_t sink_count,
                                    struct weir_err *err)
{
    (void)sinks;
    (void)sink_count;
    (void)err;
    struct nats_transaction *self = instance;
    self->ctx = ctx;
    self->sources = weir_calloc(source_count, sizeof(struct nats_positioned *));
    self->source_count = source_count;
    for (size_t i = 0; i < source_count; i++) {
        self->sources[i] = nats_source_inner(sources[i]);
    }
    return WEIR_OK;
}

static void transaction_close(void *instance)
{
    struct nats_transaction *self = instance;
    weir_free(self->sources);
}

static weir_status transaction_begin(void *instance, struct weir_err *err)
{
    (void)instance;
    (void)err;
    return WEIR_OK;
}

static weir_status
transaction_commit(void *instance, const struct weir_commit *commit, struct weir_err *err)
{
    struct nats_transaction *self = instance;
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < commit->source_count && status == WEIR_OK; i++) {
        const struct weir_commit_source *source = &commit->sources[i];
        status = nats_positioned_commit(self->sources[i], source->items, source->count,
                                        source->stands, err);
    }
    return status;
}

static weir_status transaction_abort(void *instance, struct weir_err *err)
{
    (void)err;
    struct nats_transaction *self = instance;
    for (size_t i = 0; i < self->source_count; i++) {
        nats_positioned_abort(self->sources[i]);
    }
    return WEIR_OK;
}

/* --- the state log -----------------------------------------------------------------------------*/

static weir_status state_open(
    void *instance, const char *name, int32_t shards, size_t *ret_entry_max, struct weir_err *err)
{
    (void)instance;
    (void)name;
    (void)shards;
    (void)err;
    *ret_entry_max = FRAME_BYTES_MAX;
    return WEIR_OK;
}

/* The task was adopted before: what a predecessor had under way can no longer be appended. */
static weir_status
state_restore(void *instance,
              int32_t shard,
              weir_status (*take)(void *context, struct weir_slice entry, struct weir_err *err),
              void *context,
              struct weir_err *err)
{
    struct nats_transaction *self = instance;
    struct nats_client *client = nats_positioned_client(self->sources[0], err);
    return client == NULL ? err->status
                          : nats_log_restore(nats_positioned_log(self->sources[0], shard), client,
                                             take, context, err);
}

static weir_status
state_append(void *instance, int32_t shard, struct weir_slice entry, struct weir_err *err)
{
    (void)err;
    struct nats_transaction *self = instance;
    nats_log_append(nats_positioned_log(self->sources[0], shard), entry);
    return WEIR_OK;
}

static weir_status
state_place(void *instance, int32_t shard, int64_t *ret_place, struct weir_err *err)
{
    (void)err;
    struct nats_transaction *self = instance;
    *ret_place = (int64_t)nats_positioned_log(self->sources[0], shard)->last + 1;
    return WEIR_OK;
}

static void state_cut(void *instance, int32_t shard, int64_t place)
{
    struct nats_transaction *self = instance;
    struct weir_err err = {0};
    struct nats_client *client = nats_positioned_client(self->sources[0], &err);
    struct nats_log *log = nats_positioned_log(self->sources[0], shard);
    if (client == NULL || nats_log_cut(log, client, (uint64_t)place, &err) != WEIR_OK) {
        WEIR_LOG_WARN(self->ctx->log, "cannot cut the state", WEIR_F_ERR(&err));
        return; /* the next snapshot cuts more */
    }
    WEIR_LOG_INFO(self->ctx->log, "state cut behind a snapshot",
                  WEIR_F("subject", (const char *)log->subject));
}

static const struct weir_state_log_ops nats_state_log_ops = {
    .open = state_open,
    .restore = state_restore,
    .append = state_append,
    .place = state_place,
    .cut = state_cut,
};

const struct weir_domain_ops nats_transaction_ops = {
    .self_size = sizeof(struct nats_transaction),
    .open = transaction_open,
    .close = transaction_close,
    .begin = transaction_begin,
    .commit = transaction_commit,
    .abort = transaction_abort,
    .state_log = &nats_state_log_ops,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Who has what is the leases' to say, and looked at whenever control polls: what the keeper took is
 * adopted, what leaves or is lost is given back. A system that cannot be reached is asked again
 * after a while; what is this process's already is served meanwhile.
 */
#include "source/leased.h"

#include "base/assert.h"
#include "base/clock.h"

enum { RETRY_MS = 200, LEAVE_MS = 2000, HURRY_MS = 200 };

weir_status weir_leased_init(struct weir_leased *self,
                             const struct weir_leased_settings *settings,
                             struct weir_err *err)
{
    struct weir_ctx *ctx = settings->ctx;
    self->settings = *settings;
    self->frame_bytes_max = settings->ops->frame_bytes_max;
    self->leases = weir_leases_new(&(struct weir_leases_settings){
        .medium = settings->medium,
        .medium_self = settings->medium_self,
        .clock = ctx->clock,
        .count = settings->part_count,
        .member = settings->nonce,
        .ttl_ms = settings->ttl_ms,
    });
    self->keeper = (struct weir_keeper){.leases = self->leases,
                                        .clock = ctx->clock,
                                        .log = ctx->log,
                                        .owner_fd = weir_control_wake_fd(ctx)};
    return weir_keeper_init(&self->keeper, err);
}

void weir_leased_done(struct weir_leased *self)
{
    if (self->leases != NULL) {
        weir_keeper_done(&self->keeper);
        weir_leases_free(self->leases);
        self->leases = NULL;
    }
}

struct weir_leased_part *weir_leased_part(const struct weir_leased *self, uint32_t index)
{
    WEIR_ASSERT(index < self->settings.part_count);
    return (void *)((char *)self->settings.parts + index * self->settings.part_size);
}

weir_status weir_leased_start(void *instance, struct weir_err *err)
{
    struct weir_leased *self = instance;
    return weir_keeper_start(&self->keeper, err);
}

/* --- ownership ---------------------------------------------------------------------------------*/

/* What this process has of the lease can be another's any moment. */
static bool is_lost(const struct weir_leased *self, const struct weir_leased_part *part)
{
    enum weir_lease_state state = weir_leases_state(self->leases, (uint32_t)part->index, NULL);
    return part->is_over || state == WEIR_LEASE_LOST || state == WEIR_LEASE_FREE;
}

/* False: not yet, for what it has in the open epoch is being committed. */
static bool give_back(struct weir_leased *self, struct weir_leased_part *part)
{
    const struct weir_leased_ops *ops = self->settings.ops;
    bool lost = is_lost(self, part);
    if (!part->is_leaving) {
        part->is_leaving = true;
        ops->pause(self, part);
    }
    if (!weir_source_release(self->settings.ctx, &part->part, 1, lost)) {
        return false;
    }
    part->is_leaving = false;
    /* The commit in it may have found out that it was lost. */
    weir_leases_let_go(self->leases, (uint32_t)part->index, lost || part->is_over);
    part->part = NULL;
    ops->end(self, part);
    weir_keeper_look(&self->keeper);
    return true;
}

/* The state, if there is any, must be of the very position: they were committed together. */
static weir_status part_begin(struct weir_leased *self,
                              struct weir_leased_part *part,
                              int64_t position,
                              struct weir_err *err)
{
    const struct weir_assignment item = {
        .topic = part->topic,
        .index = part->index,
        .position = position,
        .partition_count = (int32_t)self->settings.part_count,
        .source_data = part,
    };
    struct weir_partition *owned = NULL;
    weir_source_assign(self->settings.ctx, &item, 1, &owned);
    part->part = owned;
    if (owned->read != position) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%.200s stands at %lld, its state at %lld",
                                       part->topic, (long long)position, (long long)owned->read);
        weir_err_hint(err, "Begin anew under another `name`, or delete what is kept of the state.");
        return status;
    }
    return self->settings.ops->begin(self, part, position, err);
}

static weir_status take_over(struct weir_leased *self,
                             struct weir_leased_part *part,
                             uint64_t token,
                             struct weir_err *err)
{
    int64_t position = -1;
    part->is_over = false;
    weir_status status = self->settings.ops->adopt(self, part, token, &position, err);
    if (status == WEIR_AGAIN) {
        return WEIR_OK;
    }
    if (status == WEIR_FENCED) {
        weir_leases_let_go(self->leases, (uint32_t)part->index, true);
        weir_err_clear(err);
        return WEIR_OK;
    }
    return status == WEIR_OK ? part_begin(self, part, position, err) : status;
}

static weir_status
part_poll(struct weir_leased *self, struct weir_leased_part *part, struct weir_err *err)
{
    uint64_t token;
    uint32_t index = (uint32_t)part->index;
    enum weir_lease_state state = weir_leases_state(self->leases, index, &token);
    bool ours = part->part != NULL;
    if (ours && (part->is_leaving || is_lost(self, part) || state == WEIR_LEASE_LEAVING)) {
        if (!part->is_leaving && is_lost(self, part)) {
            WEIR_LOG_WARN(self->settings.ctx->log, "lease lost", WEIR_F("partition", part->topic));
        }
        (void)give_back(self, part);
    } else if (ours) {
        return self->settings.ops->serve(self, part, err);
    } else if (state == WEIR_LEASE_HELD) {
        return take_over(self, part, token, err);
    } else if (state != WEIR_LEASE_FREE && state != WEIR_LEASE_DRAINED) {
        weir_leases_let_go(self->leases, index, false);
        weir_keeper_look(&self->keeper);
    }
    return WEIR_OK;
}

/* Others may have all partitions; with nobody else there, none is too few. */
static void show_link(struct weir_leased *self)
{
    struct weir_ctx *ctx = self->settings.ctx;
    struct weir_err why = {0};
    bool has_any = false;
    for (uint32_t i = 0; i < self->settings.part_count && !has_any; i++) {
        has_any = weir_leased_part(self, i)->part != NULL;
    }
    weir_status status = weir_keeper_trouble(&self->keeper, &why);
    if (status == WEIR_OK && !has_any && weir_leases_members(self->leases) <= 1) {
        status = weir_fail(&why, WEIR_UNAVAILABLE, "none of its partitions is this process's yet");
    }
    if (status == WEIR_OK) {
        weir_link_up(ctx, &self->link);
    } else {
        weir_link_down(ctx, &self->link, &why);
    }
}

weir_status weir_leased_poll(void *instance, struct weir_err *err)
{
    struct weir_leased *self = instance;
    struct weir_ctx *ctx = self->settings.ctx;
    weir_status status = weir_keeper_failed(&self->keeper, err);
    if (!self->is_known && weir_leases_members(self->leases) > 0) {
        self->is_known = true; /* perhaps there is nothing for this process */
        weir_source_assign(ctx, NULL, 0, NULL);
    }
    int64_t now_ns = weir_clock_monotonic_ns(ctx->clock);
    bool is_early = self->tried_ns != 0 && now_ns - self->tried_ns < RETRY_MS * WEIR_NS_PER_MS;
    for (uint32_t i = 0; i < self->settings.part_count && status == WEIR_OK; i++) {
        struct weir_leased_part *part = weir_leased_part(self, i);
        if (part->part != NULL || !is_early) {
            status = part_poll(self, part, err);
            self->tried_ns = status == WEIR_OK ? self->tried_ns : now_ns;
        }
    }
    if (status != WEIR_OK && weir_status_class(status) != WEIR_CLASS_FATAL) {
        WEIR_LOG_WARN(ctx->log, "cannot take over partitions", WEIR_F_ERR(err));
        weir_err_clear(err);
        status = WEIR_OK;
    }
    show_link(self);
    return status;
}

weir_status weir_leased_commit(void *instance,
                               struct weir_partition *const *items,
                               size_t count,
                               struct weir_err *err)
{
    struct weir_leased *self = instance;
    return self->settings.ops->commit(self, items, count, NULL,
                                      self->settings.ctx->transaction_timeout_ms, err);
}

void weir_leased_stop(void *instance)
{
    struct weir_leased *self = instance;
    for (uint32_t i = 0; i < self->settings.part_count; i++) {
        struct weir_leased_part *part = weir_leased_part(self, i);
        if (part->part != NULL) {
            while (!give_back(self, part)) {
            }
        } else {
            weir_leases_let_go(self->leases, i, false);
        }
    }
    weir_keeper_stop(&self->keeper, weir_ctx_must_hurry(self->settings.ctx) ? HURRY_MS : LEAVE_MS);
    weir_link_up(self->settings.ctx, &self->link);
}

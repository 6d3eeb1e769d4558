/* SPDX-License-Identifier: Apache-2.0
 *
 * One lease that goes to whoever takes it first. The component that keeps it is the first source or
 * sink whose system can.
 */
#include "engine/leader.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/keeper.h"
#include "engine/engine_priv.h"

enum { LEAVE_MS = 2000 };

struct weir_leader {
    struct weir_engine *engine;
    const struct weir_lease_ops *ops;
    void *medium;
    struct weir_leases *leases;
    struct weir_keeper keeper;
};

struct weir_leader *weir_leader_start(struct weir_engine *engine, struct weir_err *err)
{
    const struct weir_plan_edge *edge = engine->plan.leases;
    if (edge == NULL) {
        return NULL;
    }
    struct weir_leader *self = weir_calloc(1, sizeof(*self));
    self->engine = engine;
    self->ops = edge->component->leases;
    self->medium = weir_calloc(1, self->ops->self_size);
    const struct weir_leases_settings settings = {
        .medium = self->ops->medium,
        .medium_self = self->medium,
        .clock = engine->clock,
        .count = 1,
        .member = weir_random_next(&engine->random),
        .ttl_ms = engine->config->singleton_timeout,
        .sticky = true,
    };
    self->leases = weir_leases_new(&settings);
    self->keeper = (struct weir_keeper){.leases = self->leases,
                                        .clock = engine->clock,
                                        .log = &engine->log,
                                        .owner_fd = engine->wake_fd};
    weir_status status = weir_keeper_init(&self->keeper, err);
    if (status == WEIR_OK) {
        status = self->ops->open(self->medium, edge->config, engine->config->name, settings.member,
                                 settings.ttl_ms, err);
    }
    status = status == WEIR_OK ? weir_keeper_start(&self->keeper, err) : status;
    if (status != WEIR_OK) {
        weir_leader_stop(self);
        return NULL;
    }
    return self;
}

void weir_leader_stop(struct weir_leader *self)
{
    if (self == NULL) {
        return;
    }
    weir_leases_let_go(self->leases, 0, false);
    weir_keeper_stop(&self->keeper, LEAVE_MS);
    weir_keeper_done(&self->keeper);
    self->ops->close(self->medium);
    weir_leases_free(self->leases);
    weir_free(self->medium);
    weir_free(self);
}

bool weir_leader_leads(struct weir_leader *self)
{
    return self == NULL || weir_leases_state(self->leases, 0, NULL) == WEIR_LEASE_HELD;
}

void weir_leader_yield(struct weir_leader *self)
{
    weir_leases_let_go(self->leases, 0, true);
    weir_keeper_look(&self->keeper);
}

bool weir_leader_is_sound(const struct weir_leader *self)
{
    return weir_keeper_is_sound(&self->keeper);
}

bool weir_leader_has_failed(struct weir_leader *self, struct weir_err *err)
{
    return weir_keeper_failed(&self->keeper, err) != WEIR_OK;
}

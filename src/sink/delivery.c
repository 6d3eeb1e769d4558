/* SPDX-License-Identifier: Apache-2.0
 *
 * Wake-ups are decided under the lock and given without it, so that nobody wakes only to wait.
 */
#include "sink/delivery.h"

#include "base/wake.h"

void weir_delivery_init(struct weir_delivery *self, struct weir_ctx *ctx)
{
    *self = (struct weir_delivery){.ctx = ctx};
    pthread_mutex_init(&self->lock, NULL);
}

void weir_delivery_done(struct weir_delivery *self)
{
    weir_link_up(self->ctx, &self->link);
    pthread_mutex_destroy(&self->lock);
}

void weir_delivery_lock(struct weir_delivery *self)
{
    pthread_mutex_lock(&self->lock);
}

void weir_delivery_unlock(struct weir_delivery *self)
{
    pthread_mutex_unlock(&self->lock);
}

static void tell_lanes(const struct weir_delivery *self)
{
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        weir_wake(weir_lane_wake_fd(self->ctx, i));
    }
}

void weir_delivery_unlock_and_tell(struct weir_delivery *self, bool has_room)
{
    bool wake_lanes = self->lanes_wait && has_room;
    bool wake_control = self->control_waits && (self->failure.status != WEIR_OK ||
                                                self->answered >= self->sealed);
    self->lanes_wait = self->lanes_wait && !wake_lanes;
    self->control_waits = self->control_waits && !wake_control;
    weir_delivery_unlock(self);
    if (wake_lanes) {
        tell_lanes(self);
    }
    if (wake_control) {
        weir_wake(weir_control_wake_fd(self->ctx));
    }
}

void weir_delivery_blame(struct weir_delivery *self, const struct weir_err *err)
{
    if (self->failure.status == WEIR_OK) {
        self->failure = *err;
        self->control_waits = true;
    }
}

void weir_delivery_fail(struct weir_delivery *self, const struct weir_err *err)
{
    weir_delivery_lock(self);
    weir_delivery_blame(self, err);
    weir_delivery_unlock_and_tell(self, false);
}

void weir_delivery_away(struct weir_delivery *self, const struct weir_err *err)
{
    weir_delivery_lock(self);
    self->away = *err;
    weir_delivery_unlock(self);
    weir_link_down(self->ctx, &self->link, err);
}

void weir_delivery_back(struct weir_delivery *self)
{
    weir_delivery_lock(self);
    weir_err_clear(&self->away);
    weir_delivery_unlock(self);
    weir_link_up(self->ctx, &self->link);
    tell_lanes(self);
}

weir_status weir_delivery_poll(struct weir_delivery *self, struct weir_err *err)
{
    bool may_give_up = weir_ctx_may_give_up(self->ctx);
    weir_delivery_lock(self);
    bool holds = self->written > self->answered || self->lanes_wait;
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    } else if (may_give_up && holds && self->away.status != WEIR_OK) {
        *err = self->away;
    }
    weir_delivery_unlock(self);
    return err->status;
}

void weir_delivery_seal(struct weir_delivery *self)
{
    weir_delivery_lock(self);
    self->sealed = self->written;
    weir_delivery_unlock(self);
}

weir_status weir_delivery_confirm(struct weir_delivery *self, struct weir_err *err)
{
    weir_delivery_lock(self);
    bool is_done = self->answered >= self->sealed;
    self->control_waits = !is_done;
    if (self->failure.status != WEIR_OK) {
        *err = self->failure;
    }
    weir_delivery_unlock(self);
    return err->status != WEIR_OK ? err->status : is_done ? WEIR_OK : WEIR_AGAIN;
}

void weir_delivery_forget(struct weir_delivery *self)
{
    self->sealed = self->written;
    self->failure = (struct weir_err){0};
    self->lanes_wait = self->control_waits = false;
}

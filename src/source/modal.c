/* SPDX-License-Identifier: Apache-2.0
 *
 * Every call goes on to the mode. Closing and stopping come also to a source whose open failed
 * before it had one.
 */
#include "source/modal.h"

#include "base/alloc.h"

weir_status weir_modal_open(struct weir_modal *self,
                            const struct weir_mode *mode,
                            const void *config,
                            struct weir_ctx *ctx,
                            struct weir_err *err)
{
    self->mode = mode;
    self->inner = weir_calloc(1, mode->self_size);
    return mode->open(self->inner, config, ctx, err);
}

void weir_modal_close(void *instance)
{
    struct weir_modal *self = instance;
    if (self->mode != NULL) {
        self->mode->close(self->inner);
        weir_free(self->inner);
        *self = (struct weir_modal){0};
    }
}

weir_status weir_modal_start(void *instance, struct weir_err *err)
{
    struct weir_modal *self = instance;
    return self->mode->ops.start(self->inner, err);
}

weir_status weir_modal_poll(void *instance, struct weir_err *err)
{
    struct weir_modal *self = instance;
    return self->mode->ops.poll(self->inner, err);
}

weir_status weir_modal_read(
    void *instance, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct weir_modal *self = instance;
    return self->mode->ops.read(self->inner, lane, intake, max, err);
}

weir_status weir_modal_seek(void *instance,
                            struct weir_partition *const *items,
                            size_t count,
                            struct weir_err *err)
{
    struct weir_modal *self = instance;
    return self->mode->ops.seek(self->inner, items, count, err);
}

weir_status weir_modal_commit(void *instance,
                              struct weir_partition *const *items,
                              size_t count,
                              struct weir_err *err)
{
    struct weir_modal *self = instance;
    return self->mode->ops.commit(self->inner, items, count, err);
}

void weir_modal_stop(void *instance)
{
    struct weir_modal *self = instance;
    if (self->mode != NULL) {
        self->mode->ops.stop(self->inner);
    }
}

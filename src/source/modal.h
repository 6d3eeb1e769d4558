/* SPDX-License-Identifier: Apache-2.0
 *
 * A source with several ways to read, of which its configuration and the pipeline choose one when
 * it is opened. The source's instance is a struct weir_modal; its component's open chooses, the
 * rest is passed on.
 */
#ifndef WEIR_SOURCE_MODAL_H
#define WEIR_SOURCE_MODAL_H

#include <weir/component.h>

/* A way to read. The functions are those of weir_source_ops; self is of self_size bytes. */
struct weir_mode {
    size_t self_size;
    weir_status (*open)(void *self, const void *config, struct weir_ctx *ctx, struct weir_err *err);
    void (*close)(void *self); /* of what open has begun, too */
    struct weir_source_ops ops;
};

struct weir_modal {
    const struct weir_mode *mode; /* NULL: not opened */
    void *inner;                  /* the mode's self */
};

WEIR_MUST_USE weir_status weir_modal_open(struct weir_modal *self,
                                          const struct weir_mode *mode,
                                          const void *config,
                                          struct weir_ctx *ctx,
                                          struct weir_err *err);
void weir_modal_close(void *self);

/* weir_source_ops, but for `origin`. */
weir_status weir_modal_start(void *self, struct weir_err *err);
weir_status weir_modal_poll(void *self, struct weir_err *err);
weir_status weir_modal_read(
    void *self, unsigned lane, struct weir_intake *intake, size_t max, struct weir_err *err);
weir_status weir_modal_seek(void *self,
                            struct weir_partition *const *items,
                            size_t count,
                            struct weir_err *err);
weir_status weir_modal_commit(void *self,
                              struct weir_partition *const *items,
                              size_t count,
                              struct weir_err *err);
void weir_modal_stop(void *self);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Aggregates: what a window or a running `aggregate` step keeps of the records it saw.
 *
 * A pane is one set of aggregates: an entry of the step's state whose key begins with 'p'. Each
 * aggregate has a slot of fixed size in the pane's value; what grows (the elements of collect, the
 * sketch of quantile) has an entry of its own beside it, with the same key but 'v' and the number
 * of the aggregate in front. All sums are such that merging two panes equals having seen the
 * records of both: that is what sliding windows and sessions are made of.
 *
 * A set (struct aggregates) is immutable after open and shared by the lanes.
 */
#ifndef WEIR_STEPS_AGGREGATES_H
#define WEIR_STEPS_AGGREGATES_H

#include <weir/component.h>
#include <weir/state.h>

enum { AGGREGATES_MAX = 64, GROUP_MAX = 59993, PANE_KEY_MAX = 9 + 60000 };

extern const struct weir_callable aggregate_callables[];

struct aggregate;
struct aggregates {
    struct aggregate *items;
    size_t count;
    size_t size; /* bytes of the slots, a multiple of 8 */
};

/* What one record means to each of them, before anything is changed. */
struct aggregate_values {
    struct weir_value values[AGGREGATES_MAX];
    int64_t time_ms;
};

/* For state_layout: names and functions, in order; and the rest of a step's. */
uint32_t aggregates_layout(const struct weir_calls *calls);
uint32_t aggregates_mix(uint32_t layout, int64_t number);

/* Everything that can be checked without data. */
weir_status aggregates_check(const struct weir_calls *calls, struct weir_err *err);
weir_status
aggregates_open(struct aggregates *self, const struct weir_calls *calls, struct weir_err *err);
void aggregates_close(struct aggregates *self);
/* Is all they keep in the slots, but for long texts? */
bool aggregates_are_fixed(const struct aggregates *self);

/* Evaluates the expressions. Whatever can fail fails here. */
weir_status aggregates_read(const struct aggregates *self,
                            struct weir_run *run,
                            struct weir_record *record,
                            int64_t time_ms,
                            struct aggregate_values *ret_values,
                            struct weir_err *err);
/* `slots` is self->size bytes of the pane's value, zeroed at first, being edited. */
void aggregates_add(const struct aggregates *self,
                    struct weir_run *run,
                    struct weir_record *record,
                    struct weir_slice pane,
                    char *slots,
                    const struct aggregate_values *values);
/* Adds what `from` has seen. Neither is dropped. */
void aggregates_merge(const struct aggregates *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      char *slots,
                      struct weir_slice from,
                      const char *from_slots);
/* Appends ,"name":value for each. */
void aggregates_write(const struct aggregates *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      const char *slots,
                      struct weir_strbuf *out);
/* Drops the pane's own entries, not the pane. */
void aggregates_drop(const struct aggregates *self, struct weir_run *run, struct weir_slice pane);

#endif

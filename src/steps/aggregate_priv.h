/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the aggregates: slots, and the functions of each family.
 */
#ifndef WEIR_STEPS_AGGREGATE_PRIV_H
#define WEIR_STEPS_AGGREGATE_PRIV_H

#include "aggregates.h"

enum {
    INLINE_TEXT = 30,
    DISTINCT_EXACT = 1024,
    DISTINCT_REGISTERS = 4096,
    QUANTILE_BINS = 4096,
    COLLECT_MAX = 100000,
    TOP_MAX = 10000,
    HISTOGRAM_MAX = 256,
    RESULT_MAX = 16 << 20,
};

// clang-format off
#define AGGREGATE_MAP(X) \
    X(COUNT, "count", 0, 1, "count or count(expr)", "How many records; with an argument, for how many it is neither false nor null.") \
    X(SUM, "sum", 1, 1, "sum(expr)", "The sum of numbers.") \
    X(AVG, "avg", 1, 1, "avg(expr)", "The mean of numbers; null without any.") \
    X(MIN, "min", 1, 1, "min(expr)", "The least value in jq's order.") \
    X(MAX, "max", 1, 1, "max(expr)", "The greatest value in jq's order.") \
    X(FIRST, "first", 1, 1, "first(expr)", "The value of the record with the earliest event time.") \
    X(LAST, "last", 1, 1, "last(expr)", "The value of the record with the latest event time.") \
    X(STDDEV, "stddev", 1, 1, "stddev(expr)", "Standard deviation of the sample; null below two numbers.") \
    X(VARIANCE, "variance", 1, 1, "variance(expr)", "Variance of the sample; null below two numbers.") \
    X(COLLECT, "collect", 2, 2, "collect(expr; max)", "An array of the values in the order they came, at most `max`.") \
    X(DISTINCT, "count_distinct", 1, 1, "count_distinct(expr)", "How many different values; exact up to 1024, then within about 1.6 % (HyperLogLog).") \
    X(QUANTILE, "quantile", 2, 2, "quantile(expr; q)", "The q-quantile of numbers, within 1 % of the true value (DDSketch).") \
    X(TOP, "top", 2, 2, "top(expr; k)", "The k greatest values, the greatest first.") \
    X(HISTOGRAM, "histogram", 2, 2, "histogram(expr; [bounds])", "How many numbers are up to each bound and above the last: one count more than bounds.") \
    X(REDUCE, "reduce", 2, 3, "reduce(init; step; merge)", "An own aggregate: `step` makes the next state of {state, value}; `merge`, needed by sliding and session windows, makes one of {a, b}.")
// clang-format on

enum function {
#define X(id, name, min, max, signature, help) FUNCTION_##id,
    AGGREGATE_MAP(X)
#undef X
};

struct aggregate {
    const struct weir_call *call;
    enum function function;
    unsigned number;
    size_t at; /* of its slot */
    double quantile;
    size_t limit; /* collect, top */
    double *bounds;
    size_t bound_count;
    char *init;  /* reduce: JSON */
    char *label; /* ,"name": */
};

struct sum_slot {
    int64_t count;
    uint64_t low;
    int64_t high; /* with low: the sum of the integers */
    double decimals, lost;
    int64_t decimal_count;
};

struct value_slot {
    double number; /* of a number */
    int64_t time_ms;
    uint8_t tag, size;
    char text[INLINE_TEXT];
};
enum { VALUE_NONE, VALUE_NUMBER, VALUE_OTHER, VALUE_OUTSIDE };

struct spread_slot {
    int64_t count;
    double mean, squares;
};

/* --- entries of their own: lists, sketches, long values ----------------------------------------*/

struct weir_entry *
aggregate_own_find(const struct aggregate *self, struct weir_state *state, struct weir_slice pane);
struct weir_entry *aggregate_own_put(const struct aggregate *self,
                                     struct weir_state *state,
                                     struct weir_slice pane,
                                     size_t size,
                                     bool *ret_new);
bool aggregate_has_own(const struct aggregate *self);
void aggregate_sum_add(struct sum_slot *slot, struct weir_value value);
void aggregate_sum_merge(struct sum_slot *slot, const struct sum_slot *from);
double aggregate_sum_double(const struct sum_slot *slot);
void aggregate_put_number(struct weir_strbuf *out, double number);
void aggregate_sum_write(const struct sum_slot *slot, struct weir_strbuf *out);
void aggregate_spread_add(struct spread_slot *slot, double number);
void aggregate_spread_merge(struct spread_slot *slot, const struct spread_slot *from);
struct weir_slice aggregate_slot_text(const struct aggregate *self,
                                      struct weir_state *state,
                                      struct weir_slice pane,
                                      const struct value_slot *slot);
struct weir_value aggregate_value_of(struct weir_run *run, struct weir_slice text);
void aggregate_slot_offer(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_slice pane,
                          struct value_slot *slot,
                          struct weir_value value,
                          int64_t time_ms);
void aggregate_slot_merge(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_slice pane,
                          struct value_slot *slot,
                          struct weir_slice from,
                          const struct value_slot *other);
void aggregate_top_add(const struct aggregate *self,
                       struct weir_run *run,
                       struct weir_slice pane,
                       struct weir_value value);
void aggregate_list_write(struct weir_slice list, struct weir_strbuf *out);
void aggregate_add_listed(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_slice pane,
                          struct weir_value value);
void aggregate_merge_lists(const struct aggregate *self,
                           struct weir_run *run,
                           struct weir_slice pane,
                           struct weir_slice from);
void aggregate_merge_bins(const struct aggregate *self,
                          struct weir_state *state,
                          struct weir_slice pane,
                          struct weir_slice from);
uint64_t aggregate_mix(uint64_t hash);
void aggregate_distinct_add(const struct aggregate *self,
                            struct weir_state *state,
                            struct weir_slice pane,
                            uint64_t hash);
void aggregate_distinct_merge(const struct aggregate *self,
                              struct weir_state *state,
                              struct weir_slice pane,
                              struct weir_slice from);
double aggregate_distinct_count(struct weir_slice value);
int32_t aggregate_bin_index(double number);
void aggregate_quantile_add(const struct aggregate *self,
                            struct weir_state *state,
                            struct weir_slice pane,
                            int32_t index,
                            uint32_t times);
void aggregate_quantile_write(const struct aggregate *self,
                              struct weir_slice value,
                              struct weir_strbuf *out);
struct weir_slice aggregate_reduce_state(const struct aggregate *self,
                                         struct weir_state *state,
                                         struct weir_slice pane);
void aggregate_reduce_add(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_record *record,
                          struct weir_slice pane);
void aggregate_reduce_merge(const struct aggregate *self,
                            struct weir_run *run,
                            struct weir_slice pane,
                            struct weir_slice from);

#endif

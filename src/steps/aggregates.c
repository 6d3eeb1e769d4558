/* SPDX-License-Identifier: Apache-2.0
 *
 * One table of functions: how large a slot is, what a value adds, how two are merged, what comes
 * out. Null and missing values are left out, as in SQL, except by count without an argument.
 *
 *   sum, avg         integers exactly (128 bits), decimals by Neumaier's compensated sum
 *   stddev, variance of a sample (n - 1); Welford, merged by Chan's formula
 *   count_distinct   exact up to 1,024 values, then HyperLogLog with 4,096 registers: 1.6 %
 *   quantile         DDSketch: the answer is within 1 % of the true value
 *   first, last      by event time; among equals, first keeps the earlier arrival, last the later
 */
#include "aggregate_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <weir/jq.h>
#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"

const struct weir_callable aggregate_callables[] = {
#define X(id, name, min, max, signature, help) {name, min, max, signature, help},
    AGGREGATE_MAP(X)
#undef X
        {0},
};

static size_t slot_size(const struct aggregate *self)
{
    switch (self->function) {
    case FUNCTION_COUNT:
        return sizeof(int64_t);
    case FUNCTION_SUM:
    case FUNCTION_AVG:
        return sizeof(struct sum_slot);
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
        return sizeof(struct value_slot);
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
        return sizeof(struct spread_slot);
    case FUNCTION_HISTOGRAM:
        return (self->bound_count + 1) * sizeof(int64_t);
    case FUNCTION_COLLECT:
    case FUNCTION_DISTINCT:
    case FUNCTION_QUANTILE:
    case FUNCTION_TOP:
    case FUNCTION_REDUCE:
        return 0;
    }
    WEIR_UNREACHABLE();
}

/* --- what is constant --------------------------------------------------------------------------*/

/* Evaluates an argument that looks at nothing. */
static weir_status constant(const struct weir_call *call,
                            size_t index,
                            struct weir_jq_run *run,
                            struct weir_value *ret_value,
                            struct weir_err *err)
{
    const struct weir_jq *program = call->args[index].program;
    if (!weir_jq_facts(program).constant) {
        return weir_fail(err, WEIR_CONFIG, "argument %zu of %s must be constant", index + 1,
                         aggregate_callables[call->function].name);
    }
    weir_status status = weir_jq_one(run, program, weir_value_null(), ret_value, err);
    return status == WEIR_OK ? status : (err->status = WEIR_CONFIG);
}

static weir_status
check_count(struct aggregate *self, struct weir_value value, size_t most, struct weir_err *err)
{
    int64_t limit;
    if (!weir_value_int64(value, &limit) || limit < 1 || limit > (int64_t)most) {
        return weir_fail(err, WEIR_CONFIG, "the second argument of %s is a number from 1 to %zu",
                         aggregate_callables[self->function].name, most);
    }
    self->limit = (size_t)limit;
    return WEIR_OK;
}

static weir_status
check_bounds(struct aggregate *self, struct weir_value value, struct weir_err *err)
{
    size_t count = weir_value_kind(value) == WEIR_KIND_ARRAY ? weir_value_count(value) : 0;
    bool good = count > 0 && count <= HISTOGRAM_MAX;
    self->bounds = weir_calloc(count + 1, sizeof(*self->bounds));
    struct weir_value_iter iter;
    struct weir_value item;
    weir_value_iter_init(&iter, value);
    for (size_t i = 0; good && weir_value_iter_next(&iter, NULL, &item); i++) {
        self->bounds[i] = weir_value_double(item);
        good = weir_value_kind(item) == WEIR_KIND_NUMBER &&
               (i == 0 || self->bounds[i] > self->bounds[i - 1]);
    }
    self->bound_count = count;
    return good ? WEIR_OK
                : weir_fail(err, WEIR_CONFIG,
                            "the second argument of histogram is an array of up to "
                            "256 growing numbers");
}

static weir_status
open_constants(struct aggregate *self, struct weir_jq_run *run, struct weir_err *err)
{
    struct weir_value value;
    weir_status status = WEIR_OK;
    size_t index = self->function == FUNCTION_REDUCE ? 0 : 1;
    bool has_constant = self->function == FUNCTION_REDUCE || self->function == FUNCTION_COLLECT ||
                        self->function == FUNCTION_TOP || self->function == FUNCTION_QUANTILE ||
                        self->function == FUNCTION_HISTOGRAM;
    if (!has_constant) {
        return WEIR_OK;
    }
    status = constant(self->call, index, run, &value, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (self->function == FUNCTION_REDUCE) {
        struct weir_strbuf text;
        weir_strbuf_init(&text, RESULT_MAX);
        weir_value_write(value, &text, 0);
        self->init = weir_strndup(text.data, text.size);
        weir_strbuf_done(&text);
    } else if (self->function == FUNCTION_QUANTILE) {
        self->quantile = weir_value_double(value);
        if (!(self->quantile >= 0 && self->quantile <= 1)) {
            status = weir_fail(err, WEIR_CONFIG,
                               "the second argument of quantile is a number from 0 to 1");
        }
    } else if (self->function == FUNCTION_HISTOGRAM) {
        status = check_bounds(self, value, err);
    } else {
        status =
            check_count(self, value, self->function == FUNCTION_TOP ? TOP_MAX : COLLECT_MAX, err);
    }
    return status;
}

static char *label_of(const struct weir_call *call)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, RESULT_MAX);
    weir_strbuf_push(&text, ',');
    weir_value_write(weir_value_string(weir_slice_of(call->name)), &text, 0);
    weir_strbuf_push(&text, ':');
    char *label = weir_strndup(text.data, text.size);
    weir_strbuf_done(&text);
    return label;
}

weir_status
aggregates_open(struct aggregates *self, const struct weir_calls *calls, struct weir_err *err)
{
    if (calls->count > AGGREGATES_MAX) {
        return weir_fail(err, WEIR_CONFIG, "a step has at most %d aggregates", AGGREGATES_MAX);
    }
    self->items = weir_calloc(calls->count, sizeof(*self->items));
    struct weir_jq_run *run = weir_jq_run_new(NULL);
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < calls->count && status == WEIR_OK; i++) {
        struct aggregate *item = &self->items[self->count++];
        *item = (struct aggregate){.call = &calls->items[i],
                                   .function = (enum function)calls->items[i].function,
                                   .number = (unsigned)i,
                                   .at = self->size,
                                   .label = label_of(&calls->items[i])};
        status = open_constants(item, run, err);
        if (status == WEIR_OK) {
            self->size += slot_size(item);
            if (item->function >= FUNCTION_MIN && item->function <= FUNCTION_LAST) {
                self->size = (self->size + 7) & ~(size_t)7;
            }
        } else {
            weir_err_path(err, calls->items[i].name);
        }
    }
    weir_jq_run_free(run);
    return status;
}

void aggregates_close(struct aggregates *self)
{
    for (size_t i = 0; i < self->count; i++) {
        weir_free(self->items[i].bounds);
        weir_free(self->items[i].init);
        weir_free(self->items[i].label);
    }
    weir_free(self->items);
    *self = (struct aggregates){0};
}

bool aggregates_are_fixed(const struct aggregates *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (slot_size(&self->items[i]) == 0) {
            return false;
        }
    }
    return true;
}

weir_status aggregates_check(const struct weir_calls *calls, struct weir_err *err)
{
    struct aggregates self = {0};
    weir_status status = aggregates_open(&self, calls, err);
    aggregates_close(&self);
    return status;
}

/* --- entries of their own ----------------------------------------------------------------------*/

static struct weir_slice own_key(const struct aggregate *self, struct weir_slice pane, char *room)
{
    room[0] = 'v';
    room[1] = (char)self->number;
    memcpy(room + 2, pane.data + 1, pane.size - 1);
    return (struct weir_slice){room, pane.size + 1};
}

struct weir_entry *
aggregate_own_find(const struct aggregate *self, struct weir_state *state, struct weir_slice pane)
{
    char room[PANE_KEY_MAX + 2];
    return weir_state_find(state, own_key(self, pane, room));
}

struct weir_entry *aggregate_own_put(const struct aggregate *self,
                                     struct weir_state *state,
                                     struct weir_slice pane,
                                     size_t size,
                                     bool *ret_new)
{
    char room[PANE_KEY_MAX + 2];
    struct weir_entry *entry = weir_state_put(state, own_key(self, pane, room), size, ret_new);
    WEIR_ASSERT(entry != NULL);
    return entry;
}

bool aggregate_has_own(const struct aggregate *self)
{
    return self->function >= FUNCTION_MIN && self->function != FUNCTION_STDDEV &&
           self->function != FUNCTION_VARIANCE && self->function != FUNCTION_HISTOGRAM;
}

void aggregates_drop(const struct aggregates *self, struct weir_run *run, struct weir_slice pane)
{
    struct weir_state *state = weir_run_state(run);
    for (size_t i = 0; i < self->count; i++) {
        struct weir_entry *entry = aggregate_has_own(&self->items[i])
                                       ? aggregate_own_find(&self->items[i], state, pane)
                                       : NULL;
        if (entry != NULL) {
            weir_state_drop(state, entry);
        }
    }
}

/* --- all ---------------------------------------------------------------------------------------*/

static bool wants_number(enum function function)
{
    return function == FUNCTION_SUM || function == FUNCTION_AVG || function == FUNCTION_STDDEV ||
           function == FUNCTION_VARIANCE || function == FUNCTION_QUANTILE ||
           function == FUNCTION_HISTOGRAM;
}

weir_status aggregates_read(const struct aggregates *self,
                            struct weir_run *run,
                            struct weir_record *record,
                            int64_t time_ms,
                            struct aggregate_values *ret_values,
                            struct weir_err *err)
{
    ret_values->time_ms = time_ms;
    for (size_t i = 0; i < self->count; i++) {
        const struct aggregate *item = &self->items[i];
        struct weir_value *value = &ret_values->values[i];
        *value = (struct weir_value){0};
        if (item->call->arg_count == 0 || item->function == FUNCTION_REDUCE) {
            continue;
        }
        weir_status status = weir_expr_value(run, &item->call->args[0], record, value, err);
        if (status != WEIR_OK) {
            weir_err_path(err, item->call->name);
            return status;
        }
        enum weir_kind kind = weir_value_kind(*value);
        if (wants_number(item->function) && kind != WEIR_KIND_NUMBER && kind != WEIR_KIND_NULL) {
            status =
                weir_fail(err, WEIR_EVAL, "%s of a %s", aggregate_callables[item->function].name,
                          weir_value_kind_name(*value));
            weir_err_path(err, item->call->name);
            return status;
        }
    }
    return WEIR_OK;
}

static void histogram_add(const struct aggregate *self, int64_t *counts, double number)
{
    size_t at = 0;
    while (at < self->bound_count && number > self->bounds[at]) {
        at++;
    }
    counts[at]++;
}

static void add_one(const struct aggregate *self,
                    struct weir_run *run,
                    struct weir_record *record,
                    struct weir_slice pane,
                    void *slot,
                    struct weir_value value,
                    int64_t time_ms)
{
    switch (self->function) {
    case FUNCTION_COUNT:
        *(int64_t *)slot += self->call->arg_count == 0 || weir_value_is_true(value);
        return;
    case FUNCTION_REDUCE:
        aggregate_reduce_add(self, run, record, pane);
        return;
    case FUNCTION_SUM:
    case FUNCTION_AVG:
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
    case FUNCTION_COLLECT:
    case FUNCTION_DISTINCT:
    case FUNCTION_QUANTILE:
    case FUNCTION_TOP:
    case FUNCTION_HISTOGRAM:
        break;
    }
    if (weir_value_kind(value) == WEIR_KIND_NULL) {
        return;
    }
    if (self->function == FUNCTION_SUM || self->function == FUNCTION_AVG) {
        aggregate_sum_add(slot, value);
    } else if (self->function <= FUNCTION_LAST) {
        aggregate_slot_offer(self, run, pane, slot, value, time_ms);
    } else if (self->function == FUNCTION_STDDEV || self->function == FUNCTION_VARIANCE) {
        aggregate_spread_add(slot, weir_value_double(value));
    } else if (self->function == FUNCTION_COLLECT) {
        aggregate_add_listed(self, run, pane, value);
    } else if (self->function == FUNCTION_DISTINCT) {
        aggregate_distinct_add(self, weir_run_state(run), pane,
                               aggregate_mix(weir_value_hash(value)));
    } else if (self->function == FUNCTION_QUANTILE) {
        aggregate_quantile_add(self, weir_run_state(run), pane,
                               aggregate_bin_index(weir_value_double(value)), 1);
    } else if (self->function == FUNCTION_TOP) {
        aggregate_top_add(self, run, pane, value);
    } else {
        histogram_add(self, slot, weir_value_double(value));
    }
}

void aggregates_add(const struct aggregates *self,
                    struct weir_run *run,
                    struct weir_record *record,
                    struct weir_slice pane,
                    char *slots,
                    const struct aggregate_values *values)
{
    for (size_t i = 0; i < self->count; i++) {
        add_one(&self->items[i], run, record, pane, slots + self->items[i].at, values->values[i],
                values->time_ms);
    }
}

static void merge_one(const struct aggregate *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      void *slot,
                      struct weir_slice from,
                      const void *other)
{
    switch (self->function) {
    case FUNCTION_COUNT:
        *(int64_t *)slot += *(const int64_t *)other;
        return;
    case FUNCTION_SUM:
    case FUNCTION_AVG:
        aggregate_sum_merge(slot, other);
        return;
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
        aggregate_slot_merge(self, run, pane, slot, from, other);
        return;
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
        aggregate_spread_merge(slot, other);
        return;
    case FUNCTION_COLLECT:
    case FUNCTION_TOP:
        aggregate_merge_lists(self, run, pane, from);
        return;
    case FUNCTION_DISTINCT:
        aggregate_distinct_merge(self, weir_run_state(run), pane, from);
        return;
    case FUNCTION_QUANTILE:
        aggregate_merge_bins(self, weir_run_state(run), pane, from);
        return;
    case FUNCTION_HISTOGRAM:
        for (size_t i = 0; i <= self->bound_count; i++) {
            ((int64_t *)slot)[i] += ((const int64_t *)other)[i];
        }
        return;
    case FUNCTION_REDUCE:
        aggregate_reduce_merge(self, run, pane, from);
        return;
    }
    WEIR_UNREACHABLE();
}

void aggregates_merge(const struct aggregates *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      char *slots,
                      struct weir_slice from,
                      const char *from_slots)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct aggregate *item = &self->items[i];
        merge_one(item, run, pane, slots + item->at, from, from_slots + item->at);
    }
}

static void
write_histogram(const struct aggregate *self, const int64_t *counts, struct weir_strbuf *out)
{
    for (size_t i = 0; i <= self->bound_count; i++) {
        weir_strbuf_push(out, i == 0 ? '[' : ',');
        weir_strbuf_int64(out, counts[i]);
    }
    weir_strbuf_push(out, ']');
}

static void write_one(const struct aggregate *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      const void *slot,
                      struct weir_strbuf *out)
{
    struct weir_state *state = weir_run_state(run);
    const struct weir_entry *own = NULL;
    const struct sum_slot *sum = slot;
    const struct spread_slot *spread = slot;
    const struct value_slot *value = slot;
    if (aggregate_has_own(self) && self->function > FUNCTION_LAST) {
        own = aggregate_own_find(self, state, pane);
    }
    struct weir_slice bytes = own == NULL ? (struct weir_slice){NULL, 0} : weir_entry_value(own);
    switch (self->function) {
    case FUNCTION_COUNT:
        weir_strbuf_int64(out, *(const int64_t *)slot);
        return;
    case FUNCTION_SUM:
        aggregate_sum_write(sum, out);
        return;
    case FUNCTION_AVG:
        if (sum->count == 0) {
            weir_strbuf_text(out, "null");
        } else {
            aggregate_put_number(out, aggregate_sum_double(sum) / (double)sum->count);
        }
        return;
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
        weir_strbuf_slice(out, value->tag == VALUE_NONE
                                   ? WEIR_SLICE("null")
                                   : aggregate_slot_text(self, state, pane, value));
        return;
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
        if (spread->count < 2) {
            weir_strbuf_text(out, "null");
        } else {
            double variance = spread->squares / (double)(spread->count - 1);
            aggregate_put_number(out,
                                 self->function == FUNCTION_STDDEV ? sqrt(variance) : variance);
        }
        return;
    case FUNCTION_COLLECT:
    case FUNCTION_TOP:
        aggregate_list_write(bytes, out);
        return;
    case FUNCTION_DISTINCT:
        aggregate_put_number(out, aggregate_distinct_count(bytes));
        return;
    case FUNCTION_QUANTILE:
        aggregate_quantile_write(self, bytes, out);
        return;
    case FUNCTION_HISTOGRAM:
        write_histogram(self, slot, out);
        return;
    case FUNCTION_REDUCE:
        weir_strbuf_slice(out, aggregate_reduce_state(self, state, pane));
        return;
    }
    WEIR_UNREACHABLE();
}

void aggregates_write(const struct aggregates *self,
                      struct weir_run *run,
                      struct weir_slice pane,
                      const char *slots,
                      struct weir_strbuf *out)
{
    for (size_t i = 0; i < self->count; i++) {
        const struct aggregate *item = &self->items[i];
        weir_strbuf_text(out, item->label);
        write_one(item, run, pane, slots + item->at, out);
    }
}

/* --- what state means --------------------------------------------------------------------------*/

static uint32_t mix_bytes(uint32_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * UINT32_C(16777619); /* FNV-1a */
    }
    return hash;
}

uint32_t aggregates_mix(uint32_t layout, int64_t number)
{
    uint32_t hash = mix_bytes(layout, &number, sizeof(number));
    return hash ^ hash >> 24; /* only the lower bytes are kept */
}

uint32_t aggregates_layout(const struct weir_calls *calls)
{
    uint32_t hash = UINT32_C(2166136261);
    for (size_t i = 0; i < calls->count; i++) {
        const char *function = aggregate_callables[calls->items[i].function].name;
        hash = mix_bytes(hash, calls->items[i].name, strlen(calls->items[i].name) + 1);
        hash = mix_bytes(hash, function, strlen(function) + 1);
    }
    return hash ^ hash >> 24;
}

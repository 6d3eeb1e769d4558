/* SPDX-License-Identifier: Apache-2.0
 *
 * Aggregates of numbers (sum, avg, stddev, variance), of single values (min, max, first, last), and
 * reduce.
 */
#include "aggregate_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <weir/jq.h>
#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"

/* --- numbers -----------------------------------------------------------------------------------*/

static void sum_integer(struct sum_slot *slot, int64_t number)
{
    uint64_t low = slot->low;
    slot->low += (uint64_t)number;
    slot->high += (number < 0 ? -1 : 0) + (slot->low < low);
}

static void sum_decimal(struct sum_slot *slot, double number)
{
    double sum = slot->decimals + number;
    if (isfinite(sum)) {
        slot->lost += fabs(slot->decimals) >= fabs(number) ? (slot->decimals - sum) + number
                                                           : (number - sum) + slot->decimals;
    }
    slot->decimals = sum;
}

void aggregate_sum_add(struct sum_slot *slot, struct weir_value value)
{
    int64_t integer;
    slot->count++;
    if (weir_value_int64(value, &integer)) {
        sum_integer(slot, integer);
    } else {
        slot->decimal_count++;
        sum_decimal(slot, weir_value_double(value));
    }
}

void aggregate_sum_merge(struct sum_slot *slot, const struct sum_slot *from)
{
    uint64_t low = slot->low;
    slot->low += from->low;
    slot->high += from->high + (slot->low < low);
    slot->count += from->count;
    slot->decimal_count += from->decimal_count;
    sum_decimal(slot, from->decimals);
    slot->lost += from->lost;
}

__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

static int128 sum_integers(const struct sum_slot *slot)
{
    return (int128)(((uint128)(uint64_t)slot->high << 64) | slot->low);
}

double aggregate_sum_double(const struct sum_slot *slot)
{
    return (double)sum_integers(slot) + slot->decimals + slot->lost;
}

void aggregate_put_number(struct weir_strbuf *out, double number)
{
    weir_value_write(weir_value_number(number), out, 0);
}

void aggregate_sum_write(const struct sum_slot *slot, struct weir_strbuf *out)
{
    if (slot->decimal_count > 0) {
        aggregate_put_number(out, aggregate_sum_double(slot));
        return;
    }
    int128 sum = sum_integers(slot);
    if (sum == (int64_t)sum) {
        weir_strbuf_int64(out, (int64_t)sum);
        return;
    }
    char digits[48];
    size_t at = sizeof(digits);
    uint128 left = sum < 0 ? -(uint128)sum : (uint128)sum;
    do {
        digits[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    } while (left > 0);
    if (sum < 0) {
        digits[--at] = '-';
    }
    weir_strbuf_append(out, digits + at, sizeof(digits) - at);
}

void aggregate_spread_add(struct spread_slot *slot, double number)
{
    slot->count++;
    double delta = number - slot->mean;
    slot->mean += delta / (double)slot->count;
    slot->squares += delta * (number - slot->mean);
}

void aggregate_spread_merge(struct spread_slot *slot, const struct spread_slot *from)
{
    if (from->count == 0) {
        return;
    }
    double a = (double)slot->count, b = (double)from->count, delta = from->mean - slot->mean;
    slot->mean += delta * b / (a + b);
    slot->squares += from->squares + delta * delta * a * b / (a + b);
    slot->count += from->count;
}

/* --- values of any kind ------------------------------------------------------------------------*/

static void slot_set(const struct aggregate *self,
                     struct weir_state *state,
                     struct weir_slice pane,
                     struct value_slot *slot,
                     double number,
                     bool is_number,
                     struct weir_slice text)
{
    slot->number = number;
    slot->tag = is_number ? VALUE_NUMBER : VALUE_OTHER;
    if (text.size <= INLINE_TEXT) {
        slot->size = (uint8_t)text.size;
        memcpy(slot->text, text.data, text.size);
        return;
    }
    bool is_new;
    slot->tag = VALUE_OUTSIDE;
    struct weir_entry *entry = aggregate_own_put(self, state, pane, text.size, &is_new);
    memcpy(weir_state_resize(state, entry, text.size), text.data, text.size);
}

struct weir_slice aggregate_slot_text(const struct aggregate *self,
                                      struct weir_state *state,
                                      struct weir_slice pane,
                                      const struct value_slot *slot)
{
    if (slot->tag == VALUE_OUTSIDE) {
        const struct weir_entry *entry = aggregate_own_find(self, state, pane);
        WEIR_ASSERT(entry != NULL);
        return weir_entry_value(entry);
    }
    return (struct weir_slice){slot->text, slot->size};
}

struct weir_value aggregate_value_of(struct weir_run *run, struct weir_slice text)
{
    struct weir_value value = {0};
    struct weir_err err;
    weir_err_clear(&err);
    weir_status status =
        weir_json_parse(weir_batch_arena(weir_run_batch(run)), text, NULL, &value, &err);
    WEIR_ASSERT(status == WEIR_OK || status == WEIR_TOO_LARGE);
    return value;
}

/* Is the new value to take the place of what the slot has? */
static bool slot_yields(const struct aggregate *self,
                        struct weir_run *run,
                        struct weir_slice pane,
                        const struct value_slot *slot,
                        struct weir_value value,
                        int64_t time_ms)
{
    if (slot->tag == VALUE_NONE) {
        return true;
    }
    if (self->function == FUNCTION_FIRST) {
        return time_ms < slot->time_ms;
    }
    if (self->function == FUNCTION_LAST) {
        return time_ms >= slot->time_ms;
    }
    int order;
    if (slot->tag == VALUE_NUMBER && weir_value_kind(value) == WEIR_KIND_NUMBER) {
        double number = weir_value_double(value);
        order = (number > slot->number) - (number < slot->number);
    } else {
        struct weir_slice text = aggregate_slot_text(self, weir_run_state(run), pane, slot);
        order = weir_value_compare(value, aggregate_value_of(run, text));
    }
    return self->function == FUNCTION_MIN ? order < 0 : order > 0;
}

void aggregate_slot_offer(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_slice pane,
                          struct value_slot *slot,
                          struct weir_value value,
                          int64_t time_ms)
{
    if (!slot_yields(self, run, pane, slot, value, time_ms)) {
        return;
    }
    struct weir_strbuf text;
    weir_strbuf_init(&text, RESULT_MAX);
    weir_value_write(value, &text, 0);
    bool is_number = weir_value_kind(value) == WEIR_KIND_NUMBER;
    slot->time_ms = time_ms;
    slot_set(self, weir_run_state(run), pane, slot, is_number ? weir_value_double(value) : 0,
             is_number, weir_strbuf_view(&text));
    weir_strbuf_done(&text);
}

void aggregate_slot_merge(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_slice pane,
                          struct value_slot *slot,
                          struct weir_slice from,
                          const struct value_slot *other)
{
    if (other->tag != VALUE_NONE) {
        struct weir_slice text = aggregate_slot_text(self, weir_run_state(run), from, other);
        aggregate_slot_offer(self, run, pane, slot, aggregate_value_of(run, text), other->time_ms);
    }
}

/* --- reduce ------------------------------------------------------------------------------------*/

struct weir_slice aggregate_reduce_state(const struct aggregate *self,
                                         struct weir_state *state,
                                         struct weir_slice pane)
{
    const struct weir_entry *entry = aggregate_own_find(self, state, pane);
    return entry == NULL ? weir_slice_of(self->init) : weir_entry_value(entry);
}

/* Runs `expr` over {a_name: a, b_name: b}; its result is the new state. A failure keeps the old. */
static void reduce_run(const struct aggregate *self,
                       struct weir_run *run,
                       const struct weir_record *record,
                       struct weir_slice pane,
                       const struct weir_expr *expr,
                       const char *names[2],
                       struct weir_slice a,
                       struct weir_slice b)
{
    struct weir_strbuf text;
    struct weir_value input, result;
    struct weir_err err = {0};
    weir_strbuf_init(&text, RESULT_MAX);
    weir_strbuf_printf(&text, "{\"%s\":", names[0]);
    weir_strbuf_slice(&text, a);
    weir_strbuf_printf(&text, ",\"%s\":", names[1]);
    weir_strbuf_slice(&text, b);
    weir_strbuf_push(&text, '}');
    weir_status status = weir_json_parse(weir_batch_arena(weir_run_batch(run)),
                                         weir_strbuf_view(&text), NULL, &input, &err);
    if (status == WEIR_OK) {
        status = weir_expr_of(run, expr, input, &result, &err);
    }
    if (status == WEIR_OK) {
        weir_strbuf_clear(&text);
        weir_value_write(result, &text, 0);
        bool is_new;
        struct weir_state *state = weir_run_state(run);
        struct weir_entry *entry = aggregate_own_put(self, state, pane, text.size, &is_new);
        memcpy(weir_state_resize(state, entry, text.size), text.data, text.size);
    } else {
        weir_run_result_failed(run, record, &err);
    }
    weir_strbuf_done(&text);
}

void aggregate_reduce_add(const struct aggregate *self,
                          struct weir_run *run,
                          struct weir_record *record,
                          struct weir_slice pane)
{
    const char *names[] = {"state", "value"};
    struct weir_slice bytes;
    struct weir_err err;
    weir_err_clear(&err);
    if (weir_record_bytes(weir_run_batch(run), record, &bytes, &err) != WEIR_OK) {
        weir_run_result_failed(run, record, &err);
        return;
    }
    struct weir_slice value = bytes.data == NULL ? WEIR_SLICE("null") : bytes;
    reduce_run(self, run, record, pane, &self->call->args[1], names,
               aggregate_reduce_state(self, weir_run_state(run), pane), value);
}

void aggregate_reduce_merge(const struct aggregate *self,
                            struct weir_run *run,
                            struct weir_slice pane,
                            struct weir_slice from)
{
    const char *names[] = {"a", "b"};
    struct weir_state *state = weir_run_state(run);
    const struct weir_record none = {.flags = WEIR_RECORD_TICK, .ordinal = WEIR_NO_ORDINAL};
    if (aggregate_own_find(self, state, from) != NULL) {
        reduce_run(self, run, &none, pane, &self->call->args[2], names,
                   aggregate_reduce_state(self, state, pane),
                   aggregate_reduce_state(self, state, from));
    }
}

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
#include "aggregates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <weir/jq.h>
#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"

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
#define SKETCH_GAMMA ((1 + 0.01) / (1 - 0.01))

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

const struct weir_callable aggregate_callables[] = {
#define X(id, name, min, max, signature, help) {name, min, max, signature, help},
    AGGREGATE_MAP(X)
#undef X
    {0},
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
    char *init; /* reduce: JSON */
};

/* --- slots -------------------------------------------------------------------------------------*/

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

static weir_status check_count(struct aggregate *self,
                               struct weir_value value,
                               size_t most,
                               struct weir_err *err)
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
                : weir_fail(err, WEIR_CONFIG, "the second argument of histogram is an array of up to "
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
            status = weir_fail(err, WEIR_CONFIG, "the second argument of quantile is a number from 0 to 1");
        }
    } else if (self->function == FUNCTION_HISTOGRAM) {
        status = check_bounds(self, value, err);
    } else {
        status = check_count(self, value,
                             self->function == FUNCTION_TOP ? TOP_MAX : COLLECT_MAX, err);
    }
    return status;
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
                                   .at = self->size};
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
    }
    weir_free(self->items);
    *self = (struct aggregates){0};
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

static struct weir_entry *
own_find(const struct aggregate *self, struct weir_state *state, struct weir_slice pane)
{
    char room[PANE_KEY_MAX + 2];
    return weir_state_find(state, own_key(self, pane, room));
}

static struct weir_entry *own_put(const struct aggregate *self,
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

static bool has_own(const struct aggregate *self)
{
    return self->function >= FUNCTION_MIN && self->function != FUNCTION_STDDEV &&
           self->function != FUNCTION_VARIANCE && self->function != FUNCTION_HISTOGRAM;
}

void aggregates_drop(const struct aggregates *self, struct weir_run *run, struct weir_slice pane)
{
    struct weir_state *state = weir_run_state(run);
    for (size_t i = 0; i < self->count; i++) {
        struct weir_entry *entry =
            has_own(&self->items[i]) ? own_find(&self->items[i], state, pane) : NULL;
        if (entry != NULL) {
            weir_state_drop(state, entry);
        }
    }
}

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

static void sum_add(struct sum_slot *slot, struct weir_value value)
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

static void sum_merge(struct sum_slot *slot, const struct sum_slot *from)
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

static double sum_double(const struct sum_slot *slot)
{
    return (double)sum_integers(slot) + slot->decimals + slot->lost;
}

static void put_number(struct weir_strbuf *out, double number)
{
    weir_value_write(weir_value_number(number), out, 0);
}

static void sum_write(const struct sum_slot *slot, struct weir_strbuf *out)
{
    if (slot->decimal_count > 0) {
        put_number(out, sum_double(slot));
        return;
    }
    char digits[48];
    size_t at = sizeof(digits);
    int128 sum = sum_integers(slot);
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

static void spread_add(struct spread_slot *slot, double number)
{
    slot->count++;
    double delta = number - slot->mean;
    slot->mean += delta / (double)slot->count;
    slot->squares += delta * (number - slot->mean);
}

static void spread_merge(struct spread_slot *slot, const struct spread_slot *from)
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
    struct weir_entry *entry = own_put(self, state, pane, text.size, &is_new);
    memcpy(weir_state_resize(state, entry, text.size), text.data, text.size);
}

static struct weir_slice slot_text(const struct aggregate *self,
                                   struct weir_state *state,
                                   struct weir_slice pane,
                                   const struct value_slot *slot)
{
    if (slot->tag == VALUE_OUTSIDE) {
        const struct weir_entry *entry = own_find(self, state, pane);
        WEIR_ASSERT(entry != NULL);
        return weir_entry_value(entry);
    }
    return (struct weir_slice){slot->text, slot->size};
}

static struct weir_value value_of(struct weir_run *run, struct weir_slice text)
{
    struct weir_value value = {0};
    struct weir_err err = {0};
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
        struct weir_slice text = slot_text(self, weir_run_state(run), pane, slot);
        order = weir_value_compare(value, value_of(run, text));
    }
    return self->function == FUNCTION_MIN ? order < 0 : order > 0;
}

static void slot_offer(const struct aggregate *self,
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

static void slot_merge(const struct aggregate *self,
                       struct weir_run *run,
                       struct weir_slice pane,
                       struct value_slot *slot,
                       struct weir_slice from,
                       const struct value_slot *other)
{
    if (other->tag != VALUE_NONE) {
        struct weir_slice text = slot_text(self, weir_run_state(run), from, other);
        slot_offer(self, run, pane, slot, value_of(run, text), other->time_ms);
    }
}

/* --- lists: collect, top -----------------------------------------------------------------------*/

/* u32 count, then per element u32 size and its JSON text. Null entries have no list. */
static uint32_t list_count(struct weir_slice list)
{
    uint32_t count = 0;
    if (list.size >= sizeof(count)) {
        memcpy(&count, list.data, sizeof(count));
    }
    return count;
}

static struct weir_slice list_next(struct weir_slice list, size_t *at)
{
    uint32_t size;
    memcpy(&size, list.data + *at, sizeof(size));
    struct weir_slice text = {list.data + *at + sizeof(size), size};
    *at += sizeof(size) + size;
    return text;
}

static void collect_add(const struct aggregate *self,
                        struct weir_state *state,
                        struct weir_slice pane,
                        struct weir_slice text)
{
    bool is_new;
    struct weir_entry *entry = own_put(self, state, pane, sizeof(uint32_t), &is_new);
    struct weir_slice list = weir_entry_value(entry);
    uint32_t count = list_count(list), size = (uint32_t)text.size;
    if (count >= self->limit) {
        return;
    }
    size_t at = list.size;
    char *bytes = weir_state_resize(state, entry, at + sizeof(size) + size);
    count++;
    memcpy(bytes, &count, sizeof(count));
    memcpy(bytes + at, &size, sizeof(size));
    memcpy(bytes + at + sizeof(size), text.data, size);
}

/* Kept in order, the greatest first. */
static void top_add(const struct aggregate *self,
                    struct weir_run *run,
                    struct weir_slice pane,
                    struct weir_value value)
{
    struct weir_state *state = weir_run_state(run);
    bool is_new;
    struct weir_entry *entry = own_put(self, state, pane, sizeof(uint32_t), &is_new);
    struct weir_slice list = weir_entry_value(entry);
    uint32_t count = list_count(list), place = 0;
    size_t at = sizeof(count), last = at;
    size_t where = 0;
    for (uint32_t i = 0; i < count; i++) {
        last = at;
        size_t begin = at;
        struct weir_slice text = list_next(list, &at);
        if (where == 0 && weir_value_compare(value, value_of(run, text)) > 0) {
            where = begin;
            place = i;
        }
    }
    if (where == 0) {
        where = at;
        place = count;
    }
    if (place >= self->limit) {
        return;
    }
    size_t kept = count == self->limit ? last : at; /* the least one makes room */
    struct weir_strbuf out;
    weir_strbuf_init(&out, RESULT_MAX);
    count += count < self->limit;
    weir_strbuf_append(&out, &count, sizeof(count));
    weir_strbuf_append(&out, list.data + sizeof(count), where - sizeof(count));
    size_t size_at = out.size;
    uint32_t size = 0;
    weir_strbuf_append(&out, &size, sizeof(size));
    weir_value_write(value, &out, 0);
    size = (uint32_t)(out.size - size_at - sizeof(size));
    memcpy(out.data + size_at, &size, sizeof(size));
    if (kept > where) {
        weir_strbuf_append(&out, list.data + where, kept - where);
    }
    memcpy(weir_state_resize(state, entry, out.size), out.data, out.size);
    weir_strbuf_done(&out);
}

static void list_write(struct weir_slice list, struct weir_strbuf *out)
{
    size_t at = sizeof(uint32_t);
    weir_strbuf_push(out, '[');
    for (uint32_t i = 0; i < list_count(list); i++) {
        weir_strbuf_text(out, i > 0 ? "," : "");
        weir_strbuf_slice(out, list_next(list, &at));
    }
    weir_strbuf_push(out, ']');
}

/* --- count_distinct ----------------------------------------------------------------------------*/

/* Hashes while there are few; then one byte per register. Told apart by their size. */
static uint64_t mix(uint64_t hash)
{
    hash ^= hash >> 33;
    hash *= UINT64_C(0xff51afd7ed558ccd);
    hash ^= hash >> 33;
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

static void register_add(uint8_t *registers, uint64_t hash)
{
    size_t index = hash & (DISTINCT_REGISTERS - 1);
    uint64_t rest = hash >> 12 | UINT64_C(1) << 52;
    uint8_t rank = (uint8_t)(__builtin_ctzll(rest) + 1);
    registers[index] = registers[index] > rank ? registers[index] : rank;
}

static bool is_sketch(struct weir_slice value)
{
    return value.size == DISTINCT_REGISTERS + 1;
}

static void distinct_add(const struct aggregate *self,
                         struct weir_state *state,
                         struct weir_slice pane,
                         uint64_t hash)
{
    bool is_new;
    struct weir_entry *entry = own_put(self, state, pane, 0, &is_new);
    struct weir_slice value = weir_entry_value(entry);
    if (is_sketch(value)) {
        register_add(weir_state_edit(state, entry), hash);
        return;
    }
    size_t count = value.size / sizeof(hash);
    for (size_t i = 0; i < count; i++) {
        if (memcmp(value.data + i * sizeof(hash), &hash, sizeof(hash)) == 0) {
            return;
        }
    }
    if (count < DISTINCT_EXACT) {
        char *bytes = weir_state_resize(state, entry, value.size + sizeof(hash));
        memcpy(bytes + count * sizeof(hash), &hash, sizeof(hash));
        return;
    }
    uint64_t hashes[DISTINCT_EXACT];
    memcpy(hashes, value.data, sizeof(hashes));
    uint8_t *registers = weir_state_resize(state, entry, DISTINCT_REGISTERS + 1);
    memset(registers, 0, DISTINCT_REGISTERS + 1);
    for (size_t i = 0; i < DISTINCT_EXACT; i++) {
        register_add(registers, hashes[i]);
    }
    register_add(registers, hash);
}

static void distinct_merge(const struct aggregate *self,
                           struct weir_state *state,
                           struct weir_slice pane,
                           struct weir_slice from)
{
    const struct weir_entry *other = own_find(self, state, from);
    if (other == NULL) {
        return;
    }
    struct weir_slice value = weir_entry_value(other);
    if (!is_sketch(value)) {
        for (size_t i = 0; i < value.size / sizeof(uint64_t); i++) {
            uint64_t hash;
            memcpy(&hash, weir_entry_value(other).data + i * sizeof(hash), sizeof(hash));
            distinct_add(self, state, pane, hash);
        }
        return;
    }
    bool is_new;
    struct weir_entry *entry = own_put(self, state, pane, 0, &is_new);
    struct weir_slice mine = weir_entry_value(entry);
    uint64_t hashes[DISTINCT_EXACT];
    size_t count = is_sketch(mine) ? 0 : mine.size / sizeof(uint64_t);
    memcpy(hashes, mine.data, count * sizeof(uint64_t));
    bool was_sketch = is_sketch(mine);
    uint8_t *registers = weir_state_resize(state, entry, DISTINCT_REGISTERS + 1);
    if (!was_sketch) {
        memset(registers, 0, DISTINCT_REGISTERS + 1);
    }
    for (size_t i = 0; i < count; i++) {
        register_add(registers, hashes[i]);
    }
    const uint8_t *theirs = (const uint8_t *)weir_entry_value(other).data;
    for (size_t i = 0; i < DISTINCT_REGISTERS; i++) {
        registers[i] = registers[i] > theirs[i] ? registers[i] : theirs[i];
    }
}

static double distinct_count(struct weir_slice value)
{
    if (!is_sketch(value)) {
        return (double)(value.size / sizeof(uint64_t));
    }
    double sum = 0, zeros = 0, m = DISTINCT_REGISTERS;
    for (size_t i = 0; i < DISTINCT_REGISTERS; i++) {
        sum += ldexp(1, -(int)(uint8_t)value.data[i]);
        zeros += value.data[i] == 0;
    }
    double estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    if (estimate <= 2.5 * m && zeros > 0) {
        estimate = m * log(m / zeros);
    }
    return floor(estimate + 0.5);
}

/* --- quantile ----------------------------------------------------------------------------------*/

/* DDSketch (Masson, Rim, Lee, VLDB 2019): bins of growing width, sorted by index. Zero has an index
 * of its own; negative numbers mirror the positive ones. */
struct bin {
    int32_t index;
    uint32_t count;
};

static int32_t bin_index(double number)
{
    if (number == 0) {
        return 0;
    }
    double size = fabs(number);
    int32_t index = 20000 + (int32_t)ceil(log(size < 1e-150 ? 1e-150 : size) / log(SKETCH_GAMMA));
    return number < 0 ? -index : index;
}

static double bin_value(int32_t index)
{
    if (index == 0) {
        return 0;
    }
    int32_t size = index < 0 ? -index : index;
    double value = 2 * pow(SKETCH_GAMMA, size - 20000) / (SKETCH_GAMMA + 1);
    return index < 0 ? -value : value;
}

static void quantile_add(const struct aggregate *self,
                         struct weir_state *state,
                         struct weir_slice pane,
                         int32_t index,
                         uint32_t times)
{
    bool is_new;
    struct weir_entry *entry = own_put(self, state, pane, 0, &is_new);
    struct weir_slice value = weir_entry_value(entry);
    size_t count = value.size / sizeof(struct bin), low = 0, high = count;
    const struct bin *bins = (const struct bin *)(const void *)value.data;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bins[middle].index < index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < count && bins[low].index == index;
    if (!found && count == QUANTILE_BINS) { /* the least bins share one: small values blur first */
        found = true;
        low = low > 0 ? low - 1 : 0;
    }
    if (found) {
        struct bin *mine = weir_state_edit(state, entry);
        mine[low].count += times;
        return;
    }
    struct bin *mine = weir_state_resize(state, entry, value.size + sizeof(struct bin));
    memmove(mine + low + 1, mine + low, (count - low) * sizeof(struct bin));
    mine[low] = (struct bin){index, times};
}

static void quantile_write(const struct aggregate *self,
                           struct weir_slice value,
                           struct weir_strbuf *out)
{
    const struct bin *bins = (const struct bin *)(const void *)value.data;
    size_t count = value.size / sizeof(struct bin);
    uint64_t total = 0, below = 0;
    for (size_t i = 0; i < count; i++) {
        total += bins[i].count;
    }
    if (total == 0) {
        weir_strbuf_text(out, "null");
        return;
    }
    double rank = self->quantile * (double)(total - 1);
    size_t at = 0;
    while (at + 1 < count && (double)(below + bins[at].count) <= rank) {
        below += bins[at].count;
        at++;
    }
    put_number(out, bin_value(bins[at].index));
}

/* --- reduce ------------------------------------------------------------------------------------*/

static struct weir_slice reduce_state(const struct aggregate *self,
                                      struct weir_state *state,
                                      struct weir_slice pane)
{
    const struct weir_entry *entry = own_find(self, state, pane);
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
        struct weir_entry *entry = own_put(self, state, pane, text.size, &is_new);
        memcpy(weir_state_resize(state, entry, text.size), text.data, text.size);
    } else {
        weir_run_result_failed(run, record, &err);
    }
    weir_strbuf_done(&text);
}

static void reduce_add(const struct aggregate *self,
                       struct weir_run *run,
                       struct weir_record *record,
                       struct weir_slice pane)
{
    const char *names[] = {"state", "value"};
    struct weir_slice bytes;
    struct weir_err err = {0};
    if (weir_record_bytes(weir_run_batch(run), record, &bytes, &err) != WEIR_OK) {
        weir_run_result_failed(run, record, &err);
        return;
    }
    struct weir_slice value = bytes.data == NULL ? WEIR_SLICE("null") : bytes;
    reduce_run(self, run, record, pane, &self->call->args[1], names,
               reduce_state(self, weir_run_state(run), pane), value);
}

static void reduce_merge(const struct aggregate *self,
                         struct weir_run *run,
                         struct weir_slice pane,
                         struct weir_slice from)
{
    const char *names[] = {"a", "b"};
    struct weir_state *state = weir_run_state(run);
    const struct weir_record none = {.flags = WEIR_RECORD_TICK, .ordinal = WEIR_NO_ORDINAL};
    if (own_find(self, state, from) != NULL) {
        reduce_run(self, run, &none, pane, &self->call->args[2], names,
                   reduce_state(self, state, pane), reduce_state(self, state, from));
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
            status = weir_fail(err, WEIR_EVAL, "%s of a %s", aggregate_callables[item->function].name,
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

static void add_listed(const struct aggregate *self,
                       struct weir_run *run,
                       struct weir_slice pane,
                       struct weir_value value)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, RESULT_MAX);
    weir_value_write(value, &text, 0);
    collect_add(self, weir_run_state(run), pane, weir_strbuf_view(&text));
    weir_strbuf_done(&text);
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
        reduce_add(self, run, record, pane);
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
        sum_add(slot, value);
    } else if (self->function <= FUNCTION_LAST) {
        slot_offer(self, run, pane, slot, value, time_ms);
    } else if (self->function == FUNCTION_STDDEV || self->function == FUNCTION_VARIANCE) {
        spread_add(slot, weir_value_double(value));
    } else if (self->function == FUNCTION_COLLECT) {
        add_listed(self, run, pane, value);
    } else if (self->function == FUNCTION_DISTINCT) {
        distinct_add(self, weir_run_state(run), pane, mix(weir_value_hash(value)));
    } else if (self->function == FUNCTION_QUANTILE) {
        quantile_add(self, weir_run_state(run), pane, bin_index(weir_value_double(value)), 1);
    } else if (self->function == FUNCTION_TOP) {
        top_add(self, run, pane, value);
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

static void merge_lists(const struct aggregate *self,
                        struct weir_run *run,
                        struct weir_slice pane,
                        struct weir_slice from)
{
    struct weir_state *state = weir_run_state(run);
    const struct weir_entry *other = own_find(self, state, from);
    if (other == NULL) {
        return;
    }
    struct weir_slice list = weir_entry_value(other);
    size_t at = sizeof(uint32_t);
    for (uint32_t i = 0; i < list_count(list); i++) {
        struct weir_slice text = list_next(list, &at);
        if (self->function == FUNCTION_COLLECT) {
            collect_add(self, state, pane, text);
        } else {
            top_add(self, run, pane, value_of(run, text));
        }
    }
}

static void merge_bins(const struct aggregate *self,
                       struct weir_state *state,
                       struct weir_slice pane,
                       struct weir_slice from)
{
    const struct weir_entry *other = own_find(self, state, from);
    struct weir_slice value =
        other == NULL ? (struct weir_slice){NULL, 0} : weir_entry_value(other);
    const struct bin *bins = (const struct bin *)(const void *)value.data;
    for (size_t i = 0; i < value.size / sizeof(struct bin); i++) {
        quantile_add(self, state, pane, bins[i].index, bins[i].count);
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
        sum_merge(slot, other);
        return;
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
        slot_merge(self, run, pane, slot, from, other);
        return;
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
        spread_merge(slot, other);
        return;
    case FUNCTION_COLLECT:
    case FUNCTION_TOP:
        merge_lists(self, run, pane, from);
        return;
    case FUNCTION_DISTINCT:
        distinct_merge(self, weir_run_state(run), pane, from);
        return;
    case FUNCTION_QUANTILE:
        merge_bins(self, weir_run_state(run), pane, from);
        return;
    case FUNCTION_HISTOGRAM:
        for (size_t i = 0; i <= self->bound_count; i++) {
            ((int64_t *)slot)[i] += ((const int64_t *)other)[i];
        }
        return;
    case FUNCTION_REDUCE:
        reduce_merge(self, run, pane, from);
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

static void write_histogram(const struct aggregate *self,
                            const int64_t *counts,
                            struct weir_strbuf *out)
{
    for (size_t i = 0; i <= self->bound_count; i++) {
        weir_strbuf_printf(out, "%c%lld", i == 0 ? '[' : ',', (long long)counts[i]);
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
    if (has_own(self) && self->function > FUNCTION_LAST) {
        own = own_find(self, state, pane);
    }
    struct weir_slice bytes = own == NULL ? (struct weir_slice){NULL, 0} : weir_entry_value(own);
    switch (self->function) {
    case FUNCTION_COUNT:
        weir_strbuf_printf(out, "%lld", (long long)*(const int64_t *)slot);
        return;
    case FUNCTION_SUM:
        sum_write(sum, out);
        return;
    case FUNCTION_AVG:
        if (sum->count == 0) {
            weir_strbuf_text(out, "null");
        } else {
            put_number(out, sum_double(sum) / (double)sum->count);
        }
        return;
    case FUNCTION_MIN:
    case FUNCTION_MAX:
    case FUNCTION_FIRST:
    case FUNCTION_LAST:
        weir_strbuf_slice(out, value->tag == VALUE_NONE ? WEIR_SLICE("null")
                                                        : slot_text(self, state, pane, value));
        return;
    case FUNCTION_STDDEV:
    case FUNCTION_VARIANCE:
        if (spread->count < 2) {
            weir_strbuf_text(out, "null");
        } else {
            double variance = spread->squares / (double)(spread->count - 1);
            put_number(out, self->function == FUNCTION_STDDEV ? sqrt(variance) : variance);
        }
        return;
    case FUNCTION_COLLECT:
    case FUNCTION_TOP:
        list_write(bytes, out);
        return;
    case FUNCTION_DISTINCT:
        put_number(out, distinct_count(bytes));
        return;
    case FUNCTION_QUANTILE:
        quantile_write(self, bytes, out);
        return;
    case FUNCTION_HISTOGRAM:
        write_histogram(self, slot, out);
        return;
    case FUNCTION_REDUCE:
        weir_strbuf_slice(out, reduce_state(self, state, pane));
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
        weir_strbuf_push(out, ',');
        weir_value_write(weir_value_string(weir_slice_of(item->call->name)), out, 0);
        weir_strbuf_push(out, ':');
        write_one(item, run, pane, slots + item->at, out);
    }
}

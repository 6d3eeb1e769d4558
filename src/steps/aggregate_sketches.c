/* SPDX-License-Identifier: Apache-2.0
 *
 * Aggregates that grow: lists (collect, top), the set or HyperLogLog of count_distinct (Flajolet et
 * al., 2007), the DDSketch of quantile.
 */
#include "aggregate_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <weir/jq.h>
#include <weir/json.h>

#include "base/alloc.h"
#include "base/assert.h"

#define SKETCH_GAMMA ((1 + 0.01) / (1 - 0.01))

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
    struct weir_entry *entry = aggregate_own_put(self, state, pane, sizeof(uint32_t), &is_new);
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
void aggregate_top_add(const struct aggregate *self,
                       struct weir_run *run,
                       struct weir_slice pane,
                       struct weir_value value)
{
    struct weir_state *state = weir_run_state(run);
    bool is_new;
    struct weir_entry *entry = aggregate_own_put(self, state, pane, sizeof(uint32_t), &is_new);
    struct weir_slice list = weir_entry_value(entry);
    uint32_t count = list_count(list), place = 0;
    size_t at = sizeof(count), last = at;
    size_t where = 0;
    for (uint32_t i = 0; i < count; i++) {
        last = at;
        size_t begin = at;
        struct weir_slice text = list_next(list, &at);
        if (where == 0 && weir_value_compare(value, aggregate_value_of(run, text)) > 0) {
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

void aggregate_list_write(struct weir_slice list, struct weir_strbuf *out)
{
    size_t at = sizeof(uint32_t);
    weir_strbuf_push(out, '[');
    for (uint32_t i = 0; i < list_count(list); i++) {
        weir_strbuf_text(out, i > 0 ? "," : "");
        weir_strbuf_slice(out, list_next(list, &at));
    }
    weir_strbuf_push(out, ']');
}

void aggregate_add_listed(const struct aggregate *self,
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

void aggregate_merge_lists(const struct aggregate *self,
                           struct weir_run *run,
                           struct weir_slice pane,
                           struct weir_slice from)
{
    struct weir_state *state = weir_run_state(run);
    const struct weir_entry *other = aggregate_own_find(self, state, from);
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
            aggregate_top_add(self, run, pane, aggregate_value_of(run, text));
        }
    }
}

/* --- count_distinct ----------------------------------------------------------------------------*/

/* Hashes while there are few; then one byte per register. Told apart by their size. */
uint64_t aggregate_mix(uint64_t hash)
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

void aggregate_distinct_add(const struct aggregate *self,
                            struct weir_state *state,
                            struct weir_slice pane,
                            uint64_t hash)
{
    bool is_new;
    struct weir_entry *entry = aggregate_own_put(self, state, pane, 0, &is_new);
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

void aggregate_distinct_merge(const struct aggregate *self,
                              struct weir_state *state,
                              struct weir_slice pane,
                              struct weir_slice from)
{
    const struct weir_entry *other = aggregate_own_find(self, state, from);
    if (other == NULL) {
        return;
    }
    struct weir_slice value = weir_entry_value(other);
    if (!is_sketch(value)) {
        for (size_t i = 0; i < value.size / sizeof(uint64_t); i++) {
            uint64_t hash;
            memcpy(&hash, weir_entry_value(other).data + i * sizeof(hash), sizeof(hash));
            aggregate_distinct_add(self, state, pane, hash);
        }
        return;
    }
    bool is_new;
    struct weir_entry *entry = aggregate_own_put(self, state, pane, 0, &is_new);
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

double aggregate_distinct_count(struct weir_slice value)
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

int32_t aggregate_bin_index(double number)
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

void aggregate_quantile_add(const struct aggregate *self,
                            struct weir_state *state,
                            struct weir_slice pane,
                            int32_t index,
                            uint32_t times)
{
    bool is_new;
    struct weir_entry *entry = aggregate_own_put(self, state, pane, 0, &is_new);
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

void aggregate_quantile_write(const struct aggregate *self,
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
    aggregate_put_number(out, bin_value(bins[at].index));
}

void aggregate_merge_bins(const struct aggregate *self,
                          struct weir_state *state,
                          struct weir_slice pane,
                          struct weir_slice from)
{
    const struct weir_entry *other = aggregate_own_find(self, state, from);
    struct weir_slice value =
        other == NULL ? (struct weir_slice){NULL, 0} : weir_entry_value(other);
    const struct bin *bins = (const struct bin *)(const void *)value.data;
    for (size_t i = 0; i < value.size / sizeof(struct bin); i++) {
        aggregate_quantile_add(self, state, pane, bins[i].index, bins[i].count);
    }
}

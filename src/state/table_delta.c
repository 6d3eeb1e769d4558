/* SPDX-License-Identifier: Apache-2.0
 *
 * Deltas of a table as bytes (their form is in state/table.h). A reader believes nothing: what it
 * is given may be damaged in a way that its checksum does not show.
 */
#include "state/table_delta.h"

#include "state/spill.h"
#include "state/table_priv.h"

enum { DELTA_CLOCK = 1, DELTA_PUT = 2, DELTA_DROP = 3, DELTA_MARK = 4 };
enum { PUT_HEAD_MAX = 32, READ_AHEAD = 32 };

/* --- writing -----------------------------------------------------------------------------------*/

static char *put_varint(char *at, uint64_t number)
{
    while (number >= 128) {
        *at++ = (char)(number | 128);
        number >>= 7;
    }
    *at++ = (char)number;
    return at;
}

void weir_delta_clock(struct weir_strbuf *out, int64_t clock)
{
    weir_strbuf_push(out, DELTA_CLOCK);
    weir_strbuf_append(out, &clock, sizeof(clock));
}

void weir_delta_put(struct weir_strbuf *out,
                    int64_t timer,
                    struct weir_slice key,
                    struct weir_slice value,
                    bool is_mark)
{
    if (!weir_strbuf_reserve(out, PUT_HEAD_MAX + key.size + value.size)) {
        return;
    }
    char *begin = out->data + out->size, *at = begin;
    *at++ = is_mark ? DELTA_MARK : DELTA_PUT;
    memcpy(at, &timer, sizeof(timer));
    at = put_varint(at + sizeof(timer), key.size);
    at = is_mark ? at : put_varint(at, value.size);
    memcpy(at, key.data, key.size);
    at += key.size;
    memcpy(at, value.data, value.size);
    at += value.size;
    *at = '\0';
    out->size += (size_t)(at - begin);
}

void weir_delta_put_entry(struct weir_strbuf *out, const struct weir_entry *entry)
{
    weir_delta_put(out, weir_entry_timer(entry), weir_entry_key(entry), weir_entry_value(entry),
                   entry_is_bare(entry));
}

void weir_delta_drop(struct weir_strbuf *out, const struct weir_entry *entry)
{
    struct weir_slice key = weir_entry_key(entry);
    char head[PUT_HEAD_MAX] = {DELTA_DROP};
    weir_strbuf_append(out, head, (size_t)(put_varint(head + 1, key.size) - head));
    weir_strbuf_slice(out, key);
}

/* --- restoring ---------------------------------------------------------------------------------*/

struct reader {
    const char *at, *end;
    bool torn;
};

static const char *take_bytes(struct reader *in, size_t size)
{
    if (in->torn || (size_t)(in->end - in->at) < size) {
        in->torn = true;
        return NULL;
    }
    const char *bytes = in->at;
    in->at += size;
    return bytes;
}

static uint64_t take_varint(struct reader *in)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        const char *byte = take_bytes(in, 1);
        if (byte == NULL) {
            return 0;
        }
        number |= (uint64_t)(*byte & 127) << shift;
        if ((*byte & 128) == 0) {
            return number;
        }
    }
    in->torn = true;
    return 0;
}

static int64_t take_int64(struct reader *in)
{
    int64_t number = 0;
    const char *bytes = take_bytes(in, sizeof(number));
    if (bytes != NULL) {
        memcpy(&number, bytes, sizeof(number));
    }
    return number;
}

struct change {
    int kind;
    uint32_t hash;
    int64_t number; /* the timer, or the clock */
    struct weir_slice key, value;
};

/* False: torn. */
static bool take_change(struct reader *in, struct change *change)
{
    change->kind = *in->at++;
    if (change->kind < DELTA_CLOCK || change->kind > DELTA_MARK) {
        return false;
    }
    change->number = change->kind == DELTA_DROP ? 0 : take_int64(in);
    if (change->kind == DELTA_CLOCK) {
        return !in->torn;
    }
    size_t key_size = take_varint(in), value_size = change->kind == DELTA_PUT ? take_varint(in) : 0;
    const char *key = take_bytes(in, key_size), *value = take_bytes(in, value_size);
    if (in->torn || key_size == 0 || key_size > WEIR_STATE_KEY_MAX ||
        value_size > WEIR_STATE_VALUE_MAX) {
        return false;
    }
    change->key = (struct weir_slice){key, key_size};
    change->value = (struct weir_slice){value, value_size};
    change->hash = key_hash(change->key);
    return true;
}

/* False: a mark was dropped and became something else. */
static bool apply_put(struct weir_state *state, const struct change *change)
{
    bool is_new;
    size_t size = change->value.size;
    struct weir_entry *entry =
        state_put(state, change->key, change->hash, size, change->kind == DELTA_MARK, &is_new);
    if (size > 0 && entry_is_bare(entry)) {
        return false;
    }
    memcpy(is_new ? entry_bytes(entry) : weir_state_resize(state, entry, size), change->value.data,
           size);
    weir_state_set_timer(state, entry, change->number);
    return true;
}

static bool apply_change(struct weir_state *state, const struct change *change)
{
    if (change->kind == DELTA_CLOCK) {
        weir_state_set_clock(state, change->number);
        return true;
    }
    if (change->kind != DELTA_DROP) {
        return apply_put(state, change);
    }
    struct weir_entry *entry = state_find(state, change->key, change->hash);
    if (entry != NULL) {
        weir_state_drop(state, entry);
    }
    return true;
}

/* Changes are read well ahead of being applied: memory that one will look at is asked for while
 * others are being applied. First its slot in the index, later the entry that the slot points at. */
static bool apply_all(struct weir_state *state, struct reader *in)
{
    struct change changes[READ_AHEAD];
    size_t read = 0, at = 0;
    while (at < read || in->at < in->end) {
        for (; read - at < READ_AHEAD && in->at < in->end; read++) {
            struct change *change = &changes[read % READ_AHEAD];
            const char *begin = in->at;
            if (!take_change(in, change)) {
                return false;
            }
            state->came += (size_t)(in->at - begin);
            if (change->kind != DELTA_CLOCK) {
                state_prefetch_slot(state, change->hash);
            }
        }
        const struct change *next = &changes[(at + READ_AHEAD / 2) % READ_AHEAD];
        if (at + READ_AHEAD / 2 < read && next->kind != DELTA_CLOCK) {
            state_prefetch_block(state, next->hash);
        }
        if (!apply_change(state, &changes[at++ % READ_AHEAD])) {
            return false;
        }
    }
    return true;
}

weir_status
weir_state_apply(struct weir_state *state, struct weir_slice delta, struct weir_err *err)
{
    struct reader in = {delta.data, delta.data + delta.size, false};
    weir_state_set_restoring(state, true);
    bool whole = apply_all(state, &in);
    weir_state_set_restoring(state, false);
    if (state->spill != NULL) {
        weir_spill_committed(state->spill);
        weir_state_trim(state);
    }
    return whole ? WEIR_OK
                 : weir_fail(err, WEIR_CORRUPT, "an entry of the state log is not well formed");
}

bool weir_state_snapshot_part(struct weir_state *state,
                              struct weir_state_cursor *cursor,
                              size_t bytes,
                              struct weir_strbuf *out)
{
    if (cursor->slab == 0 && cursor->offset == 0 && weir_state_clock(state) != INT64_MIN) {
        weir_delta_clock(out, weir_state_clock(state));
    }
    size_t begin = out->size;
    struct weir_entry *entry;
    bool rows_begin = false;
    while (cursor->slab != SIZE_MAX && out->size - begin < bytes) {
        entry = state_next_resident(state, cursor);
        if (entry != NULL) {
            weir_delta_put_entry(out, entry);
        } else {
            rows_begin = true;
            cursor->slab = SIZE_MAX;
        }
    }
    if (cursor->slab == SIZE_MAX && state->spill != NULL) {
        size_t done = out->size - begin;
        return weir_spill_snapshot(state, rows_begin, done < bytes ? bytes - done : 0, out);
    }
    return cursor->slab != SIZE_MAX;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Deltas of a table as bytes (their form is in state/table.h). A reader believes nothing: what it
 * is given may be damaged in a way that its checksum does not show.
 */
#include "state/table_delta.h"

#include "state/spill.h"
#include "state/table_priv.h"

enum { DELTA_CLOCK = 1, DELTA_PUT = 2, DELTA_DROP = 3, DELTA_MARK = 4 };

/* --- writing -----------------------------------------------------------------------------------*/

static void put_varint(struct weir_strbuf *out, uint64_t number)
{
    while (number >= 128) {
        weir_strbuf_push(out, (char)(number | 128));
        number >>= 7;
    }
    weir_strbuf_push(out, (char)number);
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
    weir_strbuf_push(out, is_mark ? DELTA_MARK : DELTA_PUT);
    weir_strbuf_append(out, &timer, sizeof(timer));
    put_varint(out, key.size);
    if (!is_mark) {
        put_varint(out, value.size);
    }
    weir_strbuf_slice(out, key);
    weir_strbuf_slice(out, value);
}

void weir_delta_put_entry(struct weir_strbuf *out, const struct weir_entry *entry)
{
    weir_delta_put(out, weir_entry_timer(entry), weir_entry_key(entry), weir_entry_value(entry),
                   entry_is_bare(entry));
}

void weir_delta_drop(struct weir_strbuf *out, const struct weir_entry *entry)
{
    struct weir_slice key = weir_entry_key(entry);
    weir_strbuf_push(out, DELTA_DROP);
    put_varint(out, key.size);
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

static void apply_put(struct weir_state *state, struct reader *in, bool is_mark)
{
    int64_t timer = take_int64(in);
    uint64_t key_size = take_varint(in), value_size = is_mark ? 0 : take_varint(in);
    const char *key = take_bytes(in, key_size), *value = take_bytes(in, value_size);
    in->torn = in->torn || key_size == 0 || key_size > WEIR_STATE_KEY_MAX ||
               value_size > WEIR_STATE_VALUE_MAX;
    if (in->torn) {
        return;
    }
    bool is_new;
    struct weir_slice own = {key, key_size};
    struct weir_entry *entry = is_mark ? weir_state_put_mark(state, own, &is_new)
                                       : weir_state_put(state, own, value_size, &is_new);
    if (value_size > 0 && entry_is_bare(entry)) { /* a mark was dropped and became something else */
        in->torn = true;
        return;
    }
    memcpy(weir_state_resize(state, entry, value_size), value, value_size);
    weir_state_set_timer(state, entry, timer);
}

static void apply_drop(struct weir_state *state, struct reader *in)
{
    uint64_t key_size = take_varint(in);
    const char *key = take_bytes(in, key_size);
    struct weir_entry *entry =
        key == NULL ? NULL : weir_state_find(state, (struct weir_slice){key, key_size});
    if (entry != NULL) {
        weir_state_drop(state, entry);
    }
}

weir_status
weir_state_apply(struct weir_state *state, struct weir_slice delta, struct weir_err *err)
{
    struct reader in = {delta.data, delta.data + delta.size, false};
    weir_state_set_restoring(state, true);
    while (in.at < in.end && !in.torn) {
        switch (*in.at++) {
        case DELTA_CLOCK:
            weir_state_set_clock(state, take_int64(&in));
            break;
        case DELTA_PUT:
        case DELTA_MARK:
            apply_put(state, &in, in.at[-1] == DELTA_MARK);
            break;
        case DELTA_DROP:
            apply_drop(state, &in);
            break;
        default:
            in.torn = true;
        }
    }
    weir_state_set_restoring(state, false);
    if (state->spill != NULL) {
        weir_spill_committed(state->spill);
        weir_state_trim(state);
    }
    return in.torn ? weir_fail(err, WEIR_CORRUPT, "an entry of the state log is not well formed")
                   : WEIR_OK;
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

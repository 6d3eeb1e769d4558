/* SPDX-License-Identifier: Apache-2.0
 *
 * Which entries leave is decided by the clock algorithm: a hand goes round the slabs, and an entry
 * that was used since it came by is passed over once. They leave in one batch between two batches
 * of records, when the table holds more than its share of memory; an entry that the open or the
 * closing epoch has changed stays. The row on disk of an entry that came back is left where it is,
 * and is written again only if the entry has changed.
 */
#include "state/spill.h"

#include "state/table_delta.h"
#include "state/table_priv.h"

enum {
    LOAD_AT_ONCE = 4096,
    ROW_HEAD = 9,
    ROW_MAX = ROW_HEAD + WEIR_STATE_VALUE_MAX + 1,
    TIMER_KEY_MAX = 8 + 65535,
};

struct weir_spill {
    struct weir_disk *disk;
    struct weir_disk_batch *batch;
    uint32_t table;
    size_t budget, limit; /* entries leave above the limit, down to three quarters of the budget */
    size_t away;          /* entries that are only on disk */
    struct weir_state_cursor hand;
    int64_t next_timer;
    struct weir_strbuf row;
    struct weir_strbuf consumed; /* every row of 't' before it was read */
    struct weir_strbuf snapshot; /* just behind the last key that is in the snapshot … */
    struct weir_strbuf snapshot_committed; /* … and where an abort goes back to */
    struct weir_disk_walk *walk;           /* of weir_state_next */
    struct weir_entry *visited;            /* brought back only to be looked at */
};

void weir_state_use_disk(struct weir_state *state, struct weir_disk *disk, size_t budget_bytes)
{
    WEIR_ASSERT(state->spill == NULL && state->linked == 0);
    struct weir_spill *spill = weir_calloc(1, sizeof(*spill));
    *spill = (struct weir_spill){.disk = disk,
                                 .batch = weir_disk_batch_new(disk),
                                 .table = weir_disk_table(disk),
                                 .budget = budget_bytes,
                                 .limit = budget_bytes,
                                 .next_timer = WEIR_NO_TIMER};
    weir_strbuf_init(&spill->row, ROW_MAX);
    weir_strbuf_init(&spill->consumed, TIMER_KEY_MAX);
    weir_strbuf_init(&spill->snapshot, TIMER_KEY_MAX);
    weir_strbuf_init(&spill->snapshot_committed, TIMER_KEY_MAX);
    state->spill = spill;
}

void weir_state_set_budget(struct weir_state *state, size_t budget_bytes)
{
    if (state->spill != NULL) {
        state->spill->budget = state->spill->limit = budget_bytes;
    }
}

bool weir_state_is_crowded(const struct weir_state *state)
{
    return state->spill != NULL && state->resident > 2 * state->spill->budget;
}

void weir_spill_free(struct weir_spill *spill)
{
    if (spill == NULL) {
        return;
    }
    weir_disk_walk_free(spill->walk);
    weir_disk_batch_drop_table(spill->batch, spill->table);
    weir_disk_batch_write(spill->batch);
    weir_disk_batch_free(spill->batch);
    weir_strbuf_done(&spill->row);
    weir_strbuf_done(&spill->consumed);
    weir_strbuf_done(&spill->snapshot);
    weir_strbuf_done(&spill->snapshot_committed);
    weir_free(spill);
}

/* --- rows --------------------------------------------------------------------------------------*/

/* Its bytes sort as (time, key). */
static struct weir_slice timer_key(char *room, int64_t time, struct weir_slice key)
{
    uint64_t bits = (uint64_t)time ^ (UINT64_C(1) << 63);
    for (int i = 0; i < 8; i++) {
        room[i] = (char)(uint8_t)(bits >> (56 - 8 * i));
    }
    memcpy(room + 8, key.data, key.size);
    return (struct weir_slice){room, 8 + key.size};
}

static int64_t timer_of(struct weir_slice row_key)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) {
        bits = bits << 8 | (uint8_t)row_key.data[i];
    }
    return (int64_t)(bits ^ (UINT64_C(1) << 63));
}

static int compare(struct weir_slice a, struct weir_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static void keep(struct weir_strbuf *kept, struct weir_slice bytes)
{
    weir_strbuf_clear(kept);
    weir_strbuf_slice(kept, bytes);
}

/* An entry as its row says; the timer is not in the heap yet. */
static struct weir_entry *
spill_make(struct weir_state *state, struct weir_slice key, uint32_t hash, struct weir_slice row)
{
    WEIR_ASSERT(row.size >= ROW_HEAD);
    struct weir_entry *entry =
        state_make(state, key, hash, row.size - ROW_HEAD, row.data[sizeof(int64_t)] != 0);
    memcpy(&entry->timer, row.data, sizeof(int64_t));
    if (row.size > ROW_HEAD) {
        memcpy(entry_bytes(entry), row.data + ROW_HEAD, row.size - ROW_HEAD);
    }
    entry->flags |= ENTRY_ON_DISK | ENTRY_USED;
    state->spill->away--;
    return entry;
}

static struct weir_entry *
spill_load(struct weir_state *state, struct weir_slice key, uint32_t hash, int64_t wanted_timer)
{
    struct weir_spill *spill = state->spill;
    weir_strbuf_clear(&spill->row);
    if (spill->away == 0 || !weir_disk_get(spill->disk, spill->table, 'e', key, &spill->row)) {
        return NULL;
    }
    int64_t timer;
    memcpy(&timer, spill->row.data, sizeof(timer));
    if (wanted_timer != WEIR_NO_TIMER && timer != wanted_timer) {
        return NULL;
    }
    struct weir_entry *entry = spill_make(state, key, hash, weir_strbuf_view(&spill->row));
    if (timer != WEIR_NO_TIMER) {
        state_heap_push(state, entry);
    }
    return entry;
}

struct weir_entry *weir_spill_find(struct weir_state *state,
                                   struct weir_slice key,
                                   uint32_t hash,
                                   struct weir_entry *resident)
{
    if (resident != NULL) {
        resident->flags |= ENTRY_USED;
        return (resident->flags & ENTRY_DEAD) != 0 ? NULL : resident;
    }
    return spill_load(state, key, hash, WEIR_NO_TIMER);
}

void weir_spill_drop(struct weir_spill *spill, struct weir_slice key)
{
    weir_disk_batch_drop(spill->batch, spill->table, 'e', key);
}

void weir_spill_committed(struct weir_spill *spill)
{
    weir_disk_batch_write(spill->batch);
    spill->limit = spill->budget;
    keep(&spill->snapshot_committed, weir_strbuf_view(&spill->snapshot));
}

void weir_spill_rolled_back(struct weir_spill *spill)
{
    keep(&spill->snapshot, weir_strbuf_view(&spill->snapshot_committed));
}

/* --- leaving -----------------------------------------------------------------------------------*/

static bool may_leave(const struct weir_state *state, const struct weir_entry *entry)
{
    bool changed = entry->stamp == state->stamp ||
                   (!layer_is_empty(&state->closing) && entry->stamp == state->stamp - 1);
    return !changed && (entry->flags & ENTRY_DUE) == 0;
}

static void spill_forget(struct weir_state *state, struct weir_entry *entry)
{
    state->resident -= entry_cost(entry->key_size, entry->value_size);
    state_index_remove(state, entry);
    state->spill->away++;
    if (entry->queued > 0) {
        entry->flags |= ENTRY_DEAD | ENTRY_ZOMBIE;
        state->zombies++;
    } else {
        entry_free(state, entry);
    }
}

static void spill_leave(struct weir_state *state, struct weir_entry *entry)
{
    struct weir_spill *spill = state->spill;
    struct weir_slice key = weir_entry_key(entry);
    char room[TIMER_KEY_MAX];
    if ((entry->flags & (ENTRY_ON_DISK | ENTRY_CHANGED)) != ENTRY_ON_DISK) {
        weir_strbuf_clear(&spill->row);
        weir_strbuf_append(&spill->row, &entry->timer, sizeof(entry->timer));
        weir_strbuf_push(&spill->row, entry_is_bare(entry));
        weir_strbuf_slice(&spill->row, weir_entry_value(entry));
        WEIR_ASSERT(!spill->row.failed);
        weir_disk_batch_put(spill->batch, spill->table, 'e', key, weir_strbuf_view(&spill->row));
    }
    if (entry->timer != WEIR_NO_TIMER) {
        struct weir_slice row_key = timer_key(room, entry->timer, key);
        weir_disk_batch_put(spill->batch, spill->table, 't', row_key, WEIR_SLICE(""));
        spill->next_timer = entry->timer < spill->next_timer ? entry->timer : spill->next_timer;
        if (compare(row_key, weir_strbuf_view(&spill->consumed)) < 0) {
            keep(&spill->consumed, row_key);
        }
    }
    spill_forget(state, entry);
}

void weir_state_trim(struct weir_state *state)
{
    struct weir_spill *spill = state->spill;
    if (spill == NULL || state->resident <= spill->limit) {
        return;
    }
    size_t target = spill->budget / 4 * 3;
    for (int round = 0; round < 3 && state->resident > target;) {
        struct weir_entry *entry = state_next_resident(state, &spill->hand);
        if (entry == NULL) {
            spill->hand = (struct weir_state_cursor){0};
            round++;
        } else if (may_leave(state, entry)) {
            if ((entry->flags & ENTRY_USED) != 0) {
                entry->flags &= (uint8_t)~ENTRY_USED;
            } else {
                spill_leave(state, entry);
            }
        }
    }
    weir_disk_batch_write(spill->batch);
    if (state->zombies > 0) {
        state_heap_rebuild(state);
    }
    /* What the epoch has changed has to stay: no use in looking again soon. */
    size_t more = state->resident + spill->budget / 4;
    spill->limit = more > spill->budget ? more : spill->budget;
}

/* --- timers ------------------------------------------------------------------------------------*/

int64_t weir_spill_next_timer(const struct weir_spill *spill)
{
    return spill->next_timer;
}

bool weir_spill_comes_before(const struct weir_spill *spill, int64_t time, struct weir_slice key)
{
    if (spill->next_timer != time) {
        return spill->next_timer < time;
    }
    char room[TIMER_KEY_MAX];
    return compare(weir_strbuf_view(&spill->consumed), timer_key(room, time, key)) < 0;
}

size_t weir_spill_load_due(struct weir_state *state)
{
    struct weir_spill *spill = state->spill;
    struct weir_disk_walk *walk =
        weir_disk_walk_new(spill->disk, spill->table, 't', weir_strbuf_view(&spill->consumed));
    struct weir_slice row_key, nothing;
    size_t loaded = 0;
    int64_t time = 0;
    bool more = weir_disk_walk_next(walk, &row_key, &nothing);
    for (size_t read = 0; more && read < LOAD_AT_ONCE; read++) {
        int64_t own = timer_of(row_key);
        if (read > 0 && own != time) {
            break;
        }
        time = own;
        struct weir_slice key = {row_key.data + 8, row_key.size - 8};
        uint32_t hash = key_hash(key);
        if (state_find_resident(state, key, hash) == NULL &&
            spill_load(state, key, hash, time) != NULL) {
            loaded++;
        }
        weir_disk_batch_drop(spill->batch, spill->table, 't', row_key);
        keep(&spill->consumed, row_key);
        weir_strbuf_push(&spill->consumed, '\0'); /* just behind it */
        more = weir_disk_walk_next(walk, &row_key, &nothing);
    }
    spill->next_timer = more ? timer_of(row_key) : WEIR_NO_TIMER;
    weir_disk_walk_free(walk);
    weir_disk_batch_write(spill->batch);
    return loaded;
}

/* --- walks -------------------------------------------------------------------------------------*/

/* An entry that was brought back only to be looked at leaves again, unless it was changed. */
static void spill_end_visit(struct weir_state *state)
{
    struct weir_entry *entry = state->spill->visited;
    state->spill->visited = NULL;
    if (entry == NULL || (entry->flags & ENTRY_DEAD) != 0) {
        return;
    }
    if (may_leave(state, entry)) {
        spill_forget(state, entry);
    } else if (entry->timer != WEIR_NO_TIMER && entry->queued == 0) {
        state_heap_push(state, entry);
    }
}

struct weir_entry *weir_spill_next(struct weir_state *state, struct weir_state_cursor *cursor)
{
    struct weir_spill *spill = state->spill;
    if (cursor->slab == 0 && cursor->offset == 0) {
        spill_end_visit(state);
        weir_disk_walk_free(spill->walk);
        spill->walk =
            weir_disk_walk_new(spill->disk, spill->table, 'e', (struct weir_slice){NULL, 0});
    }
    struct weir_entry *entry;
    while (cursor->slab != SIZE_MAX && (entry = state_next_resident(state, cursor)) != NULL) {
        if ((entry->flags & ENTRY_ON_DISK) == 0) { /* the others come with their rows */
            return entry;
        }
    }
    cursor->slab = SIZE_MAX;
    spill_end_visit(state);
    struct weir_slice key, row;
    while (weir_disk_walk_next(spill->walk, &key, &row)) {
        uint32_t hash = key_hash(key);
        entry = state_find_resident(state, key, hash);
        if (entry == NULL) {
            return spill->visited = spill_make(state, key, hash, row);
        }
        if ((entry->flags & ENTRY_DEAD) == 0 && (entry->flags & ENTRY_ON_DISK) != 0) {
            return entry;
        }
    }
    weir_disk_walk_free(spill->walk);
    spill->walk = NULL;
    return NULL;
}

bool weir_spill_snapshot(struct weir_state *state,
                         bool begins,
                         size_t bytes,
                         struct weir_strbuf *out)
{
    struct weir_spill *spill = state->spill;
    if (begins) {
        weir_strbuf_clear(&spill->snapshot);
    }
    struct weir_disk_walk *walk =
        weir_disk_walk_new(spill->disk, spill->table, 'e', weir_strbuf_view(&spill->snapshot));
    struct weir_slice key, row;
    size_t begin = out->size;
    bool more = true;
    while (out->size - begin < bytes && (more = weir_disk_walk_next(walk, &key, &row))) {
        const struct weir_entry *entry = state_find_resident(state, key, key_hash(key));
        if (entry == NULL) {
            int64_t timer;
            memcpy(&timer, row.data, sizeof(timer));
            weir_delta_put(out, timer, key,
                           (struct weir_slice){row.data + ROW_HEAD, row.size - ROW_HEAD},
                           row.data[sizeof(timer)] != 0);
        } else if ((entry->flags & ENTRY_DEAD) == 0) {
            weir_delta_put_entry(out, entry);
        }
        keep(&spill->snapshot, key);
        weir_strbuf_push(&spill->snapshot, '\0'); /* just behind it */
    }
    weir_disk_walk_free(walk);
    return more;
}

bool weir_spill_look(const struct weir_state *state,
                     struct weir_strbuf *from,
                     size_t count,
                     void (*see)(void *context,
                                 struct weir_slice key,
                                 struct weir_slice value,
                                 int64_t timer),
                     void *context)
{
    const struct weir_spill *spill = state->spill;
    struct weir_disk_walk *walk =
        weir_disk_walk_new(spill->disk, spill->table, 'e', weir_strbuf_view(from));
    struct weir_slice key, row;
    bool more = true;
    for (; count > 0 && (more = weir_disk_walk_next(walk, &key, &row)); count--) {
        int64_t timer;
        memcpy(&timer, row.data, sizeof(timer));
        see(context, key, (struct weir_slice){row.data + ROW_HEAD, row.size - ROW_HEAD}, timer);
        keep(from, key);
        weir_strbuf_push(from, '\0'); /* just behind it */
    }
    weir_disk_walk_free(walk);
    return more;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a table is what its steps made it, through every commit, abort and restart. Method: seeded
 * random operations on a table and on a model that is too simple to be wrong (an array that is
 * copied at each seal); what the model says must come out of the table, out of the table after a
 * rollback, and out of others that are restored from its deltas and snapshots. The same with a disk
 * and a budget that holds a fraction of the entries, which leave and come back all the time. At any
 * time whoever looks from outside sees the committed model.
 */
#include "state/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <weir/random.h>

#include "base/alloc.h"
#include "state/disk.h"
#include "state/look.h"
#include "state/table_priv.h"

enum {
    KEYS = 96,
    VALUE_MAX = 3000,
    KEY_BYTES = 1400,
    ROUNDS = 40,
    STEPS = 1500,
    TIMES = 60,
    DISK_BUDGET = 3000
};

/* --- the model ---------------------------------------------------------------------------------*/

struct known {
    bool exists;
    int64_t timer;
    uint32_t size;
    char value[VALUE_MAX];
};

struct model {
    struct known items[KEYS];
    int64_t clock;
};

/* The table's frames since the beginning: what a state log would hold. */
struct frame {
    char *data;
    size_t size;
};

struct world {
    struct weir_random random;
    struct weir_disk *disk; /* NULL: all in memory */
    struct weir_state *state;
    struct weir_entry *entries[KEYS]; /* where each was seen; NULL: not since the rollback */
    struct model *open, *closing, *committed;
    bool sealed;
    struct frame *frames;
    size_t frame_count;
    struct weir_strbuf sealed_delta, part;
    struct weir_state_cursor cursor, committed_cursor;
    bool snapshotting, snapshot_begins, snapshot_ended; /* begins, ended: with what is sealed */
    size_t snapshot_begin;                              /* its first frame */
    bool snapshot_resumed;                              /* a rollback has undone a part of it */
    size_t restored, resumed; /* how many snapshots were checked; of them, behind a rollback */
};

static size_t below(struct world *world, size_t bound)
{
    return (size_t)weir_random_below(&world->random, bound);
}

/* Keys of all classes; some share a beginning, so that the order of bytes matters. */
static struct weir_slice key_of(size_t number)
{
    static char keys[KEYS][KEY_BYTES];
    int head = snprintf(keys[number], KEY_BYTES, "%zu", number % 10 == 0 ? number / 10 : number);
    size_t size = (size_t)head;
    if (number % 10 == 0) {
        size_t more = number == 90 ? KEY_BYTES - size : number;
        memset(keys[number] + size, (int)number, more);
        size += more;
    }
    return (struct weir_slice){keys[number], size};
}

static size_t number_of(const struct weir_entry *entry)
{
    struct weir_slice key = weir_entry_key(entry);
    for (size_t i = 0; i < KEYS; i++) {
        if (weir_slice_equal(key, key_of(i))) {
            return i;
        }
    }
    fail_msg("a key that nobody put");
    return 0;
}

static int compare_keys(struct weir_slice a, struct weir_slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* The number of the entry that is due next; KEYS: none. */
static size_t model_due(const struct model *model, int64_t now)
{
    size_t best = KEYS;
    for (size_t i = 0; i < KEYS; i++) {
        const struct known *item = &model->items[i];
        if (!item->exists || item->timer == WEIR_NO_TIMER || item->timer > now) {
            continue;
        }
        if (best == KEYS || item->timer < model->items[best].timer ||
            (item->timer == model->items[best].timer &&
             compare_keys(key_of(i), key_of(best)) < 0)) {
            best = i;
        }
    }
    return best;
}

static void check_same(struct weir_state *state, const struct model *model, bool on_disk)
{
    size_t count = 0, seen = 0;
    int64_t next = WEIR_NO_TIMER;
    for (size_t i = 0; i < KEYS; i++) {
        const struct known *item = &model->items[i];
        struct weir_entry *entry = weir_state_find(state, key_of(i));
        assert_int_equal(entry != NULL, item->exists);
        if (entry != NULL) {
            struct weir_slice value = weir_entry_value(entry);
            assert_true(weir_slice_equal(value, (struct weir_slice){item->value, item->size}));
            assert_int_equal((uintptr_t)value.data % 8, 0);
            assert_int_equal(weir_entry_timer(entry), item->timer);
            next = item->timer < next ? item->timer : next;
            count++;
        }
    }
    struct weir_state_cursor cursor = {0};
    for (struct weir_entry *entry; (entry = weir_state_next(state, &cursor)) != NULL; seen++) {
        assert_true(model->items[number_of(entry)].exists);
    }
    assert_int_equal(seen, count);
    assert_int_equal(weir_state_count(state), count);
    assert_int_equal(weir_state_clock(state), model->clock);
    if (on_disk) { /* may tell of one that was moved since */
        assert_true(weir_state_next_timer(state) <= next);
    } else {
        assert_int_equal(weir_state_next_timer(state), next);
    }
}

/* --- who looks from outside --------------------------------------------------------------------*/

struct looking {
    const struct model *model;
    size_t wanted; /* keys of this remainder */
    bool seen[KEYS];
};

static size_t number_of_key(struct weir_slice key)
{
    size_t number = 0;
    while (number < KEYS && !weir_slice_equal(key, key_of(number))) {
        number++;
    }
    assert_true(number < KEYS);
    return number;
}

static bool look_wants(void *context, struct weir_slice key)
{
    const struct looking *self = context;
    return number_of_key(key) % 3 == self->wanted;
}

static void look_take(void *context, struct weir_slice key, struct weir_slice value, int64_t timer)
{
    struct looking *self = context;
    size_t number = number_of_key(key);
    const struct known *item = &self->model->items[number];
    assert_int_equal(number % 3, self->wanted);
    assert_true(item->exists);
    assert_true(weir_slice_equal(value, (struct weir_slice){item->value, item->size}));
    assert_int_equal(timer, item->timer);
    self->seen[number] = true;
}

static void check_looked(struct world *world)
{
    struct looking looking = {.model = world->committed, .wanted = below(world, 3)};
    const struct weir_state_looker looker = {look_wants, look_take, &looking};
    struct weir_state_look look;
    weir_state_look_init(&look);
    while (weir_state_look_on(world->state, &look, 1 + below(world, 50), &looker)) {
    }
    weir_state_look_done(&look);
    for (size_t i = 0; i < KEYS; i++) {
        assert_int_equal(looking.seen[i],
                         looking.model->items[i].exists && i % 3 == looking.wanted);
    }
}

/* --- what a step does --------------------------------------------------------------------------*/

static size_t random_size(struct world *world)
{
    return below(world, 20) == 0 ? below(world, VALUE_MAX) : below(world, 90);
}

static void do_put(struct world *world, size_t number)
{
    bool is_new;
    bool is_mark = number % 7 == 0;
    size_t size = is_mark ? 0 : random_size(world);
    struct known *item = &world->open->items[number];
    struct weir_entry *entry = is_mark
                                   ? weir_state_put_mark(world->state, key_of(number), &is_new)
                                   : weir_state_put(world->state, key_of(number), size, &is_new);
    assert_non_null(entry);
    assert_int_equal(is_new, !item->exists);
    if (is_new) {
        memset(item, 0, sizeof(*item));
        *item = (struct known){.exists = true, .timer = WEIR_NO_TIMER, .size = (uint32_t)size};
    } else if (world->entries[number] != NULL) {
        assert_ptr_equal(entry, world->entries[number]);
    }
    world->entries[number] = entry;
}

static void do_change(struct world *world, size_t number, struct weir_entry *entry)
{
    struct known *item = &world->open->items[number];
    char *value = below(world, 3) > 0 ? weir_state_edit(world->state, entry) : NULL;
    if (value == NULL) {
        size_t size = random_size(world);
        value = weir_state_resize(world->state, entry, size);
        if (size > item->size) {
            memset(item->value + item->size, 0, size - item->size);
        }
        item->size = (uint32_t)size;
    }
    assert_memory_equal(value, item->value, item->size);
    for (size_t i = 0; i < 4 && item->size > 0; i++) {
        size_t at = below(world, item->size);
        value[at] = item->value[at] = (char)weir_random_next(&world->random);
    }
}

static void do_drop(struct world *world, size_t number, struct weir_entry *entry)
{
    weir_state_drop(world->state, entry);
    world->entries[number] = NULL;
    world->open->items[number].exists = false;
}

static void do_one(struct world *world)
{
    size_t number = below(world, KEYS), what = below(world, 100);
    struct weir_entry *entry = weir_state_find(world->state, key_of(number));
    if (world->entries[number] != NULL) {
        assert_ptr_equal(entry, world->entries[number]);
    }
    if (what < 2) {
        world->open->clock = (int64_t)below(world, 1000);
        weir_state_set_clock(world->state, world->open->clock);
    } else if (entry == NULL || what < 10) {
        do_put(world, number);
    } else if (what < 40 && number % 7 != 0) {
        do_change(world, number, entry);
    } else if (what < 60) {
        do_drop(world, number, entry);
    } else {
        int64_t time = below(world, 8) == 0 ? WEIR_NO_TIMER : (int64_t)below(world, TIMES);
        weir_state_set_timer(world->state, entry, time);
        world->open->items[number].timer = time;
    }
}

/* Some of what is due, or all of it; the step changes others meanwhile. */
static void do_due(struct world *world)
{
    int64_t now = (int64_t)below(world, TIMES);
    bool with_changes = below(world, 2) == 0;
    for (size_t left = below(world, 30); left > 0; left--) {
        size_t expected = model_due(world->open, now);
        struct weir_entry *entry = weir_state_due(world->state, now);
        assert_int_equal(entry == NULL ? KEYS : number_of(entry), expected);
        if (entry == NULL) {
            return;
        }
        assert_int_equal(weir_entry_timer(entry), WEIR_NO_TIMER);
        world->open->items[expected].timer = WEIR_NO_TIMER;
        world->entries[expected] = entry;
        for (size_t i = with_changes ? below(world, 4) : 0; i > 0; i--) {
            do_one(world);
        }
    }
}

/* --- what the engine does ----------------------------------------------------------------------*/

static void add_frame(struct world *world, const struct weir_strbuf *bytes)
{
    struct weir_slice view = weir_strbuf_view(bytes);
    world->frames = weir_realloc(world->frames, world->frame_count + 1, sizeof(struct frame));
    world->frames[world->frame_count++] =
        (struct frame){weir_strndup(view.data, view.size), view.size};
}

static struct weir_state *new_state(const struct world *world)
{
    struct weir_state *state = weir_state_new(NULL);
    if (world->disk != NULL) {
        weir_state_use_disk(state, world->disk, DISK_BUDGET);
    }
    return state;
}

static struct weir_state *restore(const struct world *world, size_t first)
{
    struct weir_err err = {0};
    struct weir_state *state = new_state(world);
    size_t came = 0;
    for (size_t i = first; i < world->frame_count; i++) {
        struct weir_slice frame = {world->frames[i].data, world->frames[i].size};
        weir_state_expect(state, came, world->frame_count % 3 * 1000000); /* or nobody knows */
        assert_int_equal(weir_state_apply(state, frame, &err), WEIR_OK);
        came += frame.size;
    }
    weir_state_restored(state);
    return state;
}

static void check_restored(struct world *world, size_t first)
{
    struct weir_state *state = restore(world, first);
    check_same(state, world->committed, world->disk != NULL);
    if (!weir_state_is_dirty(world->state) && !world->sealed) {
        assert_int_equal(weir_state_bytes(state), weir_state_bytes(world->state));
    }
    /* Twice does no harm: what is due comes once, in the same order. */
    struct weir_err err = {0};
    for (size_t i = first; i < world->frame_count; i++) {
        struct weir_slice frame = {world->frames[i].data, world->frames[i].size};
        assert_int_equal(weir_state_apply(state, frame, &err), WEIR_OK);
    }
    check_same(state, world->committed, world->disk != NULL);
    struct model *model = weir_calloc(1, sizeof(*model));
    *model = *world->committed;
    for (size_t expected; (expected = model_due(model, TIMES)) != KEYS;) {
        struct weir_entry *entry = weir_state_due(state, TIMES);
        assert_non_null(entry);
        assert_int_equal(number_of(entry), expected);
        model->items[expected].timer = WEIR_NO_TIMER;
    }
    assert_null(weir_state_due(state, TIMES));
    weir_free(model);
    weir_state_free(state);
}

static void do_seal(struct world *world)
{
    weir_strbuf_clear(&world->sealed_delta);
    weir_strbuf_clear(&world->part);
    weir_state_seal(world->state, &world->sealed_delta);
    assert_false(weir_state_is_dirty(world->state));
    *world->closing = *world->open;
    world->sealed = true;
    if (!world->snapshotting && below(world, 3) == 0) {
        world->snapshotting = world->snapshot_begins = true;
        world->snapshot_resumed = false;
        world->snapshot_begin = world->frame_count; /* with the delta of this seal */
        world->cursor = (struct weir_state_cursor){0};
    }
    if (world->snapshotting) {
        world->snapshot_ended = !weir_state_snapshot_part(world->state, &world->cursor,
                                                          1 + below(world, 6000), &world->part);
    }
}

static void do_commit(struct world *world)
{
    weir_state_commit(world->state);
    *world->committed = *world->closing;
    world->sealed = world->snapshot_begins = false;
    world->committed_cursor = world->cursor;
    add_frame(world, &world->sealed_delta);
    if (world->snapshotting) {
        add_frame(world, &world->part);
    }
    if (world->snapshotting && world->snapshot_ended) {
        check_restored(world, world->snapshot_begin);
        world->snapshotting = world->snapshot_ended = false;
        world->restored++;
        world->resumed += world->snapshot_resumed;
    }
}

static void do_rollback(struct world *world)
{
    weir_state_rollback(world->state);
    *world->open = *world->committed;
    world->snapshot_resumed = world->snapshot_resumed || (world->sealed && world->snapshotting);
    world->snapshotting = world->snapshotting && !world->snapshot_begins;
    world->cursor = world->committed_cursor;
    world->sealed = world->snapshot_begins = world->snapshot_ended = false;
    memset(world->entries, 0, sizeof(world->entries));
    assert_false(weir_state_is_dirty(world->state));
    check_same(world->state, world->open, world->disk != NULL);
    struct weir_state *again = restore(world, 0);
    assert_int_equal(weir_state_bytes(again), weir_state_bytes(world->state));
    weir_state_free(again);
}

/* The number of snapshots that were restored; adds those that went on behind a rollback. */
static size_t run_world(uint64_t seed, struct weir_disk *disk, size_t *resumed)
{
    struct world *world = weir_calloc(1, sizeof(*world));
    weir_random_init(&world->random, seed);
    world->disk = disk;
    world->state = new_state(world);
    struct model **models[] = {&world->open, &world->closing, &world->committed};
    for (size_t i = 0; i < 3; i++) {
        *models[i] = weir_calloc(1, sizeof(struct model));
        (*models[i])->clock = INT64_MIN;
    }
    weir_strbuf_init(&world->sealed_delta, (size_t)1 << 30);
    weir_strbuf_init(&world->part, (size_t)1 << 30);
    for (size_t step = 0; step < STEPS; step++) {
        size_t what = below(world, 100);
        if (disk != NULL && below(world, 10) == 0) { /* as between two batches */
            weir_state_trim(world->state);
            memset(world->entries, 0, sizeof(world->entries));
        }
        if (what < 80) {
            do_one(world);
        } else if (what < 88) {
            do_due(world);
        } else if (what < 97) {
            if (world->sealed) {
                do_commit(world);
            } else {
                do_seal(world);
            }
        } else if (what < 98) {
            do_rollback(world);
        } else {
            check_same(world->state, world->open, world->disk != NULL);
        }
        if (below(world, 8) == 0) {
            check_looked(world);
        }
    }
    if (world->sealed) {
        do_commit(world);
    }
    check_restored(world, 0);
    size_t restored = world->restored;
    *resumed += world->resumed;
    for (size_t i = 0; i < world->frame_count; i++) {
        weir_free(world->frames[i].data);
    }
    for (size_t i = 0; i < 3; i++) {
        weir_free(*models[i]);
    }
    weir_free(world->frames);
    weir_strbuf_done(&world->sealed_delta);
    weir_strbuf_done(&world->part);
    weir_state_free(world->state);
    weir_free(world);
    return restored;
}

static void random_operations_against_the_model(void **state)
{
    (void)state;
    const char *is_long = getenv("WEIR_LONG");
    uint64_t rounds = is_long != NULL && strcmp(is_long, "0") != 0 ? 50 * ROUNDS : ROUNDS;
    size_t restored = 0, resumed = 0;
    for (uint64_t seed = 1; seed <= rounds; seed++) {
        restored += run_world(seed, NULL, &resumed);
    }
    assert_true(restored >= rounds && resumed >= rounds / 4);
}

/* A disk in a folder of its own, which nothing but the lock may be left in at the end. */
struct folder {
    char dir[32];
    struct weir_disk *disk;
};

static struct folder folder_open(void)
{
    struct weir_err err = {0};
    struct folder folder = {.dir = "/tmp/weir-table-XXXXXX"};
    assert_non_null(mkdtemp(folder.dir));
    folder.disk = weir_disk_open(folder.dir, 4 << 20, &err);
    assert_non_null(folder.disk);
    return folder;
}

static void folder_close(struct folder *folder)
{
    struct weir_err err = {0};
    assert_int_equal(weir_disk_failure(folder->disk, &err), WEIR_OK);
    weir_disk_close(folder->disk);
    char lock[64];
    snprintf(lock, sizeof(lock), "%s/table.0.lock", folder->dir);
    assert_int_equal(remove(lock), 0);
    assert_int_equal(rmdir(folder->dir), 0);
}

static void random_operations_on_disk_against_the_model(void **state)
{
    (void)state;
    const char *is_long = getenv("WEIR_LONG");
    uint64_t rounds = is_long != NULL && strcmp(is_long, "0") != 0 ? 50 * ROUNDS : ROUNDS / 2;
    struct folder folder = folder_open();
    size_t restored = 0, resumed = 0;
    for (uint64_t seed = 1001; seed <= 1000 + rounds; seed++) {
        restored += run_world(seed, folder.disk, &resumed);
    }
    assert_true(restored >= rounds && resumed >= rounds / 4);
    folder_close(&folder);
}

/* --- single cases ------------------------------------------------------------------------------*/

static struct weir_entry *put(struct weir_state *state, const char *key, size_t size)
{
    bool is_new;
    return weir_state_put(state, weir_slice_of(key), size, &is_new);
}

/* An item that is later than the timer is no item for it. */
static void moved_while_others_of_its_time_are_due(void **unused)
{
    (void)unused;
    struct weir_state *state = weir_state_new(NULL);
    struct weir_entry *a = put(state, "a", 0), *b = put(state, "b", 0);
    weir_state_set_timer(state, a, 1);
    weir_state_set_timer(state, put(state, "c", 0), 7);
    weir_state_set_timer(state, b, 9);
    weir_state_set_timer(state, b, 1);
    assert_ptr_equal(weir_state_due(state, 1), a);
    weir_state_set_timer(state, b, 5);
    assert_null(weir_state_due(state, 4));
    assert_int_equal(weir_state_next_timer(state), 5);
    assert_ptr_equal(weir_state_due(state, 5), b);
    assert_null(weir_state_due(state, 6));
    weir_state_free(state);
}

/* Its key has less in common with the others than they have among them. */
static void made_while_others_of_its_time_are_due(void **unused)
{
    (void)unused;
    struct weir_state *state = weir_state_new(NULL);
    struct weir_entry *keys[] = {put(state, "key1", 0), put(state, "key2", 0),
                                 put(state, "key3", 0)};
    for (size_t i = 0; i < 3; i++) {
        weir_state_set_timer(state, keys[i], 5);
    }
    assert_ptr_equal(weir_state_due(state, 5), keys[0]);
    struct weir_entry *other = put(state, "b", 0);
    weir_state_set_timer(state, other, 5);
    assert_ptr_equal(weir_state_due(state, 5), other);
    assert_ptr_equal(weir_state_due(state, 5), keys[1]);
    assert_ptr_equal(weir_state_due(state, 5), keys[2]);
    assert_null(weir_state_due(state, 5));
    weir_state_free(state);
}

/* More than are compared one by one, in the order of all bytes: short keys, keys that begin with
 * others, and keys that differ far behind what all have in common. Some are taken, then the epoch
 * is sealed, and some of the others leave or change before it is their turn. */
static void many_are_due_at_once(void **unused)
{
    (void)unused;
    enum { MANY = 6000, FIRST = 1000 };
    struct weir_random random;
    weir_random_init(&random, 7);
    struct weir_state *state = weir_state_new(NULL);
    size_t left = 0;
    for (size_t i = 0; i < MANY; i++) {
        char key[64];
        size_t number = (size_t)weir_random_below(&random, MANY);
        snprintf(key, sizeof(key), number % 3 == 0 ? "key%zu" : "key%zu-and-much-more-%zu",
                 number % 3 == 2 ? number % 7 : number, number);
        bool is_new;
        struct weir_entry *entry = weir_state_put(state, weir_slice_of(key), 8, &is_new);
        memcpy(weir_state_edit(state, entry), &number, sizeof(number));
        weir_state_set_timer(state, entry, 5);
        left += is_new;
    }
    weir_state_seal(state, NULL);
    weir_state_commit(state);
    char last[64] = "";
    struct weir_entry *entry;
    for (size_t taken = 0; taken < left && (entry = weir_state_due(state, 5)) != NULL; taken++) {
        struct weir_slice key = weir_entry_key(entry);
        assert_true(compare_keys(weir_slice_of(last), key) < 0);
        snprintf(last, sizeof(last), "%.*s", (int)key.size, key.data);
        weir_state_drop(state, entry);
        if (taken == FIRST) {
            struct weir_state_cursor cursor = {0};
            struct weir_entry *others[MANY];
            size_t count = 0, before = left;
            while ((entry = weir_state_next(state, &cursor)) != NULL) {
                others[count++] = entry;
            }
            for (size_t i = 0; i < count; i++) {
                if (i % 5 == 0) {
                    weir_state_drop(state, others[i]);
                    left--;
                } else if (i % 5 == 1) {
                    weir_state_set_timer(state, others[i], 9);
                    left--;
                }
            }
            assert_true(left < before);
            weir_state_seal(state, NULL);
            weir_state_commit(state);
        }
    }
    assert_null(weir_state_due(state, 5));
    assert_true(weir_state_count(state) > 0);
    while ((entry = weir_state_due(state, 9)) != NULL) {
        weir_state_drop(state, entry);
    }
    assert_int_equal(weir_state_count(state), 0);
    weir_state_rollback(state); /* what is not committed comes back, due again */
    size_t back = 0;
    while ((entry = weir_state_due(state, 9)) != NULL) {
        size_t number;
        memcpy(&number, weir_entry_value(entry).data, sizeof(number));
        assert_true(number < MANY);
        memset(weir_state_edit(state, entry), 255, sizeof(number));
        back++;
    }
    assert_int_equal(back, weir_state_count(state));
    weir_state_rollback(state);
    while ((entry = weir_state_due(state, 9)) != NULL) { /* a value that changed late as well */
        size_t number;
        memcpy(&number, weir_entry_value(entry).data, sizeof(number));
        assert_true(number < MANY);
        weir_state_drop(state, entry);
        back--;
    }
    assert_int_equal(back, 0);
    weir_state_free(state);
}

/* The place of a slab that is gone is taken by one with other blocks while a snapshot stands in it.
 */
static void snapshot_stands_in_a_slab_that_is_replaced(void **unused)
{
    (void)unused;
    struct weir_state *state = weir_state_new(NULL);
    struct weir_strbuf part, delta;
    weir_strbuf_init(&part, 1 << 20);
    weir_strbuf_init(&delta, 1 << 20);
    struct weir_entry *alone = put(state, "alone", 1001);
    weir_state_seal(state, &delta);
    weir_state_commit(state);
    struct weir_state_cursor cursor = {0};
    assert_true(weir_state_snapshot_part(state, &cursor, 1, &part));
    weir_state_drop(state, alone);
    weir_state_seal(state, &delta);
    weir_state_commit(state);
    for (int i = 0; i < 60; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key %d", i);
        struct weir_entry *entry = put(state, key, 40);
        memset(weir_state_edit(state, entry), 0xff, 40);
    }
    weir_state_seal(state, &delta);
    weir_state_commit(state);
    while (weir_state_snapshot_part(state, &cursor, 100, &part)) {
    }
    struct weir_err err = {0};
    struct weir_state *again = weir_state_new(NULL);
    assert_int_equal(weir_state_apply(again, weir_strbuf_view(&part), &err), WEIR_OK);
    assert_true(weir_state_count(again) <= 61);
    assert_int_equal(weir_state_apply(again, weir_strbuf_view(&delta), &err), WEIR_OK);
    assert_int_equal(weir_state_count(again), 60);
    weir_state_free(again);
    weir_state_free(state);
    weir_strbuf_done(&part);
    weir_strbuf_done(&delta);
}

static void caps_refuse_and_change_nothing(void **unused)
{
    (void)unused;
    struct weir_state *state = weir_state_new(&(struct weir_state_limits){.keys_max = 2});
    assert_non_null(put(state, "a", 8));
    struct weir_entry *b = put(state, "b", 8);
    size_t bytes = weir_state_bytes(state);
    assert_null(put(state, "c", 8));
    assert_non_null(put(state, "a", 8));
    assert_int_equal(weir_state_count(state), 2);
    assert_int_equal(weir_state_bytes(state), bytes);
    weir_state_drop(state, b);
    assert_non_null(put(state, "c", 8));
    weir_state_free(state);

    state = weir_state_new(&(struct weir_state_limits){.bytes_max = bytes});
    struct weir_entry *a = put(state, "a", 8);
    assert_null(weir_state_resize(state, a, 4096));
    assert_int_equal(weir_entry_value(a).size, 8);
    assert_non_null(put(state, "b", 8));
    assert_null(put(state, "c", 8));
    assert_int_equal(weir_state_bytes(state), bytes);
    weir_state_free(state);
}

/* A key that is put and dropped again and again in one epoch: nobody comes by what it was before,
 * or an epoch would take time with the square of its length. What the disk has of it stays hidden.
 */
static void dropped_many_times_in_an_epoch(void **unused)
{
    (void)unused;
    struct folder folder = folder_open();
    struct weir_state *state = weir_state_new(NULL);
    weir_state_use_disk(state, folder.disk, 1);
    for (int epoch = 0; epoch < 3; epoch++) {
        (void)put(state, "a", 8);
        weir_state_seal(state, NULL);
        weir_state_commit(state);
        weir_state_trim(state); /* passes over what is in use, once */
        weir_state_trim(state);
        assert_int_equal(state->linked, 0);
        for (int i = 0; i < 1000; i++) {
            weir_state_drop(state, put(state, "a", 8));
            assert_true(state->linked <= 1);
            assert_null(weir_state_find(state, weir_slice_of("a")));
        }
        if (epoch == 1) {
            weir_state_rollback(state);
            assert_non_null(weir_state_find(state, weir_slice_of("a")));
            assert_int_equal(state->linked, 1);
        } else {
            weir_state_seal(state, NULL);
            weir_state_commit(state);
            assert_null(weir_state_find(state, weir_slice_of("a")));
            assert_int_equal(state->linked, 0);
        }
    }
    weir_state_free(state);
    folder_close(&folder);
}

/* Some of what was due is left, and somebody asks for an earlier time, at which one on disk is due.
 */
static void due_on_disk_before_what_is_left(void **unused)
{
    (void)unused;
    struct folder folder = folder_open();
    struct weir_state *state = weir_state_new(NULL);
    weir_state_use_disk(state, folder.disk, 1);
    weir_state_set_timer(state, put(state, "early", 8), 60);
    weir_state_set_timer(state, put(state, "first", 8), 40);
    weir_state_set_timer(state, put(state, "second", 8), 40);
    struct weir_slice due = weir_entry_key(weir_state_due(state, 50));
    assert_true(weir_slice_equal(due, weir_slice_of("first")));
    weir_state_set_timer(state, weir_state_find(state, weir_slice_of("early")), 14);
    weir_state_seal(state, NULL);
    weir_state_commit(state);
    weir_state_trim(state);
    weir_state_trim(state);
    due = weir_entry_key(weir_state_due(state, 38));
    assert_true(weir_slice_equal(due, weir_slice_of("early")));
    assert_null(weir_state_due(state, 38));
    due = weir_entry_key(weir_state_due(state, 40));
    assert_true(weir_slice_equal(due, weir_slice_of("second")));
    weir_state_free(state);
    folder_close(&folder);
}

/* A delta that was cut or damaged is refused, or is a delta; nothing is read behind its end. */
static void deltas_of_any_bytes(void **unused)
{
    (void)unused;
    struct weir_state *state = weir_state_new(NULL);
    struct weir_strbuf delta;
    weir_strbuf_init(&delta, 1 << 20);
    weir_state_set_clock(state, 5);
    weir_state_set_timer(state, put(state, "first", 12), 77);
    weir_state_seal(state, NULL);
    weir_state_commit(state);
    weir_state_set_clock(state, 6);
    weir_state_drop(state, weir_state_find(state, weir_slice_of("first")));
    (void)put(state, "second", 200);
    weir_state_seal(state, &delta);
    weir_state_free(state);
    for (size_t at = 0; at < delta.size; at++) {
        for (int bit = -1; bit < 8; bit++) {
            size_t size = bit < 0 ? at : delta.size;
            char *bytes = weir_calloc(size + 1, 1);
            char *exact = weir_realloc(bytes, size > 0 ? size : 1, 1);
            memcpy(exact, delta.data, size);
            if (bit >= 0) {
                exact[at] = (char)(exact[at] ^ 1 << bit);
            }
            struct weir_err err = {0};
            struct weir_state *other = weir_state_new(NULL);
            weir_status status = weir_state_apply(other, (struct weir_slice){exact, size}, &err);
            assert_true(status == WEIR_OK || status == WEIR_CORRUPT);
            weir_state_free(other);
            weir_free(exact);
        }
    }
    weir_strbuf_done(&delta);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_operations_against_the_model),
        cmocka_unit_test(random_operations_on_disk_against_the_model),
        cmocka_unit_test(moved_while_others_of_its_time_are_due),
        cmocka_unit_test(made_while_others_of_its_time_are_due),
        cmocka_unit_test(many_are_due_at_once),
        cmocka_unit_test(snapshot_stands_in_a_slab_that_is_replaced),
        cmocka_unit_test(caps_refuse_and_change_nothing),
        cmocka_unit_test(dropped_many_times_in_an_epoch),
        cmocka_unit_test(due_on_disk_before_what_is_left),
        cmocka_unit_test(deltas_of_any_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

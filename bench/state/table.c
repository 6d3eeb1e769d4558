/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of a step's state alone: nanoseconds of CPU per operation over KEYS keys (default a
 * million) in random order, a commit every 100,000 operations as an epoch would make one. The sums
 * at the end are checked, so that a fast wrong table cannot be mistaken for a result. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/random.h>

#include "state/table.h"

enum { EPOCH = 100000, VALUE = 16, AHEAD = 8 };

struct bench {
    struct weir_state *state;
    struct weir_random random;
    struct weir_strbuf delta;
    size_t keys, delta_bytes, in_epoch;
};

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void show(const char *what, double began, size_t count)
{
    double each = (now_ns() - began) / (double)count;
    printf("%-36s %8.0f ns  %6.2f M/s\n", what, each, 1e3 / each);
}

static void bench_commit(struct bench *bench)
{
    weir_strbuf_clear(&bench->delta);
    weir_state_seal(bench->state, &bench->delta);
    weir_state_commit(bench->state);
    bench->delta_bytes += bench->delta.size;
    bench->in_epoch = 0;
}

static struct weir_slice key_of(uint64_t *number)
{
    return (struct weir_slice){(const char *)number, sizeof(*number)};
}

/* Counts in each of `count` keys: in order of their numbers, or at random. */
static void bench_count(struct bench *bench, size_t count, bool in_order, bool with_timers)
{
    uint64_t ahead[AHEAD];
    for (size_t i = 0; i < count + AHEAD; i++) {
        uint64_t now = ahead[i % AHEAD];
        if (i < count) {
            ahead[i % AHEAD] = in_order ? i : weir_random_below(&bench->random, bench->keys);
            (void)weir_state_prefetch(bench->state, key_of(&ahead[i % AHEAD]));
        }
        if (i < AHEAD) {
            continue;
        }
        bool is_new;
        struct weir_entry *entry = weir_state_put(bench->state, key_of(&now), VALUE, &is_new);
        ++*(uint64_t *)weir_state_edit(bench->state, entry);
        if (with_timers) {
            weir_state_set_timer(bench->state, entry, (int64_t)(i / 1000));
        }
        if (++bench->in_epoch == EPOCH) {
            bench_commit(bench);
        }
    }
    bench_commit(bench);
}

static void bench_due(struct bench *bench)
{
    uint64_t sum = 0;
    double began = now_ns();
    size_t count = 0;
    for (struct weir_entry *entry; (entry = weir_state_due(bench->state, INT64_MAX)) != NULL;) {
        sum += *(const uint64_t *)(const void *)weir_entry_value(entry).data;
        weir_state_drop(bench->state, entry);
        if (++count % EPOCH == 0) {
            bench_commit(bench);
        }
    }
    bench_commit(bench);
    show("due and drop", began, count);
    if (count != bench->keys || sum != 4 * bench->keys || weir_state_count(bench->state) != 0) {
        fputs("wrong: entries or counts are missing\n", stderr);
        exit(1);
    }
}

static void bench_restore(struct bench *bench)
{
    struct weir_strbuf part;
    struct weir_err err = {0};
    struct weir_state_cursor cursor = {0};
    struct weir_state *other = weir_state_new(NULL);
    weir_strbuf_init(&part, (size_t)1 << 30);
    double began = now_ns();
    for (bool more = true; more;) {
        weir_strbuf_clear(&part);
        more = weir_state_snapshot_part(bench->state, &cursor, 1 << 20, &part);
        if (weir_state_apply(other, weir_strbuf_view(&part), &err) != WEIR_OK) {
            exit(1);
        }
    }
    show("snapshot and restore", began, bench->keys);
    if (weir_state_count(other) != bench->keys) {
        fputs("wrong: not everything was restored\n", stderr);
        exit(1);
    }
    weir_state_free(other);
    weir_strbuf_done(&part);
}

int main(int argc, char **argv)
{
    struct bench bench = {.keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000};
    bench.state = weir_state_new(NULL);
    weir_random_init(&bench.random, 1);
    weir_strbuf_init(&bench.delta, (size_t)1 << 30);
    double began = now_ns();
    bench_count(&bench, bench.keys, true, false);
    show("put, edit: new", began, bench.keys);
    printf("%-36s %8.1f B a key, %d of them key and value\n", "counted as",
           (double)weir_state_bytes(bench.state) / (double)bench.keys, (int)sizeof(uint64_t) + VALUE);
    began = now_ns();
    bench_count(&bench, 2 * bench.keys, false, false);
    show("put, edit: there, at random", began, 2 * bench.keys);
    began = now_ns();
    bench_count(&bench, bench.keys, true, true);
    show("put, edit, set timer", began, bench.keys);
    bench_restore(&bench);
    bench_due(&bench);
    printf("%-36s %8.1f MB\n", "deltas", (double)bench.delta_bytes / 1e6);
    weir_strbuf_done(&bench.delta);
    weir_state_free(bench.state);
    return 0;
}

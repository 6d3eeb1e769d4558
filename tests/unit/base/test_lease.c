/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: no two processes ever hold one lease, every lease is held again soon after whatever went
 * wrong, evenly, and tokens only grow. Method: members under random schedules over a medium in
 * memory whose calls are slow, fail and lose answers; members pause, die and come; checked at each
 * step.
 */
#include "base/lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <weir/random.h>

#include "base/clock.h"

enum { LEASES = 7, MEMBERS = 4, TTL_MS = 3000 };

static struct world {
    struct weir_clock_manual clock;
    struct weir_random random;
    struct record {
        uint64_t owner, token;
        int64_t until_ns;
    } leases[LEASES];
    struct {
        uint64_t member;
        int64_t until_ns;
    } alive[64];
    size_t alive_count;
    unsigned trouble;                   /* in a hundred calls */
    bool is_away[LEASES], is_beat_away; /* a call about it hangs, then fails */
} world;

struct member {
    struct weir_leases *leases;
    uint64_t number, last_tokens[LEASES];
    int64_t paused_until_ns;
};

static void member_own(struct member *member);

static int64_t now(void)
{
    return weir_clock_monotonic_ns(&world.clock.clock);
}

static bool chance(unsigned percent)
{
    return weir_random_below(&world.random, 100) < percent;
}

static void pass(uint64_t most_ms)
{
    int64_t ms = (int64_t)weir_random_below(&world.random, most_ms + 1);
    weir_clock_manual_advance_ns(&world.clock, ms * WEIR_NS_PER_MS);
}

/* Time passes on the way, and the owner, which is another thread, goes on. */
static void travel(struct member *member)
{
    pass(chance(2) && world.trouble > 0 ? 2 * TTL_MS : 3);
    if (chance(50)) {
        member_own(member);
    }
}

/* False: the question got lost. */
static bool arrives(struct member *member)
{
    travel(member);
    return !chance(world.trouble);
}

/* False: nobody answered. */
static bool is_near(bool is_away)
{
    weir_clock_manual_advance_ns(&world.clock, is_away ? TTL_MS / 3 * WEIR_NS_PER_MS : 0);
    return !is_away;
}

static weir_status answer(struct member *member, weir_status status, struct weir_err *err)
{
    travel(member);
    return chance(world.trouble) ? weir_fail(err, WEIR_UNAVAILABLE, "answer lost") : status;
}

static weir_status medium_beat(void *self, struct weir_leases *leases, struct weir_err *err)
{
    struct member *member = self;
    if (!is_near(world.is_beat_away) || !arrives(self)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "question lost");
    }
    size_t kept = 0;
    for (size_t i = 0; i < world.alive_count; i++) {
        if (world.alive[i].until_ns > now() && world.alive[i].member != member->number) {
            world.alive[kept++] = world.alive[i];
        }
    }
    world.alive[kept].member = member->number;
    world.alive[kept].until_ns = now() + TTL_MS * WEIR_NS_PER_MS;
    world.alive_count = kept + 1;
    for (size_t i = 0; i < world.alive_count; i++) {
        weir_leases_see(leases, world.alive[i].member);
    }
    return answer(self, WEIR_OK, err);
}

static weir_status
medium_take(void *self, uint32_t index, uint64_t *ret_token, struct weir_err *err)
{
    struct member *member = self;
    if (!is_near(world.is_away[index]) || !arrives(self)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "question lost");
    }
    struct record *record = &world.leases[index];
    if (record->until_ns > now() && record->owner != member->number) {
        return answer(self, WEIR_AGAIN, err);
    }
    *record = (struct record){member->number, record->token + 1, now() + TTL_MS * WEIR_NS_PER_MS};
    *ret_token = record->token;
    return answer(self, WEIR_OK, err);
}

static bool is_tenure(const struct member *member, uint32_t index, uint64_t token)
{
    const struct record *record = &world.leases[index];
    return record->owner == member->number && record->token == token && record->until_ns > now();
}

static weir_status medium_renew(void *self, uint32_t index, uint64_t token, struct weir_err *err)
{
    if (!is_near(world.is_away[index]) || !arrives(self)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "question lost");
    }
    if (!is_tenure(self, index, token)) {
        return answer(self, WEIR_FENCED, err);
    }
    world.leases[index].until_ns = now() + TTL_MS * WEIR_NS_PER_MS;
    return answer(self, WEIR_OK, err);
}

static weir_status medium_release(void *self, uint32_t index, uint64_t token, struct weir_err *err)
{
    if (!is_near(world.is_away[index]) || !arrives(self)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "question lost");
    }
    if (!is_tenure(self, index, token)) {
        return answer(self, WEIR_FENCED, err);
    }
    world.leases[index].until_ns = 0;
    return answer(self, WEIR_OK, err);
}

static weir_status medium_leave(void *self, struct weir_err *err)
{
    struct member *member = self;
    for (size_t i = 0; i < world.alive_count; i++) {
        if (world.alive[i].member == member->number) {
            world.alive[i].until_ns = 0;
        }
    }
    return answer(self, WEIR_OK, err);
}

static const struct weir_lease_medium medium = {
    .beat = medium_beat,
    .take = medium_take,
    .renew = medium_renew,
    .release = medium_release,
    .leave = medium_leave,
};

static void member_start(struct member *member, bool sticky)
{
    *member = (struct member){.number = weir_random_next(&world.random)};
    member->leases = weir_leases_new(&(struct weir_leases_settings){
        .medium = &medium,
        .medium_self = member,
        .clock = &world.clock.clock,
        .count = LEASES,
        .member = member->number,
        .ttl_ms = TTL_MS,
        .sticky = sticky,
    });
}

static bool is_working(const struct member *member, uint32_t index)
{
    uint64_t token;
    enum weir_lease_state state = member->leases == NULL || member->paused_until_ns > now()
                                      ? WEIR_LEASE_FREE
                                      : weir_leases_state(member->leases, index, &token);
    return state == WEIR_LEASE_HELD || state == WEIR_LEASE_LEAVING;
}

static void check(struct member *members)
{
    for (uint32_t i = 0; i < LEASES; i++) {
        int holders = 0;
        for (size_t k = 0; k < MEMBERS; k++) {
            holders += is_working(&members[k], i);
        }
        assert_in_range(holders, 0, 1);
    }
}

/* What an owner does: looks, works, lets go. */
static void member_own(struct member *member)
{
    for (uint32_t i = 0; i < LEASES; i++) {
        uint64_t token = 0;
        enum weir_lease_state state = weir_leases_state(member->leases, i, &token);
        if (state == WEIR_LEASE_HELD) {
            assert_true(token >= member->last_tokens[i]);
            member->last_tokens[i] = token;
        }
        if (state == WEIR_LEASE_LOST || (state == WEIR_LEASE_LEAVING && chance(30))) {
            weir_leases_let_go(member->leases, i, false);
        }
    }
}

static void member_turn(struct member *member)
{
    if (member->leases == NULL || member->paused_until_ns > now()) {
        return;
    }
    if (now() >= weir_leases_due_ns(member->leases)) {
        struct weir_err err = {0};
        (void)!weir_leases_round(member->leases, &err);
    }
    member_own(member);
}

static void world_begin(uint64_t seed)
{
    memset(&world, 0, sizeof(world));
    weir_clock_manual_init(&world.clock, 0);
    weir_random_init(&world.random, seed);
}

/* Until each lease is held; how long it took. */
static int64_t settle(struct member *members, int64_t within_ms, bool evenly)
{
    int64_t began_ns = now();
    for (;;) {
        unsigned held[MEMBERS] = {0}, sum = 0, members_alive = 0;
        for (size_t k = 0; k < MEMBERS; k++) {
            for (uint32_t i = 0; i < LEASES; i++) {
                held[k] += is_working(&members[k], i);
            }
            sum += held[k];
            members_alive += members[k].leases != NULL;
        }
        bool even = true;
        for (size_t k = 0; k < MEMBERS && evenly; k++) {
            unsigned most = (LEASES + members_alive - 1) / members_alive;
            even = even && held[k] <= most;
        }
        if (sum == LEASES && even) {
            return (now() - began_ns) / WEIR_NS_PER_MS;
        }
        assert_true(now() - began_ns < within_ms * WEIR_NS_PER_MS);
        for (size_t k = 0; k < MEMBERS; k++) {
            member_turn(&members[k]);
            check(members);
        }
        pass(20);
    }
}

static void members_stop(struct member *members)
{
    for (size_t k = 0; k < MEMBERS; k++) {
        weir_leases_free(members[k].leases);
        members[k].leases = NULL;
    }
}

static void never_two_and_soon_one(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct member members[MEMBERS] = {0};
        world_begin(seed);
        for (size_t k = 0; k < MEMBERS; k++) {
            member_start(&members[k], false);
        }
        world.trouble = 10;
        for (int step = 0; step < 400; step++) {
            struct member *member = &members[weir_random_below(&world.random, MEMBERS)];
            if (chance(2)) {
                member->paused_until_ns =
                    now() + (int64_t)weir_random_below(&world.random, 3 * TTL_MS) * WEIR_NS_PER_MS;
            } else if (chance(1)) { /* dies, another comes */
                weir_leases_free(member->leases);
                member_start(member, false);
            }
            member_turn(member);
            check(members);
            pass(100);
        }
        world.trouble = 0;
        for (size_t k = 0; k < MEMBERS; k++) {
            members[k].paused_until_ns = 0;
        }
        settle(members, 4 * TTL_MS, true);
        members_stop(members);
    }
}

static void the_dead_are_replaced_in_time(void **state)
{
    (void)state;
    int64_t worst_ms = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct member members[MEMBERS] = {0};
        world_begin(seed);
        for (size_t k = 0; k < MEMBERS; k++) {
            member_start(&members[k], false);
        }
        settle(members, 4 * TTL_MS, true);
        weir_leases_free(members[0].leases);
        members[0].leases = NULL;
        int64_t took_ms = settle(members, 2 * TTL_MS, false);
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
        members_stop(members);
    }
    /* Its lease and its membership end within the time, the next round is due within a third. */
    assert_in_range(worst_ms, 1, TTL_MS + TTL_MS / 2);
}

static void who_leaves_is_replaced_at_once(void **state)
{
    (void)state;
    struct member members[MEMBERS] = {0};
    world_begin(7);
    for (size_t k = 0; k < MEMBERS; k++) {
        member_start(&members[k], false);
    }
    settle(members, 4 * TTL_MS, true);
    for (uint32_t i = 0; i < LEASES; i++) {
        weir_leases_let_go(members[1].leases, i, false);
    }
    struct weir_err err = {0};
    for (int i = 0; i < 2; i++) { /* the keeper does not know yet, and takes them again */
        assert_int_equal(weir_leases_round(members[1].leases, &err), WEIR_OK);
    }
    assert_int_equal(weir_leases_leave(members[1].leases, &err), WEIR_OK);
    weir_leases_free(members[1].leases);
    members[1].leases = NULL;
    assert_in_range(settle(members, TTL_MS, false), 0, TTL_MS / 2);
    members_stop(members);
}

static void sticky_stays(void **state)
{
    (void)state;
    struct member members[MEMBERS] = {0};
    world_begin(3);
    member_start(&members[2], true);
    settle(members, TTL_MS, false);
    member_start(&members[0], true);
    member_start(&members[1], true);
    for (int i = 0; i < 500; i++) {
        for (size_t k = 0; k < MEMBERS; k++) {
            member_turn(&members[k]);
        }
        pass(20);
        for (uint32_t k = 0; k < LEASES; k++) {
            assert_true(is_working(&members[2], k));
        }
    }
    assert_int_equal(weir_leases_members(members[2].leases), 3);
    members_stop(members);
}

static void lost_before_it_ends(void **state)
{
    (void)state;
    struct member members[MEMBERS] = {0};
    world_begin(5);
    member_start(&members[0], false);
    settle(members, TTL_MS, false);
    int64_t stop_ns = weir_leases_stop_ns(members[0].leases);
    for (uint32_t i = 0; i < LEASES; i++) {
        assert_true(stop_ns < world.leases[i].until_ns);
    }
    weir_clock_manual_advance_ns(&world.clock, stop_ns - now() - 1);
    assert_true(is_working(&members[0], 0) || is_working(&members[0], LEASES - 1));
    weir_clock_manual_advance_ns(&world.clock, TTL_MS / 6 * WEIR_NS_PER_MS);
    for (uint32_t i = 0; i < LEASES; i++) {
        assert_int_equal(weir_leases_state(members[0].leases, i, NULL), WEIR_LEASE_LOST);
    }
    members_stop(members);
}

static void one_that_is_away_keeps_no_other(void **state)
{
    (void)state;
    struct member members[MEMBERS] = {0};
    world_begin(11);
    member_start(&members[0], false);
    world.is_away[0] = world.is_away[3] = true;
    bool were_held = false;
    for (int64_t end_ns = now() + 20 * TTL_MS * WEIR_NS_PER_MS; now() < end_ns; pass(20)) {
        member_turn(&members[0]);
        unsigned held = 0;
        for (uint32_t i = 0; i < LEASES; i++) {
            held += is_working(&members[0], i);
        }
        assert_true(!were_held || held == LEASES - 2);
        were_held = held == LEASES - 2;
    }
    assert_true(were_held);
    members_stop(members);
}

static void a_round_ends_when_nobody_answers(void **state)
{
    (void)state;
    struct member members[MEMBERS] = {0};
    world_begin(13);
    member_start(&members[0], false);
    settle(members, TTL_MS, false);
    world.is_beat_away = true;
    memset(world.is_away, true, sizeof(world.is_away));
    for (uint32_t i = 0; i < LEASES; i++) {
        weir_leases_let_go(members[0].leases, i, false); /* to be released */
    }
    struct weir_err err = {0};
    int64_t began_ns = now();
    assert_int_equal(weir_leases_round(members[0].leases, &err), WEIR_UNAVAILABLE);
    assert_in_range((now() - began_ns) / WEIR_NS_PER_MS, TTL_MS, TTL_MS + TTL_MS / 3);
    members_stop(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_two_and_soon_one),
        cmocka_unit_test(the_dead_are_replaced_in_time),
        cmocka_unit_test(who_leaves_is_replaced_at_once),
        cmocka_unit_test(sticky_stays),
        cmocka_unit_test(lost_before_it_ends),
        cmocka_unit_test(one_that_is_away_keeps_no_other),
        cmocka_unit_test(a_round_ends_when_nobody_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

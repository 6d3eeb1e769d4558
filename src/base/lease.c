/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of lease.h. The lock guards them and is never held during a call to the medium, so
 * what a call answers is applied only if the lease is still in the tenure that was asked about: the
 * owner may have found it lost meanwhile, and let it go.
 */
#include "base/lease.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { RENEWALS = 3, LOST_EARLY = 6, EAGER = 15 }; /* parts of the time */
#define NS_PER_MS INT64_C(1000000)

struct lease {
    enum weir_lease_state state;
    uint64_t token;
    int64_t stop_ns; /* HELD and LEAVING: lost from then on */
    bool is_wanted;  /* this member should have it */
};

struct weir_leases {
    struct weir_leases_settings settings;
    uint64_t *seen; /* keeper: during a beat */
    uint32_t seen_count;
    uint32_t *loads; /* keeper: of those seen, while planning */
    uint32_t first;  /* keeper: where a pass begins */

    pthread_mutex_t lock; /* guards what follows */
    struct lease *items;
    uint32_t member_count;
    int64_t due_ns;
};

struct weir_leases *weir_leases_new(const struct weir_leases_settings *settings)
{
    WEIR_ASSERT(settings->count > 0);
    WEIR_ASSERT(settings->ttl_ms > 0);
    struct weir_leases *leases = weir_calloc(1, sizeof(*leases));
    leases->settings = *settings;
    leases->items = weir_calloc(settings->count, sizeof(*leases->items));
    leases->seen = weir_calloc(WEIR_LEASE_MEMBERS_MAX, sizeof(*leases->seen));
    leases->loads = weir_calloc(WEIR_LEASE_MEMBERS_MAX, sizeof(*leases->loads));
    leases->due_ns = weir_clock_monotonic_ns(settings->clock);
    pthread_mutex_init(&leases->lock, NULL);
    return leases;
}

void weir_leases_free(struct weir_leases *leases)
{
    if (leases == NULL) {
        return;
    }
    pthread_mutex_destroy(&leases->lock);
    weir_free(leases->items);
    weir_free(leases->seen);
    weir_free(leases->loads);
    weir_free(leases);
}

/* --- who should have what; keeper --------------------------------------------------------------*/

static int compare_members(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* splitmix64's mixing of the pair. */
static uint64_t weigh(uint64_t member, uint32_t index)
{
    uint64_t z = member + (index + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Which of the members seen should have the lease: the heaviest that has room. */
static uint32_t choose_member(struct weir_leases *leases, uint32_t index, uint32_t room)
{
    uint32_t best = UINT32_MAX;
    uint64_t best_weight = 0;
    for (uint32_t i = 0; i < leases->seen_count; i++) {
        uint64_t weight = weigh(leases->seen[i], index);
        if (leases->loads[i] < room && (best == UINT32_MAX || weight > best_weight)) {
            best = i;
            best_weight = weight;
        }
    }
    WEIR_ASSERT(best != UINT32_MAX);
    leases->loads[best]++;
    return best;
}

static void plan(struct weir_leases *leases)
{
    const struct weir_leases_settings *settings = &leases->settings;
    qsort(leases->seen, leases->seen_count, sizeof(uint64_t), compare_members);
    uint32_t unique = 0;
    for (uint32_t i = 0; i < leases->seen_count; i++) {
        if (unique == 0 || leases->seen[unique - 1] != leases->seen[i]) {
            leases->seen[unique++] = leases->seen[i];
        }
    }
    leases->seen_count = unique;
    uint32_t room = (settings->count + unique - 1) / unique;
    for (uint32_t i = 0; i < unique; i++) {
        leases->loads[i] = 0;
    }
    pthread_mutex_lock(&leases->lock);
    leases->member_count = unique;
    for (uint32_t i = 0; i < settings->count; i++) {
        struct lease *item = &leases->items[i];
        item->is_wanted =
            settings->sticky || leases->seen[choose_member(leases, i, room)] == settings->member;
        if (item->state == WEIR_LEASE_HELD && !item->is_wanted) {
            item->state = WEIR_LEASE_LEAVING;
        }
    }
    pthread_mutex_unlock(&leases->lock);
}

void weir_leases_see(struct weir_leases *leases, uint64_t member)
{
    if (leases->seen_count < WEIR_LEASE_MEMBERS_MAX) {
        leases->seen[leases->seen_count++] = member;
    }
}

/* --- a round; keeper ---------------------------------------------------------------------------*/

static int64_t now_ns(const struct weir_leases *leases)
{
    return weir_clock_monotonic_ns(leases->settings.clock);
}

static int64_t part_ns(const struct weir_leases *leases, int64_t parts)
{
    return leases->settings.ttl_ms * NS_PER_MS / parts;
}

static bool is_ours(const struct lease *item)
{
    return item->state == WEIR_LEASE_HELD || item->state == WEIR_LEASE_LEAVING;
}

/* Whoever asked must look again: an answer counts only for the tenure that it is about. */
static struct lease look(struct weir_leases *leases, uint32_t index)
{
    pthread_mutex_lock(&leases->lock);
    struct lease copy = leases->items[index];
    pthread_mutex_unlock(&leases->lock);
    return copy;
}

static weir_status round_renew(struct weir_leases *leases, uint32_t index, struct weir_err *err)
{
    const struct lease asked = look(leases, index);
    int64_t sent_ns = now_ns(leases);
    weir_status status =
        leases->settings.medium->renew(leases->settings.medium_self, index, asked.token, err);
    pthread_mutex_lock(&leases->lock);
    struct lease *item = &leases->items[index];
    if (is_ours(item) && item->token == asked.token) {
        if (status == WEIR_OK && sent_ns < item->stop_ns) {
            item->stop_ns = sent_ns + part_ns(leases, 1) - part_ns(leases, LOST_EARLY);
        } else if (status == WEIR_FENCED) {
            item->state = WEIR_LEASE_LOST;
        }
    }
    pthread_mutex_unlock(&leases->lock);
    if (status == WEIR_FENCED) {
        weir_err_clear(err);
        return WEIR_OK;
    }
    return status;
}

static weir_status round_take(struct weir_leases *leases, uint32_t index, struct weir_err *err)
{
    uint64_t token = 0;
    int64_t sent_ns = now_ns(leases);
    weir_status status =
        leases->settings.medium->take(leases->settings.medium_self, index, &token, err);
    if (status != WEIR_OK) {
        return status == WEIR_AGAIN ? WEIR_OK : status;
    }
    pthread_mutex_lock(&leases->lock);
    struct lease *item = &leases->items[index];
    WEIR_ASSERT(item->state == WEIR_LEASE_FREE); /* only the keeper leaves this state */
    *item = (struct lease){
        .state = WEIR_LEASE_HELD,
        .token = token,
        .stop_ns = sent_ns + part_ns(leases, 1) - part_ns(leases, LOST_EARLY),
        .is_wanted = true,
    };
    pthread_mutex_unlock(&leases->lock);
    return WEIR_OK;
}

static weir_status round_release(struct weir_leases *leases, uint32_t index, struct weir_err *err)
{
    const struct lease asked = look(leases, index);
    weir_status status =
        leases->settings.medium->release(leases->settings.medium_self, index, asked.token, err);
    if (status == WEIR_OK || status == WEIR_FENCED) {
        pthread_mutex_lock(&leases->lock);
        leases->items[index].state = WEIR_LEASE_FREE;
        pthread_mutex_unlock(&leases->lock);
    }
    return status == WEIR_FENCED ? WEIR_OK : status;
}

static weir_status round_serve(struct weir_leases *leases, uint32_t index, struct weir_err *err)
{
    enum weir_lease_state state = weir_leases_state(leases, index, NULL);
    bool is_wanted = look(leases, index).is_wanted;
    switch (state) {
    case WEIR_LEASE_HELD:
    case WEIR_LEASE_LEAVING:
        return round_renew(leases, index, err);
    case WEIR_LEASE_DRAINED:
        return round_release(leases, index, err);
    case WEIR_LEASE_FREE:
        return is_wanted ? round_take(leases, index, err) : WEIR_OK;
    case WEIR_LEASE_LOST:
        return WEIR_OK; /* the owner's turn */
    }
    WEIR_UNREACHABLE();
}

/* Serves those that are free, or the others; the first failure counts. One may lie where nobody
 * answers, which says nothing about the others but costs time: the next pass goes on where it ran
 * out. */
static void round_pass(struct weir_leases *leases,
                       bool taking,
                       int64_t end_ns,
                       weir_status *status,
                       struct weir_err *err)
{
    const uint32_t count = leases->settings.count, first = leases->first;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t index = (first + k) % count;
        if ((look(leases, index).state == WEIR_LEASE_FREE) != taking) {
            continue;
        }
        if (now_ns(leases) >= end_ns) {
            leases->first = index;
            return;
        }
        struct weir_err own = {0};
        weir_status answer = round_serve(leases, index, &own);
        if (answer != WEIR_OK && *status == WEIR_OK) {
            *status = answer;
            *err = own;
        }
    }
}

weir_status weir_leases_round(struct weir_leases *leases, struct weir_err *err)
{
    const struct weir_leases_settings *settings = &leases->settings;
    int64_t began_ns = now_ns(leases);
    leases->seen_count = 0;
    weir_status status = settings->medium->beat(settings->medium_self, leases, err);
    if (status == WEIR_OK) {
        weir_leases_see(leases, settings->member); /* the list may be full */
        plan(leases);
    }
    /* Renewing comes before taking, so that what is ours stays ours. */
    const bool may_take = status == WEIR_OK;
    round_pass(leases, false, began_ns + part_ns(leases, 1), &status, err);
    if (may_take) {
        round_pass(leases, true, began_ns + part_ns(leases, RENEWALS), &status, err);
    }
    bool is_eager = status != WEIR_OK;
    for (uint32_t i = 0; i < settings->count; i++) {
        const struct lease item = look(leases, i);
        is_eager = is_eager || item.state == WEIR_LEASE_LEAVING ||
                   item.state == WEIR_LEASE_DRAINED ||
                   (item.state == WEIR_LEASE_FREE && item.is_wanted);
    }
    pthread_mutex_lock(&leases->lock);
    leases->due_ns = began_ns + part_ns(leases, is_eager ? EAGER : RENEWALS);
    pthread_mutex_unlock(&leases->lock);
    return status;
}

weir_status weir_leases_leave(struct weir_leases *leases, struct weir_err *err)
{
    const struct weir_leases_settings *settings = &leases->settings;
    weir_status status = WEIR_OK;
    for (uint32_t i = 0; i < settings->count && status == WEIR_OK; i++) {
        enum weir_lease_state state = look(leases, i).state;
        if (state != WEIR_LEASE_FREE && state != WEIR_LEASE_LOST) {
            status = round_release(leases, i, err); /* a late round may have taken it again */
        }
    }
    if (status == WEIR_OK && settings->medium->leave != NULL) {
        status = settings->medium->leave(settings->medium_self, err);
    }
    return status;
}

void weir_leases_cut(struct weir_leases *leases)
{
    if (leases->settings.medium->cut != NULL) {
        leases->settings.medium->cut(leases->settings.medium_self);
    }
}

int64_t weir_leases_due_ns(struct weir_leases *leases)
{
    pthread_mutex_lock(&leases->lock);
    int64_t due_ns = leases->due_ns;
    pthread_mutex_unlock(&leases->lock);
    return due_ns;
}

/* --- the owner ---------------------------------------------------------------------------------*/

enum weir_lease_state
weir_leases_state(struct weir_leases *leases, uint32_t index, uint64_t *ret_token)
{
    WEIR_ASSERT(index < leases->settings.count);
    int64_t now = now_ns(leases);
    pthread_mutex_lock(&leases->lock);
    struct lease *item = &leases->items[index];
    if (is_ours(item) && now >= item->stop_ns) {
        item->state = WEIR_LEASE_LOST;
    }
    enum weir_lease_state state = item->state;
    if (ret_token != NULL) {
        *ret_token = item->token;
    }
    pthread_mutex_unlock(&leases->lock);
    return state;
}

void weir_leases_let_go(struct weir_leases *leases, uint32_t index, bool lost)
{
    WEIR_ASSERT(index < leases->settings.count);
    pthread_mutex_lock(&leases->lock);
    struct lease *item = &leases->items[index];
    if (is_ours(item) && !lost) {
        item->state = WEIR_LEASE_DRAINED;
    } else if (is_ours(item) || item->state == WEIR_LEASE_LOST) {
        item->state = WEIR_LEASE_FREE;
    }
    leases->due_ns = now_ns(leases);
    pthread_mutex_unlock(&leases->lock);
}

int64_t weir_leases_stop_ns(struct weir_leases *leases)
{
    int64_t stop_ns = INT64_MAX;
    pthread_mutex_lock(&leases->lock);
    for (uint32_t i = 0; i < leases->settings.count; i++) {
        const struct lease *item = &leases->items[i];
        stop_ns = is_ours(item) && item->stop_ns < stop_ns ? item->stop_ns : stop_ns;
    }
    pthread_mutex_unlock(&leases->lock);
    return stop_ns;
}

uint32_t weir_leases_members(struct weir_leases *leases)
{
    pthread_mutex_lock(&leases->lock);
    uint32_t count = leases->member_count;
    pthread_mutex_unlock(&leases->lock);
    return count;
}

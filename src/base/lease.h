/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases: which of several processes works on which of `count` things (partitions, or the one role
 * of a singleton). Pure bookkeeping: no thread, no connection, no randomness; time comes through a
 * clock, the outside world through a medium of five calls (a Redis server, a NATS KV bucket).
 *
 * A lease at the medium is (owner, nonce, token, expiry). Nonce: a random number of this process's
 * start. Token: a number that every taking raises. The two together name one tenure; every commit
 * is checked against them at the server, so what is said here is never what makes a commit safe: it
 * only keeps two processes from doing the same work.
 *
 *          take                      another should have it        owner let go
 *     FREE ─────▶ HELD ─────────────────▶ LEAVING ────────▶ DRAINED ──release──▶ FREE
 *       ▲           └── could not renew in time, or taken ──▶ LOST ──owner let go──┐
 *       └──────────────────────────────────────────────────────────────────────────┘
 *
 *   - Who should have what: rendezvous hashing (Thaler and Ravishankar 1998) over the live members
 *     with at most ⌈count / members⌉ each. Every member computes the same from the same list.
 *   - Renewed every third of its time. Time is counted from before the call that renewed it, on the
 *     monotonic clock; a lease that could not be renewed is LOST a sixth of its time before
 *     the medium lets it expire.
 *   - Moving: the owner sees LEAVING, drains and commits, says so; then the lease is released, and
 *     its new owner takes it within a fifteenth of its time. Until then it is renewed.
 *   - `sticky`: nobody is asked to leave; a free lease goes to whoever takes it first (a
 * singleton).
 *
 * Two threads: the keeper calls weir_leases_round (which blocks in the medium) and nothing else;
 * the owner calls the rest. The owner learns in time that a lease is lost even while the keeper
 * hangs in a call.
 */
#ifndef WEIR_BASE_LEASE_H
#define WEIR_BASE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/clock.h>
#include <weir/status.h>

struct weir_leases;

/* Called by the keeper, one at a time. WEIR_UNAVAILABLE and its kin: try again next round. */
struct weir_lease_medium {
    /* Says that this member lives for the leases' time from now, and tells of each live member,
     * itself included, with weir_leases_see. */
    weir_status (*beat)(void *self, struct weir_leases *leases, struct weir_err *err);
    /* Takes the lease if it is free, expired, or of this very nonce, with a token greater than any
     * before. WEIR_AGAIN: somebody else has it. */
    weir_status (*take)(void *self, uint32_t index, uint64_t *ret_token, struct weir_err *err);
    /* Makes it last for the leases' time from now, if it is still (our nonce, token).
     * WEIR_FENCED: it is not. */
    weir_status (*renew)(void *self, uint32_t index, uint64_t token, struct weir_err *err);
    /* Lets it go, if it is still ours; the others need not wait for its end. */
    weir_status (*release)(void *self, uint32_t index, uint64_t token, struct weir_err *err);
    /* The member is no more. May be NULL. */
    weir_status (*leave)(void *self, struct weir_err *err);
    /* Any thread: the call that is under way, and every later one, fails soon. May be NULL: no call
     * takes long. */
    void (*cut)(void *self);
};

struct weir_leases_settings {
    const struct weir_lease_medium *medium;
    void *medium_self;
    const struct weir_clock *clock;
    uint32_t count;
    uint64_t member; /* this one's number: its nonce */
    int64_t ttl_ms;  /* how long a lease lasts */
    bool sticky;
};

enum weir_lease_state {
    WEIR_LEASE_FREE,    /* not ours */
    WEIR_LEASE_HELD,    /* ours: work */
    WEIR_LEASE_LEAVING, /* ours, and wanted elsewhere: drain, commit, then weir_leases_let_go */
    WEIR_LEASE_DRAINED, /* let go by the owner; the keeper will release it */
    WEIR_LEASE_LOST,    /* may be another's any moment: stop at once, then weir_leases_let_go */
};

enum { WEIR_LEASE_MEMBERS_MAX = 4096 };

struct weir_leases *weir_leases_new(const struct weir_leases_settings *settings);
/* Releases nothing: see weir_leases_leave. */
void weir_leases_free(struct weir_leases *leases);

/* --- keeper ---*/

/* One round of beating, renewing, releasing and taking. Fails with what the medium said first; what
 * could be done is done. A medium that hangs holds it up for a lease's time and a call: what is not
 * renewed by then is lost. Taking begins no call in which others would have to be renewed. */
WEIR_MUST_USE weir_status weir_leases_round(struct weir_leases *leases, struct weir_err *err);
/* Monotonic time of the next round. Sooner when something is to be taken or released. */
int64_t weir_leases_due_ns(struct weir_leases *leases);
/* In beat: a live member. */
void weir_leases_see(struct weir_leases *leases, uint64_t member);
/* After the owner has let go of all and the last round is over, when the process ends: releases
 * whatever is held and leaves. */
WEIR_MUST_USE weir_status weir_leases_leave(struct weir_leases *leases, struct weir_err *err);
/* Any thread: whatever the keeper waits for, it waits no longer. */
void weir_leases_cut(struct weir_leases *leases);

/* --- owner; also the keeper ---*/

/* How it stands now; a HELD or LEAVING one whose time is up has become LOST. ret_token (may be
 * NULL): of a lease that is not FREE. */
enum weir_lease_state
weir_leases_state(struct weir_leases *leases, uint32_t index, uint64_t *ret_token);
/* Nobody here works on it any more. LEAVING (or HELD): it will be released. LOST: it is forgotten.
 * Whoever found out otherwise that a tenure is over (a refused commit) says so with lost. */
void weir_leases_let_go(struct weir_leases *leases, uint32_t index, bool lost);
/* Monotonic time at which the earliest lease is lost unless it is renewed; INT64_MAX: none. */
int64_t weir_leases_stop_ns(struct weir_leases *leases);
/* Live members, as of the last round. */
uint32_t weir_leases_members(struct weir_leases *leases);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in Redis: the medium of base/lease.h. Keys, for the name `orders:in` and a lease with the
 * hash tag `0`:
 *
 *     weir:orders:in:{orders:in}:members      sorted set: nonce → when it ends, by the server's
 * clock weir:orders:in:{0}:lease    "nonce:token", ends by itself weir:orders:in:{0}:token counts
 * takings; never ends
 *
 * The keeper's thread alone uses it. It connects when it must, and holds no lock.
 */
#ifndef WEIR_REDIS_LEASE_H
#define WEIR_REDIS_LEASE_H

#include "base/lease.h"
#include "redis_topology.h"

enum { REDIS_KEY_MAX = 3 * REDIS_NAME_MAX + 64 };

struct redis_lease_medium {
    const struct redis_connection *connection;
    const char *name;        /* what the keys are named after */
    const char *const *tags; /* of each lease */
    uint64_t nonce;
    int64_t ttl_ms;
    struct redis_nodes nodes;
};

extern const struct weir_lease_medium redis_lease_medium;
/* The lease of a singleton, for any component whose config begins with a redis_connection. */
extern const struct weir_lease_ops redis_lease_ops;

void redis_lease_medium_done(struct redis_lease_medium *self);
/* "weir:NAME:{TAG}:WHAT"; a tag makes keys share a slot. */
void redis_key(char key[REDIS_KEY_MAX], const char *name, const char *tag, const char *what);
/* Gives the script with its keys and arguments (text); fails as redis_ask does. */
redisReply *redis_eval(redisContext *context,
                       const char *what,
                       struct weir_err *err,
                       const char *script,
                       size_t keys,
                       size_t count,
                       const char *const *arguments);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Leases in a key-value bucket: the medium of base/lease.h over JetStream. The keeper's.
 */
#ifndef WEIR_NATS_LEASE_H
#define WEIR_NATS_LEASE_H

#include "base/lease.h"
#include "nats_api.h"

struct nats_member;
struct nats_tenure;

struct nats_lease_medium {
    const struct nats_address *address;
    const struct weir_clock *clock;
    char bucket[NATS_NAME_MAX + 1], key[NATS_NAME_MAX + 1]; /* stream and subject */
    uint64_t nonce;
    int64_t ttl_ms;
    uint32_t count;

    /* The medium's own. */
    struct nats_line line;
    uint64_t revision;
    struct nats_member *members;
    size_t member_count;
    struct nats_tenure *tenures; /* `count` of them */
};

extern const struct weir_lease_medium nats_lease_medium;
/* The lease of a singleton, for any component whose config begins with a nats_address. */
extern const struct weir_lease_ops nats_lease_ops;

/* bucket and key of the leases of a source. */
void nats_lease_names(struct nats_lease_medium *medium, const char *pipeline, const char *source);
/* From outside: does anybody have a lease? Takes up to the leases' time when somebody had one, for
 * whoever lives renews his. medium: client, names and ttl_ms are set. */
WEIR_MUST_USE weir_status nats_lease_look(struct nats_lease_medium *medium,
                                          bool *ret_held,
                                          struct weir_err *err);
void nats_lease_medium_init(struct nats_lease_medium *medium);
void nats_lease_medium_done(struct nats_lease_medium *medium);

#endif

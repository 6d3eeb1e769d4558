/* SPDX-License-Identifier: Apache-2.0
 *
 * Trying a cluster out, for `weir check --connect`.
 */
#ifndef WEIR_KAFKA_PROBE_H
#define WEIR_KAFKA_PROBE_H

#include "kafka_client.h"

struct kafka_probe {
    const struct kafka_connection *connection;
    const char *const *topics; /* that must be there; may be none */
    size_t topic_count;
    const char *field; /* that names them */
    bool writes;       /* else reads */
    const char *group; /* that must let us in; NULL: none */
};

/* Brokers answer, the login is good, topics are there, and what must be allowed is. Changes
 * nothing. Any thread; takes up to some 25 seconds. */
weir_status kafka_probe_try(const struct kafka_probe *probe, struct weir_err *err);

#endif

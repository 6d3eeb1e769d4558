/* SPDX-License-Identifier: Apache-2.0
 *
 * Trying a server out, for `weir check --connect`.
 */
#ifndef WEIR_NATS_PROBE_H
#define WEIR_NATS_PROBE_H

#include "nats_api.h"
#include "nats_client.h"

struct nats_probe {
    const struct nats_address *address;
    const char *stream, *subject; /* may be NULL */
    struct weir_strs subjects;    /* of the stream, when it is made */
    enum nats_manage manage;
};

/* The server answers and lets us in; stream and subject are there, or will be made. Any thread. */
weir_status nats_probe_try(const struct nats_probe *probe, struct weir_err *err);

#endif

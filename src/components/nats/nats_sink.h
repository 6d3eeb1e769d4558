/* SPDX-License-Identifier: Apache-2.0
 *
 * What a source needs of a sink whose outputs are part of its commits (`atomic`).
 */
#ifndef WEIR_NATS_SINK_H
#define WEIR_NATS_SINK_H

#include "nats_batch.h"

/* Of the sink's instance. control; lanes read it once it is ensured. */
struct nats_target *nats_sink_target(void *sink);

#endif

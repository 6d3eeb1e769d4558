/* SPDX-License-Identifier: Apache-2.0
 *
 * What a sink whose outputs are part of the commit needs of a source that is read by position.
 */
#ifndef WEIR_NATS_POSITIONED_H
#define WEIR_NATS_POSITIONED_H

#include "nats_log.h"

/* Of a partition's source_data: the log to whose `outputs` they are pushed. lane. */
struct nats_log *nats_part_log(void *source_data);

#endif

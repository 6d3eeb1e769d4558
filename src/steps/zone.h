/* SPDX-License-Identifier: Apache-2.0
 *
 * Time zones: how far the clocks of a place are from UTC, from the machine's tz database. A zone is
 * immutable and may be shared by threads; unlike libc's, it is not the process's.
 */
#ifndef WEIR_STEPS_ZONE_H
#define WEIR_STEPS_ZONE_H

#include <stdint.h>

#include <weir/status.h>

struct zone;

/* name: "Europe/Berlin". NULL: WEIR_CONFIG. */
struct zone *zone_open(const char *name, struct weir_err *err);
void zone_close(struct zone *zone);
/* What its clocks are ahead of UTC at that time. */
int64_t zone_offset_ms(const struct zone *zone, int64_t utc_ms);
/* When they first show that time, or a later one. local_ms: as if it were UTC. */
int64_t zone_first_ms(const struct zone *zone, int64_t local_ms);

#endif

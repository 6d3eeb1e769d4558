/* SPDX-License-Identifier: Apache-2.0
 *
 * "did you mean": the name of a list that is nearest to what somebody wrote.
 */
#ifndef WEIR_CONF_NEAR_H
#define WEIR_CONF_NEAR_H

#include <stddef.h>

#include <weir/slice.h>

struct weir_near {
    struct weir_slice written;
    const char *best; /* NULL: none is near enough */
    size_t distance;
};

void weir_near_init(struct weir_near *near, struct weir_slice written);
/* Offers a name; it becomes `best` if it is nearer than all before it. */
void weir_near_offer(struct weir_near *near, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A table seen from outside while its pipeline runs: what is committed, whatever the open and the
 * closing epoch have made of it since. It is walked in pieces, between which the pipeline goes on:
 * what is not touched meanwhile is seen, once or twice; what is, as it was before or after, or not
 * at all when it is new or gone. paused.
 */
#ifndef WEIR_STATE_LOOK_H
#define WEIR_STATE_LOOK_H

#include "state/table.h"

/* Where the walk is. */
struct weir_state_look {
    struct weir_state_cursor cursor;
    struct weir_strbuf row; /* the next one on disk is not before it */
};

struct weir_state_looker {
    bool (*wants)(void *context, struct weir_slice key);
    /* The later call for a key counts. Borrowed until it returns. */
    void (*take)(void *context, struct weir_slice key, struct weir_slice value, int64_t timer);
    void *context;
};

void weir_state_look_init(struct weir_state_look *look);
void weir_state_look_done(struct weir_state_look *look);
/* Passes about `count` entries. False: that was the last of them. */
bool weir_state_look_on(struct weir_state *state,
                        struct weir_state_look *look,
                        size_t count,
                        const struct weir_state_looker *looker);

#endif

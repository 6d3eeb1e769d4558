/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a pipeline stands: the positions of all partitions of its sources, from wherever they are
 * kept, for `weir lag` and `weir positions`.
 */
#ifndef WEIR_APP_POSITIONS_H
#define WEIR_APP_POSITIONS_H

#include <weir/positions.h>

#include "app/loading.h"
#include "state/state_log.h"

/* A source and what is known of its partitions. */
struct weir_standing_source {
    const struct weir_plan_edge *edge;
    const char *name; /* as in the state log, in logs and metrics */
    const char *unit;
    const struct weir_positions_ops *ops; /* may be NULL */
    bool is_exchange;                     /* a topic of the pipeline's own: only to look at */
    struct weir_position *items;
    size_t count;
};

struct weir_standing {
    struct weir_loading loading;
    struct weir_plan plan;
    struct weir_log log;
    struct weir_standing_source *sources;
    size_t source_count;
    struct weir_state_log *state; /* NULL: positions do not lie in one */
    int64_t committed_ms;         /* of the last commit; 0: unknown */
};

/* What is to be done with it. */
enum weir_standing_use {
    WEIR_STANDING_LOOK,
    WEIR_STANDING_MOVE,  /* refused when the pipeline keeps state: it belongs to its positions */
    WEIR_STANDING_RESET, /* moved, and the state is thrown away; refused when there is none kept */
};

/* Loads the pipeline (path == NULL: of the environment) and asks its sources. All but LOOK: takes
 * the state log's lock, and fails when somebody reads. What is wrong was told; *ret_code is the
 * exit code. Close it in any case. */
bool weir_standing_open(struct weir_standing *self,
                        const char *command,
                        const char *path,
                        enum weir_standing_use use,
                        int *ret_code);
/* After the positions are safe: empties the state where it lies in the source's system. */
WEIR_MUST_USE weir_status weir_standing_drop_state(struct weir_standing *self,
                                                   struct weir_err *err);
void weir_standing_close(struct weir_standing *self);
/* The table, as text or as one JSON object; false when it could not be written. */
bool weir_standing_print(const struct weir_standing *self, bool as_json);
/* Names of an operation and its error, to standard error; returns WEIR_EXIT_FAILED. */
int weir_standing_fail(const char *command, const char *what, const struct weir_err *err);
struct weir_positions_call weir_standing_call(struct weir_standing *self,
                                              const struct weir_standing_source *source);
/* `weir lag`, `weir positions show`. */
int weir_standing_show(const char *command, const char *path, const char *format);

#endif

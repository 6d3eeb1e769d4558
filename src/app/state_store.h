/* SPDX-License-Identifier: Apache-2.0
 *
 * The kept state of a pipeline, read from its log while the pipeline runs or not, and written into
 * an empty one. All of it is held in memory meanwhile.
 */
#ifndef WEIR_APP_STATE_STORE_H
#define WEIR_APP_STATE_STORE_H

#include "app/positions.h"
#include "state/shard_log.h"

/* A task's share: all steps, and the position that they belong to. */
struct weir_store_shard {
    const char *source, *topic; /* in the arena */
    int32_t partition;
    int64_t position; /* -1: unknown */
    struct weir_shard_log *log;
    size_t frames;
};

struct weir_store {
    struct weir_loading loading;
    struct weir_plan plan;
    struct weir_log log;
    const char *command;
    struct weir_store_shard *shards;
    size_t shard_count;
};

/* Loads the pipeline (path == NULL: of the environment). What is wrong was told; *ret_code is the
 * exit code. Close it in any case. */
bool weir_store_open(struct weir_store *self, const char *command, const char *path, int *ret_code);
void weir_store_close(struct weir_store *self);
/* Reads the log: every step that it has, whether the pipeline knows it or not. */
WEIR_MUST_USE weir_status weir_store_read(struct weir_store *self, struct weir_err *err);
/* The shard of a partition; made with an empty log if need be. Until write: only these. */
struct weir_store_shard *
weir_store_shard(struct weir_store *self, struct weir_slice topic, int32_t partition);
/* Makes a log of the shards. Each has a position. Refused when there is state already, or when
 * somebody reads. */
WEIR_MUST_USE weir_status weir_store_write(struct weir_store *self, struct weir_err *err);
/* The component of a step of that name, or of one whose name ends like it ("steps[2].window");
 * NULL: unknown. */
const struct weir_component *weir_store_component(const struct weir_store *self, const char *step);

/* What would become of the kept state if the pipeline were started: a line per step, to out. False:
 * it would be refused. */
bool weir_store_plan(const struct weir_store *self, struct weir_strbuf *out);

#endif

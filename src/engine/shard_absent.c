/* SPDX-License-Identifier: Apache-2.0
 *
 * Shards that the state log's file has and no task: of a file that is away in this run, or of a
 * source that the pipeline no longer has. Their positions stay, and so must their state, or a file
 * that comes back would go on where it stood with nothing in its tables. So before the log is cut
 * each of them gets a snapshot too. Not cutting would be simpler; but files that rotate go away for
 * good, one after the other, and the log would grow for ever.
 *
 * Nothing changes such a shard, so nobody keeps it: it is restored when its turn comes, written
 * piecewise, as much an epoch as of a task, and forgotten. Its steps are those of the log, for the
 * pipeline may have others by now; who brings the file back is told so then. A commit of the file
 * stands or ends the process, so what was handed to it counts as committed at once.
 */
#include <string.h>

#include "engine/engine_priv.h"
#include "state/shard_log.h"

enum {
    FRAME_MAX = 64 << 20,
    BYTES_AN_EPOCH = 1 << 20,
    SHARD_BYTES = 16 << 10, /* for so many each counts at least: the log is read for it */
};

static bool has_task(const struct weir_engine *engine, const struct weir_state_position *row)
{
    for (const struct weir_task *task = engine->tasks; task != NULL; task = task->next) {
        if (task->part.index == row->partition && strcmp(task->topic, row->topic) == 0 &&
            strcmp(engine->sources[task->source].name, row->source) == 0) {
            return true;
        }
    }
    return false;
}

static weir_status absent_take(void *context, struct weir_slice frame, struct weir_err *err)
{
    return weir_shard_log_take(context, frame, err);
}

/* The log of the shard, to be written. NULL: there are no frames of it, or they cannot be read. */
static struct weir_shard_log *absent_restore(const struct weir_engine *engine,
                                             const struct weir_state_position *row,
                                             struct weir_err *err)
{
    struct weir_shard_log *log = weir_shard_log_new_discovering();
    weir_status status = weir_state_log_frames(engine->state_log, row->source, row->topic,
                                               row->partition, absent_take, log, err);
    status = status == WEIR_OK ? weir_shard_log_restored(log, err) : status;
    if (status != WEIR_OK || weir_shard_log_bytes(log) == 0) {
        weir_shard_log_free(log);
        return NULL;
    }
    weir_shard_log_want_snapshot(log);
    return log;
}

/* The next piece of it; how many bytes. */
static size_t absent_write(const struct weir_engine *engine,
                           struct weir_shard_log *log,
                           const struct weir_state_position *row)
{
    struct weir_slice frame;
    size_t bytes = 0;
    weir_shard_log_seal(log, row, FRAME_MAX);
    for (size_t i = 0; weir_shard_log_frame(log, i, &frame); i++) {
        weir_state_log_put_frame(engine->state_log, row->source, row->topic, row->partition, frame);
        bytes += frame.size;
    }
    (void)weir_shard_log_committed(log);
    return bytes;
}

void weir_absent_want(struct weir_engine *engine)
{
    struct weir_absent *self = &engine->absent;
    if (self->state == WEIR_ABSENT_RESTS) {
        *self = (struct weir_absent){.state = WEIR_ABSENT_MOVES, .bytes = self->bytes};
    }
}

weir_status weir_absent_append(struct weir_engine *engine, struct weir_err *err)
{
    struct weir_absent *self = &engine->absent;
    for (size_t left = BYTES_AN_EPOCH; left > 0 && self->state == WEIR_ABSENT_MOVES;) {
        struct weir_state_position row;
        if (!weir_state_log_position_at(engine->state_log, self->next, &row)) {
            self->state = WEIR_ABSENT_MOVED;
            self->bytes = self->written;
            return WEIR_OK;
        }
        bool is_absent = !has_task(engine, &row);
        if (is_absent && self->log == NULL) {
            self->log = absent_restore(engine, &row, err);
        }
        if (err->status != WEIR_OK) {
            return err->status;
        }
        size_t bytes = is_absent && self->log != NULL ? absent_write(engine, self->log, &row) : 0;
        size_t cost = !is_absent ? 0 : bytes < SHARD_BYTES ? SHARD_BYTES : bytes;
        self->written += bytes;
        left -= cost < left ? cost : left;
        if (bytes == 0 || !weir_shard_log_has_more(self->log)) {
            weir_shard_log_free(self->log);
            self->log = NULL;
            self->next++;
        }
    }
    return WEIR_OK;
}

void weir_absent_close(struct weir_absent *self)
{
    weir_shard_log_free(self->log);
    *self = (struct weir_absent){0};
}

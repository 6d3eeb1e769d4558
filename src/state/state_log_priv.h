/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the state log: what it knows (state_log.c), and the files that it lies in
 * (state_log_file.c).
 */
#ifndef WEIR_STATE_STATE_LOG_PRIV_H
#define WEIR_STATE_STATE_LOG_PRIV_H

#include <weir/strbuf.h>

#include "state/log_entry.h"
#include "state/log_mover.h"
#include "state/state_log.h"

enum { WEIR_LOG_BYTES_MAX = 1 << 20 }; /* rewritten beyond this */

struct log_position {
    char *source, *topic;
    int32_t partition;
    int64_t position;
};

struct log_mark {
    char *sink;
    char *bytes;
    size_t size;
};

struct weir_state_log {
    char *dir, *pipeline;
    int dir_fd, lock_fd, fd;
    int64_t size_bytes;
    size_t cut_bytes;
    uint64_t epoch, found_epoch; /* committed; committed when it was opened */
    bool broken;                 /* a write or sync failed, or it was opened to be read */
    int64_t written_ms;
    struct log_position *positions;
    size_t position_count;
    struct log_mark *marks;
    size_t mark_count;
    struct weir_strbuf entry, frames; /* frames: sections for the next entry */
    bool has_frames;                  /* some entry has: the file is more than its last entry */
    bool drops_frames;                /* the next entry is written without those before it */
    int64_t keep_from;                /* where the first entry that is needed begins */
    int next_fd;                      /* a file that will take the log's place; -1: none */
    struct weir_log_mover *mover;     /* fills it, or lets go of the one that it replaced */
    int64_t shift;                    /* by how much things lie elsewhere there */
    struct log_place {
        uint64_t epoch;
        int64_t at;
    } * places; /* of the entries of this process */
    size_t place_count, place_capacity;
};

/* Fails with errno. The other one for good: the log answers nothing but failures from then on. */
weir_status
weir_state_log_fail(const struct weir_state_log *log, const char *what, struct weir_err *err);
weir_status weir_state_log_io(struct weir_state_log *log, const char *what, struct weir_err *err);
/* WEIR_IO: errno says why. */
weir_status weir_state_log_write(int fd, const char *data, size_t size, int64_t at);
/* The whole file as memory; released with unmap. WEIR_IO: errno says why. */
weir_status weir_state_log_map(const struct weir_state_log *log, struct weir_slice *ret_text);
void weir_state_log_unmap(struct weir_slice text);
/* A log of the header and the entry, if there is one. */
weir_status
weir_state_log_rewrite(struct weir_state_log *log, struct weir_slice entry, struct weir_err *err);
/* What is still needed goes into the next file, beside the commits: begins that, or says that there
 * is more. */
weir_status weir_state_log_move(struct weir_state_log *log, struct weir_err *err);
/* If everything is there, that file becomes the log. */
weir_status weir_state_log_end_move(struct weir_state_log *log, struct weir_err *err);
/* A rewrite under way is stopped. */
void weir_state_log_forget_move(struct weir_state_log *log);
extern const char weir_log_new_name[];

#endif

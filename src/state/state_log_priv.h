/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the state log: what it knows (state_log.c), and the files that it lies in
 * (state_log_file.c).
 */
#ifndef WEIR_STATE_STATE_LOG_PRIV_H
#define WEIR_STATE_STATE_LOG_PRIV_H

#include <weir/strbuf.h>

#include "base/thread.h"
#include "state/log_entry.h"
#include "state/state_log.h"

enum {
    WEIR_LOG_BYTES_MAX = 1 << 20, /* without frames rewritten beyond this */
    WEIR_LOG_FILES = 2,
};

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

struct log_file {
    int fd;
    int64_t size_bytes;
};

struct weir_state_log {
    char *dir, *pipeline;
    int dir_fd, lock_fd;
    struct log_file files[WEIR_LOG_FILES]; /* entries go into the last */
    size_t file_count;
    uint64_t second_epoch; /* of the first entry in the second file */
    struct weir_thread closer;
    int closing_fd;
    size_t cut_bytes;
    uint64_t epoch; /* committed */
    bool broken;    /* a write or sync failed, or it was opened to be read */
    int64_t written_ms;
    struct log_position *positions;
    size_t position_count;
    struct log_mark *marks;
    size_t mark_count;
    struct weir_strbuf entry, frames; /* frames: sections for the next entry */
    bool has_frames;                  /* some entry has: the log is more than its last entry */
    bool drops_frames;                /* the next entry is written without those before it */
    bool drops_first;                 /* … without those of the first file */
    bool turns;                       /* … into a second file */
};

/* Fails with errno. The other one for good: the log answers nothing but failures from then on. */
weir_status
weir_state_log_fail(const struct weir_state_log *log, const char *what, struct weir_err *err);
weir_status weir_state_log_io(struct weir_state_log *log, const char *what, struct weir_err *err);
/* WEIR_IO: errno says why. */
weir_status weir_state_log_write(int fd, const char *data, size_t size, int64_t at);
/* The whole file as memory; released with unmap. WEIR_IO: errno says why. */
weir_status weir_state_log_map(const struct log_file *file, struct weir_slice *ret_text);
void weir_state_log_unmap(struct weir_slice text);
/* The entry, which may be empty, is on disk. */
weir_status
weir_state_log_append(struct weir_state_log *log, struct weir_slice entry, struct weir_err *err);
/* The same as the beginning of the index-th file, in the place of that and those behind. */
weir_status weir_state_log_begin(struct weir_state_log *log,
                                 size_t index,
                                 struct weir_slice entry,
                                 struct weir_err *err);
/* The second file is the log. */
weir_status weir_state_log_drop_first(struct weir_state_log *log, struct weir_err *err);
void weir_state_log_wait_closed(struct weir_state_log *log);
extern const char *const weir_log_names[WEIR_LOG_FILES];
extern const char weir_log_new_name[];

#endif

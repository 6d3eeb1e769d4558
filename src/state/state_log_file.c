/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the state log. At every instant one whole log has its name: what takes its place is
 * written aside, synced, renamed, and the directory synced.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/assert.h"
#include "state/state_log_priv.h"

const char weir_log_new_name[] = "state.log.new";

static void header_write(const struct weir_state_log *log, struct weir_strbuf *out)
{
    weir_strbuf_append(out, weir_log_header_magic, sizeof(weir_log_header_magic));
    weir_log_put_u32(out, WEIR_LOG_FORMAT);
    weir_log_put_u32(out, (uint32_t)strlen(log->pipeline));
    weir_strbuf_text(out, log->pipeline);
    weir_log_put_u64(out, XXH3_64bits(out->data, out->size));
}

weir_status
weir_state_log_fail(const struct weir_state_log *log, const char *what, struct weir_err *err)
{
    weir_status status =
        weir_fail(err, WEIR_FATAL, "cannot %s %s/state.log: %s", what, log->dir, strerror(errno));
    weir_err_hint(err, "Check the disk; the last committed epoch is safe.");
    return status;
}

weir_status weir_state_log_io(struct weir_state_log *log, const char *what, struct weir_err *err)
{
    log->broken = true;
    return weir_state_log_fail(log, what, err);
}

weir_status weir_state_log_write(int fd, const char *data, size_t size, int64_t at)
{
    while (size > 0) {
        ssize_t written = pwrite(fd, data, size, at);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return WEIR_IO;
        }
        data += written;
        at += written;
        size -= (size_t)written;
    }
    return WEIR_OK;
}

weir_status weir_state_log_map(const struct weir_state_log *log, struct weir_slice *ret_text)
{
    struct stat info;
    *ret_text = (struct weir_slice){"", 0};
    if (fstat(log->fd, &info) != 0) {
        return WEIR_IO;
    }
    if (info.st_size > 0) {
        void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, log->fd, 0);
        if (memory == MAP_FAILED) {
            return WEIR_IO;
        }
        *ret_text = (struct weir_slice){memory, (size_t)info.st_size};
    }
    return WEIR_OK;
}

void weir_state_log_unmap(struct weir_slice text)
{
    if (text.size > 0) {
        munmap((void *)(uintptr_t)text.data, text.size);
    }
}

/* A file with nothing but the header, which is not the log yet. -1: it cannot be made. */
static int log_create(const struct weir_state_log *log, int64_t *ret_size)
{
    int fd = openat(log->dir_fd, weir_log_new_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct weir_strbuf header;
    weir_strbuf_init(&header, 65536);
    header_write(log, &header);
    WEIR_ASSERT(!header.failed);
    if (fd >= 0 && weir_state_log_write(fd, header.data, header.size, 0) != WEIR_OK) {
        close(fd);
        fd = -1;
    }
    *ret_size = (int64_t)header.size;
    weir_strbuf_done(&header);
    return fd;
}

/* What was made takes the place of the log, at once and for good; whose file the caller closes. */
static weir_status log_replace(struct weir_state_log *log, int fd, struct weir_err *err)
{
    if (fdatasync(fd) != 0 ||
        renameat(log->dir_fd, weir_log_new_name, log->dir_fd, "state.log") != 0 ||
        fsync(log->dir_fd) != 0) {
        return weir_state_log_io(log, "write", err);
    }
    /* Room for the next entries, so that a disk that others fill does not end the pipeline. Not
     * every file system can; then entries are written without. */
    (void)!fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, WEIR_LOG_BYTES_MAX);
    log->fd = fd;
    return WEIR_OK;
}

void weir_state_log_forget_move(struct weir_state_log *log)
{
    weir_log_mover_free(log->mover);
    log->mover = NULL;
    if (log->next_fd >= 0) {
        close(log->next_fd);
        (void)unlinkat(log->dir_fd, weir_log_new_name, 0);
        log->next_fd = -1;
    }
}

weir_status
weir_state_log_rewrite(struct weir_state_log *log, struct weir_slice entry, struct weir_err *err)
{
    int64_t header;
    weir_state_log_forget_move(log);
    int fd = log_create(log, &header), old = log->fd;
    weir_status status = WEIR_OK;
    if (fd < 0 || weir_state_log_write(fd, entry.data, entry.size, header) != WEIR_OK) {
        status = weir_state_log_io(log, "write", err);
    }
    status = status == WEIR_OK ? log_replace(log, fd, err) : status;
    if (status == WEIR_OK) {
        log->keep_from = header;
        log->size_bytes = header + (int64_t)entry.size;
        fd = old;
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

weir_status weir_state_log_move(struct weir_state_log *log, struct weir_err *err)
{
    if (log->next_fd >= 0) {
        weir_log_mover_tell(log->mover, log->size_bytes);
        return WEIR_OK;
    }
    int64_t header;
    weir_state_log_forget_move(log); /* the last one has long let go */
    log->next_fd = log_create(log, &header);
    if (log->next_fd < 0) {
        return weir_state_log_io(log, "rewrite", err);
    }
    log->shift = header - log->keep_from;
    log->mover = weir_log_mover_start(log->fd, log->next_fd, log->keep_from, log->size_bytes,
                                      log->shift, err);
    if (log->mover == NULL) {
        weir_state_log_forget_move(log);
        log->broken = true;
        return err->status;
    }
    return WEIR_OK;
}

weir_status weir_state_log_end_move(struct weir_state_log *log, struct weir_err *err)
{
    int64_t moved;
    if (log->next_fd < 0) {
        return WEIR_OK;
    }
    if (weir_log_mover_at(log->mover, &moved) != WEIR_OK) {
        return weir_state_log_io(log, "rewrite", err);
    }
    if (moved < log->size_bytes) {
        return WEIR_OK;
    }
    weir_status status = log_replace(log, log->next_fd, err);
    if (status == WEIR_OK) {
        log->next_fd = -1;
        weir_log_mover_let_go(log->mover);
        for (size_t i = 0; i < log->place_count; i++) {
            log->places[i].at += log->shift;
        }
        log->keep_from += log->shift;
        log->size_bytes += log->shift;
    }
    return status;
}

bool weir_state_log_keeps_up(const struct weir_state_log *log)
{
    return log->next_fd < 0 || weir_log_mover_gains(log->mover);
}

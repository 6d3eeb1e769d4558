/* SPDX-License-Identifier: Apache-2.0
 *
 * The files of the state log, one, or two of which the second goes on where the first ends. At
 * every instant what has their names is one whole log: a file is begun aside, synced, renamed, and
 * the directory synced.
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

const char *const weir_log_names[WEIR_LOG_FILES] = {"state.log", "state.log.next"};
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

weir_status weir_state_log_map(const struct log_file *file, struct weir_slice *ret_text)
{
    struct stat info;
    *ret_text = (struct weir_slice){"", 0};
    if (fstat(file->fd, &info) != 0) {
        return WEIR_IO;
    }
    if (info.st_size > 0) {
        void *memory = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file->fd, 0);
        if (memory == MAP_FAILED) {
            return WEIR_IO;
        }
        (void)madvise(memory, (size_t)info.st_size, MADV_SEQUENTIAL);
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

static weir_status file_append(struct log_file *file, struct weir_slice bytes)
{
    if (weir_state_log_write(file->fd, bytes.data, bytes.size, file->size_bytes) != WEIR_OK ||
        fdatasync(file->fd) != 0) {
        return WEIR_IO;
    }
    file->size_bytes += (int64_t)bytes.size;
    return WEIR_OK;
}

weir_status
weir_state_log_append(struct weir_state_log *log, struct weir_slice entry, struct weir_err *err)
{
    return file_append(&log->files[log->file_count - 1], entry) == WEIR_OK
               ? WEIR_OK
               : weir_state_log_io(log, "write", err);
}

static void *close_main(void *argument)
{
    close(*(const int *)argument);
    return NULL;
}

void weir_state_log_wait_closed(struct weir_state_log *log)
{
    weir_thread_stop(&log->closer);
}

/* A file without a name gives back what it has when it is closed, a second for some gigabytes. */
static void file_let_go(struct weir_state_log *log, struct log_file *file)
{
    struct weir_err ignored = {0};
    weir_state_log_wait_closed(log);
    log->closing_fd = file->fd;
    file->fd = -1;
    if (weir_thread_start(&log->closer, close_main, &log->closing_fd, &ignored) != WEIR_OK) {
        close(log->closing_fd);
    }
}

/* A file of the header and the entry, which has no name of the log's yet. */
static weir_status
log_create(const struct weir_state_log *log, struct weir_slice entry, struct log_file *ret_file)
{
    int fd = openat(log->dir_fd, weir_log_new_name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct weir_strbuf header;
    weir_strbuf_init(&header, 65536);
    header_write(log, &header);
    WEIR_ASSERT(!header.failed);
    *ret_file = (struct log_file){.fd = fd, .size_bytes = (int64_t)header.size};
    weir_status status = fd < 0 ? WEIR_IO : weir_state_log_write(fd, header.data, header.size, 0);
    weir_strbuf_done(&header);
    return status == WEIR_OK ? file_append(ret_file, entry) : status;
}

weir_status weir_state_log_begin(struct weir_state_log *log,
                                 size_t index,
                                 struct weir_slice entry,
                                 struct weir_err *err)
{
    struct log_file file;
    WEIR_ASSERT(index <= log->file_count);
    if (log_create(log, entry, &file) != WEIR_OK ||
        renameat(log->dir_fd, weir_log_new_name, log->dir_fd, weir_log_names[index]) != 0 ||
        fsync(log->dir_fd) != 0) {
        weir_status status = weir_state_log_io(log, "write", err);
        if (file.fd >= 0) {
            close(file.fd);
        }
        return status;
    }
    /* Room for the next entries, so that a disk that others fill does not end the pipeline. Not
     * every file system can; then entries are written without. */
    (void)!fallocate(file.fd, FALLOC_FL_KEEP_SIZE, 0, WEIR_LOG_BYTES_MAX);
    while (log->file_count >
           index) { /* one that stays behind with its name is known by its epochs */
        log->file_count--;
        file_let_go(log, &log->files[log->file_count]);
        if (log->file_count > 0) {
            (void)unlinkat(log->dir_fd, weir_log_names[log->file_count], 0);
        }
    }
    log->files[log->file_count++] = file;
    return WEIR_OK;
}

weir_status weir_state_log_drop_first(struct weir_state_log *log, struct weir_err *err)
{
    WEIR_ASSERT(log->file_count == WEIR_LOG_FILES);
    if (renameat(log->dir_fd, weir_log_names[1], log->dir_fd, weir_log_names[0]) != 0 ||
        fsync(log->dir_fd) != 0) {
        return weir_state_log_io(log, "cut", err);
    }
    file_let_go(log, &log->files[0]);
    log->files[0] = log->files[1];
    log->files[1].fd = -1;
    log->file_count = 1;
    return WEIR_OK;
}

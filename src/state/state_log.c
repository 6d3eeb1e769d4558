/* SPDX-License-Identifier: Apache-2.0
 *
 * The medium `file` of the state log. The file grows by one entry an epoch. Without frames it is
 * rewritten with its last entry alone when it passes a megabyte. With them nothing is copied: where
 * snapshots begin, so does a second file, and when all are complete the first is not needed. What
 * the log knows is here; how its bytes are read in log_entry.c, how its files take each other's
 * place in state_log_file.c.
 */
#include "state/state_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/failpoint.h"
#include "state/state_log_priv.h"

/* --- contents ----------------------------------------------------------------------------------*/

static struct log_position *find_position(const struct weir_state_log *log,
                                          const char *source,
                                          const char *topic,
                                          int32_t partition)
{
    for (size_t i = 0; i < log->position_count; i++) {
        struct log_position *row = &log->positions[i];
        if (row->partition == partition && strcmp(row->topic, topic) == 0 &&
            strcmp(row->source, source) == 0) {
            return row;
        }
    }
    return NULL;
}

static struct log_mark *find_mark(const struct weir_state_log *log, const char *sink)
{
    for (size_t i = 0; i < log->mark_count; i++) {
        if (strcmp(log->marks[i].sink, sink) == 0) {
            return &log->marks[i];
        }
    }
    return NULL;
}

uint64_t weir_state_log_epoch(const struct weir_state_log *log)
{
    return log->epoch;
}

size_t weir_state_log_cut_bytes(const struct weir_state_log *log)
{
    return log->cut_bytes;
}

bool weir_state_log_get_position(const struct weir_state_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 int64_t *ret_position)
{
    const struct log_position *row = find_position(log, source, topic, partition);
    if (row != NULL) {
        *ret_position = row->position;
    }
    return row != NULL;
}

bool weir_state_log_position_at(const struct weir_state_log *log,
                                size_t index,
                                struct weir_state_position *ret_position)
{
    if (index >= log->position_count) {
        return false;
    }
    const struct log_position *row = &log->positions[index];
    *ret_position =
        (struct weir_state_position){row->source, row->topic, row->partition, row->position, 0};
    return true;
}

int64_t weir_state_log_written_ms(const struct weir_state_log *log)
{
    return log->epoch == 0 ? 0 : log->written_ms;
}

bool weir_state_log_get_mark(const struct weir_state_log *log,
                             const char *sink,
                             struct weir_slice *ret_mark)
{
    const struct log_mark *row = find_mark(log, sink);
    if (row != NULL) {
        *ret_mark = (struct weir_slice){row->bytes, row->size};
    }
    return row != NULL;
}

void weir_state_log_put_position(struct weir_state_log *log,
                                 const char *source,
                                 const char *topic,
                                 int32_t partition,
                                 int64_t position)
{
    struct log_position *row = find_position(log, source, topic, partition);
    if (row == NULL) {
        log->positions =
            weir_realloc(log->positions, log->position_count + 1, sizeof(*log->positions));
        row = &log->positions[log->position_count++];
        *row = (struct log_position){
            .source = weir_strdup(source), .topic = weir_strdup(topic), .partition = partition};
    }
    row->position = position;
}

void weir_state_log_put_mark(struct weir_state_log *log, const char *sink, struct weir_slice mark)
{
    struct log_mark *row = find_mark(log, sink);
    if (row == NULL) {
        log->marks = weir_realloc(log->marks, log->mark_count + 1, sizeof(*log->marks));
        row = &log->marks[log->mark_count++];
        *row = (struct log_mark){.sink = weir_strdup(sink)};
    }
    weir_free(row->bytes);
    row->bytes = weir_strndup(mark.data, mark.size);
    row->size = mark.size;
}

/* --- reading -----------------------------------------------------------------------------------*/

static bool section_apply(struct weir_state_log *log, int type, const char *at, size_t size)
{
    const char *end = at + size;
    if (type == WEIR_LOG_POSITION) {
        const char *source = weir_log_section_name(&at, end);
        const char *topic = source == NULL ? NULL : weir_log_section_name(&at, end);
        if (topic == NULL || end - at != 12) {
            return false;
        }
        weir_state_log_put_position(log, source, topic, (int32_t)weir_log_get_u32(at),
                                    (int64_t)weir_log_get_u64(at + 4));
        return true;
    }
    if (type == WEIR_LOG_MARK) {
        const char *sink = weir_log_section_name(&at, end);
        if (sink == NULL) {
            return false;
        }
        weir_state_log_put_mark(log, sink, (struct weir_slice){at, (size_t)(end - at)});
        return true;
    }
    if (type == WEIR_LOG_FRAME) { /* read when its shard is restored */
        log->has_frames = true;
        return true;
    }
    return false;
}

static bool entry_apply(struct weir_state_log *log, const char *entry, size_t size)
{
    const char *at = entry + WEIR_LOG_ENTRY_HEAD;
    const char *end = entry + size - WEIR_LOG_CHECKSUM;
    while (at < end) {
        if (end - at < WEIR_LOG_SECTION_HEAD) {
            return false;
        }
        size_t section = weir_log_get_u32(at + 1);
        if (section > (size_t)(end - at) - WEIR_LOG_SECTION_HEAD ||
            !section_apply(log, (uint8_t)at[0], at + WEIR_LOG_SECTION_HEAD, section)) {
            return false;
        }
        at += WEIR_LOG_SECTION_HEAD + section;
    }
    log->epoch = weir_log_entry_epoch(entry);
    return true;
}

static const char log_remedy[] = "Restore the directory from a copy, or remove it to begin anew "
                                 "(outputs since the beginning will be repeated).";

static weir_status
log_damaged(const struct weir_state_log *log, const char *name, size_t at, struct weir_err *err)
{
    weir_status status =
        weir_fail(err, WEIR_CORRUPT, "%s/%s is damaged at byte %zu", log->dir, name, at);
    weir_err_hint(err, "%s", log_remedy);
    return status;
}

static weir_status header_check(const struct weir_state_log *log,
                                const char *name,
                                struct weir_slice text,
                                size_t *ret_size,
                                struct weir_err *err)
{
    const size_t fixed = sizeof(weir_log_header_magic) + 8;
    if (text.size < fixed ||
        memcmp(text.data, weir_log_header_magic, sizeof(weir_log_header_magic)) != 0) {
        return log_damaged(log, name, 0, err);
    }
    uint32_t format = weir_log_get_u32(text.data + sizeof(weir_log_header_magic));
    size_t length = weir_log_get_u32(text.data + sizeof(weir_log_header_magic) + 4);
    if (length > text.size - fixed || text.size - fixed - length < WEIR_LOG_CHECKSUM ||
        XXH3_64bits(text.data, fixed + length) != weir_log_get_u64(text.data + fixed + length)) {
        return log_damaged(log, name, 0, err);
    }
    if (format != WEIR_LOG_FORMAT) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%s/%s has format %u, this build reads 1",
                                       log->dir, name, format);
        weir_err_hint(err, "Use the version of weir that wrote it, or another `state.dir`.");
        return status;
    }
    if (length != strlen(log->pipeline) || memcmp(text.data + fixed, log->pipeline, length) != 0) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%s belongs to the pipeline \"%.*s\"",
                                       log->dir, (int)length, text.data + fixed);
        weir_err_hint(err, "Give each pipeline its own `state.dir`.");
        return status;
    }
    *ret_size = fixed + length + WEIR_LOG_CHECKSUM;
    return WEIR_OK;
}

/* Applies the last sound entry of a file; *ret_end is where the next one goes. */
static weir_status log_replay(struct weir_state_log *log,
                              const char *name,
                              struct weir_slice text,
                              size_t *ret_end,
                              struct weir_err *err)
{
    size_t at = 0;
    weir_status status = header_check(log, name, text, &at, err);
    if (status != WEIR_OK) {
        return status;
    }
    size_t last = 0, last_size = 0;
    for (size_t size; (size = weir_log_entry_size(text.data + at, text.size - at)) > 0;
         at += size) {
        log->has_frames = log->has_frames || weir_log_entry_has_frames(text.data + at, size);
        last = at;
        last_size = size;
    }
    for (size_t behind = at + 1; behind < text.size; behind++) {
        if (weir_log_entry_size(text.data + behind, text.size - behind) > 0) {
            return log_damaged(log, name, at, err);
        }
    }
    if (last_size > 0 && !entry_apply(log, text.data + last, last_size)) {
        return log_damaged(log, name, last, err);
    }
    *ret_end = at;
    return WEIR_OK;
}

static void log_note_time(struct weir_state_log *log)
{
    struct stat info;
    if (fstat(log->files[log->file_count - 1].fd, &info) == 0) {
        log->written_ms = (int64_t)info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1000000;
    }
}

/* The second is opened before the first, so that of a log that somebody else writes both belong
 * together; or they are the same, for the second may become the first meanwhile. */
static weir_status log_open_files(struct weir_state_log *log, int flags, struct weir_err *err)
{
    for (size_t i = WEIR_LOG_FILES; i-- > 0;) {
        log->files[i].fd = openat(log->dir_fd, weir_log_names[i], flags | O_CLOEXEC);
        if (log->files[i].fd < 0 && errno != ENOENT) {
            return weir_state_log_io(log, "open", err);
        }
    }
    bool has_first = log->files[0].fd >= 0, has_second = log->files[1].fd >= 0;
    if (has_second && !has_first) {
        weir_status status =
            weir_fail(err, WEIR_CORRUPT, "%s/%s is gone, and %s goes on where it ended", log->dir,
                      weir_log_names[0], weir_log_names[1]);
        weir_err_hint(err, "%s", log_remedy);
        return status;
    }
    log->file_count = (size_t)has_first + has_second;
    return WEIR_OK;
}

/* What the second file begins with has to follow; else it is the first by now, or somebody died
 * before it was removed. */
static weir_status log_replay_second(struct weir_state_log *log,
                                     struct weir_slice text,
                                     size_t *ret_end,
                                     struct weir_err *err)
{
    size_t at = 0;
    weir_status status = header_check(log, weir_log_names[1], text, &at, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (weir_log_entry_size(text.data + at, text.size - at) == 0) {
        return log_damaged(log, weir_log_names[1], at, err);
    }
    log->second_epoch = weir_log_entry_epoch(text.data + at);
    if (log->second_epoch <= log->epoch) {
        close(log->files[1].fd);
        log->files[1].fd = -1;
        log->file_count = 1;
        return WEIR_OK;
    }
    return log_replay(log, weir_log_names[1], text, ret_end, err);
}

/* Applies what the files have, and says what of the last one is torn. */
static weir_status
log_replay_files(struct weir_state_log *log, size_t *ret_torn, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    *ret_torn = 0;
    for (size_t i = 0; i < log->file_count && status == WEIR_OK; i++) {
        struct weir_slice text;
        if (weir_state_log_map(&log->files[i], &text) != WEIR_OK) {
            return weir_state_log_io(log, "read", err);
        }
        size_t torn_at = (size_t)log->files[0].size_bytes, end = text.size;
        status = i == 0 ? log_replay(log, weir_log_names[0], text, &end, err)
                        : log_replay_second(log, text, &end, err);
        if (status == WEIR_OK && i < log->file_count) {
            if (i > 0 && *ret_torn > 0) {
                status = log_damaged(log, weir_log_names[0], torn_at, err);
            }
            log->files[i].size_bytes = (int64_t)end;
            *ret_torn = text.size - end;
        }
        weir_state_log_unmap(text);
    }
    return status;
}

static weir_status log_load(struct weir_state_log *log, struct weir_err *err)
{
    (void)unlinkat(log->dir_fd, weir_log_new_name, 0); /* one that was not finished */
    weir_status status = log_open_files(log, O_RDWR, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (log->file_count == 0) {
        return weir_state_log_begin(log, 0, (struct weir_slice){"", 0}, err);
    }
    log_note_time(log);
    status = log_replay_files(log, &log->cut_bytes, err);
    if (status == WEIR_OK && log->file_count == 1) {
        (void)unlinkat(log->dir_fd, weir_log_names[1], 0);
    }
    if (status == WEIR_OK && log->cut_bytes > 0) {
        const struct log_file *last = &log->files[log->file_count - 1];
        if (ftruncate(last->fd, (off_t)last->size_bytes) != 0 || fdatasync(last->fd) != 0) {
            status = weir_state_log_io(log, "cut", err);
        }
    }
    return status;
}

static weir_status log_enter_dir(struct weir_state_log *log, struct weir_err *err)
{
    if (mkdir(log->dir, 0700) != 0 && errno != EEXIST) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "cannot create %s: %s", log->dir, strerror(errno));
        weir_err_hint(err, "Set `state.dir` to a directory that can be written.");
        return status;
    }
    log->dir_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    log->lock_fd =
        log->dir_fd < 0 ? -1 : openat(log->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (log->lock_fd < 0) {
        return weir_fail(err, WEIR_CONFIG, "cannot use %s: %s", log->dir, strerror(errno));
    }
    if (flock(log->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "%s is in use by another process", log->dir);
        weir_err_hint(err,
                      "A pipeline that reads local files runs once; stop the other process or give "
                      "this one its own `state.dir`.");
        return status;
    }
    return WEIR_OK;
}

static struct weir_state_log *log_new(const char *dir, const char *pipeline)
{
    struct weir_state_log *log = weir_calloc(1, sizeof(*log));
    log->dir = weir_strdup(dir);
    log->pipeline = weir_strdup(pipeline);
    log->dir_fd = log->lock_fd = -1;
    for (size_t i = 0; i < WEIR_LOG_FILES; i++) {
        log->files[i].fd = -1;
    }
    weir_strbuf_init(&log->entry, WEIR_LOG_ENTRY_MAX);
    weir_strbuf_init(&log->frames, WEIR_LOG_ENTRY_MAX);
    return log;
}

struct weir_state_log *
weir_state_log_open(const char *dir, const char *pipeline, struct weir_err *err)
{
    struct weir_state_log *log = log_new(dir, pipeline);
    weir_status status = log_enter_dir(log, err);
    if (status == WEIR_OK) {
        status = log_load(log, err);
    }
    if (status != WEIR_OK) {
        weir_state_log_close(log);
        return NULL;
    }
    return log;
}

/* What has a name is whole: a rewritten log gets its name last. */
static weir_status log_look(struct weir_state_log *log, struct weir_err *err)
{
    log->broken = true;
    log->dir_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->dir_fd < 0) {
        return errno == ENOENT ? WEIR_OK : weir_state_log_io(log, "open", err);
    }
    weir_status status = log_open_files(log, O_RDONLY, err);
    if (status != WEIR_OK || log->file_count == 0) {
        return status;
    }
    log_note_time(log);
    size_t torn; /* or being written */
    return log_replay_files(log, &torn, err);
}

struct weir_state_log *
weir_state_log_read(const char *dir, const char *pipeline, struct weir_err *err)
{
    struct weir_state_log *log = log_new(dir, pipeline);
    if (log_look(log, err) != WEIR_OK) {
        weir_state_log_close(log);
        return NULL;
    }
    return log;
}

void weir_state_log_close(struct weir_state_log *log)
{
    if (log == NULL) {
        return;
    }
    weir_state_log_wait_closed(log);
    const int fds[] = {log->files[0].fd, log->files[1].fd, log->lock_fd, log->dir_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    for (size_t i = 0; i < log->position_count; i++) {
        weir_free(log->positions[i].source);
        weir_free(log->positions[i].topic);
    }
    for (size_t i = 0; i < log->mark_count; i++) {
        weir_free(log->marks[i].sink);
        weir_free(log->marks[i].bytes);
    }
    weir_free(log->positions);
    weir_free(log->marks);
    weir_strbuf_done(&log->entry);
    weir_strbuf_done(&log->frames);
    weir_free(log->dir);
    weir_free(log->pipeline);
    weir_free(log);
}

/* --- writing -----------------------------------------------------------------------------------*/

static void entry_write(struct weir_state_log *log, uint64_t epoch)
{
    struct weir_strbuf *out = &log->entry;
    weir_strbuf_clear(out);
    weir_strbuf_append(out, weir_log_entry_magic, sizeof(weir_log_entry_magic));
    weir_log_put_u32(out, 0);
    weir_log_put_u64(out, epoch);
    for (size_t i = 0; i < log->position_count; i++) {
        const struct log_position *row = &log->positions[i];
        size_t source = strlen(row->source) + 1, topic = strlen(row->topic) + 1;
        weir_strbuf_push(out, WEIR_LOG_POSITION);
        weir_log_put_u32(out, (uint32_t)(source + topic + 12));
        weir_strbuf_append(out, row->source, source);
        weir_strbuf_append(out, row->topic, topic);
        weir_log_put_u32(out, (uint32_t)row->partition);
        weir_log_put_u64(out, (uint64_t)row->position);
    }
    for (size_t i = 0; i < log->mark_count; i++) {
        const struct log_mark *row = &log->marks[i];
        size_t sink = strlen(row->sink) + 1;
        weir_strbuf_push(out, WEIR_LOG_MARK);
        weir_log_put_u32(out, (uint32_t)(sink + row->size));
        weir_strbuf_append(out, row->sink, sink);
        weir_strbuf_append(out, row->bytes, row->size);
    }
    weir_strbuf_slice(out, weir_strbuf_view(&log->frames));
    if (!out->failed) {
        weir_log_set_u32(out, 4, (uint32_t)(out->size + WEIR_LOG_CHECKSUM));
        weir_log_put_u64(out, XXH3_64bits(out->data, out->size));
    }
}

void weir_state_log_turn(struct weir_state_log *log)
{
    log->turns = log->drops_first || log->file_count < WEIR_LOG_FILES;
}

void weir_state_log_cut(struct weir_state_log *log, uint64_t epoch)
{
    log->drops_first = log->file_count == WEIR_LOG_FILES && epoch >= log->second_epoch;
}

void weir_state_log_drop_frames(struct weir_state_log *log)
{
    log->has_frames = false;
    log->drops_frames = true;
}

int64_t weir_state_log_bytes(const struct weir_state_log *log)
{
    int64_t bytes = 0;
    for (size_t i = log->drops_first; i < log->file_count && log->has_frames; i++) {
        bytes += log->files[i].size_bytes;
    }
    return bytes;
}

void weir_state_log_put_frame(struct weir_state_log *log,
                              const char *source,
                              const char *topic,
                              int32_t partition,
                              struct weir_slice frame)
{
    struct weir_strbuf *out = &log->frames;
    size_t names = strlen(source) + strlen(topic) + 2;
    weir_strbuf_push(out, WEIR_LOG_FRAME);
    weir_log_put_u32(out, (uint32_t)(names + 4 + frame.size));
    weir_strbuf_append(out, source, strlen(source) + 1);
    weir_strbuf_append(out, topic, strlen(topic) + 1);
    weir_log_put_u32(out, (uint32_t)partition);
    weir_strbuf_slice(out, frame);
}

static bool
frame_is_of(struct weir_slice *frame, const char *source, const char *topic, int32_t partition)
{
    const char *at = frame->data, *end = frame->data + frame->size;
    const char *of_source = weir_log_section_name(&at, end);
    const char *of_topic = of_source == NULL ? NULL : weir_log_section_name(&at, end);
    if (of_topic == NULL || end - at < 4 || (int32_t)weir_log_get_u32(at) != partition ||
        strcmp(of_source, source) != 0 || strcmp(of_topic, topic) != 0) {
        return false;
    }
    *frame = (struct weir_slice){at + 4, (size_t)(end - at) - 4};
    return true;
}

static weir_status add_size(void *context, struct weir_slice frame, struct weir_err *err)
{
    size_t *bytes = context;
    (void)err;
    *bytes += frame.size;
    return WEIR_OK;
}

size_t weir_state_log_frame_bytes(const struct weir_state_log *log,
                                  const char *source,
                                  const char *topic,
                                  int32_t partition)
{
    size_t bytes = 0;
    struct weir_err ignored = {0}; /* whoever reads them meets it again */
    (void)!weir_state_log_frames(log, source, topic, partition, add_size, &bytes, &ignored);
    return bytes;
}

struct frames_wanted {
    const char *source, *topic;
    int32_t partition;
    weir_status (*take)(void *context, struct weir_slice frame, struct weir_err *err);
    void *context;
};

/* Entries were found sound when the log was opened, and frames have a checksum of their own. */
static weir_status file_frames(const struct weir_state_log *log,
                               size_t index,
                               struct weir_slice text,
                               const struct frames_wanted *wanted,
                               struct weir_err *err)
{
    size_t at = 0, end = (size_t)log->files[index].size_bytes;
    weir_status status = header_check(log, weir_log_names[index], text, &at, err);
    for (size_t size; status == WEIR_OK && at < end &&
                      (size = weir_log_entry_span(text.data + at, text.size - at)) > 0;
         at += size) {
        const char *place = NULL;
        struct weir_slice frame;
        while (status == WEIR_OK &&
               (frame.data = weir_log_entry_next(text.data + at, size, WEIR_LOG_FRAME, &place,
                                                 &frame.size)) != NULL) {
            if (frame_is_of(&frame, wanted->source, wanted->topic, wanted->partition)) {
                status = wanted->take(wanted->context, frame, err);
            }
        }
    }
    return status;
}

weir_status weir_state_log_frames(const struct weir_state_log *log,
                                  const char *source,
                                  const char *topic,
                                  int32_t partition,
                                  weir_status (*take)(void *context,
                                                      struct weir_slice frame,
                                                      struct weir_err *err),
                                  void *context,
                                  struct weir_err *err)
{
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < log->file_count && log->has_frames && status == WEIR_OK; i++) {
        struct weir_slice text;
        if (weir_state_log_map(&log->files[i], &text) != WEIR_OK) {
            return weir_state_log_fail(log, "read", err);
        }
        struct frames_wanted wanted = {source, topic, partition, take, context};
        status = file_frames(log, i, text, &wanted, err);
        weir_state_log_unmap(text);
    }
    return status;
}

/* Where the next entry goes. */
static weir_status
log_write(struct weir_state_log *log, struct weir_slice entry, uint64_t epoch, struct weir_err *err)
{
    const struct log_file *last = &log->files[log->file_count - 1];
    bool much = last->size_bytes + (int64_t)entry.size > WEIR_LOG_BYTES_MAX;
    bool begins = log->drops_frames || (much && !log->has_frames);
    if (!begins && !log->turns) {
        return weir_state_log_append(log, entry, err);
    }
    weir_status status = weir_state_log_begin(log, begins ? 0 : 1, entry, err);
    log->second_epoch = epoch;
    log->drops_frames = log->turns = false;
    return status;
}

weir_status weir_state_log_commit(struct weir_state_log *log, uint64_t epoch, struct weir_err *err)
{
    if (log->broken) {
        return weir_fail(err, WEIR_FATAL, "%s/state.log failed before", log->dir);
    }
    if (epoch == log->epoch) {
        weir_strbuf_clear(&log->frames);
        return WEIR_OK;
    }
    entry_write(log, epoch);
    if (log->entry.failed || log->frames.failed) {
        return weir_fail(err, WEIR_FATAL, "an entry of the state log is too large");
    }
    weir_failpoint(WEIR_FAILPOINT_BEFORE_LOG_SYNC);
    log->has_frames = log->has_frames || log->frames.size > 0;
    weir_status status = log->drops_first ? weir_state_log_drop_first(log, err) : WEIR_OK;
    log->drops_first = false;
    if (status == WEIR_OK) {
        status = log_write(log, weir_strbuf_view(&log->entry), epoch, err);
    }
    if (status == WEIR_OK) {
        log->epoch = epoch;
        weir_strbuf_clear(&log->frames);
        weir_failpoint(WEIR_FAILPOINT_AFTER_LOG_SYNC);
    }
    return status;
}

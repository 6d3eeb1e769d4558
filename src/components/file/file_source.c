/* SPDX-License-Identifier: Apache-2.0
 *
 * file: reads files line by line. A file is a partition, its position the byte offset of the next
 * line. Files are read in blocks into which the records point; only a line that a block's end cuts
 * is moved. A lane reads its files one after the other, sorted by name, each to the end that it
 * meets, and the source ends with the last.
 *
 * The hard decision: a last line without a newline counts as a record, because most such files are
 * complete. If the file grows later, the rest of that line would be half a record; resuming notices
 * it (the byte before the position is no newline) and refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/component.h>
#include <weir/positions.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/block.h"
#include "base/wake.h"

enum { BLOCK_BYTES = 256 * 1024, FILES_MAX = 100000 };
enum file_format { FORMAT_LINES = 1 };
enum file_empty { EMPTY_SKIP = 1, EMPTY_KEEP };

struct file_source_config {
    const char *path;
    struct weir_strs paths;
    int format, empty_lines;
    weir_bytesize max_line;
};

// clang-format off
static const struct weir_choice format_choices[] = {
    {"lines", FORMAT_LINES, "A record is a line, without its line end."},
    WEIR_CHOICES_END,
};
static const struct weir_choice empty_choices[] = {
    {"skip", EMPTY_SKIP, "They are no records."},
    {"keep", EMPTY_KEEP, "They are records with an empty value."},
    WEIR_CHOICES_END,
};

#define S struct file_source_config
static const struct weir_field file_source_fields[] = {
    WEIR_F_STR(S, path, .flags = WEIR_SHORT, .example = "data/*.jsonl",
                .help = "A file, or a pattern with `*`, `?` and `[…]`."),
    WEIR_F_STRS(S, paths, .min = 1, .max = FILES_MAX, .example = "[a.jsonl, b.jsonl]",
                .help = "Several files or patterns."),
    WEIR_F_ENUM(S, format, format_choices, .fallback = "lines", .help = "How records are framed."),
    WEIR_F_ENUM(S, empty_lines, empty_choices, .fallback = "skip",
                .help = "What becomes of empty lines."),
    WEIR_F_SIZE(S, max_line, .fallback = "16MiB", .min = 1024, .max = 64 * 1024 * 1024,
                .help = "Longest line; a longer one stops the pipeline."),
    WEIR_FIELDS_END,
};
#undef S
static const struct weir_rule file_source_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"path", "paths"}, "Name the files to read."},
    WEIR_RULES_END,
};
// clang-format on

/* One file. Its lane's, or control's while the lanes stand still. */
struct file_part {
    char *path;
    struct weir_partition *part; /* NULL: not assigned, or revoked */
    int fd;
    struct weir_block *block; /* what is being read; NULL: nothing yet */
    size_t at;                /* next unread byte of it */
    int64_t next;             /* the same byte, in the file */
    bool at_end;              /* the block reaches to the end of the file */
    bool done;
};

struct file_lane {
    struct file_part **parts;
    size_t count, current;
};

struct file_source {
    const struct file_source_config *config;
    struct weir_ctx *ctx;
    struct weir_block_pool *pool;
    struct file_part *parts;
    size_t count;
    struct file_lane *lanes;
};

/* --- opening; control --------------------------------------------------------------------------*/

static weir_status
file_source_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)err;
    struct file_source *self = instance;
    self->config = config;
    self->ctx = ctx;
    self->pool = weir_block_pool_new(BLOCK_BYTES);
    self->lanes = weir_calloc(ctx->lanes, sizeof(*self->lanes));
    return WEIR_OK;
}

static void part_rewind(struct file_part *item, int64_t position)
{
    weir_block_unref(item->block);
    item->block = NULL;
    item->at = 0;
    item->next = position;
    item->at_end = item->done = false;
}

static void part_close(struct file_part *item)
{
    weir_block_unref(item->block);
    item->block = NULL;
    if (item->fd >= 0) {
        close(item->fd);
        item->fd = -1;
    }
}

static void file_source_close(void *instance)
{
    struct file_source *self = instance;
    for (size_t i = 0; i < self->count; i++) {
        part_close(&self->parts[i]);
        weir_free(self->parts[i].path);
    }
    for (unsigned i = 0; self->lanes != NULL && i < self->ctx->lanes; i++) {
        weir_free(self->lanes[i].parts);
    }
    weir_free(self->lanes);
    weir_free(self->parts);
    weir_block_pool_close(self->pool);
    *self = (struct file_source){0};
}

static weir_status source_add(struct file_source *self, const char *path, struct weir_err *err)
{
    if (self->count == FILES_MAX) {
        return weir_fail(err, WEIR_CONFIG, "more than %d files", FILES_MAX);
    }
    struct stat info;
    if (stat(path, &info) != 0 || access(path, R_OK) != 0) {
        return weir_fail(err, WEIR_CONFIG, "cannot read %s: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "%s is not a regular file", path);
        weir_err_hint(err, "Pipes and terminals are read by the source `stdin`.");
        return status;
    }
    self->parts = weir_realloc(self->parts, self->count + 1, sizeof(*self->parts));
    self->parts[self->count++] = (struct file_part){.path = weir_strdup(path), .fd = -1};
    return WEIR_OK;
}

static weir_status
source_add_pattern(struct file_source *self, const char *pattern, struct weir_err *err)
{
    if (strpbrk(pattern, "*?[") == NULL || access(pattern, F_OK) == 0) {
        return source_add(self, pattern, err);
    }
    glob_t found;
    int code = glob(pattern, 0, NULL, &found);
    if (code != 0) {
        return weir_fail(err, WEIR_CONFIG,
                         code == GLOB_NOMATCH ? "no file matches %s" : "cannot look for files %s",
                         pattern);
    }
    weir_status status = WEIR_OK;
    for (size_t i = 0; i < found.gl_pathc && status == WEIR_OK; i++) {
        status = source_add(self, found.gl_pathv[i], err);
    }
    globfree(&found);
    return status;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct file_part *)a)->path, ((const struct file_part *)b)->path);
}

static void source_sort(struct file_source *self)
{
    qsort(self->parts, self->count, sizeof(*self->parts), compare_paths);
    size_t kept = 0;
    for (size_t i = 0; i < self->count; i++) {
        if (kept > 0 && strcmp(self->parts[kept - 1].path, self->parts[i].path) == 0) {
            weir_free(self->parts[i].path);
        } else {
            self->parts[kept++] = self->parts[i];
        }
    }
    self->count = kept;
}

static void source_assign(struct file_source *self)
{
    struct weir_assignment *items = weir_calloc(self->count, sizeof(*items));
    struct weir_partition **parts = weir_calloc(self->count, sizeof(struct weir_partition *));
    for (size_t i = 0; i < self->count; i++) {
        items[i] =
            (struct weir_assignment){.topic = self->parts[i].path, .source_data = &self->parts[i]};
    }
    weir_source_assign(self->ctx, items, self->count, parts);
    for (size_t i = 0; i < self->count; i++) {
        struct file_part *item = &self->parts[i];
        item->part = parts[i];
        item->next = parts[i]->read;
        struct stat info;
        if (stat(item->path, &info) == 0) {
            atomic_store_explicit(&item->part->end, info.st_size, memory_order_relaxed);
        }
        struct file_lane *lane = &self->lanes[item->part->lane];
        lane->parts = weir_realloc(lane->parts, lane->count + 1, sizeof(struct file_part *));
        lane->parts[lane->count++] = item;
    }
    weir_free(items);
    weir_free(parts);
}

static weir_status source_find(struct file_source *self, struct weir_err *err)
{
    const struct weir_strs *paths = &self->config->paths;
    weir_status status = WEIR_OK;
    if (self->config->path != NULL) {
        status = source_add_pattern(self, self->config->path, err);
    }
    for (size_t i = 0; i < paths->count && status == WEIR_OK; i++) {
        status = source_add_pattern(self, paths->items[i], err);
    }
    if (status == WEIR_OK) {
        source_sort(self);
    }
    return status;
}

static weir_status file_source_start(void *instance, struct weir_err *err)
{
    struct file_source *self = instance;
    weir_status status = source_find(self, err);
    if (status == WEIR_OK) {
        source_assign(self);
        weir_source_exhausted(self->ctx);
    }
    return status;
}

static void file_source_stop(void *instance)
{
    struct file_source *self = instance;
    size_t count = 0;
    struct weir_partition **parts = weir_calloc(self->count, sizeof(struct weir_partition *));
    for (size_t i = 0; i < self->count; i++) {
        if (self->parts[i].part != NULL) {
            parts[count++] = self->parts[i].part;
            self->parts[i].part = NULL;
        }
    }
    if (count > 0) {
        weir_source_revoke(self->ctx, parts, count, false);
    }
    weir_free(parts);
}

/* --- reading; lane -----------------------------------------------------------------------------*/

/* A position behind a line that had no newline then: what is there now? */
static weir_status part_check_seam(struct file_part *item, struct weir_err *err)
{
    char seam[3];
    ssize_t got = pread(item->fd, seam, sizeof(seam), item->next - 1);
    if (got < 1) {
        return weir_fail(err, WEIR_IO, "cannot read %s: %s", item->path, strerror(errno));
    }
    if (seam[0] == '\n' || got == 1) {
        return WEIR_OK;
    }
    if (seam[1] == '\n') {
        item->next++;
        return WEIR_OK;
    }
    if (got == 3 && seam[1] == '\r' && seam[2] == '\n') {
        item->next += 2;
        return WEIR_OK;
    }
    weir_status status =
        weir_fail(err, WEIR_DATA_LOSS,
                  "%s: the line before byte %lld went on after it had been read as the last one",
                  item->path, (long long)item->next);
    weir_err_hint(err, "Files that are read must be complete, or end in a newline.");
    return status;
}

static weir_status part_open(struct file_part *item, struct weir_err *err)
{
    item->fd = open(item->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat info;
    if (item->fd < 0 || fstat(item->fd, &info) != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot read %s: %s", item->path, strerror(errno));
    }
    atomic_store_explicit(&item->part->end, info.st_size, memory_order_relaxed);
    if (info.st_size < item->next) {
        weir_status status =
            weir_fail(err, WEIR_DATA_LOSS, "%s has %lld bytes, but was read up to byte %lld before",
                      item->path, (long long)info.st_size, (long long)item->next);
        weir_err_hint(err, "Was it cut or replaced? New data belongs in a file with a new name.");
        return status;
    }
    (void)posix_fadvise(item->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return item->next == 0 ? WEIR_OK : part_check_seam(item, err);
}

static weir_status
part_too_long(const struct file_source *self, const struct file_part *item, struct weir_err *err)
{
    weir_status status =
        weir_fail(err, WEIR_TOO_LARGE, "%s: the line at byte %lld is longer than %lld bytes",
                  item->path, (long long)item->next, (long long)self->config->max_line);
    weir_err_hint(err, "Raise `max_line`.");
    return status;
}

/* More bytes behind the unread ones, in a new block. */
static weir_status part_fill(struct file_source *self, struct file_part *item, struct weir_err *err)
{
    size_t left = item->block == NULL ? 0 : item->block->size - item->at;
    if (left > (size_t)self->config->max_line) {
        return part_too_long(self, item, err);
    }
    struct weir_block *block =
        weir_block_take(self->pool, left > BLOCK_BYTES / 2 ? left * 2 : BLOCK_BYTES);
    if (left > 0) {
        memcpy(block->bytes, item->block->bytes + item->at, left);
    }
    block->size = left;
    while (block->size < block->capacity) {
        ssize_t got = pread(item->fd, block->bytes + block->size, block->capacity - block->size,
                            item->next + (int64_t)block->size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            weir_block_unref(block);
            return weir_fail(err, WEIR_FATAL, "cannot read %s at byte %lld: %s", item->path,
                             (long long)item->next, strerror(errno));
        }
        if (got == 0) {
            item->at_end = true;
            break;
        }
        block->size += (size_t)got;
    }
    weir_block_unref(item->block);
    item->block = block;
    item->at = 0;
    int64_t reach = item->next + (int64_t)block->size;
    if (reach > atomic_load_explicit(&item->part->end, memory_order_relaxed)) {
        atomic_store_explicit(&item->part->end, reach, memory_order_relaxed);
    }
    return WEIR_OK;
}

/* False: the batch takes no more. *held is the block that the batch has a reference to. */
static bool part_deliver(struct file_part *item,
                         struct weir_intake *intake,
                         size_t size,
                         struct weir_block **held)
{
    struct weir_block *ref = item->block == *held ? NULL : item->block;
    if (ref != NULL) {
        weir_block_ref(ref);
    }
    struct weir_record *record = weir_intake_record(intake, item->part, ref);
    if (record == NULL) {
        weir_block_unref(ref);
        return false;
    }
    *held = item->block;
    record->position = item->next;
    record->flags = WEIR_RECORD_RAW | WEIR_RECORD_NO_TIME;
    record->raw = (struct weir_slice){item->block->bytes + item->at, size};
    return true;
}

/* Up to max lines; *count grows by what was delivered. */
static weir_status part_read(struct file_source *self,
                             struct file_part *item,
                             struct weir_intake *intake,
                             size_t max,
                             size_t *count,
                             struct weir_err *err)
{
    struct weir_block *held = NULL;
    while (*count < max) {
        const char *at = item->block == NULL ? NULL : item->block->bytes + item->at;
        size_t left = item->block == NULL ? 0 : item->block->size - item->at;
        const char *stop = left == 0 ? NULL : memchr(at, '\n', left);
        if (stop == NULL && !item->at_end) {
            weir_status status = part_fill(self, item, err);
            if (status != WEIR_OK) {
                return status;
            }
            continue;
        }
        if (left == 0) {
            item->done = true;
            break;
        }
        size_t size = stop == NULL ? left : (size_t)(stop - at);
        size_t step = stop == NULL ? left : size + 1;
        if (size > (size_t)self->config->max_line) {
            return part_too_long(self, item, err);
        }
        if (size > 0 && stop != NULL && at[size - 1] == '\r') {
            size--;
        }
        if (size > 0 || self->config->empty_lines == EMPTY_KEEP) {
            if (!part_deliver(item, intake, size, &held)) {
                break;
            }
            (*count)++;
        }
        item->at += step;
        item->next += (int64_t)step;
    }
    return WEIR_OK;
}

static void lane_end_part(struct file_source *self, struct file_lane *lane)
{
    struct file_part *item = lane->parts[lane->current++];
    part_close(item);
    weir_wake(weir_control_wake_fd(self->ctx));
}

static weir_status file_source_read(
    void *instance, unsigned index, struct weir_intake *intake, size_t max, struct weir_err *err)
{
    struct file_source *self = instance;
    struct file_lane *lane = &self->lanes[index];
    size_t count = 0;
    while (count < max && lane->current < lane->count) {
        struct file_part *item = lane->parts[lane->current];
        weir_status status = item->fd >= 0 ? WEIR_OK : part_open(item, err);
        if (status == WEIR_OK) {
            status = part_read(self, item, intake, max, &count, err);
            weir_intake_advance(intake, item->part, item->next);
        }
        if (status != WEIR_OK) {
            return status;
        }
        if (!item->done) {
            break;
        }
        weir_intake_end(intake, item->part);
        lane_end_part(self, lane);
    }
    return count > 0 ? WEIR_OK : WEIR_AGAIN;
}

static weir_status file_source_seek(void *instance,
                                    struct weir_partition *const *items,
                                    size_t count,
                                    struct weir_err *err)
{
    (void)err;
    struct file_source *self = instance;
    for (size_t i = 0; i < count; i++) {
        part_rewind(items[i]->source_data, items[i]->read);
    }
    for (unsigned i = 0; i < self->ctx->lanes; i++) {
        self->lanes[i].current = 0;
    }
    return WEIR_OK;
}

/* --- positions from outside --------------------------------------------------------------------*/

static weir_status file_positions_list(const struct weir_positions_call *call,
                                       struct weir_position **ret_items,
                                       size_t *ret_count,
                                       struct weir_err *err)
{
    struct file_source self = {.config = call->config};
    weir_status status = source_find(&self, err);
    struct weir_position *items = weir_arena_calloc(call->arena, self.count, sizeof(*items));
    WEIR_ASSERT(items != NULL);
    for (size_t i = 0; i < self.count; i++) {
        struct stat info;
        bool is_there = stat(self.parts[i].path, &info) == 0;
        items[i] = (struct weir_position){
            .topic = weir_arena_strdup(call->arena, self.parts[i].path),
            .end = is_there ? info.st_size : -1,
            .committed = -1,
        };
        weir_free(self.parts[i].path);
    }
    weir_free(self.parts);
    *ret_items = items;
    *ret_count = self.count;
    return status;
}

/* Reading can begin where a line does. */
static weir_status file_positions_check(const struct weir_positions_call *call,
                                        const struct weir_position *item,
                                        struct weir_err *err)
{
    (void)call;
    if (item->target == 0 || item->target == item->end) {
        return WEIR_OK;
    }
    int fd = open(item->topic, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char before = '\0';
    ssize_t got = fd < 0 ? -1 : pread(fd, &before, 1, item->target - 1);
    weir_status status = WEIR_OK;
    if (got < 0) {
        status = weir_fail(err, WEIR_IO, "cannot read %s: %s", item->topic, strerror(errno));
    } else if (got == 0 || before != '\n') {
        status = weir_fail(err, WEIR_REJECTED, "%s: no line begins at byte %lld", item->topic,
                           (long long)item->target);
        weir_err_hint(err, "A position in a file is the byte where a line begins.");
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

static const struct weir_positions_ops file_positions_ops = {
    .unit = "bytes",
    .list = file_positions_list,
    .check = file_positions_check,
};

static const struct weir_batch_origin file_origin = {.release = weir_block_release};

static const struct weir_source_ops file_source_ops = {
    .start = file_source_start,
    .read = file_source_read,
    .seek = file_source_seek,
    .stop = file_source_stop,
    .origin = &file_origin,
};

const struct weir_component weir_component_file_source = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_SOURCE,
            .name = "file",
            .summary = "Reads files line by line and ends.",
            .help = "Each file is a partition; its position is a byte offset, kept in the state "
                    "log, so that a second run goes on where the first one ended. Line ends may be "
                    "`\\n` or `\\r\\n`; a last line without one counts. Records have no key and no "
                    "time.",
            .example = "file: {path: data/*.jsonl}",
            .fields = file_source_fields,
            .rules = file_source_rules,
            .config_size = sizeof(struct file_source_config),
        },
    .self_size = sizeof(struct file_source),
    .positions = WEIR_POSITIONS_LOG,
    .bounded = true,
    .exclusive = true,
    .deterministic = true,
    .open = file_source_open,
    .close = file_source_close,
    .ops = {.source = &file_source_ops},
    .position_ops = &file_positions_ops,
};

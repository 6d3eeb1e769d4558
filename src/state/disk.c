/* SPDX-License-Identifier: Apache-2.0
 *
 * The only file that knows RocksDB. Rows are `u32 table (big-endian) | space | key`, so that a
 * table's rows lie together and are dropped as one range.
 *
 * The first failure sticks: reads and writes go on and answer something, and whoever owns an epoch
 * asks weir_disk_failure before anything of it becomes durable.
 */
#include "state/disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { SLOTS_MAX = 1000, ROW_HEAD = 5, KEY_MAX = 65535 + 8, BLOOM_BITS = 10, OPEN_FILES = 512 };

#define FUNCTIONS(X)                                                                               \
    X(rocksdb_block_based_options_create)                                                          \
    X(rocksdb_block_based_options_destroy)                                                         \
    X(rocksdb_block_based_options_set_block_cache)                                                 \
    X(rocksdb_block_based_options_set_filter_policy)                                               \
    X(rocksdb_cache_create_lru)                                                                    \
    X(rocksdb_cache_destroy)                                                                       \
    X(rocksdb_close)                                                                               \
    X(rocksdb_create_iterator)                                                                     \
    X(rocksdb_destroy_db)                                                                          \
    X(rocksdb_filterpolicy_create_bloom_full)                                                      \
    X(rocksdb_free)                                                                                \
    X(rocksdb_get_pinned)                                                                          \
    X(rocksdb_iter_destroy)                                                                        \
    X(rocksdb_iter_get_error)                                                                      \
    X(rocksdb_iter_key)                                                                            \
    X(rocksdb_iter_next)                                                                           \
    X(rocksdb_iter_seek)                                                                           \
    X(rocksdb_iter_valid)                                                                          \
    X(rocksdb_iter_value)                                                                          \
    X(rocksdb_open)                                                                                \
    X(rocksdb_options_create)                                                                      \
    X(rocksdb_options_destroy)                                                                     \
    X(rocksdb_options_increase_parallelism)                                                        \
    X(rocksdb_options_set_block_based_table_factory)                                               \
    X(rocksdb_options_set_compression)                                                             \
    X(rocksdb_options_set_create_if_missing)                                                       \
    X(rocksdb_options_set_keep_log_file_num)                                                       \
    X(rocksdb_options_set_max_open_files)                                                          \
    X(rocksdb_options_set_max_write_buffer_number)                                                 \
    X(rocksdb_options_set_write_buffer_size)                                                       \
    X(rocksdb_pinnableslice_destroy)                                                               \
    X(rocksdb_pinnableslice_value)                                                                 \
    X(rocksdb_readoptions_create)                                                                  \
    X(rocksdb_readoptions_destroy)                                                                 \
    X(rocksdb_write)                                                                               \
    X(rocksdb_writebatch_clear)                                                                    \
    X(rocksdb_writebatch_count)                                                                    \
    X(rocksdb_writebatch_create)                                                                   \
    X(rocksdb_writebatch_delete)                                                                   \
    X(rocksdb_writebatch_delete_range)                                                             \
    X(rocksdb_writebatch_destroy)                                                                  \
    X(rocksdb_writebatch_put)                                                                      \
    X(rocksdb_writeoptions_create)                                                                 \
    X(rocksdb_writeoptions_destroy)                                                                \
    X(rocksdb_writeoptions_disable_WAL)

/* The library, once it is loaded. */
static struct {
#define X(name) __typeof__(name) *name;
    FUNCTIONS(X)
#undef X
} lib;

struct weir_disk {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *reading;
    rocksdb_writeoptions_t *writing;
    char path[1100];
    int lock; /* a file that says the folder is taken */
    atomic_uint tables;
    pthread_mutex_t mutex; /* guards failure */
    struct weir_err failure;
};

struct weir_disk_batch {
    struct weir_disk *disk;
    rocksdb_writebatch_t *batch;
};

struct weir_disk_walk {
    struct weir_disk *disk;
    rocksdb_iterator_t *rows;
    char head[ROW_HEAD];
    bool begun;
};

/* --- the library -------------------------------------------------------------------------------*/

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char missing[256]; /* why it is not there; "" : it is */

static void load(void)
{
    void *handle = dlopen(WEIR_ROCKSDB_SONAME, RTLD_NOW | RTLD_LOCAL);
    handle = handle != NULL ? handle : dlopen("librocksdb.so", RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) {
        snprintf(missing, sizeof(missing), "%s", dlerror());
        return;
    }
#define X(name)                                                                                    \
    *(void **)(void *)&lib.name = dlsym(handle, #name);                                            \
    if (lib.name == NULL) {                                                                        \
        snprintf(missing, sizeof(missing), "%s", dlerror());                                       \
    }
    FUNCTIONS(X)
#undef X
}

/* --- opening -----------------------------------------------------------------------------------*/

/* A folder that no other process has: the first whose lock is free. */
static weir_status disk_choose(struct weir_disk *self, const char *dir, struct weir_err *err)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return weir_fail(err, WEIR_FATAL, "cannot make %s: %s", dir, strerror(errno));
    }
    for (int slot = 0; slot < SLOTS_MAX; slot++) {
        char lock[1100];
        snprintf(self->path, sizeof(self->path), "%s/table.%d", dir, slot);
        snprintf(lock, sizeof(lock), "%s/table.%d.lock", dir, slot);
        self->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (self->lock < 0) {
            return weir_fail(err, WEIR_FATAL, "cannot make %s: %s", lock, strerror(errno));
        }
        if (flock(self->lock, LOCK_EX | LOCK_NB) == 0) {
            return WEIR_OK;
        }
        close(self->lock);
        self->lock = -1;
    }
    return weir_fail(err, WEIR_FATAL, "%s: all %d places are taken", dir, SLOTS_MAX);
}

static void disk_configure(struct weir_disk *self, size_t memory_bytes)
{
    size_t buffer = memory_bytes / 8 < ((size_t)1 << 20) ? (size_t)1 << 20 : memory_bytes / 8;
    self->cache = lib.rocksdb_cache_create_lru(memory_bytes / 2);
    rocksdb_block_based_table_options_t *rows = lib.rocksdb_block_based_options_create();
    lib.rocksdb_block_based_options_set_block_cache(rows, self->cache);
    lib.rocksdb_block_based_options_set_filter_policy(
        rows, lib.rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    self->options = lib.rocksdb_options_create();
    lib.rocksdb_options_set_create_if_missing(self->options, 1);
    lib.rocksdb_options_increase_parallelism(self->options, 2);
    lib.rocksdb_options_set_block_based_table_factory(self->options, rows);
    lib.rocksdb_options_set_compression(self->options, rocksdb_lz4_compression);
    lib.rocksdb_options_set_keep_log_file_num(self->options, 1);
    lib.rocksdb_options_set_max_open_files(self->options, OPEN_FILES);
    lib.rocksdb_options_set_write_buffer_size(self->options, buffer);
    lib.rocksdb_options_set_max_write_buffer_number(self->options, 4);
    lib.rocksdb_block_based_options_destroy(rows);
    self->reading = lib.rocksdb_readoptions_create();
    self->writing = lib.rocksdb_writeoptions_create();
    lib.rocksdb_writeoptions_disable_WAL(self->writing, 1);
}

struct weir_disk *weir_disk_open(const char *dir, size_t memory_bytes, struct weir_err *err)
{
    pthread_once(&once, load);
    if (missing[0] != '\0') {
        (void)!weir_fail(err, WEIR_CONFIG, "state.table: rocksdb: %s", missing);
        weir_err_hint(err, "Install the library librocksdb, or write `table: memory`.");
        return NULL;
    }
    struct weir_disk *self = weir_calloc(1, sizeof(*self));
    pthread_mutex_init(&self->mutex, NULL);
    self->lock = -1;
    weir_status status = disk_choose(self, dir, err);
    if (status == WEIR_OK) {
        char *text = NULL;
        disk_configure(self, memory_bytes);
        lib.rocksdb_destroy_db(self->options, self->path, &text); /* of one that was killed */
        lib.rocksdb_free(text);
        text = NULL;
        self->db = lib.rocksdb_open(self->options, self->path, &text);
        if (self->db == NULL) {
            status = weir_fail(err, WEIR_FATAL, "%s: %s", self->path, text);
        }
        lib.rocksdb_free(text);
    }
    if (status != WEIR_OK) {
        weir_disk_close(self);
        return NULL;
    }
    return self;
}

void weir_disk_close(struct weir_disk *self)
{
    if (self == NULL) {
        return;
    }
    if (self->db != NULL) {
        char *text = NULL;
        lib.rocksdb_close(self->db);
        lib.rocksdb_destroy_db(self->options, self->path, &text);
        lib.rocksdb_free(text);
        rmdir(self->path);
    }
    if (self->options != NULL) {
        lib.rocksdb_options_destroy(self->options);
        lib.rocksdb_readoptions_destroy(self->reading);
        lib.rocksdb_writeoptions_destroy(self->writing);
        lib.rocksdb_cache_destroy(self->cache);
    }
    if (self->lock >= 0) {
        close(self->lock);
    }
    pthread_mutex_destroy(&self->mutex);
    weir_free(self);
}

uint32_t weir_disk_table(struct weir_disk *self)
{
    return atomic_fetch_add_explicit(&self->tables, 1, memory_order_relaxed);
}

/* --- failures ----------------------------------------------------------------------------------*/

static void disk_note(struct weir_disk *self, char *text)
{
    if (text == NULL) {
        return;
    }
    pthread_mutex_lock(&self->mutex);
    (void)!weir_fail(&self->failure, WEIR_FATAL, "the table on disk, %.200s: %.200s", self->path,
                     text);
    pthread_mutex_unlock(&self->mutex);
    lib.rocksdb_free(text);
}

weir_status weir_disk_failure(struct weir_disk *self, struct weir_err *err)
{
    pthread_mutex_lock(&self->mutex);
    weir_status status = self->failure.status;
    if (status != WEIR_OK) {
        (void)!weir_fail(err, status, "%s", self->failure.message);
    }
    pthread_mutex_unlock(&self->mutex);
    return status;
}

/* --- rows --------------------------------------------------------------------------------------*/

static void row_head(char *head, uint32_t table, char space)
{
    for (int i = 0; i < 4; i++) {
        head[i] = (char)(uint8_t)(table >> (24 - 8 * i));
    }
    head[4] = space;
}

static struct weir_slice row_name(char *room, uint32_t table, char space, struct weir_slice key)
{
    WEIR_ASSERT(key.size <= KEY_MAX);
    row_head(room, table, space);
    if (key.size > 0) {
        memcpy(room + ROW_HEAD, key.data, key.size);
    }
    return (struct weir_slice){room, ROW_HEAD + key.size};
}

bool weir_disk_get(struct weir_disk *self,
                   uint32_t table,
                   char space,
                   struct weir_slice key,
                   struct weir_strbuf *out)
{
    char room[ROW_HEAD + KEY_MAX], *text = NULL;
    struct weir_slice name = row_name(room, table, space, key);
    rocksdb_pinnableslice_t *row =
        lib.rocksdb_get_pinned(self->db, self->reading, name.data, name.size, &text);
    disk_note(self, text);
    if (row == NULL) {
        return false;
    }
    size_t size = 0;
    const char *bytes = lib.rocksdb_pinnableslice_value(row, &size);
    weir_strbuf_append(out, bytes, size);
    WEIR_ASSERT(!out->failed);
    lib.rocksdb_pinnableslice_destroy(row);
    return true;
}

struct weir_disk_batch *weir_disk_batch_new(struct weir_disk *disk)
{
    struct weir_disk_batch *self = weir_calloc(1, sizeof(*self));
    self->disk = disk;
    self->batch = lib.rocksdb_writebatch_create();
    return self;
}

void weir_disk_batch_free(struct weir_disk_batch *self)
{
    lib.rocksdb_writebatch_destroy(self->batch);
    weir_free(self);
}

void weir_disk_batch_put(struct weir_disk_batch *self,
                         uint32_t table,
                         char space,
                         struct weir_slice key,
                         struct weir_slice value)
{
    char room[ROW_HEAD + KEY_MAX];
    struct weir_slice name = row_name(room, table, space, key);
    lib.rocksdb_writebatch_put(self->batch, name.data, name.size, value.data, value.size);
}

void weir_disk_batch_drop(struct weir_disk_batch *self,
                          uint32_t table,
                          char space,
                          struct weir_slice key)
{
    char room[ROW_HEAD + KEY_MAX];
    struct weir_slice name = row_name(room, table, space, key);
    lib.rocksdb_writebatch_delete(self->batch, name.data, name.size);
}

void weir_disk_batch_drop_table(struct weir_disk_batch *self, uint32_t table)
{
    char first[ROW_HEAD], behind[ROW_HEAD];
    row_head(first, table, 0);
    row_head(behind, table + 1, 0);
    lib.rocksdb_writebatch_delete_range(self->batch, first, ROW_HEAD, behind, ROW_HEAD);
}

void weir_disk_batch_write(struct weir_disk_batch *self)
{
    char *text = NULL;
    if (lib.rocksdb_writebatch_count(self->batch) > 0) {
        lib.rocksdb_write(self->disk->db, self->disk->writing, self->batch, &text);
        disk_note(self->disk, text);
        lib.rocksdb_writebatch_clear(self->batch);
    }
}

struct weir_disk_walk *
weir_disk_walk_new(struct weir_disk *disk, uint32_t table, char space, struct weir_slice from)
{
    char room[ROW_HEAD + KEY_MAX];
    struct weir_disk_walk *self = weir_calloc(1, sizeof(*self));
    struct weir_slice name = row_name(room, table, space, from);
    self->disk = disk;
    row_head(self->head, table, space);
    self->rows = lib.rocksdb_create_iterator(disk->db, disk->reading);
    lib.rocksdb_iter_seek(self->rows, name.data, name.size);
    return self;
}

void weir_disk_walk_free(struct weir_disk_walk *self)
{
    if (self != NULL) {
        lib.rocksdb_iter_destroy(self->rows);
        weir_free(self);
    }
}

bool weir_disk_walk_next(struct weir_disk_walk *self,
                         struct weir_slice *ret_key,
                         struct weir_slice *ret_value)
{
    char *text = NULL;
    if (self->begun) {
        lib.rocksdb_iter_next(self->rows);
    }
    self->begun = true;
    if (!lib.rocksdb_iter_valid(self->rows)) {
        lib.rocksdb_iter_get_error(self->rows, &text);
        disk_note(self->disk, text);
        return false;
    }
    size_t size = 0;
    const char *bytes = lib.rocksdb_iter_key(self->rows, &size);
    if (size < ROW_HEAD || memcmp(bytes, self->head, ROW_HEAD) != 0) {
        return false;
    }
    *ret_key = (struct weir_slice){bytes + ROW_HEAD, size - ROW_HEAD};
    bytes = lib.rocksdb_iter_value(self->rows, &size);
    *ret_value = (struct weir_slice){bytes, size};
    return true;
}

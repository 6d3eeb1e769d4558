/* SPDX-License-Identifier: Apache-2.0
 *
 * Sorted rows on a local disk, for tables that are larger than memory (state/spill.h): RocksDB
 * without its write-ahead log. Nothing in it outlives the process: the state log is the truth, and
 * a start restores from there. The library is loaded when the first disk is opened, so that nobody
 * else pays for its start.
 *
 * A disk is shared by the tables of a pipeline; each has a number, under which it sees only its own
 * rows. Any thread; a batch and a walk belong to one.
 */
#ifndef WEIR_STATE_DISK_H
#define WEIR_STATE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>
#include <weir/strbuf.h>

struct weir_disk;

/* A folder below dir, which nobody else has, emptied. memory_bytes: what it may hold of its rows.
 * NULL: WEIR_CONFIG (no such library), WEIR_FATAL. */
struct weir_disk *weir_disk_open(const char *dir, size_t memory_bytes, struct weir_err *err);
/* Removes the folder. */
void weir_disk_close(struct weir_disk *disk);
/* A number that no table has had. */
uint32_t weir_disk_table(struct weir_disk *disk);
/* The first thing that went wrong; WEIR_OK: nothing. What was read since is not to be trusted. */
WEIR_MUST_USE weir_status weir_disk_failure(struct weir_disk *disk, struct weir_err *err);

/* Appends the row's value. False: there is no such row. `space` parts the rows of a table. */
bool weir_disk_get(struct weir_disk *disk,
                   uint32_t table,
                   char space,
                   struct weir_slice key,
                   struct weir_strbuf *out);

/* Changes that are made together, in their order. */
struct weir_disk_batch *weir_disk_batch_new(struct weir_disk *disk);
void weir_disk_batch_free(struct weir_disk_batch *batch);
void weir_disk_batch_put(struct weir_disk_batch *batch,
                         uint32_t table,
                         char space,
                         struct weir_slice key,
                         struct weir_slice value);
void weir_disk_batch_drop(struct weir_disk_batch *batch,
                          uint32_t table,
                          char space,
                          struct weir_slice key);
/* All rows of the table. */
void weir_disk_batch_drop_table(struct weir_disk_batch *batch, uint32_t table);
/* Makes the changes; the batch is empty afterwards. */
void weir_disk_batch_write(struct weir_disk_batch *batch);

/* The rows of a space as they are now, in the order of their keys' bytes, from `from` on. */
struct weir_disk_walk *
weir_disk_walk_new(struct weir_disk *disk, uint32_t table, char space, struct weir_slice from);
void weir_disk_walk_free(struct weir_disk_walk *walk);
/* False: no row is left. Borrowed until the next call. */
bool weir_disk_walk_next(struct weir_disk_walk *walk,
                         struct weir_slice *ret_key,
                         struct weir_slice *ret_value);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies what a file has, and what it goes on getting, into another one, in a thread of its own:
 * the state log's, when it is rewritten. What counts as moved is on disk.
 *
 * One owner, whose thread calls all of these; it says how far the first file may be read, and
 * writes only behind that.
 */
#ifndef WEIR_STATE_LOG_MOVER_H
#define WEIR_STATE_LOG_MOVER_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/status.h>

struct weir_log_mover;

/* From `from`, where it begins at `at` and may be read until `until`, to `to`, where everything
 * lies by `shift` elsewhere. Both are borrowed until it is freed, or let go. NULL: no thread. */
struct weir_log_mover *weir_log_mover_start(
    int from, int to, int64_t at, int64_t until, int64_t shift, struct weir_err *err);
/* There is more. */
void weir_log_mover_tell(struct weir_log_mover *self, int64_t until);
/* How far it is, in the first file. WEIR_IO: it has ended; errno says why. */
WEIR_MUST_USE weir_status weir_log_mover_at(struct weir_log_mover *self, int64_t *ret_at);
/* It has moved more than is new: whoever waits for this before each write sees it arrive. Also when
 * it has ended. */
bool weir_log_mover_gains(struct weir_log_mover *self);
/* It ends, and closes the first file, which takes as long as there are pages to give back: a second
 * for some gigabytes without a name. */
void weir_log_mover_let_go(struct weir_log_mover *self);
/* Waits for its end. NULL does nothing. */
void weir_log_mover_free(struct weir_log_mover *self);

#endif

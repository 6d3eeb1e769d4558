/* SPDX-License-Identifier: Apache-2.0
 *
 * Waking a thread that waits in poll(2) on an eventfd(2).
 */
#ifndef WEIR_BASE_WAKE_H
#define WEIR_BASE_WAKE_H

/* Any thread. A counter that is full is no error: whoever waits is awake anyway. */
void weir_wake(int fd);
/* Whoever waits: takes what was signalled, so that the next poll(2) waits again. */
void weir_wake_take(int fd);

#endif

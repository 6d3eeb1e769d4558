/* SPDX-License-Identifier: Apache-2.0
 *
 * Zeroed memory of a known size that may be large and is kept long (tables of state). From two
 * megabytes on the kernel is asked for huge pages: what is looked up at random in much memory waits
 * less for addresses, and a first touch costs one fault for 512 small ones. Never NULL; any thread.
 */
#ifndef WEIR_BASE_PAGES_H
#define WEIR_BASE_PAGES_H

#include <stddef.h>

enum { WEIR_PAGES_HUGE = 2 << 20 };

void *weir_pages_new(size_t size) __attribute__((malloc, returns_nonnull));
/* The same, all of it there before it is touched. */
void *weir_pages_new_filled(size_t size) __attribute__((malloc, returns_nonnull));
/* size: as when it was made. memory: NULL does nothing. */
void weir_pages_free(void *memory, size_t size);

#endif

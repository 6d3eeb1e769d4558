/* SPDX-License-Identifier: Apache-2.0
 *
 * Heap memory of bounded size (structs, tables, names). Running out of memory here ends the process
 * with a message: what grows with the data is bounded by arenas and string buffers, which return an
 * error instead. Any thread.
 */
#ifndef WEIR_BASE_ALLOC_H
#define WEIR_BASE_ALLOC_H

#include <stddef.h>

/* Zeroed; never NULL. */
void *weir_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Never NULL; new bytes are not zeroed. count * size must not overflow (asserted). */
void *weir_realloc(void *memory, size_t count, size_t size) __attribute__((returns_nonnull));
char *weir_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *weir_strndup(const char *text, size_t size) __attribute__((malloc, returns_nonnull));
void weir_free(void *memory);

/* Local that frees itself: WEIR_AUTO_FREE char *text = …; */
static inline void weir_free_local(void *place)
{
    weir_free(*(void **)place);
}
#define WEIR_AUTO_FREE __attribute__((cleanup(weir_free_local)))

#endif

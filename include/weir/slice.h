/* SPDX-License-Identifier: Apache-2.0
 *
 * A borrowed run of bytes. data == NULL is "absent" (a null key, a tombstone); a length of 0 with
 * data != NULL is "empty". Not NUL-terminated. Copying the struct copies no bytes; whoever holds
 * one knows from the function that gave it how long the bytes live.
 */
#ifndef WEIR_SLICE_H
#define WEIR_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct weir_slice {
    const char *data;
    size_t size;
};

#define WEIR_SLICE(literal) ((struct weir_slice){"" literal, sizeof(literal) - 1})
/* For printf("%.*s"). */
#define WEIR_SLICE_ARG(slice) (int)(slice).size, (slice).data

static inline struct weir_slice weir_slice_of(const char *text)
{
    return (struct weir_slice){text, text == NULL ? 0 : strlen(text)};
}

static inline bool weir_slice_equal(struct weir_slice a, struct weir_slice b)
{
    if (a.data == NULL || b.data == NULL) {
        return a.data == b.data;
    }
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif

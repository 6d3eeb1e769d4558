/* SPDX-License-Identifier: Apache-2.0
 *
 * The only callers of malloc outside arenas and string buffers; see alloc.h for the rule.
 */
#include "base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static void *checked(void *memory)
{
    if (memory == NULL) {
        weir_panic(__FILE__, __LINE__, "out of memory");
    }
    return memory;
}

void *weir_calloc(size_t count, size_t size)
{
    return checked(calloc(count == 0 ? 1 : count, size == 0 ? 1 : size));
}

void *weir_realloc(void *memory, size_t count, size_t size)
{
    WEIR_ASSERT(size == 0 || count <= SIZE_MAX / size);
    size_t bytes = count * size;
    return checked(realloc(memory, bytes == 0 ? 1 : bytes));
}

char *weir_strndup(const char *text, size_t size)
{
    char *copy = checked(malloc(size + 1));
    memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

char *weir_strdup(const char *text)
{
    return weir_strndup(text, strlen(text));
}

void weir_free(void *memory)
{
    free(memory);
}

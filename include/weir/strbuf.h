/* SPDX-License-Identifier: Apache-2.0
 *
 * A growing byte buffer that is created with its maximum. An append beyond the maximum (or without
 * memory) sets `failed` and changes nothing; later appends are ignored, so a writer checks once at
 * the end. Owned by one thread. data is NUL-terminated whenever it is not NULL.
 */
#ifndef WEIR_STRBUF_H
#define WEIR_STRBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <weir/slice.h>

struct weir_strbuf {
    char *data;
    size_t size;     /* bytes used */
    size_t capacity; /* bytes allocated, the terminating NUL included */
    size_t limit;    /* maximum of size */
    bool failed;
};

void weir_strbuf_init(struct weir_strbuf *buf, size_t limit);
void weir_strbuf_done(struct weir_strbuf *buf);
/* Empties, keeps the memory, clears failed. */
void weir_strbuf_clear(struct weir_strbuf *buf);
/* Makes room for `more` bytes; false (and failed) when it cannot. */
bool weir_strbuf_reserve(struct weir_strbuf *buf, size_t more);
/* As "%lld" does, at a tenth of its cost. */
void weir_strbuf_int64(struct weir_strbuf *buf, int64_t number);
void weir_strbuf_printf(struct weir_strbuf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void weir_strbuf_append(struct weir_strbuf *buf, const void *bytes, size_t size)
{
    if (buf->capacity - buf->size <= size && !weir_strbuf_reserve(buf, size)) {
        return;
    }
    if (size > 0) {
        memcpy(buf->data + buf->size, bytes, size);
    }
    buf->size += size;
    buf->data[buf->size] = '\0';
}

static inline void weir_strbuf_push(struct weir_strbuf *buf, char c)
{
    weir_strbuf_append(buf, &c, 1);
}

static inline void weir_strbuf_text(struct weir_strbuf *buf, const char *text)
{
    weir_strbuf_append(buf, text, strlen(text));
}

static inline void weir_strbuf_slice(struct weir_strbuf *buf, struct weir_slice slice)
{
    weir_strbuf_append(buf, slice.data, slice.size);
}

static inline struct weir_slice weir_strbuf_view(const struct weir_strbuf *buf)
{
    return (struct weir_slice){buf->data == NULL ? "" : buf->data, buf->size};
}

#endif

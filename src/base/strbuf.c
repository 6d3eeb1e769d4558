/* SPDX-License-Identifier: Apache-2.0
 *
 * Growth doubles up to the limit; at the limit the buffer fails softly and stays as it was.
 */
#include <weir/strbuf.h>

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void weir_strbuf_init(struct weir_strbuf *buf, size_t limit)
{
    *buf = (struct weir_strbuf){.limit = limit};
}

void weir_strbuf_done(struct weir_strbuf *buf)
{
    free(buf->data);
    *buf = (struct weir_strbuf){.limit = buf->limit};
}

void weir_strbuf_clear(struct weir_strbuf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->data != NULL) {
        buf->data[0] = '\0';
    }
}

bool weir_strbuf_reserve(struct weir_strbuf *buf, size_t more)
{
    if (buf->failed || more > buf->limit || buf->size > buf->limit - more) {
        buf->failed = true;
        return false;
    }
    size_t need = buf->size + more + 1;
    if (need <= buf->capacity) {
        return true;
    }
    size_t capacity = buf->capacity < 64 ? 64 : buf->capacity;
    while (capacity < need) {
        capacity *= 2;
    }
    if (capacity > buf->limit + 1) {
        capacity = buf->limit + 1;
    }
    char *data = realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    if (buf->data == NULL) {
        data[0] = '\0';
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void weir_strbuf_int64(struct weir_strbuf *buf, int64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        weir_strbuf_push(buf, '-');
    }
    weir_strbuf_append(buf, digits + at, sizeof(digits) - at);
}

void weir_strbuf_printf(struct weir_strbuf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length >= 0 && weir_strbuf_reserve(buf, (size_t)length)) {
        vsnprintf(buf->data + buf->size, (size_t)length + 1, format, again);
        buf->size += (size_t)length;
    }
    va_end(again);
}

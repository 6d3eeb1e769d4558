/* SPDX-License-Identifier: Apache-2.0
 *
 * Quoting is strict in what it lets out: whatever the bytes are, the result is one valid JSON
 * string, so a reader of our JSON can never be confused by a name that somebody else chose.
 */
#include "base/quote.h"

size_t weir_utf8_size(const char *text, size_t room)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char first = bytes[0];
    if (first < 0x80) {
        return 1;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || room < size) {
        return 0;
    }
    unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

void weir_quote_json(struct weir_slice text, struct weir_strbuf *out)
{
    weir_strbuf_push(out, '"');
    for (size_t i = 0; i < text.size;) {
        unsigned char c = (unsigned char)text.data[i];
        size_t size = weir_utf8_size(text.data + i, text.size - i);
        if (size == 0) {
            weir_strbuf_text(out, WEIR_UTF8_REPLACEMENT);
            i++;
            continue;
        }
        if (c == '"' || c == '\\') {
            weir_strbuf_push(out, '\\');
        }
        if (c == '\n') {
            weir_strbuf_text(out, "\\n");
        } else if (c < 0x20 || c == 0x7f) {
            weir_strbuf_printf(out, "\\u%04x", c);
        } else {
            weir_strbuf_append(out, text.data + i, size);
        }
        i += size;
    }
    weir_strbuf_push(out, '"');
}

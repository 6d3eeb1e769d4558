/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8, decoded the way jq does: an invalid sequence is as long as its head byte promised, up to
 * the first byte that cannot continue it, and becomes one U+FFFD.
 */
#include <string.h>

#include "data/reader.h"

static int sequence_length(unsigned char head)
{
    if (head < 0x80) {
        return 1;
    }
    if (head >= 0xc2 && head <= 0xdf) {
        return 2;
    }
    if (head >= 0xe0 && head <= 0xef) {
        return 3;
    }
    return head >= 0xf0 && head <= 0xf4 ? 4 : 0;
}

int32_t weir_utf8_next(const char **at, const char *end)
{
    static const int32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char head = (unsigned char)**at;
    if (head < 0x80) {
        ++*at;
        return head;
    }
    int length = sequence_length(head);
    if (length == 0) {
        ++*at;
        return -1;
    }
    if (length > end - *at) {
        *at = end;
        return -1;
    }
    int32_t codepoint = head & (0x7f >> length);
    for (int i = 1; i < length; i++) {
        unsigned char next = (unsigned char)(*at)[i];
        if ((next & 0xc0) != 0x80) {
            *at += i;
            return -1;
        }
        codepoint = codepoint << 6 | (next & 0x3f);
    }
    *at += length;
    bool invalid = codepoint < smallest[length] || codepoint > 0x10ffff ||
                   (codepoint >= 0xd800 && codepoint <= 0xdfff);
    return invalid ? -1 : codepoint;
}

bool weir_utf8_valid(struct weir_slice bytes)
{
    const char *at = bytes.data, *end = bytes.data + bytes.size;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0)) {
            at += 8;
        } else if (weir_utf8_next(&at, end) < 0) {
            return false;
        }
    }
    return true;
}

void weir_utf8_clean(struct weir_slice bytes, struct weir_strbuf *buf)
{
    const char *at = bytes.data, *end = bytes.data + bytes.size;
    const char *good = at;
    while (at < end) {
        const char *start = at;
        if (weir_utf8_next(&at, end) < 0) {
            weir_strbuf_append(buf, good, (size_t)(start - good));
            weir_strbuf_text(buf, "\xef\xbf\xbd");
            good = at;
        }
    }
    weir_strbuf_append(buf, good, (size_t)(end - good));
}

size_t weir_utf8_put(uint32_t codepoint, char ret[4])
{
    if (codepoint < 0x80) {
        ret[0] = (char)codepoint;
        return 1;
    }
    if (codepoint < 0x800) {
        ret[0] = (char)(0xc0 | codepoint >> 6);
        ret[1] = (char)(0x80 | (codepoint & 0x3f));
        return 2;
    }
    if (codepoint < 0x10000) {
        ret[0] = (char)(0xe0 | codepoint >> 12);
        ret[1] = (char)(0x80 | (codepoint >> 6 & 0x3f));
        ret[2] = (char)(0x80 | (codepoint & 0x3f));
        return 3;
    }
    ret[0] = (char)(0xf0 | codepoint >> 18);
    ret[1] = (char)(0x80 | (codepoint >> 12 & 0x3f));
    ret[2] = (char)(0x80 | (codepoint >> 6 & 0x3f));
    ret[3] = (char)(0x80 | (codepoint & 0x3f));
    return 4;
}

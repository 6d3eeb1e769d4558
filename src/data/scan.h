/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a run of plain bytes ends: the first byte that is a quote, a backslash, a control
 * character, DEL, or no ASCII. Sixteen bytes at a time with SSE2, else eight; never a byte beyond
 * the end is read.
 */
#ifndef WEIR_DATA_SCAN_H
#define WEIR_DATA_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline bool weir_scan_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* True if some byte of the word is not plain. */
static inline bool weir_scan_word(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\', del = word ^ ones * 0x7f;
    uint64_t found = (word - ones * 0x20) | (quote - ones) | (backslash - ones) | (del - ones);
    return ((found | word) & highs) != 0;
}

static inline const char *weir_scan_words(const char *at, const char *end)
{
    uint64_t word;
    while (end - at >= 8 && (memcpy(&word, at, 8), !weir_scan_word(word))) {
        at += 8;
    }
    while (at < end && weir_scan_is_plain((unsigned char)*at)) {
        at++;
    }
    return at;
}

static inline const char *weir_scan_plain(const char *at, const char *end)
{
#ifdef __SSE2__
    while (end - at >= 16) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
        /* Signed: what is no ASCII is below the blank, too. */
        __m128i found = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f)));
        unsigned mask = (unsigned)_mm_movemask_epi8(found);
        if (mask != 0) {
            return at + __builtin_ctz(mask);
        }
        at += 16;
    }
#endif
    return weir_scan_words(at, end);
}

#endif

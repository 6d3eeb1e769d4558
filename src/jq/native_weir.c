/* SPDX-License-Identifier: Apache-2.0
 *
 * weir's own builtins, for what streams need and jq has not: ids that are the same in every run,
 * hashes, durations. None of them takes a name of jq's.
 *
 * uuid5 is RFC 9562 section 5.5 over SHA-1 (RFC 3174); hash64 is FNV-1a over the value's canonical
 * form, finished by the mixer of MurmurHash3, as 16 hexadecimal digits because a double cannot hold
 * 64 bits.
 */
#include <math.h>
#include <stdio.h>

#include "base/fnv.h"
#include "jq/native.h"

/* ── SHA-1 ── */

struct sha1 {
    uint32_t state[5];
    uint64_t size;
    unsigned char block[64];
    size_t filled;
};

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void sha1_block(struct sha1 *sha, const unsigned char *block)
{
    uint32_t w[80];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[i * 4] << 24 | (uint32_t)block[i * 4 + 1] << 16 |
               (uint32_t)block[i * 4 + 2] << 8 | block[i * 4 + 3];
    }
    for (int i = 16; i < 80; i++) {
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    }
    uint32_t a = sha->state[0], b = sha->state[1], c = sha->state[2], d = sha->state[3],
             e = sha->state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
        uint32_t next = rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    sha->state[0] += a;
    sha->state[1] += b;
    sha->state[2] += c;
    sha->state[3] += d;
    sha->state[4] += e;
}

static void sha1_add(struct sha1 *sha, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    sha->size += size;
    for (; size > 0; size--) {
        sha->block[sha->filled++] = *at++;
        if (sha->filled == sizeof sha->block) {
            sha1_block(sha, sha->block);
            sha->filled = 0;
        }
    }
}

static void sha1_finish(struct sha1 *sha, unsigned char ret[20])
{
    uint64_t bits = sha->size * 8;
    sha1_add(sha, "\x80", 1);
    while (sha->filled != 56) {
        sha1_add(sha, "", 1);
    }
    unsigned char length[8];
    for (int i = 0; i < 8; i++) {
        length[i] = (unsigned char)(bits >> (56 - i * 8));
    }
    sha1_add(sha, length, 8);
    for (int i = 0; i < 20; i++) {
        ret[i] = (unsigned char)(sha->state[i / 4] >> (24 - i % 4 * 8));
    }
}

/* ── uuid5 ── */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* 16 bytes of a UUID in its text form. */
static bool parse_uuid(struct weir_slice text, unsigned char ret[16])
{
    int digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '-') {
            continue;
        }
        int digit = hex_digit(text.data[i]);
        if (digit < 0 || digits == 32) {
            return false;
        }
        ret[digits / 2] = (unsigned char)(digits % 2 == 0 ? digit << 4 : ret[digits / 2] | digit);
        digits++;
    }
    return digits == 32;
}

static bool namespace_of(struct weir_slice name, unsigned char ret[16])
{
    static const struct {
        const char *name, *uuid;
    } known[] = {
        {"dns", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
        {"url", "6ba7b811-9dad-11d1-80b4-00c04fd430c8"},
        {"oid", "6ba7b812-9dad-11d1-80b4-00c04fd430c8"},
        {"x500", "6ba7b814-9dad-11d1-80b4-00c04fd430c8"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (weir_slice_equal(name, weir_slice_of(known[i].name))) {
            return parse_uuid(weir_slice_of(known[i].uuid), ret);
        }
    }
    return parse_uuid(name, ret);
}

static struct weir_value
uuid5(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    weir_release(&run->heap, input);
    if (arguments[0].kind != WEIR_KIND_STRING || arguments[1].kind != WEIR_KIND_STRING) {
        return jq_fail(run, "uuid5 requires strings: a namespace and a name");
    }
    unsigned char space[16], digest[20];
    if (!namespace_of(weir_value_text(arguments[0]), space)) {
        return jq_type_error(run, arguments[0],
                             "is not a namespace: a UUID, dns, url, oid or x500");
    }
    struct sha1 sha = {.state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0}};
    sha1_add(&sha, space, sizeof space);
    sha1_add(&sha, arguments[1].as.bytes, arguments[1].size);
    sha1_finish(&sha, digest);
    digest[6] = (unsigned char)((digest[6] & 0x0f) | 0x50);
    digest[8] = (unsigned char)((digest[8] & 0x3f) | 0x80);
    char text[40];
    size_t size = 0;
    for (int i = 0; i < 16; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%02x", dash, digest[i]);
    }
    weir_release(&run->heap, arguments[0]);
    weir_release(&run->heap, arguments[1]);
    return weir_string_new(&run->heap, (struct weir_slice){text, size});
}

/* ── hash64 ── */

static struct weir_value
hash64(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, UINT32_MAX);
    weir_value_write(input, &buf, WEIR_WRITE_SORTED);
    uint64_t hash = weir_fnv(WEIR_FNV_START, buf.data, buf.size);
    weir_strbuf_done(&buf);
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    hash ^= hash >> 33;
    weir_release(&run->heap, input);
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    return jq_text(run, text);
}

/* ── durations ── */

static double unit_ms(const char *at, size_t size)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1e3}, {"m", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (size == strlen(units[i].name) && memcmp(at, units[i].name, size) == 0) {
            return units[i].ms;
        }
    }
    return 0;
}

/* "1h30m" in milliseconds; -1: not a duration. */
static double duration_ms(struct weir_slice text)
{
    double total = 0;
    size_t at = 0;
    while (at < text.size) {
        double number = 0, scale = 1;
        size_t start = at;
        bool point = false;
        for (; at < text.size; at++) {
            char c = text.data[at];
            if (c == '.' && !point) {
                point = true;
            } else if (c >= '0' && c <= '9') {
                number = number * 10 + (c - '0');
                scale *= point ? 10 : 1;
            } else {
                break;
            }
        }
        size_t unit = at;
        while (at < text.size && text.data[at] >= 'a' && text.data[at] <= 'z') {
            at++;
        }
        double factor = unit_ms(text.data + unit, at - unit);
        if (unit == start || factor == 0) {
            return -1;
        }
        total += number * factor / scale;
    }
    return text.size == 0 ? -1 : total;
}

static struct weir_value
parse_duration(struct weir_jq_run *run, struct weir_value input, struct weir_value *arguments)
{
    (void)arguments;
    double ms = input.kind == WEIR_KIND_STRING ? duration_ms(weir_value_text(input)) : -1;
    if (ms < 0) {
        return jq_type_error(run, input, "is not a duration like \"1h30m\" or \"250ms\"");
    }
    weir_release(&run->heap, input);
    return weir_value_number(ms);
}

// clang-format off
static const struct jq_native table[] = {
    JQ_FN("uuid5", 2, uuid5, JQ_WEIR, "The UUID of a name in a namespace (a UUID, dns, url, oid, x500).", "uuid5(\"dns\"; \"www.example.com\")", "null", "\"2ed6657d-e927-568b-95e1-2665a8aea6a2\""),
    JQ_FN("hash64", 0, hash64, JQ_WEIR, "A hash of the value, 16 hexadecimal digits; equal texts hash equally.", "hash64 == ({b: 1, a: 2} | hash64)", "{\"a\":2,\"b\":1}", "true"),
    JQ_FN("parse_duration", 0, parse_duration, JQ_WEIR, "A duration in milliseconds.", "parse_duration", "\"1h30m\"", "5400000"),
};
// clang-format on

JQ_FAMILY(jq_weir_natives, table);

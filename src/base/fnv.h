/* SPDX-License-Identifier: Apache-2.0
 *
 * FNV-1a with 64 bits (RFC 9923): for what is stored, shown, or agreed upon between processes, which
 * must be the same for ever. Anybody can prepare keys that collide: tables use base/hash.h.
 */
#ifndef WEIR_BASE_FNV_H
#define WEIR_BASE_FNV_H

#include <stddef.h>
#include <stdint.h>

#define WEIR_FNV_START UINT64_C(0xcbf29ce484222325)

/* `hash` is WEIR_FNV_START, or what the bytes before gave. */
static inline uint64_t weir_fnv(uint64_t hash, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

#endif

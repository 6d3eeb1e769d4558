/* SPDX-License-Identifier: Apache-2.0
 *
 * Hashes for tables in memory. They differ from process to process, so that nobody can prepare
 * keys that all fall into one place of a table; hence they are never stored. What is stored or
 * shown is hashed by XXH3 without a seed.
 */
#ifndef WEIR_BASE_HASH_H
#define WEIR_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* From the operating system, before main; constant from then on. */
extern uint64_t weir_hash_seed;

static inline uint32_t weir_hash_key(const void *bytes, size_t size)
{
    return (uint32_t)XXH3_64bits_withSeed(bytes, size, weir_hash_seed);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The seed of the process. It is drawn before main rather than at first use: every table reads it,
 * on every thread, and a value that never changes needs no ordering.
 */
#include "base/hash.h"

#include "base/random.h"

uint64_t weir_hash_seed;

__attribute__((constructor)) static void hash_seed_draw(void)
{
    weir_random_system(&weir_hash_seed, sizeof(weir_hash_seed));
}

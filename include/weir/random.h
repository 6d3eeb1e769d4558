/* SPDX-License-Identifier: Apache-2.0
 *
 * Randomness is a value that is handed on, never a hidden global: the same seed gives the same
 * bytes on every machine. xoshiro256** by Blackman and Vigna (2018), seeded through splitmix64. Not
 * for secrets. Owned by one thread.
 */
#ifndef WEIR_RANDOM_H
#define WEIR_RANDOM_H

#include <stdint.h>

struct weir_random {
    uint64_t state[4];
};

void weir_random_init(struct weir_random *random, uint64_t seed);
uint64_t weir_random_next(struct weir_random *random);
/* Uniform in [0, bound), without bias; bound > 0 (asserted). */
uint64_t weir_random_below(struct weir_random *random, uint64_t bound);
/* Uniform in [0, 1), 53 bits. */
double weir_random_double(struct weir_random *random);

#endif

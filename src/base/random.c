/* SPDX-License-Identifier: Apache-2.0
 *
 * The generator is small enough to be embedded in whatever needs one, so that no two threads share
 * a state and a simulated run draws the same numbers whatever the other parts do. Seeds go through
 * splitmix64, because xoshiro must not start at zero and starts badly from few bits.
 */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/assert.h"

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t mixed = (*state += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

static uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

void weir_random_init(struct weir_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        random->state[i] = splitmix64(&seed);
    }
}

uint64_t weir_random_next(struct weir_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t weir_random_below(struct weir_random *random, uint64_t bound)
{
    WEIR_ASSERT(bound > 0);
    uint64_t excess = (0 - bound) % bound; /* 2^64 mod bound: the draws that would be biased */
    uint64_t drawn;
    do {
        drawn = weir_random_next(random);
    } while (drawn < excess);
    return drawn % bound;
}

double weir_random_double(struct weir_random *random)
{
    return (double)(weir_random_next(random) >> 11) * 0x1.0p-53;
}

void weir_random_system(void *bytes, size_t size)
{
    char *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        WEIR_ASSERT(got > 0);
        at += got;
        size -= (size_t)got;
    }
}

void weir_random_init_system(struct weir_random *random)
{
    uint64_t seed;
    weir_random_system(&seed, sizeof(seed));
    weir_random_init(random, seed);
}

void weir_random_uuid(struct weir_random *random, char *text)
{
    uint64_t high = weir_random_next(random);
    uint64_t low = weir_random_next(random);
    high = (high & UINT64_C(0xffffffffffff0fff)) | UINT64_C(0x4000);
    low = (low & UINT64_C(0x3fffffffffffffff)) | UINT64_C(0x8000000000000000);
    int size =
        snprintf(text, WEIR_UUID_TEXT_SIZE, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
                 (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff), (unsigned)(low >> 48),
                 (unsigned long long)(low & UINT64_C(0xffffffffffff)));
    WEIR_ASSERT(size == WEIR_UUID_TEXT_SIZE - 1);
}

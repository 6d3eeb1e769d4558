/* SPDX-License-Identifier: Apache-2.0
 *
 * Where seeds, nonces and names of instances come from.
 */
#ifndef WEIR_BASE_RANDOM_H
#define WEIR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include <weir/random.h>

/* Bytes of the operating system's generator; good for nonces and secrets. Any thread. Ends the
 * process if there is none: nothing that needs it may go on without. */
void weir_random_system(void *bytes, size_t size);
/* A generator with a seed from the operating system. */
void weir_random_init_system(struct weir_random *random);

/* A UUID of version 4 (RFC 9562) as 36 characters and a NUL. */
enum { WEIR_UUID_TEXT_SIZE = 37 };
void weir_random_uuid(struct weir_random *random, char *text);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * An eventfd counts how often it was signalled; the reader takes the whole count at once, so that
 * any number of signals is one look. Anything but a full counter is a descriptor that is not ours.
 */
#include "base/wake.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "base/assert.h"

void weir_wake(int fd)
{
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof(one));
    WEIR_ASSERT(written == (ssize_t)sizeof(one) || errno == EAGAIN);
}

void weir_wake_take(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));
    WEIR_ASSERT(got == (ssize_t)sizeof(count) || errno == EAGAIN);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The last words of a process whose invariants are broken.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void weir_panic(const char *file, int line, const char *what)
{
    fprintf(stderr, "weir: internal error at %s:%d: %s\n", file, line, what);
    fflush(stderr);
    abort();
}

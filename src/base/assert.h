/* SPDX-License-Identifier: Apache-2.0
 *
 * Programmer errors end the process, in release builds too: going on with broken invariants is how
 * data is lost. Operating errors are values (weir/status.h), never assertions.
 */
#ifndef WEIR_BASE_ASSERT_H
#define WEIR_BASE_ASSERT_H

_Noreturn void weir_panic(const char *file, int line, const char *what);

#define WEIR_ASSERT(condition)                                                                     \
    (__builtin_expect(!(condition), 0) ? weir_panic(__FILE__, __LINE__, #condition) : (void)0)
#define WEIR_UNREACHABLE() weir_panic(__FILE__, __LINE__, "unreachable")

#endif

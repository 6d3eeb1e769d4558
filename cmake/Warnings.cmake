# SPDX-License-Identifier: Apache-2.0
# The warning set of the whole tree; clean in gcc 12 and clang 14. Warnings are errors.
set(weir_warnings
    -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef
    -Wvla -Wcast-qual -Wwrite-strings -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough
    -Wnull-dereference -Wdouble-promotion -Wpointer-arith)
if(CMAKE_C_COMPILER_ID MATCHES "Clang")
    list(APPEND weir_warnings -Wthread-safety)
endif()
option(WEIR_WERROR "Treat warnings as errors" ON)
if(WEIR_WERROR)
    list(APPEND weir_warnings -Werror)
endif()

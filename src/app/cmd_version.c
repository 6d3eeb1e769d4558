/* SPDX-License-Identifier: Apache-2.0
 *
 * weir version: which weir this is. The version stands in CMakeLists.txt and reaches the program as
 * WEIR_VERSION.
 */
#include <stdio.h>

#include "app/args.h"

int weir_cmd_version(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    puts("weir " WEIR_VERSION);
    return fflush(stdout) == 0 ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir lag: how far a pipeline is behind; the same table as `weir positions show`, under the name
 * that people look for.
 */
#include "app/args.h"
#include "app/positions.h"

int weir_cmd_lag(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    return weir_standing_show("lag", args.count > 0 ? args.operands[0] : NULL,
                              weir_args_get(&args, "format"));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir schema: the JSON Schema of pipeline files, for editors and validators.
 */
#include <stdio.h>

#include "app/args.h"
#include "app/builtin.h"
#include "conf/pipeline.h"
#include "conf/schema.h"

int weir_cmd_schema(int argc, char **argv)
{
    struct weir_args args;
    int code = WEIR_EXIT_OK;
    if (!weir_args_parse(&args, argc, argv, &code)) {
        return code;
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, (size_t)16 << 20);
    weir_schema_render(weir_pipeline_fields, weir_pipeline_rules, &weir_builtin_registry, &out);
    struct weir_slice text = weir_strbuf_view(&out);
    bool ok =
        !out.failed && fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
    weir_strbuf_done(&out);
    return ok ? WEIR_EXIT_OK : WEIR_EXIT_FAILED;
}

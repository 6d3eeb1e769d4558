/* SPDX-License-Identifier: Apache-2.0
 *
 * import and include.
 */
#ifndef WEIR_JQ_MODULES_H
#define WEIR_JQ_MODULES_H

#include "jq/scope.h"

/* Loads what the module imports and makes its names known. `origin` is the folder of the module's
 * file, NULL for the main program. False: reported. */
bool jq_modules_import(struct jq_resolver *self,
                       const struct jq_module *module,
                       const char *origin,
                       struct jq_place *place);

/* Makes the definitions of a file known as if the program began with them. False: reported. */
bool jq_modules_prelude(struct jq_resolver *self, const char *path, struct jq_place *place);
/* The file of the module, in the program's arena; NULL: reported, or optional (no error then). */
const char *
jq_module_find(struct jq_resolver *self, const struct jq_import *import, const char *origin);
/* False: reported. */
bool jq_module_read(struct jq_resolver *self,
                    const struct jq_import *import,
                    const char *path,
                    struct weir_slice *ret_text);
/* Metadata: a constant without computing. False when it is none. */
bool jq_module_constant(const struct jq_build *build,
                        const struct jq_node *node,
                        struct weir_value *ret);

#endif

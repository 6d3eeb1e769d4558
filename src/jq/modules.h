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

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Field tables as a JSON Schema (draft 7, which editors' language servers know best).
 */
#ifndef WEIR_CONF_SCHEMA_H
#define WEIR_CONF_SCHEMA_H

#include <weir/fields.h>
#include <weir/strbuf.h>

/* The schema of a whole file, with one definition per component of the registry. */
void weir_schema_render(const struct weir_field *fields,
                        const struct weir_rule *rules,
                        const struct weir_registry *registry,
                        struct weir_strbuf *out);

#endif

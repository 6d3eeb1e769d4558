/* SPDX-License-Identifier: Apache-2.0
 *
 * The components that are built in, as one table.
 */
#ifndef WEIR_APP_BUILTIN_H
#define WEIR_APP_BUILTIN_H

#include <weir/component.h>

/* The index-th, NULL behind the last. */
const struct weir_component *weir_builtin_at(size_t index);
extern const struct weir_registry weir_builtin_registry;

#endif

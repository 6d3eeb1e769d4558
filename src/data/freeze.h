/* SPDX-License-Identifier: Apache-2.0
 *
 * Deep copies of values into an arena, without reference counts: a program's constants, documents
 * that had to be rebuilt, results that outlive their evaluation.
 */
#ifndef WEIR_DATA_FREEZE_H
#define WEIR_DATA_FREEZE_H

#include <weir/arena.h>
#include <weir/value.h>

/* False when the arena is full. */
bool weir_value_freeze(struct weir_arena *arena,
                       struct weir_value value,
                       struct weir_value *ret_value);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * weir's jq as the compiler of expressions in configuration files.
 */
#ifndef WEIR_CONF_COMPILE_H
#define WEIR_CONF_COMPILE_H

#include "conf/bind.h"

extern const struct weir_compiler weir_jq_compiler;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * The limits of configuration files. Reaching one is an error at a place, never a crash. Together
 * they bound the configuration's arena, which therefore has no limit of its own.
 */
#ifndef WEIR_CONF_LIMITS_H
#define WEIR_CONF_LIMITS_H

#define WEIR_CONF_FILE_BYTES_MAX (1024 * 1024)
#define WEIR_CONF_DEPTH_MAX 64
#define WEIR_CONF_NODES_MAX 100000 /* aliases counted with all that they repeat */
#define WEIR_CONF_KEYS_MAX 1000    /* in one mapping */
#define WEIR_CONF_ANCHORS_MAX 1000
#define WEIR_CONF_VALUE_BYTES_MAX ((size_t)1024 * 1024)       /* one value after ${…} */
#define WEIR_CONF_VALUES_BYTES_MAX ((size_t)16 * 1024 * 1024) /* all that ${…} made of a file */
#define WEIR_CONF_SECRET_BYTES_MAX (64 * 1024)                /* a file named by ${file:…} */
#define WEIR_CONF_DIAGS_MAX 200
#define WEIR_CONF_FIELDS_MAX 96 /* rows in one table */

#endif

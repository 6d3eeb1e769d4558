/* SPDX-License-Identifier: Apache-2.0
 *
 * The Redis domain: each task's outputs, state and position in one EXEC (redis_commit.h).
 */
#ifndef WEIR_REDIS_TRANSACTION_H
#define WEIR_REDIS_TRANSACTION_H

#include <weir/component.h>

extern const struct weir_domain_ops redis_transaction_ops;

/* What a task's commit should hold at most. It grows a batch beyond. */
enum { REDIS_COMMIT_BYTES = 2 << 20, REDIS_COMMIT_COMMANDS = 10000 };

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * `singleton: true`: of all processes that run the pipeline one works, whoever has a lease that one
 * of its systems keeps; the others stand by. A thread keeps the lease (base/lease.h). Losing it
 * ends the work at once and before anybody else may begin; nothing is committed afterwards. What a
 * system checks itself (a transaction, the position of a Redis stream) is fenced there as well.
 */
#ifndef WEIR_ENGINE_LEADER_H
#define WEIR_ENGINE_LEADER_H

#include <stdbool.h>

#include <weir/status.h>

struct weir_engine;
struct weir_leader;

/* Begins to ask for the lease. NULL: there is none to ask for, or err says why not. control. */
struct weir_leader *weir_leader_start(struct weir_engine *engine, struct weir_err *err);
/* Gives the lease back. The pipeline must not work any more. control. */
void weir_leader_stop(struct weir_leader *leader);
/* This process has it, now. leader may be NULL: then always. control. */
bool weir_leader_leads(struct weir_leader *leader);
/* The work has ended because the lease is lost; asks for it again. control. */
void weir_leader_yield(struct weir_leader *leader);
/* The keeper's last round reached the system. Any thread. */
bool weir_leader_is_sound(const struct weir_leader *leader);
/* Why there can never be one; false. control. */
bool weir_leader_has_failed(struct weir_leader *leader, struct weir_err *err);

#endif

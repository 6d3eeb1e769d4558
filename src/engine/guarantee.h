/* SPDX-License-Identifier: Apache-2.0
 *
 * What a planned pipeline can promise, and whether that is what its user wants.
 */
#ifndef WEIR_ENGINE_GUARANTEE_H
#define WEIR_ENGINE_GUARANTEE_H

#include "conf/pipeline.h"
#include "engine/plan.h"

/* Judges every edge and takes the weakest, for a plan that is not one transaction: `guarantee` and
 * `why` of the edges and of the plan. */
void weir_guarantee_judge(struct weir_plan *plan, const struct weir_pipeline_config *config);

/* Lowers the plan to what `guarantee:` asks for; WEIR_CONFIG where it cannot be had. */
WEIR_MUST_USE weir_status weir_guarantee_grant(struct weir_plan *plan,
                                               const struct weir_pipeline_config *config,
                                               struct weir_err *err);

#endif

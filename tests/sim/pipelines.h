/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipelines that the tests of the simulator share.
 */
#ifndef WEIR_TESTS_SIM_PIPELINES_H
#define WEIR_TESTS_SIM_PIPELINES_H

#include "world.h"

extern const struct sim_spec sim_pipelines[];
extern const size_t sim_pipeline_count;
/* With an exchange in memory: for one process at a time, and always in transactions. */
extern const struct sim_spec sim_exchange, sim_exchange_questions;

/* And through a topic: for several processes, too. */
extern const struct sim_spec sim_exchange_topic;

#endif

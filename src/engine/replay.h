/* SPDX-License-Identifier: Apache-2.0
 *
 * Does a pipeline make the same outputs again from the same inputs? Then an output can be known by
 * the input that it comes from, and a target that drops repeats sees it once.
 */
#ifndef WEIR_ENGINE_REPLAY_H
#define WEIR_ENGINE_REPLAY_H

#include "conf/pipeline.h"

/* True: it may make others; `why` gets a few words, such as "an expression that is not
 * deterministic (now)". */
bool weir_replay_differs(const struct weir_pipeline_config *config, char *why, size_t size);

#endif

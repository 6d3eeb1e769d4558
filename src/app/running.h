/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a loaded pipeline to its end, for `weir run` and `weir pipe`.
 */
#ifndef WEIR_APP_RUNNING_H
#define WEIR_APP_RUNNING_H

#include "app/loading.h"

/* Before anything is loaded: signals are caught from here on, failpoints of the environment armed.
 * False: told, wrong use. */
bool weir_running_prepare(const char *command);
/* Reports what was wrong, or runs the pipeline; returns the exit code. */
int weir_running_loaded(struct weir_loading *loading, bool is_sound);
/* The same of the pipeline of a file, which is read again on SIGHUP and, if watches, when it
 * changes. After weir_reload_catch. */
int weir_running_file(struct weir_loading *loading, bool is_sound, const char *path, bool watches);

#endif

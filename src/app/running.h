/* SPDX-License-Identifier: Apache-2.0
 *
 * Running loaded pipelines to their end, for `weir run` and `weir pipe`.
 */
#ifndef WEIR_APP_RUNNING_H
#define WEIR_APP_RUNNING_H

#include "app/loading.h"

/* Before anything is loaded: signals are caught from here on, failpoints of the environment armed.
 * False: told, wrong use. */
bool weir_running_prepare(const char *command);
enum { WEIR_PIPELINES_MAX = 64 };

/* A pipeline that is to run. */
struct weir_running {
    struct weir_loading *loading;
    bool is_sound;    /* as loading said */
    const char *path; /* the file, read again on SIGHUP and, if it is watched, when it changes
                         (weir_reload_catch before); NULL: there is none to read again */
};

/* Reports what is wrong in any of them, or runs them together; returns the exit code. */
int weir_running_run(struct weir_running *what, size_t count, bool watches);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * From a file, or the environment, to a pipeline that can run; what is wrong goes to the user.
 */
#ifndef WEIR_APP_LOADING_H
#define WEIR_APP_LOADING_H

#include <weir/component.h>

#include "conf/pipeline.h"
#include "conf/text.h"
#include "engine/plan.h"
#include "http/listen.h"

struct weir_loading {
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_loaded *loaded; /* NULL: errors */
    bool connects;              /* set after init: tries the systems too, once the file is sound */
};

extern const struct weir_surroundings weir_app_surroundings;

void weir_loading_init(struct weir_loading *loading);
void weir_loading_done(struct weir_loading *loading);
/* path == NULL: from the environment. False: errors in diags. Checks what components can check
 * without connecting, and that the guarantee can be had; fills *ret_plan. */
bool weir_loading_pipeline(struct weir_loading *loading,
                           const char *path,
                           struct weir_plan *ret_plan);
/* The same of a text that a command has made. */
bool weir_loading_text(struct weir_loading *loading,
                       struct weir_text *text,
                       struct weir_plan *ret_plan);
/* Where the admin server is to listen; ->off: nowhere. */
WEIR_MUST_USE weir_status weir_loading_listen(const struct weir_loaded *loaded,
                                              struct weir_http_listen *ret_listen,
                                              struct weir_err *err);
/* Adds an error about the value of a member, where it is written. */
void weir_loading_fault(struct weir_loading *loading,
                        const void *member,
                        const char *path,
                        struct weir_err *err);
/* Prints all diagnostics to stderr, as text. */
void weir_loading_report(struct weir_loading *loading);

#endif

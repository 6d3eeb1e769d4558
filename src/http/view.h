/* SPDX-License-Identifier: Apache-2.0
 *
 * All that the admin server knows of the engine. The functions are called on the HTTP thread, one
 * at a time, between weir_http_start and the return of weir_http_stop; they must not block: they
 * read what the engine publishes.
 */
#ifndef WEIR_HTTP_VIEW_H
#define WEIR_HTTP_VIEW_H

#include <stdbool.h>

#include <weir/strbuf.h>

#include "engine/inquiry.h"

struct weir_view {
    void *context;
    /* False: the process should be restarted. Appends reasons, one per line, each a sentence
     * without a full stop. NULL: answering is proof enough. */
    bool (*live)(void *context, struct weir_strbuf *reasons);
    /* False: not yet, or not now, able to do its work; reasons as above. */
    bool (*ready)(void *context, struct weir_strbuf *reasons);
    /* Appends one JSON value. */
    void (*status)(void *context, struct weir_strbuf *out);
    /* Appends the text exposition (weir_metrics_render). */
    void (*metrics)(void *context, struct weir_strbuf *out);
    /* Appends one JSON value: what is kept, as of the last commit. */
    void (*state)(void *context, struct weir_strbuf *out);
    /* Asks a pipeline (NULL: the only one) for what a step (NULL: all) keeps of a key. NULL: it
     * cannot be asked: an HTTP status and why. */
    struct weir_inquiry *(*ask)(void *context,
                                const char *pipeline,
                                const char *step,
                                const char *key,
                                unsigned *ret_status,
                                const char **ret_why);
};

#endif

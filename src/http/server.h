/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin server: metrics, health and status over HTTP, on one thread of its own.
 */
#ifndef WEIR_HTTP_SERVER_H
#define WEIR_HTTP_SERVER_H

#include <stdint.h>

#include <weir/log.h>
#include <weir/status.h>

#include "http/listen.h"
#include "http/view.h"

enum {
    WEIR_HTTP_HEADERS_MAX = 8 * 1024, /* request line and headers, bytes */
    WEIR_HTTP_BODY_MAX = 64 * 1024,
    WEIR_HTTP_CONNECTIONS_MAX = 32,
    WEIR_HTTP_TIMEOUT_MS = 5000, /* from a connection's or request's begin to the answer's end */
    WEIR_HTTP_PATIENCE_MS = 4000, /* of it, for an answer of the engine; longer than it promises */
    WEIR_HTTP_LOOK_MS = 5,        /* how often it is looked for */
};

struct weir_http;

/* Listens and starts the thread. listen must not be off. view, log and their parts are borrowed
 * until weir_http_stop. When the port is taken and listen->exact is false, a free one is taken;
 * which one is logged. WEIR_UNAVAILABLE: the port is taken; WEIR_DENIED: it may not be used. */
WEIR_MUST_USE weir_status weir_http_start(const struct weir_http_listen *listen,
                                          const struct weir_view *view,
                                          const struct weir_log *log,
                                          struct weir_http **ret_http,
                                          struct weir_err *err);
/* The port that it listens on. */
uint16_t weir_http_port(const struct weir_http *http);
/* Closes all connections and joins the thread; NULL is ignored. */
void weir_http_stop(struct weir_http *http);

#endif

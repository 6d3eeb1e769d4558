/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be asked: one table of paths, read by the server, the index and the reference.
 */
#ifndef WEIR_HTTP_ROUTES_H
#define WEIR_HTTP_ROUTES_H

#include <stdbool.h>

#include <weir/strbuf.h>

#include "http/view.h"

/* The largest answer. */
enum { WEIR_HTTP_ANSWER_MAX = 64 * 1024 * 1024 };

struct weir_http_route {
    const char *path, *type, *summary;
    /* Appends the body and returns the HTTP status. NULL: the engine is asked (view->ask). */
    unsigned (*answer)(const struct weir_view *view, struct weir_strbuf *out);
    bool is_open; /* without the token */
};

/* Exact match; NULL: no such path. */
const struct weir_http_route *weir_http_route_find(const char *path);
/* docs/reference/http.md. */
void weir_http_docs(struct weir_strbuf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * A question to the admin server of a running process: one GET, one answer.
 */
#ifndef WEIR_APP_ADMIN_CLIENT_H
#define WEIR_APP_ADMIN_CLIENT_H

#include <weir/status.h>
#include <weir/strbuf.h>

/* Appends text to the query of an URL, escaped. */
void weir_admin_escape(const char *text, struct weir_strbuf *out);

/* base: "http://HOST:PORT" or "HOST:PORT", an IPv6 host in brackets; path begins with "/". token:
 * NULL, or what http.token says. Appends the answer's body when the server says 200; otherwise
 * fails with its words. WEIR_CONFIG: no such URL; WEIR_UNAVAILABLE: nobody answers; WEIR_DENIED:
 * another token; WEIR_REJECTED: it says no. Answers within ten seconds. */
WEIR_MUST_USE weir_status weir_admin_get(const char *base,
                                         const char *path,
                                         const char *token,
                                         struct weir_strbuf *out,
                                         struct weir_err *err);

#endif

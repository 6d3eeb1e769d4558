/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the admin server listens, and by which names it may be asked.
 *
 * Without a token or clients' certificates everything it tells is for the machine it runs on: only
 * loopback addresses are accepted. A web page in a browser on that machine could still reach it
 * under a name of its own that resolves to 127.0.0.1 (DNS rebinding), so requests must name the
 * server by a loopback address, by "localhost", or by the host that was configured; where other
 * machines reach it, any address will do, for an address cannot be rebound.
 */
#ifndef WEIR_HTTP_LISTEN_H
#define WEIR_HTTP_LISTEN_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/status.h>

#include "conf/pipeline.h"

enum { WEIR_HTTP_PORT = 9600 };

struct weir_http_listen {
    bool off;
    char host[64];     /* as written: an address without brackets, or "localhost" */
    uint16_t port;     /* 0: a free one */
    bool exact;        /* the port was written: if it is taken, that is an error */
    bool elsewhere;    /* other machines may reach it */
    const char *token; /* asked for by all but health and metrics; NULL: none. Borrowed */
    const struct weir_http_tls *tls; /* NULL: not encrypted. Borrowed */
};

/* 127.0.0.1:9600, or a free port if that is taken. */
struct weir_http_listen weir_http_listen_default(void);

/* "HOST:PORT", "HOST", ":PORT" or "off"; HOST is an IPv4 address, an IPv6 address in brackets, or
 * "localhost". WEIR_CONFIG for anything else, and for addresses that are not loopback when
 * nothing guards them: no token, and no TLS by whose certificates clients are known. */
WEIR_MUST_USE weir_status weir_http_listen_parse(struct weir_slice text,
                                                 const char *token,
                                                 const struct weir_http_tls *tls,
                                                 struct weir_http_listen *ret_listen,
                                                 struct weir_err *err);

bool weir_http_listen_equal(const struct weir_http_listen *a, const struct weir_http_listen *b);

/* Is this Authorization header (NULL: none) "Bearer" and the token? Takes as long whatever it
 * is. */
bool weir_http_token_matches(const char *token, const char *authorization);

/* May a request with this Host header be answered? */
bool weir_http_host_allowed(const struct weir_http_listen *listen, const char *host_header);

#endif

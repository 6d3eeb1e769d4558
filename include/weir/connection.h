/* SPDX-License-Identifier: Apache-2.0
 *
 * What components that speak to a server over a network share: the block `tls:`. Its table is here
 * once, so that every system is configured, checked and documented alike; what a client library
 * cannot do by itself the component does (see kafka_client.c) or refuses in its check().
 *
 *     struct example_config { const char *url; struct weir_tls *tls; };
 *     WEIR_F_TLS(S, tls),          NULL when the user wrote no `tls:`
 *
 * A component whose library takes an OpenSSL session uses weir_tls_session_new; one whose library
 * wants file names calls weir_tls_check first, for errors that say which file and why.
 *
 * Logins differ too much for one table, but have one form: a block `auth:` with WEIR_CONNECTION,
 * with `user` and `password` where the system has them.
 */
#ifndef WEIR_CONNECTION_H
#define WEIR_CONNECTION_H

#include <weir/fields.h>
#include <weir/status.h>

enum weir_tls_version { WEIR_TLS_1_2 = 1, WEIR_TLS_1_3 };

struct weir_tls {
    const char *ca, *cert, *key, *key_password, *server_name; /* may be NULL */
    bool verify;
    int min_version; /* enum weir_tls_version */
};

extern const struct weir_field weir_tls_fields[];
extern const struct weir_rule weir_tls_rules[];

/* m: a member of type struct weir_tls *. */
#define WEIR_F_TLS(S, m)                                                                           \
    WEIR_F_NAMED(S, m, "tls", OBJECT_PTR, struct weir_tls *, .children = weir_tls_fields,          \
                 .rules = weir_tls_rules, .item_size = sizeof(struct weir_tls),                    \
                 .flags = WEIR_CONNECTION,                                                         \
                 .help = "Encrypts the connection and checks the server's certificate. `tls: {}` " \
                         "trusts the system's authorities.")

/* Can the files be read, and does the key belong to the certificate? WEIR_CONFIG with err->path
 * ("tls.ca") otherwise. NULL: nothing to check. Any thread. */
WEIR_MUST_USE weir_status weir_tls_check(const struct weir_tls *tls, struct weir_err *err);

/* A client's session of OpenSSL (an SSL *, the caller's to free) that asks for the host and will
 * accept only a certificate of its name, unless the block says otherwise. NULL and err: WEIR_CONFIG
 * as weir_tls_check. Any thread. */
struct ssl_st;
struct ssl_st *
weir_tls_session_new(const struct weir_tls *tls, const char *host, struct weir_err *err);

/* Why the handshake of such a session failed: WEIR_DENIED for a certificate that is not accepted,
 * here or by the server, and for no version or cipher in common; else WEIR_UNAVAILABLE. Fills err,
 * returns its status. The thread that shook hands. */
weir_status weir_tls_fail(const struct ssl_st *session, const char *host, struct weir_err *err);

#endif

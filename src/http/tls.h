/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin server's end of TLS: what is read from files at its start, and whether a client showed
 * a certificate that is good. The library underneath speaks GnuTLS, so this does too.
 */
#ifndef WEIR_HTTP_TLS_H
#define WEIR_HTTP_TLS_H

#include <stdbool.h>

#include <weir/status.h>

#include "conf/pipeline.h"

/* Texts of PEM files. */
struct weir_http_tls_files {
    char *cert, *key, *clients; /* clients: NULL, no client is known by a certificate */
};

/* Reads and tries them. WEIR_CONFIG and err->path otherwise. */
WEIR_MUST_USE weir_status weir_http_tls_read(const struct weir_http_tls *config,
                                             struct weir_http_tls_files *ret_files,
                                             struct weir_err *err);
void weir_http_tls_forget(struct weir_http_tls_files *files);

/* session: a gnutls_session_t. Did the client show a certificate of the authorities in `clients`,
 * for a client's use, whose time it is? */
bool weir_http_tls_knows(void *session);

#endif

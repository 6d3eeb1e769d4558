/* SPDX-License-Identifier: Apache-2.0
 *
 * A client's certificate is asked for but not demanded in the handshake: health and metrics are for
 * everybody, as they are with a token, and a probe has no certificate. What else is asked for
 * without a good one is refused by the server, with an answer that says so.
 */
#include "http/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

enum { FILE_MAX = 1 << 20 };

static weir_status
fail_at(struct weir_err *err, const char *field, const char *path, const char *reason)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "%s: %s", path, reason);
    weir_err_path(err, field);
    weir_err_path(err, "http.tls");
    return status;
}

static weir_status
read_file(const char *field, const char *path, char **ret_text, struct weir_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return fail_at(err, field, path, strerror(error));
    }
    char *text = weir_calloc(1, FILE_MAX + 1);
    ssize_t size = S_ISREG(about.st_mode) ? read(fd, text, FILE_MAX) : -1;
    close(fd);
    if (size <= 0) {
        weir_free(text);
        return fail_at(err, field, path, "the file cannot be used");
    }
    *ret_text = weir_strndup(text, (size_t)size);
    explicit_bzero(text, FILE_MAX);
    weir_free(text);
    return WEIR_OK;
}

static gnutls_datum_t datum_of(char *text)
{
    return (gnutls_datum_t){(unsigned char *)text, (unsigned)strlen(text)};
}

/* The library would only say that it cannot start. */
static weir_status try_files(const struct weir_http_tls *config,
                             const struct weir_http_tls_files *files,
                             struct weir_err *err)
{
    gnutls_certificate_credentials_t credentials;
    if (gnutls_certificate_allocate_credentials(&credentials) != GNUTLS_E_SUCCESS) {
        return weir_fail(err, WEIR_FATAL, "out of memory");
    }
    gnutls_datum_t cert = datum_of(files->cert), key = datum_of(files->key);
    weir_status status = WEIR_OK;
    int code = gnutls_certificate_set_x509_key_mem(credentials, &cert, &key, GNUTLS_X509_FMT_PEM);
    if (code < 0) {
        status = fail_at(err, "cert", config->cert, gnutls_strerror(code));
        weir_err_hint(err, "`cert` and `key` are PEM files of a certificate and its key.");
    }
    if (status == WEIR_OK && files->clients != NULL) {
        gnutls_datum_t clients = datum_of(files->clients);
        if (gnutls_certificate_set_x509_trust_mem(credentials, &clients, GNUTLS_X509_FMT_PEM) < 1) {
            status = fail_at(err, "clients", config->clients, "there is no certificate in it");
        }
    }
    gnutls_certificate_free_credentials(credentials);
    return status;
}

weir_status weir_http_tls_read(const struct weir_http_tls *config,
                               struct weir_http_tls_files *ret_files,
                               struct weir_err *err)
{
    *ret_files = (struct weir_http_tls_files){0};
    weir_status status = read_file("cert", config->cert, &ret_files->cert, err);
    if (status == WEIR_OK) {
        status = read_file("key", config->key, &ret_files->key, err);
    }
    if (status == WEIR_OK && config->clients != NULL) {
        status = read_file("clients", config->clients, &ret_files->clients, err);
    }
    if (status == WEIR_OK) {
        status = try_files(config, ret_files, err);
    }
    if (status != WEIR_OK) {
        weir_http_tls_forget(ret_files);
    }
    return status;
}

void weir_http_tls_forget(struct weir_http_tls_files *files)
{
    if (files->key != NULL) {
        explicit_bzero(files->key, strlen(files->key));
    }
    weir_free(files->cert);
    weir_free(files->key);
    weir_free(files->clients);
    *files = (struct weir_http_tls_files){0};
}

bool weir_http_tls_knows(void *session)
{
    unsigned count = 0, verdict = 0;
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                    .data = (unsigned char *)purpose};
    return gnutls_certificate_get_peers(session, &count) != NULL && count > 0 &&
           gnutls_certificate_verify_peers(session, &wanted, 1, &verdict) == GNUTLS_E_SUCCESS &&
           verdict == 0;
}

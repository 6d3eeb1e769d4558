/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of `tls:`, and clients' sessions made of it with OpenSSL. Nothing is taken from the
 * environment of the machine but its authorities: the least version is set in any case, so that
 * what a distribution allows does not decide it.
 *
 * A certificate that is not accepted is the configuration's fault on one side or the other. No
 * retry mends it, so it is told apart from a connection that merely broke.
 */
#include <weir/connection.h>

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"

static const struct weir_choice version_choices[] = {
    {"tls1.2", WEIR_TLS_1_2, "TLS 1.2 and newer."},
    {"tls1.3", WEIR_TLS_1_3, "TLS 1.3 and newer."},
    WEIR_CHOICES_END,
};

const struct weir_rule weir_tls_rules[] = {
    {WEIR_RULE_NEEDS, {"cert", "key"}, "Name the file with the certificate's private key."},
    {WEIR_RULE_NEEDS, {"key", "cert"}, "Name the file with the key's certificate."},
    {WEIR_RULE_NEEDS, {"key_password", "key"}, "Name the file with the private key."},
    WEIR_RULES_END,
};

// clang-format off
#define S struct weir_tls
const struct weir_field weir_tls_fields[] = {
    WEIR_F_STR(S, ca, .elsewhere = "ca_file,cafile,ca_cert,root_cas_file,ssl.ca.location", .unset = "the system's authorities", .example = "/etc/weir/ca.pem",
               .help = "File with the certificates of the authorities to trust."),
    WEIR_F_STR(S, cert, .elsewhere = "cert_file,crt_file,certificate", .example = "/etc/weir/client.pem",
               .help = "File with the client's certificate, for mutual TLS."),
    WEIR_F_STR(S, key, .elsewhere = "key_file,private_key", .example = "/etc/weir/client.key",
               .help = "File with the client's private key."),
    WEIR_F_STR(S, key_password, .flags = WEIR_SECRET, .help = "Password of the private key."),
    WEIR_F_STR(S, server_name, .min = 1, .max = 253, .unset = "the host that is connected to",
               .example = "kafka.example.com",
               .help = "The name that the server's certificate must carry."),
    WEIR_F_BOOL(S, verify, .fallback = "true",
                .help = "Checks the server's certificate and name. `false` lets anybody between you "
                        "and the server read and change everything."),
    WEIR_F_ENUM(S, min_version, version_choices, .fallback = "tls1.2",
                .help = "The oldest version that is spoken."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* --- the files ---------------------------------------------------------------------------------*/

static weir_status
fail_at(struct weir_err *err, const char *field, const char *path, const char *reason)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "%s: %s", path, reason);
    weir_err_path(err, field);
    weir_err_path(err, "tls");
    return status;
}

static const char *library_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code == 0 ? NULL : ERR_reason_error_string(code);
    return reason == NULL ? "the file cannot be used" : reason;
}

static bool can_read(const char *field, const char *path, struct weir_err *err)
{
    if (path != NULL && access(path, R_OK) != 0) {
        (void)!fail_at(err, field, path, strerror(errno));
        return false;
    }
    return true;
}

static int give_password(char *buffer, int size, int writing, void *context)
{
    (void)writing;
    const char *password = context;
    size_t length = password == NULL ? 0 : strlen(password);
    if (length == 0 || length > (size_t)size) {
        return 0;
    }
    memcpy(buffer, password, length);
    return (int)length;
}

static weir_status
context_load(SSL_CTX *context, const struct weir_tls *tls, bool has_password, struct weir_err *err)
{
    if (!can_read("ca", tls->ca, err) || !can_read("cert", tls->cert, err) ||
        !can_read("key", tls->key, err)) {
        return err->status;
    }
    if (tls->ca == NULL ? SSL_CTX_set_default_verify_paths(context) != 1
                        : SSL_CTX_load_verify_file(context, tls->ca) != 1) {
        return fail_at(err, "ca", tls->ca == NULL ? "the system's authorities" : tls->ca,
                       "there is no certificate in it");
    }
    if (tls->cert == NULL) {
        return WEIR_OK;
    }
    if (SSL_CTX_use_certificate_chain_file(context, tls->cert) != 1) {
        return fail_at(err, "cert", tls->cert, "there is no certificate in it");
    }
    if (SSL_CTX_use_PrivateKey_file(context, tls->key, SSL_FILETYPE_PEM) != 1) {
        bool is_mismatch = ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH;
        weir_status status =
            fail_at(err, "key", tls->key,
                    is_mismatch ? "the key does not belong to the certificate" : library_reason());
        if (!is_mismatch) {
            weir_err_hint(err, has_password
                                   ? "Is `tls.key_password` the key's?"
                                   : "A key that has a password needs `tls.key_password`.");
        }
        return status;
    }
    return WEIR_OK;
}

static SSL_CTX *context_new(const struct weir_tls *tls, struct weir_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    WEIR_ASSERT(context != NULL);
    ERR_clear_error();
    int version = tls->min_version == WEIR_TLS_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    WEIR_ASSERT(SSL_CTX_set_min_proto_version(context, version) == 1);
    SSL_CTX_set_default_passwd_cb(context, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, (void *)(uintptr_t)tls->key_password);
    SSL_CTX_set_verify(context, tls->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    weir_status status = context_load(context, tls, tls->key_password != NULL, err);
    ERR_clear_error();
    if (status != WEIR_OK) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

weir_status weir_tls_check(const struct weir_tls *tls, struct weir_err *err)
{
    if (tls == NULL) {
        return WEIR_OK;
    }
    SSL_CTX *context = context_new(tls, err);
    SSL_CTX_free(context);
    return context == NULL ? err->status : WEIR_OK;
}

/* --- sessions ----------------------------------------------------------------------------------*/

/* What SSL_set_tlsext_host_name does; that macro casts const away. */
static bool session_asks_for(SSL *session, const char *name)
{
    return SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)name) == 1;
}

SSL *weir_tls_session_new(const struct weir_tls *tls, const char *host, struct weir_err *err)
{
    SSL_CTX *context = context_new(tls, err);
    if (context == NULL) {
        return NULL;
    }
    SSL *session = SSL_new(context);
    SSL_CTX_free(context); /* the session keeps it */
    WEIR_ASSERT(session != NULL);
    const char *name = tls->server_name != NULL ? tls->server_name : host;
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address =
        inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
    int ok = is_address ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name)
                        : SSL_set1_host(session, name) == 1 && session_asks_for(session, name);
    if (ok != 1) {
        SSL_free(session);
        (void)!weir_fail(err, WEIR_CONFIG, "\"%s\" is no name of a server", name);
        return NULL;
    }
    return session;
}

weir_status weir_tls_fail(const SSL *session, const char *host, struct weir_err *err)
{
    unsigned long code = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(session);
    const char *reason = ERR_reason_error_string(code);
    bool is_protocol = ERR_GET_LIB(code) == ERR_LIB_SSL;
    ERR_clear_error();
    if (verdict != X509_V_OK && SSL_get_verify_mode(session) != SSL_VERIFY_NONE) {
        (void)!weir_fail(err, WEIR_DENIED, "the certificate of %s is not accepted: %s", host,
                         X509_verify_cert_error_string(verdict));
        weir_err_hint(err, verdict == X509_V_ERR_HOSTNAME_MISMATCH ||
                                   verdict == X509_V_ERR_IP_ADDRESS_MISMATCH
                               ? "If it is the right server, write the certificate's name as "
                                 "`tls.server_name`."
                           : verdict == X509_V_ERR_CERT_HAS_EXPIRED
                               ? "The server needs a new certificate."
                               : "Name the file of its authority as `tls.ca`.");
        return WEIR_DENIED;
    }
    if (is_protocol && reason != NULL) {
        (void)!weir_fail(err, WEIR_DENIED, "no TLS with %s: %s", host, reason);
        weir_err_hint(err, "Check `tls` (cert, key, min_version), and that the port speaks TLS.");
        return WEIR_DENIED;
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "no TLS with %s: no answer; does this port speak TLS?",
                     host);
}

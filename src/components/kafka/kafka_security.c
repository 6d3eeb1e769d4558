/* SPDX-License-Identifier: Apache-2.0
 *
 * Two things librdkafka has no setting for. It compares certificates with the broker's host only:
 * another name is compared here, when it shows the certificate. And it speaks every version that
 * OpenSSL does: for TLS 1.3 alone the suites of older versions are set to one that no client
 * without a pre-shared key can use, so that nothing older is left to offer.
 *
 * A token is read from its file whenever librdkafka asks for one, which it does at four fifths of
 * the last one's life: whoever renews the file needs to tell nobody.
 */
#include "kafka_security.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir/json.h>
#include <weir/strbuf.h>

enum { TOKEN_MAX = 64 * 1024 };
enum { OPAQUE_TOKEN_LIFE_MS = 10 * 60 * 1000 }; /* of a token that does not tell its end */
enum { MECHANISM_PLAIN, MECHANISM_SCRAM_256, MECHANISM_SCRAM_512, MECHANISM_OAUTHBEARER };

static const struct weir_choice mechanism_choices[] = {
    {"plain", MECHANISM_PLAIN, "User and password as they are; use it with TLS only."},
    {"scram-sha-256", MECHANISM_SCRAM_256, "Salted challenge, SHA-256."},
    {"scram-sha-512", MECHANISM_SCRAM_512, "Salted challenge, SHA-512."},
    {"oauthbearer", MECHANISM_OAUTHBEARER, "A token (OAuth 2); use it with TLS only."},
    WEIR_CHOICES_END,
};

static const char *const mechanism_names[] = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512",
                                              "OAUTHBEARER"};

// clang-format off
#define S struct kafka_auth
const struct weir_field kafka_auth_fields[] = {
    WEIR_F_ENUM(S, mechanism, mechanism_choices, .fallback = "scram-sha-512",
                .elsewhere = "sasl.mechanism,sasl_mechanism,type", .help = "The SASL mechanism."),
    WEIR_F_STR(S, user, .min = 1, .max = 1024, .example = "weir", .elsewhere = "username,login",
               .help = "User name (plain, scram)."),
    WEIR_F_STR(S, password, .flags = WEIR_SECRET, .example = "${file:/run/secrets/kafka}",
               .help = "Password (plain, scram)."),
    WEIR_F_STR(S, token, .flags = WEIR_SECRET, .min = 1, .max = TOKEN_MAX, .example = "${TOKEN}",
               .help = "The token (oauthbearer)."),
    WEIR_F_STR(S, token_file, .min = 1, .max = 4095, .example = "/run/secrets/kafka-token",
               .help = "File with the token (oauthbearer). It is read again before the last one "
                       "ends, so whatever renews it only has to replace the file."),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

const struct weir_rule kafka_auth_rules[] = {
    {WEIR_RULE_NEEDS, {"user", "password"}, "For example `password: ${file:/run/secrets/kafka}`."},
    {WEIR_RULE_NEEDS, {"password", "user"}, "For example `user: weir`."},
    {WEIR_RULE_AT_MOST_ONE, {"token", "token_file"}, "Write one of them."},
    WEIR_RULES_END,
};

/* --- what is written ---------------------------------------------------------------------------*/

static weir_status fail_at(struct weir_err *err, const char *field, const char *message)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "%s", message);
    weir_err_path(err, field);
    weir_err_path(err, "auth");
    return status;
}

weir_status kafka_security_check(const struct kafka_security *security, struct weir_err *err)
{
    const struct kafka_auth *auth = security->auth;
    if (auth == NULL) {
        return WEIR_OK;
    }
    bool has_token = auth->token != NULL || auth->token_file != NULL;
    if (auth->mechanism == MECHANISM_OAUTHBEARER) {
        if (auth->user != NULL || auth->password != NULL) {
            return fail_at(err, auth->user != NULL ? "user" : "password",
                           "oauthbearer logs in with a token, not with user and password");
        }
        return has_token
                   ? WEIR_OK
                   : fail_at(err, "mechanism", "oauthbearer needs \"token\" or \"token_file\"");
    }
    if (has_token) {
        weir_status status = fail_at(err, auth->token != NULL ? "token" : "token_file",
                                     "a token is for the mechanism oauthbearer");
        weir_err_hint(err, "Write `mechanism: oauthbearer`.");
        return status;
    }
    if (auth->user == NULL) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "auth needs \"user\" and \"password\"");
        weir_err_path(err, "auth");
        return status;
    }
    return WEIR_OK;
}

static weir_status
set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_err *err)
{
    char text[256];
    if (value == NULL ||
        rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK) {
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_CONFIG, "%s", text);
}

/* An otherwise empty list is refused, and this one is never usable. */
static const char *suites_before_tls13(const struct weir_tls *tls)
{
    return tls->min_version == WEIR_TLS_1_3 ? "PSK-AES256-GCM-SHA384" : NULL;
}

weir_status kafka_security_set(const struct kafka_security *security,
                               rd_kafka_conf_t *conf,
                               struct weir_err *err)
{
    const struct weir_tls *tls = security->tls;
    const struct kafka_auth *auth = security->auth;
    const char *protocol = tls == NULL ? (auth == NULL ? "plaintext" : "sasl_plaintext")
                                       : (auth == NULL ? "ssl" : "sasl_ssl");
    weir_status status = set(conf, "security.protocol", protocol, err);
    if (status == WEIR_OK && tls != NULL) {
        bool by_host = tls->verify && tls->server_name == NULL;
        const char *const rows[][2] = {
            {"ssl.ca.location", tls->ca},
            {"ssl.certificate.location", tls->cert},
            {"ssl.key.location", tls->key},
            {"ssl.key.password", tls->key_password},
            {"ssl.cipher.suites", suites_before_tls13(tls)},
            {"enable.ssl.certificate.verification", tls->verify ? "true" : "false"},
            {"ssl.endpoint.identification.algorithm", by_host ? "https" : "none"},
        };
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && status == WEIR_OK; i++) {
            status = set(conf, rows[i][0], rows[i][1], err);
        }
    }
    if (status == WEIR_OK && auth != NULL) {
        status = set(conf, "sasl.mechanism", mechanism_names[auth->mechanism], err);
        status = status == WEIR_OK ? set(conf, "sasl.username", auth->user, err) : status;
        status = status == WEIR_OK ? set(conf, "sasl.password", auth->password, err) : status;
    }
    return status;
}

const char *kafka_security_keeps(const struct kafka_security *security, const char *property)
{
    return security->tls != NULL && suites_before_tls13(security->tls) != NULL &&
                   strcmp(property, "ssl.cipher.suites") == 0
               ? "with `tls.min_version: tls1.3` no older suite is used"
               : NULL;
}

/* --- certificates ------------------------------------------------------------------------------*/

const char *kafka_security_judge(const struct kafka_security *security,
                                 int x509_error,
                                 int depth,
                                 const char *certificate,
                                 size_t size)
{
    if (x509_error != X509_V_OK) {
        return X509_verify_cert_error_string(x509_error);
    }
    const char *name = security->tls == NULL ? NULL : security->tls->server_name;
    if (name == NULL || depth > 0) {
        return NULL;
    }
    const unsigned char *bytes = (const unsigned char *)certificate;
    X509 *parsed = d2i_X509(NULL, &bytes, (long)size);
    bool fits = parsed != NULL && (X509_check_host(parsed, name, strlen(name), 0, NULL) == 1 ||
                                   X509_check_ip_asc(parsed, name, 0) == 1);
    X509_free(parsed);
    return fits ? NULL : "the certificate does not carry tls.server_name";
}

/* --- tokens ------------------------------------------------------------------------------------*/

static weir_status read_token(const char *path, char *buffer, struct weir_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, buffer, TOKEN_MAX);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (size < 0) {
        return weir_fail(err, WEIR_DENIED, "%s: %s", path, strerror(error));
    }
    while (size > 0 && strchr(" \t\r\n", buffer[size - 1]) != NULL) {
        size--;
    }
    buffer[size] = '\0';
    return size > 0 ? WEIR_OK : weir_fail(err, WEIR_DENIED, "%s is empty", path);
}

/* The claims of a JSON Web Token, NULL if it is none: what stands between its two dots. */
static struct weir_value claims_of(struct weir_arena *arena, const char *token)
{
    const char *begin = strchr(token, '.');
    const char *end = begin == NULL ? NULL : strchr(begin + 1, '.');
    struct weir_value claims = weir_value_null();
    if (end == NULL) {
        return claims;
    }
    size_t size = (size_t)(end - begin - 1);
    size_t padded = (size + 3) / 4 * 4;
    unsigned char *text = weir_arena_alloc(arena, padded + 1);
    unsigned char *json = weir_arena_alloc(arena, padded);
    if (size == 0 || text == NULL || json == NULL) {
        return claims;
    }
    for (size_t i = 0; i < padded; i++) {
        char c = i < size ? begin[1 + i] : '=';
        text[i] = (unsigned char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    int length = EVP_DecodeBlock(json, text, (int)padded);
    struct weir_err err = {0};
    struct weir_slice bytes = {(const char *)json,
                               length < 0 ? 0 : (size_t)length - (padded - size)};
    if (length < 0 || weir_json_parse(arena, bytes, NULL, &claims, &err) != WEIR_OK) {
        return weir_value_null();
    }
    return claims;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static weir_status use_token(rd_kafka_t *rk, const char *token, struct weir_err *err)
{
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    struct weir_value claims = claims_of(&arena, token);
    int64_t end_s, end_ms = now_ms() + OPAQUE_TOKEN_LIFE_MS;
    char name[256] = "weir";
    if (weir_value_kind(claims) == WEIR_KIND_OBJECT) {
        if (weir_value_int64(weir_value_get(claims, WEIR_SLICE("exp")), &end_s)) {
            end_ms = end_s * 1000;
        }
        struct weir_value subject = weir_value_get(claims, WEIR_SLICE("sub"));
        if (weir_value_kind(subject) == WEIR_KIND_STRING) {
            snprintf(name, sizeof(name), "%.*s", WEIR_SLICE_ARG(weir_value_text(subject)));
        }
    }
    weir_arena_done(&arena);
    if (end_ms <= now_ms()) {
        return weir_fail(err, WEIR_DENIED, "the token ended %lld s ago",
                         (long long)(now_ms() - end_ms) / 1000);
    }
    char text[256];
    return rd_kafka_oauthbearer_set_token(rk, token, end_ms, name, NULL, 0, text, sizeof(text)) ==
                   RD_KAFKA_RESP_ERR_NO_ERROR
               ? WEIR_OK
               : weir_fail(err, WEIR_DENIED, "%s", text);
}

void kafka_security_give_token(const struct kafka_security *security, rd_kafka_t *rk)
{
    const struct kafka_auth *auth = security->auth;
    struct weir_err err = {0};
    static _Thread_local char buffer[TOKEN_MAX + 1];
    const char *token = auth->token;
    weir_status status = WEIR_OK;
    if (token == NULL) {
        status = read_token(auth->token_file, buffer, &err);
        token = buffer;
    }
    status = status == WEIR_OK ? use_token(rk, token, &err) : status;
    explicit_bzero(buffer, sizeof(buffer));
    if (status != WEIR_OK) {
        rd_kafka_oauthbearer_set_token_failure(rk, err.message);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * How Kafka clients encrypt and log in: the blocks `tls:` and `auth:` as settings of librdkafka.
 */
#ifndef WEIR_KAFKA_SECURITY_H
#define WEIR_KAFKA_SECURITY_H

#include <librdkafka/rdkafka.h>

#include <weir/connection.h>

struct kafka_auth {
    int mechanism;
    const char *user, *password;    /* plain, scram */
    const char *token, *token_file; /* oauthbearer: one of them */
};

extern const struct weir_field kafka_auth_fields[];
extern const struct weir_rule kafka_auth_rules[];

/* What a handle's callbacks need, from any thread. Borrowed. */
struct kafka_security {
    const struct weir_tls *tls;    /* may be NULL */
    const struct kafka_auth *auth; /* may be NULL */
};

/* What the tables cannot say: which settings of `auth:` the mechanism wants. */
weir_status kafka_security_check(const struct kafka_security *security, struct weir_err *err);
/* Sets the properties. WEIR_CONFIG. */
weir_status kafka_security_set(const struct kafka_security *security,
                               rd_kafka_conf_t *conf,
                               struct weir_err *err);
/* Why the property must not be the user's, given these blocks; NULL: it may. */
const char *kafka_security_keeps(const struct kafka_security *security, const char *property);

/* Callbacks. Why the certificate is not accepted (a static text), NULL: it is; x509_error: what the
 * check of its chain found, depth: 0 is the server's own. */
const char *kafka_security_judge(const struct kafka_security *security,
                                 int x509_error,
                                 int depth,
                                 const char *certificate,
                                 size_t size);
/* Gives the handle a token for the login, or the reason why there is none. */
void kafka_security_give_token(const struct kafka_security *security, rd_kafka_t *rk);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the Kafka source, sink and transaction share: how to reach the cluster, and how an error of
 * librdkafka becomes a weir_status.
 */
#ifndef WEIR_KAFKA_CLIENT_H
#define WEIR_KAFKA_CLIENT_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

#include <weir/component.h>

#include "kafka_security.h"

struct kafka_connection {
    struct weir_strs brokers;
    struct weir_tls *tls;
    struct kafka_auth *auth;
    struct weir_map properties;
};

/* WEIR_CONFIG: librdkafka has no such property, or not with such a value, or it is weir's. */
weir_status kafka_property_check(const char *name, const char *value, struct weir_err *err);

/* What a guarantee needs of the server; for struct weir_component.needs. */
#define KAFKA_NEEDS                                                                                \
    "kafka: a crash of a machine loses nothing with three replicas and `min.insync.replicas: 2`, " \
    "of "                                                                                          \
    "the topics and of those in which Kafka keeps positions and transactions"

/* The rows that every Kafka component has; S has a member `struct kafka_connection connection`. */
#define KAFKA_CONNECTION_FIELDS(S)                                                                 \
    WEIR_F_NAMED(S, connection.brokers, "brokers", STRS, struct weir_strs,                         \
                 .flags = WEIR_REQUIRED | WEIR_ADDRESS, .min = 1, .max = 64,                       \
                 .example = "localhost:9092",                                                      \
                 .elsewhere = "bootstrap.servers,bootstrap_servers,seed_brokers,addresses,servers",  \
                 .help = "Brokers to begin with, host:port; the others are learned from them."),   \
        WEIR_F_TLS(S, connection.tls),                                                             \
        WEIR_F_NAMED(S, connection.auth, "auth", OBJECT_PTR, struct kafka_auth *,                  \
                     .children = kafka_auth_fields, .rules = kafka_auth_rules,                     \
                     .item_size = sizeof(struct kafka_auth), .flags = WEIR_CONNECTION,             \
                     .help = "Logs in with SASL."),                                                \
        WEIR_F_NAMED(S, connection.properties, "properties", MAP, struct weir_map,                 \
                     .flags = WEIR_ADVANCED, .example = "{fetch.min.bytes: \"1000\"}",             \
                     .entry = kafka_property_check,                                                \
                     .help = "Any property of librdkafka, save those that weir's guarantees "      \
                             "depend on.")

/* Base of every client handle: librdkafka's opaque points at it. */
struct kafka_client {
    const struct weir_log *log;
    const struct kafka_connection *connection;
    int64_t looked_ms; /* kafka_client_tend's */
    struct kafka_security security;
    atomic_uint troubles;      /* requests that timed out, connections that broke: any thread */
    atomic_int down;           /* 1 after "all brokers down", until something works again */
    atomic_int refusal;        /* the last rd_kafka_resp_err_t that says TLS or the login failed */
    _Atomic(const char *) why; /* TLS failed; a static text, may be NULL */
};

/* A configuration with the connection, the names of `client`, and `settings` (name, value pairs
 * ending in NULL), then the user's properties. NULL and err on failure. */
rd_kafka_conf_t *kafka_conf_new(const struct kafka_connection *connection,
                                struct kafka_client *client,
                                const char *const *settings,
                                struct weir_err *err);
/* A handle of it; takes the configuration. NULL and err on failure. */
rd_kafka_t *kafka_client_new(const struct kafka_client *client,
                             rd_kafka_type_t type,
                             rd_kafka_conf_t *conf,
                             struct weir_err *err);
/* To be called often by who polls the handle. librdkafka (2.15.1) forgets every broker when a cluster
 * names none, as one of a single broker does while that is not registered yet, and from then on
 * asks nobody (its issue 5301): the brokers of the configuration are named to it again. */
void kafka_client_tend(struct kafka_client *client, rd_kafka_t *rk);
/* Tries the configuration without connecting or looking at files. */
weir_status kafka_connection_check(const struct kafka_connection *connection, struct weir_err *err);
/* "kafka:" and the brokers, sorted; with `connect`, the cluster's id. */
weir_status kafka_domain_name(const struct kafka_connection *connection,
                              bool connect,
                              struct weir_strbuf *out,
                              struct weir_err *err);

/* The cluster's id, of a producer's handle (rd_kafka_mem_free); NULL and err when nobody answers
 * within ten seconds, or TLS or the login is refused. */
char *kafka_cluster_id(struct kafka_client *client, rd_kafka_t *rk, struct weir_err *err);
/* control: WEIR_DENIED when every broker is away, TLS or the login was refused, and no broker has
 * ever answered; once one has, it is the brokers' trouble and back-pressure. */
weir_status
kafka_client_refused(const struct kafka_client *client, rd_kafka_t *rk, struct weir_err *err);

/* What to do about a right that is missing; nothing for other codes. */
void kafka_hint(struct weir_err *err, rd_kafka_resp_err_t code);
/* The status of a librdkafka error that concerns a request, not a record. */
weir_status kafka_status(rd_kafka_resp_err_t code);
/* Between two questions of a kind: nothing tells when the answer will be another. */
enum { KAFKA_PAUSE_MS = 100 };
/* A leader or coordinator on the move, a broker that is gone for the moment: worth asking again. */
bool kafka_is_passing(rd_kafka_resp_err_t code);
/* For questions that are asked again at once. Pauses; false: the answer is final, or it is later
 * than until_ms (kafka_now_ms). */
bool kafka_ask_again(rd_kafka_resp_err_t code, int64_t until_ms);
int64_t kafka_now_ms(void);
/* The committed positions of the list, for all of it or not at all, asked for until then. */
rd_kafka_resp_err_t
kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t until_ms);
/* Fills err from librdkafka's error object, which is destroyed. */
weir_status kafka_fail(struct weir_err *err, const char *what, rd_kafka_error_t *error);

/* What a consumer says instead of a record: logged, or the failure that it is. Any thread. */
weir_status kafka_judge(rd_kafka_t *rk,
                        const struct weir_log *log,
                        const rd_kafka_message_t *message,
                        struct weir_err *err);

#endif

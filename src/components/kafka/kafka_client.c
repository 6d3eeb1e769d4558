/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection settings of Kafka clients. The properties that weir's guarantees rest on are set here
 * and refused under `properties:`, each with the reason: a consumer that commits by itself or reads
 * uncommitted data would break the promise silently.
 *
 * librdkafka reports broken connections and timed-out requests through its log and error
 * callbacks, from its own threads. They are counted: a transaction during which a request's fate
 * became uncertain is not followed by another one of the same producer epoch (kafka_transaction.c).
 */
#include "kafka_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "base/alloc.h"

enum { ANSWER_MS = 10000, LOOK_EVERY_MS = 5000, LOOK_MS = 1 };
static const struct {
    const char *name, *reason;
} kept[] = {
    {"bootstrap.servers", "it is `brokers:`"},
    {"metadata.broker.list", "it is `brokers:`"},
    {"group.id", "it is `group:`"},
    {"group.instance.id", "it follows from `instance:`"},
    {"group.protocol", "fencing needs the classic protocol"},
    {"transactional.id", "it follows from `name:` and `instance:`"},
    {"transaction.timeout.ms", "it is `transaction_timeout:`"},
    {"message.timeout.ms", "it follows from the guarantee"},
    {"delivery.timeout.ms", "it follows from the guarantee"},
    {"enable.idempotence", "retries would double and reorder records without it"},
    {"acks", "a record counts as written when all in-sync replicas have it"},
    {"request.required.acks", "a record counts as written when all in-sync replicas have it"},
    {"isolation.level", "aborted records must never be read"},
    {"enable.auto.commit", "weir commits a position when its outputs are safe"},
    {"enable.auto.offset.store", "weir commits a position when its outputs are safe"},
    {"auto.offset.reset", "it is `start:` and `on_data_loss:`"},
    {"check.crcs", "damaged records must be noticed"},
    {"partition.assignment.strategy", "weir's rebalancing needs cooperative-sticky"},
    {"session.timeout.ms", "it is `session_timeout:`"},
    {"security.protocol", "it follows from `tls:` and `auth:`"},
    {"sasl.mechanism", "it is `auth.mechanism:`"},
    {"sasl.mechanisms", "it is `auth.mechanism:`"},
    {"sasl.username", "it is `auth.user:`"},
    {"sasl.password", "it is `auth.password:`"},
    {"ssl.ca.location", "it is `tls.ca:`"},
    {"ssl.certificate.location", "it is `tls.cert:`"},
    {"ssl.key.location", "it is `tls.key:`"},
    {"ssl.key.password", "it is `tls.key_password:`"},
    {"enable.ssl.certificate.verification", "it is `tls.verify:`"},
    {"ssl.endpoint.identification.algorithm", "it is `tls.verify:`"},
    {"enable.partition.eof", "weir needs it to know that it has caught up"},
    {"delivery.report.only.error", "weir counts confirmations"},
    {"queue.buffering.max.kbytes", "it follows from `in_flight:`"},
    {"queue.buffering.max.messages", "it follows from `in_flight:`"},
    {"queued.max.messages.kbytes", "it follows from `in_flight:`"},
    {"compression.codec", "it is `compression:`"},
    {"compression.type", "it is `compression:`"},
    {"fetch.max.bytes", "it is `fetch_bytes:`"},
    {"log_level", "weir learns from the log which requests were lost"},
    {"log.connection.close", "weir learns from the log which requests were lost"},
    {"linger.ms", "it is `linger:`"},
    {"queue.buffering.max.ms", "it is `linger:`"},
    {"batch.size", "it is `batch_bytes:`"},
    {"partitioner", "it is `partitioner:`"},
};

/* --- callbacks; librdkafka's threads -----------------------------------------------------------*/

static void refuse(struct kafka_client *client, int code, const char *why)
{
    if (why != NULL) {
        atomic_store_explicit(&client->why, why, memory_order_relaxed);
    }
    atomic_store_explicit(&client->refusal, code, memory_order_relaxed);
}

/* A broker that does not like our handshake may say so in it, or with TLS 1.3 afterwards. */
static void notice_alert(struct kafka_client *client, const char *text)
{
    if (strstr(text, "SSL alert number") != NULL) {
        bool is_certificate = strstr(text, "certificate") != NULL;
        refuse(client, RD_KAFKA_RESP_ERR__SSL,
               is_certificate ? "a broker did not accept the client's certificate (tls.cert)"
                              : "a broker speaks no version or cipher that is allowed here");
    }
}

static void client_on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct kafka_client *client = rd_kafka_opaque(rk);
    if (strcmp(facility, "REQTMOUT") == 0 || strcmp(facility, "FAIL") == 0) {
        atomic_fetch_add_explicit(&client->troubles, 1, memory_order_relaxed);
    }
    notice_alert(client, text);
    if (level <= LOG_ERR) {
        WEIR_LOG_WARN(client->log, "kafka client", WEIR_F("detail", text));
    } else {
        WEIR_LOG_DEBUG(client->log, "kafka client", WEIR_F("detail", text));
    }
}

static void client_on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk;
    struct kafka_client *client = opaque;
    atomic_fetch_add_explicit(&client->troubles, 1, memory_order_relaxed);
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (atomic_exchange_explicit(&client->down, 1, memory_order_relaxed) == 0) {
            WEIR_LOG_WARN(client->log, "no broker can be reached", WEIR_F("detail", reason));
        }
    } else {
        if (code == RD_KAFKA_RESP_ERR__SSL || code == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
            refuse(client, code, NULL);
        }
        if (strstr(reason, "OAUTHBEARER token") != NULL) {
            /* Without a token no broker is tried, and so none is ever called down. */
            atomic_store_explicit(&client->down, 1, memory_order_relaxed);
        }
        notice_alert(client, reason);
        /* What broke a connection stands in the library's log already. */
        WEIR_LOG_AT(client->log,
                    code == RD_KAFKA_RESP_ERR__TRANSPORT ? WEIR_LEVEL_DEBUG : WEIR_LEVEL_WARN,
                    "kafka client",
                    WEIR_F("type", (const char *)rd_kafka_err2name((rd_kafka_resp_err_t)code)),
                    WEIR_F("detail", reason));
    }
}

static int client_on_certificate(rd_kafka_t *rk,
                                 const char *broker,
                                 int32_t broker_id,
                                 int *x509_error,
                                 int depth,
                                 const char *certificate,
                                 size_t size,
                                 char *reason,
                                 size_t reason_size,
                                 void *opaque)
{
    (void)rk, (void)broker_id;
    struct kafka_client *client = opaque;
    const char *why =
        kafka_security_judge(&client->security, *x509_error, depth, certificate, size);
    if (why == NULL) {
        return 1;
    }
    snprintf(reason, reason_size, "%s", why);
    refuse(client, RD_KAFKA_RESP_ERR__SSL, why);
    WEIR_LOG_WARN(client->log, "the certificate of a broker is not accepted",
                  WEIR_F("broker", broker), WEIR_F("reason", why));
    return 0;
}

static void client_on_token(rd_kafka_t *rk, const char *settings, void *opaque)
{
    (void)settings;
    const struct kafka_client *client = opaque;
    kafka_security_give_token(&client->security, rk);
}

/* --- configuration -----------------------------------------------------------------------------*/

static weir_status
conf_set(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_err *err)
{
    char text[256];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK) {
        return WEIR_OK;
    }
    return weir_fail(err, WEIR_CONFIG, "%s", text);
}

static weir_status conf_set_list(rd_kafka_conf_t *conf,
                                 const char *name,
                                 const struct weir_strs *list,
                                 struct weir_err *err)
{
    struct weir_strbuf text;
    weir_strbuf_init(&text, 65536);
    for (size_t i = 0; i < list->count; i++) {
        weir_strbuf_printf(&text, "%s%s", i == 0 ? "" : ",", list->items[i]);
    }
    weir_status status = text.failed
                             ? weir_fail(err, WEIR_CONFIG, "the list of brokers is too long")
                             : conf_set(conf, name, text.data, err);
    weir_strbuf_done(&text);
    return status;
}

static weir_status refuse_property(const char *name, const char *reason, struct weir_err *err)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "the property \"%s\" is weir's", name);
    weir_err_hint(err, "Leave it out: %s.", reason);
    return status;
}

static weir_status
conf_set_property(rd_kafka_conf_t *conf, const char *name, const char *value, struct weir_err *err)
{
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (strcmp(kept[i].name, name) == 0) {
            return refuse_property(name, kept[i].reason, err);
        }
    }
    return conf_set(conf, name, value, err);
}

weir_status kafka_property_check(const char *name, const char *value, struct weir_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    weir_status status = conf_set_property(conf, name, value, err);
    rd_kafka_conf_destroy(conf);
    return status;
}

static weir_status conf_set_properties(rd_kafka_conf_t *conf,
                                       const struct kafka_connection *connection,
                                       const struct kafka_security *security,
                                       struct weir_err *err)
{
    for (size_t i = 0; i < connection->properties.count; i++) {
        const struct weir_pair *pair = &connection->properties.items[i];
        const char *reason = kafka_security_keeps(security, pair->key);
        weir_status status = reason != NULL
                                 ? refuse_property(pair->key, reason, err)
                                 : conf_set_property(conf, pair->key, pair->value, err);
        if (status != WEIR_OK) {
            weir_err_path(err, pair->key);
            weir_err_path(err, "properties");
            return status;
        }
    }
    return WEIR_OK;
}

static rd_kafka_conf_t *conf_make(const struct kafka_connection *connection,
                                  struct kafka_client *client,
                                  const char *const *settings,
                                  struct weir_err *err)
{
    client->connection = connection;
    client->security = (struct kafka_security){connection->tls, connection->auth};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, client_on_log);
    rd_kafka_conf_set_error_cb(conf, client_on_error);
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, client_on_token);
    rd_kafka_conf_enable_sasl_queue(conf, 1);
    if (connection->tls != NULL && connection->tls->verify) {
        rd_kafka_conf_set_ssl_cert_verify_cb(conf, client_on_certificate);
    }
    weir_status status = conf_set_list(conf, "bootstrap.servers", &connection->brokers, err);
    status = status == WEIR_OK ? kafka_security_set(&client->security, conf, err) : status;
    const char *const common[] = {
        "client.id",
        "weir",
        "socket.timeout.ms",
        "10000",
        "reconnect.backoff.max.ms",
        "2000",
        "topic.metadata.refresh.interval.ms",
        "10000",
        NULL,
    };
    for (size_t i = 0; common[i] != NULL && status == WEIR_OK; i += 2) {
        status = conf_set(conf, common[i], common[i + 1], err);
    }
    for (size_t i = 0; settings[i] != NULL && status == WEIR_OK; i += 2) {
        status = conf_set(conf, settings[i], settings[i + 1], err);
    }
    /* Last: what weir only tunes is the user's to change, and the rest is refused. */
    if (status == WEIR_OK) {
        status = conf_set_properties(conf, connection, &client->security, err);
    }
    if (status != WEIR_OK) {
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    return conf;
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_connection *connection,
                                struct kafka_client *client,
                                const char *const *settings,
                                struct weir_err *err)
{
    if (connection->tls != NULL && !connection->tls->verify) {
        WEIR_LOG_WARN(client->log, "tls.verify is off: anybody in between can read and change all");
    }
    return weir_tls_check(connection->tls, err) != WEIR_OK
               ? NULL
               : conf_make(connection, client, settings, err);
}

rd_kafka_t *kafka_client_new(const struct kafka_client *client,
                             rd_kafka_type_t type,
                             rd_kafka_conf_t *conf,
                             struct weir_err *err)
{
    char text[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof(text));
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        (void)!weir_fail(err, WEIR_CONFIG, "%s", text);
        return NULL;
    }
    if (client->security.auth != NULL) {
        /* Tokens are given by a thread of the library: nobody may be polling while one is needed.
         */
        rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(rk));
    }
    return rk;
}

void kafka_client_tend(struct kafka_client *client, rd_kafka_t *rk)
{
    int64_t now_ms = kafka_now_ms();
    if (now_ms - client->looked_ms < LOOK_EVERY_MS) {
        return;
    }
    client->looked_ms = now_ms;
    const struct rd_kafka_metadata *ignored = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, NULL, &ignored, LOOK_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_metadata_destroy(ignored);
    }
    const struct weir_strs *brokers = &client->connection->brokers;
    for (size_t i = 0; code == RD_KAFKA_RESP_ERR__TRANSPORT && i < brokers->count; i++) {
        rd_kafka_brokers_add(rk, brokers->items[i]); /* those that it knows stay as they are */
    }
}

weir_status kafka_connection_check(const struct kafka_connection *connection, struct weir_err *err)
{
    struct kafka_client client = {0};
    const char *const none[] = {NULL};
    rd_kafka_conf_t *conf = conf_make(connection, &client, none, err);
    if (conf == NULL) {
        return err->status;
    }
    rd_kafka_conf_destroy(conf);
    return kafka_security_check(&client.security, err);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char *kafka_cluster_id(struct kafka_client *client, rd_kafka_t *rk, struct weir_err *err)
{
    const int64_t until_ms = kafka_now_ms() + ANSWER_MS;
    char *id = NULL;
    while (id == NULL && kafka_client_refused(client, rk, err) == WEIR_OK) {
        if (kafka_now_ms() >= until_ms) {
            (void)!weir_fail(err, WEIR_UNAVAILABLE, "no broker answers");
            weir_err_hint(err, "Check `brokers`, and that nothing between here and there blocks "
                               "them.");
            break;
        }
        id = rd_kafka_clusterid(rk, KAFKA_PAUSE_MS);
        rd_kafka_poll(rk, 0); /* errors */
    }
    return id;
}

weir_status kafka_domain_name(const struct kafka_connection *connection,
                              bool connect,
                              struct weir_strbuf *out,
                              struct weir_err *err)
{
    weir_strbuf_text(out, "kafka:");
    if (!connect) {
        const char *sorted[64];
        size_t count = connection->brokers.count < 64 ? connection->brokers.count : 64;
        memcpy(sorted, connection->brokers.items, count * sizeof(sorted[0]));
        qsort(sorted, count, sizeof(sorted[0]), compare_texts);
        for (size_t i = 0; i < count; i++) {
            weir_strbuf_printf(out, "%s%s", i == 0 ? "" : ",", sorted[i]);
        }
        return WEIR_OK;
    }
    struct kafka_client client = {0};
    const char *const none[] = {NULL};
    rd_kafka_conf_t *conf = kafka_conf_new(connection, &client, none, err);
    if (conf == NULL) {
        return err->status;
    }
    rd_kafka_t *rk = kafka_client_new(&client, RD_KAFKA_PRODUCER, conf, err);
    if (rk == NULL) {
        return err->status;
    }
    char *id = kafka_cluster_id(&client, rk, err);
    weir_status status = id == NULL ? err->status : WEIR_OK;
    if (id != NULL) {
        weir_strbuf_text(out, id);
        rd_kafka_mem_free(rk, id);
    }
    rd_kafka_destroy(rk);
    return status;
}

/* --- errors ------------------------------------------------------------------------------------*/

weir_status kafka_status(rd_kafka_resp_err_t code)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wswitch-enum"
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return WEIR_OK;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return WEIR_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return WEIR_REJECTED;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        return WEIR_DENIED;
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
        return WEIR_FENCED;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
        return WEIR_FATAL;
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
        return WEIR_ABORTED;
    default:
        return WEIR_UNAVAILABLE;
    }
#pragma GCC diagnostic pop
}

void kafka_hint(struct weir_err *err, rd_kafka_resp_err_t code)
{
    static const struct {
        rd_kafka_resp_err_t code;
        const char *right;
    } rights[] = {
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "READ on the consumer group"},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
         "READ on topics that are read, WRITE on those that are written"},
        {RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
         "WRITE on transactional ids that begin with the pipeline's name"},
    };
    for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
        if (rights[i].code == code) {
            weir_err_hint(err, "Its user needs the right to %s. Started again, it goes on from the "
                               "last commit.",
                          rights[i].right);
        }
    }
}

weir_status
kafka_client_refused(const struct kafka_client *client, rd_kafka_t *rk, struct weir_err *err)
{
    int code = atomic_load_explicit(&client->refusal, memory_order_relaxed);
    if (code == 0 || atomic_load_explicit(&client->down, memory_order_relaxed) == 0) {
        return WEIR_OK;
    }
    char *id = rd_kafka_clusterid(rk, 0);
    if (id != NULL) {
        rd_kafka_mem_free(rk, id);
        return WEIR_OK;
    }
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION) {
        (void)!weir_fail(err, WEIR_DENIED, "the brokers refused the login");
        weir_err_hint(err, "Check `auth`; a warning above has the brokers' reason.");
    } else {
        const char *why = atomic_load_explicit(&client->why, memory_order_relaxed);
        (void)!weir_fail(err, WEIR_DENIED, "no secure connection to the brokers%s%s",
                         why == NULL ? "" : ": ", why == NULL ? "" : why);
        weir_err_hint(err, "Check `tls` and the port in `brokers`.");
    }
    return WEIR_DENIED;
}

int64_t kafka_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool kafka_is_passing(rd_kafka_resp_err_t code)
{
    static const rd_kafka_resp_err_t passing[] = {
        RD_KAFKA_RESP_ERR__TIMED_OUT,
        RD_KAFKA_RESP_ERR__TRANSPORT,
        RD_KAFKA_RESP_ERR__WAIT_COORD,
        RD_KAFKA_RESP_ERR__WAIT_CACHE,
        RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT,
    };
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        if (passing[i] == code) {
            return true;
        }
    }
    return false;
}

bool kafka_ask_again(rd_kafka_resp_err_t code, int64_t until_ms)
{
    if (!kafka_is_passing(code) || kafka_now_ms() >= until_ms) {
        return false;
    }
    (void)!poll(NULL, 0, KAFKA_PAUSE_MS);
    return true;
}

rd_kafka_resp_err_t
kafka_committed(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t until_ms)
{
    rd_kafka_resp_err_t code;
    do {
        int64_t left_ms = until_ms - kafka_now_ms();
        code = rd_kafka_committed(rk, list, (int)(left_ms < 1 ? 1 : left_ms));
        /* A partition that failed has no position, which looks like "never committed". */
        for (int i = 0; i < list->cnt && code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
            code = list->elems[i].err;
        }
    } while (code != RD_KAFKA_RESP_ERR_NO_ERROR && kafka_ask_again(code, until_ms));
    return code;
}

weir_status kafka_fail(struct weir_err *err, const char *what, rd_kafka_error_t *error)
{
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    weir_status status = kafka_status(code);
    (void)!weir_fail(err, status, "%s: %s (%s)", what, rd_kafka_error_string(error),
                     rd_kafka_err2name(code));
    kafka_hint(err, code);
    rd_kafka_error_destroy(error);
    return status;
}

weir_status kafka_judge(rd_kafka_t *rk,
                        const struct weir_log *log,
                        const rd_kafka_message_t *message,
                        struct weir_err *err)
{
    rd_kafka_resp_err_t code = message->err;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        char text[256];
        code = rd_kafka_fatal_error(rk, text, sizeof(text));
        weir_status status =
            weir_fail(err, code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ? WEIR_FATAL : WEIR_FENCED,
                      "%s", text);
        if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
            weir_err_hint(err, "Two processes run with the same `instance`; give each its own.");
        }
        return status;
    }
    /* A login that fails after others went well is tried again (kafka_client_refused): a broker
     * refuses one that comes within a second of the last. */
    if (kafka_status(code) == WEIR_DENIED && code != RD_KAFKA_RESP_ERR__AUTHENTICATION) {
        (void)!weir_fail(err, WEIR_DENIED, "%s%s%s",
                         message->rkt == NULL ? "" : rd_kafka_topic_name(message->rkt),
                         message->rkt == NULL ? "" : ": ", rd_kafka_message_errstr(message));
        kafka_hint(err, code);
        return WEIR_DENIED;
    }
    WEIR_LOG_WARN(log, "kafka consumer",
                  WEIR_F("type", (const char *)rd_kafka_err2name(code)),
                  WEIR_F("detail", (const char *)rd_kafka_message_errstr(message)));
    return WEIR_OK;
}

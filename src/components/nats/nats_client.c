/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to NATS servers. The client library could reconnect by itself; it does not here. A
 * connection that it mends keeps publishes of the old one in a buffer and sends them again behind
 * our back, and what was on its way has no fate. So a broken connection is the end of everything
 * that was under way on it, and its owner makes a new one.
 *
 * With TLS the certificate must carry the name of the host that was dialled, which is why servers
 * are tried one after the other, each with its own name.
 */
#include "nats_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { CONNECT_TIMEOUT_MS = 3000, PING_MS = 5000, WRITE_DEADLINE_MS = 5000, BUFFER_BYTES = 65536 };
enum { PORT_DEFAULT = 4222, HOST_MAX = 255 };

// clang-format off
#define S struct nats_auth
const struct weir_field nats_auth_fields[] = {
    WEIR_F_STR(S, user, .min = 1, .max = NATS_NAME_MAX, .example = "weir", .help = "User name."),
    WEIR_F_STR(S, password, .flags = WEIR_SECRET, .example = "${file:/run/secrets/nats}",
               .help = "The user's password."),
    WEIR_F_STR(S, token, .flags = WEIR_SECRET, .help = "Instead of a user: a token."),
    WEIR_F_STR(S, nkey, .min = 1, .max = NATS_NAME_MAX, .example = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
               .help = "Instead of a user: the public key of an NKey."),
    WEIR_F_STR(S, nkey_seed, .flags = WEIR_SECRET, .example = "${file:/run/secrets/nkey}",
               .help = "The seed of the NKey, which answers the server's challenge."),
    WEIR_F_STR(S, credentials, .min = 1, .max = 4096, .example = "/etc/weir/orders.creds",
               .help = "Instead of a user: the file with its JWT and seed."),
    WEIR_FIELDS_END,
};
#undef S
const struct weir_rule nats_auth_rules[] = {
    {WEIR_RULE_EXACTLY_ONE, {"user", "token", "nkey", "credentials"}, "Choose one way to log in."},
    {WEIR_RULE_NEEDS, {"user", "password"}, NULL},
    {WEIR_RULE_NEEDS, {"password", "user"}, NULL},
    {WEIR_RULE_NEEDS, {"nkey", "nkey_seed"}, NULL},
    {WEIR_RULE_NEEDS, {"nkey_seed", "nkey"}, NULL},
    WEIR_RULES_END,
};
// clang-format on

/* --- addresses ---------------------------------------------------------------------------------*/

struct target {
    char host[HOST_MAX + 1];
    int port;
    bool is_tls, is_bracketed;
};

static bool parse_target(const char *at, struct target *ret)
{
    *ret = (struct target){.port = PORT_DEFAULT};
    if (strncmp(at, "nats://", 7) == 0) {
        at += 7;
    } else if (strncmp(at, "tls://", 6) == 0) {
        at += 6;
        ret->is_tls = true;
    }
    ret->is_bracketed = *at == '[';
    at += ret->is_bracketed;
    size_t size = strcspn(at, ret->is_bracketed ? "]" : ":/");
    if (size == 0 || size > HOST_MAX || memchr(at, '@', size) != NULL ||
        (ret->is_bracketed && at[size] != ']')) {
        return false;
    }
    memcpy(ret->host, at, size);
    at += size + ret->is_bracketed;
    if (*at == ':') {
        char *end;
        long port = strtol(at + 1, &end, 10);
        bool is_port = at[1] >= '0' && at[1] <= '9' && port > 0 && port <= 65535;
        ret->port = (int)port;
        at = end;
        if (!is_port) {
            return false;
        }
    }
    return *at == '\0';
}

void nats_name_of(char ret[NATS_NAME_MAX + 1], const char *pipeline)
{
    snprintf(ret, NATS_NAME_MAX + 1, "%s", pipeline);
    for (char *at = ret; *at != '\0'; at++) {
        *at = *at == '.' ? '_' : *at;
    }
}

weir_status nats_address_check(const struct nats_address *address, struct weir_err *err)
{
    for (size_t i = 0; i < address->urls.count; i++) {
        struct target target;
        if (!parse_target(address->urls.items[i], &target)) {
            weir_status status = weir_fail(err, WEIR_CONFIG, "this is no address of a NATS server");
            weir_err_hint(err, "Write nats://HOST:PORT or tls://HOST:PORT; logins stand under "
                               "`auth`.");
            weir_err_path(err, "url");
            return status;
        }
    }
    if (address->tls != NULL && address->tls->key_password != NULL) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the NATS client cannot read a key that has a password");
        weir_err_path(err, "tls.key_password");
        return status;
    }
    return WEIR_OK;
}

/* --- errors ------------------------------------------------------------------------------------*/

static const struct {
    natsStatus code;
    weir_status status;
} statuses[] = {
    {NATS_CONNECTION_AUTH_FAILED, WEIR_DENIED},
    {NATS_NOT_PERMITTED, WEIR_DENIED},
    {NATS_SSL_ERROR, WEIR_DENIED},
    {NATS_SECURE_CONNECTION_REQUIRED, WEIR_DENIED},
    {NATS_SECURE_CONNECTION_WANTED, WEIR_DENIED},
    {NATS_MAX_PAYLOAD, WEIR_TOO_LARGE},
    {NATS_INVALID_SUBJECT, WEIR_REJECTED},
    {NATS_INVALID_ARG, WEIR_CONFIG},
};

static weir_status status_of(natsStatus code)
{
    weir_status status = WEIR_UNAVAILABLE;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        status = statuses[i].code == code ? statuses[i].status : status;
    }
    return status;
}

weir_status nats_fail(struct weir_err *err, const char *what, natsStatus status)
{
    natsStatus last = NATS_OK;
    const char *text = nats_GetLastError(&last);
    bool is_told = last == status && text != NULL && text[0] != '\0';
    const char *place = is_told && text[0] == '(' ? strstr(text, "): ") : NULL;
    text = place != NULL ? place + 3 : text; /* where in the library's source it happened */
    return weir_fail(err, status_of(status), "%s: %s", what,
                     is_told ? text : natsStatus_GetText(status));
}

/* --- the library's calls -----------------------------------------------------------------------*/

/* A permission that is missing is told here and nowhere else: the request just has no answer. */
static void
on_error(natsConnection *connection, natsSubscription *sub, natsStatus status, void *closure)
{
    (void)sub;
    struct nats_client *self = closure;
    const char *text = NULL;
    if (status != NATS_NOT_PERMITTED) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    if (natsConnection_GetLastError(connection, &text) == status && text != NULL) {
        snprintf(self->denied, sizeof(self->denied), "%s", text);
    }
    pthread_mutex_unlock(&self->lock);
    atomic_store_explicit(&self->is_denied, true, memory_order_release);
}

weir_status nats_client_denied(struct nats_client *client, struct weir_err *err)
{
    if (!atomic_load_explicit(&client->is_denied, memory_order_acquire)) {
        return WEIR_OK;
    }
    pthread_mutex_lock(&client->lock);
    weir_status status =
        weir_fail(err, WEIR_DENIED, "the server does not permit it: %s", client->denied);
    pthread_mutex_unlock(&client->lock);
    return status;
}

static natsStatus
on_sign(char **error, unsigned char **signature, int *size, const char *nonce, void *seed)
{
    (void)error;
    return nats_Sign(seed, nonce, signature, size);
}

/* --- connecting --------------------------------------------------------------------------------*/

static natsStatus set_tls(natsOptions *options, const struct weir_tls *tls, const char *host)
{
    natsStatus status = natsOptions_SetSecure(options, true);
    if (status == NATS_OK && tls->ca != NULL) {
        status = natsOptions_LoadCATrustedCertificates(options, tls->ca);
    }
    if (status == NATS_OK && tls->cert != NULL) {
        status = natsOptions_LoadCertificatesChain(options, tls->cert, tls->key);
    }
    if (status == NATS_OK && tls->min_version == WEIR_TLS_1_3) {
        /* There is no setting for the version; of older ones no suite is left that can be used. */
        status = natsOptions_SetCiphers(options, "PSK-AES256-GCM-SHA384");
    }
    if (status == NATS_OK && !tls->verify) {
        return natsOptions_SkipServerVerification(options, true);
    }
    return status != NATS_OK ? status
                             : natsOptions_SetExpectedHostname(
                                   options, tls->server_name != NULL ? tls->server_name : host);
}

static natsStatus set_login(natsOptions *options, const struct nats_auth *auth)
{
    if (auth->credentials != NULL) {
        return natsOptions_SetUserCredentialsFromFiles(options, auth->credentials, NULL);
    }
    if (auth->nkey != NULL) {
        return natsOptions_SetNKey(options, auth->nkey, on_sign,
                                   (void *)(uintptr_t)auth->nkey_seed);
    }
    return auth->token != NULL ? natsOptions_SetToken(options, auth->token)
                               : natsOptions_SetUserInfo(options, auth->user, auth->password);
}

static natsStatus set_behaviour(natsOptions *options, const char *name, struct nats_client *client)
{
    natsStatus status = natsOptions_SetAllowReconnect(options, false);
    status = status != NATS_OK ? status : natsOptions_SetTimeout(options, CONNECT_TIMEOUT_MS);
    status = status != NATS_OK ? status : natsOptions_SetPingInterval(options, PING_MS);
    status = status != NATS_OK ? status : natsOptions_SetWriteDeadline(options, WRITE_DEADLINE_MS);
    status = status != NATS_OK ? status : natsOptions_SetIOBufSize(options, BUFFER_BYTES);
    status = status != NATS_OK ? status : natsOptions_SetIgnoreDiscoveredServers(options, true);
    status = status != NATS_OK ? status : natsOptions_SetName(options, name);
    return status != NATS_OK ? status : natsOptions_SetErrorHandler(options, on_error, client);
}

static weir_status client_dial(struct nats_client *self,
                               const struct nats_address *address,
                               const char *url,
                               const char *name,
                               struct weir_err *err)
{
    static const struct weir_tls defaults = {.verify = true, .min_version = WEIR_TLS_1_2};
    struct target target;
    bool is_legal = parse_target(url, &target);
    WEIR_ASSERT(is_legal); /* it was checked with the configuration */
    const struct weir_tls *tls = address->tls != NULL ? address->tls
                                 : target.is_tls      ? &defaults
                                                      : NULL;
    if (weir_tls_check(tls, err) != WEIR_OK) {
        return err->status;
    }
    if (address->auth != NULL && address->auth->credentials != NULL &&
        access(address->auth->credentials, R_OK) != 0) {
        weir_status status = weir_fail(err, WEIR_DENIED, "cannot read %.300s: %s",
                                       address->auth->credentials, strerror(errno));
        weir_err_path(err, "auth.credentials");
        return status;
    }
    char plain[HOST_MAX + 32];
    snprintf(plain, sizeof(plain), target.is_bracketed ? "nats://[%s]:%d" : "nats://%s:%d",
             target.host, target.port);
    natsOptions *options = NULL;
    natsStatus status = natsOptions_Create(&options);
    status = status != NATS_OK ? status : natsOptions_SetURL(options, plain);
    status = status != NATS_OK ? status : set_behaviour(options, name, self);
    if (status == NATS_OK && address->auth != NULL) {
        status = set_login(options, address->auth);
    }
    if (status == NATS_OK && tls != NULL) {
        status = set_tls(options, tls, target.host);
    }
    status = status != NATS_OK ? status : natsConnection_Connect(&self->connection, options);
    natsOptions_Destroy(options);
    if (status != NATS_OK) {
        char what[HOST_MAX + 32];
        snprintf(what, sizeof(what), "cannot connect to %s:%d", target.host, target.port);
        weir_status failed = nats_fail(err, what, status);
        if (tls != NULL && tls->cert == NULL && failed == WEIR_UNAVAILABLE) {
            /* With TLS 1.3 that is how a server says no to a client, if one hears it at all. */
            weir_err_hint(err, "If the server wants a certificate of its clients, write `tls.cert` "
                               "and `tls.key`.");
        }
        return failed;
    }
    return WEIR_OK;
}

void nats_client_keep(struct nats_client *client, natsSubscription *subscription)
{
    WEIR_ASSERT(client->kept_count < NATS_SUBSCRIPTIONS_MAX);
    client->kept[client->kept_count++] = subscription;
}

static weir_status client_make_inbox(struct nats_client *self, struct weir_err *err)
{
    natsInbox *inbox = NULL;
    char subject[NATS_INBOX_MAX + 2];
    natsStatus status = natsInbox_Create(&inbox);
    if (status == NATS_OK) {
        int size = snprintf(self->prefix, sizeof(self->prefix), "%s.", inbox);
        WEIR_ASSERT(size > 0 && (size_t)size < sizeof(self->prefix));
        snprintf(subject, sizeof(subject), "%s*", self->prefix);
        status = natsConnection_SubscribeSync(&self->inbox, self->connection, subject);
    }
    if (status == NATS_OK) {
        nats_client_keep(self, self->inbox);
    }
    natsInbox_Destroy(inbox);
    if (status == NATS_OK) { /* what comes is bounded by what we ask for */
        status = natsSubscription_SetPendingLimits(self->inbox, -1, -1);
    }
    return status == NATS_OK ? WEIR_OK : nats_fail(err, "subscribing to an inbox", status);
}

struct nats_client *
nats_client_open(const struct nats_address *address, const char *name, struct weir_err *err)
{
    struct nats_client *self = weir_calloc(1, sizeof(*self));
    pthread_mutex_init(&self->lock, NULL);
    weir_status status = WEIR_UNAVAILABLE;
    for (size_t i = 0; i < address->urls.count && status != WEIR_OK; i++) {
        struct weir_err one = {0};
        status = client_dial(self, address, address->urls.items[i], name, &one);
        if (status != WEIR_OK && err->status == WEIR_OK) {
            *err = one;
        }
    }
    if (status == WEIR_OK) {
        weir_err_clear(err);
        status = client_make_inbox(self, err);
    }
    if (status != WEIR_OK) {
        nats_client_free(self);
        return NULL;
    }
    return self;
}

void nats_client_close(struct nats_client *client)
{
    natsConnection_Close(client->connection);
}

void nats_client_free(struct nats_client *client)
{
    if (client == NULL) {
        return;
    }
    nats_client_close(client);
    for (size_t i = 0; i < client->kept_count; i++) {
        natsSubscription_Destroy(client->kept[i]);
    }
    natsConnection_Destroy(client->connection);
    pthread_mutex_destroy(&client->lock);
    weir_free(client);
}

/* --- lines -------------------------------------------------------------------------------------*/

void nats_line_init(struct nats_line *line)
{
    *line = (struct nats_line){0};
    pthread_mutex_init(&line->lock, NULL);
}

void nats_line_set(struct nats_line *line, struct nats_client *client)
{
    pthread_mutex_lock(&line->lock);
    struct nats_client *before = line->client;
    line->client = client;
    if (line->is_cut && client != NULL) {
        nats_client_close(client);
    }
    pthread_mutex_unlock(&line->lock);
    nats_client_free(before);
}

weir_status nats_line_open(struct nats_line *line,
                           const struct nats_address *address,
                           const char *name,
                           struct weir_err *err)
{
    pthread_mutex_lock(&line->lock);
    bool is_cut = line->is_cut;
    pthread_mutex_unlock(&line->lock);
    if (is_cut) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the process ends");
    }
    struct nats_client *client = nats_client_open(address, name, err);
    nats_line_set(line, client);
    return client == NULL ? err->status : WEIR_OK;
}

void nats_line_cut(struct nats_line *line)
{
    pthread_mutex_lock(&line->lock);
    line->is_cut = true;
    if (line->client != NULL) {
        nats_client_close(line->client);
    }
    pthread_mutex_unlock(&line->lock);
}

void nats_line_done(struct nats_line *line)
{
    nats_client_free(line->client);
    pthread_mutex_destroy(&line->lock);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the NATS component share: how to reach a server, and how a failure of the
 * client library becomes a weir_status.
 */
#ifndef WEIR_NATS_CLIENT_H
#define WEIR_NATS_CLIENT_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include <weir/component.h>
#include <weir/connection.h>

enum { NATS_NAME_MAX = 255, NATS_SUBJECT_MAX = 1024, NATS_INBOX_MAX = 64 };
enum { NATS_SUBSCRIPTIONS_MAX = 3 };

struct nats_auth {
    const char *user, *password, *token, *nkey, *nkey_seed, *credentials; /* may be NULL */
};

struct nats_address {
    struct weir_strs urls;
    struct nats_auth *auth;
    struct weir_tls *tls;
};

/* What a guarantee needs of the server; for struct weir_component.needs. */
#define NATS_NEEDS                                                                                 \
    "nats: a crash of the machine loses nothing with `sync_interval: always` or with replicas, "   \
    "and "                                                                                         \
    "without them what came since the last sync (two minutes unless set)"

extern const struct weir_field nats_auth_fields[];
extern const struct weir_rule nats_auth_rules[];

/* The rows that every NATS component has; S has a member `struct nats_address address`. */
#define NATS_ADDRESS_FIELDS(S)                                                                     \
    WEIR_F_NAMED(S, address.urls, "url", STRS, struct weir_strs,                                   \
                 .flags = WEIR_REQUIRED | WEIR_ADDRESS, .min = 1, .max = 100,                      \
                 .example = "localhost:4222",                                                      \
                 .help = "The server, or several of one cluster that are tried in turn: "          \
                         "HOST:PORT, nats://HOST:PORT, or tls:// for TLS."),                       \
        WEIR_F_TLS(S, address.tls),                                                                \
        WEIR_F_NAMED(S, address.auth, "auth", OBJECT_PTR, struct nats_auth *,                      \
                     .children = nats_auth_fields, .rules = nats_auth_rules,                       \
                     .item_size = sizeof(struct nats_auth), .flags = WEIR_CONNECTION,              \
                     .help = "Logs in.")

/* The name of a pipeline in letters that JetStream takes in names of its own. */
void nats_name_of(char ret[NATS_NAME_MAX + 1], const char *pipeline);
/* For struct weir_component.check: are the URLs some? */
weir_status nats_address_check(const struct nats_address *address, struct weir_err *err);

/* A connection. It is never mended: whoever owns it closes it and opens another one, so that what
 * was under way has one fate. `denied` may be asked by any thread. */
struct nats_client {
    natsConnection *connection;
    natsSubscription *inbox; /* what is sent to `prefix` + anything */
    natsSubscription *pages; /* nats_scan's; NULL: not used yet */
    uint64_t scans;          /* how often it was used */
    natsSubscription *kept[NATS_SUBSCRIPTIONS_MAX]; /* all that the connection has */
    size_t kept_count;
    char prefix[NATS_INBOX_MAX];
    atomic_bool is_denied;
    pthread_mutex_t lock; /* guards what follows */
    char denied[256];     /* the server's words */
};

/* Connects to one of the servers; NULL and err on failure. Signals are to be masked: the library
 * starts threads. Any thread. */
struct nats_client *
nats_client_open(const struct nats_address *address, const char *name, struct weir_err *err);
/* Wakes whoever waits for the connection; it stays allocated. Any thread. */
void nats_client_close(struct nats_client *client);
/* Closes it before. Accepts NULL. */
void nats_client_free(struct nats_client *client);
/* A subscription of its connection is freed with the client, and not before: the library's thread
 * may be at a message of it until the connection is closed (nats.c issue 637, before 3.5). */
void nats_client_keep(struct nats_client *client, natsSubscription *subscription);

/* The connection of a thread that waits for answers, which somebody else can put an end to. */
struct nats_line {
    pthread_mutex_t lock; /* guards what follows; the thread alone changes `client` */
    struct nats_client *client;
    bool is_cut;
};

void nats_line_init(struct nats_line *line);
/* The connection from now on, or NULL; the one before is closed and freed. The thread. */
void nats_line_set(struct nats_line *line, struct nats_client *client);
/* Sets a new connection. A line that was cut is not tried. The thread. */
WEIR_MUST_USE weir_status nats_line_open(struct nats_line *line,
                                         const struct nats_address *address,
                                         const char *name,
                                         struct weir_err *err);
/* What is waited for on the line fails at once, now and whenever it is set anew. Any thread. */
void nats_line_cut(struct nats_line *line);
/* Accepts a zeroed one. */
void nats_line_done(struct nats_line *line);

/* The server refused a subject since the connection was made: WEIR_DENIED, else WEIR_OK. */
weir_status nats_client_denied(struct nats_client *client, struct weir_err *err);
/* Fills err from a status of the library. */
weir_status nats_fail(struct weir_err *err, const char *what, natsStatus status);

#endif

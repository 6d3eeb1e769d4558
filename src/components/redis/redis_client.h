/* SPDX-License-Identifier: Apache-2.0
 *
 * What the Redis source and sink share: how to reach the server, how an error of its becomes a
 * weir_status, and commands in the protocol's own form.
 */
#ifndef WEIR_REDIS_CLIENT_H
#define WEIR_REDIS_CLIENT_H

#include <hiredis/hiredis.h>

#include <weir/component.h>
#include <weir/connection.h>

enum { REDIS_NAME_MAX = 512, REDIS_ID_MAX = 48 };

struct redis_auth {
    const char *user, *password; /* user: may be NULL */
};

struct redis_sentinel {
    struct weir_strs addresses;
    const char *master;
    int64_t database;
    struct redis_auth *auth;
    struct weir_tls *tls;
};

struct redis_connection {
    const char *url;                 /* NULL: sentinel */
    struct redis_sentinel *sentinel; /* may be NULL */
    struct redis_auth *auth;
    struct weir_tls *tls;
    bool cluster;
};

extern const struct weir_field redis_auth_fields[], redis_sentinel_fields[];

/* The rows that every Redis component has; S has a member `struct redis_connection connection`. */
#define REDIS_CONNECTION_FIELDS(S)                                                                 \
    WEIR_F_NAMED(S, connection.url, "url", STR, const char *, .flags = WEIR_ADDRESS, .min = 1,     \
                 .max = REDIS_NAME_MAX, .unset = "`sentinel` says", .example = "localhost:6379",   \
                 .help = "The server: HOST:PORT, redis://HOST:PORT/DATABASE, or rediss:// for "    \
                         "TLS. Of a cluster, some of its nodes, with commas between."),            \
        WEIR_F_NAMED(S, connection.sentinel, "sentinel", OBJECT_PTR, struct redis_sentinel *,      \
                     .children = redis_sentinel_fields,                                            \
                     .item_size = sizeof(struct redis_sentinel), .flags = WEIR_ADDRESS,            \
                     .help = "Instead of `url`: asks these which server is the primary, again at " \
                             "each connection."),                                                  \
        WEIR_F_NAMED(S, connection.cluster, "cluster", BOOL, bool, .fallback = "false",            \
                     .flags = WEIR_CONNECTION,                                                     \
                     .help = "The server is a node of a cluster: keys are looked for on the node " \
                             "that has their slot."),                                              \
        WEIR_F_TLS(S, connection.tls),                                                             \
        WEIR_F_NAMED(S, connection.auth, "auth", OBJECT_PTR, struct redis_auth *,                  \
                     .children = redis_auth_fields, .item_size = sizeof(struct redis_auth),        \
                     .flags = WEIR_CONNECTION, .help = "Logs in with AUTH.")

#define REDIS_NEEDS                                                                                \
    "redis: a crash of the server loses nothing with `appendfsync always`, and with `everysec` "   \
    "at most its last second, as a whole; a replica that takes over lacks what had not reached "   \
    "it: `min-replicas-to-write 1` bounds that"

/* A server's address; redis_topology.h has those that sentinels and clusters name. */
struct redis_address {
    char host[REDIS_NAME_MAX + 1];
    int port, database;
    bool is_tls;
};
/* Reads one of a list with commas and moves *at behind it; false: it is none, or the list is over
 * (**at is '\0' before). */
bool redis_address_next(const char **at, int port, struct redis_address *ret);

enum redis_role { REDIS_ROLE_ANY, REDIS_ROLE_PRIMARY, REDIS_ROLE_CLUSTER, REDIS_ROLE_SENTINEL };
/* A connection to that very server, in blocking mode, logged in, with a time for each answer; NULL
 * and err on failure, WEIR_UNAVAILABLE when it is a replica and a primary is wanted. Any thread. */
redisContext *redis_connect_address(const struct redis_address *address,
                                    const struct redis_auth *auth,
                                    const struct weir_tls *tls,
                                    enum redis_role role,
                                    int64_t timeout_ms,
                                    struct weir_err *err);
/* Fills err from an error reply; a lost connection when reply is NULL. */
weir_status
redis_fail(struct weir_err *err, const char *what, redisContext *context, const redisReply *reply);
bool redis_reply_is(const redisReply *reply, const char *code);
/* Gives one command of text, in blocking mode; fails on an error reply and on another type than
 * wanted (0: any). NULL and err on failure. */
redisReply *redis_ask(redisContext *context,
                      const char *what,
                      int wanted,
                      struct weir_err *err,
                      size_t count,
                      const char *const *arguments);
/* WEIR_CONFIG: the key is there, and of another type. */
weir_status redis_check_type(redisContext *context,
                             const char *key,
                             const char *wanted,
                             struct weir_err *err);

/* The key of a command in the protocol's form: its first argument. */
struct weir_slice redis_command_key(struct weir_slice command);
/* Appends the head of a command of so many arguments, and an argument. */
void redis_put_head(struct weir_strbuf *out, size_t arguments);
void redis_put(struct weir_strbuf *out, struct weir_slice argument);

#endif

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

struct redis_connection {
    const char *url;
    struct redis_auth *auth;
    struct weir_tls *tls;
};

extern const struct weir_field redis_auth_fields[];

/* The rows that every Redis component has; S has a member `struct redis_connection connection`. */
#define REDIS_CONNECTION_FIELDS(S)                                                                 \
    WEIR_F_NAMED(S, connection.url, "url", STR, const char *,                                      \
                 .flags = WEIR_REQUIRED | WEIR_ADDRESS, .min = 1, .max = REDIS_NAME_MAX,           \
                 .example = "localhost:6379",                                                      \
                 .help = "The server: HOST:PORT, redis://HOST:PORT/DATABASE, or rediss:// for "    \
                         "TLS."),                                                                  \
        WEIR_F_TLS(S, connection.tls),                                                             \
        WEIR_F_NAMED(S, connection.auth, "auth", OBJECT_PTR, struct redis_auth *,                  \
                     .children = redis_auth_fields, .item_size = sizeof(struct redis_auth),        \
                     .flags = WEIR_CONNECTION, .help = "Logs in with AUTH.")

#define REDIS_NEEDS                                                                                \
    "redis: a crash of the server loses nothing with `appendfsync always`, and with `everysec` "   \
    "at "                                                                                          \
    "most its last second, as a whole"

/* For struct weir_component.check: is the URL one? */
weir_status redis_connection_check(const struct redis_connection *connection, struct weir_err *err);
/* For struct weir_component.probe: the server lets us in, and the stream (may be NULL) is none of
 * another type and may be read or written. Changes nothing. Any thread. */
weir_status redis_probe(const struct redis_connection *connection,
                        const char *stream,
                        bool writes,
                        struct weir_err *err);
/* A connection in blocking mode, logged in, with time-outs; NULL and err on failure. Any thread. */
redisContext *redis_connect(const struct redis_connection *connection, struct weir_err *err);
/* The same with a time for each answer; redis_connect gives 10 s. */
redisContext *redis_connect_within(const struct redis_connection *connection,
                                   int64_t timeout_ms,
                                   struct weir_err *err);
/* Fills err from an error reply; a lost connection when reply is NULL. */
weir_status
redis_fail(struct weir_err *err, const char *what, redisContext *context, const redisReply *reply);
bool redis_reply_is(const redisReply *reply, const char *code);
/* For struct weir_component.domain_name. */
weir_status redis_connection_domain(const struct redis_connection *connection,
                                    bool connect,
                                    struct weir_strbuf *out,
                                    struct weir_err *err);
/* Gives one command of text, in blocking mode; fails on an error reply and on another type than
 * wanted (0: any). NULL and err on failure. */
redisReply *redis_ask(redisContext *context,
                      const char *what,
                      int wanted,
                      struct weir_err *err,
                      size_t count,
                      const char *const *arguments);

/* Appends the head of a command of so many arguments, and an argument. */
void redis_put_head(struct weir_strbuf *out, size_t arguments);
void redis_put(struct weir_strbuf *out, struct weir_slice argument);

#endif

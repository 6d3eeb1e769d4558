/* SPDX-License-Identifier: Apache-2.0
 *
 * Which server to speak to: the one that the URL names, the primary that sentinels name, or the
 * node of a cluster that has the slot of a key.
 *
 * Nothing is remembered beyond a connection: whoever connects asks anew, so there is no map that
 * could be old. A fail-over or a slot that moved shows as a broken connection, READONLY or MOVED;
 * all of them are WEIR_UNAVAILABLE, and the answer to that is to connect again.
 */
#ifndef WEIR_REDIS_TOPOLOGY_H
#define WEIR_REDIS_TOPOLOGY_H

#include "redis_client.h"

enum { REDIS_SLOTS = 16384, REDIS_ANSWER_MS = 10000 };

/* The slot of a key: of what stands in its first braces, if anything does. */
unsigned redis_slot(struct weir_slice key);

/* For struct weir_component.check: does it say where the server is? */
weir_status redis_connection_check(const struct redis_connection *connection, struct weir_err *err);
/* What of a cluster commits as one: a slot. */
enum redis_place {
    REDIS_PLACE_KEY,    /* one key */
    REDIS_PLACE_TASK,   /* of each task its own, and what records are written to is looked at */
    REDIS_PLACE_SPREAD, /* over slots, whatever the task */
};
/* For struct weir_component.domain_name. key: of REDIS_PLACE_KEY. */
weir_status redis_connection_domain(const struct redis_connection *connection,
                                    enum redis_place place,
                                    const char *key,
                                    bool connect,
                                    struct weir_strbuf *out,
                                    struct weir_err *err);
/* For struct weir_component.probe: the server lets us in, and the stream (may be NULL) is none of
 * another type and may be read or written. Changes nothing. Any thread. */
weir_status redis_probe(const struct redis_connection *connection,
                        const char *stream,
                        bool writes,
                        struct weir_err *err);
/* A connection to the server that has the key (NULL: any node of a cluster), in blocking mode,
 * logged in, with a time for each answer. NULL and err on failure. Any thread. */
redisContext *redis_connect(const struct redis_connection *connection,
                            const char *key,
                            int64_t timeout_ms,
                            struct weir_err *err);

/* What a server knows is its process's: one that was started again, or took the place of another,
 * may lack what was answered before. */
enum { REDIS_SERVER_MAX = 48 };
/* From an answer to INFO server; "": it is none. */
void redis_server_id(const redisReply *info, char id[REDIS_SERVER_MAX]);

struct redis_node {
    struct redis_address address;
    redisContext *context;     /* NULL: not connected */
    bool is_away;              /* connecting has failed */
    char id[REDIS_SERVER_MAX]; /* of the server; "": not asked for */
};

/* Connections to the servers of several keys: one, unless they lie in a cluster. One thread at a
 * time. */
struct redis_nodes {
    const struct redis_connection *connection;
    int64_t timeout_ms;
    bool asks_id;
    struct redis_node *items;
    size_t count;
    uint16_t *slots; /* index of items + 1; 0: nobody has it. NULL: not known, or no cluster */
};

/* The one of the key, connected; NULL and err on failure. After a failure of any kind: drop. */
struct redis_node *redis_nodes_get(struct redis_nodes *self, const char *key, struct weir_err *err);
struct redis_node *
redis_nodes_get_slice(struct redis_nodes *self, struct weir_slice key, struct weir_err *err);
/* Closes all and forgets where keys are. */
void redis_nodes_drop(struct redis_nodes *self);
/* Drops if a connection is broken. */
void redis_nodes_mend(struct redis_nodes *self);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sentinels are asked in the order they are written; the first that knows the name counts, and the
 * server that it names must say itself that it is the primary (Redis, "Guidelines for Redis clients
 * with support for Redis Sentinel"). Clusters: CLUSTER SLOTS of the first node that answers.
 */
#include "redis_topology.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { PORT = 6379, SENTINEL_PORT = 26379, SENTINEL_ANSWER_MS = 1000 };

// clang-format off
#define S struct redis_sentinel
const struct weir_field redis_sentinel_fields[] = {
    WEIR_F_STRS(S, addresses, .flags = WEIR_REQUIRED, .min = 1, .max = 64,
                .example = "[s1:26379, s2:26379, s3:26379]",
                .help = "HOST:PORT of each sentinel, asked in this order."),
    WEIR_F_STR(S, master, .flags = WEIR_REQUIRED, .min = 1, .max = REDIS_NAME_MAX,
               .example = "mymaster", .help = "The name under which they watch the primary."),
    WEIR_F_INT(S, database, .fallback = "0", .min = 0, .max = 1 << 20,
               .help = "The database of the primary."),
    WEIR_F_OBJECT_PTR(S, auth, struct redis_auth, redis_auth_fields,
                      .help = "Logs in to the sentinels; `auth` beside `sentinel` to the primary."),
    WEIR_F_TLS(S, tls),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

/* --- what is written ---------------------------------------------------------------------------*/

static weir_status fail_address(struct weir_err *err, const char *path, const char *hint)
{
    weir_status status = weir_fail(err, WEIR_CONFIG, "this is no address of a Redis server");
    weir_err_hint(err, "%s", hint);
    weir_err_path(err, path);
    return status;
}

static weir_status check_sentinel(const struct redis_sentinel *sentinel, struct weir_err *err)
{
    struct redis_address address;
    for (size_t i = 0; i < sentinel->addresses.count; i++) {
        const char *at = sentinel->addresses.items[i];
        if (!redis_address_next(&at, SENTINEL_PORT, &address) || *at != '\0' ||
            address.database != 0) {
            return fail_address(err, "sentinel.addresses", "Write HOST:PORT for each sentinel.");
        }
    }
    return WEIR_OK;
}

weir_status redis_connection_check(const struct redis_connection *connection, struct weir_err *err)
{
    bool is_sentinel = connection->sentinel != NULL;
    if (connection->url == NULL && !is_sentinel) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "\"url\" is missing");
        weir_err_hint(err, "Write the server's address, or `sentinel`.");
        return status;
    }
    if (is_sentinel && (connection->url != NULL || connection->cluster)) {
        const char *other = connection->url != NULL ? "url" : "cluster";
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "%s has no meaning beside sentinel", other);
        weir_err_hint(err, "Leave one of them out.");
        weir_err_path(err, other);
        return status;
    }
    if (is_sentinel) {
        return check_sentinel(connection->sentinel, err);
    }
    struct redis_address address;
    const char *at = connection->url;
    if (!redis_address_next(&at, PORT, &address) || (*at != '\0' && !connection->cluster)) {
        return fail_address(err, "url",
                            "Write HOST:PORT or redis://HOST:PORT/DATABASE; user and password "
                            "stand under `auth`.");
    }
    while (*at != '\0' && address.database == 0) {
        if (!redis_address_next(&at, PORT, &address)) {
            return fail_address(err, "url", "Write HOST:PORT for each node, with commas between.");
        }
    }
    if (connection->cluster && address.database != 0) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "a cluster has no databases");
        weir_err_path(err, "url");
        return status;
    }
    return WEIR_OK;
}

/* --- sentinels ---------------------------------------------------------------------------------*/

/* WEIR_AGAIN: it knows no such name. */
static weir_status sentinel_ask(const struct redis_sentinel *sentinel,
                                const struct redis_address *address,
                                struct redis_address *ret,
                                struct weir_err *err)
{
    redisContext *context = redis_connect_address(address, sentinel->auth, sentinel->tls,
                                                  REDIS_ROLE_SENTINEL, SENTINEL_ANSWER_MS, err);
    if (context == NULL) {
        return err->status;
    }
    static const char *const command[] = {"SENTINEL", "get-master-addr-by-name"};
    const char *const question[] = {command[0], command[1], sentinel->master};
    redisReply *reply = redis_ask(context, "asking a sentinel", 0, err, 3, question);
    weir_status status = reply == NULL ? err->status : WEIR_AGAIN;
    if (reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2) {
        *ret = (struct redis_address){.database = (int)sentinel->database};
        bool fits =
            snprintf(ret->host, sizeof(ret->host), "%s", reply->element[0]->str) <
                (int)sizeof(ret->host) &&
            sscanf(reply->element[1]->str, "%d", &ret->port) == 1;
        status = fits ? WEIR_OK : redis_fail(err, "asking a sentinel", context, reply);
    }
    freeReplyObject(reply);
    redisFree(context);
    return status;
}

static redisContext *sentinel_connect(const struct redis_connection *connection,
                                      int64_t timeout_ms,
                                      struct weir_err *err)
{
    const struct redis_sentinel *sentinel = connection->sentinel;
    struct redis_address address, primary;
    bool is_unknown = false;
    for (size_t i = 0; i < sentinel->addresses.count; i++) {
        const char *at = sentinel->addresses.items[i];
        bool is_address = redis_address_next(&at, SENTINEL_PORT, &address);
        WEIR_ASSERT(is_address);
        weir_err_clear(err);
        weir_status status = sentinel_ask(sentinel, &address, &primary, err);
        if (status == WEIR_OK) {
            return redis_connect_address(&primary, connection->auth, connection->tls,
                                         REDIS_ROLE_PRIMARY, timeout_ms, err);
        }
        is_unknown = is_unknown || status == WEIR_AGAIN;
    }
    if (is_unknown) {
        weir_err_clear(err);
        (void)!weir_fail(err, WEIR_CONFIG, "no sentinel watches a primary named %s",
                         sentinel->master);
        weir_err_path(err, "sentinel.master");
    }
    return NULL;
}

/* --- clusters ----------------------------------------------------------------------------------*/

/* CRC-16/XMODEM, as the cluster's specification has it. */
unsigned redis_slot(struct weir_slice key)
{
    const char *open = memchr(key.data, '{', key.size);
    if (open != NULL) {
        const char *from = open + 1;
        const char *end = memchr(from, '}', (size_t)(key.data + key.size - from));
        if (end != NULL && end > from) {
            key = (struct weir_slice){from, (size_t)(end - from)};
        }
    }
    unsigned crc = 0;
    for (size_t i = 0; i < key.size; i++) {
        crc ^= (unsigned)(unsigned char)key.data[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1;
        }
    }
    return crc & (REDIS_SLOTS - 1);
}

/* The first node that answers. */
static redisContext *cluster_seed(const struct redis_connection *connection,
                                  int64_t timeout_ms,
                                  struct redis_address *ret,
                                  struct weir_err *err)
{
    const char *at = connection->url;
    redisContext *context = NULL;
    while (context == NULL && *at != '\0') {
        bool is_address = redis_address_next(&at, PORT, ret);
        WEIR_ASSERT(is_address);
        weir_err_clear(err);
        context = redis_connect_address(ret, connection->auth, connection->tls, REDIS_ROLE_CLUSTER,
                                        timeout_ms, err);
    }
    return context;
}

static redisReply *ask_slots(redisContext *context, struct weir_err *err)
{
    static const char *const question[] = {"CLUSTER", "SLOTS"};
    return redis_ask(context, "CLUSTER SLOTS", REDIS_REPLY_ARRAY, err, 2, question);
}

static bool row_is_sound(const redisReply *row)
{
    return row->type == REDIS_REPLY_ARRAY && row->elements >= 3 && row->element[0]->integer >= 0 &&
           row->element[1]->integer < REDIS_SLOTS && row->element[2]->type == REDIS_REPLY_ARRAY &&
           row->element[2]->elements >= 3;
}

/* Index + 1 of the node that a row names. Without a name it is the one that was asked. */
static uint16_t nodes_add(struct redis_nodes *self,
                          const struct redis_address *asked,
                          const redisReply *node)
{
    struct redis_address address = *asked;
    const char *host = node->element[0]->str;
    if (host != NULL && host[0] != '\0' && strcmp(host, "?") != 0) {
        snprintf(address.host, sizeof(address.host), "%s", host);
    }
    address.port = (int)node->element[1]->integer;
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].address.port == address.port &&
            strcmp(self->items[i].address.host, address.host) == 0) {
            return (uint16_t)(i + 1);
        }
    }
    self->items = weir_realloc(self->items, self->count + 1, sizeof(*self->items));
    self->items[self->count++] = (struct redis_node){.address = address};
    return (uint16_t)self->count;
}

static weir_status nodes_learn(struct redis_nodes *self, struct weir_err *err)
{
    struct redis_address asked;
    redisContext *context = cluster_seed(self->connection, self->timeout_ms, &asked, err);
    redisReply *reply = context == NULL ? NULL : ask_slots(context, err);
    if (reply != NULL) {
        self->slots = weir_calloc(REDIS_SLOTS, sizeof(*self->slots));
        for (size_t i = 0; i < reply->elements; i++) {
            const redisReply *row = reply->element[i];
            if (!row_is_sound(row) || self->count == REDIS_SLOTS) {
                (void)!redis_fail(err, "CLUSTER SLOTS", context, reply);
                break;
            }
            uint16_t node = nodes_add(self, &asked, row->element[2]);
            for (long long slot = row->element[0]->integer; slot <= row->element[1]->integer;
                 slot++) {
                self->slots[slot] = node;
            }
        }
    }
    freeReplyObject(reply);
    if (context != NULL) {
        redisFree(context);
    }
    return err->status;
}

/* --- connecting --------------------------------------------------------------------------------*/

static redisContext *
connect_any(const struct redis_connection *connection, int64_t timeout_ms, struct weir_err *err)
{
    struct redis_address address;
    if (connection->sentinel != NULL) {
        return sentinel_connect(connection, timeout_ms, err);
    }
    if (connection->cluster) {
        return cluster_seed(connection, timeout_ms, &address, err);
    }
    const char *at = connection->url;
    bool is_address = redis_address_next(&at, PORT, &address);
    WEIR_ASSERT(is_address); /* checked when it was read */
    return redis_connect_address(&address, connection->auth, connection->tls, REDIS_ROLE_ANY,
                                 timeout_ms, err);
}

void redis_server_id(const redisReply *info, char id[REDIS_SERVER_MAX])
{
    static const char name[] = "run_id:";
    bool is_text = info != NULL && info->type == REDIS_REPLY_STRING;
    const char *at = is_text ? strstr(info->str, name) : NULL;
    size_t size = at == NULL ? 0 : strcspn(at + strlen(name), "\r\n");
    bool fits = size > 0 && size < REDIS_SERVER_MAX;
    snprintf(id, REDIS_SERVER_MAX, "%.*s", fits ? (int)size : 0, fits ? at + strlen(name) : "");
}

static weir_status
ask_server_id(redisContext *context, char id[REDIS_SERVER_MAX], struct weir_err *err)
{
    static const char *const question[] = {"INFO", "server"};
    redisReply *reply = redis_ask(context, "INFO", REDIS_REPLY_STRING, err, 2, question);
    redis_server_id(reply, id);
    freeReplyObject(reply);
    return err->status;
}

static struct redis_node *
nodes_connect(struct redis_nodes *self, struct redis_node *node, struct weir_err *err)
{
    const struct redis_connection *connection = self->connection;
    if (node->context != NULL) {
        return node;
    }
    if (node->is_away) {
        (void)!weir_fail(err, WEIR_UNAVAILABLE, "%s:%d is away", node->address.host,
                         node->address.port);
        return NULL;
    }
    node->context = connection->cluster
                        ? redis_connect_address(&node->address, connection->auth, connection->tls,
                                                REDIS_ROLE_CLUSTER, self->timeout_ms, err)
                        : connect_any(connection, self->timeout_ms, err);
    node->is_away = node->context == NULL ||
                    (self->asks_id && ask_server_id(node->context, node->id, err) != WEIR_OK);
    return node->is_away ? NULL : node;
}

struct redis_node *redis_nodes_get(struct redis_nodes *self, const char *key, struct weir_err *err)
{
    return redis_nodes_get_slice(self, weir_slice_of(key), err);
}

struct redis_node *
redis_nodes_get_slice(struct redis_nodes *self, struct weir_slice key, struct weir_err *err)
{
    if (!self->connection->cluster) {
        if (self->items == NULL) {
            self->items = weir_calloc(1, sizeof(*self->items));
            self->count = 1;
        }
        return nodes_connect(self, &self->items[0], err);
    }
    if (self->slots == NULL && nodes_learn(self, err) != WEIR_OK) {
        return NULL;
    }
    unsigned slot = redis_slot(key);
    if (self->slots[slot] == 0) {
        (void)!weir_fail(err, WEIR_UNAVAILABLE, "no node of the cluster has slot %u, of %.*s", slot,
                         key.size < 200 ? (int)key.size : 200, key.data);
        return NULL;
    }
    return nodes_connect(self, &self->items[self->slots[slot] - 1], err);
}

void redis_nodes_drop(struct redis_nodes *self)
{
    for (size_t i = 0; i < self->count; i++) {
        if (self->items[i].context != NULL) {
            redisFree(self->items[i].context);
        }
    }
    weir_free(self->items);
    weir_free(self->slots);
    self->items = NULL;
    self->slots = NULL;
    self->count = 0;
}

void redis_nodes_mend(struct redis_nodes *self)
{
    bool is_broken = false;
    for (size_t i = 0; i < self->count; i++) {
        is_broken = is_broken || self->items[i].is_away ||
                    (self->items[i].context != NULL && self->items[i].context->err != 0);
    }
    if (is_broken) {
        redis_nodes_drop(self);
    }
}

redisContext *redis_connect(const struct redis_connection *connection,
                            const char *key,
                            int64_t timeout_ms,
                            struct weir_err *err)
{
    if (key == NULL) {
        return connect_any(connection, timeout_ms, err);
    }
    struct redis_nodes nodes = {.connection = connection, .timeout_ms = timeout_ms};
    struct redis_node *node = redis_nodes_get(&nodes, key, err);
    redisContext *context = node == NULL ? NULL : node->context;
    if (node != NULL) {
        node->context = NULL; /* the caller's */
    }
    redis_nodes_drop(&nodes);
    return context;
}

/* --- what the engine asks ----------------------------------------------------------------------*/

static void domain_written(const struct redis_connection *connection, struct weir_strbuf *out)
{
    const struct redis_sentinel *sentinel = connection->sentinel;
    struct redis_address address;
    const char *at = connection->url;
    if (sentinel != NULL) {
        weir_strbuf_printf(out, "redis:sentinel:%s/%lld", sentinel->master,
                           (long long)sentinel->database);
        for (size_t i = 0; i < sentinel->addresses.count; i++) {
            weir_strbuf_printf(out, ",%s", sentinel->addresses.items[i]);
        }
    } else if (connection->cluster) {
        weir_strbuf_printf(out, "redis:cluster:%s", connection->url);
    } else if (redis_address_next(&at, PORT, &address)) {
        weir_strbuf_printf(out, "redis:%s:%d/%d", address.host, address.port, address.database);
    }
}

static int database_of(const struct redis_connection *connection)
{
    struct redis_address address = {0};
    const char *at = connection->url;
    if (connection->sentinel != NULL) {
        return (int)connection->sentinel->database;
    }
    (void)redis_address_next(&at, PORT, &address);
    return address.database;
}

/* A cluster is known by the node that has its first slot, a server by its process. */
weir_status redis_connection_domain(const struct redis_connection *connection,
                                    enum redis_place place,
                                    const char *key,
                                    bool connect,
                                    struct weir_strbuf *out,
                                    struct weir_err *err)
{
    if (redis_connection_check(connection, err) != WEIR_OK) {
        return err->status;
    }
    if (connection->cluster && place == REDIS_PLACE_KEY) {
        weir_strbuf_printf(out, "slot %u of ", redis_slot(weir_slice_of(key)));
    } else if (connection->cluster) {
        weir_strbuf_text(out, place == REDIS_PLACE_TASK ? "a slot of " : "slots of ");
    }
    if (!connect) {
        domain_written(connection, out);
        return WEIR_OK;
    }
    redisContext *context = redis_connect(connection, NULL, REDIS_ANSWER_MS, err);
    if (context == NULL) {
        return err->status;
    }
    char id[REDIS_SERVER_MAX];
    redisReply *reply = connection->cluster ? ask_slots(context, err) : NULL;
    if (!connection->cluster && ask_server_id(context, id, err) == WEIR_OK) {
        weir_strbuf_printf(out, "redis:%s/%d", id, database_of(connection));
    }
    for (size_t i = 0; reply != NULL && i < reply->elements; i++) {
        const redisReply *row = reply->element[i];
        if (row_is_sound(row) && row->element[0]->integer == 0) {
            weir_strbuf_printf(out, "redis:cluster:%s", row->element[2]->element[2]->str);
        }
    }
    freeReplyObject(reply);
    redisFree(context);
    return err->status;
}

/* A command with an entry id that is none is refused for that, and for nothing else, by a server
 * that would let us: permissions are looked at first, and nothing is done. */
weir_status redis_probe(const struct redis_connection *connection,
                        const char *stream,
                        bool writes,
                        struct weir_err *err)
{
    redisContext *context = redis_connect(connection, stream, REDIS_ANSWER_MS, err);
    if (context == NULL) {
        return err->status;
    }
    weir_status status = WEIR_OK;
    if (stream != NULL) {
        redisReply *reply =
            writes ? redisCommand(context, "XADD %s ? field value", stream)
                   : redisCommand(context, "XREADGROUP GROUP weir weir STREAMS %s ?", stream);
        bool may_not = reply == NULL || redis_reply_is(reply, "NOPERM");
        if (may_not) {
            status = redis_fail(err, writes ? "writing" : "reading", context, reply);
            weir_err_path(err, "stream");
        }
        freeReplyObject(reply);
    }
    if (stream != NULL && status == WEIR_OK) {
        redisReply *reply = redisCommand(context, "TYPE %s", stream);
        if (reply != NULL && reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "none") != 0 &&
            strcmp(reply->str, "stream") != 0) {
            status = weir_fail(err, WEIR_CONFIG, "%s is no stream but a %s", stream, reply->str);
            weir_err_path(err, "stream");
        }
        freeReplyObject(reply);
    }
    redisFree(context);
    return status;
}


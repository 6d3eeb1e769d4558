/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to one Redis server; redis_topology.c knows which. The class of an error reply is decided by its first word, which
 * is the only part of it that the server keeps stable: a server that loads, fails over or has no
 * memory is *unavailable*, so what was under way is tried again; a login that fails or a command
 * that the user may not give ends the pipeline, because no retry mends it.
 */
#include "redis_client.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>

#include "base/assert.h"

enum { CONNECT_TIMEOUT_MS = 3000, DATABASE_MAX = 1 << 20 };

const struct weir_field redis_auth_fields[] = {
    WEIR_F_STR(struct redis_auth,
               user,
               .min = 1,
               .max = REDIS_NAME_MAX,
               .unset = "the default user",
               .example = "weir",
               .help = "User name (ACL)."),
    WEIR_F_STR(struct redis_auth,
               password,
               .flags = WEIR_REQUIRED | WEIR_SECRET,
               .example = "${file:/run/secrets/redis}",
               .help = "Password."),
    WEIR_FIELDS_END,
};

/* --- the address -------------------------------------------------------------------------------*/

static bool parse_number(const char **at, int max, int *ret)
{
    char *end;
    long number = strtol(*at, &end, 10);
    bool fits = end != *at && **at >= '0' && **at <= '9' && number <= max;
    *at = end;
    *ret = (int)number;
    return fits;
}

bool redis_address_next(const char **at, int port, struct redis_address *ret)
{
    *ret = (struct redis_address){.port = port};
    if (strncmp(*at, "redis://", 8) == 0) {
        *at += 8;
    } else if (strncmp(*at, "rediss://", 9) == 0) {
        *at += 9;
        ret->is_tls = true;
    }
    bool bracketed = **at == '[';
    *at += bracketed;
    size_t size = strcspn(*at, bracketed ? "]" : ":/,");
    bool is_legal = size > 0 && size < sizeof(ret->host) && memchr(*at, '@', size) == NULL &&
                    (!bracketed || (*at)[size] == ']');
    if (is_legal) {
        memcpy(ret->host, *at, size);
        *at += size + bracketed;
        if (**at == ':') {
            (*at)++;
            is_legal = parse_number(at, 65535, &ret->port);
        }
        if (is_legal && **at == '/') {
            (*at)++;
            is_legal =
                **at == '\0' || **at == ',' || parse_number(at, DATABASE_MAX, &ret->database);
        }
    }
    bool is_over = **at == '\0';
    is_legal = is_legal && (is_over || (**at == ',' && (*at)[1] != '\0'));
    *at += is_legal && !is_over;
    return is_legal;
}

/* --- errors ------------------------------------------------------------------------------------*/

static const struct {
    const char *code;
    weir_status status;
} codes[] = {
    {"LOADING", WEIR_UNAVAILABLE},
    {"READONLY", WEIR_UNAVAILABLE},
    {"MASTERDOWN", WEIR_UNAVAILABLE},
    {"CLUSTERDOWN", WEIR_UNAVAILABLE},
    {"TRYAGAIN", WEIR_UNAVAILABLE},
    {"BUSY", WEIR_UNAVAILABLE},
    {"OOM", WEIR_UNAVAILABLE},
    {"MISCONF", WEIR_UNAVAILABLE},
    {"NOREPLICAS", WEIR_UNAVAILABLE},
    {"UNBLOCKED", WEIR_UNAVAILABLE},
    {"NOGROUP", WEIR_UNAVAILABLE},
    {"MOVED", WEIR_UNAVAILABLE},
    {"ASK", WEIR_UNAVAILABLE},
    {"NOPERM", WEIR_DENIED},
    {"NOAUTH", WEIR_DENIED},
    {"WRONGPASS", WEIR_DENIED},
};

bool redis_reply_is(const redisReply *reply, const char *code)
{
    size_t size = strlen(code);
    return reply != NULL && reply->type == REDIS_REPLY_ERROR && reply->len >= size &&
           memcmp(reply->str, code, size) == 0 && (reply->len == size || reply->str[size] == ' ');
}

weir_status
redis_fail(struct weir_err *err, const char *what, redisContext *context, const redisReply *reply)
{
    if (reply == NULL) {
        return weir_fail(err, WEIR_UNAVAILABLE, "%s: the connection broke: %s", what,
                         context == NULL || context->errstr[0] == '\0' ? "no answer"
                                                                       : context->errstr);
    }
    if (reply->type != REDIS_REPLY_ERROR) {
        return weir_fail(err, WEIR_FATAL, "%s: the server's answer has an unknown shape", what);
    }
    weir_status status = WEIR_REJECTED;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        status = redis_reply_is(reply, codes[i].code) ? codes[i].status : status;
    }
    return weir_fail(err, status, "%s: %s", what, reply->str);
}

/* --- connecting --------------------------------------------------------------------------------*/

static weir_status connection_encrypt(const struct weir_tls *tls,
                                      const char *host,
                                      redisContext *context,
                                      struct weir_err *err)
{
    static const struct weir_tls defaults = {.verify = true, .min_version = WEIR_TLS_1_2};
    SSL *session = weir_tls_session_new(tls != NULL ? tls : &defaults, host, err);
    if (session == NULL) {
        return err->status;
    }
    SSL_up_ref(session); /* the context frees its own, also when it fails */
    weir_status status = WEIR_OK;
    if (redisInitiateSSL(context, session) != REDIS_OK) {
        status = weir_tls_fail(session, host, err);
    }
    SSL_free(session);
    return status;
}

static weir_status
context_ask(redisContext *context, const char *what, redisReply *reply, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        status = redis_fail(err, what, context, reply);
        status = err->status = status == WEIR_REJECTED ? WEIR_DENIED : status;
    }
    freeReplyObject(reply);
    return status;
}

static weir_status connection_log_in(const struct redis_auth *auth,
                                     const struct redis_address *address,
                                     redisContext *context,
                                     struct weir_err *err)
{
    weir_status status = WEIR_OK;
    if (auth != NULL) {
        const char *user = auth->user != NULL ? auth->user : "default";
        status = context_ask(context, "logging in",
                             redisCommand(context, "AUTH %s %s", user, auth->password), err);
    }
    if (status == WEIR_OK && address->database != 0) {
        status = context_ask(context, "choosing the database",
                             redisCommand(context, "SELECT %d", address->database), err);
    }
    return status == WEIR_OK ? context_ask(context, "PING", redisCommand(context, "PING"), err)
                             : status;
}

/* A word of the answer to HELLO; "": an old server has none. */
static const char *hello_find(const redisReply *hello, const char *name)
{
    for (size_t i = 0; hello->type == REDIS_REPLY_ARRAY && i + 1 < hello->elements; i += 2) {
        if (strcmp(hello->element[i]->str, name) == 0) {
            return hello->element[i + 1]->str;
        }
    }
    return "";
}

/* Is the server what it is meant to be? HELLO needs no permission. */
static weir_status connection_know(const struct redis_address *address,
                                   enum redis_role role,
                                   redisContext *context,
                                   struct weir_err *err)
{
    redisReply *hello = redisCommand(context, "HELLO");
    if (hello == NULL) {
        return redis_fail(err, "HELLO", context, NULL);
    }
    weir_status status = WEIR_OK;
    bool is_clustered = strcmp(hello_find(hello, "mode"), "cluster") == 0;
    if (is_clustered && role != REDIS_ROLE_CLUSTER) {
        status = weir_fail(err, WEIR_CONFIG, "%s:%d is a node of a cluster", address->host,
                           address->port);
        weir_err_hint(err, "Write `cluster: true` beside `url`.");
    } else if (!is_clustered && role == REDIS_ROLE_CLUSTER) {
        status =
            weir_fail(err, WEIR_CONFIG, "%s:%d is in no cluster", address->host, address->port);
        weir_err_hint(err, "Leave `cluster` out.");
    } else if (role == REDIS_ROLE_PRIMARY && strcmp(hello_find(hello, "role"), "master") != 0) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "%s:%d is not the primary (yet, or any more)",
                           address->host, address->port);
    }
    freeReplyObject(hello);
    return status;
}

static struct timeval time_of(int64_t ms)
{
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
}

redisContext *redis_connect_address(const struct redis_address *address,
                                    const struct redis_auth *auth,
                                    const struct weir_tls *tls,
                                    enum redis_role role,
                                    int64_t timeout_ms,
                                    struct weir_err *err)
{
    int64_t connect_ms = timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS;
    const struct timeval connecting = time_of(connect_ms), asking = time_of(timeout_ms);
    redisOptions options = {.connect_timeout = &connecting, .command_timeout = &asking};
    REDIS_OPTIONS_SET_TCP(&options, address->host, address->port);
    redisContext *context = redisConnectWithOptions(&options);
    weir_status status = WEIR_OK;
    if (context == NULL || context->err != 0) {
        status = weir_fail(err, WEIR_UNAVAILABLE, "cannot connect to %s:%d: %s", address->host,
                           address->port, context == NULL ? "no memory" : context->errstr);
    }
    bool is_tls = address->is_tls || tls != NULL;
    if (status == WEIR_OK && is_tls) {
        status = connection_encrypt(tls, address->host, context, err);
    }
    if (status == WEIR_OK) {
        status = connection_log_in(auth, address, context, err);
        if (status == WEIR_UNAVAILABLE && is_tls && context->err != 0) {
            /* With TLS 1.3 that is how a server says no to a client, if one hears it at all. */
            weir_err_hint(err, "If it wants a certificate of its clients, write `tls.cert` and "
                               "`tls.key`.");
        }
    }
    if (status == WEIR_OK && role != REDIS_ROLE_SENTINEL) {
        status = connection_know(address, role, context, err);
    }
    if (status != WEIR_OK && context != NULL) {
        redisFree(context);
        context = NULL;
    }
    return context;
}

/* --- commands ----------------------------------------------------------------------------------*/

static void put_size(struct weir_strbuf *out, char mark, size_t size)
{
    char text[24];
    char *at = text + sizeof(text);
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (char)('0' + size % 10);
        size /= 10;
    } while (size > 0);
    *--at = mark;
    weir_strbuf_append(out, at, (size_t)(text + sizeof(text) - at));
}

void redis_put_head(struct weir_strbuf *out, size_t arguments)
{
    put_size(out, '*', arguments);
}

void redis_put(struct weir_strbuf *out, struct weir_slice argument)
{
    put_size(out, '$', argument.size);
    weir_strbuf_slice(out, argument);
    weir_strbuf_append(out, "\r\n", 2);
}

/* Behind "$SIZE\r\n" or "*COUNT\r\n", which moves out of the text. */
static size_t take_size(struct weir_slice *text)
{
    char *end;
    size_t size = strtoul(text->data + 1, &end, 10);
    end += 2;
    text->size -= (size_t)(end - text->data);
    text->data = end;
    return size;
}

struct weir_slice redis_command_key(struct weir_slice command)
{
    (void)take_size(&command);
    size_t name = take_size(&command) + 2;
    command.data += name;
    command.size -= name;
    size_t size = take_size(&command);
    WEIR_ASSERT(size <= command.size);
    return (struct weir_slice){command.data, size};
}

redisReply *redis_ask(redisContext *context,
                      const char *what,
                      int wanted,
                      struct weir_err *err,
                      size_t count,
                      const char *const *arguments)
{
    redisReply *reply =
        redisCommandArgv(context, (int)count, (const char **)(uintptr_t)arguments, NULL);
    if (reply != NULL && reply->type != REDIS_REPLY_ERROR &&
        (wanted == 0 || reply->type == wanted)) {
        return reply;
    }
    (void)!redis_fail(err, what, context, reply);
    freeReplyObject(reply);
    return NULL;
}

weir_status redis_check_type(redisContext *context,
                             const char *key,
                             const char *wanted,
                             struct weir_err *err)
{
    const char *const question[] = {"TYPE", key};
    redisReply *reply = redis_ask(context, key, REDIS_REPLY_STATUS, err, 2, question);
    if (reply == NULL) {
        return err->status;
    }
    weir_status status = WEIR_OK;
    if (strcmp(reply->str, wanted) != 0 && strcmp(reply->str, "none") != 0) {
        status = weir_fail(err, WEIR_CONFIG, "%.200s is no %s but a %s", key, wanted, reply->str);
    }
    freeReplyObject(reply);
    return status;
}

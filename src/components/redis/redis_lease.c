/* SPDX-License-Identifier: Apache-2.0
 *
 * Each call is one script, so that looking and writing are one. Expiry is the server's: its clock
 * decides who may take, ours only when to stop.
 */
#include "redis_lease.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

/* A server that hangs must not hold up the keeper for longer than a round. */
enum { PATIENCE = 3 };
enum { NUMBER_MAX = 24, ARGUMENTS_MAX = 12 };

void redis_key(char key[REDIS_KEY_MAX], const char *name, const char *tag, const char *what)
{
    int size = snprintf(key, REDIS_KEY_MAX, "weir:%s:{%s}:%s", name, tag, what);
    WEIR_ASSERT(size > 0 && size < REDIS_KEY_MAX);
}

redisReply *redis_eval(redisContext *context,
                       const char *what,
                       struct weir_err *err,
                       const char *script,
                       size_t keys,
                       size_t count,
                       const char *const *arguments)
{
    const char *line[3 + ARGUMENTS_MAX] = {"EVAL", script};
    char number[NUMBER_MAX];
    WEIR_ASSERT(count <= ARGUMENTS_MAX);
    snprintf(number, sizeof(number), "%zu", keys);
    line[2] = number;
    for (size_t i = 0; i < count; i++) {
        line[3 + i] = arguments[i];
    }
    return redis_ask(context, what, 0, err, 3 + count, line);
}

void redis_lease_medium_done(struct redis_lease_medium *self)
{
    redis_nodes_drop(&self->nodes);
}

static void print_nonce(char text[NUMBER_MAX], uint64_t nonce)
{
    snprintf(text, NUMBER_MAX, "%016llx", (unsigned long long)nonce);
}

/* Where the first key is. After an error nobody knows what the server would still send. */
static redisReply *medium_eval(struct redis_lease_medium *self,
                               struct weir_err *err,
                               const char *script,
                               size_t keys,
                               size_t count,
                               const char *const *arguments)
{
    self->nodes.connection = self->connection;
    self->nodes.timeout_ms = self->ttl_ms / PATIENCE;
    const struct redis_node *node = redis_nodes_get(&self->nodes, arguments[0], err);
    redisReply *reply = node == NULL ? NULL
                                     : redis_eval(node->context, "leases", err, script, keys, count,
                                                  arguments);
    if (reply == NULL) {
        redis_nodes_drop(&self->nodes);
    }
    return reply;
}

static weir_status medium_beat(void *instance, struct weir_leases *leases, struct weir_err *err)
{
    static const char script[] = "#!lua flags=allow-oom\n"
                                 "local t = redis.call('TIME')\n"
                                 "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
                                 "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)\n"
                                 "redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])\n"
                                 "redis.call('PEXPIRE', KEYS[1], 10 * ARGV[2])\n"
                                 "return redis.call('ZRANGE', KEYS[1], 0, -1)";
    struct redis_lease_medium *self = instance;
    char key[REDIS_KEY_MAX], nonce[NUMBER_MAX], ttl[NUMBER_MAX];
    redis_key(key, self->name, self->name, "members");
    print_nonce(nonce, self->nonce);
    snprintf(ttl, sizeof(ttl), "%lld", (long long)self->ttl_ms);
    const char *const arguments[] = {key, nonce, ttl};
    redisReply *reply = medium_eval(self, err, script, 1, 3, arguments);
    if (reply == NULL) {
        return err->status;
    }
    for (size_t i = 0; i < reply->elements; i++) {
        weir_leases_see(leases, strtoull(reply->element[i]->str, NULL, 16));
    }
    freeReplyObject(reply);
    return WEIR_OK;
}

static weir_status
medium_take(void *instance, uint32_t index, uint64_t *ret_token, struct weir_err *err)
{
    static const char script[] =
        "local held = redis.call('GET', KEYS[1])\n"
        "if held and string.sub(held, 1, 16) ~= ARGV[1] then return 0 end\n"
        "local token = redis.call('INCR', KEYS[2])\n"
        "redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'PX', ARGV[2])\n"
        "return token";
    struct redis_lease_medium *self = instance;
    char lease[REDIS_KEY_MAX], token[REDIS_KEY_MAX], nonce[NUMBER_MAX], ttl[NUMBER_MAX];
    redis_key(lease, self->name, self->tags[index], "lease");
    redis_key(token, self->name, self->tags[index], "token");
    print_nonce(nonce, self->nonce);
    snprintf(ttl, sizeof(ttl), "%lld", (long long)self->ttl_ms);
    const char *const arguments[] = {lease, token, nonce, ttl};
    redisReply *reply = medium_eval(self, err, script, 2, 4, arguments);
    if (reply == NULL) {
        return err->status;
    }
    *ret_token = (uint64_t)reply->integer;
    freeReplyObject(reply);
    return *ret_token > 0 ? WEIR_OK : WEIR_AGAIN;
}

/* Does something to the lease if it is still of this tenure. */
static weir_status medium_tenure(struct redis_lease_medium *self,
                                 uint32_t index,
                                 uint64_t token,
                                 const char *script,
                                 struct weir_err *err)
{
    char lease[REDIS_KEY_MAX], value[2 * NUMBER_MAX], ttl[NUMBER_MAX];
    redis_key(lease, self->name, self->tags[index], "lease");
    snprintf(value, sizeof(value), "%016llx:%llu", (unsigned long long)self->nonce,
             (unsigned long long)token);
    snprintf(ttl, sizeof(ttl), "%lld", (long long)self->ttl_ms);
    const char *const arguments[] = {lease, value, ttl};
    redisReply *reply = medium_eval(self, err, script, 1, 3, arguments);
    if (reply == NULL) {
        return err->status;
    }
    bool is_ours = reply->integer == 1;
    freeReplyObject(reply);
    return is_ours ? WEIR_OK : weir_fail(err, WEIR_FENCED, "the lease is another's");
}

static weir_status
medium_renew(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    static const char script[] = "#!lua flags=allow-oom\n"
                                 "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
                                 "return redis.call('PEXPIRE', KEYS[1], ARGV[2])";
    return medium_tenure(instance, index, token, script, err);
}

static weir_status
medium_release(void *instance, uint32_t index, uint64_t token, struct weir_err *err)
{
    static const char script[] = "#!lua flags=allow-oom\n"
                                 "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
                                 "return redis.call('DEL', KEYS[1])";
    return medium_tenure(instance, index, token, script, err);
}

static weir_status medium_leave(void *instance, struct weir_err *err)
{
    static const char script[] = "#!lua flags=allow-oom\n"
                                 "return redis.call('ZREM', KEYS[1], ARGV[1])";
    struct redis_lease_medium *self = instance;
    char key[REDIS_KEY_MAX], nonce[NUMBER_MAX];
    redis_key(key, self->name, self->name, "members");
    print_nonce(nonce, self->nonce);
    const char *const arguments[] = {key, nonce};
    redisReply *reply = medium_eval(self, err, script, 1, 2, arguments);
    if (reply == NULL) {
        return err->status;
    }
    freeReplyObject(reply);
    return WEIR_OK;
}

const struct weir_lease_medium redis_lease_medium = {
    .beat = medium_beat,
    .take = medium_take,
    .renew = medium_renew,
    .release = medium_release,
    .leave = medium_leave,
};

/* --- a singleton's -----------------------------------------------------------------------------*/

struct redis_singleton {
    struct redis_lease_medium medium; /* first: what the medium's calls get */
    const char *tag;
};

static weir_status singleton_open(void *instance,
                                  const void *config,
                                  const char *pipeline,
                                  uint64_t nonce,
                                  int64_t ttl_ms,
                                  struct weir_err *err)
{
    (void)err;
    struct redis_singleton *self = instance;
    self->tag = "singleton";
    self->medium = (struct redis_lease_medium){.connection = config,
                                               .name = pipeline,
                                               .tags = &self->tag,
                                               .nonce = nonce,
                                               .ttl_ms = ttl_ms};
    return WEIR_OK;
}

static void singleton_close(void *instance)
{
    redis_lease_medium_done(instance);
}

const struct weir_lease_ops redis_lease_ops = {
    .self_size = sizeof(struct redis_singleton),
    .medium = &redis_lease_medium,
    .open = singleton_open,
    .close = singleton_close,
};

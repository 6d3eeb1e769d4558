/* SPDX-License-Identifier: Apache-2.0
 *
 * Nothing is kept between records. A command that the pipeline computes must have exactly one
 * answer, as answers are counted: `allowed` names those.
 */
#include "redis_command.h"

#include <string.h>
#include <strings.h>

#include "base/fnv.h"

enum { ARGUMENTS_MAX = 10000 };

/* Commands with exactly one answer, that neither block nor change the connection. */
static const char *const allowed[] = {
    "APPEND",
    "DECR",
    "DECRBY",
    "DEL",
    "EXPIRE",
    "GEOADD",
    "HDEL",
    "HINCRBY",
    "HSET",
    "HINCRBYFLOAT",
    "HSETNX",
    "INCR",
    "INCRBY",
    "INCRBYFLOAT",
    "LPUSH",
    "LTRIM",
    "MSET",
    "PEXPIRE",
    "PFADD",
    "PUBLISH",
    "RPUSH",
    "SADD",
    "SET",
    "SETBIT",
    "SETEX",
    "SPUBLISH",
    "SREM",
    "UNLINK",
    "XADD",
    "XTRIM",
    "ZADD",
    "ZINCRBY",
    "ZREM",
    "ZREMRANGEBYSCORE",
    "ZREMRANGEBYRANK",
    "HMSET",
    "SETNX",
    "EXPIREAT",
    "PEXPIREAT",
};

static uint64_t key_hash(struct weir_slice key)
{
    uint64_t hash = weir_fnv(WEIR_FNV_START, key.data, key.size);
    return hash ^ hash >> 32;
}

static void put_value(struct weir_strbuf *out, struct weir_strbuf *scratch, struct weir_value value)
{
    struct weir_slice text = weir_value_text(value);
    if (text.data == NULL) {
        weir_strbuf_clear(scratch);
        weir_value_write(value, scratch, 0);
        text = weir_strbuf_view(scratch);
    }
    redis_put(out, text);
}

static void put_stream(const struct redis_sink_config *config,
                       const struct weir_record *record,
                       struct weir_slice stream,
                       struct weir_strbuf *out,
                       struct weir_strbuf *scratch)
{
    if (config->partitions == 0) {
        redis_put(out, stream);
        return;
    }
    uint64_t hash = record->key.data != NULL ? key_hash(record->key) : (uint64_t)record->position;
    weir_strbuf_clear(scratch);
    weir_strbuf_slice(scratch, stream);
    weir_strbuf_printf(scratch, ":{%llu}",
                       (unsigned long long)(hash % (uint64_t)config->partitions));
    redis_put(out, weir_strbuf_view(scratch));
}

/* XADD stream [MAXLEN|MINID ~ n] *, then so many pairs. */
static void put_add(const struct redis_sink_config *config,
                    const struct weir_clock *clock,
                    const struct weir_record *record,
                    struct weir_slice stream,
                    size_t pairs,
                    struct weir_strbuf *out,
                    struct weir_strbuf *scratch)
{
    bool trims = config->maxlen > 0 || config->max_age > 0;
    bool keyed = config->key_field != NULL && record->key.data != NULL;
    redis_put_head(out, 3u + (trims ? 3u : 0u) + 2u * (pairs + (keyed ? 1u : 0u)));
    redis_put(out, WEIR_SLICE("XADD"));
    put_stream(config, record, stream, out, scratch);
    if (trims) {
        int64_t limit =
            config->maxlen > 0 ? config->maxlen : weir_clock_wall_ms(clock) - config->max_age;
        redis_put(out, weir_slice_of(config->maxlen > 0 ? "MAXLEN" : "MINID"));
        redis_put(out, WEIR_SLICE("~"));
        weir_strbuf_clear(scratch);
        weir_strbuf_printf(scratch, "%lld", (long long)(limit < 0 ? 0 : limit));
        redis_put(out, weir_strbuf_view(scratch));
    }
    redis_put(out, WEIR_SLICE("*"));
    if (keyed) {
        redis_put(out, weir_slice_of(config->key_field));
        redis_put(out, record->key);
    }
}

static weir_status make_entry(const struct redis_sink_config *config,
                              const struct weir_clock *clock,
                              struct weir_run *run,
                              struct weir_record *record,
                              struct weir_slice stream,
                              struct weir_strbuf *out,
                              struct weir_strbuf *scratch,
                              struct weir_err *err)
{
    if (config->field != NULL) {
        struct weir_slice bytes;
        weir_status status = weir_record_bytes(weir_run_batch(run), record, &bytes, err);
        if (status == WEIR_OK && bytes.data == NULL) {
            status = weir_fail(err, WEIR_REJECTED, "a stream has no tombstones");
        }
        if (status == WEIR_OK) {
            put_add(config, clock, record, stream, 1, out, scratch);
            redis_put(out, weir_slice_of(config->field));
            redis_put(out, bytes);
        }
        return status;
    }
    struct weir_value value, member, name;
    weir_status status = weir_record_json(weir_run_batch(run), record, &value, err);
    if (status != WEIR_OK) {
        return status;
    }
    size_t count = weir_value_count(value);
    if (weir_value_kind(value) != WEIR_KIND_OBJECT || count == 0) {
        status = weir_fail(err, WEIR_REJECTED, "the value is no object with members, but %s",
                           count == 0 && weir_value_kind(value) == WEIR_KIND_OBJECT
                               ? "an empty one"
                               : weir_value_kind_name(value));
        weir_err_hint(err, "Write `field: value` to put any value into one field.");
        return status;
    }
    put_add(config, clock, record, stream, count, out, scratch);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    while (weir_value_iter_next(&iter, &name, &member)) {
        redis_put(out, weir_value_text(name));
        put_value(out, scratch, member);
    }
    return WEIR_OK;
}

static bool command_is_allowed(struct weir_slice name)
{
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
        if (strlen(allowed[i]) == name.size && strncasecmp(allowed[i], name.data, name.size) == 0) {
            return true;
        }
    }
    return false;
}

static weir_status make_command(const struct redis_sink_config *config,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_strbuf *out,
                                struct weir_strbuf *scratch,
                                struct weir_err *err)
{
    struct weir_value value, argument;
    weir_status status = weir_expr_value(run, &config->command, record, &value, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "command");
        return status;
    }
    size_t count = weir_value_count(value);
    if (weir_value_kind(value) != WEIR_KIND_ARRAY || count < 2 || count > ARGUMENTS_MAX) {
        status = weir_fail(err, WEIR_REJECTED, "a command is an array of a name and arguments");
        weir_err_path(err, "command");
        return status;
    }
    struct weir_slice name = weir_value_text(weir_value_at(value, 0));
    if (name.data == NULL || !command_is_allowed(name)) {
        status =
            weir_fail(err, WEIR_REJECTED, "%.*s is no command that a sink can give",
                      name.size < 40 ? (int)name.size : 40, name.data == NULL ? "" : name.data);
        weir_err_path(err, "command");
        return status;
    }
    redis_put_head(out, count);
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, value);
    while (weir_value_iter_next(&iter, NULL, &argument)) {
        put_value(out, scratch, argument);
    }
    return WEIR_OK;
}

weir_status redis_command_make(const struct redis_sink_config *config,
                               const struct weir_clock *clock,
                               struct weir_run *run,
                               struct weir_record *record,
                               struct weir_strbuf *out,
                               struct weir_strbuf *scratch,
                               struct weir_err *err)
{
    if (config->command.program != NULL) {
        return make_command(config, run, record, out, scratch, err);
    }
    struct weir_slice stream = weir_slice_of(config->stream.text);
    weir_status status = WEIR_OK;
    if (config->key.program != NULL) {
        status = weir_expr_text(run, &config->key, record, &record->key, err);
        if (status != WEIR_OK) {
            weir_err_path(err, "key");
            return status;
        }
    }
    if (stream.data == NULL) {
        status = weir_expr_text(run, &config->stream.expr, record, &stream, err);
        if (status == WEIR_OK && stream.size == 0) {
            status = weir_fail(err, WEIR_EVAL, "the stream is empty");
        }
        if (status != WEIR_OK) {
            weir_err_path(err, "stream");
            return status;
        }
    }
    return make_entry(config, clock, run, record, stream, out, scratch, err);
}

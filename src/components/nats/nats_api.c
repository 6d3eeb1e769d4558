/* SPDX-License-Identifier: Apache-2.0
 *
 * JetStream's own interface: requests with a JSON body, answers with a JSON body. What an error
 * means is decided by its number, which the server keeps stable, and where the number is unknown by
 * its HTTP-like code: 503 is *unavailable*, 4xx is our mistake.
 *
 * A server ignores members of a configuration that it does not know. So what was asked for is read
 * back from the answer: an old server would make a consumer that reads other subjects than it was
 * told, and say that all is well.
 */
#include "nats_api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <weir/json.h>

#include "base/assert.h"

enum { WRONG_LAST_SEQUENCE = 10071, WRONG_LAST_CONSTANT = 10164 };
enum {
    ANSWER_TIMEOUT_MS = 5000,
    BODY_BYTES_MAX = 1 << 20,
    ORDERED_IDLE_MS = 60000,
    NS_PER_MS = 1000000,
    HEADER_BYTES = 256 /* those of a batch, and what is expected of the subject */
};

/* --- answers -----------------------------------------------------------------------------------*/

static const struct {
    int error;
    weir_status status;
} errors[] = {
    {10002, WEIR_UNAVAILABLE}, /* resource limits exceeded for account */
    {10006, WEIR_UNAVAILABLE}, /* not in clustered mode (yet) */
    {10007, WEIR_UNAVAILABLE}, /* cluster not assigned to this server */
    {10009, WEIR_UNAVAILABLE}, /* cluster has no leader */
    {10023, WEIR_UNAVAILABLE}, /* insufficient resources */
    {10028, WEIR_UNAVAILABLE}, /* insufficient memory */
    {10039, WEIR_DENIED},      /* JetStream not enabled for the account */
    {10041, WEIR_UNAVAILABLE}, /* of the cluster's log */
    {10047, WEIR_UNAVAILABLE}, /* insufficient storage */
    {10054, WEIR_TOO_LARGE},   /* message size exceeds maximum */
    {10060, WEIR_CONFIG},      /* expected stream does not match */
    {10077, WEIR_UNAVAILABLE}, /* the store refused it: full, and `discard: new` */
    {10097, WEIR_TOO_LARGE},   /* headers exceed maximum */
    {10109, WEIR_FATAL},       /* the stream is sealed */
    {10174, WEIR_CONFIG},      /* batches are not allowed */
    {10176, WEIR_UNAVAILABLE}, /* a batch that is not whole: its leader changed */
    {10199, WEIR_TOO_LARGE},   /* a batch with too many messages */
    {10210, WEIR_UNAVAILABLE}, /* too many batches under way in the stream */
    {10211, WEIR_UNAVAILABLE}, /* … on the server */
};

weir_status nats_api_fail(struct weir_err *err, const char *what, const struct nats_answer *answer)
{
    weir_status status = answer->code == 503 ? WEIR_UNAVAILABLE : WEIR_REJECTED;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        status = errors[i].error == answer->error ? errors[i].status : status;
    }
    return weir_fail(err, status, "%s: %s (error %d)", what, answer->text, answer->error);
}

int64_t nats_api_int(struct weir_value object, const char *name, int64_t otherwise)
{
    int64_t number;
    return weir_value_int64(weir_value_get(object, weir_slice_of(name)), &number) ? number
                                                                                  : otherwise;
}

void nats_api_error(struct weir_value value, struct nats_answer *answer)
{
    *answer = (struct nats_answer){0};
    struct weir_value error = weir_value_get(value, WEIR_SLICE("error"));
    if (weir_value_kind(error) != WEIR_KIND_OBJECT) {
        return;
    }
    struct weir_slice text = weir_value_text(weir_value_get(error, WEIR_SLICE("description")));
    answer->code = (int)nats_api_int(error, "code", 500);
    answer->error = (int)nats_api_int(error, "err_code", 0);
    snprintf(answer->text, sizeof(answer->text), "%.*s", text.size < 180 ? (int)text.size : 180,
             text.data == NULL ? "" : text.data);
}

weir_status nats_api_ask(struct nats_client *client,
                         struct weir_arena *arena,
                         const char *subject,
                         struct weir_slice body,
                         struct nats_answer *answer,
                         struct weir_value *ret,
                         struct weir_err *err)
{
    natsMsg *reply = NULL;
    WEIR_ASSERT(body.size <= BODY_BYTES_MAX);
    natsStatus code = natsConnection_Request(&reply, client->connection, subject, body.data,
                                             (int)body.size, ANSWER_TIMEOUT_MS);
    if (nats_client_denied(client, err) != WEIR_OK) {
        natsMsg_Destroy(reply);
        return err->status;
    }
    if (code != NATS_OK) {
        weir_status status = nats_fail(err, "JetStream", code);
        if (code == NATS_NO_RESPONDERS) {
            weir_err_hint(err, "Nobody answers for JetStream: is it on (`jetstream {}`), also for "
                               "this account?");
        }
        return status;
    }
    struct weir_slice bytes = {natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)};
    bytes = weir_arena_copy(arena, bytes);
    WEIR_ASSERT(bytes.data != NULL);
    natsMsg_Destroy(reply);
    struct weir_err bad = {0};
    if (weir_json_parse(arena, bytes, NULL, ret, &bad) != WEIR_OK) {
        return weir_fail(err, WEIR_FATAL, "JetStream: the answer is no JSON: %s", bad.message);
    }
    nats_api_error(*ret, answer);
    return WEIR_OK;
}

/* --- bodies ------------------------------------------------------------------------------------*/

static void put_name(struct weir_strbuf *out, const char *name)
{
    char last = out->size > 0 ? out->data[out->size - 1] : '{';
    weir_strbuf_text(out, last == '{' ? "" : ",");
    weir_value_write(weir_value_string(weir_slice_of(name)), out, 0);
    weir_strbuf_push(out, ':');
}

static void put_text(struct weir_strbuf *out, const char *name, const char *text)
{
    put_name(out, name);
    weir_value_write(weir_value_string(weir_slice_of(text)), out, 0);
}

static void put_int(struct weir_strbuf *out, const char *name, int64_t number)
{
    put_name(out, name);
    weir_strbuf_printf(out, "%lld", (long long)number);
}

static void put_list(struct weir_strbuf *out, const char *name, const struct weir_strs *list)
{
    put_name(out, name);
    for (size_t i = 0; i < list->count; i++) {
        weir_strbuf_push(out, i == 0 ? '[' : ',');
        weir_value_write(weir_value_string(weir_slice_of(list->items[i])), out, 0);
    }
    weir_strbuf_push(out, ']');
}

static void put_time(struct weir_strbuf *out, const char *name, int64_t time_ms)
{
    int64_t seconds = (time_ms >= 0 ? time_ms : time_ms - 999) / 1000;
    time_t whole = (time_t)seconds;
    struct tm parts;
    char text[40];
    gmtime_r(&whole, &parts);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
    put_name(out, name);
    weir_strbuf_printf(out, "\"%s.%03dZ\"", text, (int)(time_ms - seconds * 1000));
}

static const char *
subject_of(struct weir_arena *arena, const char *call, const char *stream, const char *consumer)
{
    const char *subject =
        consumer == NULL ? weir_arena_printf(arena, "$JS.API.%s.%s", call, stream)
                         : weir_arena_printf(arena, "$JS.API.%s.%s.%s", call, stream, consumer);
    WEIR_ASSERT(subject != NULL);
    return subject;
}

/* --- streams -----------------------------------------------------------------------------------*/

static weir_status stream_make(struct nats_client *client,
                               const struct nats_stream_spec *spec,
                               struct weir_arena *arena,
                               struct weir_value *ret,
                               struct weir_err *err)
{
    struct weir_strbuf body;
    struct nats_answer answer;
    weir_strbuf_init(&body, BODY_BYTES_MAX);
    weir_strbuf_push(&body, '{');
    put_text(&body, "name", spec->name);
    put_list(&body, "subjects", &spec->subjects);
    put_text(&body, "retention", "limits");
    put_text(&body, "storage", "file");
    put_text(&body, "discard", spec->is_bucket ? "new" : "old");
    put_int(&body, "num_replicas", 1);
    if (spec->history > 0) {
        put_int(&body, "max_msgs_per_subject", spec->history);
    }
    if (spec->is_direct) {
        put_name(&body, "allow_direct");
        weir_strbuf_text(&body, "true");
    }
    if (spec->is_atomic) {
        put_name(&body, "allow_atomic");
        weir_strbuf_text(&body, "true");
    }
    if (spec->is_bucket) {
        put_name(&body, "allow_rollup_hdrs");
        weir_strbuf_text(&body, "true");
        put_name(&body, "deny_delete");
        weir_strbuf_text(&body, "true");
    }
    weir_strbuf_push(&body, '}');
    weir_status status =
        nats_api_ask(client, arena, subject_of(arena, "STREAM.CREATE", spec->name, NULL),
                     weir_strbuf_view(&body), &answer, ret, err);
    weir_strbuf_done(&body);
    if (status == WEIR_OK && answer.code != 0) {
        status = nats_api_fail(err, spec->name, &answer);
        status = err->status = status == WEIR_REJECTED ? WEIR_CONFIG : status;
    }
    return status;
}

weir_status nats_stream_ensure(struct nats_client *client,
                               const struct nats_stream_spec *spec,
                               struct weir_arena *arena,
                               struct weir_value *ret,
                               struct weir_err *err)
{
    struct nats_answer answer;
    weir_status status =
        nats_api_ask(client, arena, subject_of(arena, "STREAM.INFO", spec->name, NULL),
                     (struct weir_slice){"", 0}, &answer, ret, err);
    if (status != WEIR_OK || answer.code == 0) {
        return status;
    }
    if (answer.error != NATS_ERROR_STREAM_NOT_FOUND) {
        return nats_api_fail(err, spec->name, &answer);
    }
    if (spec->manage == NATS_MANAGE_CREATE && spec->subjects.count > 0) {
        return stream_make(client, spec, arena, ret, err);
    }
    status = weir_fail(err, WEIR_CONFIG, "the stream %s does not exist", spec->name);
    weir_err_hint(err, spec->manage == NATS_MANAGE_BIND
                           ? "`manage: bind` makes nothing."
                           : "Make it, or write `subjects`: weir makes it with these.");
    return status;
}

size_t nats_payload_max(struct nats_client *client, struct weir_value info)
{
    struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
    int64_t limit = natsConnection_GetMaxPayload(client->connection);
    int64_t own = nats_api_int(config, "max_msg_size", -1);
    limit = own > 0 && own < limit ? own : limit;
    return limit > HEADER_BYTES ? (size_t)(limit - HEADER_BYTES) : 0;
}

weir_status nats_stream_of(struct nats_client *client,
                           const char *subject,
                           struct weir_arena *arena,
                           const char **ret,
                           struct weir_err *err)
{
    struct weir_strbuf body;
    struct nats_answer answer;
    struct weir_value value;
    *ret = NULL;
    weir_strbuf_init(&body, BODY_BYTES_MAX);
    weir_strbuf_push(&body, '{');
    put_text(&body, "subject", subject);
    weir_strbuf_push(&body, '}');
    weir_status status = nats_api_ask(client, arena, "$JS.API.STREAM.NAMES",
                                      weir_strbuf_view(&body), &answer, &value, err);
    weir_strbuf_done(&body);
    if (status == WEIR_OK && answer.code != 0) {
        return nats_api_fail(err, subject, &answer);
    }
    if (status == WEIR_OK) {
        struct weir_value names = weir_value_get(value, WEIR_SLICE("streams"));
        struct weir_slice name = weir_value_text(weir_value_at(names, 0));
        *ret = name.data != NULL ? weir_arena_copy(arena, name).data : NULL;
    }
    return status;
}

/* --- consumers ---------------------------------------------------------------------------------*/

/* What weir decides about a consumer of its own; filters are written by put_filters. */
static void put_limits(struct weir_strbuf *out, const struct nats_consumer_spec *spec)
{
    put_int(out, "ack_wait", spec->ack_wait * NS_PER_MS);
    put_int(out, "max_deliver", -1); /* its limit would drop messages and tell nobody */
    put_int(out, "max_ack_pending", spec->max_ack_pending);
}

static void put_filters(struct weir_strbuf *out, const struct weir_strs *filters)
{
    if (filters->count == 1) {
        put_text(out, "filter_subject", filters->items[0]);
    } else if (filters->count > 1) {
        put_list(out, "filter_subjects", filters);
    }
}

static void put_start(struct weir_strbuf *out, const struct nats_consumer_spec *spec)
{
    static const char *const policies[] = {
        [NATS_START_EARLIEST] = "all", [NATS_START_LATEST] = "new", [NATS_START_LAST] = "last"};
    if (spec->start_sequence > 0) {
        put_text(out, "deliver_policy", "by_start_sequence");
        put_int(out, "opt_start_seq", spec->start_sequence);
    } else if (spec->start.word == 0) {
        put_text(out, "deliver_policy", "by_start_time");
        put_time(out, "opt_start_time", spec->start.time_ms);
    } else {
        put_text(out, "deliver_policy", policies[spec->start.word]);
    }
}

static void put_new(struct weir_strbuf *out, const struct nats_consumer_spec *spec)
{
    put_text(out, "durable_name", spec->name);
    put_text(out, "ack_policy", "explicit");
    put_text(out, "replay_policy", "instant");
    put_start(out, spec);
    put_limits(out, spec);
    put_filters(out, &spec->filters);
}

/* The consumer's own configuration with what weir decides: settings that we do not know stay. */
static void put_updated(struct weir_strbuf *out,
                        struct weir_value config,
                        const struct nats_consumer_spec *spec)
{
    static const char *const ours[] = {"ack_wait", "max_deliver", "max_ack_pending",
                                       "filter_subject", "filter_subjects"};
    struct weir_value_iter iter;
    struct weir_value key, member;
    weir_value_iter_init(&iter, config);
    while (weir_value_iter_next(&iter, &key, &member)) {
        bool is_ours = false;
        for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
            is_ours = is_ours || weir_slice_equal(weir_value_text(key), weir_slice_of(ours[i]));
        }
        if (!is_ours) {
            weir_strbuf_text(out, out->data[out->size - 1] == '{' ? "" : ",");
            weir_value_write(key, out, 0);
            weir_strbuf_push(out, ':');
            weir_value_write(member, out, 0);
        }
    }
    put_limits(out, spec);
    put_filters(out, &spec->filters);
}

static bool has_filters(struct weir_value config, const struct weir_strs *filters)
{
    struct weir_slice one = weir_value_text(weir_value_get(config, WEIR_SLICE("filter_subject")));
    struct weir_value many = weir_value_get(config, WEIR_SLICE("filter_subjects"));
    if (one.size > 0) {
        return filters->count == 1 && weir_slice_equal(one, weir_slice_of(filters->items[0]));
    }
    if (weir_value_count(many) != filters->count) {
        return false;
    }
    for (size_t i = 0; i < filters->count; i++) {
        if (!weir_slice_equal(weir_value_text(weir_value_at(many, i)),
                              weir_slice_of(filters->items[i]))) {
            return false;
        }
    }
    return true;
}

static bool is_as_wanted(struct weir_value config, const struct nats_consumer_spec *spec)
{
    return has_filters(config, &spec->filters) &&
           nats_api_int(config, "ack_wait", 0) == spec->ack_wait * NS_PER_MS &&
           nats_api_int(config, "max_ack_pending", -1) == spec->max_ack_pending &&
           nats_api_int(config, "max_deliver", -1) == -1;
}

static weir_status
consumer_check(struct weir_value info, const struct nats_consumer_spec *spec, struct weir_err *err)
{
    struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
    struct weir_slice policy = weir_value_text(weir_value_get(config, WEIR_SLICE("ack_policy")));
    struct weir_slice push = weir_value_text(weir_value_get(config, WEIR_SLICE("deliver_subject")));
    if (!weir_slice_equal(policy, WEIR_SLICE("explicit")) || push.size > 0) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "the consumer %s of %s %s", spec->name, spec->stream,
                      push.size > 0 ? "is pushed to a subject" : "does not acknowledge explicitly");
        weir_err_hint(err,
                      "weir needs a pull consumer with explicit acknowledgement: choose another "
                      "`durable`.");
        return status;
    }
    if (spec->manage == NATS_MANAGE_CREATE && !has_filters(config, &spec->filters)) {
        weir_status status = weir_fail(
            err, WEIR_CONFIG, "the server did not give the consumer %s its filters", spec->name);
        weir_err_hint(err, "More than one subject needs nats-server 2.10.");
        return status;
    }
    return WEIR_OK;
}

weir_status nats_consumer_find(struct nats_client *client,
                               const char *stream,
                               const char *name,
                               struct weir_arena *arena,
                               struct weir_value *ret,
                               struct weir_err *err)
{
    struct nats_answer answer;
    weir_status status =
        nats_api_ask(client, arena, subject_of(arena, "CONSUMER.INFO", stream, name),
                     (struct weir_slice){"", 0}, &answer, ret, err);
    if (status == WEIR_OK && answer.error == NATS_ERROR_CONSUMER_NOT_FOUND) {
        *ret = (struct weir_value){0};
    } else if (status == WEIR_OK && answer.code != 0) {
        status = nats_api_fail(err, name, &answer);
    }
    return status;
}

weir_status nats_consumer_delete(struct nats_client *client,
                                 const char *stream,
                                 const char *name,
                                 struct weir_arena *arena,
                                 struct weir_err *err)
{
    struct nats_answer answer;
    struct weir_value value;
    weir_status status =
        nats_api_ask(client, arena, subject_of(arena, "CONSUMER.DELETE", stream, name),
                     (struct weir_slice){"", 0}, &answer, &value, err);
    if (status == WEIR_OK && answer.code != 0 && answer.error != NATS_ERROR_CONSUMER_NOT_FOUND) {
        status = nats_api_fail(err, name, &answer);
    }
    return status;
}

weir_status nats_consumer_ensure(struct nats_client *client,
                                 const struct nats_consumer_spec *spec,
                                 struct weir_arena *arena,
                                 struct weir_value *ret,
                                 struct weir_err *err)
{
    weir_status status = nats_consumer_find(client, spec->stream, spec->name, arena, ret, err);
    if (status != WEIR_OK) {
        return status;
    }
    bool is_there = !weir_value_is_absent(*ret);
    if (!is_there && spec->manage == NATS_MANAGE_BIND) {
        status = weir_fail(err, WEIR_CONFIG, "the stream %s has no consumer %s", spec->stream,
                           spec->name);
        weir_err_hint(err, "`manage: bind` makes none.");
        return status;
    }
    struct weir_value config = weir_value_get(*ret, WEIR_SLICE("config"));
    if (is_there && (spec->manage == NATS_MANAGE_BIND || is_as_wanted(config, spec))) {
        return consumer_check(*ret, spec, err);
    }
    struct weir_strbuf body;
    struct nats_answer answer;
    weir_strbuf_init(&body, BODY_BYTES_MAX);
    weir_strbuf_push(&body, '{');
    put_text(&body, "stream_name", spec->stream);
    put_name(&body, "config");
    weir_strbuf_push(&body, '{');
    if (is_there) {
        put_updated(&body, config, spec);
    } else {
        put_new(&body, spec);
    }
    weir_strbuf_text(&body, "}}");
    status = nats_api_ask(client, arena,
                          subject_of(arena, "CONSUMER.DURABLE.CREATE", spec->stream, spec->name),
                          weir_strbuf_view(&body), &answer, ret, err);
    weir_strbuf_done(&body);
    if (status == WEIR_OK && answer.code != 0) {
        status = nats_api_fail(err, spec->name, &answer);
        status = err->status = status == WEIR_REJECTED ? WEIR_CONFIG : status;
    }
    return status == WEIR_OK ? consumer_check(*ret, spec, err) : status;
}

weir_status nats_consumer_ordered(struct nats_client *client,
                                  const struct nats_consumer_spec *spec,
                                  char *ret_name,
                                  int64_t *ret_pending,
                                  struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value info = {0};
    struct nats_answer answer;
    struct weir_strbuf body;
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&body, BODY_BYTES_MAX);
    weir_strbuf_push(&body, '{');
    put_text(&body, "stream_name", spec->stream);
    put_name(&body, "config");
    weir_strbuf_push(&body, '{');
    put_text(&body, "ack_policy", "none");
    put_text(&body, "replay_policy", "instant");
    put_int(&body, "inactive_threshold", (int64_t)ORDERED_IDLE_MS * NS_PER_MS);
    put_start(&body, spec);
    put_filters(&body, &spec->filters);
    if (spec->headers_only) {
        put_name(&body, "headers_only");
        weir_strbuf_text(&body, "true");
    }
    weir_strbuf_text(&body, "}}");
    const char *subject = subject_of(&arena, "CONSUMER.CREATE", spec->stream, NULL);
    weir_status status =
        nats_api_ask(client, &arena, subject, weir_strbuf_view(&body), &answer, &info, err);
    weir_strbuf_done(&body);
    if (status == WEIR_OK && answer.code != 0) {
        status = nats_api_fail(err, spec->stream, &answer);
        status = err->status = status == WEIR_REJECTED ? WEIR_CONFIG : status;
    }
    if (status == WEIR_OK) {
        struct weir_slice name = weir_value_text(weir_value_get(info, WEIR_SLICE("name")));
        snprintf(ret_name, NATS_NAME_MAX + 1, "%.*s", (int)name.size, name.data);
        if (ret_pending != NULL) {
            *ret_pending = nats_api_int(info, "num_pending", 0);
        }
    }
    weir_arena_done(&arena);
    return status;
}

weir_status nats_api_publish(struct nats_client *client,
                             const char *subject,
                             struct weir_slice text,
                             uint64_t expected,
                             uint64_t *ret_sequence,
                             struct weir_err *err)
{
    natsMsg *message = NULL, *reply = NULL;
    char last[24];
    snprintf(last, sizeof(last), "%" PRIu64, expected);
    natsStatus code = natsMsg_Create(&message, subject, NULL, text.data, (int)text.size);
    if (code == NATS_OK) {
        code = natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", last);
    }
    if (code == NATS_OK) {
        code = natsConnection_RequestMsg(&reply, client->connection, message, ANSWER_TIMEOUT_MS);
    }
    natsMsg_Destroy(message);
    return code != NATS_OK ? nats_fail(err, subject, code)
                           : nats_api_published(subject, reply, ret_sequence, err);
}

weir_status nats_api_published(const char *subject,
                               natsMsg *reply,
                               uint64_t *ret_sequence,
                               struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_value value = {0};
    struct nats_answer answer;
    weir_arena_init(&arena, 0);
    struct weir_slice bytes = {natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)};
    weir_status status = weir_json_parse(&arena, bytes, NULL, &value, err);
    nats_api_error(value, &answer);
    if (status == WEIR_OK && answer.code == 0) {
        *ret_sequence = (uint64_t)nats_api_int(value, "seq", 0);
    } else if (status == WEIR_OK) {
        bool is_other = answer.error == WRONG_LAST_SEQUENCE || answer.error == WRONG_LAST_CONSTANT;
        status = nats_api_fail(err, subject, &answer);
        status = is_other ? WEIR_FENCED : status == WEIR_REJECTED ? WEIR_FATAL : status;
        err->status = status;
    }
    weir_arena_done(&arena);
    natsMsg_Destroy(reply);
    return status;
}

weir_status nats_api_last(struct nats_client *client,
                          const char *stream,
                          const char *subject,
                          uint64_t *ret_sequence,
                          struct weir_strbuf *ret_text,
                          struct weir_err *err)
{
    char call[NATS_NAME_MAX + 40], body[NATS_SUBJECT_MAX + 40];
    natsMsg *reply = NULL;
    const char *code = NULL, *sequence = NULL;
    *ret_sequence = 0;
    weir_strbuf_clear(ret_text);
    snprintf(call, sizeof(call), "$JS.API.DIRECT.GET.%s", stream);
    snprintf(body, sizeof(body), "{\"last_by_subj\":\"%s\"}", subject);
    natsStatus status =
        natsConnection_RequestString(&reply, client->connection, call, body, ANSWER_TIMEOUT_MS);
    if (status != NATS_OK) {
        return nats_fail(err, stream, status);
    }
    weir_status result = WEIR_OK;
    if (natsMsgHeader_Get(reply, "Nats-Sequence", &sequence) == NATS_OK) {
        *ret_sequence = strtoull(sequence, NULL, 10);
        weir_strbuf_append(ret_text, natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply));
    } else if (natsMsgHeader_Get(reply, "Status", &code) != NATS_OK || strcmp(code, "404") != 0) {
        result = weir_fail(err, WEIR_UNAVAILABLE, "%s: an answer that says nothing", stream);
    }
    natsMsg_Destroy(reply);
    return result;
}

weir_status nats_api_last_sequence(struct nats_client *client,
                                   const char *stream,
                                   const char *subject,
                                   uint64_t *ret_sequence,
                                   struct weir_err *err)
{
    struct weir_arena arena;
    struct weir_strbuf body;
    struct weir_value value;
    struct nats_answer answer;
    *ret_sequence = 0;
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&body, BODY_BYTES_MAX);
    weir_strbuf_push(&body, '{');
    put_text(&body, "last_by_subj", subject);
    weir_strbuf_push(&body, '}');
    weir_status status =
        nats_api_ask(client, &arena, subject_of(&arena, "STREAM.MSG.GET", stream, NULL),
                     weir_strbuf_view(&body), &answer, &value, err);
    weir_strbuf_done(&body);
    if (status == WEIR_OK && answer.code == 0) {
        struct weir_value message = weir_value_get(value, WEIR_SLICE("message"));
        *ret_sequence = (uint64_t)nats_api_int(message, "seq", 0);
    } else if (status == WEIR_OK && answer.error != NATS_ERROR_NO_MESSAGE) {
        status = nats_api_fail(err, stream, &answer);
    }
    weir_arena_done(&arena);
    return status;
}

/* A number and the dot behind it; not strtoll: this is done for each message. */
static bool take_number(const char **at, uint64_t *ret)
{
    const char *from = *at;
    *ret = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        *ret = *ret * 10 + (uint64_t)(**at - '0');
    }
    bool is_number = *at > from;
    *at += **at == '.';
    return is_number;
}

static const char *skip_tokens(const char *at, int count)
{
    for (; count > 0 && at != NULL; count--) {
        at = strchr(at, '.');
        at = at == NULL ? NULL : at + 1;
    }
    return at;
}

/* *at: behind the last number. */
static bool take_delivery(const char **at, struct nats_delivery *ret)
{
    uint64_t deliveries, time_ns, behind;
    bool is_whole = take_number(at, &deliveries) && take_number(at, &ret->sequence) &&
                    take_number(at, &ret->number) && take_number(at, &time_ns) &&
                    take_number(at, &behind);
    if (is_whole) {
        ret->deliveries = (int64_t)deliveries;
        ret->time_ns = (int64_t)time_ns;
        ret->behind = (int64_t)behind;
    }
    return is_whole;
}

/* $JS.ACK.STREAM.CONSUMER.deliveries.sequence.sequence-of-consumer.time.behind, or the same with
 * domain and account in front of the stream, and perhaps more at the end. */
bool nats_delivery_parse(const char *reply, struct nats_delivery *ret)
{
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
        return false;
    }
    const char *from = skip_tokens(reply + 8, 2), *at = from;
    if (at != NULL && take_delivery(&at, ret) && *at == '\0') {
        return true;
    }
    at = from == NULL ? NULL : skip_tokens(from, 2);
    return at != NULL && take_delivery(&at, ret);
}

bool nats_delivery_is_of(const char *reply, const char *consumer)
{
    const char *at = reply == NULL ? NULL : strstr(reply, consumer);
    size_t size = strlen(consumer);
    return at != NULL && at > reply && at[-1] == '.' && at[size] == '.';
}

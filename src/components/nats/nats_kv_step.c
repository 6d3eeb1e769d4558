/* SPDX-License-Identifier: Apache-2.0
 *
 * The step that looks keys up in a NATS key-value bucket: for each the last message of its subject,
 * all of a batch at once. A key that is not there, or was deleted, is null.
 *
 * Where the stream allows it, messages are asked for directly: any replica answers, with the
 * message as it is. Else its leader is asked, and answers in JSON, with headers and value in
 * base64.
 */
#include "nats_call.h"
#include "nats_probe.h"

#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include <weir/json.h>

#include "base/assert.h"

enum { BUCKET_MAX = 200 };

struct nats_kv_step_config {
    struct nats_address address;
    const char *bucket;
    struct weir_expr key;
    struct nats_call_config call;
};

// clang-format off
#define S struct nats_kv_step_config
static const struct weir_field nats_kv_step_fields[] = {
    NATS_ADDRESS_FIELDS(S),
    WEIR_F_STR(S, bucket, .flags = WEIR_REQUIRED, .min = 1, .max = BUCKET_MAX,
               .example = "customers", .help = "The bucket to look into."),
    WEIR_F_JQ(S, key, .flags = WEIR_REQUIRED, .example = ".customer_id",
              .help = "The key: letters, digits, `-`, `_`, `=`, `/`, and dots between "
                      "them."),
    NATS_CALL_FIELDS(S, "'. + {customer: $answer}'"),
    WEIR_FIELDS_END,
};
#undef S
// clang-format on

struct nats_kv_step {
    struct nats_call call; /* first */
    const struct nats_kv_step_config *config;
    atomic_bool is_direct; /* as the stream was at the last connection */
};

static weir_status kv_step_prepare(void *instance, struct nats_client *client, struct weir_err *err)
{
    struct nats_kv_step *self = instance;
    char stream[BUCKET_MAX + 8];
    snprintf(stream, sizeof(stream), "KV_%s", self->config->bucket);
    const struct nats_stream_spec spec = {.name = stream, .manage = NATS_MANAGE_BIND};
    struct weir_arena arena;
    struct weir_value info;
    weir_arena_init(&arena, 0);
    weir_status status = nats_stream_ensure(client, &spec, &arena, &info, err);
    if (status == WEIR_OK) {
        struct weir_value config = weir_value_get(info, WEIR_SLICE("config"));
        bool is_direct = weir_value_is_true(weir_value_get(config, WEIR_SLICE("allow_direct")));
        atomic_store(&self->is_direct, is_direct);
    } else {
        weir_err_path(err, "bucket");
    }
    weir_arena_done(&arena);
    return status;
}

static weir_status kv_step_question(void *instance,
                                    struct weir_run *run,
                                    struct weir_record *record,
                                    struct weir_question *ret_question,
                                    struct weir_err *err)
{
    const struct nats_kv_step *self = instance;
    struct weir_slice key;
    weir_status status = weir_expr_text(run, &self->config->key, record, &key, err);
    if (status == WEIR_OK && !nats_key_is_legal(key)) {
        status = weir_fail(err, WEIR_REJECTED, "\"%.*s\" is no key of a bucket",
                           key.size < 60 ? (int)key.size : 60, key.data == NULL ? "" : key.data);
        weir_err_hint(err, "Letters, digits, -, _, =, / and single dots between them.");
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "key");
    }
    ret_question->to = key;
    return status;
}

static weir_status
kv_step_send(void *instance, const struct weir_question *question, struct weir_err *err)
{
    struct nats_kv_step *self = instance;
    const char *bucket = self->config->bucket;
    char subject[2 * BUCKET_MAX + NATS_NAME_MAX + 64], body[BUCKET_MAX + NATS_NAME_MAX + 64];
    struct weir_question asked = *question;
    if (atomic_load(&self->is_direct)) {
        snprintf(subject, sizeof(subject), "$JS.API.DIRECT.GET.KV_%s.$KV.%s.%.*s", bucket, bucket,
                 (int)question->to.size, question->to.data);
    } else {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.KV_%s", bucket);
        int size = snprintf(body, sizeof(body), "{\"last_by_subj\":\"$KV.%s.%.*s\"}", bucket,
                            (int)question->to.size, question->to.data);
        asked.body = (struct weir_slice){body, (size_t)size};
    }
    return nats_call_send(&self->call, subject, &asked, err);
}

/* --- answers; the library's thread -------------------------------------------------------------*/

/* What base64 says, in the arena; false: it is none. */
static bool decode(struct weir_arena *arena, struct weir_slice text, struct weir_slice *ret)
{
    unsigned char *room = weir_arena_alloc(arena, text.size / 4 * 3 + 1);
    int size = room == NULL || text.size > INT_MAX
                   ? -1
                   : EVP_DecodeBlock(room, (const unsigned char *)text.data, (int)text.size);
    for (size_t end = text.size; size > 0 && end > 0 && text.data[end - 1] == '='; end--) {
        size--; /* padding counts as zeros */
    }
    *ret = (struct weir_slice){(const char *)room, size < 0 ? 0 : (size_t)size};
    return size >= 0;
}

static bool has_header(struct weir_slice headers, struct weir_slice name)
{
    return headers.size > 0 && memmem(headers.data, headers.size, name.data, name.size) != NULL;
}

static weir_status read_json(natsMsg *message, struct weir_strbuf *scratch, struct weir_slice *ret)
{
    const struct weir_slice text = {natsMsg_GetData(message),
                                    (size_t)natsMsg_GetDataLength(message)};
    struct weir_arena arena;
    struct weir_value value = {0};
    struct weir_err err = {0};
    struct nats_answer answer = {0};
    struct weir_slice headers = {NULL, 0}, data = {NULL, 0};
    weir_arena_init(&arena, 0);
    weir_status status = weir_json_parse(&arena, text, NULL, &value, &err);
    nats_api_error(value, &answer);
    struct weir_value found = weir_value_get(value, WEIR_SLICE("message"));
    if (status != WEIR_OK || (answer.code != 0 && answer.error != NATS_ERROR_NO_MESSAGE)) {
        weir_strbuf_printf(scratch, "the server answers %s",
                           status != WEIR_OK ? "no JSON" : answer.text);
        *ret = weir_strbuf_view(scratch);
        status = WEIR_UNAVAILABLE;
    } else if (answer.code == 0 &&
               (!decode(&arena, weir_value_text(weir_value_get(found, WEIR_SLICE("hdrs"))),
                        &headers) ||
                !decode(&arena, weir_value_text(weir_value_get(found, WEIR_SLICE("data"))),
                        &data))) {
        *ret = WEIR_SLICE("the server answers no base64");
        status = WEIR_UNAVAILABLE;
    } else if (answer.code == 0 && !has_header(headers, WEIR_SLICE("\r\nKV-Operation:")) &&
               !has_header(headers, WEIR_SLICE("\r\nNats-Marker-Reason:"))) {
        weir_strbuf_slice(scratch, data);
        WEIR_ASSERT(!scratch->failed);
        *ret = scratch->size > 0 ? weir_strbuf_view(scratch) : WEIR_SLICE("");
    }
    weir_arena_done(&arena);
    return status;
}

static weir_status
kv_step_read(natsMsg *message, struct weir_strbuf *scratch, struct weir_slice *ret_text)
{
    const char *code = NULL, *operation = NULL, *marker = NULL, *sequence = NULL;
    (void)natsMsgHeader_Get(message, "Status", &code);
    (void)natsMsgHeader_Get(message, "KV-Operation", &operation);
    (void)natsMsgHeader_Get(message, "Nats-Marker-Reason", &marker);
    (void)natsMsgHeader_Get(message, "Nats-Sequence", &sequence);
    if (code == NULL && sequence == NULL) {
        return read_json(message, scratch, ret_text);
    }
    if (code != NULL && strcmp(code, "404") != 0) {
        weir_strbuf_printf(scratch, "the server answers %.100s", code);
        *ret_text = weir_strbuf_view(scratch);
        return WEIR_UNAVAILABLE;
    }
    if (code == NULL && operation == NULL && marker == NULL) {
        *ret_text =
            (struct weir_slice){natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)};
    }
    return WEIR_OK;
}

static weir_status
kv_step_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    static const struct nats_call_ops ops = {
        .nobody = "nobody answers for the bucket: its stream, or JetStream, is gone",
        .prepare = kv_step_prepare,
        .read = kv_step_read,
    };
    struct nats_kv_step *self = instance;
    self->config = config;
    (void)err;
    nats_call_init(&self->call, &ops, &self->config->address, &self->config->call, ctx);
    return WEIR_OK;
}

static weir_duration kv_step_patience(const void *config)
{
    const struct nats_kv_step_config *self = config;
    return self->call.timeout;
}

static weir_status kv_step_check(const void *config, struct weir_err *err)
{
    const struct nats_kv_step_config *self = config;
    weir_status status = nats_bucket_check(self->bucket, err);
    return status == WEIR_OK ? nats_address_check(&self->address, err) : status;
}

static weir_status kv_step_probe(const void *config, const char *pipeline, struct weir_err *err)
{
    (void)pipeline;
    struct nats_kv_step step = {.config = config};
    struct nats_client *client = nats_client_open(&step.config->address, "weir check", err);
    if (client != NULL) {
        (void)!kv_step_prepare(&step, client, err);
        nats_client_free(client);
    }
    return err->status;
}

static const struct weir_ask_ops kv_step_ask = {
    .question = kv_step_question,
    .start = nats_call_start,
    .send = kv_step_send,
    .patience = kv_step_patience,
    .asks_alike = true,
};

static const struct weir_step_ops kv_step_ops = {.apply = nats_call_apply, .ask = &kv_step_ask};

const struct weir_component weir_component_nats_kv_step = {
    .abi = WEIR_ABI,
    .described =
        {
            .kind = WEIR_ROLE_STEP,
            .name = "nats_kv",
            .system = "nats",
            .summary = "Looks up a key of a NATS key-value bucket for each record.",
            .help =
                "The answer is the last value of the key when it is asked for; null where there "
                "is none, or it was deleted. All records of a batch ask at once, equal keys "
                "once; their partition waits for the answers, in order, while others go on. "
                "What does not come in time is asked for again. After a crash a record may get "
                "a newer value than before.",
            .example =
                "nats_kv: {url: localhost:4222, bucket: customers, key: .customer_id, result: "
                "'. + {customer: $answer}'}",
            .fields = nats_kv_step_fields,
            .config_size = sizeof(struct nats_kv_step_config),
        },
    .self_size = sizeof(struct nats_kv_step),
    .open = kv_step_open,
    .close = nats_call_stop,
    .check = kv_step_check,
    .probe = kv_step_probe,
    .ops = {.step = &kv_step_ops},
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers by which a publisher tells the server what to do (Nats-…) are not the record's: they are
 * left out, so that what one stream was told is not told to the next.
 */
#include "nats_message.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { HEADER_OVERHEAD_BYTES = 16 };

bool nats_is_subject(struct weir_slice text)
{
    bool is_empty = true; /* the token so far */
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c <= ' ' || c == '*' || c == '>' || c == 0x7f || (c == '.' && is_empty)) {
            return false;
        }
        is_empty = c == '.';
    }
    return !is_empty && text.size <= NATS_SUBJECT_MAX;
}

static bool is_header(struct weir_slice name, struct weir_slice value)
{
    bool fits = name.size > 0 && name.size <= NATS_NAME_MAX;
    for (size_t i = 0; i < name.size; i++) {
        fits = fits && name.data[i] > ' ' && name.data[i] < 0x7f && name.data[i] != ':';
    }
    for (size_t i = 0; i < value.size; i++) {
        fits = fits && value.data[i] != '\r' && value.data[i] != '\n' && value.data[i] != '\0';
    }
    return fits;
}

static bool is_instruction(struct weir_slice name)
{
    return name.size >= 5 && strncasecmp(name.data, "Nats-", 5) == 0;
}

weir_status nats_message_check(const struct nats_message_config *config, struct weir_err *err)
{
    const char *subject = config->subject.text, *header = config->key_header;
    if (subject != NULL && !nats_is_subject(weir_slice_of(subject))) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "this is no subject to publish to");
        weir_err_hint(err, "Tokens between dots, without spaces and wildcards.");
        weir_err_path(err, "subject");
        return status;
    }
    if (header != NULL && (!is_header(weir_slice_of(header), WEIR_SLICE("")) ||
                           is_instruction(weir_slice_of(header)))) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "\"%s\" cannot be the name of a header", header);
        weir_err_path(err, "key_header");
        return status;
    }
    return WEIR_OK;
}

static weir_status make_subject(const struct weir_template *subject,
                                struct weir_run *run,
                                struct weir_record *record,
                                struct weir_err *err)
{
    if (subject->text != NULL) {
        record->target = weir_slice_of(subject->text);
        return WEIR_OK;
    }
    weir_status status = weir_expr_text(run, &subject->expr, record, &record->target, err);
    if (status == WEIR_OK && !nats_is_subject(record->target)) {
        status = weir_fail(err, WEIR_EVAL, "\"%.*s\" is no subject to publish to",
                           record->target.size < 60 ? (int)record->target.size : 60,
                           record->target.data == NULL ? "" : record->target.data);
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "subject");
    }
    return status;
}

static weir_status check_headers(const struct nats_message_config *config,
                                 const struct weir_record *record,
                                 struct weir_err *err)
{
    for (uint32_t i = 0; i < record->header_count; i++) {
        const struct weir_header *header = &record->headers[i];
        if (!is_header(header->key, header->value)) {
            return weir_fail(err, WEIR_REJECTED, "the header %.*s has bytes that NATS cannot carry",
                             header->key.size < 40 ? (int)header->key.size : 40, header->key.data);
        }
    }
    if (config->key_header != NULL && !is_header(WEIR_SLICE("key"), record->key)) {
        return weir_fail(err, WEIR_REJECTED, "the key has bytes that a header cannot carry");
    }
    return WEIR_OK;
}

weir_status nats_message_prepare(const struct nats_message_config *config,
                                 struct weir_run *run,
                                 struct weir_record *record,
                                 struct weir_err *err)
{
    struct weir_batch *batch = weir_run_batch(run);
    struct weir_slice bytes;
    if (config->key.program != NULL &&
        weir_expr_text(run, &config->key, record, &record->key, err) != WEIR_OK) {
        weir_err_path(err, "key");
        return err->status;
    }
    weir_status status = make_subject(&config->subject, run, record, err);
    status = status == WEIR_OK ? weir_record_bytes(batch, record, &bytes, err) : status;
    if (status == WEIR_OK && bytes.data == NULL) {
        status = weir_fail(err, WEIR_REJECTED, "a message is no tombstone");
    }
    status = status == WEIR_OK ? weir_record_read_headers(batch, record, err) : status;
    return status == WEIR_OK ? check_headers(config, record, err) : status;
}

bool nats_message_has_headers(const struct nats_message_config *config,
                              const struct weir_record *record)
{
    return record->header_count > 0 || (config->key_header != NULL && record->key.data != NULL);
}

size_t nats_message_bytes(const struct weir_record *record)
{
    size_t bytes = record->raw.size + record->key.size + HEADER_OVERHEAD_BYTES;
    for (uint32_t i = 0; i < record->header_count; i++) {
        bytes +=
            record->headers[i].key.size + record->headers[i].value.size + HEADER_OVERHEAD_BYTES;
    }
    return bytes;
}

static natsStatus add_header(natsMsg *message, struct weir_slice name, struct weir_slice value)
{
    char key[NATS_NAME_MAX + 1], text[1024];
    char *long_text = value.size < sizeof(text) ? text : weir_calloc(1, value.size + 1);
    WEIR_ASSERT(name.size <= NATS_NAME_MAX);
    memcpy(key, name.data, name.size);
    key[name.size] = '\0';
    if (value.size > 0) {
        memcpy(long_text, value.data, value.size);
    }
    long_text[value.size] = '\0';
    natsStatus code = natsMsgHeader_Add(message, key, long_text);
    if (long_text != text) {
        weir_free(long_text);
    }
    return code;
}

natsStatus nats_message_make(const struct nats_message_config *config,
                             const struct weir_record *record,
                             const char *reply,
                             natsMsg **ret)
{
    natsStatus code =
        natsMsg_Create(ret, record->target.data, reply, record->raw.data, (int)record->raw.size);
    for (uint32_t i = 0; i < record->header_count && code == NATS_OK; i++) {
        if (!is_instruction(record->headers[i].key)) {
            code = add_header(*ret, record->headers[i].key, record->headers[i].value);
        }
    }
    if (code == NATS_OK && config->key_header != NULL && record->key.data != NULL) {
        code = add_header(*ret, weir_slice_of(config->key_header), record->key);
    }
    return code;
}

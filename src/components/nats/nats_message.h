/* SPDX-License-Identifier: Apache-2.0
 *
 * A record as a message of NATS: what its subject, its key and its headers may be, and the message
 * itself. Lanes, unless it says otherwise.
 */
#ifndef WEIR_NATS_MESSAGE_H
#define WEIR_NATS_MESSAGE_H

#include "nats_client.h"

/* How a record becomes a message; members of a configuration. */
struct nats_message_config {
    struct weir_template subject;
    struct weir_expr key;
    const char *key_header; /* NULL: the key is not written */
};

/* The rows that a sink for subjects has; S has a member `struct nats_message_config message`. */
#define NATS_MESSAGE_FIELDS(S, SUBJECT_HELP)                                                       \
    WEIR_F_NAMED(S, message.subject, "subject", TEMPLATE, struct weir_template,                    \
                 .flags = WEIR_REQUIRED, .example = "orders.paid", .help = SUBJECT_HELP),          \
        WEIR_F_NAMED(S, message.key, "key", JQ, struct weir_expr, .unset = "the input's key",      \
                     .example = ".country", .help = "The record's key."),                          \
        WEIR_F_NAMED(S, message.key_header, "key_header", STR, const char *,                       \
                     .unset = "the key is not written", .min = 1, .max = NATS_NAME_MAX,            \
                     .example = "customer", .help = "The header that the key is written to.")

/* For struct weir_component.check. */
weir_status nats_message_check(const struct nats_message_config *config, struct weir_err *err);

/* What may be published to: tokens without spaces and wildcards between dots. Any thread. */
bool nats_is_subject(struct weir_slice text);

/* For struct weir_sink_ops.prepare: fills the record's key and bytes, reads its headers and checks
 * that a message can carry them; the subject becomes its target, without a NUL. */
WEIR_MUST_USE weir_status nats_message_prepare(const struct nats_message_config *config,
                                               struct weir_run *run,
                                               struct weir_record *record,
                                               struct weir_err *err);
/* Whether a message needs headers; else natsConnection_Publish and its kin do. */
bool nats_message_has_headers(const struct nats_message_config *config,
                              const struct weir_record *record);
/* At most so many bytes of the server's max_payload. */
size_t nats_message_bytes(const struct weir_record *record);
/* A message with the record's headers and key; the target is NUL-terminated. reply: may be NULL. */
natsStatus nats_message_make(const struct nats_message_config *config,
                             const struct weir_record *record,
                             const char *reply,
                             natsMsg **ret);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * JetStream's requests and answers: streams and durable consumers, asked for, made, updated. Each
 * call waits for its answer. Any thread.
 */
#ifndef WEIR_NATS_API_H
#define WEIR_NATS_API_H

#include "nats_client.h"

enum nats_manage { NATS_MANAGE_CREATE, NATS_MANAGE_BIND };
enum nats_start { NATS_START_EARLIEST = 1, NATS_START_LATEST, NATS_START_LAST };

/* Error codes of JetStream that decide what happens next. */
enum nats_error {
    NATS_ERROR_CONSUMER_NOT_FOUND = 10014,
    NATS_ERROR_NO_MESSAGE = 10037,
    NATS_ERROR_STREAM_NOT_FOUND = 10059,
};

/* What an answer said, when it was an error; code 0: none. */
struct nats_answer {
    int code, error;
    char text[200];
};

/* One request; *ret is the answer's JSON in the arena. An error of JetStream is answered through
 * `answer` with WEIR_OK; anything else fails. */
WEIR_MUST_USE weir_status nats_api_ask(struct nats_client *client,
                                       struct weir_arena *arena,
                                       const char *subject,
                                       struct weir_slice body,
                                       struct nats_answer *answer,
                                       struct weir_value *ret,
                                       struct weir_err *err);
/* Reads `error` of an answer. */
void nats_api_error(struct weir_value value, struct nats_answer *answer);
/* The status that an error of JetStream means, and err. */
weir_status nats_api_fail(struct weir_err *err, const char *what, const struct nats_answer *answer);
/* An integer member; `otherwise` when there is none. */
int64_t nats_api_int(struct weir_value object, const char *name, int64_t otherwise);

/* What the clients of all languages take for a key of a bucket. */
bool nats_key_is_legal(struct weir_slice text);
/* For struct weir_component.check: can a bucket have the name? */
weir_status nats_bucket_check(const char *bucket, struct weir_err *err);

struct nats_stream_spec {
    const char *name;
    struct weir_strs subjects; /* of the stream that is made; empty: it must be there */
    enum nats_manage manage;
    bool is_direct;  /* made so that its last messages can be read directly */
    bool is_atomic;  /* made so that it takes batches (nats_batch.h) */
    bool is_bucket;  /* made as clients make a key-value bucket */
    int64_t history; /* made to keep so many messages of a subject; 0: all */
};

/* The stream is there, or is made. *ret: its information, in the arena. */
WEIR_MUST_USE weir_status nats_stream_ensure(struct nats_client *client,
                                             const struct nats_stream_spec *spec,
                                             struct weir_arena *arena,
                                             struct weir_value *ret,
                                             struct weir_err *err);
/* What a message has room for beside weir's own headers, by the server and by the information of a
 * stream. */
size_t nats_payload_max(struct nats_client *client, struct weir_value info);
/* The stream that keeps what is published to the subject; *ret NULL: none does. */
WEIR_MUST_USE weir_status nats_stream_of(struct nats_client *client,
                                         const char *subject,
                                         struct weir_arena *arena,
                                         const char **ret,
                                         struct weir_err *err);

struct nats_consumer_spec {
    const char *stream, *name;
    struct weir_strs filters;
    enum nats_manage manage;
    struct weir_moment start;
    int64_t start_sequence; /* 0: by `start` */
    weir_duration ack_wait;
    int64_t max_ack_pending;
    bool headers_only; /* ordered: without what the messages say */
};

/* The durable consumer is there as the spec wants it, or is made or updated. *ret: its
 * information. */
WEIR_MUST_USE weir_status nats_consumer_ensure(struct nats_client *client,
                                               const struct nats_consumer_spec *spec,
                                               struct weir_arena *arena,
                                               struct weir_value *ret,
                                               struct weir_err *err);
/* Makes a consumer of nobody else's, that acknowledges nothing: from start_sequence on (0: all) of
 * the filters. It ends by itself when it is not read for a while. ret_name: NATS_NAME_MAX + 1;
 * ret_pending, if not NULL: how many messages it has for us. */
WEIR_MUST_USE weir_status nats_consumer_ordered(struct nats_client *client,
                                                const struct nats_consumer_spec *spec,
                                                char *ret_name,
                                                int64_t *ret_pending,
                                                struct weir_err *err);
typedef weir_status
nats_scan_take(void *context, natsMsg *message, uint64_t sequence, struct weir_err *err);
/* Hands over, in order, each message that such a consumer gets, up to the sequence `last`; less
 * when there is no more. */
WEIR_MUST_USE weir_status nats_scan(struct nats_client *client,
                                    const struct nats_consumer_spec *spec,
                                    uint64_t last,
                                    nats_scan_take *take,
                                    void *context,
                                    struct weir_err *err);
/* It is gone, with all that it knew. */
WEIR_MUST_USE weir_status nats_consumer_delete(struct nats_client *client,
                                               const char *stream,
                                               const char *name,
                                               struct weir_arena *arena,
                                               struct weir_err *err);
/* Its information; absent when there is none. */
WEIR_MUST_USE weir_status nats_consumer_find(struct nats_client *client,
                                             const char *stream,
                                             const char *name,
                                             struct weir_arena *arena,
                                             struct weir_value *ret,
                                             struct weir_err *err);

/* Stores a message if the last one of its subject has the sequence `expected` (0: there is none).
 * WEIR_FENCED: it has not. *ret_sequence (may be &expected's): of what was stored. */
WEIR_MUST_USE weir_status nats_api_publish(struct nats_client *client,
                                           const char *subject,
                                           struct weir_slice text,
                                           uint64_t expected,
                                           uint64_t *ret_sequence,
                                           struct weir_err *err);
/* The answer to a publish, which it frees: as nats_api_publish. */
WEIR_MUST_USE weir_status nats_api_published(const char *subject,
                                             natsMsg *reply,
                                             uint64_t *ret_sequence,
                                             struct weir_err *err);
/* The last message of a subject, of a stream that was made with is_direct. *ret_sequence 0: there
 * is none. */
WEIR_MUST_USE weir_status nats_api_last(struct nats_client *client,
                                        const char *stream,
                                        const char *subject,
                                        uint64_t *ret_sequence,
                                        struct weir_strbuf *ret_text,
                                        struct weir_err *err);

/* The sequence of the last message of a subject, of any stream; 0: there is none. */
WEIR_MUST_USE weir_status nats_api_last_sequence(struct nats_client *client,
                                                 const char *stream,
                                                 const char *subject,
                                                 uint64_t *ret_sequence,
                                                 struct weir_err *err);

/* What the reply subject of a message that a consumer delivered says of it. */
struct nats_delivery {
    int64_t deliveries, time_ns, behind; /* behind: messages of the consumer still to come */
    uint64_t sequence, number;           /* in the stream; of the delivery */
};
bool nats_delivery_parse(const char *reply, struct nats_delivery *ret);
/* Was it delivered by that consumer, whose name is like no other? An inbox may still get what an
 * earlier question asked for. */
bool nats_delivery_is_of(const char *reply, const char *consumer);

#endif

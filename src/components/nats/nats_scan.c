/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading what a stream has, once, in pages, into an inbox that the client has for it. What comes
 * too late, of a scan before, says so: messages by their consumer, the server's words by their
 * subject. The end is known by its sequence: what a server says of how much is left is wrong now
 * and then with a filter (seen on 2.9). A page of which nothing comes in time is the end too: the
 * message of that sequence was deleted. What was lost on its way is a gap in the numbers of the
 * deliveries, never a shorter stream.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats_api.h"

enum { ANSWER_TIMEOUT_MS = 3000, PAGE = 500, PAGE_BYTES = 8 << 20, PAGE_MS = 2000 };

static natsStatus ask_page(struct nats_client *client,
                           const struct nats_consumer_spec *spec,
                           const char *consumer,
                           const char *inbox)
{
    char subject[2 * NATS_NAME_MAX + 60], body[80];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", spec->stream, consumer);
    snprintf(body, sizeof(body), "{\"batch\":%d,\"max_bytes\":%d,\"expires\":%d000000}", PAGE,
             spec->headers_only ? 0 : PAGE_BYTES, PAGE_MS);
    return natsConnection_PublishRequestString(client->connection, subject, inbox, body);
}

struct pages {
    struct nats_client *client;
    const struct nats_consumer_spec *spec;
    nats_scan_take *take;
    void *context;
    char consumer[NATS_NAME_MAX + 1];
    char inbox[NATS_INBOX_MAX + 40];
};

static natsStatus pages_open(struct pages *pages)
{
    struct nats_client *client = pages->client;
    natsStatus code = NATS_OK;
    if (client->pages == NULL) {
        snprintf(pages->inbox, sizeof(pages->inbox), "%spages.*", client->prefix);
        code = natsConnection_SubscribeSync(&client->pages, client->connection, pages->inbox);
        if (code == NATS_OK) { /* what comes is bounded by a page */
            nats_client_keep(client, client->pages);
            code = natsSubscription_SetPendingLimits(client->pages, -1, -1);
        }
    }
    snprintf(pages->inbox, sizeof(pages->inbox), "%spages.%" PRIu64, client->prefix,
             ++client->scans);
    return code;
}

static weir_status read_pages(struct pages *pages, uint64_t last, struct weir_err *err)
{
    weir_status status = WEIR_OK;
    uint64_t at = 0, number = 0;
    int left = 0, taken = 0; /* of the page */
    bool is_over = false;
    while (status == WEIR_OK && at < last && !is_over) {
        natsMsg *message = NULL;
        struct nats_delivery delivery;
        natsStatus code = NATS_OK;
        if (left == 0) {
            code = ask_page(pages->client, pages->spec, pages->consumer, pages->inbox);
            left = PAGE;
            taken = 0;
        }
        if (code == NATS_OK) {
            code = natsSubscription_NextMsg(&message, pages->client->pages, ANSWER_TIMEOUT_MS);
        }
        if (code != NATS_OK) {
            status = nats_fail(err, pages->spec->stream, code);
        } else if (nats_delivery_is_of(natsMsg_GetReply(message), pages->consumer) &&
                   nats_delivery_parse(natsMsg_GetReply(message), &delivery)) {
            at = delivery.sequence;
            left--;
            taken++;
            status =
                delivery.number == ++number
                    ? pages->take(pages->context, message, at, err)
                    : weir_fail(err, WEIR_UNAVAILABLE, "%s: messages were left out on their way",
                                pages->spec->stream);
        } else if (strcmp(natsMsg_GetSubject(message), pages->inbox) == 0) { /* the page is over */
            is_over = taken == 0;
            left = 0;
        }
        natsMsg_Destroy(message);
    }
    return status;
}

weir_status nats_scan(struct nats_client *client,
                      const struct nats_consumer_spec *spec,
                      uint64_t last,
                      nats_scan_take *take,
                      void *context,
                      struct weir_err *err)
{
    if (last == 0) {
        return WEIR_OK;
    }
    struct pages pages = {.client = client, .spec = spec, .take = take, .context = context};
    natsStatus code = pages_open(&pages);
    weir_status status = code == NATS_OK
                             ? nats_consumer_ordered(client, spec, pages.consumer, NULL, err)
                             : nats_fail(err, spec->stream, code);
    if (status == WEIR_OK) {
        struct weir_arena arena;
        struct weir_err ignored = {0};
        status = read_pages(&pages, last, err);
        weir_arena_init(&arena, 0);
        (void)!nats_consumer_delete(client, spec->stream, pages.consumer, &arena, &ignored);
        weir_arena_done(&arena);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * What a programmer writes by hand over nats.c: the measure for weir's NATS component
 * (bench/nats/run).
 *
 *     loop pull URL STREAM COUNT [all]           requests of 1,000, two under way, each message
 *                                                acknowledged; `all`: the last of 1,000
 *     loop publish URL SUBJECT COUNT [id]        4,096 under way, acknowledgements counted; `id`:
 *                                                with Nats-Msg-Id
 *     loop pass URL STREAM SUBJECT COUNT [id]    both: acknowledged when what it became is; `id`:
 *                                                with ids, and the last of 1,000
 *
 * The consumer is `loop`, durable, made by the caller. No error handling beyond ending.
 */
#include <nats/nats.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 1000, WINDOW = 4096, PAYLOAD = 100 };

static natsConnection *connection;

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        fprintf(stderr, "loop: %s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

static natsSubscription *inbox(char *prefix)
{
    natsSubscription *sub = NULL;
    natsInbox *name = NULL;
    char subject[128];
    check(natsInbox_Create(&name), "inbox");
    snprintf(prefix, 100, "%s.", name);
    snprintf(subject, sizeof(subject), "%s.*", name);
    natsInbox_Destroy(name);
    check(natsConnection_SubscribeSync(&sub, connection, subject), "subscribe");
    check(natsSubscription_SetPendingLimits(sub, -1, -1), "limits");
    return sub;
}

static void publish(
    const char *subject, const char *prefix, int64_t number, const char *data, int size, bool id)
{
    char reply[128];
    snprintf(reply, sizeof(reply), "%s%lld", prefix, (long long)number);
    if (!id) {
        check(natsConnection_PublishRequest(connection, subject, reply, data, size), "publish");
        return;
    }
    natsMsg *message = NULL;
    char text[64];
    snprintf(text, sizeof(text), "loop/IN/0/%lld/0", (long long)number);
    check(natsMsg_Create(&message, subject, reply, data, size), "message");
    check(natsMsgHeader_Set(message, "Nats-Msg-Id", text), "header");
    check(natsConnection_PublishMsg(connection, message), "publish");
    natsMsg_Destroy(message);
}

static void take_acks(natsSubscription *sub, int64_t count)
{
    for (; count > 0; count--) {
        natsMsg *message = NULL;
        check(natsSubscription_NextMsg(&message, sub, 10000), "acknowledgement");
        natsMsg_Destroy(message);
    }
}

static void run_publish(const char *subject, int64_t count, bool id)
{
    char prefix[100], data[PAYLOAD];
    memset(data, 'x', sizeof(data));
    natsSubscription *acks = inbox(prefix);
    int64_t open = 0;
    for (int64_t i = 0; i < count; i++) {
        if (open == WINDOW) {
            take_acks(acks, WINDOW / 2);
            open -= WINDOW / 2;
        }
        publish(subject, prefix, i, data, PAYLOAD, id);
        open++;
    }
    take_acks(acks, open);
}

static void ask(const char *stream, const char *prefix)
{
    char subject[256], reply[128];
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.loop", stream);
    snprintf(reply, sizeof(reply), "%snext", prefix);
    check(natsConnection_PublishRequestString(connection, subject, reply, "{\"batch\":1000}"),
          "request");
}

static void run_pull(const char *stream, const char *to, int64_t count, bool id, bool all)
{
    char prefix[100], ack_prefix[100];
    natsSubscription *messages = inbox(prefix), *acks = inbox(ack_prefix);
    natsMsg *held[BATCH];
    ask(stream, prefix);
    ask(stream, prefix);
    for (int64_t done = 0; done < count; done += BATCH) {
        for (int i = 0; i < BATCH; i++) {
            check(natsSubscription_NextMsg(&held[i], messages, 10000), "next");
            if (to != NULL) {
                publish(to, ack_prefix, done + i, natsMsg_GetData(held[i]),
                        natsMsg_GetDataLength(held[i]), id);
            }
        }
        ask(stream, prefix);
        if (to != NULL) {
            take_acks(acks, BATCH);
        }
        for (int i = 0; i < BATCH; i++) {
            if (!all || i == BATCH - 1) {
                check(natsConnection_Publish(connection, natsMsg_GetReply(held[i]), "+ACK", 4),
                      "ack");
            }
            natsMsg_Destroy(held[i]);
        }
    }
    check(natsConnection_FlushTimeout(connection, 10000), "flush");
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: see the head of this file\n");
        return 2;
    }
    check(natsConnection_ConnectTo(&connection, argv[2]), "connect");
    bool id = strcmp(argv[argc - 1], "id") == 0, all = strcmp(argv[argc - 1], "all") == 0;
    if (strcmp(argv[1], "publish") == 0) {
        run_publish(argv[3], strtoll(argv[4], NULL, 10), id);
    } else if (strcmp(argv[1], "pull") == 0) {
        run_pull(argv[3], NULL, strtoll(argv[4], NULL, 10), false, all);
    } else {
        run_pull(argv[3], argv[4], strtoll(argv[5], NULL, 10), id, id);
    }
    natsConnection_Destroy(connection);
    return 0;
}

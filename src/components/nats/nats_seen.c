/* SPDX-License-Identifier: Apache-2.0
 *
 * A table with open addressing, of whole ids: of two outputs with the same hash one would be left
 * out for ever. What the ids of a partition begin with is in it too; it ends with a slash.
 */
#include "nats_seen.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"

enum { SLOTS_MIN = 256 };

struct nats_seen_slot {
    const char *text; /* NULL: free */
    bool is_over;     /* of a partition: one was not there */
};

void nats_seen_done(struct nats_seen *seen)
{
    weir_arena_done(&seen->arena);
    weir_free(seen->slots);
    *seen = (struct nats_seen){0};
}

/* Where the text is, or belongs. */
static struct nats_seen_slot *find_slot(const struct nats_seen *seen, struct weir_slice text)
{
    size_t at = weir_hash_key(text.data, text.size) & (seen->capacity - 1);
    while (seen->slots[at].text != NULL &&
           !weir_slice_equal(weir_slice_of(seen->slots[at].text), text)) {
        at = (at + 1) & (seen->capacity - 1);
    }
    return &seen->slots[at];
}

static void grow(struct nats_seen *seen)
{
    struct nats_seen larger = {.capacity = seen->capacity == 0 ? SLOTS_MIN : 2 * seen->capacity};
    larger.slots = weir_calloc(larger.capacity, sizeof(*larger.slots));
    for (size_t i = 0; i < seen->capacity; i++) {
        if (seen->slots[i].text != NULL) {
            *find_slot(&larger, weir_slice_of(seen->slots[i].text)) = seen->slots[i];
        }
    }
    weir_free(seen->slots);
    seen->slots = larger.slots;
    seen->capacity = larger.capacity;
}

static bool add(struct nats_seen *seen, struct weir_slice text)
{
    if (seen->count * 2 >= seen->capacity) {
        grow(seen);
    }
    struct nats_seen_slot *slot = find_slot(seen, text);
    if (slot->text == NULL) {
        slot->text = weir_arena_copy(&seen->arena, text).data;
        seen->count += slot->text != NULL;
    }
    return slot->text != NULL;
}

/* An id without its position and number. */
static struct weir_slice partition_of(const char *id)
{
    size_t size = strlen(id);
    for (int slashes = 0; size > 0; size--) {
        slashes += id[size - 1] == '/';
        if (slashes == 2) {
            break;
        }
    }
    return (struct weir_slice){id, size};
}

bool nats_seen_take(struct nats_seen *seen, const char *id)
{
    if (seen->count == 0) {
        return false;
    }
    struct nats_seen_slot *partition = find_slot(seen, partition_of(id));
    if (partition->text == NULL || partition->is_over) {
        return false;
    }
    partition->is_over = find_slot(seen, weir_slice_of(id))->text == NULL;
    return !partition->is_over;
}

void nats_seen_restart(struct nats_seen *seen)
{
    for (size_t i = 0; i < seen->capacity; i++) {
        seen->slots[i].is_over = false;
    }
}

struct reading {
    struct nats_seen *seen;
    const char *prefix;
};

static weir_status
take_message(void *context, natsMsg *message, uint64_t sequence, struct weir_err *err)
{
    (void)sequence;
    struct reading *reading = context;
    const char *id = NULL;
    bool is_ours = natsMsgHeader_Get(message, "Nats-Msg-Id", &id) == NATS_OK &&
                   strncmp(id, reading->prefix, strlen(reading->prefix)) == 0;
    return !is_ours || (add(reading->seen, weir_slice_of(id)) &&
                        add(reading->seen, partition_of(id)))
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "no memory for what the stream has");
}

weir_status nats_seen_read(struct nats_seen *seen,
                           struct nats_client *client,
                           const char *stream,
                           const char *subject,
                           const char *prefix,
                           struct weir_err *err)
{
    nats_seen_done(seen);
    weir_arena_init(&seen->arena, 0);
    uint64_t last;
    weir_status status =
        nats_api_last_sequence(client, stream, subject != NULL ? subject : ">", &last, err);
    if (status != WEIR_OK || last == 0) {
        return status;
    }
    struct reading reading = {seen, prefix};
    const struct nats_consumer_spec consumer = {
        .stream = stream,
        .filters = {&subject, subject != NULL ? 1 : 0},
        .start_sequence = last > NATS_SEEN_MESSAGES ? (int64_t)last - NATS_SEEN_MESSAGES + 1 : 0,
        .headers_only = true,
    };
    return nats_scan(client, &consumer, last, take_message, &reading, err);
}

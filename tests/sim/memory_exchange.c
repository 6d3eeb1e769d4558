/* SPDX-License-Identifier: Apache-2.0
 *
 * The exchange through a topic in memory: source and sink `memory`, with configurations of their
 * own. The topic is written in transactions and read committed; its records are frames, so bytes.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "memory_priv.h"

static const char digits[] = "0123456789abcdef";

char *sim_hex(struct weir_slice bytes)
{
    char *text = weir_calloc(2 * bytes.size + 1, 1);
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned byte = (unsigned char)bytes.data[i];
        text[2 * i] = digits[byte >> 4];
        text[2 * i + 1] = digits[byte & 15];
    }
    return text;
}

static unsigned digit_value(char digit)
{
    const char *at = memchr(digits, digit, sizeof(digits) - 1);
    WEIR_ASSERT(at != NULL);
    return (unsigned)(at - digits);
}

char *sim_unhex(const char *text, size_t *ret_size)
{
    *ret_size = strlen(text) / 2;
    char *bytes = weir_calloc(*ret_size + 1, 1);
    for (size_t i = 0; i < *ret_size; i++) {
        bytes[i] = (char)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
    }
    return bytes;
}

struct sim_topic *sim_memory_topic(struct sim_broker *broker, const struct memory_config *config)
{
    struct sim_topic *topic = sim_broker_topic(broker, config->topic);
    if (topic == NULL && config->shards > 0) {
        topic = sim_broker_add_topic(broker, config->topic, (size_t)config->shards);
    }
    return topic;
}

static weir_status exchange_configure(const void *source,
                                      const void *like,
                                      const char *topic,
                                      int32_t shards,
                                      struct weir_arena *arena,
                                      const void **ret_source,
                                      const void **ret_sink,
                                      struct weir_err *err)
{
    (void)source;
    (void)like;
    (void)err;
    struct memory_config *config = weir_arena_calloc(arena, 1, sizeof(*config));
    WEIR_ASSERT(config != NULL);
    *config = (struct memory_config){.topic = topic, .shards = shards};
    *ret_source = *ret_sink = config;
    return WEIR_OK;
}

const struct weir_exchange_ops sim_memory_exchange = {
    .source = &sim_memory_source,
    .sink = &sim_memory_sink,
    .configure = exchange_configure,
};

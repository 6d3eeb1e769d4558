/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the component `memory`: its instances, and the door that every call goes through.
 */
#ifndef WEIR_TESTS_SIM_MEMORY_PRIV_H
#define WEIR_TESTS_SIM_MEMORY_PRIV_H

#include "memory.h"

/* --- the door (calls.c) ------------------------------------------------------------------------*/

struct sim_call {
    struct sim_process *process;
    uint64_t number;
    bool half;    /* crash in the middle */
    bool failing; /* answer `status` */
    bool done;    /* … after doing what was asked */
    weir_status status;
};

/* False: answer sim_call_fail() at once. */
bool sim_call_enter(struct sim_call *call, struct sim_process *process, enum sim_call_kind kind);
weir_status sim_call_fail(const struct sim_call *call, struct weir_err *err);
/* What the call answers in the end, when it would have answered `status`. */
weir_status sim_call_leave(struct sim_call *call, weir_status status, struct weir_err *err);

/* --- instances ---------------------------------------------------------------------------------*/

struct memory_config {
    const char *topic;
    int32_t shards; /* > 0: the topic of an exchange, made when it is not there */
};

extern const struct weir_field sim_memory_fields[];

struct memory_sent {
    struct sim_partition *partition;
    char *key, *value;
    bool sealed;
};

/* Shared by the sinks of a pipeline. Without a transaction, what is written is under way in `sent`
 * until polling delivers it. */
struct memory_producer {
    struct sim_process *process;
    struct weir_ctx *ctx;
    char id[64];
    int handle;
    unsigned epoch;
    bool initialised, begun, suspect, fenced, poisoned;
    unsigned poison_polls;
    size_t room;
    struct memory_sent *sent;
    size_t sent_count, sent_capacity;
};

struct memory_sink {
    struct memory_producer *producer;
    struct sim_topic *topic;
    bool is_exchange;
};

struct memory_part {
    size_t index;
    struct weir_partition *part;
    int64_t next;
    bool leaving; /* the group has been told to wait for it */
    struct memory_part *link;
};

struct memory_source {
    struct sim_process *process;
    struct weir_ctx *ctx;
    struct sim_topic *topic;
    int member;
    struct memory_part *parts;
    size_t turn;
    bool told, is_exchange;
};

/* The topic of a configuration. */
struct sim_topic *sim_memory_topic(struct sim_broker *broker, const struct memory_config *config);
/* Bytes as the broker keeps them, which has texts; to be freed. */
char *sim_hex(struct weir_slice bytes);
char *sim_unhex(const char *text, size_t *ret_size);
/* The process is gone: some of what was under way still arrives. */
void sim_producer_die(struct memory_producer *producer, uint64_t number);
weir_status
sim_memory_name(const void *config, bool connect, struct weir_strbuf *out, struct weir_err *err);

extern const struct weir_domain_ops sim_memory_domain;
extern const struct weir_exchange_ops sim_memory_exchange;

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Small, and each with something of its own: one lane or two, a source or two, more lanes than
 * partitions, outputs to several sinks, a sink that is often full, static or dynamic membership.
 */
#include "pipelines.h"

#define ONE_SINK "sink: {memory: {topic: out0}}\n"
#define TWO_SINKS "sinks: [memory: {topic: out0}, memory: {topic: out1}]\n"

const struct sim_spec sim_pipelines[] = {
    {.name = "pass",
     .tail = ONE_SINK,
     .sources = 1,
     .partitions = 1,
     .records = 21,
     .outs = 1,
     .shapes = {SIM_PASS},
     .lanes = 1,
     .batch_size = 4,
     .chunk = 2,
     .room = 100},
    {.name = "pass, instance, full sink",
     .tail = ONE_SINK,
     .sources = 1,
     .partitions = 3,
     .records = 14,
     .outs = 1,
     .shapes = {SIM_PASS},
     .lanes = 2,
     .batch_size = 6,
     .chunk = 3,
     .room = 3,
     .instance = true},
    {.name = "repeat, two sinks",
     .tail = "steps: [repeat]\n" TWO_SINKS,
     .sources = 1,
     .partitions = 3,
     .records = 12,
     .outs = 2,
     .shapes = {SIM_REPEAT, SIM_REPEAT},
     .lanes = 2,
     .batch_size = 8,
     .chunk = 3,
     .room = 4},
    {.name = "two sources, branches",
     .tail = "branches:\n"
             "  - {name: one, steps: [repeat], sinks: [memory: {topic: out0}, drop]}\n"
             "  - {name: two, sink: {memory: {topic: out1}}}\n",
     .sources = 2,
     .partitions = 2,
     .records = 11,
     .outs = 2,
     .shapes = {SIM_REPEAT, SIM_PASS},
     .lanes = 2,
     .batch_size = 5,
     .chunk = 2,
     .room = 100,
     .instance = true},
    {.name = "expressions",
     .tail = "steps:\n"
             "  - filter: .n % 3 != 0\n"
             "  - map: '. as $r | range(.n % 3) | {t: $r.t, p: $r.p, n: $r.n, i: .} + ($r | {x} | "
             "map_values(select(. != null)))'\n"
             "sinks:\n"
             "  - memory: {topic: out0}\n"
             "  - {when: .i >= 0, memory: {topic: out1}}\n",
     .sources = 1,
     .partitions = 3,
     .records = 12,
     .outs = 2,
     .shapes = {SIM_REPEAT, SIM_REPEAT},
     .lanes = 2,
     .batch_size = 6,
     .chunk = 3,
     .room = 100},
    {.name = "branches with conditions",
     .tail = "branches:\n"
             "  - {name: odd, when: .n % 2 == 1, sink: {memory: {topic: out0}}}\n"
             "  - name: all\n"
             "    steps: [{map: .}]\n"
             "    sinks:\n"
             "      - memory: {topic: out1}\n"
             "      - {when: .n % 2 == 1, memory: {topic: out2}}\n",
     .sources = 1,
     .partitions = 2,
     .records = 10,
     .outs = 3,
     .shapes = {SIM_ODD, SIM_PASS, SIM_ODD},
     .lanes = 1,
     .batch_size = 4,
     .chunk = 2,
     .room = 5,
     .instance = true},
    {.name = "state",
     .tail = "steps: [tally]\n" TWO_SINKS,
     .sources = 1,
     .partitions = 3,
     .records = 17,
     .outs = 2,
     .shapes = {SIM_TALLY, SIM_TALLY},
     .lanes = 2,
     .batch_size = 5,
     .chunk = 3,
     .room = 4,
     .stateful = true},
    {.name = "questions",
     .tail = "steps: [enquire, {map: .}]\n"
             "branches:\n"
             "  - {name: one, steps: [{map: .}, enquire, repeat], sink: {memory: {topic: "
             "out0}}}\n"
             "  - {name: two, steps: [enquire], sink: {memory: {topic: out1}}}\n",
     .sources = 1,
     .partitions = 2,
     .records = 5,
     .outs = 2,
     .shapes = {SIM_REPEAT, SIM_PASS},
     .lanes = 2,
     .batch_size = 5,
     .chunk = 2,
     .room = 4},
    {.name = "questions and state",
     .tail = "steps: [enquire, tally, enquire]\n" TWO_SINKS,
     .sources = 1,
     .partitions = 3,
     .records = 5,
     .outs = 2,
     .shapes = {SIM_TALLY, SIM_TALLY},
     .lanes = 2,
     .batch_size = 5,
     .chunk = 3,
     .room = 4,
     .stateful = true},
};

const struct sim_spec sim_exchange_questions = {
    .name = "questions on both sides of an exchange",
    .tail =
        "steps: [enquire, {tally: {}, exchange: {via: memory, shards: 5}}, enquire]\n" TWO_SINKS,
    .sources = 1,
    .partitions = 3,
    .records = 5,
    .outs = 2,
    .shapes = {SIM_TALLY, SIM_TALLY},
    .lanes = 2,
    .batch_size = 5,
    .chunk = 3,
    .room = 4,
    .stateful = true,
};

const struct sim_spec sim_exchange = {
    .name = "exchange",
    .tail = "steps: [{tally: {}, exchange: {via: memory, shards: 5}}]\n" TWO_SINKS,
    .sources = 1,
    .partitions = 3,
    .records = 17,
    .outs = 2,
    .shapes = {SIM_TALLY, SIM_TALLY},
    .lanes = 2,
    .batch_size = 5,
    .chunk = 3,
    .room = 4,
    .stateful = true,
};

const struct sim_spec sim_exchange_topic = {
    .name = "exchange through a topic",
    .tail = "steps: [{name: counts, tally: {}, exchange: {via: topic, shards: 5}}]\n" TWO_SINKS,
    .sources = 1,
    .partitions = 3,
    .records = 17,
    .outs = 2,
    .shapes = {SIM_TALLY, SIM_TALLY},
    .lanes = 2,
    .batch_size = 5,
    .chunk = 3,
    .room = 40,
    .stateful = true,
    .exchange = true,
};

const size_t sim_pipeline_count = sizeof(sim_pipelines) / sizeof(sim_pipelines[0]);

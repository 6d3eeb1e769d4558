/* SPDX-License-Identifier: Apache-2.0
 *
 * The one list of built-in components. Written out rather than collected by constructors or linker
 * sections: the linker drops an unreferenced object of a static library without a word.
 */
#include "app/builtin.h"

// clang-format off
#define BUILTINS(X)      \
    X(kafka_source)      \
    X(nats_source)       \
    X(nats_core_source)  \
    X(redis_source)      \
    X(file_source)       \
    X(stdin_source)      \
    X(generate_source)   \
    X(filter_step)       \
    X(map_step)          \
    X(key_step)          \
    X(log_step)          \
    X(window_step)       \
    X(aggregate_step)    \
    X(dedupe_step)       \
    X(nats_request_step) \
    X(nats_kv_step)      \
    X(kafka_sink)        \
    X(nats_sink)         \
    X(nats_core_sink)    \
    X(nats_kv_sink)      \
    X(redis_sink)        \
    X(file_sink)         \
    X(stdout_sink)       \
    X(drop_sink)
// clang-format on

#define X(name) extern const struct weir_component weir_component_##name;
BUILTINS(X)
#undef X

static const struct weir_component *const builtins[] = {
#define X(name) &weir_component_##name,
    BUILTINS(X)
#undef X
};

const struct weir_component *weir_builtin_at(size_t index)
{
    return index < sizeof(builtins) / sizeof(builtins[0]) ? builtins[index] : NULL;
}

static const struct weir_described *
described_at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++) {
        if (builtins[i]->described.kind == role && index-- == 0) {
            return &builtins[i]->described;
        }
    }
    return NULL;
}

const struct weir_registry weir_builtin_registry = {.at = described_at};

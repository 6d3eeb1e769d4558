/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a pipeline file gives the settings that it says and the defaults for the rest; the
 * environment gives the file that it amounts to. Method: load texts and environments against a
 * small registry and look at the bound structs.
 */
#include "conf/pipeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "table_check.h"

struct options {
    struct weir_strs brokers;
    const char *topic;
    const char *group;
    struct weir_expr jq;
};

#define S struct options
static const struct weir_field kafka_fields[] = {
    WEIR_F_STRS(S, brokers, .flags = WEIR_REQUIRED | WEIR_ADDRESS, .help = "Brokers."),
    WEIR_F_STR(S, topic, .flags = WEIR_REQUIRED, .help = "Topic."),
    WEIR_F_STR(S, group, .help = "Group."),
    WEIR_FIELDS_END,
};
static const struct weir_field map_fields[] = {
    WEIR_F_JQ(S, jq, .flags = WEIR_SHORT | WEIR_REQUIRED, .help = "Expression."),
    WEIR_FIELDS_END,
};
#undef S

static const struct weir_described described[] = {
    {.kind = WEIR_ROLE_SOURCE,
     .name = "kafka",
     .fields = kafka_fields,
     .config_size = sizeof(struct options)},
    {.kind = WEIR_ROLE_STEP,
     .name = "map",
     .fields = map_fields,
     .config_size = sizeof(struct options)},
    {.kind = WEIR_ROLE_SINK,
     .name = "kafka",
     .fields = kafka_fields,
     .config_size = sizeof(struct options)},
    {.kind = WEIR_ROLE_SINK, .name = "stdout"},
};

static const struct weir_described *at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    for (size_t i = 0; i < sizeof(described) / sizeof(described[0]); i++) {
        if (described[i].kind == role && index-- == 0) {
            return &described[i];
        }
    }
    return NULL;
}

static size_t compiled;

static struct weir_jq *compile(
    void *context, struct weir_slice text, size_t *ret_start, size_t *ret_end, struct weir_err *err)
{
    (void)text;
    (void)ret_start;
    (void)ret_end;
    (void)err;
    compiled++;
    return context;
}

static void release(void *context, struct weir_jq *program)
{
    assert_ptr_equal(context, program);
    compiled--;
}

struct world {
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_registry registry;
    struct weir_compiler compiler;
    struct weir_surroundings surroundings;
    const char *const (*variables)[2];
};

static const char *get_variable(const void *context, const char *name)
{
    const struct world *world = context;
    for (size_t i = 0; world->variables != NULL && world->variables[i][0] != NULL; i++) {
        if (strcmp(world->variables[i][0], name) == 0) {
            return world->variables[i][1];
        }
    }
    return NULL;
}

static void setup(struct world *world)
{
    static char something;
    *world =
        (struct world){.registry = {.at = at},
                       .compiler = {.compile = compile, .release = release, .context = &something}};
    world->surroundings =
        (struct weir_surroundings){&world->registry, &world->compiler, get_variable, world};
    weir_arena_init(&world->arena, 0);
    weir_diags_init(&world->diags, &world->arena);
}

static void teardown(struct world *world)
{
    weir_arena_done(&world->arena);
    assert_int_equal(compiled, 0);
}

static struct weir_loaded *load(struct world *world, const char *yaml)
{
    struct weir_err err = {0};
    struct weir_text *text = weir_text_new(&world->arena, "test", weir_slice_of(yaml), &err);
    assert_non_null(text);
    return weir_load_text(&world->surroundings, text, &world->diags);
}

static void the_smallest_file(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    struct weir_loaded *loaded =
        load(&world, "name: a\nsource: {kafka: {brokers: 'b:1', topic: t}}\nsink: stdout\n");
    assert_non_null(loaded);
    const struct weir_pipeline_config *config = &loaded->config;
    assert_string_equal(config->name, "a");
    assert_int_equal(config->sources.count, 1);
    assert_int_equal(config->sinks.count, 1);
    assert_int_equal(config->branches.count, 0);
    assert_int_equal(config->guarantee, WEIR_WISH_STRONGEST);
    assert_int_equal(config->on_error, WEIR_ON_ERROR_STOP);
    assert_int_equal(config->batch_size, 500);
    assert_int_equal(config->commit_interval, 0);
    assert_int_equal(config->lanes, 0);
    assert_int_equal(config->shutdown_timeout, 30000);
    assert_int_equal(config->in_flight, 48 * 1024 * 1024);
    assert_int_equal(config->transaction_timeout, 10000);
    assert_string_equal(config->http->listen, "127.0.0.1:9600");
    assert_int_equal(config->log.level, WEIR_LEVEL_INFO);
    assert_string_equal(
        WEIR_ITEMS_AT(struct weir_sink_config, &config->sinks, 0)->component.described->name,
        "stdout");
    weir_loaded_free(loaded);
    teardown(&world);
}

static void branches_and_lists(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    struct weir_loaded *loaded = load(&world, "name: a\n"
                                              "sources:\n"
                                              "  - {name: x, kafka: {brokers: 'b:1', topic: t}}\n"
                                              "  - {name: y, kafka: {topic: u}}\n"
                                              "steps: [map: .a]\n"
                                              "branches:\n"
                                              "  - {name: p, when: .p, sink: stdout}\n"
                                              "  - name: q\n"
                                              "    steps: [map: .b, map: .c]\n"
                                              "    sinks: [stdout, {when: .z, kafka: {topic: v}}]\n"
                                              "http: off\n");
    assert_non_null(loaded);
    const struct weir_pipeline_config *config = &loaded->config;
    assert_int_equal(config->sources.count, 2);
    assert_int_equal(config->sinks.count, 0);
    assert_int_equal(config->branches.count, 2);
    assert_null(config->http);
    const struct weir_branch_config *second =
        WEIR_ITEMS_AT(struct weir_branch_config, &config->branches, 1);
    assert_int_equal(second->steps.count, 2);
    assert_int_equal(second->sinks.count, 2);
    const struct weir_sink_config *sink = WEIR_ITEMS_AT(struct weir_sink_config, &second->sinks, 1);
    assert_non_null(sink->when.program);
    const struct options *options = sink->component.config;
    assert_int_equal(options->brokers.count, 1);
    assert_string_equal(options->brokers.items[0], "b:1");
    assert_int_equal(compiled, 5);
    weir_loaded_free(loaded);
    teardown(&world);
}

static void errors_release_what_was_compiled(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    assert_null(load(&world, "name: a\nsteps: [map: .a]\nwindow: 1m\n"));
    assert_true(world.diags.errors >= 3);
    teardown(&world);
}

static void the_environment_is_a_file(void **state)
{
    (void)state;
    static const char *const variables[][2] = {
        {"KAFKA_BROKERS", "k1:9092,k2:9092"},
        {"TOPIC", "orders"},
        {"CONSUMER_GROUP", "billing"},
        {"WORKER_COUNT", "3"},
        {"FLUSH_INTERVAL", "250ms"},
        {"OUTPUT", "kafka:///paid"},
        {"STEPS", "{id, who: 'x'} | ${ignored}"},
        {NULL, NULL},
    };
    struct world world;
    setup(&world);
    world.variables = variables;
    struct weir_loaded *loaded = weir_load_environment(&world.surroundings, &world.diags);
    assert_non_null(loaded);
    const struct weir_pipeline_config *config = &loaded->config;
    assert_string_equal(config->name, "billing");
    assert_int_equal(config->batch_size, 100);
    assert_int_equal(config->lanes, 3);
    assert_int_equal(config->commit_interval, 250);
    const struct options *source =
        WEIR_ITEMS_AT(struct weir_source_config, &config->sources, 0)->component.config;
    assert_int_equal(source->brokers.count, 2);
    assert_string_equal(source->topic, "orders");
    const struct options *map =
        WEIR_ITEMS_AT(struct weir_step_config, &config->steps, 0)->component.config;
    assert_string_equal(map->jq.text.data, "{id, who: 'x'} | ${ignored}");
    const struct options *sink =
        WEIR_ITEMS_AT(struct weir_sink_config, &config->sinks, 0)->component.config;
    assert_string_equal(sink->topic, "paid");
    assert_string_equal(sink->brokers.items[1], "k2:9092");
    const struct weir_origin *origin = weir_binder_origin(&loaded->binder, &config->lanes);
    assert_non_null(origin);
    assert_string_equal(origin->variable, "WORKER_COUNT");
    weir_loaded_free(loaded);
    teardown(&world);
}

static void missing_features_are_refused(void **state)
{
    (void)state;
    static const char *const variables[][2] = {
        {"KAFKA_BROKERS", "k1:9092"}, {"TOPIC", "orders"},       {"OUTPUT", "stdout:"},
        {"MAX_RETRIES", "3"},         {"DLQ_TOPIC", "dead"},     {"REDIS_URL", "redis://x"},
        {"NATS_URL", "nats://x"},     {"STREAM_NAME", "stream"}, {NULL, NULL},
    };
    struct world world;
    setup(&world);
    world.variables = variables;
    assert_null(weir_load_environment(&world.surroundings, &world.diags));
    assert_int_equal(world.diags.errors, 3); /* MAX_RETRIES, and three systems at once */
    teardown(&world);
}

static void an_empty_environment_says_what_is_needed(void **state)
{
    (void)state;
    struct world world;
    setup(&world);
    assert_null(weir_load_environment(&world.surroundings, &world.diags));
    assert_int_equal(world.diags.errors, 3);
    teardown(&world);
}

static void the_table_is_in_order(void **state)
{
    (void)state;
    assert_int_equal(table_check("pipeline", weir_pipeline_fields, weir_pipeline_rules), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_smallest_file),
        cmocka_unit_test(branches_and_lists),
        cmocka_unit_test(errors_release_what_was_compiled),
        cmocka_unit_test(the_environment_is_a_file),
        cmocka_unit_test(missing_features_are_refused),
        cmocka_unit_test(an_empty_environment_says_what_is_needed),
        cmocka_unit_test(the_table_is_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

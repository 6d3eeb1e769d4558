/* SPDX-License-Identifier: Apache-2.0
 *
 * Environment-only mode: a pipeline without a file. The variables are written out as the YAML file
 * that they amount to, and that text is loaded like any other; so there is one set of checks, and
 * `weir explain` shows a file to go on from. Each line remembers the variable it was made from. A
 * variable whose feature this build lacks is an error: ignoring MAX_RETRIES would promise retries.
 *
 *     KAFKA_BROKERS=localhost:9092          source: {kafka: {brokers: …, topic: …, group: …}}
 *     TOPIC=orders  CONSUMER_GROUP=billing  name: billing
 *     STEPS='select(.paid)'                 steps: [map: …]
 *     OUTPUT=kafka://localhost:9092/paid    sink: {kafka: {…}}, by made_url.c
 *     WORKER_COUNT  BATCH_SIZE  FLUSH_INTERVAL
 */
#include "conf/pipeline.h"

#include <stdlib.h>

#include "conf/made.h"

struct builder {
    const struct weir_surroundings *surroundings;
    struct weir_made made;
};

/* A variable that is set to something; "" counts as unset. */
static const char *variable(const struct builder *self, const char *name)
{
    const char *value = self->surroundings->env != NULL
                            ? self->surroundings->env(self->surroundings->env_context, name)
                            : getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void line(struct builder *self, const char *name, const char *before, const char *value)
{
    weir_made_line(&self->made, name, before, value);
}

struct missing {
    const char *name, *feature;
};

static void refuse_missing(struct builder *self)
{
    static const struct missing features[] = {
        {"NATS_URL", "NATS"},
        {"REDIS_URL", "Redis"},
        {"STREAM_NAME", "NATS and Redis"},
        {"MAX_RETRIES", "retries"},
        {"DLQ_TOPIC", "dead letters"},
    };
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        if (variable(self, features[i].name) != NULL) {
            struct weir_diag *diag =
                weir_made_error(&self->made, "%s is set, but this build has no %s",
                                features[i].name, features[i].feature);
            diag->hint = "Unset it.";
        }
    }
}

static void require(struct builder *self, const char *name, const char *example)
{
    if (variable(self, name) == NULL) {
        struct weir_diag *diag = weir_made_error(&self->made, "%s is not set", name);
        weir_diag_hint(self->made.diags, diag,
                       "Without a file the pipeline comes from the environment: set %s, for "
                       "example %s, or name a file.",
                       name, example);
    }
}

static void build_source(struct builder *self)
{
    line(self, NULL, "source:", NULL);
    line(self, NULL, "  kafka:", NULL);
    line(self, "KAFKA_BROKERS", "    brokers: ", variable(self, "KAFKA_BROKERS"));
    line(self, "TOPIC", "    topic: ", variable(self, "TOPIC"));
    if (variable(self, "CONSUMER_GROUP") != NULL) {
        line(self, "CONSUMER_GROUP", "    group: ", variable(self, "CONSUMER_GROUP"));
    }
}

static void build_settings(struct builder *self)
{
    const char *batch_size = variable(self, "BATCH_SIZE");
    if (batch_size != NULL) {
        line(self, "BATCH_SIZE", "batch_size: ", batch_size);
    } else {
        line(self, NULL, "batch_size: 100", NULL);
    }
    if (variable(self, "WORKER_COUNT") != NULL) {
        line(self, "WORKER_COUNT", "lanes: ", variable(self, "WORKER_COUNT"));
    }
    if (variable(self, "FLUSH_INTERVAL") != NULL) {
        line(self, "FLUSH_INTERVAL", "commit_interval: ", variable(self, "FLUSH_INTERVAL"));
    }
}

static void build(struct builder *self)
{
    const char *group = variable(self, "CONSUMER_GROUP");
    if (group != NULL) {
        line(self, "CONSUMER_GROUP", "name: ", group);
    } else {
        line(self, NULL, "name: weir", NULL);
    }
    build_source(self);
    if (variable(self, "STEPS") != NULL) {
        line(self, NULL, "steps:", NULL);
        line(self, "STEPS", "  - map: ", variable(self, "STEPS"));
    }
    if (variable(self, "OUTPUT") != NULL) {
        (void)weir_made_url(&self->made, self->surroundings->registry, WEIR_ROLE_SINK, "OUTPUT",
                            variable(self, "OUTPUT"));
    }
    build_settings(self);
}

struct weir_text *weir_environment_text(const struct weir_surroundings *surroundings,
                                        struct weir_diags *diags)
{
    struct builder self = {.surroundings = surroundings};
    size_t errors = diags->errors;
    weir_made_init(&self.made, "environment", diags);
    refuse_missing(&self);
    require(&self, "KAFKA_BROKERS", "localhost:9092");
    require(&self, "TOPIC", "orders");
    require(&self, "OUTPUT", "stdout:");
    if (diags->errors == errors) {
        build(&self);
    }
    return weir_made_finish(&self.made);
}

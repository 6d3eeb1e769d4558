/* SPDX-License-Identifier: Apache-2.0
 *
 * Environment-only mode: a pipeline without a file. The variables are written out as the YAML file
 * that they amount to, and that text is loaded like any other; so there is one set of checks, and
 * `weir explain` shows a file to go on from. Each line remembers the variable it was made from. A
 * variable whose feature this build lacks is an error: ignoring MAX_RETRIES would promise retries.
 *
 *     KAFKA_BROKERS=localhost:9092          source: {kafka: {brokers: …, topic: …, group: …}}
 *     or REDIS_URL and STREAM_NAME          source: {redis: {url: …, stream: …, group: …}}
 *     or NATS_URL and STREAM_NAME           source: {nats: {url: …, stream: …, durable: …}}
 *     TOPIC=orders  CONSUMER_GROUP=billing  name: billing
 *     STEPS='select(.paid)'                 steps: [map: …]
 *     OUTPUT=kafka://localhost:9092/paid    sink: {kafka: {…}}, by made_url.c
 *     DLQ_TOPIC=orders.dead                 dead_letter: {kafka: {topic: …}}, in the source's
 * system WORKER_COUNT  BATCH_SIZE  FLUSH_INTERVAL
 */
#include "conf/pipeline.h"

#include <stdlib.h>
#include <string.h>

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
        {"MAX_RETRIES", "retries"},
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

/* The systems that can be read, by the variable that names the server. */
static const struct origin {
    const char *server, *what;                               /* variables */
    const char *component, *address, *name, *group, *output; /* keys */
    const char *example_server, *example_what;
} origins[] = {
    {"KAFKA_BROKERS", "TOPIC", "  kafka:", "    brokers: ", "    topic: ", "    group: ",
     "    topic: ", "localhost:9092", "orders"},
    {"REDIS_URL", "STREAM_NAME", "  redis:", "    url: ", "    stream: ", "    group: ",
     "    stream: ", "localhost:6379", "orders"},
    {"NATS_URL", "STREAM_NAME", "  nats:", "    url: ", "    stream: ", "    durable: ",
     "    subject: ", "localhost:4222", "ORDERS"},
};

/* The one that is set; the first when none is. */
static const struct origin *origin_of(struct builder *self)
{
    const struct origin *found = NULL;
    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        if (variable(self, origins[i].server) == NULL) {
            continue;
        }
        if (found != NULL) {
            struct weir_diag *diag = weir_made_error(&self->made, "%s and %s are both set",
                                                     found->server, origins[i].server);
            diag->hint = "A pipeline from the environment reads one system; unset the other.";
        } else {
            found = &origins[i];
        }
    }
    return found != NULL ? found : &origins[0];
}

static void refuse_other(struct builder *self, const struct origin *origin)
{
    for (size_t i = 0; i < sizeof(origins) / sizeof(origins[0]); i++) {
        const char *what = origins[i].what;
        bool is_told = i > 0 && strcmp(origins[i - 1].what, what) == 0;
        if (strcmp(what, origin->what) != 0 && !is_told && variable(self, what) != NULL &&
            variable(self, origins[i].server) == NULL) {
            struct weir_diag *diag = weir_made_error(&self->made, "%s is set, but %s is not",
                                                     origins[i].what, origins[i].server);
            diag->hint = "Unset it, or set both.";
        }
    }
}

static void build_source(struct builder *self, const struct origin *origin)
{
    line(self, NULL, "source:", NULL);
    line(self, NULL, origin->component, NULL);
    line(self, origin->server, origin->address, variable(self, origin->server));
    line(self, origin->what, origin->name, variable(self, origin->what));
    if (variable(self, "CONSUMER_GROUP") != NULL) {
        line(self, "CONSUMER_GROUP", origin->group, variable(self, "CONSUMER_GROUP"));
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

static void build(struct builder *self, const struct origin *origin)
{
    const char *group = variable(self, "CONSUMER_GROUP");
    if (group != NULL) {
        line(self, "CONSUMER_GROUP", "name: ", group);
    } else {
        line(self, NULL, "name: weir", NULL);
    }
    build_source(self, origin);
    if (variable(self, "STEPS") != NULL) {
        line(self, NULL, "steps:", NULL);
        line(self, "STEPS", "  - map: ", variable(self, "STEPS"));
    }
    if (variable(self, "OUTPUT") != NULL) {
        (void)weir_made_url(&self->made, self->surroundings->registry, WEIR_ROLE_SINK, "OUTPUT",
                            variable(self, "OUTPUT"));
    }
    if (variable(self, "DLQ_TOPIC") != NULL) {
        line(self, NULL, "dead_letter:", NULL);
        line(self, NULL, origin->component, NULL);
        line(self, origin->server, origin->address, variable(self, origin->server));
        line(self, "DLQ_TOPIC", origin->output, variable(self, "DLQ_TOPIC"));
    }
    build_settings(self);
}

struct weir_text *weir_environment_text(const struct weir_surroundings *surroundings,
                                        struct weir_diags *diags)
{
    struct builder self = {.surroundings = surroundings};
    size_t errors = diags->errors;
    weir_made_init(&self.made, "environment", diags);
    const struct origin *origin = origin_of(&self);
    refuse_missing(&self);
    refuse_other(&self, origin);
    require(&self, origin->server, origin->example_server);
    require(&self, origin->what, origin->example_what);
    require(&self, "OUTPUT", "stdout:");
    if (diags->errors == errors) {
        build(&self, origin);
    }
    return weir_made_finish(&self.made);
}

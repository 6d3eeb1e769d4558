/* SPDX-License-Identifier: Apache-2.0
 *
 * The schema accepts what the binder accepts, as far as a schema can say it. Two things it cannot
 * say, so it stays on the permissive side: every scalar may be written as ${VAR}, and a component's
 * connection settings may come from the component before it, so they are never required here.
 *
 *     {"$ref": "#/definitions/source.kafka"}       the options of a component
 *     {"$ref": "#/definitions/substituted"}        a text with ${…} in it
 */
#include "conf/schema.h"

#include <stdint.h>

#include "base/assert.h"
#include "base/quote.h"
#include "conf/scalar.h"
#include "conf/table.h"

static void put_quoted(struct weir_strbuf *out, const char *text)
{
    weir_quote_json(weir_slice_of(text), out);
}

static void put_pair(struct weir_strbuf *out, const char *key, const char *value)
{
    weir_strbuf_printf(out, "\"%s\":", key);
    put_quoted(out, value);
}

static void put_fields(struct weir_strbuf *out,
                       const struct weir_field *fields,
                       const struct weir_rule *rules,
                       const struct weir_registry *registry);

/* --- scalars ---------------------------------------------------------------------------------- */

static void put_bounds(struct weir_strbuf *out,
                       const struct weir_field *field,
                       const char *least,
                       const char *most)
{
    if (field->min == 0 && field->max == 0) {
        return;
    }
    if (field->min != INT64_MIN) {
        weir_strbuf_printf(out, ",\"%s\":%lld", least, (long long)field->min);
    }
    if (field->max != INT64_MAX) {
        weir_strbuf_printf(out, ",\"%s\":%lld", most, (long long)field->max);
    }
}

static void put_choices(struct weir_strbuf *out, const struct weir_field *field)
{
    weir_strbuf_text(out, "{\"enum\":[");
    for (const struct weir_choice *choice = field->choices; choice->name != NULL; choice++) {
        weir_strbuf_text(out, choice == field->choices ? "" : ",");
        put_quoted(out, choice->name);
    }
    weir_strbuf_text(out, "]}");
}

#define SUBSTITUTED "{\"$ref\":\"#/definitions/substituted\"}"
#define DURATION "[0-9]+(\\\\.[0-9]+)? *(ms|s|m|h|d)"

static void put_str(struct weir_strbuf *out, const struct weir_field *field)
{
    weir_strbuf_text(out, "\"anyOf\":[{\"type\":\"string\"");
    put_bounds(out, field, "minLength", "maxLength");
    weir_strbuf_text(out, (field->flags & WEIR_NAME) != 0 ? ",\"pattern\":\"^[a-z0-9._-]*$\"" : "");
    weir_strbuf_text(out,
                     (field->flags & WEIR_HOST_PORT) != 0 ? ",\"pattern\":\":[0-9]{1,5}$\"" : "");
    weir_strbuf_text(out, "},{\"type\":\"number\"}," SUBSTITUTED "]");
}

static void put_strs(struct weir_strbuf *out, const struct weir_field *field)
{
    weir_strbuf_text(out, "\"anyOf\":[{\"type\":\"array\","
                          "\"items\":{\"type\":[\"string\",\"number\",\"boolean\"]}");
    put_bounds(out, field, "minItems", "maxItems");
    weir_strbuf_text(out, "},{\"type\":[\"string\",\"number\"]}]");
}

/* The keywords of a field that is described by no other table. */
static void put_scalar(struct weir_strbuf *out, const struct weir_field *field)
{
    static const char *const texts[WEIR_TYPE_COUNT] = {
        [WEIR_TYPE_BOOL] = "\"anyOf\":[{\"type\":\"boolean\"}," SUBSTITUTED "]",
        [WEIR_TYPE_DURATION] =
            "\"anyOf\":[{\"const\":0},{\"type\":\"string\",\"pattern\":\"^(0|" DURATION
            ")$\"}," SUBSTITUTED "]",
        [WEIR_TYPE_DURATION_RANGE] = "\"anyOf\":[{\"type\":\"string\",\"pattern\":\"^(0|" DURATION
                                     ")(\\\\.\\\\.(0|" DURATION "))?$\"}," SUBSTITUTED "]",
        [WEIR_TYPE_SIZE] =
            "\"anyOf\":[{\"type\":\"integer\",\"minimum\":0},{\"type\":\"string\","
            "\"pattern\":\"^[0-9]+(\\\\.[0-9]+)? *(B|[kKMGT]B|[KMGT]iB)?$\"}," SUBSTITUTED "]",
        [WEIR_TYPE_MAP] = "\"type\":\"object\",\"additionalProperties\":"
                          "{\"type\":[\"string\",\"number\",\"boolean\"]}",
        [WEIR_TYPE_CALLS] = "\"type\":\"object\",\"minProperties\":1,"
                            "\"additionalProperties\":{\"type\":\"string\"}",
        [WEIR_TYPE_JQ] = "\"type\":[\"string\",\"number\",\"boolean\"]",
        [WEIR_TYPE_TEMPLATE] = "\"anyOf\":[{\"type\":[\"string\",\"number\"]},{\"type\":\"object\","
                               "\"required\":[\"jq\"],\"additionalProperties\":false,"
                               "\"properties\":{\"jq\":{\"type\":\"string\"}}}]",
    };
    if (texts[field->type] != NULL) {
        weir_strbuf_text(out, texts[field->type]);
    } else if (field->type == WEIR_TYPE_STR) {
        put_str(out, field);
    } else if (field->type == WEIR_TYPE_STRS) {
        put_strs(out, field);
    } else if (field->type == WEIR_TYPE_INT || field->type == WEIR_TYPE_NUMBER) {
        weir_strbuf_printf(out, "\"anyOf\":[{\"type\":\"%s\"",
                           field->type == WEIR_TYPE_INT ? "integer" : "number");
        put_bounds(out, field, "minimum", "maximum");
        weir_strbuf_text(out, "}," SUBSTITUTED "]");
    } else if (field->type == WEIR_TYPE_ENUM) {
        weir_strbuf_text(out, "\"anyOf\":[");
        put_choices(out, field);
        weir_strbuf_text(out, "," SUBSTITUTED "]");
    } else {
        WEIR_ASSERT(field->type == WEIR_TYPE_MOMENT);
        weir_strbuf_text(out, "\"anyOf\":[");
        put_choices(out, field);
        weir_strbuf_text(out, ",{\"type\":\"integer\"},{\"type\":\"string\",\"pattern\":"
                              "\"^[0-9]{4}-[0-9]{2}-[0-9]{2}\"}," SUBSTITUTED "]");
    }
}

/* --- objects ---------------------------------------------------------------------------------- */

static void put_component_names(struct weir_strbuf *out,
                                const struct weir_registry *registry,
                                enum weir_role role)
{
    const struct weir_described *described = NULL;
    weir_strbuf_text(out, "{\"enum\":[");
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        weir_strbuf_text(out, i > 0 ? "," : "");
        put_quoted(out, described->name);
    }
    weir_strbuf_text(out, "]}");
}

/* What else may stand for an object: `off`, a bare component, the value of its short field. */
static void put_object(struct weir_strbuf *out,
                       const struct weir_field *fields,
                       const struct weir_rule *rules,
                       const struct weir_registry *registry,
                       bool can_be_off)
{
    const struct weir_field *component = weir_fields_component(fields);
    const struct weir_field *shorthand = weir_fields_short(fields);
    weir_strbuf_text(out, "\"anyOf\":[{");
    put_fields(out, fields, rules, registry);
    weir_strbuf_text(out, "}");
    if (component != NULL) {
        weir_strbuf_text(out, ",");
        put_component_names(out, registry, component->kind);
    }
    if (shorthand != NULL) {
        weir_strbuf_text(out, ",{");
        put_scalar(out, shorthand);
        weir_strbuf_text(out, "}");
    }
    weir_strbuf_text(out, can_be_off ? ",{\"enum\":[\"off\",false]}]" : "]");
}

static void put_field(struct weir_strbuf *out,
                      const struct weir_field *field,
                      const struct weir_registry *registry)
{
    put_quoted(out, field->name);
    weir_strbuf_text(out, ":{");
    put_pair(out, "description", field->help);
    if (field->fallback != NULL) {
        weir_strbuf_text(out, ",");
        put_pair(out, "default", field->fallback);
    }
    weir_strbuf_text(out, field->deprecated != NULL ? ",\"deprecated\":true," : ",");
    if (field->type == WEIR_TYPE_OBJECT || field->type == WEIR_TYPE_OBJECT_PTR) {
        put_object(out, field->children, field->rules, registry, (field->flags & WEIR_OFF) != 0);
    } else if (field->type == WEIR_TYPE_LIST) {
        weir_strbuf_text(out, "\"type\":\"array\"");
        put_bounds(out, field, "minItems", "maxItems");
        weir_strbuf_text(out, ",\"items\":{");
        put_object(out, field->children, field->rules, registry, false);
        weir_strbuf_text(out, "}");
    } else {
        put_scalar(out, field);
    }
    weir_strbuf_text(out, "}");
}

static void put_component_keys(struct weir_strbuf *out,
                               const struct weir_registry *registry,
                               enum weir_role role,
                               bool is_first)
{
    const struct weir_described *described = NULL;
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        weir_strbuf_text(out, is_first && i == 0 ? "" : ",");
        put_quoted(out, described->name);
        weir_strbuf_printf(out, ":{\"$ref\":\"#/definitions/%s.%s\"}", weir_role_name(role),
                           described->name);
    }
}

static void
put_required_one(struct weir_strbuf *out, const struct weir_registry *registry, enum weir_role role)
{
    const struct weir_described *described = NULL;
    weir_strbuf_text(out, "{\"oneOf\":[");
    for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
        weir_strbuf_text(out, i > 0 ? ",{\"required\":[" : "{\"required\":[");
        put_quoted(out, described->name);
        weir_strbuf_text(out, "]}");
    }
    weir_strbuf_text(out, "]}");
}

static void put_rule(struct weir_strbuf *out, const struct weir_rule *rule)
{
    size_t max = sizeof(rule->fields) / sizeof(rule->fields[0]);
    if (rule->type == WEIR_RULE_NEEDS) {
        weir_strbuf_printf(out, "{\"dependencies\":{\"%s\":[", rule->fields[0]);
        for (size_t i = 1; i < max && rule->fields[i] != NULL; i++) {
            weir_strbuf_printf(out, "%s\"%s\"", i > 1 ? "," : "", rule->fields[i]);
        }
        weir_strbuf_text(out, "]}}");
        return;
    }
    weir_strbuf_text(out, rule->type == WEIR_RULE_AT_LEAST_ONE ? "{\"anyOf\":[" : "{\"oneOf\":[");
    for (size_t i = 0; i < max && rule->fields[i] != NULL; i++) {
        weir_strbuf_printf(out, "%s{\"required\":[\"%s\"]}", i > 0 ? "," : "", rule->fields[i]);
    }
    if (rule->type == WEIR_RULE_AT_MOST_ONE) {
        weir_strbuf_text(out, ",{\"not\":{\"anyOf\":[");
        for (size_t i = 0; i < max && rule->fields[i] != NULL; i++) {
            weir_strbuf_printf(out, "%s{\"required\":[\"%s\"]}", i > 0 ? "," : "", rule->fields[i]);
        }
        weir_strbuf_text(out, "]}}");
    }
    weir_strbuf_text(out, "]}");
}

static void put_conditions(struct weir_strbuf *out,
                           const struct weir_field *fields,
                           const struct weir_rule *rules,
                           const struct weir_registry *registry)
{
    const struct weir_field *component = weir_fields_component(fields);
    const char *joint = ",\"allOf\":[";
    if (component != NULL) {
        weir_strbuf_text(out, joint);
        put_required_one(out, registry, component->kind);
        joint = ",";
    }
    for (; rules != NULL && rules->type != WEIR_RULE_END; rules++) {
        weir_strbuf_text(out, joint);
        put_rule(out, rules);
        joint = ",";
    }
    weir_strbuf_text(out, joint[1] == '\0' ? "]" : "");
}

static void put_fields(struct weir_strbuf *out,
                       const struct weir_field *fields,
                       const struct weir_rule *rules,
                       const struct weir_registry *registry)
{
    weir_strbuf_text(out, "\"type\":\"object\",\"additionalProperties\":false,\"properties\":{");
    size_t count = weir_fields_count(fields);
    bool is_first = true;
    for (size_t i = 0; i < count; i++) {
        weir_strbuf_text(out, is_first ? "\n" : ",\n");
        if (fields[i].type == WEIR_TYPE_COMPONENT) {
            put_component_keys(out, registry, fields[i].kind, true);
        } else {
            put_field(out, &fields[i], registry);
        }
        is_first = false;
    }
    weir_strbuf_text(out, "}");
    const char *joint = ",\"required\":[";
    for (size_t i = 0; i < count; i++) {
        uint32_t inherited = WEIR_ADDRESS | WEIR_CONNECTION;
        if ((fields[i].flags & WEIR_REQUIRED) != 0 && (fields[i].flags & inherited) == 0) {
            weir_strbuf_text(out, joint);
            put_quoted(out, fields[i].name);
            joint = ",";
        }
    }
    weir_strbuf_text(out, joint[1] == '\0' ? "]" : "");
    put_conditions(out, fields, rules, registry);
}

static void put_definition(struct weir_strbuf *out,
                           const struct weir_described *described,
                           const struct weir_registry *registry)
{
    weir_strbuf_printf(out, ",\n\"%s.%s\":{", weir_role_name(described->kind), described->name);
    put_pair(out, "description", described->summary);
    weir_strbuf_text(out, ",");
    weir_strbuf_text(out, "\"anyOf\":[{\"type\":\"null\"},{");
    put_object(out, described->fields, described->rules, registry, false);
    weir_strbuf_text(out, "}]}");
}

void weir_schema_render(const struct weir_field *fields,
                        const struct weir_rule *rules,
                        const struct weir_registry *registry,
                        struct weir_strbuf *out)
{
    weir_strbuf_text(out, "{\"$schema\":\"http://json-schema.org/draft-07/schema#\",\n"
                          "\"title\":\"weir pipeline\",\n\"definitions\":{\n"
                          "\"substituted\":{\"type\":\"string\",\"pattern\":\"\\\\$\\\\{\"}");
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        for (size_t i = 0; (described = registry->at(registry->context, role, i)) != NULL; i++) {
            put_definition(out, described, registry);
        }
    }
    weir_strbuf_text(out, "},\n");
    put_fields(out, fields, rules, registry);
    weir_strbuf_text(out, "}\n");
}

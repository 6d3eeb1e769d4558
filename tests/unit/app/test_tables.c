/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the tables of the built-in components are complete and true: every field is explained,
 * every default binds, every example can be pasted into a file. Method: walk all tables; bind each
 * field's example beside those of the required fields; load each component's example as part of a
 * pipeline.
 */
#include "app/builtin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/compile.h"
#include "conf/pipeline.h"
#include "table_check.h"

typedef int check_function(const struct weir_described *described);

static void for_each_builtin(check_function *check)
{
    int wrong = 0;
    size_t count = 0;
    const struct weir_component *component = NULL;
    for (; (component = weir_builtin_at(count)) != NULL; count++) {
        wrong += check(&component->described);
    }
    assert_true(count >= 8);
    assert_int_equal(wrong, 0);
}

static int print_diags(const char *where, struct weir_diags *diags)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, 1 << 20);
    weir_diags_render_text(diags, false, &out);
    (void)fprintf(stderr, "%s:\n%s", where, weir_strbuf_view(&out).data);
    weir_strbuf_done(&out);
    return 1;
}

static int is_described(const struct weir_described *described)
{
    int wrong = table_check(described->name, described->fields, described->rules);
    if (!table_is_snake(described->name)) {
        wrong += table_complain(described->name, "name", "not snake_case");
    }
    if (!table_is_sentence(described->summary)) {
        wrong += table_complain(described->name, "summary", "does not end in a full stop");
    }
    if (described->help == NULL) {
        wrong += table_complain(described->name, "help", "is missing");
    }
    if (described->example == NULL) {
        wrong += table_complain(described->name, "example", "is missing");
    }
    return wrong;
}

static const char *no_variable(const void *context, const char *name)
{
    (void)context;
    (void)name;
    return "value";
}

/* Binds YAML text to the fields, rules left aside. */
static int bind_text(const char *where, const struct weir_described *described, const char *yaml)
{
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_binder binder;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_diags_init(&diags, &arena);
    weir_binder_init(&binder, &arena, &diags, &weir_builtin_registry, &weir_jq_compiler);
    struct weir_text *text = weir_text_new(&arena, "example", weir_slice_of(yaml), &err);
    assert_non_null(text);
    struct weir_node *root = weir_tree_parse(&arena, text, no_variable, NULL, &diags);
    void *config = weir_arena_calloc(&arena, 1, described->config_size + 1);
    if (root != NULL) {
        weir_bind(&binder, described->fields, NULL, root, config);
    }
    int wrong = diags.errors > 0 ? print_diags(where, &diags) : 0;
    weir_binder_done(&binder);
    weir_arena_done(&arena);
    return wrong;
}

static void put_field(struct weir_strbuf *yaml, const struct weir_field *field)
{
    weir_strbuf_printf(yaml, "%s: %s\n", field->name, field->example);
}

static int has_true_examples(const struct weir_described *described)
{
    int wrong = 0;
    for (size_t i = 0; i < weir_fields_count(described->fields); i++) {
        const struct weir_field *field = &described->fields[i];
        if (field->example == NULL || strstr(field->example, "${file:") != NULL) {
            continue;
        }
        struct weir_strbuf yaml;
        weir_strbuf_init(&yaml, 1 << 16);
        for (size_t j = 0; j < weir_fields_count(described->fields); j++) {
            if (i != j && (described->fields[j].flags & WEIR_REQUIRED) != 0) {
                put_field(&yaml, &described->fields[j]);
            }
        }
        put_field(&yaml, field);
        char where[256];
        (void)snprintf(where, sizeof(where), "%s.%s", described->name, field->name);
        wrong += bind_text(where, described, yaml.data);
        weir_strbuf_done(&yaml);
    }
    return wrong;
}

/* The component's own example, as the docs show it, in a file. */
static int has_true_example(const struct weir_described *described)
{
    static const char *const starts[WEIR_ROLE_COUNT] = {
        [WEIR_ROLE_SOURCE] = "sink: drop\nsource:\n  ",
        [WEIR_ROLE_STEP] = "sink: drop\nsource: stdin\nsteps:\n  - ",
        [WEIR_ROLE_SINK] = "source: {kafka: {brokers: 'b:1', topic: t}}\nsink:\n  ",
    };
    if (described->example == NULL) {
        return 0;
    }
    struct weir_strbuf yaml;
    weir_strbuf_init(&yaml, 1 << 16);
    weir_strbuf_printf(&yaml, "name: example\n%s", starts[described->kind]);
    for (const char *p = described->example; *p != '\0'; p++) {
        weir_strbuf_push(&yaml, *p);
        if (*p == '\n') {
            weir_strbuf_text(&yaml, described->kind == WEIR_ROLE_STEP ? "    " : "  ");
        }
    }
    weir_strbuf_push(&yaml, '\n');
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_diags_init(&diags, &arena);
    struct weir_surroundings surroundings = {&weir_builtin_registry, &weir_jq_compiler, no_variable,
                                             NULL};
    struct weir_text *text = weir_text_new(&arena, "example", weir_strbuf_view(&yaml), &err);
    assert_non_null(text);
    struct weir_loaded *loaded = weir_load_text(&surroundings, text, &diags);
    int wrong = loaded == NULL ? print_diags(described->name, &diags) : 0;
    weir_loaded_free(loaded);
    weir_arena_done(&arena);
    weir_strbuf_done(&yaml);
    return wrong;
}

static void every_component_is_described(void **state)
{
    (void)state;
    for_each_builtin(is_described);
}

static void examples_of_fields_bind(void **state)
{
    (void)state;
    for_each_builtin(has_true_examples);
}

static void examples_of_components_load(void **state)
{
    (void)state;
    for_each_builtin(has_true_example);
}

static void names_are_unique_in_their_role(void **state)
{
    (void)state;
    for (enum weir_role role = WEIR_ROLE_SOURCE; role < WEIR_ROLE_COUNT; role++) {
        const struct weir_described *described = NULL;
        for (size_t i = 0; (described = weir_builtin_registry.at(NULL, role, i)) != NULL; i++) {
            assert_ptr_equal(weir_registry_find(&weir_builtin_registry, role, described->name),
                             described);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_component_is_described),
        cmocka_unit_test(examples_of_fields_bind),
        cmocka_unit_test(examples_of_components_load),
        cmocka_unit_test(names_are_unique_in_their_role),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

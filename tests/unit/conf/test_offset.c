/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: every byte of a scalar's value leads back to where it was written, in every style. Method:
 * for a list of scalars, each byte that YAML leaves unchanged must stand at the place it leads to,
 * and places never go backwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conf/tree.h"

static const char *get_variable(const void *context, const char *name)
{
    (void)context;
    return strcmp(name, "LONG") == 0 ? "a value that is long" : "x";
}

static const struct weir_node *parse(struct weir_arena *arena, const char *yaml)
{
    struct weir_err err = {0};
    struct weir_diags diags;
    weir_diags_init(&diags, arena);
    struct weir_text *text = weir_text_new(arena, "test", weir_slice_of(yaml), &err);
    assert_non_null(text);
    struct weir_node *root = weir_tree_parse(arena, text, get_variable, NULL, &diags);
    assert_non_null(root);
    assert_int_equal(diags.errors, 0);
    const struct weir_node *node = weir_node_find(root, "v");
    assert_non_null(node);
    return node;
}

static void bytes_lead_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "v: .a | .b\n",
        "v: .a |\n  .b |\n\n  .c # comment\n",
        "v: '.a == ''x'' and\n    .b'\n",
        "v: ''''\n",
        "v: \"plain .b\"\n",
        "v: \"folded\n    over lines\n\n    and more\"\n",
        "v: |\n  first\n    deeper\n  last\n",
        "v: |+\n  kept\n\n",
        "v: |2-\n    indented\n   less\n",
        "v: >\n  folded\n  line\n\n  next\n    literal\n  end\n",
        "v: >- # header comment\n  .a\n  | .b\n",
        "v: &anchor '.a'\n",
        "v: 'äöü → .x'\n",
        "v: |\r\n  a\r\n  b\r\n",
        "{v: '.a', w: 1}\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct weir_arena arena;
        weir_arena_init(&arena, 0);
        const struct weir_node *node = parse(&arena, texts[i]);
        size_t before = node->start;
        for (size_t at = 0; at < node->value.size; at++) {
            size_t place = weir_node_offset(node, at);
            char c = node->value.data[at];
            if (c != ' ' && c != '\n' && node->text->bytes.data[place] != c) {
                fail_msg("%s: byte %zu leads to %zu", texts[i], at, place);
            }
            assert_true(place >= before);
            assert_true(place <= node->end);
            before = place;
        }
        assert_true(weir_node_offset(node, node->value.size) >= before);
        weir_arena_done(&arena);
    }
}

/* The text that stands where the character § of the value leads. */
static void check_mark(const char *yaml)
{
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    const struct weir_node *node = parse(&arena, yaml);
    const char *mark = strstr(node->value.data, "§");
    assert_non_null(mark);
    size_t place = weir_node_offset(node, (size_t)(mark - node->value.data));
    if (strncmp(node->text->bytes.data + place, "§", 2) != 0) {
        fail_msg("%s: leads to \"%s\"", yaml, node->text->bytes.data + place);
    }
    weir_arena_done(&arena);
}

static void marks_are_found_behind_what_changes(void **state)
{
    (void)state;
    check_mark("v: \"tab \\t quote \\\" \\x41\\u00e4\\U0001F600 §\"\n");
    check_mark("v: \"\\N\\_\\L\\P\\e §\"\n");
    check_mark("v: \"continued \\\n    line §\"\n");
    check_mark("v: '${LONG} §'\n");
    check_mark("v: '${S} $${x} ${LONG}§'\n");
    check_mark("v: |\n  ${LONG}\n  | §\n");
    check_mark("v: \"${LONG} \\t §\"\n");
}

static void what_a_variable_made_leads_to_it(void **state)
{
    (void)state;
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    const struct weir_node *node = parse(&arena, "v: 'a ${LONG} b'\n");
    assert_string_equal(node->value.data, "a a value that is long b");
    assert_int_equal(weir_node_offset(node, 0), 4);
    assert_int_equal(weir_node_offset(node, 2), 6);
    assert_int_equal(weir_node_offset(node, 12), 6);
    assert_int_equal(weir_node_offset(node, 23), 14);
    weir_arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_lead_back),
        cmocka_unit_test(marks_are_found_behind_what_changes),
        cmocka_unit_test(what_a_variable_made_leads_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

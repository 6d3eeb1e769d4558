/* SPDX-License-Identifier: Apache-2.0
 *
 * The functions of jq expressions as documentation, from the compiler's own table of builtins.
 */
#include <weir/jq.h>

#include "conf/docs.h"

static void put_cell(struct weir_strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        weir_strbuf_text(out, *text == '|' ? "\\" : "");
        weir_strbuf_push(out, *text);
    }
}

/* name(…; …) as it is called. */
static void put_call(struct weir_strbuf *out, const struct weir_jq_builtin *builtin)
{
    weir_strbuf_text(out, builtin->name);
    for (int i = 0; i < builtin->arity; i++) {
        weir_strbuf_printf(out, "%s%c", i == 0 ? "(" : "; ", 'a' + i);
    }
    weir_strbuf_text(out, builtin->arity > 0 ? ")" : "");
}

static void put_remarks(struct weir_strbuf *out, const struct weir_jq_builtin *builtin)
{
    weir_strbuf_text(out, builtin->weir_own ? " Not part of jq." : "");
    weir_strbuf_text(out, builtin->eval_only ? " Only in `weir eval`." : "");
    weir_strbuf_text(out, builtin->deterministic ? "" : " Not deterministic.");
}

static void put_markdown(struct weir_strbuf *out, const struct weir_jq_builtin *builtin)
{
    weir_strbuf_text(out, "| `");
    put_call(out, builtin);
    weir_strbuf_text(out, "` | ");
    put_cell(out, builtin->doc == NULL ? "" : builtin->doc);
    put_remarks(out, builtin);
    weir_strbuf_text(out, " | ");
    if (builtin->program != NULL) {
        weir_strbuf_text(out, "`");
        put_cell(out, builtin->input == NULL ? "null" : builtin->input);
        weir_strbuf_text(out, "` → `");
        put_cell(out, builtin->program);
        weir_strbuf_text(out, "` → `");
        put_cell(out, builtin->output == NULL ? "" : builtin->output);
        weir_strbuf_text(out, "`");
    }
    weir_strbuf_text(out, " |\n");
}

void weir_docs_jq(enum weir_docs_form form, struct weir_strbuf *out)
{
    const struct weir_jq_builtin *builtin = NULL;
    bool as_text = form == WEIR_DOCS_TEXT;
    weir_strbuf_text(out, as_text ? "The functions of jq expressions.\n\n"
                                  : "# Functions of expressions\n\n"
                                    "Expressions are written in jq 1.8.\n\n"
                                    "| function | what it gives | input → program → output |\n"
                                    "|---|---|---|\n");
    for (size_t i = 0; (builtin = weir_jq_builtin_at(i)) != NULL; i++) {
        if (as_text) {
            weir_strbuf_text(out, "  ");
            put_call(out, builtin);
            weir_strbuf_printf(out, "\n      %s", builtin->doc == NULL ? "" : builtin->doc);
            put_remarks(out, builtin);
            weir_strbuf_push(out, '\n');
        } else {
            put_markdown(out, builtin);
        }
    }
}

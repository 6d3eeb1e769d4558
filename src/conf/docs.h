/* SPDX-License-Identifier: Apache-2.0
 *
 * Field tables as documentation: Markdown for docs/reference, text for the terminal.
 */
#ifndef WEIR_CONF_DOCS_H
#define WEIR_CONF_DOCS_H

#include <weir/fields.h>
#include <weir/strbuf.h>

enum weir_docs_form {
    WEIR_DOCS_MARKDOWN,
    WEIR_DOCS_TEXT,
};

/* One component, with its options, rules and example. */
void weir_docs_component(const struct weir_described *described,
                         const struct weir_registry *registry,
                         enum weir_docs_form form,
                         struct weir_strbuf *out);
/* The keys of a pipeline file. */
void weir_docs_pipeline(const struct weir_field *fields,
                        const struct weir_rule *rules,
                        const struct weir_registry *registry,
                        enum weir_docs_form form,
                        struct weir_strbuf *out);
/* The functions of expressions. */
void weir_docs_jq(enum weir_docs_form form, struct weir_strbuf *out);
/* The list of all components, linking to their pages. */
void weir_docs_index(const struct weir_registry *registry, struct weir_strbuf *out);

#endif

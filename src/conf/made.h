/* SPDX-License-Identifier: Apache-2.0
 *
 * A pipeline file that nobody wrote: lines of YAML made from variables or arguments, each of which
 * remembers what it was made from. The text is then loaded like any other.
 */
#ifndef WEIR_CONF_MADE_H
#define WEIR_CONF_MADE_H

#include <stdbool.h>

#include <weir/fields.h>
#include <weir/strbuf.h>

#include "conf/diag.h"
#include "conf/text.h"

enum { WEIR_MADE_LINES_MAX = 512 };

struct weir_made {
    const char *name; /* of the text, in messages: "environment" */
    struct weir_diags *diags;
    struct weir_strbuf text;
    const char *origins[WEIR_MADE_LINES_MAX]; /* per line: a variable or argument, or NULL */
    size_t line_count;
    size_t errors; /* of diags at the beginning */
};

void weir_made_init(struct weir_made *made, const char *name, struct weir_diags *diags);
/* `before`, then the value in single quotes if there is one. Line ends in it become spaces, which
 * YAML and jq take alike; ${…} stays as it is. */
void weir_made_line(struct weir_made *made,
                    const char *origin,
                    const char *before,
                    const char *value);
/* The same, but ${…} in the value is replaced when the text is loaded. */
void weir_made_line_open(struct weir_made *made,
                         const char *origin,
                         const char *before,
                         const char *value);
/* An error about the sources of the text. */
struct weir_diag *weir_made_error(struct weir_made *made, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text, or NULL when there were errors; done with the rest. */
struct weir_text *weir_made_finish(struct weir_made *made);

/* The lines of `source:` or `sink:` (by role) from a URL:
 *
 *     kafka://HOST:PORT,HOST:PORT/TOPIC   file:///PATH   file:PATH   stdin:   stdout:   drop:
 *     generate:?count=10
 *
 * Query parameters are options of the component; a dot reaches inside (tls.ca=…). Percent signs
 * begin two hexadecimal digits; ${…} in values of the query is replaced at loading. Returns the
 * component; NULL: an error was reported. */
const struct weir_described *weir_made_url(struct weir_made *made,
                                           const struct weir_registry *registry,
                                           enum weir_role role,
                                           const char *origin,
                                           const char *url);
/* The same for what a command line takes: a URL, the path of a file, or -. */
const struct weir_described *weir_made_place(struct weir_made *made,
                                             const struct weir_registry *registry,
                                             enum weir_role role,
                                             const char *origin,
                                             const char *text);

#endif

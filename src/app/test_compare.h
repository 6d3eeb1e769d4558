/* SPDX-License-Identifier: Apache-2.0
 *
 * What a case expects against what came, told so that one sees where they part.
 */
#ifndef WEIR_APP_TEST_COMPARE_H
#define WEIR_APP_TEST_COMPARE_H

#include "app/test_run.h"

/* Of a record, what is shown besides key and value. */
struct weir_test_shows {
    bool time, topic, headers;
};

/* How the sink is called in `expect`: `sink` if there is one, its name, its branch, its place. */
const char *weir_test_sink_name(const struct weir_test_file *file, unsigned sink);
/* Every sink that a case names exists, once? Otherwise errors are in file->diags. */
bool weir_test_compare_check(struct weir_test_file *file);
/* The records that a case expects of a sink; NULL: it does not name it. */
const struct weir_test_expect *weir_test_expected(const struct weir_test_file *file,
                                                  const struct weir_test_case *one,
                                                  unsigned sink);
struct weir_test_shows weir_test_shows(const struct weir_test_expect *expect);
/* A sink that the case does not name must get nothing, unless it throws away what it gets. */
bool weir_test_sink_matches(const struct weir_test_file *file,
                            const struct weir_test_case *one,
                            const struct weir_test_result *result,
                            unsigned sink);
/* A record as it stands in `expect`: {key: "a", json: {"n":1}}. */
void weir_test_put_output(const struct weir_test_output *output,
                          struct weir_test_shows shows,
                          struct weir_strbuf *out);

/* False: what differs is appended, lines indented by two blanks. */
bool weir_test_compare(const struct weir_test_file *file,
                       const struct weir_test_case *one,
                       const struct weir_test_result *result,
                       struct weir_strbuf *out);
/* The same of everything but the sinks: counts, metrics, the error. */
bool weir_test_compare_rest(const struct weir_test_file *file,
                            const struct weir_test_case *one,
                            const struct weir_test_result *result,
                            struct weir_strbuf *out);
/* Two runs of a case, in the order of each input partition. */
bool weir_test_same(const struct weir_test_file *file,
                    const struct weir_test_result *first,
                    const struct weir_test_result *second,
                    struct weir_strbuf *out);

#endif

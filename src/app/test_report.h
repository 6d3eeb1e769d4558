/* SPDX-License-Identifier: Apache-2.0
 *
 * What became of the cases, for people, for programs (JSON) and for CI (JUnit).
 */
#ifndef WEIR_APP_TEST_REPORT_H
#define WEIR_APP_TEST_REPORT_H

#include <weir/strbuf.h>

#include "app/test_file.h"

struct weir_test_verdict {
    char *file, *name;
    int line; /* of the file */
    bool passed;
    char *text; /* what differs, in lines */
};

struct weir_test_report {
    struct weir_test_verdict *items;
    size_t count, failed;
};

/* Texts are copied. The verdict is valid until the next one. */
struct weir_test_verdict *weir_test_report_add(struct weir_test_report *report,
                                               const char *file,
                                               int line,
                                               const char *name,
                                               bool passed,
                                               const char *text);
void weir_test_report_done(struct weir_test_report *report);
void weir_test_report_put_text(const struct weir_test_verdict *verdict, struct weir_strbuf *out);
void weir_test_report_put_json(const struct weir_test_report *report, struct weir_strbuf *out);
void weir_test_report_put_junit(const struct weir_test_report *report, struct weir_strbuf *out);

#endif

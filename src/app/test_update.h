/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewrites the expected outputs in a test file (`weir test --update`).
 */
#ifndef WEIR_APP_TEST_UPDATE_H
#define WEIR_APP_TEST_UPDATE_H

#include "app/test_run.h"

/* New text for `expect` of one case; everything else of the file stays as it is. */
struct weir_test_edit {
    size_t start, end; /* bytes of the file's text */
    struct weir_strbuf text;
};

/* False: the case is written in a way that cannot be rewritten. Edit is initialised either way. */
bool weir_test_update_case(const struct weir_test_file *file,
                           size_t index,
                           const struct weir_test_result *result,
                           struct weir_test_edit *ret_edit);
/* Writes the file with its edits, in order of place; the old one stays until the new one is whole. */
WEIR_MUST_USE weir_status weir_test_update_write(const struct weir_test_file *file,
                                                 const struct weir_test_edit *edits,
                                                 size_t count,
                                                 struct weir_err *err);

#endif

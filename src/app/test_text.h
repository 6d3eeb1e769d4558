/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes as a string of JSON and of YAML.
 */
#ifndef WEIR_APP_TEST_TEXT_H
#define WEIR_APP_TEST_TEXT_H

#include <weir/strbuf.h>

/* In double quotes; what is no UTF-8 is shown as U+FFFD. */
void weir_test_put_text(struct weir_slice text, struct weir_strbuf *out);

#endif

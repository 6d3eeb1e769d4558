/* SPDX-License-Identifier: Apache-2.0
 *
 * Keys, topics and values may be any bytes, and a test file must be UTF-8: what cannot stand in it
 * is replaced, so that a report or an update never makes a file that cannot be read.
 */
#include "app/test_text.h"

#include <weir/value.h>

#include "data/reader.h"

void weir_test_put_text(struct weir_slice text, struct weir_strbuf *out)
{
    struct weir_strbuf clean;
    weir_strbuf_init(&clean, (size_t)64 << 20);
    weir_utf8_clean(text, &clean);
    weir_value_write(weir_value_string(weir_strbuf_view(&clean)), out, WEIR_WRITE_COMPACT);
    weir_strbuf_done(&clean);
}

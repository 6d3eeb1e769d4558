/* SPDX-License-Identifier: Apache-2.0
 *
 * UTF-8 as RFC 3629 has it, and a text as a JSON string, for everything that shows bytes it did not
 * make: logs, metrics, answers over HTTP.
 */
#ifndef WEIR_BASE_QUOTE_H
#define WEIR_BASE_QUOTE_H

#include <stddef.h>

#include <weir/slice.h>
#include <weir/strbuf.h>

/* U+FFFD, which stands for bytes that are not UTF-8. */
#define WEIR_UTF8_REPLACEMENT "\xef\xbf\xbd"

/* Bytes of the character at the start of text; 0: not UTF-8 (also overlong forms, surrogates and
 * what is above U+10FFFF). room > 0. */
size_t weir_utf8_size(const char *text, size_t room);

/* The bytes in double quotes; always valid JSON. */
void weir_quote_json(struct weir_slice text, struct weir_strbuf *out);

#endif

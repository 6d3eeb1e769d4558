/* SPDX-License-Identifier: Apache-2.0
 *
 * The formats behind @: how a value looks as text in CSV, HTML, a URI, a shell … Tables say which
 * bytes are replaced by what; each format is one pass over the bytes.
 */
#include <math.h>
#include <string.h>

#include "data/reader.h"
#include "jq/run.h"

/* ── escaping ── */

/* Replacement of a byte; NULL: stays. */
typedef const char *(*escape_fn)(char c);

static const char *escape_csv(char c)
{
    return c == '"' ? "\"\"" : c == '\0' ? "\\0" : NULL;
}

static const char *escape_tsv(char c)
{
    switch (c) {
    case '\t':
        return "\\t";
    case '\r':
        return "\\r";
    case '\n':
        return "\\n";
    case '\\':
        return "\\\\";
    default:
        return c == '\0' ? "\\0" : NULL;
    }
}

static const char *escape_html(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\'':
        return "&apos;";
    case '"':
        return "&quot;";
    default:
        return c == '\0' ? "\\0" : NULL;
    }
}

static const char *escape_shell(char c)
{
    return c == '\'' ? "'\\''" : c == '\0' ? "\\0" : NULL;
}

static void escape(struct weir_slice text, escape_fn fn, struct weir_strbuf *buf)
{
    for (size_t i = 0; i < text.size; i++) {
        const char *replacement = fn(text.data[i]);
        if (replacement == NULL) {
            weir_strbuf_push(buf, text.data[i]);
        } else {
            weir_strbuf_text(buf, replacement);
        }
    }
}

static struct weir_value take_text(struct weir_jq_run *run, struct weir_strbuf *buf)
{
    struct weir_value text = {0};
    if (buf->failed) {
        jq_fail(run, "String too long");
    } else if (jq_room(run, buf->size)) {
        text = weir_string_new(&run->heap, weir_strbuf_view(buf));
    }
    weir_strbuf_done(buf);
    return text;
}

/* ── rows ── */

struct row {
    const char *separator, *quote;
    escape_fn escape;
    const char *bad_item;
    bool null_is_empty;
};

/* Writes the items; false: one that cannot be written, in *ret_bad. */
static bool write_row(const struct row *row,
                      struct weir_value items,
                      struct weir_strbuf *buf,
                      struct weir_value *ret_bad)
{
    struct weir_value_iter iter;
    weir_value_iter_init(&iter, items);
    bool first = true;
    for (struct weir_value item; weir_value_iter_next(&iter, NULL, &item); first = false) {
        if (!first) {
            weir_strbuf_text(buf, row->separator);
        }
        if (item.kind == WEIR_KIND_STRING) {
            weir_strbuf_text(buf, row->quote);
            escape(weir_value_text(item), row->escape, buf);
            weir_strbuf_text(buf, row->quote);
        } else if (item.kind >= WEIR_KIND_ARRAY) {
            *ret_bad = item;
            return false;
        } else if (!row->null_is_empty ||
                   (item.kind != WEIR_KIND_NULL &&
                    (item.kind != WEIR_KIND_NUMBER || !isnan(weir_value_double(item))))) {
            weir_value_write(item, buf, WEIR_WRITE_COMPACT);
        }
    }
    return true;
}

static struct weir_value
format_row(struct weir_jq_run *run, const struct row *row, struct weir_value items)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    struct weir_value bad;
    if (!write_row(row, items, &buf, &bad)) {
        weir_strbuf_done(&buf);
        return jq_type_error(run, weir_retain(bad), row->bad_item);
    }
    weir_release(&run->heap, items);
    return take_text(run, &buf);
}

static struct weir_value format_csv(struct weir_jq_run *run, struct weir_value value)
{
    static const struct row row = {",", "\"", escape_csv, "is not valid in a csv row", true};
    return value.kind == WEIR_KIND_ARRAY
               ? format_row(run, &row, value)
               : jq_type_error(run, value, "cannot be csv-formatted, only array");
}

static struct weir_value format_tsv(struct weir_jq_run *run, struct weir_value value)
{
    static const struct row row = {"\t", "", escape_tsv, "is not valid in a csv row", true};
    return value.kind == WEIR_KIND_ARRAY
               ? format_row(run, &row, value)
               : jq_type_error(run, value, "cannot be tsv-formatted, only array");
}

static struct weir_value format_sh(struct weir_jq_run *run, struct weir_value value)
{
    static const struct row row = {" ", "'", escape_shell, "can not be escaped for shell", false};
    if (value.kind != WEIR_KIND_ARRAY) {
        struct weir_value one = weir_array_new(&run->heap, 1);
        value = weir_array_push(&run->heap, one, value);
    }
    return format_row(run, &row, value);
}

/* ── texts ── */

static struct weir_value format_html(struct weir_jq_run *run, struct weir_value text)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    escape(weir_value_text(text), escape_html, &buf);
    weir_release(&run->heap, text);
    return take_text(run, &buf);
}

static struct weir_value format_uri(struct weir_jq_run *run, struct weir_value text)
{
    static const char digits[] = "0123456789ABCDEF";
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    for (uint32_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.as.bytes[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            weir_strbuf_push(&buf, (char)c);
        } else {
            char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
            weir_strbuf_append(&buf, coded, 3);
        }
    }
    weir_release(&run->heap, text);
    return take_text(run, &buf);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static struct weir_value format_urid(struct weir_jq_run *run, struct weir_value text)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    bool valid = true;
    for (uint32_t i = 0; valid && i < text.size; i++) {
        char c = text.as.bytes[i];
        if (c == '%') {
            int high = i + 1 < text.size ? hex_digit(text.as.bytes[i + 1]) : -1;
            int low = i + 2 < text.size ? hex_digit(text.as.bytes[i + 2]) : -1;
            valid = high >= 0 && low >= 0;
            c = (char)(high * 16 + low);
            i += 2;
        }
        weir_strbuf_push(&buf, c);
    }
    if (!valid || !weir_utf8_valid(weir_strbuf_view(&buf))) {
        weir_strbuf_done(&buf);
        return jq_type_error(run, text, "is not a valid uri encoding");
    }
    weir_release(&run->heap, text);
    return take_text(run, &buf);
}

/* ── bytes in letters ── */

static struct weir_value format_base64(struct weir_jq_run *run, struct weir_value text)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    const unsigned char *bytes = (const unsigned char *)text.as.bytes;
    for (uint32_t i = 0; i < text.size; i += 3) {
        uint32_t left = text.size - i;
        uint32_t code = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0);
        char four[4] = {letters[code >> 18], letters[code >> 12 & 63],
                        left > 1 ? letters[code >> 6 & 63] : '=',
                        left > 2 ? letters[code & 63] : '='};
        weir_strbuf_append(&buf, four, 4);
    }
    weir_release(&run->heap, text);
    return take_text(run, &buf);
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static int base32_digit(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* Decodes digits of `bits` bits up to the first '='. What is not UTF-8 becomes U+FFFD. */
static struct weir_value decode_digits(struct weir_jq_run *run,
                                       struct weir_value text,
                                       unsigned bits,
                                       int (*digit_of)(char),
                                       const char *invalid)
{
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, INT32_MAX / 2);
    uint32_t code = 0;
    unsigned have = 0;
    uint32_t i = 0;
    for (; i < text.size && text.as.bytes[i] != '='; i++) {
        int digit = digit_of(text.as.bytes[i]);
        if (digit < 0) {
            weir_strbuf_done(&buf);
            return jq_type_error(run, text, invalid);
        }
        code = code << bits | (uint32_t)digit;
        have += bits;
        if (have >= 8) {
            have -= 8;
            weir_strbuf_push(&buf, (char)(code >> have));
            code &= (1u << have) - 1;
        }
    }
    if (bits == 6 && i % 4 == 1) {
        weir_strbuf_done(&buf);
        return jq_type_error(run, text, "trailing base64 byte found");
    }
    struct weir_strbuf clean;
    weir_strbuf_init(&clean, INT32_MAX / 2);
    weir_utf8_clean(weir_strbuf_view(&buf), &clean);
    weir_strbuf_done(&buf);
    weir_release(&run->heap, text);
    return take_text(run, &clean);
}

static struct weir_value format_base64d(struct weir_jq_run *run, struct weir_value text)
{
    return decode_digits(run, text, 6, base64_digit, "is not valid base64 data");
}

static struct weir_value format_base32d(struct weir_jq_run *run, struct weir_value text)
{
    return decode_digits(run, text, 5, base32_digit, "is not valid base32 data");
}

/* ── by name ── */

struct weir_value
jq_format(struct weir_jq_run *run, struct weir_value value, struct weir_slice name)
{
    static const struct {
        struct weir_slice name;
        struct weir_value (*fn)(struct weir_jq_run *run, struct weir_value value);
        bool takes_text;
    } formats[] = {
        {{"text", 4}, jq_to_string, false},     {{"json", 4}, jq_to_json, false},
        {{"csv", 3}, format_csv, false},        {{"tsv", 3}, format_tsv, false},
        {{"html", 4}, format_html, true},       {{"uri", 3}, format_uri, true},
        {{"urid", 4}, format_urid, true},       {{"sh", 2}, format_sh, false},
        {{"base64", 6}, format_base64, true},   {{"base64d", 7}, format_base64d, true},
        {{"base32d", 7}, format_base32d, true},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (weir_slice_equal(formats[i].name, name)) {
            if (formats[i].takes_text) {
                value = jq_to_string(run, value);
            }
            return weir_value_is_absent(value) ? value : formats[i].fn(run, value);
        }
    }
    weir_release(&run->heap, value);
    return jq_fail(run, "%.*s is not a valid format", WEIR_SLICE_ARG(name));
}

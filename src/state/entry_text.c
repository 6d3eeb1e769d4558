/* SPDX-License-Identifier: Apache-2.0
 *
 * Whether an entry is of a key only its step can say, in JSON. But every
 * step writes the user's key at the end of its own, so a look at the last bytes rules most of a
 * million entries out before anything is parsed.
 */
#include "state/entry_text.h"

#include <inttypes.h>

#include <weir/json.h>
#include <weir/state.h>

#include "base/quote.h"

static void put_hex(struct weir_slice bytes, struct weir_strbuf *out)
{
    static const char digits[] = "0123456789abcdef";
    weir_strbuf_push(out, '"');
    for (size_t i = 0; i < bytes.size; i++) {
        unsigned char byte = (unsigned char)bytes.data[i];
        weir_strbuf_push(out, digits[byte >> 4]);
        weir_strbuf_push(out, digits[byte & 15]);
    }
    weir_strbuf_push(out, '"');
}

void weir_entry_text_put(const struct weir_entry_text *entry, struct weir_strbuf *out)
{
    weir_strbuf_text(out, "{\"topic\":");
    weir_quote_json(weir_slice_of(entry->topic), out);
    weir_strbuf_printf(out, ",\"partition\":%d,\"step\":", entry->partition);
    weir_quote_json(weir_slice_of(entry->step), out);
    weir_strbuf_text(out, ",\"key\":");
    put_hex(entry->key, out);
    if (entry->timer != WEIR_NO_TIMER) {
        weir_strbuf_printf(out, ",\"timer\":%" PRId64, entry->timer);
    }
    weir_strbuf_text(out, ",\"value\":");
    put_hex(entry->value, out);
    size_t before = out->size;
    weir_strbuf_text(out, ",\"shows\":{");
    size_t empty = out->size;
    if (entry->show != NULL) {
        entry->show(entry->key, entry->value, out);
    }
    if (out->size == empty && !out->failed) {
        out->size = before;
    } else {
        weir_strbuf_push(out, '}');
    }
    weir_strbuf_text(out, "}\n");
}

/* --- a key that somebody names -----------------------------------------------------------------*/

static void take_text(struct weir_wanted_key *wanted)
{
    struct weir_arena arena;
    struct weir_value value;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    if (weir_json_parse(&arena, weir_strbuf_view(&wanted->json), NULL, &value, &err) == WEIR_OK &&
        weir_value_kind(value) == WEIR_KIND_STRING) {
        weir_strbuf_slice(&wanted->text, weir_value_text(value));
    }
    weir_arena_done(&arena);
}

void weir_wanted_key_init(struct weir_wanted_key *wanted, const char *key)
{
    weir_strbuf_init(&wanted->json, WEIR_ENTRY_LINE_MAX);
    weir_strbuf_init(&wanted->quoted, WEIR_ENTRY_LINE_MAX);
    weir_strbuf_init(&wanted->text, WEIR_ENTRY_LINE_MAX);
    weir_strbuf_text(&wanted->json, key);
    weir_value_write(weir_value_string(weir_slice_of(key)), &wanted->quoted, 0);
    take_text(wanted);
}

void weir_wanted_key_done(struct weir_wanted_key *wanted)
{
    weir_strbuf_done(&wanted->json);
    weir_strbuf_done(&wanted->quoted);
    weir_strbuf_done(&wanted->text);
}

static bool ends_with(struct weir_slice bytes, const struct weir_strbuf *tail)
{
    return tail->size > 0 && bytes.size >= tail->size &&
           memcmp(bytes.data + bytes.size - tail->size, tail->data, tail->size) == 0;
}

bool weir_wanted_key_is(const struct weir_wanted_key *wanted,
                        struct weir_slice key,
                        void (*show)(struct weir_slice key,
                                     struct weir_slice value,
                                     struct weir_strbuf *out))
{
    if (show == NULL || !(ends_with(key, &wanted->json) || ends_with(key, &wanted->quoted) ||
                          ends_with(key, &wanted->text))) {
        return false;
    }
    struct weir_arena arena;
    struct weir_strbuf shown;
    struct weir_value value;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_strbuf_init(&shown, WEIR_ENTRY_LINE_MAX);
    weir_strbuf_push(&shown, '{');
    show(key, (struct weir_slice){"", 0}, &shown);
    weir_strbuf_push(&shown, '}');
    bool same = !shown.failed && weir_json_parse(&arena, weir_strbuf_view(&shown), NULL, &value,
                                                 &err) == WEIR_OK;
    if (same) {
        struct weir_value own = weir_value_get(value, WEIR_SLICE("key"));
        struct weir_strbuf text;
        weir_strbuf_init(&text, WEIR_ENTRY_LINE_MAX);
        weir_value_write(own, &text, 0);
        same = weir_slice_equal(weir_strbuf_view(&text), weir_strbuf_view(&wanted->json)) ||
               weir_slice_equal(weir_strbuf_view(&text), weir_strbuf_view(&wanted->quoted));
        weir_strbuf_done(&text);
    }
    weir_strbuf_done(&shown);
    weir_arena_done(&arena);
    return same;
}

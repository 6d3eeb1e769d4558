/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: no bytes make the JSON parsers crash, leak or disagree. Method: what parses is printed and
 * parsed again, and must be the same; the fast and the lenient parser must agree; the lenient one
 * is fed byte by byte in all its modes.
 *
 * Sources: src/data src/base
 * Seeds: fuzz/seeds/json
 */
#include <stdint.h>
#include <stdlib.h>

#include <weir/json.h>

#include "data/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool truth)
{
    if (!truth) {
        abort();
    }
}

/* Events must never confuse the reader; their content is not looked at. */
static void read_events(struct weir_slice text, unsigned flags)
{
    struct weir_heap heap;
    weir_heap_init(&heap, 0);
    struct weir_reader *reader = weir_reader_new(&heap, flags, 100);
    struct weir_value value;
    for (size_t i = 0; i <= text.size; i++) {
        struct weir_slice piece = {text.data + i, i < text.size ? 1 : 0};
        weir_reader_feed(reader, piece, i == text.size);
        enum weir_reader_result result;
        while ((result = weir_reader_next(reader, &value)) == WEIR_READER_VALUE) {
            weir_release(&heap, value);
        }
    }
    weir_reader_free(reader);
    weir_heap_done(&heap);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_slice text = {(const char *)data, size};
    struct weir_arena arena;
    struct weir_heap heap;
    struct weir_strbuf printed, again, message;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_heap_init(&heap, 0);
    weir_strbuf_init(&printed, 1 << 26);
    weir_strbuf_init(&again, 1 << 26);
    weir_strbuf_init(&message, 1 << 16);
    struct weir_value value, second;
    bool parsed = weir_json_parse_in_place(&arena, text, NULL, &value, &err) == WEIR_OK;
    second = weir_reader_parse(&heap, text, 0, &message);
    check(parsed == !weir_value_is_absent(second));
    if (parsed) {
        weir_value_write(value, &printed, 0);
        weir_value_write(second, &again, 0);
        check(weir_slice_equal(weir_strbuf_view(&printed), weir_strbuf_view(&again)));
        /* Printing settles: an infinity becomes a number, which then keeps its digits. */
        for (int i = 0; i < 2; i++) {
            weir_strbuf_clear(&again);
            weir_strbuf_slice(&again, weir_strbuf_view(&printed));
            check(weir_json_parse(&arena, weir_strbuf_view(&again), NULL, &value, &err) == WEIR_OK);
            weir_strbuf_clear(&printed);
            weir_value_write(value, &printed, 0);
        }
        check(weir_slice_equal(weir_strbuf_view(&printed), weir_strbuf_view(&again)));
    }
    read_events(text, WEIR_READER_STREAM | WEIR_READER_STREAM_ERRORS);
    read_events(text, WEIR_READER_SEQ | (size % 2 == 0 ? WEIR_READER_STREAM : 0u));
    weir_strbuf_done(&printed);
    weir_strbuf_done(&again);
    weir_strbuf_done(&message);
    weir_heap_done(&heap);
    weir_arena_done(&arena);
    return 0;
}

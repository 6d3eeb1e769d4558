/* SPDX-License-Identifier: Apache-2.0
 *
 * Panes, in which the state of windows lies, and the results that are made of them.
 */
#include <string.h>

#include <weir/json.h>

#include "window.h"

enum { RESULT_MAX = 16 << 20 };

/* --- panes -------------------------------------------------------------------------------------*/

struct weir_slice window_pane_key(char *room, int64_t id, struct weir_slice group)
{
    uint64_t bits = (uint64_t)id ^ (UINT64_C(1) << 63); /* so that bytes sort as numbers do */
    room[0] = 'p';
    for (int i = 0; i < 8; i++) {
        room[1 + i] = (char)(uint8_t)(bits >> (56 - 8 * i));
    }
    memcpy(room + 9, group.data, group.size);
    return (struct weir_slice){room, 9 + group.size};
}

struct weir_slice window_group_key(char *room, struct weir_slice group)
{
    room[0] = 'k';
    memcpy(room + 1, group.data, group.size);
    return (struct weir_slice){room, 1 + group.size};
}

char *window_slots(void *pane)
{
    return (char *)pane + sizeof(struct pane);
}

struct weir_entry *window_pane(const struct window *self,
                               struct weir_state *state,
                               int64_t id,
                               struct weir_slice group,
                               int64_t start,
                               int64_t t,
                               bool *ret_new)
{
    char room[PANE_KEY_MAX];
    struct weir_entry *entry = weir_state_put(state, window_pane_key(room, id, group),
                                              sizeof(struct pane) + self->aggregates.size, ret_new);
    if (entry != NULL && *ret_new) {
        struct pane *pane = weir_state_edit(state, entry);
        *pane = (struct pane){.start = start, .first = t, .last = t, .shown_end = INT64_MIN};
    }
    return entry;
}

void window_pane_add(const struct window *self, struct window_input *in, struct weir_entry *entry)
{
    struct pane *pane = weir_state_edit(in->state, entry);
    pane->first = in->time_ms < pane->first ? in->time_ms : pane->first;
    pane->last = in->time_ms > pane->last ? in->time_ms : pane->last;
    pane->records++;
    pane->since++;
    in->taken = true;
    window_pane_count(self, in, entry);
}

void window_pane_count(const struct window *self, struct window_input *in, struct weir_entry *entry)
{
    aggregates_add(&self->aggregates, in->run, in->record, weir_entry_key(entry),
                   window_slots(weir_state_edit(in->state, entry)), &in->values);
}

void window_pane_shown(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    struct pane *pane = weir_state_edit(weir_run_state(run), entry);
    pane->since = 0;
    if (self->config->emit.discard) {
        aggregates_drop(&self->aggregates, run, weir_entry_key(entry));
        memset(window_slots(pane), 0, self->aggregates.size);
    }
}

const char *window_early_kind(int64_t end, int64_t clock)
{
    return clock >= end ? "correction" : "early";
}

void window_pane_drop(const struct window *self, struct weir_run *run, struct weir_entry *entry)
{
    aggregates_drop(&self->aggregates, run, weir_entry_key(entry));
    weir_state_drop(weir_run_state(run), entry);
}

bool window_is_early(const struct window *self, const struct pane *pane)
{
    return self->emits_updates ||
           (self->config->emit.count > 0 && pane->since >= self->config->emit.count);
}

/* --- results -----------------------------------------------------------------------------------*/

/* A string without its quotes, any other value as it is. */
static struct weir_slice key_text(struct weir_run *run, struct weir_slice json)
{
    if (json.data[0] != '"') {
        return weir_slice_equal(json, WEIR_SLICE("null")) ? (struct weir_slice){NULL, 0} : json;
    }
    if (memchr(json.data, '\\', json.size) == NULL) {
        return (struct weir_slice){json.data + 1, json.size - 2};
    }
    struct weir_value value;
    struct weir_err err = {0};
    weir_status status =
        weir_json_parse(weir_batch_arena(weir_run_batch(run)), json, NULL, &value, &err);
    return status == WEIR_OK ? weir_value_text(value) : json;
}

void window_emit(const struct window *self,
                 struct weir_run *run,
                 const struct window_result *result,
                 struct weir_slice pane,
                 const char *slots)
{
    struct weir_strbuf *text = weir_run_scratch(run);
    weir_strbuf_text(text, "{\"key\":");
    size_t key_at = text->size;
    weir_strbuf_slice(text, result->group);
    weir_strbuf_text(text, ",\"window\":{\"start\":");
    weir_strbuf_int64(text, result->start);
    weir_strbuf_text(text, ",\"end\":");
    weir_strbuf_int64(text, result->end);
    weir_strbuf_text(text, ",\"kind\":\"");
    weir_strbuf_text(text, result->kind);
    weir_strbuf_text(text, "\"}");
    if (slots != NULL) {
        aggregates_write(&self->aggregates, run, pane, slots, text);
    }
    weir_strbuf_push(text, '}');
    bool is_large = text->failed || text->size > RESULT_MAX;
    struct weir_record record = *weir_run_input(run);
    record.raw = weir_arena_copy(weir_batch_arena(weir_run_batch(run)),
                                 is_large ? WEIR_SLICE("") : weir_strbuf_view(text));
    record.key =
        is_large || record.raw.data == NULL
            ? (struct weir_slice){NULL, 0}
            : key_text(run, (struct weir_slice){record.raw.data + key_at, result->group.size});
    record.json = (struct weir_value){0};
    record.flags = WEIR_RECORD_RAW;
    record.time_ms = result->time_ms;
    record.source_ref = NULL;
    record.headers = NULL;
    record.header_count = 0;
    record.headers_read = true;
    struct weir_err err;
    weir_err_clear(&err);
    weir_status status = WEIR_OK;
    bool wanted = true;
    if (is_large || record.raw.data == NULL) {
        status = weir_fail(&err, WEIR_TOO_LARGE, "a result is too large");
    } else if (self->config->having.program != NULL && slots != NULL) {
        status = weir_expr_test(run, &self->config->having, &record, &wanted, &err);
    }
    if (status == WEIR_OK && wanted && !weir_emit(run, &record)) {
        status = weir_fail(&err, WEIR_LIMIT, "the batch has no memory left");
    }
    if (status != WEIR_OK) {
        weir_run_result_failed(run, &record, &err);
    }
}

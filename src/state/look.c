/* SPDX-License-Identifier: Apache-2.0
 *
 * What is committed of an entry is what rolling both layers back would leave of it: what the
 * closing one saved, else what the open one did, else the entry itself. The lists of a layer have
 * no index; they are searched for entries that somebody wants to see, and those are few.
 *
 * With a disk, memory is passed first and the rows afterwards, each as memory has it if it does: an
 * entry that moved to the disk meanwhile, or came from there, still has a row.
 */
#include "state/look.h"

#include "state/spill.h"
#include "state/table_priv.h"

void weir_state_look_init(struct weir_state_look *look)
{
    *look = (struct weir_state_look){0};
    weir_strbuf_init(&look->row, WEIR_STATE_KEY_MAX + 1);
}

void weir_state_look_done(struct weir_state_look *look)
{
    weir_strbuf_done(&look->row);
}

/* True: the layer knows the entry; *ret is what it was, NULL if it was not there. */
static bool
known_to(const struct layer *layer, const struct weir_entry *entry, const struct undo **ret)
{
    *ret = NULL;
    for (size_t i = 0; i < layer->saved_count; i++) {
        if (layer->saved[i].entry == entry) {
            *ret = &layer->saved[i];
            return true;
        }
    }
    for (size_t i = 0; i < layer->made_count; i++) {
        if (layer->made[i] == entry) {
            return true;
        }
    }
    return false;
}

/* The value as well: a layer that did not change it has not kept it. */
static struct weir_slice value_before(const struct weir_state *state,
                                      const struct weir_entry *entry,
                                      const struct undo *undo)
{
    const struct undo *later;
    if (undo->value == NULL && known_to(&state->open, entry, &later) && later != NULL) {
        undo = later;
    }
    return undo->value == NULL ? weir_entry_value(entry)
                               : (struct weir_slice){undo->value, undo->value_size};
}

static void show_committed(const struct weir_state *state,
                           const struct weir_entry *entry,
                           const struct weir_state_looker *looker)
{
    const struct undo *undo;
    bool changed = known_to(&state->closing, entry, &undo) || known_to(&state->open, entry, &undo);
    if (!changed && (entry->flags & ENTRY_DEAD) == 0) {
        looker->take(looker->context, weir_entry_key(entry), weir_entry_value(entry), entry->timer);
    } else if (undo != NULL) {
        looker->take(looker->context, weir_entry_key(entry), value_before(state, entry, undo),
                     undo->timer);
    }
}

struct row_looker {
    const struct weir_state *state;
    const struct weir_state_looker *looker;
};

static void see_row(void *context, struct weir_slice key, struct weir_slice value, int64_t timer)
{
    const struct row_looker *self = context;
    if (!self->looker->wants(self->looker->context, key)) {
        return;
    }
    const struct weir_entry *entry = state_find_resident(self->state, key, key_hash(key));
    if (entry != NULL) {
        show_committed(self->state, entry, self->looker);
    } else {
        self->looker->take(self->looker->context, key, value, timer);
    }
}

bool weir_state_look_on(struct weir_state *state,
                        struct weir_state_look *look,
                        size_t count,
                        const struct weir_state_looker *looker)
{
    const struct weir_entry *entry = NULL;
    while (count > 0 && look->cursor.slab != SIZE_MAX) {
        entry = state_next_block(state, &look->cursor);
        if (entry == NULL) {
            look->cursor.slab = SIZE_MAX;
        } else if (looker->wants(looker->context, weir_entry_key(entry))) {
            show_committed(state, entry, looker);
        }
        count--;
    }
    struct row_looker rows = {state, looker};
    return look->cursor.slab != SIZE_MAX ||
           (state->spill != NULL && weir_spill_look(state, &look->row, count, see_row, &rows));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands in the place of everybody whom steps ask. A question is one text: the request, or without
 * one what it is asked of: a key, a subject. Asking passes the world's door like every call that
 * reaches the outside, so the process can die before and after it.
 *
 * Where batches are shuffled some answers get lost and are asked for again, as on a network.
 */
#include "app/test_answers.h"

#include <stdio.h>
#include <string.h>

#include <weir/json.h>
#include <weir/strbuf.h>

#include "base/alloc.h"
#include "conf/memory.h"

enum { ANSWER_BYTES_MAX = 16 << 20, LOST_ONE_OF = 4 };

/* --- names of steps ----------------------------------------------------------------------------*/

static bool takes_text(const struct weir_chosen *chosen)
{
    const struct weir_field *field = chosen->described->fields;
    const int *answer = weir_test_world_member(chosen, "answer", WEIR_TYPE_ENUM);
    for (; answer != NULL && field->type != WEIR_TYPE_END; field++) {
        if (field->name == NULL || strcmp(field->name, "answer") != 0) {
            continue;
        }
        for (const struct weir_choice *choice = field->choices; choice->name != NULL; choice++) {
            if (choice->value == *answer) {
                return strcmp(choice->name, "text") == 0;
            }
        }
    }
    return false;
}

/* A step that has no name is called by its kind while it is the only one of it. */
static void settle_labels(struct weir_test_file *file)
{
    for (size_t i = 0; i < file->asker_count; i++) {
        struct weir_test_asker *asker = &file->askers[i];
        size_t same = 0;
        for (size_t k = 0; k < file->asker_count; k++) {
            same += strcmp(file->askers[k].label, asker->label) == 0;
        }
        if (same > 1) {
            for (size_t k = file->asker_count; k-- > i;) {
                bool is_same = k > i && strcmp(file->askers[k].label, asker->label) == 0;
                file->askers[k].label = is_same ? file->askers[k].name : file->askers[k].label;
            }
            asker->label = asker->name;
        }
    }
}

static void find_askers(struct weir_test_file *file)
{
    const struct weir_plan *plan = &file->plan;
    file->askers = weir_conf_alloc(&file->arena, plan->asker_count, sizeof(*file->askers));
    for (; file->asker_count < plan->asker_count; file->asker_count++) {
        const struct weir_plan_asker *from = &plan->askers[file->asker_count];
        const struct weir_chosen chosen = {&from->component->described, from->config, {NULL, 0, 0}};
        file->askers[file->asker_count] = (struct weir_test_asker){
            .name = from->name,
            .label = from->label != NULL ? from->label : from->component->described.name,
            .looks_up = from->component->ops.step->ask->asks_alike,
            .takes_text = takes_text(&chosen),
        };
    }
    settle_labels(file);
}

static const struct weir_test_asker *find_asker(const struct weir_test_file *file, const char *name)
{
    for (size_t i = 0; i < file->asker_count; i++) {
        if (strcmp(file->askers[i].label, name) == 0 || strcmp(file->askers[i].name, name) == 0) {
            return &file->askers[i];
        }
    }
    return NULL;
}

/* --- are they sound? ---------------------------------------------------------------------------*/

static void check_steps(struct weir_test_file *file, const struct weir_items *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct weir_test_answers *one = WEIR_ITEMS_AT(struct weir_test_answers, answers, i);
        if (find_asker(file, one->step) != NULL) {
            continue;
        }
        struct weir_diag *diag = weir_test_file_error(
            file, &one->step, "the pipeline has no step \"%s\" that asks", one->step);
        struct weir_strbuf names;
        weir_strbuf_init(&names, 1024);
        for (size_t k = 0; k < file->asker_count; k++) {
            weir_strbuf_printf(&names, "%s%s", k == 0 ? "" : ", ", file->askers[k].label);
        }
        weir_diag_hint(&file->diags, diag,
                       file->asker_count == 0 ? "None of its steps does.%s" : "Those that ask: %s.",
                       weir_strbuf_view(&names).data);
        weir_strbuf_done(&names);
    }
}

static bool are_answered(const struct weir_test_file *file,
                         const struct weir_items *answers,
                         const struct weir_test_asker *asker)
{
    bool found = false;
    for (size_t i = 0; i < answers->count; i++) {
        found =
            found ||
            find_asker(file, WEIR_ITEMS_AT(struct weir_test_answers, answers, i)->step) == asker;
    }
    return found;
}

static void check_case(struct weir_test_file *file, const struct weir_test_case *one)
{
    check_steps(file, &one->answers);
    for (size_t i = 0; i < one->input.count; i++) {
        check_steps(file, &WEIR_ITEMS_AT(struct weir_test_input, &one->input, i)->answers);
    }
    for (size_t i = 0; i < file->asker_count; i++) {
        const struct weir_test_asker *asker = &file->askers[i];
        if (are_answered(file, &one->answers, asker) || are_answered(file, &file->answers, asker)) {
            continue;
        }
        struct weir_diag *diag = weir_test_file_error(
            file, &one->name, "the step %s asks, and nothing says what is answered", asker->label);
        const char *quote = strpbrk(asker->label, "[]{},: ") == NULL ? "" : "'";
        weir_diag_hint(&file->diags, diag,
                       "Write `answers: {%s%s%s: {%s: VALUE}}` beside `input`, or above the cases "
                       "for all of them.",
                       quote, asker->label, quote, asker->looks_up ? "KEY" : "REQUEST");
    }
}

bool weir_test_answers_check(struct weir_test_file *file)
{
    find_askers(file);
    check_steps(file, &file->answers);
    for (size_t i = 0; i < file->cases.count; i++) {
        check_case(file, WEIR_ITEMS_AT(struct weir_test_case, &file->cases, i));
    }
    return file->diags.errors == 0;
}

/* --- answering ---------------------------------------------------------------------------------*/

struct answer {
    weir_status status; /* WEIR_AGAIN: none */
    struct weir_strbuf text;
    bool is_known;
};

static void
answer_take(const struct weir_test_asker *asker, struct weir_value value, struct answer *ret)
{
    ret->status = WEIR_OK;
    ret->is_known = true;
    if (asker->takes_text && weir_value_kind(value) == WEIR_KIND_STRING) {
        weir_strbuf_slice(&ret->text, weir_value_text(value));
    } else {
        weir_value_write(value, &ret->text, WEIR_WRITE_COMPACT);
    }
}

static void answer_of_table(const struct weir_test_asker *asker,
                            const char *table,
                            struct weir_slice asked,
                            struct answer *ret)
{
    struct weir_arena arena;
    struct weir_value all;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_status status = weir_json_parse(&arena, weir_slice_of(table), NULL, &all, &err);
    struct weir_value found = status == WEIR_OK ? weir_value_get(all, asked) : weir_value_null();
    if (status == WEIR_OK && weir_value_is_absent(found)) {
        ret->status = asker->looks_up ? WEIR_OK : WEIR_AGAIN;
    } else if (status == WEIR_OK) {
        answer_take(asker, found, ret);
    } else {
        ret->status = WEIR_REJECTED;
        weir_strbuf_text(&ret->text, err.message);
    }
    weir_arena_done(&arena);
}

struct first {
    const struct weir_test_asker *asker;
    struct answer *answer;
};

static weir_status take_first(void *context, struct weir_value value, struct weir_err *err)
{
    const struct first *self = context;
    (void)err;
    if (self->answer->status == WEIR_AGAIN) {
        answer_take(self->asker, value, self->answer);
    }
    return WEIR_OK;
}

static void answer_of_program(struct weir_test_answering *self,
                              const struct weir_test_asker *asker,
                              const struct weir_jq *program,
                              const struct weir_question *question,
                              struct weir_slice asked,
                              struct answer *ret)
{
    struct weir_arena arena;
    struct weir_value input = weir_value_string(asked);
    struct weir_err err = {0}, none = {0};
    weir_arena_init(&arena, 0);
    if (asker->looks_up || weir_json_parse(&arena, asked, NULL, &input, &none) != WEIR_OK) {
        input = weir_value_string(asked);
    }
    const struct weir_jq_record record = {.topic = question->to};
    weir_jq_run_set_record(self->jq, &record);
    struct first first = {asker, ret};
    if (weir_jq_each(self->jq, program, input, take_first, &first, &err) != WEIR_OK) {
        weir_strbuf_clear(&ret->text);
        ret->is_known = true;
        ret->status = WEIR_REJECTED;
        weir_strbuf_text(&ret->text, err.message);
    }
    weir_jq_run_reset(self->jq);
    weir_arena_done(&arena);
}

static weir_status answering_ask(void *context,
                                 struct weir_ctx *ctx,
                                 const struct weir_question *question,
                                 struct weir_err *err)
{
    struct weir_test_answering *self = context;
    if (!weir_test_world_enter(self->world, "ask")) {
        return weir_fail(err, WEIR_UNAVAILABLE, "the process is dead");
    }
    const struct weir_test_asker *asker = find_asker(self->file, ctx->path);
    const struct weir_test_answers *answers = self->current[asker - self->file->askers];
    struct weir_slice asked = question->body.data != NULL ? question->body : question->to;
    struct answer answer = {.status = WEIR_AGAIN};
    weir_strbuf_init(&answer.text, ANSWER_BYTES_MAX);
    if (answers->table != NULL) {
        answer_of_table(asker, answers->table, asked, &answer);
    } else {
        answer_of_program(self, asker, answers->program.program, question, asked, &answer);
    }
    bool is_lost =
        self->world->dice != NULL && weir_random_below(self->world->dice, LOST_ONE_OF) == 0;
    if (answer.status == WEIR_AGAIN) {
        self->unanswered++;
        self->asker = asker;
        size_t size = asked.size < WEIR_TEST_ASKED_MAX ? asked.size : WEIR_TEST_ASKED_MAX;
        snprintf(self->asked, sizeof(self->asked), "%.*s", (int)size,
                 asked.data == NULL ? "" : asked.data);
    } else if (!is_lost) {
        const struct weir_slice nothing = {NULL, 0};
        weir_answer(ctx, question->token, answer.status,
                    answer.is_known || answer.text.size > 0 ? weir_strbuf_view(&answer.text)
                                                            : nothing);
    }
    weir_strbuf_done(&answer.text);
    (void)!weir_test_world_leave(self->world, WEIR_OK);
    return WEIR_OK;
}

void weir_test_answering_change(struct weir_test_answering *self, const struct weir_items *answers)
{
    for (size_t i = 0; i < answers->count; i++) {
        const struct weir_test_answers *one = WEIR_ITEMS_AT(struct weir_test_answers, answers, i);
        self->current[find_asker(self->file, one->step) - self->file->askers] = one;
    }
}

void weir_test_answering_init(struct weir_test_answering *self,
                              const struct weir_test_file *file,
                              struct weir_test_world *world,
                              const struct weir_test_case *one)
{
    *self = (struct weir_test_answering){
        .answerer = {.ask = answering_ask, .context = self},
        .file = file,
        .world = world,
        .current = weir_calloc(file->asker_count + 1, sizeof(const struct weir_test_answers *)),
        .jq = weir_jq_run_new(NULL),
    };
    weir_test_answering_change(self, &file->answers);
    weir_test_answering_change(self, &one->answers);
}

void weir_test_answering_done(struct weir_test_answering *self)
{
    weir_jq_run_free(self->jq);
    weir_free(self->current);
}

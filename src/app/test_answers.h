/* SPDX-License-Identifier: Apache-2.0
 *
 * What steps that ask are told in a test: by a table, by a jq program, or nothing. One thread.
 */
#ifndef WEIR_APP_TEST_ANSWERS_H
#define WEIR_APP_TEST_ANSWERS_H

#include <weir/jq.h>

#include "app/test_world.h"
#include "engine/engine.h"

enum { WEIR_TEST_ASKED_MAX = 120 };

struct weir_test_answering {
    struct weir_answerer answerer; /* for the engine */
    const struct weir_test_file *file;
    struct weir_test_world *world;
    const struct weir_test_answers **current; /* by file->askers; NULL: nothing is answered */
    struct weir_jq_run *jq;
    uint64_t unanswered;                 /* questions that were left without an answer */
    const struct weir_test_asker *asker; /* of the last one of these */
    char asked[WEIR_TEST_ASKED_MAX + 1];
};

/* Finds the file's steps that ask; each is answered in every case, and every answer is for one of
 * them? Otherwise errors are in file->diags. */
bool weir_test_answers_check(struct weir_test_file *file);

/* Begins with what the file says, and then the case. */
void weir_test_answering_init(struct weir_test_answering *self,
                              const struct weir_test_file *file,
                              struct weir_test_world *world,
                              const struct weir_test_case *one);
void weir_test_answering_done(struct weir_test_answering *self);
/* From now on, for the steps that these name. */
void weir_test_answering_change(struct weir_test_answering *self, const struct weir_items *answers);

#endif

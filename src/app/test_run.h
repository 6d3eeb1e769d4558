/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one case through the real engine, in one thread: a record at a time with a commit after each,
 * or in batches and commits by chance, or with a crash at a given call.
 */
#ifndef WEIR_APP_TEST_RUN_H
#define WEIR_APP_TEST_RUN_H

#include "app/test_world.h"

struct weir_test_mode {
    bool shuffles;
    uint64_t seed;     /* of the chances */
    uint64_t crash_at; /* 0: never */
    enum weir_test_crash crash;
};

enum { WEIR_TEST_FATES = 5 };

/* Lives in the arena that weir_test_run got. */
struct weir_test_result {
    struct weir_test_outputs outputs; /* in the order of commit */
    int64_t fates[WEIR_TEST_FATES];   /* by enum weir_fate */
    double *metrics;                  /* by the case's metrics */
    bool *has_metric;
    const char *error;      /* why the pipeline failed; NULL: it did not */
    const char *problem;    /* the case cannot be run; NULL: it was */
    const char *crashed_in; /* NULL: there was no crash */
};

/* Names, topics and sources of all cases exist? Otherwise errors are in file->diags. */
bool weir_test_run_check(struct weir_test_file *file);
void weir_test_run(struct weir_test_file *file,
                   struct weir_test_world *world,
                   const struct weir_test_case *one,
                   const struct weir_test_mode *mode,
                   struct weir_arena *arena,
                   struct weir_test_result *ret_result);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: the checker finds what it is there to find. Method: faults planted in the engine
 * (WEIR_FAULT) must turn a run red that is green without them, each in a process of its own;
 * and broken topics, made by hand, must each be told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "pipelines.h"

enum { GREEN = 0, RED = 1, BROKEN = 2 };

/* A run in which the nth commit fails, or without transactions the nth poll of a sink. */
static int run_once(const struct sim_spec *spec, uint64_t nth)
{
    struct sim_world world;
    sim_world_init(&world, spec, 1);
    struct sim_process *process = sim_world_prepare(&world, 0);
    process->fault_count = 1;
    process->faults[0] = (struct sim_fault){SIM_CALL_END_TXN, nth, WEIR_ABORTED, false};
    if (spec->at_least_once) {
        process->faults[0] = (struct sim_fault){SIM_CALL_SINK_POLL, nth, WEIR_ABORTED, false};
    }
    world.repeats_allowed = spec->at_least_once && !weir_fault_is(WEIR_FAULT_SEND_TWICE);
    sim_world_open(&world, 0);
    sim_world_finish(&world);
    if (world.violation[0] != '\0') {
        printf("  %s: %s\n", spec->name, world.violation);
        fflush(stdout);
        return RED;
    }
    if (process->faults_fired == 0) {
        return BROKEN;
    }
    return GREEN;
}

static int run_in_child(const struct sim_spec *spec, const char *fault, uint64_t nth)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (fault != NULL) {
            setenv("WEIR_FAULT", fault, 1);
            setenv("WEIR_UNSAFE_TESTING", "1", 1);
        }
        _exit(weir_failpoint_init() != NULL ? BROKEN : run_once(spec, nth));
    }
    assert_true(pid > 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (fault != NULL && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) {
        return RED; /* the engine's own assertion was faster than the checker's report */
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : BROKEN;
}

static void test_planted_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sim_pipeline_count; i++) {
        struct sim_spec spec = sim_pipelines[i];
        assert_int_equal(run_in_child(&spec, NULL, 2), GREEN);
        assert_int_equal(run_in_child(&spec, "commit_early", 2), RED);
        assert_int_equal(run_in_child(&spec, "send_twice", 2), RED);
        assert_int_equal(run_in_child(&spec, "skip_rewind", 2), RED);
        spec.at_least_once = true;
        assert_int_equal(run_in_child(&spec, NULL, 2), GREEN);
        assert_int_equal(run_in_child(&spec, "commit_early", 2), RED);
        assert_int_equal(run_in_child(&spec, "send_twice", 2), RED);
        spec.room = 1;
        size_t reds = 0; /* only an abort that meets waiting batches loses some */
        for (uint64_t nth = 3; nth < 20; nth++) {
            reds += run_in_child(&spec, "skip_rewind", nth) == RED;
        }
        assert_true(reds > 0);
    }
}

/* Appends the outputs of inputs `from` … `to` by hand and commits a position. */
static void make_by_hand(struct sim_world *world, size_t from, size_t to, int64_t position)
{
    struct sim_partition *input = &world->broker.topics[0].partitions[0];
    struct sim_partition *output = &world->outs[0]->partitions[0];
    world->broker.changed = NULL;
    for (size_t i = from; i <= to; i++) {
        const struct sim_entry *entry = &input->entries[i];
        if (!entry->control) {
            sim_broker_append(&world->broker, output, entry->key, entry->value, 7);
        }
    }
    input->committed = position;
}

static void expect_violation(size_t from, size_t to, int64_t position, const char *text)
{
    struct sim_world world;
    sim_world_init(&world, &sim_pipelines[0], 1);
    struct sim_partition *input = &world.broker.topics[0].partitions[0];
    int64_t end = (int64_t)input->count;
    make_by_hand(&world, 0, from, 0);
    make_by_hand(&world, to, input->count - 1, position < 0 ? end : position);
    sim_world_check_end(&world);
    if (text == NULL) {
        assert_string_equal(world.violation, "");
    } else if (strstr(world.violation, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, world.violation);
    }
    sim_world_done(&world);
}

static void test_broken_topics(void **state)
{
    (void)state;
    expect_violation(4, 5, -1, NULL);
    expect_violation(4, 6, -1, "is due");
    expect_violation(4, 4, -1, "twice");
    expect_violation(4, 1, -1, "twice");
    expect_violation(4, 5, 6, "is committed, out0 shows");
    expect_violation(4, 99, -1, "is not in out0");
    expect_violation(4, 5, 99, "the end is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_broken_topics),
        cmocka_unit_test(test_planted_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

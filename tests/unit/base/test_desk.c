/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: errands run one after the other in the order they were given, the owner waits for none of
 * them and is told of each, and what has not begun when the desk stops never runs. Method: errands
 * that wait for the test, on the desk's own thread.
 */
#include "base/desk.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wake.h"

enum { DEADLINE_MS = 30000 };

struct step {
    struct weir_errand errand; /* first */
    struct weir_thread *desk;  /* not NULL: runs until the desk is told to end */
    int gate;                  /* not negative: runs until somebody wakes it */
    int begun;                 /* positive: woken when it runs */
    _Atomic int *order;
    int place;
};

static void await(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, DEADLINE_MS), 1);
    weir_wake_take(fd);
}

static void run(struct weir_errand *errand)
{
    struct step *step = (struct step *)errand;
    if (step->begun > 0) {
        weir_wake(step->begun);
    }
    if (step->gate >= 0) {
        await(step->gate);
    }
    if (step->desk != NULL) {
        assert_true(weir_thread_pause(step->desk, DEADLINE_MS));
    }
    step->place = ++*step->order;
}

static bool is_done(const struct step *step)
{
    return atomic_load_explicit(&step->errand.state, memory_order_acquire) == WEIR_ERRAND_DONE;
}

static void test_in_order(void **state)
{
    (void)state;
    struct weir_desk desk;
    struct weir_err err = {0};
    _Atomic int order = 0;
    int owner = eventfd(0, EFD_NONBLOCK), gate = eventfd(0, EFD_NONBLOCK);
    struct step first = {.errand = {.run = run}, .gate = gate, .order = &order};
    struct step second = {.errand = {.run = run}, .gate = gate, .order = &order};
    assert_int_equal(weir_desk_start(&desk, owner, &err), WEIR_OK);
    assert_true(weir_desk_is_idle(&desk));
    weir_desk_give(&desk, &first.errand);
    weir_desk_give(&desk, &second.errand);
    assert_false(is_done(&first));
    assert_false(weir_desk_is_idle(&desk));
    weir_wake(gate);
    await(owner);
    assert_true(is_done(&first));
    assert_false(is_done(&second));
    weir_wake(gate);
    await(owner);
    assert_true(is_done(&second));
    assert_true(weir_desk_is_idle(&desk));
    assert_int_equal(first.place, 1);
    assert_int_equal(second.place, 2);
    weir_desk_give(&desk, &first.errand); /* once more */
    weir_wake(gate);
    await(owner);
    assert_int_equal(first.place, 3);
    first.begun = owner;
    weir_desk_give(&desk, &first.errand);
    await(owner);
    assert_false(weir_desk_stop(&desk, 0)); /* it is under way */
    weir_wake(gate);
    assert_true(weir_desk_stop(&desk, DEADLINE_MS));
    assert_int_equal(first.place, 4);
    close(owner);
    close(gate);
}

static void test_stop(void **state)
{
    (void)state;
    struct weir_desk desk;
    struct weir_err err = {0};
    _Atomic int order = 0;
    int owner = eventfd(0, EFD_NONBLOCK);
    struct step first = {.errand = {.run = run}, .gate = -1, .desk = &desk.thread, .order = &order};
    struct step second = {.errand = {.run = run}, .gate = -1, .order = &order};
    assert_int_equal(weir_desk_start(&desk, owner, &err), WEIR_OK);
    weir_desk_give(&desk, &first.errand);
    weir_desk_give(&desk, &second.errand);
    assert_true(weir_desk_stop(&desk, DEADLINE_MS));
    assert_false(is_done(&second));
    assert_int_equal(second.place, 0);
    assert_true(weir_desk_stop(&desk, 0));
    struct weir_desk none = {0};
    assert_true(weir_desk_stop(&none, 0));
    close(owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

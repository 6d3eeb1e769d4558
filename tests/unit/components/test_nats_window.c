/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: a message that is to be tried alone is delivered when all before it is acknowledged and it
 * is ready, and nothing behind it before it is acknowledged. Method: a window with such messages
 * between others, asked at each step what may be delivered.
 */
#include "components/nats/nats_window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void push(struct nats_window *window, size_t count, bool is_trial)
{
    struct nats_chunk *chunk = nats_chunk_new(count);
    for (size_t i = 0; i < count; i++) {
        natsMsg *message = NULL;
        assert_int_equal(natsMsg_Create(&message, "in.x", NULL, "1", 1), NATS_OK);
        nats_chunk_add(chunk, message, (uint64_t)window->chunks.filled + i + 1, 0);
    }
    chunk->is_trial = is_trial;
    nats_window_push(window, chunk);
}

/* Is the message of that number delivered, and if not, does it wait for an acknowledgement? */
static void expect(struct nats_window *window, int64_t number, bool is_delivered, bool is_held)
{
    bool held = false;
    struct nats_chunk *chunk = nats_window_next(window, number, &held);
    assert_int_equal(chunk != NULL, is_delivered);
    assert_int_equal(held, is_held);
    if (chunk != NULL) {
        nats_chunk_unref(chunk);
    }
}

static struct nats_chunk *trial_of(struct nats_window *window, bool is_there)
{
    struct nats_chunk *trial = nats_window_trial(window);
    assert_int_equal(trial != NULL, is_there);
    return trial;
}

static void begin(struct nats_window *window)
{
    struct nats_chunk *trial = trial_of(window, true);
    nats_window_ready(window, trial, false);
    nats_chunk_unref(trial);
}

/* 0 1 | 2 alone | 3 alone | 4 5 */
static void test_alone(void **state)
{
    (void)state;
    struct nats_window window;
    nats_window_init(&window);
    push(&window, 2, false);
    push(&window, 1, true);
    push(&window, 1, true);
    push(&window, 2, false);
    expect(&window, 0, true, false);
    expect(&window, 2, false, true);
    (void)trial_of(&window, false);
    nats_window_cut(&window, 1);
    expect(&window, 1, true, false);
    expect(&window, 2, false, true); /* 1 is not acknowledged */
    nats_window_cut(&window, 2);
    expect(&window, 2, false, false); /* it is not ready */
    begin(&window);
    expect(&window, 2, true, false);
    expect(&window, 3, false, true);
    expect(&window, 2, true, false); /* again, after an abort */
    nats_window_cut(&window, 3);
    expect(&window, 3, false, false);
    expect(&window, 4, false, true);
    begin(&window);
    expect(&window, 4, false, true);
    nats_window_cut(&window, 4);
    (void)trial_of(&window, false);
    expect(&window, 4, true, false);
    expect(&window, 6, false, false); /* not there yet */
    nats_window_done(&window);
}

/* What is behind a try waits also before it has come: the epoch is to end. */
static void test_last(void **state)
{
    (void)state;
    struct nats_window window;
    nats_window_init(&window);
    push(&window, 1, true);
    begin(&window);
    expect(&window, 0, true, false);
    expect(&window, 1, false, true);
    nats_window_cut(&window, 1);
    expect(&window, 1, false, false);
    nats_window_done(&window);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_last),
    };
    if (nats_Open(-1) != NATS_OK) { /* messages are freed by a thread of the library */
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nats_Close();
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * More C stack for deep programs. Evaluation recurses on the thread's own stack until little of it
 * is left, then goes on on a mapped segment, and so on; a segment is kept for the next time. How
 * much is little is generous, because comparing or printing deep values recurses too, without
 * looking.
 *
 *     thread's stack  ──▶  segment 1  ──▶  segment 2 …      each has a guard page below it
 */
#include "jq/run.h"

#include <pthread.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/alloc.h"
#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#define JQ_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JQ_SANITIZED 1
#endif
#endif
#ifdef JQ_SANITIZED
#include <sanitizer/common_interface_defs.h>
#define SEGMENT_BYTES ((size_t)64 * 1024 * 1024)
#define LOW_BYTES ((size_t)5 * 1024 * 1024)
#else
#define SEGMENT_BYTES ((size_t)32 * 1024 * 1024)
#define LOW_BYTES ((size_t)3 * 1024 * 1024)
#endif
#define SEGMENTS_MAX 32
#define PAGE_BYTES ((size_t)4096)

struct jq_stack {
    struct jq_stack *below; /* the segment we came from; NULL: the thread's own */
    char *memory;
    uint32_t number;
    ucontext_t inside, outside;
    void (*fn)(void *);
    void *context;
    void *fake_stack;
    const void *outer_bottom;
    size_t outer_size;
};

/* Asking costs a reading of /proc/self/maps in a program's first thread. */
static void *lowest_address(void)
{
    static _Thread_local void *lowest;
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;
    if (lowest == NULL && pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
            lowest = (char *)low + (size / 2 < LOW_BYTES ? size / 2 : LOW_BYTES);
        }
        pthread_attr_destroy(&attributes);
    }
    return lowest;
}

void jq_stack_init(struct weir_jq_run *run)
{
    run->stack_thread = pthread_self();
    run->stack_low = lowest_address();
}

static void free_segment(struct jq_stack *stack)
{
    munmap(stack->memory, SEGMENT_BYTES);
    weir_free(stack);
}

void jq_stack_done(struct weir_jq_run *run)
{
    WEIR_ASSERT(run->stack == NULL);
    if (run->spare != NULL) {
        free_segment(run->spare);
        run->spare = NULL;
    }
}

static struct jq_stack *take_segment(struct weir_jq_run *run)
{
    struct jq_stack *stack = run->spare;
    if (stack != NULL) {
        run->spare = NULL;
        return stack;
    }
    uint32_t number = run->stack == NULL ? 1 : run->stack->number + 1;
    if (number > SEGMENTS_MAX) {
        return NULL;
    }
    void *memory = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
    if (mprotect(memory, PAGE_BYTES, PROT_NONE) != 0) {
        munmap(memory, SEGMENT_BYTES);
        return NULL;
    }
    stack = weir_calloc(1, sizeof *stack);
    stack->memory = memory;
    return stack;
}

/* makecontext passes ints only: the pointer comes in two halves. */
static void enter(unsigned high, unsigned low)
{
    struct jq_stack *stack = (struct jq_stack *)(((uintptr_t)high << 32) | (uintptr_t)low);
#ifdef JQ_SANITIZED
    __sanitizer_finish_switch_fiber(NULL, &stack->outer_bottom, &stack->outer_size);
#endif
    stack->fn(stack->context);
#ifdef JQ_SANITIZED
    __sanitizer_start_switch_fiber(NULL, stack->outer_bottom, stack->outer_size);
#endif
}

/* Apart, so that nothing of the caller lives in registers across the switch. */
static __attribute__((noinline)) void switch_to(struct jq_stack *stack)
{
    WEIR_ASSERT(getcontext(&stack->inside) == 0);
    stack->inside.uc_stack.ss_sp = stack->memory + PAGE_BYTES;
    stack->inside.uc_stack.ss_size = SEGMENT_BYTES - PAGE_BYTES;
    stack->inside.uc_link = &stack->outside;
    uintptr_t pointer = (uintptr_t)stack;
    makecontext(&stack->inside, (void (*)(void))enter, 2, (unsigned)(pointer >> 32),
                (unsigned)(pointer & 0xffffffffu));
#ifdef JQ_SANITIZED
    __sanitizer_start_switch_fiber(&stack->fake_stack, stack->memory + PAGE_BYTES,
                                   SEGMENT_BYTES - PAGE_BYTES);
#endif
    WEIR_ASSERT(swapcontext(&stack->outside, &stack->inside) == 0);
#ifdef JQ_SANITIZED
    __sanitizer_finish_switch_fiber(stack->fake_stack, NULL, NULL);
#endif
}

bool jq_stack_call(struct weir_jq_run *run, void (*fn)(void *), void *context)
{
    struct jq_stack *stack = take_segment(run);
    if (stack == NULL) {
        jq_limit(run, "expression is nested too deeply");
        return false;
    }
    stack->number = run->stack == NULL ? 1 : run->stack->number + 1;
    stack->below = run->stack;
    stack->fn = fn;
    stack->context = context;
    char *outer_low = run->stack_low;
    run->stack = stack;
    run->stack_low = stack->memory + PAGE_BYTES + LOW_BYTES;
    switch_to(stack);
    run->stack_low = outer_low;
    run->stack = stack->below;
    if (run->spare == NULL) {
        run->spare = stack;
    } else {
        free_segment(stack);
    }
    return true;
}

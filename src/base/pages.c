/* SPDX-License-Identifier: Apache-2.0
 *
 * Small sizes are the heap's. Large ones are mapped with room to begin at a multiple of a huge
 * page; what lies in front and behind is given back. A kernel that has no huge pages, or does not
 * fill in advance, is none the worse: the advice is not an order.
 */
#include "base/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"

static size_t whole_pages(size_t size)
{
    return (size + WEIR_PAGES_HUGE - 1) / WEIR_PAGES_HUGE * WEIR_PAGES_HUGE;
}

void *weir_pages_new(size_t size)
{
    if (size < WEIR_PAGES_HUGE) {
        return weir_calloc(1, size);
    }
    WEIR_ASSERT(size < SIZE_MAX / 2);
    size_t whole = whole_pages(size);
    char *memory = mmap(NULL, whole + WEIR_PAGES_HUGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if ((void *)memory == MAP_FAILED) {
        weir_panic(__FILE__, __LINE__, "out of memory");
    }
    size_t over = (uintptr_t)memory % WEIR_PAGES_HUGE;
    size_t front = over == 0 ? 0 : WEIR_PAGES_HUGE - over;
    if (front > 0) {
        munmap(memory, front);
    }
    munmap(memory + front + whole, WEIR_PAGES_HUGE - front);
    (void)madvise(memory + front, whole, MADV_HUGEPAGE);
    return memory + front;
}

void *weir_pages_new_filled(size_t size)
{
    void *memory = weir_pages_new(size);
#ifdef MADV_POPULATE_WRITE
    if (size >= WEIR_PAGES_HUGE) {
        (void)madvise(memory, size, MADV_POPULATE_WRITE);
    }
#endif
    return memory;
}

void weir_pages_free(void *memory, size_t size)
{
    if (size < WEIR_PAGES_HUGE) {
        weir_free(memory);
    } else if (memory != NULL) {
        munmap(memory, whole_pages(size));
    }
}

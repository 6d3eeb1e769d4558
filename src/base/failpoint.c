/* SPDX-License-Identifier: Apache-2.0
 *
 * Killing oneself with SIGKILL is the only honest crash: no handler runs, no buffer is flushed,
 * nothing says goodbye to the broker.
 */
#include "base/failpoint.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum weir_failpoint weir_failpoint_armed;
static atomic_long failpoint_countdown;
static enum weir_fault fault_planted;

static const struct {
    const char *name;
    enum weir_failpoint point;
} failpoints[] = {
#define X(id, text) {text, WEIR_FAILPOINT_##id},
    WEIR_FAILPOINT_MAP(X)
#undef X
};

static const struct {
    const char *name;
    enum weir_fault fault;
} faults[] = {
#define X(id, text) {text, WEIR_FAULT_##id},
    WEIR_FAULT_MAP(X)
#undef X
};

const char *weir_failpoint_init(void)
{
    const char *text = getenv("WEIR_FAILPOINT");
    if (text != NULL && text[0] != '\0') {
        size_t size = strcspn(text, ":");
        for (size_t i = 0; i < sizeof(failpoints) / sizeof(failpoints[0]); i++) {
            if (strlen(failpoints[i].name) == size && memcmp(failpoints[i].name, text, size) == 0) {
                weir_failpoint_armed = failpoints[i].point;
            }
        }
        long count = text[size] == ':' ? strtol(text + size + 1, NULL, 10) : 1;
        if (weir_failpoint_armed == WEIR_FAILPOINT_NONE || count < 1) {
            return text;
        }
        atomic_store(&failpoint_countdown, count);
    }
    text = getenv("WEIR_FAULT");
    const char *unsafe = getenv("WEIR_UNSAFE_TESTING");
    if (text != NULL && text[0] != '\0') {
        for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
            if (strcmp(faults[i].name, text) == 0 && unsafe != NULL && strcmp(unsafe, "1") == 0) {
                fault_planted = faults[i].fault;
            }
        }
        if (fault_planted == WEIR_FAULT_NONE) {
            return text;
        }
    }
    return NULL;
}

bool weir_fault_is(enum weir_fault fault)
{
    return __builtin_expect(fault_planted == fault, 0);
}

void weir_failpoint_hit(void)
{
    if (atomic_fetch_sub(&failpoint_countdown, 1) == 1) {
        raise(SIGKILL);
    }
}

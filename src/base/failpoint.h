/* SPDX-License-Identifier: Apache-2.0
 *
 * Named points at which a test can have the process killed, and faults it can plant to see the
 * checkers find them. Both are off unless the environment says otherwise, and a fault moreover
 * needs WEIR_UNSAFE_TESTING=1, because it loses or doubles data.
 *
 *     WEIR_FAILPOINT=after_produce:3    SIGKILL to itself the third time that point is passed
 *     WEIR_FAULT=commit_early | send_twice | skip_rewind | die_of_record
 */
#ifndef WEIR_BASE_FAILPOINT_H
#define WEIR_BASE_FAILPOINT_H

#include <stdbool.h>

// clang-format off
#define WEIR_FAILPOINT_MAP(X)                       \
    X(AFTER_POLL,          "after_poll")            \
    X(AFTER_PRODUCE,       "after_produce")         \
    X(BEFORE_SEND_OFFSETS, "before_send_offsets")   \
    X(AFTER_SEND_OFFSETS,  "after_send_offsets")    \
    X(BEFORE_COMMIT,       "before_commit")         \
    X(AFTER_COMMIT,        "after_commit")          \
    X(BEFORE_LOG_SYNC,     "before_log_sync")       \
    X(AFTER_LOG_SYNC,      "after_log_sync")

#define WEIR_FAULT_MAP(X)                \
    X(COMMIT_EARLY, "commit_early")      \
    X(SEND_TWICE,   "send_twice")        \
    X(SKIP_REWIND,  "skip_rewind")       \
    X(DIE_OF_RECORD, "die_of_record")
// clang-format on

enum weir_failpoint {
    WEIR_FAILPOINT_NONE,
#define X(id, name) WEIR_FAILPOINT_##id,
    WEIR_FAILPOINT_MAP(X)
#undef X
};

enum weir_fault {
    WEIR_FAULT_NONE,
#define X(id, name) WEIR_FAULT_##id,
    WEIR_FAULT_MAP(X)
#undef X
};

/* Reads the environment; answers the offending text when a name is unknown, else NULL. Once, before
 * threads start. */
const char *weir_failpoint_init(void);
bool weir_fault_is(enum weir_fault fault);

extern enum weir_failpoint weir_failpoint_armed;
void weir_failpoint_hit(void);

/* Passes a named point. Any thread. */
static inline void weir_failpoint(enum weir_failpoint point)
{
    if (__builtin_expect(weir_failpoint_armed == point, 0)) {
        weir_failpoint_hit();
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Every fixed limit of the engine in one place. Reaching one is back-pressure or a record's error,
 * never an abort, never silent. What users may change stands in the configuration tables instead.
 */
#ifndef WEIR_BASE_LIMITS_H
#define WEIR_BASE_LIMITS_H

enum {
    WEIR_RECORD_BYTES_MAX = 64 * 1024 * 1024, /* a value that a step makes */
    WEIR_BATCH_BYTES_MAX = 512 * 1024 * 1024, /* arena of one batch: values, parsed documents */
    WEIR_BATCH_PAYLOAD = 256 * 1024,  /* of one batch as read; it ends with the next record */
    WEIR_BATCH_RECORDS_MAX = 1 << 20, /* records of one batch as read */
    WEIR_SOURCES_MAX = 64,
    WEIR_SINKS_MAX = 64,
    WEIR_LANES_MAX = 1024,
    WEIR_RESTARTS_MAX = 3, /* fences within WEIR_RESTART_WINDOW_MS: give up */
    WEIR_RESTART_WINDOW_MS = 60 * 1000,
};

#endif

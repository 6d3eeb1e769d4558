/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the registry, for metrics.c and metrics_render.c alone.
 *
 *     families[metric] ── first ── series ── series ── …      in the order of their making
 *     chains[hash]     ── series ── series                     for look-ups
 */
#ifndef WEIR_ENGINE_METRICS_REGISTRY_H
#define WEIR_ENGINE_METRICS_REGISTRY_H

#include <pthread.h>

#include "engine/metrics.h"

enum { METRICS_CHAINS = 1024, METRICS_SERIES_MAX = 10000, METRICS_LABEL_MAX = 249 };

/* What one writer counts of one series; alone in its cache lines. */
union weir_metric_cell {
    struct weir_counter counter;
    struct weir_gauge gauge;
    struct weir_histogram histogram;
};

struct weir_metric_series {
    struct weir_metric_series *next, *chain;
    enum weir_metric metric;
    char *labels[WEIR_METRIC_LABELS_MAX];
    union weir_metric_cell *cells[]; /* by writer; NULL: never asked for. Gauges use the first. */
};

/* A histogram's cells added up. */
struct weir_metric_total {
    uint64_t count, sum_ns;
    uint64_t buckets[WEIR_METRIC_BOUNDS_MAX + 1];
    uint64_t steps[WEIR_HISTOGRAM_STEPS];
};

struct weir_metric_family {
    struct weir_metric_series *first, **last;
    size_t count;
    struct weir_metric_total *past[2]; /* histograms: the steps at the last tick and before */
};

struct weir_metrics {
    pthread_mutex_t lock; /* guards all but the cells' values */
    unsigned writers;     /* one more than asked for: the last is the lock's holder */
    char *pipeline;
    struct weir_metric_family families[WEIR_METRIC_COUNT];
    struct weir_metric_series *chains[METRICS_CHAINS];
    union weir_metric_cell *unseen; /* the gauge beyond the limit */
};

/* The lock is held. */
uint64_t weir_metric_series_count(const struct weir_metrics *metrics,
                                  const struct weir_metric_series *series);
void weir_metric_series_add(const struct weir_metrics *metrics,
                            const struct weir_metric_series *series,
                            struct weir_metric_total *total);
size_t weir_metric_label_count(enum weir_metric metric);

#endif

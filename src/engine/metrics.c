/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry of series and their cells.
 *
 * Nothing is ever taken out: a cell stays valid for whoever holds it, however partitions come and
 * go, and no lane asks for a lock to count. What could grow without end is bounded instead: beyond
 * the limit of a metric there is one more series, "other", and a count of those it stands for. A
 * partition that is given back only hides its gauges; when it comes back it finds the same series.
 *
 * Rare events (weir_metrics_count) use the last writer's cells, which belong to whoever holds the
 * lock.
 */
#include "engine/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/fnv.h"
#include "engine/metrics_registry.h"

enum { CACHE_LINE = 64 };

size_t weir_metric_label_count(enum weir_metric metric)
{
    const char *labels = weir_metric_row(metric)->labels;
    size_t count = labels[0] == '\0' ? 0 : 1;
    for (; *labels != '\0'; labels++) {
        count += *labels == ',' ? 1 : 0;
    }
    WEIR_ASSERT(count <= WEIR_METRIC_LABELS_MAX);
    return count;
}

static void *cell_new(enum weir_metric metric)
{
    const enum weir_metric_type type = weir_metric_row(metric)->type;
    size_t size =
        type == WEIR_METRIC_HISTOGRAM ? sizeof(struct weir_histogram) : sizeof(struct weir_counter);
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    union weir_metric_cell *cell = aligned_alloc(CACHE_LINE, size);
    WEIR_ASSERT(cell != NULL);
    memset(cell, 0, size);
    switch (type) {
    case WEIR_METRIC_COUNTER:
        break;
    case WEIR_METRIC_GAUGE:
        weir_gauge_clear(&cell->gauge);
        break;
    case WEIR_METRIC_HISTOGRAM:
        cell->histogram.bound_count = weir_metric_bounds(metric, &cell->histogram.bounds);
        break;
    }
    return cell;
}

struct weir_metrics *weir_metrics_new(unsigned writers, const char *pipeline)
{
    struct weir_metrics *metrics = weir_calloc(1, sizeof(*metrics));
    pthread_mutex_init(&metrics->lock, NULL);
    metrics->writers = writers + 1;
    metrics->pipeline = pipeline == NULL ? NULL : weir_strdup(pipeline);
    metrics->unseen = cell_new(WEIR_METRIC_LAG);
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        metrics->families[i].last = &metrics->families[i].first;
    }
    return metrics;
}

static void series_free(const struct weir_metrics *metrics, struct weir_metric_series *series)
{
    for (size_t i = 0; i < WEIR_METRIC_LABELS_MAX; i++) {
        weir_free(series->labels[i]);
    }
    for (unsigned i = 0; i < metrics->writers; i++) {
        free(series->cells[i]);
    }
    weir_free(series);
}

void weir_metrics_free(struct weir_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        struct weir_metric_family *family = &metrics->families[i];
        while (family->first != NULL) {
            struct weir_metric_series *series = family->first;
            family->first = series->next;
            series_free(metrics, series);
        }
        weir_free(family->past[0]);
        weir_free(family->past[1]);
    }
    free(metrics->unseen);
    weir_free(metrics->pipeline);
    pthread_mutex_destroy(&metrics->lock);
    weir_free(metrics);
}

/* Where a series with these labels is or would be found: the labels as they are kept. */
static struct weir_metric_series **
chain_of(struct weir_metrics *metrics, enum weir_metric metric, const char *const *labels)
{
    uint64_t hash = WEIR_FNV_START ^ (uint64_t)metric;
    for (size_t i = 0; i < weir_metric_label_count(metric); i++) {
        hash = weir_fnv(hash, labels[i], strnlen(labels[i], METRICS_LABEL_MAX));
        hash = weir_fnv(hash, "\xff", 1); /* no UTF-8 text has this byte */
    }
    return &metrics->chains[(hash ^ hash >> 32) % METRICS_CHAINS];
}

static bool labels_equal(const struct weir_metric_series *series, const char *const *labels)
{
    for (size_t i = 0; i < WEIR_METRIC_LABELS_MAX && series->labels[i] != NULL; i++) {
        size_t size = strlen(series->labels[i]);
        if (strncmp(series->labels[i], labels[i], size < METRICS_LABEL_MAX ? size + 1 : size) !=
            0) {
            return false;
        }
    }
    return true;
}

static struct weir_metric_series *
series_find(struct weir_metrics *metrics, enum weir_metric metric, const char *const *labels)
{
    struct weir_metric_series *series = *chain_of(metrics, metric, labels);
    while (series != NULL && (series->metric != metric || !labels_equal(series, labels))) {
        series = series->chain;
    }
    return series;
}

static struct weir_metric_series *
series_new(struct weir_metrics *metrics, enum weir_metric metric, const char *const *labels)
{
    struct weir_metric_series *series =
        weir_calloc(1, sizeof(*series) + metrics->writers * sizeof(series->cells[0]));
    series->metric = metric;
    for (size_t i = 0; i < weir_metric_label_count(metric); i++) {
        series->labels[i] = weir_strndup(labels[i], strnlen(labels[i], METRICS_LABEL_MAX));
    }
    struct weir_metric_series **chain = chain_of(metrics, metric, labels);
    series->chain = *chain;
    *chain = series;
    struct weir_metric_family *family = &metrics->families[metric];
    *family->last = series;
    family->last = &series->next;
    family->count++;
    return series;
}

static union weir_metric_cell *cell_of(struct weir_metrics *metrics,
                                       enum weir_metric metric,
                                       unsigned writer,
                                       const char *const *labels);

/* Beyond the limit: the series that stands for all others. */
static union weir_metric_cell *
cell_beyond(struct weir_metrics *metrics, enum weir_metric metric, unsigned writer)
{
    const char *name = weir_metric_row(metric)->name;
    union weir_metric_cell *dropped =
        cell_of(metrics, WEIR_METRIC_SERIES_DROPPED, metrics->writers - 1, WEIR_LABELS(name));
    weir_counter_add(&dropped->counter, 1);
    if (weir_metric_row(metric)->type == WEIR_METRIC_GAUGE) {
        return metrics->unseen;
    }
    const char *const *other = WEIR_LABELS("other", "other", "other");
    struct weir_metric_series *series = series_find(metrics, metric, other);
    if (series == NULL) {
        series = series_new(metrics, metric, other);
    }
    if (series->cells[writer] == NULL) {
        series->cells[writer] = cell_new(metric);
    }
    return series->cells[writer];
}

/* The lock is held. */
static union weir_metric_cell *cell_of(struct weir_metrics *metrics,
                                       enum weir_metric metric,
                                       unsigned writer,
                                       const char *const *labels)
{
    WEIR_ASSERT(writer < metrics->writers);
    for (size_t i = 0; i < weir_metric_label_count(metric); i++) {
        WEIR_ASSERT(labels[i] != NULL);
    }
    WEIR_ASSERT(labels[weir_metric_label_count(metric)] == NULL);
    struct weir_metric_series *series = series_find(metrics, metric, labels);
    if (series == NULL) {
        if (metrics->families[metric].count >= METRICS_SERIES_MAX) {
            return cell_beyond(metrics, metric, writer);
        }
        series = series_new(metrics, metric, labels);
    }
    if (series->cells[writer] == NULL) {
        series->cells[writer] = cell_new(metric);
    }
    return series->cells[writer];
}

static union weir_metric_cell *cell_locked(struct weir_metrics *metrics,
                                           enum weir_metric metric,
                                           enum weir_metric_type type,
                                           unsigned writer,
                                           const char *const *labels)
{
    WEIR_ASSERT(weir_metric_row(metric)->type == type);
    pthread_mutex_lock(&metrics->lock);
    union weir_metric_cell *cell = cell_of(metrics, metric, writer, labels);
    pthread_mutex_unlock(&metrics->lock);
    return cell;
}

struct weir_counter *weir_metrics_counter(struct weir_metrics *metrics,
                                          enum weir_metric metric,
                                          unsigned writer,
                                          const char *const *labels)
{
    WEIR_ASSERT(writer < metrics->writers - 1);
    return &cell_locked(metrics, metric, WEIR_METRIC_COUNTER, writer, labels)->counter;
}

struct weir_gauge *
weir_metrics_gauge(struct weir_metrics *metrics, enum weir_metric metric, const char *const *labels)
{
    return &cell_locked(metrics, metric, WEIR_METRIC_GAUGE, 0, labels)->gauge;
}

struct weir_histogram *weir_metrics_histogram(struct weir_metrics *metrics,
                                              enum weir_metric metric,
                                              unsigned writer,
                                              const char *const *labels)
{
    WEIR_ASSERT(writer < metrics->writers - 1);
    return &cell_locked(metrics, metric, WEIR_METRIC_HISTOGRAM, writer, labels)->histogram;
}

void weir_metrics_count(struct weir_metrics *metrics,
                        enum weir_metric metric,
                        uint64_t amount,
                        const char *const *labels)
{
    WEIR_ASSERT(weir_metric_row(metric)->type == WEIR_METRIC_COUNTER);
    pthread_mutex_lock(&metrics->lock);
    weir_counter_add(&cell_of(metrics, metric, metrics->writers - 1, labels)->counter, amount);
    pthread_mutex_unlock(&metrics->lock);
}

/* Values below 16 have a step each; above, each power of two has 16. */
static size_t step_of(uint64_t value)
{
    if (value < 16) {
        return (size_t)value;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(value) - WEIR_HISTOGRAM_STEP_BITS;
    return (size_t)(shift + 1) * 16 + (size_t)(value >> shift) - 16;
}

void weir_histogram_add(struct weir_histogram *histogram, int64_t duration_ns, uint64_t times)
{
    int64_t value = duration_ns < 0 ? 0 : duration_ns;
    size_t bucket = 0;
    while (bucket < histogram->bound_count && value > histogram->bounds[bucket]) {
        bucket++;
    }
    weir_cell_add_(&histogram->buckets[bucket], times);
    weir_cell_add_(&histogram->steps[step_of((uint64_t)value)], times);
    weir_cell_add_(&histogram->sum_ns, (uint64_t)value * times);
    weir_cell_add_(&histogram->count, times);
}

uint64_t weir_metric_series_count(const struct weir_metrics *metrics,
                                  const struct weir_metric_series *series)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < metrics->writers; i++) {
        if (series->cells[i] != NULL) {
            sum += atomic_load_explicit(&series->cells[i]->counter.value, memory_order_relaxed);
        }
    }
    return sum;
}

/* The count shown is the buckets' sum, not the cell's: a reader between two stores of a writer must
 * not see a +Inf bucket that differs from the count. */
void weir_metric_series_add(const struct weir_metrics *metrics,
                            const struct weir_metric_series *series,
                            struct weir_metric_total *total)
{
    for (unsigned i = 0; i < metrics->writers; i++) {
        if (series->cells[i] == NULL) {
            continue;
        }
        const struct weir_histogram *cell = &series->cells[i]->histogram;
        for (size_t j = 0; j <= WEIR_METRIC_BOUNDS_MAX; j++) {
            uint64_t count = atomic_load_explicit(&cell->buckets[j], memory_order_relaxed);
            total->buckets[j] += count;
            total->count += count;
        }
        for (size_t j = 0; j < WEIR_HISTOGRAM_STEPS; j++) {
            total->steps[j] += atomic_load_explicit(&cell->steps[j], memory_order_relaxed);
        }
        total->sum_ns += atomic_load_explicit(&cell->sum_ns, memory_order_relaxed);
    }
}

static int64_t series_value(const struct weir_metrics *metrics,
                            const struct weir_metric_series *series)
{
    switch (weir_metric_row(series->metric)->type) {
    case WEIR_METRIC_COUNTER:
        return (int64_t)weir_metric_series_count(metrics, series);
    case WEIR_METRIC_GAUGE: {
        int64_t value = atomic_load_explicit(&series->cells[0]->gauge.value, memory_order_relaxed);
        return value == INT64_MIN ? 0 : value;
    }
    case WEIR_METRIC_HISTOGRAM: {
        struct weir_metric_total total = {0};
        weir_metric_series_add(metrics, series, &total);
        return (int64_t)total.count;
    }
    }
    WEIR_UNREACHABLE();
    return 0;
}

int64_t
weir_metrics_value(struct weir_metrics *metrics, enum weir_metric metric, const char *const *labels)
{
    pthread_mutex_lock(&metrics->lock);
    const struct weir_metric_series *series = series_find(metrics, metric, labels);
    int64_t value = series == NULL ? 0 : series_value(metrics, series);
    pthread_mutex_unlock(&metrics->lock);
    return value;
}

int64_t weir_metrics_sum(struct weir_metrics *metrics, enum weir_metric metric)
{
    int64_t sum = 0;
    pthread_mutex_lock(&metrics->lock);
    for (const struct weir_metric_series *series = metrics->families[metric].first; series != NULL;
         series = series->next) {
        sum += series_value(metrics, series);
    }
    pthread_mutex_unlock(&metrics->lock);
    return sum;
}

/* --- quantiles ---------------------------------------------------------------------------------*/

static void family_total(const struct weir_metrics *metrics,
                         enum weir_metric metric,
                         struct weir_metric_total *total)
{
    *total = (struct weir_metric_total){0};
    for (const struct weir_metric_series *series = metrics->families[metric].first; series != NULL;
         series = series->next) {
        weir_metric_series_add(metrics, series, total);
    }
}

void weir_metrics_tick(struct weir_metrics *metrics)
{
    pthread_mutex_lock(&metrics->lock);
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        struct weir_metric_family *family = &metrics->families[i];
        if (weir_metric_row((enum weir_metric)i)->type != WEIR_METRIC_HISTOGRAM ||
            family->first == NULL) {
            continue;
        }
        struct weir_metric_total *oldest = family->past[1];
        if (oldest == NULL) {
            oldest = weir_calloc(1, sizeof(*oldest));
        }
        family->past[1] = family->past[0];
        family->past[0] = oldest;
        family_total(metrics, (enum weir_metric)i, oldest);
    }
    pthread_mutex_unlock(&metrics->lock);
}

/* The middle of a step. */
static int64_t step_value(size_t step)
{
    if (step < 16) {
        return (int64_t)step;
    }
    unsigned shift = (unsigned)(step / 16 - 1);
    uint64_t low = (uint64_t)(step % 16 + 16) << shift;
    return (int64_t)(low + ((UINT64_C(1) << shift) >> 1));
}

/* The step of the observation with this rank, counted from 1. */
static int64_t rank_value(const struct weir_metric_total *window, uint64_t rank)
{
    uint64_t seen = 0;
    for (size_t i = 0; i < WEIR_HISTOGRAM_STEPS; i++) {
        seen += window->steps[i];
        if (seen >= rank && rank > 0) {
            return step_value(i);
        }
    }
    return 0;
}

struct weir_quantiles weir_metrics_quantiles(struct weir_metrics *metrics, enum weir_metric metric)
{
    WEIR_ASSERT(weir_metric_row(metric)->type == WEIR_METRIC_HISTOGRAM);
    struct weir_metric_total window;
    pthread_mutex_lock(&metrics->lock);
    family_total(metrics, metric, &window);
    const struct weir_metric_family *family = &metrics->families[metric];
    uint64_t count = 0;
    for (size_t i = 0; i < WEIR_HISTOGRAM_STEPS; i++) {
        window.steps[i] -= family->past[1] == NULL ? 0 : family->past[1]->steps[i];
        count += window.steps[i];
    }
    pthread_mutex_unlock(&metrics->lock);
    return (struct weir_quantiles){
        .count = count,
        .p50_ns = rank_value(&window, count - count / 2),
        .p95_ns = rank_value(&window, count - count / 20),
        .p99_ns = rank_value(&window, count - count / 100),
        .max_ns = rank_value(&window, count),
    };
}

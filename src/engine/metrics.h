/* SPDX-License-Identifier: Apache-2.0
 *
 * What weir counts and measures. One table (WEIR_METRIC_MAP) freezes names, types, units, labels
 * and help; the exposition, the reference and the checks read it, nothing restates it.
 *
 * A series is a metric with label values. Each thread that writes has a writer number and, per
 * series, a cell of its own:
 *
 *     metric ── series {topic="orders",status="ok"} ── cell of writer 0 │ writer 1 │ …
 *
 * A cell has one writer, so counting is a load, an add and a store without a lock prefix, in memory
 * that no other lane touches; a reader sums the cells. Cells are asked for once (a lock, a look-up)
 * and kept. They live as long as the registry.
 *
 * Durations are counted in nanoseconds and shown in seconds.
 */
#ifndef WEIR_ENGINE_METRICS_H
#define WEIR_ENGINE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/strbuf.h>

enum weir_metric_type { WEIR_METRIC_COUNTER, WEIR_METRIC_GAUGE, WEIR_METRIC_HISTOGRAM };

enum weir_metric_unit {
    WEIR_UNIT_COUNT,
    WEIR_UNIT_BYTES,
    WEIR_UNIT_SECONDS, /* cells hold nanoseconds */
};

// clang-format off
/* X(id, name, type, unit, labels, help, query). Names and labels are a promise: they never change.
 * labels: comma-separated, "" for none. query: an example in PromQL. */
#define WEIR_METRIC_MAP(X) \
    X(MESSAGES, "stream_messages_processed_total", COUNTER, COUNT, "topic,status", \
      "Records taken from a source, by what became of them: ok, filtered, late, dead or skipped.", \
      "sum by (status) (rate(stream_messages_processed_total[1m]))") \
    X(PROCESSING, "stream_processing_seconds", HISTOGRAM, SECONDS, "", \
      "Time from a record's arrival in weir until its outputs were handed to the sinks.", \
      "histogram_quantile(0.99, sum by (le) (rate(stream_processing_seconds_bucket[5m])))") \
    X(END_TO_END, "stream_end_to_end_seconds", HISTOGRAM, SECONDS, "", \
      "Time from a record's own timestamp until its outputs were handed to the sinks.", \
      "histogram_quantile(0.99, sum by (le) (rate(stream_end_to_end_seconds_bucket[5m])))") \
    X(LAG, "stream_consumer_lag", GAUGE, COUNT, "source,topic,partition", \
      "Records between the committed position and the end of an assigned partition.", \
      "sum by (topic) (stream_consumer_lag)") \
    X(LAG_TIME, "stream_consumer_lag_seconds", GAUGE, SECONDS, "source,topic,partition", \
      "Age of the newest record processed of an assigned partition, 0 when it is caught up.", \
      "max by (topic) (stream_consumer_lag_seconds)") \
    X(PARTITIONS, "stream_partitions_assigned", GAUGE, COUNT, "source,topic", \
      "Partitions that this process owns.", \
      "sum by (topic) (stream_partitions_assigned)") \
    X(ERRORS, "stream_errors_total", COUNTER, COUNT, "component,type", \
      "Failures, by the component that reported them and the name of their status.", \
      "sum by (component, type) (rate(stream_errors_total[5m]))") \
    X(EPOCHS, "stream_epochs_total", COUNTER, COUNT, "result", \
      "Epochs that ended, by result: committed or aborted.", \
      "rate(stream_epochs_total{result=\"aborted\"}[5m])") \
    X(EPOCH_TIME, "stream_epoch_seconds", HISTOGRAM, SECONDS, "", \
      "Time from the closing of an epoch until it was committed or aborted.", \
      "histogram_quantile(0.95, sum by (le) (rate(stream_epoch_seconds_bucket[5m])))") \
    X(PAUSE, "stream_pause_seconds", HISTOGRAM, SECONDS, "", \
      "How long no lane worked: for the seal of an epoch, an abort, or partitions that came or went.", \
      "histogram_quantile(0.99, sum by (le) (rate(stream_pause_seconds_bucket[5m])))") \
    X(IN_FLIGHT, "stream_in_flight_bytes", GAUGE, BYTES, "", \
      "Bytes of records taken from the sources and not yet done with.", \
      "stream_in_flight_bytes / stream_in_flight_limit_bytes") \
    X(IN_FLIGHT_LIMIT, "stream_in_flight_limit_bytes", GAUGE, BYTES, "", \
      "The budget for bytes in flight; at the limit sources are not read.", \
      "stream_in_flight_limit_bytes") \
    X(LEADER, "stream_singleton_leader", GAUGE, COUNT, "", \
      "1 in the process that works, 0 in those that stand by; only with `singleton`.", \
      "sum(stream_singleton_leader)") \
    X(STATE_BYTES, "stream_state_bytes", GAUGE, BYTES, "step", \
      "Memory of the state that a step keeps in this process.", \
      "sum by (step) (stream_state_bytes)") \
    X(STATE_KEYS, "stream_state_keys", GAUGE, COUNT, "step", \
      "Entries of the state that a step keeps in this process.", \
      "sum by (step) (stream_state_keys)") \
    X(LATE_WINDOWS, "stream_late_windows_total", COUNTER, COUNT, "step", \
      "Windows that records came too late for; a record can miss several. Counted when it is seen, " \
      "also in epochs that are aborted.", \
      "sum by (step) (rate(stream_late_windows_total[5m]))") \
    X(ASKS, "stream_requests_total", COUNTER, COUNT, "step,status", \
      "Requests of steps that ask somebody, by the name of the status they came to.", \
      "sum by (step, status) (rate(stream_requests_total[1m]))") \
    X(ASK_TIME, "stream_request_seconds", HISTOGRAM, SECONDS, "step", \
      "Time from a request until its answer.", \
      "histogram_quantile(0.99, sum by (le, step) (rate(stream_request_seconds_bucket[5m])))") \
    X(ASKS_IN_FLIGHT, "stream_requests_in_flight", GAUGE, COUNT, "step", \
      "Requests that are not answered yet.", \
      "sum by (step) (stream_requests_in_flight)") \
    X(RESIDENT_MEMORY, "process_resident_memory_bytes", GAUGE, BYTES, "", \
      "Resident memory of the process.", \
      "process_resident_memory_bytes") \
    X(CPU, "process_cpu_seconds_total", COUNTER, SECONDS, "", \
      "User and system CPU time of the process.", \
      "rate(process_cpu_seconds_total[1m])") \
    X(BUILD, "weir_build_info", GAUGE, COUNT, "version", \
      "Always 1; the label tells which version runs.", \
      "count by (version) (weir_build_info)") \
    X(SERIES_DROPPED, "weir_metric_series_dropped_total", COUNTER, COUNT, "metric", \
      "Series that were not kept because their metric had reached its limit.", \
      "weir_metric_series_dropped_total > 0")
// clang-format on

enum weir_metric {
#define X(id, name, type, unit, labels, help, query) WEIR_METRIC_##id,
    WEIR_METRIC_MAP(X)
#undef X
        WEIR_METRIC_COUNT
};

enum { WEIR_METRIC_LABELS_MAX = 3, WEIR_METRIC_BOUNDS_MAX = 18 };

struct weir_metric_row {
    const char *name;
    enum weir_metric_type type;
    enum weir_metric_unit unit;
    const char *labels, *help, *query;
};

/* The table; static. */
const struct weir_metric_row *weir_metric_row(enum weir_metric metric);
/* Upper bounds in nanoseconds of a histogram's buckets, rising; returns how many. Static. */
size_t weir_metric_bounds(enum weir_metric metric, const int64_t **ret_bounds);
/* docs/reference/metrics.md. */
void weir_metrics_docs(struct weir_strbuf *out);

/* --- cells -------------------------------------------------------------------------------------*/

/* Relaxed throughout: cells order nothing, a reader may be one batch behind. */

struct weir_counter {
    _Atomic uint64_t value;
};

struct weir_gauge {
    _Atomic int64_t value; /* INT64_MIN: not shown */
};

/* Buckets for quantiles grow by 1/16 of a power of two: a quantile is at most 3.2 % off. */
enum { WEIR_HISTOGRAM_STEP_BITS = 4, WEIR_HISTOGRAM_STEPS = (64 - WEIR_HISTOGRAM_STEP_BITS) * 16 };

struct weir_histogram {
    const int64_t *bounds;
    size_t bound_count;
    _Atomic uint64_t count, sum_ns;
    _Atomic uint64_t buckets[WEIR_METRIC_BOUNDS_MAX + 1]; /* not cumulative; the last: +Inf */
    _Atomic uint64_t steps[WEIR_HISTOGRAM_STEPS];
};

/* The cell's writer only. */
static inline void weir_cell_add_(_Atomic uint64_t *cell, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, value + amount, memory_order_relaxed);
}

static inline void weir_counter_add(struct weir_counter *counter, uint64_t amount)
{
    weir_cell_add_(&counter->value, amount);
}

/* Any thread; the last one wins. */
static inline void weir_gauge_set(struct weir_gauge *gauge, int64_t value)
{
    atomic_store_explicit(&gauge->value, value, memory_order_relaxed);
}

/* Takes the series out of sight until it is set again (a partition was given back). */
static inline void weir_gauge_clear(struct weir_gauge *gauge)
{
    weir_gauge_set(gauge, INT64_MIN);
}

/* `times` observations of one duration; negative counts as 0 (clocks of two machines differ). The
 * cell's writer only. */
void weir_histogram_add(struct weir_histogram *histogram, int64_t duration_ns, uint64_t times);

/* --- the registry ------------------------------------------------------------------------------*/

struct weir_metrics;

/* Label values in the table's order: WEIR_LABELS("orders", "ok"). */
#define WEIR_LABELS(...) ((const char *const[WEIR_METRIC_LABELS_MAX + 1]){__VA_ARGS__})
#define WEIR_NO_LABELS ((const char *const[WEIR_METRIC_LABELS_MAX + 1]){NULL})

/* writers: threads that own cells, numbered from 0. pipeline: a label for every series, when
 * several pipelines share one exposition; NULL: none. */
struct weir_metrics *weir_metrics_new(unsigned writers, const char *pipeline);
void weir_metrics_free(struct weir_metrics *metrics);

/* The cell of a series for one writer, made when it is asked for the first time. Any thread; never
 * NULL. Label values are copied, cut at 249 bytes. Beyond 10,000 series of a metric, counters and
 * histograms share a series whose labels are "other", gauges go to a cell that is not shown, and
 * weir_metric_series_dropped_total counts them. */
struct weir_counter *weir_metrics_counter(struct weir_metrics *metrics,
                                          enum weir_metric metric,
                                          unsigned writer,
                                          const char *const *labels);
struct weir_gauge *weir_metrics_gauge(struct weir_metrics *metrics,
                                      enum weir_metric metric,
                                      const char *const *labels);
struct weir_histogram *weir_metrics_histogram(struct weir_metrics *metrics,
                                              enum weir_metric metric,
                                              unsigned writer,
                                              const char *const *labels);
/* For what happens rarely: counts without a cell, from any thread, under the registry's lock. */
void weir_metrics_count(struct weir_metrics *metrics,
                        enum weir_metric metric,
                        uint64_t amount,
                        const char *const *labels);

/* --- reading; any thread -----------------------------------------------------------------------*/

/* A counter's sum over its writers, a gauge's value, a histogram's count; 0 if there is no such
 * series. */
int64_t weir_metrics_value(struct weir_metrics *metrics,
                           enum weir_metric metric,
                           const char *const *labels);
/* Counters and gauges: over all series. */
int64_t weir_metrics_sum(struct weir_metrics *metrics, enum weir_metric metric);

struct weir_quantiles {
    uint64_t count;
    int64_t p50_ns, p95_ns, p99_ns, max_ns; /* 0 without observations */
};

/* Moves the window of weir_metrics_quantiles: it reaches back to the last tick but one. The control
 * thread calls it every 30 s. */
void weir_metrics_tick(struct weir_metrics *metrics);
/* Over all series of a histogram, the observations of the last 30–60 s. */
struct weir_quantiles weir_metrics_quantiles(struct weir_metrics *metrics, enum weir_metric metric);

/* The Prometheus text exposition, version 0.0.4, of some pipelines and of the process. */
void weir_metrics_render(struct weir_metrics *const *all, size_t count, struct weir_strbuf *out);
/* Members of a JSON object without the braces: "messages":[…],"errors":[…],"epochs":[…],
 * "latency":{…}. */
void weir_metrics_status(struct weir_metrics *metrics, struct weir_strbuf *out);

#endif

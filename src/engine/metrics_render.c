/* SPDX-License-Identifier: Apache-2.0
 *
 * The metrics as others read them: the Prometheus text exposition and the members of /status.
 *
 * An exposition must hold each metric's series together, whatever pipeline they come from, so the
 * outer loop runs over metrics and the inner over registries. Durations leave as seconds with all
 * their digits: nanoseconds are divided as integers, no double rounds them.
 */
#include "engine/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/quote.h"
#include "engine/metrics_registry.h"

/* The exposition format escapes three characters and demands UTF-8. */
static void put_label_value(const char *value, struct weir_strbuf *out)
{
    size_t room = strlen(value);
    while (room > 0) {
        size_t size = weir_utf8_size(value, room);
        if (size == 0) {
            weir_strbuf_text(out, WEIR_UTF8_REPLACEMENT);
            size = 1;
        } else if (*value == '\n') {
            weir_strbuf_text(out, "\\n");
        } else {
            if (*value == '\\' || *value == '"') {
                weir_strbuf_push(out, '\\');
            }
            weir_strbuf_append(out, value, size);
        }
        value += size;
        room -= size;
    }
}

static void
put_label(const char *name, size_t size, const char *value, bool *any, struct weir_strbuf *out)
{
    weir_strbuf_push(out, *any ? ',' : '{');
    weir_strbuf_append(out, name, size);
    weir_strbuf_text(out, "=\"");
    put_label_value(value, out);
    weir_strbuf_push(out, '"');
    *any = true;
}

/* {topic="orders",status="ok",pipeline="revenue",le="0.1"}; nothing without labels. */
static void put_labels(enum weir_metric metric,
                       const char *const *values,
                       const char *pipeline,
                       const char *le,
                       struct weir_strbuf *out)
{
    bool any = false;
    const char *name = weir_metric_row(metric)->labels;
    for (size_t i = 0; i < weir_metric_label_count(metric); i++) {
        size_t size = strcspn(name, ",");
        put_label(name, size, values[i], &any, out);
        name += size + 1;
    }
    if (pipeline != NULL) {
        put_label("pipeline", 8, pipeline, &any, out);
    }
    if (le != NULL) {
        put_label("le", 2, le, &any, out);
    }
    if (any) {
        weir_strbuf_push(out, '}');
    }
}

/* 1500000000 → 1.5 */
static void put_seconds(int64_t ns, struct weir_strbuf *out)
{
    uint64_t size = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    char digits[16];
    snprintf(digits, sizeof(digits), "%09llu", (unsigned long long)(size % 1000000000));
    size_t used = 9;
    while (used > 0 && digits[used - 1] == '0') {
        used--;
    }
    weir_strbuf_printf(out, "%s%llu", ns < 0 ? "-" : "", (unsigned long long)(size / 1000000000));
    if (used > 0) {
        weir_strbuf_push(out, '.');
        weir_strbuf_append(out, digits, used);
    }
}

static void put_value(enum weir_metric metric, int64_t value, struct weir_strbuf *out)
{
    if (weir_metric_row(metric)->unit == WEIR_UNIT_SECONDS) {
        put_seconds(value, out);
    } else {
        weir_strbuf_printf(out, "%lld", (long long)value);
    }
}

static void put_sample(enum weir_metric metric,
                       const char *const *labels,
                       const char *pipeline,
                       int64_t value,
                       struct weir_strbuf *out)
{
    weir_strbuf_text(out, weir_metric_row(metric)->name);
    put_labels(metric, labels, pipeline, NULL, out);
    weir_strbuf_push(out, ' ');
    put_value(metric, value, out);
    weir_strbuf_push(out, '\n');
}

static void put_head(enum weir_metric metric, struct weir_strbuf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const struct weir_metric_row *row = weir_metric_row(metric);
    weir_strbuf_printf(out, "# HELP %s ", row->name);
    weir_strbuf_text(out, row->help);
    weir_strbuf_printf(out, "\n# TYPE %s %s\n", row->name, types[row->type]);
}

static void put_histogram(const struct weir_metrics *metrics,
                          const struct weir_metric_series *series,
                          struct weir_strbuf *out)
{
    const char *const *labels = (const char *const *)series->labels;
    const char *name = weir_metric_row(series->metric)->name;
    struct weir_metric_total total = {0};
    weir_metric_series_add(metrics, series, &total);
    const int64_t *bounds;
    size_t count = weir_metric_bounds(series->metric, &bounds);
    uint64_t below = 0;
    for (size_t i = 0; i <= count; i++) {
        char le[32] = "+Inf";
        if (i < count) {
            snprintf(le, sizeof(le), "%.10g", (double)bounds[i] / (double)WEIR_NS_PER_S);
        }
        below += total.buckets[i];
        weir_strbuf_printf(out, "%s_bucket", name);
        put_labels(series->metric, labels, metrics->pipeline, le, out);
        weir_strbuf_printf(out, " %llu\n", (unsigned long long)below);
    }
    weir_strbuf_printf(out, "%s_sum", name);
    put_labels(series->metric, labels, metrics->pipeline, NULL, out);
    weir_strbuf_push(out, ' ');
    put_seconds((int64_t)total.sum_ns, out);
    weir_strbuf_printf(out, "\n%s_count", name);
    put_labels(series->metric, labels, metrics->pipeline, NULL, out);
    weir_strbuf_printf(out, " %llu\n", (unsigned long long)total.count);
}

/* False: a gauge that is out of sight. */
static bool series_shown(const struct weir_metric_series *series)
{
    return weir_metric_row(series->metric)->type != WEIR_METRIC_GAUGE ||
           atomic_load_explicit(&series->cells[0]->gauge.value, memory_order_relaxed) != INT64_MIN;
}

static void put_series(const struct weir_metrics *metrics,
                       const struct weir_metric_series *series,
                       struct weir_strbuf *out)
{
    const char *const *labels = (const char *const *)series->labels;
    switch (weir_metric_row(series->metric)->type) {
    case WEIR_METRIC_COUNTER:
        put_sample(series->metric, labels, metrics->pipeline,
                   (int64_t)weir_metric_series_count(metrics, series), out);
        break;
    case WEIR_METRIC_GAUGE:
        put_sample(series->metric, labels, metrics->pipeline,
                   atomic_load_explicit(&series->cells[0]->gauge.value, memory_order_relaxed), out);
        break;
    case WEIR_METRIC_HISTOGRAM:
        put_histogram(metrics, series, out);
        break;
    }
}

/* Bytes of resident memory; -1 where /proc does not tell. */
static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long long total_pages = 0, resident_pages = 0;
    bool told = file != NULL && fscanf(file, "%lld %lld", &total_pages, &resident_pages) == 2;
    if (file != NULL) {
        fclose(file);
    }
    return told ? resident_pages * sysconf(_SC_PAGESIZE) : -1;
}

static int64_t cpu_ns(void)
{
    struct rusage usage;
    WEIR_ASSERT(getrusage(RUSAGE_SELF, &usage) == 0);
    int64_t us = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000) +
                 usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    return us * 1000;
}

static void put_process(struct weir_strbuf *out)
{
    int64_t resident = resident_bytes();
    if (resident >= 0) {
        put_head(WEIR_METRIC_RESIDENT_MEMORY, out);
        put_sample(WEIR_METRIC_RESIDENT_MEMORY, WEIR_NO_LABELS, NULL, resident, out);
    }
    put_head(WEIR_METRIC_CPU, out);
    put_sample(WEIR_METRIC_CPU, WEIR_NO_LABELS, NULL, cpu_ns(), out);
    put_head(WEIR_METRIC_BUILD, out);
    put_sample(WEIR_METRIC_BUILD, WEIR_LABELS(WEIR_VERSION), NULL, 1, out);
}

void weir_metrics_render(struct weir_metrics *const *all, size_t count, struct weir_strbuf *out)
{
    for (int metric = 0; metric < WEIR_METRIC_COUNT; metric++) {
        bool any = false;
        for (size_t i = 0; i < count; i++) {
            pthread_mutex_lock(&all[i]->lock);
            for (const struct weir_metric_series *series = all[i]->families[metric].first;
                 series != NULL; series = series->next) {
                if (!series_shown(series)) {
                    continue;
                }
                if (!any) {
                    put_head((enum weir_metric)metric, out);
                    any = true;
                }
                put_series(all[i], series, out);
            }
            pthread_mutex_unlock(&all[i]->lock);
        }
    }
    put_process(out);
}

/* --- /status -----------------------------------------------------------------------------------*/

/* "NAME":[{"topic":"orders","status":"ok","count":3},…] */
static void put_json_counter(struct weir_metrics *metrics,
                             enum weir_metric metric,
                             const char *name,
                             struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "\"%s\":[", name);
    pthread_mutex_lock(&metrics->lock);
    for (const struct weir_metric_series *series = metrics->families[metric].first; series != NULL;
         series = series->next) {
        weir_strbuf_text(out, series == metrics->families[metric].first ? "{" : ",{");
        const char *label = weir_metric_row(metric)->labels;
        for (size_t i = 0; i < weir_metric_label_count(metric); i++) {
            size_t size = strcspn(label, ",");
            weir_strbuf_printf(out, "\"%.*s\":", (int)size, label);
            weir_quote_json(weir_slice_of(series->labels[i]), out);
            weir_strbuf_push(out, ',');
            label += size + 1;
        }
        weir_strbuf_printf(out, "\"count\":%llu}",
                           (unsigned long long)weir_metric_series_count(metrics, series));
    }
    pthread_mutex_unlock(&metrics->lock);
    weir_strbuf_push(out, ']');
}

static void put_json_quantiles(struct weir_metrics *metrics,
                               enum weir_metric metric,
                               const char *name,
                               struct weir_strbuf *out)
{
    struct weir_quantiles q = weir_metrics_quantiles(metrics, metric);
    weir_strbuf_printf(out, "\"%s\":{\"count\":%llu,\"p50_seconds\":", name,
                       (unsigned long long)q.count);
    put_seconds(q.p50_ns, out);
    weir_strbuf_text(out, ",\"p95_seconds\":");
    put_seconds(q.p95_ns, out);
    weir_strbuf_text(out, ",\"p99_seconds\":");
    put_seconds(q.p99_ns, out);
    weir_strbuf_text(out, ",\"max_seconds\":");
    put_seconds(q.max_ns, out);
    weir_strbuf_push(out, '}');
}

void weir_metrics_status(struct weir_metrics *metrics, struct weir_strbuf *out)
{
    put_json_counter(metrics, WEIR_METRIC_MESSAGES, "messages", out);
    weir_strbuf_push(out, ',');
    put_json_counter(metrics, WEIR_METRIC_ERRORS, "errors", out);
    weir_strbuf_push(out, ',');
    put_json_counter(metrics, WEIR_METRIC_EPOCHS, "epochs", out);
    weir_strbuf_text(out, ",\"latency\":{");
    put_json_quantiles(metrics, WEIR_METRIC_PROCESSING, "processing", out);
    weir_strbuf_push(out, ',');
    put_json_quantiles(metrics, WEIR_METRIC_END_TO_END, "end_to_end", out);
    weir_strbuf_push(out, ',');
    put_json_quantiles(metrics, WEIR_METRIC_EPOCH_TIME, "epoch", out);
    weir_strbuf_push(out, ',');
    put_json_quantiles(metrics, WEIR_METRIC_PAUSE, "pause", out);
    weir_strbuf_push(out, '}');
}

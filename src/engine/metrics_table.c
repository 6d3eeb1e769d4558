/* SPDX-License-Identifier: Apache-2.0
 *
 * The readers of the metric table: its rows, the buckets of histograms, and the reference page. The
 * buckets are part of the promise too: a dashboard that adds up two versions of weir needs the same
 * bounds in both.
 */
#include "engine/metrics.h"

#include "base/assert.h"

static const struct weir_metric_row rows[WEIR_METRIC_COUNT] = {
#define X(id, name, type, unit, labels, help, query)                                               \
    [WEIR_METRIC_##id] = {name, WEIR_METRIC_##type, WEIR_UNIT_##unit, labels, help, query},
    WEIR_METRIC_MAP(X)
#undef X
};

#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define S INT64_C(1000000000)

/* Work inside the process: from ten microseconds to ten seconds. */
static const int64_t short_bounds[] = {10 * US, 50 * US,   100 * US, 500 * US, 1 * MS,   5 * MS,
                                       10 * MS, 25 * MS,   50 * MS,  100 * MS, 250 * MS, 500 * MS,
                                       1 * S,   2500 * MS, 5 * S,    10 * S};
/* What other systems take part in: from a millisecond to a day. */
static const int64_t long_bounds[] = {1 * MS,   5 * MS,   10 * MS, 25 * MS,   50 * MS,  100 * MS,
                                      250 * MS, 500 * MS, 1 * S,   2500 * MS, 5 * S,    10 * S,
                                      30 * S,   60 * S,   300 * S, 3600 * S,  86400 * S};

const struct weir_metric_row *weir_metric_row(enum weir_metric metric)
{
    WEIR_ASSERT((unsigned)metric < WEIR_METRIC_COUNT);
    return &rows[metric];
}

size_t weir_metric_bounds(enum weir_metric metric, const int64_t **ret_bounds)
{
    WEIR_ASSERT(weir_metric_row(metric)->type == WEIR_METRIC_HISTOGRAM);
    bool is_long = metric == WEIR_METRIC_END_TO_END;
    size_t count = is_long ? sizeof(long_bounds) / sizeof(long_bounds[0])
                           : sizeof(short_bounds) / sizeof(short_bounds[0]);
    WEIR_ASSERT(count <= WEIR_METRIC_BOUNDS_MAX);
    *ret_bounds = is_long ? long_bounds : short_bounds;
    return count;
}

static void docs_labels(const char *labels, struct weir_strbuf *out)
{
    if (labels[0] == '\0') {
        weir_strbuf_text(out, "none");
        return;
    }
    weir_strbuf_push(out, '`');
    for (const char *at = labels; *at != '\0'; at++) {
        if (*at == ',') {
            weir_strbuf_text(out, "`, `");
        } else {
            weir_strbuf_push(out, *at);
        }
    }
    weir_strbuf_push(out, '`');
}

void weir_metrics_docs(struct weir_strbuf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    static const char *const units[] = {"count", "bytes", "seconds"};
    weir_strbuf_text(
        out,
        "# Metrics\n\n"
        "`GET /metrics` answers in the Prometheus text format, version 0.0.4. Names and labels do\n"
        "not change between versions; new ones may be added. Counters start at 0 with the "
        "process.\n"
        "A metric with labels appears when its first series does. When several pipelines run in\n"
        "one process, each series also has the label `pipeline`.\n\n"
        "| metric | type | unit | labels |\n|---|---|---|---|\n");
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        const struct weir_metric_row *row = &rows[i];
        weir_strbuf_printf(out, "| [`%s`](#%s) | %s | %s | ", row->name, row->name,
                           types[row->type], units[row->unit]);
        docs_labels(row->labels, out);
        weir_strbuf_text(out, " |\n");
    }
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        const struct weir_metric_row *row = &rows[i];
        weir_strbuf_printf(out, "\n## %s\n\n%s\n", row->name, row->help);
        if (row->type == WEIR_METRIC_HISTOGRAM) {
            const int64_t *bounds;
            size_t count = weir_metric_bounds((enum weir_metric)i, &bounds);
            weir_strbuf_text(out, "\nBuckets (seconds):");
            for (size_t j = 0; j < count; j++) {
                weir_strbuf_printf(out, " %.10g", (double)bounds[j] / (double)S);
            }
            weir_strbuf_text(out, "\n");
        }
        weir_strbuf_printf(out, "\n```promql\n%s\n```\n", row->query);
    }
}

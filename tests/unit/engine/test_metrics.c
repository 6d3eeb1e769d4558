/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: what writers count is what readers see, in the form Prometheus reads, and never without
 * bound. Method: exact expositions, quantiles against sorted observations, several threads at once,
 * and the rules of the format checked on the whole table.
 */
#include "engine/metrics.h"

#include <ctype.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

static char *rendered(struct weir_metrics *metrics)
{
    struct weir_strbuf out;
    weir_strbuf_init(&out, 16 * 1024 * 1024);
    weir_metrics_render(&metrics, 1, &out);
    assert_false(out.failed);
    return out.data;
}

static void test_counter_and_gauge(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(2, NULL);
    const char *const *labels = WEIR_LABELS("or\"d\\e\nrs\xff", "ok");
    struct weir_counter *first = weir_metrics_counter(metrics, WEIR_METRIC_MESSAGES, 0, labels);
    struct weir_counter *second = weir_metrics_counter(metrics, WEIR_METRIC_MESSAGES, 1, labels);
    assert_ptr_not_equal(first, second);
    assert_ptr_equal(first, weir_metrics_counter(metrics, WEIR_METRIC_MESSAGES, 0, labels));
    weir_counter_add(first, 5);
    weir_counter_add(second, 2);
    weir_metrics_count(metrics, WEIR_METRIC_MESSAGES, 3, labels);
    weir_metrics_count(metrics, WEIR_METRIC_MESSAGES, 1, WEIR_LABELS("orders", "dead"));
    assert_int_equal(weir_metrics_value(metrics, WEIR_METRIC_MESSAGES, labels), 10);
    assert_int_equal(weir_metrics_sum(metrics, WEIR_METRIC_MESSAGES), 11);
    assert_int_equal(
        weir_metrics_value(metrics, WEIR_METRIC_MESSAGES, WEIR_LABELS("orders", "late")), 0);

    struct weir_gauge *lag =
        weir_metrics_gauge(metrics, WEIR_METRIC_LAG_TIME, WEIR_LABELS("source.kafka", "o", "3"));
    struct weir_gauge *hidden =
        weir_metrics_gauge(metrics, WEIR_METRIC_LAG_TIME, WEIR_LABELS("source.kafka", "o", "4"));
    weir_gauge_set(lag, 1500000000);
    weir_gauge_set(hidden, 7);
    weir_gauge_clear(hidden);
    char *text = rendered(metrics);
    assert_non_null(strstr(text,
                           "# TYPE stream_messages_processed_total counter\n"
                           "stream_messages_processed_total{topic=\"or\\\"d\\\\e\\nrs\xef\xbf\xbd\""
                           ",status=\"ok\"} 10\n"
                           "stream_messages_processed_total{topic=\"orders\",status=\"dead\"} 1\n"
                           "# HELP"));
    assert_non_null(strstr(
        text, "# TYPE stream_consumer_lag_seconds gauge\n"
              "stream_consumer_lag_seconds{source=\"source.kafka\",topic=\"o\",partition=\"3\"} "
              "1.5\n#"));
    assert_non_null(strstr(text, "\nweir_build_info{version=\"" WEIR_VERSION "\"} 1\n"));
    assert_non_null(strstr(text, "\nprocess_resident_memory_bytes "));
    assert_non_null(strstr(text, "\nprocess_cpu_seconds_total "));
    free(text);
    weir_metrics_free(metrics);
}

static void test_histogram(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(1, "revenue");
    struct weir_histogram *time =
        weir_metrics_histogram(metrics, WEIR_METRIC_PROCESSING, 0, WEIR_NO_LABELS);
    weir_histogram_add(time, 10000, 1); /* exactly a bound belongs below it */
    weir_histogram_add(time, 10001, 2);
    weir_histogram_add(time, -5, 1);
    weir_histogram_add(time, INT64_C(11000000000), 1);
    char *text = rendered(metrics);
    assert_non_null(
        strstr(text, "stream_processing_seconds_bucket{pipeline=\"revenue\",le=\"1e-05\"} 2\n"
                     "stream_processing_seconds_bucket{pipeline=\"revenue\",le=\"5e-05\"} 4\n"));
    assert_non_null(strstr(text,
                           "le=\"10\"} 4\n"
                           "stream_processing_seconds_bucket{pipeline=\"revenue\",le=\"+Inf\"} 5\n"
                           "stream_processing_seconds_sum{pipeline=\"revenue\"} 11.000030002\n"
                           "stream_processing_seconds_count{pipeline=\"revenue\"} 5\n"));
    free(text);
    weir_metrics_free(metrics);
}

static void test_several_pipelines_form_one_family(void **state)
{
    (void)state;
    struct weir_metrics *all[] = {weir_metrics_new(1, "a"), weir_metrics_new(1, "b")};
    for (int i = 0; i < 2; i++) {
        weir_metrics_count(all[i], WEIR_METRIC_EPOCHS, 1, WEIR_LABELS("committed"));
    }
    struct weir_strbuf out;
    weir_strbuf_init(&out, 100000);
    weir_metrics_render(all, 2, &out);
    assert_non_null(strstr(out.data,
                           "# TYPE stream_epochs_total counter\n"
                           "stream_epochs_total{result=\"committed\",pipeline=\"a\"} 1\n"
                           "stream_epochs_total{result=\"committed\",pipeline=\"b\"} 1\n#"));
    weir_strbuf_done(&out);
    weir_metrics_free(all[0]);
    weir_metrics_free(all[1]);
}

static int compare(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void assert_near(int64_t got, int64_t expected)
{
    int64_t allowed = expected / 31 + 1;
    assert_in_range(got, expected - allowed, expected + allowed);
}

static void test_quantiles(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static int64_t values[COUNT];
    struct weir_metrics *metrics = weir_metrics_new(1, NULL);
    struct weir_histogram *time =
        weir_metrics_histogram(metrics, WEIR_METRIC_EPOCH_TIME, 0, WEIR_NO_LABELS);
    struct weir_quantiles none = weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME);
    assert_true(none.count == 0 && none.p50_ns == 0 && none.max_ns == 0);
    struct weir_random random;
    weir_random_init(&random, 7);
    for (int i = 0; i < COUNT; i++) {
        values[i] = (int64_t)(weir_random_next(&random) >> (2 + weir_random_below(&random, 60)));
        weir_histogram_add(time, values[i], 1);
    }
    qsort(values, COUNT, sizeof(values[0]), compare);
    struct weir_quantiles q = weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME);
    assert_int_equal(q.count, COUNT);
    assert_near(q.p50_ns, values[COUNT / 2 - 1]);
    assert_near(q.p95_ns, values[COUNT * 95 / 100 - 1]);
    assert_near(q.p99_ns, values[COUNT * 99 / 100 - 1]);
    assert_near(q.max_ns, values[COUNT - 1]);

    weir_metrics_tick(metrics);
    assert_int_equal(weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME).count, COUNT);
    weir_histogram_add(time, 1000000, 10);
    weir_metrics_tick(metrics);
    q = weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME);
    assert_int_equal(q.count, 10);
    assert_near(q.p50_ns, 1000000);
    assert_near(q.max_ns, 1000000);
    weir_metrics_tick(metrics);
    assert_int_equal(weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME).count, 0);
    assert_int_equal(weir_metrics_value(metrics, WEIR_METRIC_EPOCH_TIME, WEIR_NO_LABELS),
                     COUNT + 10);
    weir_metrics_free(metrics);
}

static void test_extremes_of_the_histogram(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(1, NULL);
    struct weir_histogram *time =
        weir_metrics_histogram(metrics, WEIR_METRIC_EPOCH_TIME, 0, WEIR_NO_LABELS);
    for (int bit = 0; bit < 63; bit++) {
        int64_t value = INT64_C(1) << bit;
        weir_histogram_add(time, value - 1, 1);
        weir_histogram_add(time, value, 1);
        struct weir_quantiles q = weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME);
        assert_near(q.max_ns, value);
    }
    weir_histogram_add(time, INT64_MAX, 1);
    assert_int_equal(weir_metrics_quantiles(metrics, WEIR_METRIC_EPOCH_TIME).count, 127);
    weir_metrics_free(metrics);
}

static void test_labels_are_bounded(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(1, NULL);
    struct weir_counter *last = NULL;
    struct weir_gauge *gauge = NULL;
    for (int i = 0; i < 10003; i++) {
        char topic[300];
        snprintf(topic, sizeof(topic), "%d", i);
        last = weir_metrics_counter(metrics, WEIR_METRIC_MESSAGES, 0, WEIR_LABELS(topic, "ok"));
        weir_counter_add(last, 1);
        gauge = weir_metrics_gauge(metrics, WEIR_METRIC_LAG, WEIR_LABELS("s", "t", topic));
        weir_gauge_set(gauge, i);
    }
    assert_int_equal(weir_metrics_sum(metrics, WEIR_METRIC_MESSAGES), 10003);
    assert_int_equal(
        weir_metrics_value(metrics, WEIR_METRIC_MESSAGES, WEIR_LABELS("other", "other")), 3);
    assert_int_equal(
        weir_metrics_value(metrics, WEIR_METRIC_SERIES_DROPPED, WEIR_LABELS("stream_consumer_lag")),
        3);
    char *text = rendered(metrics);
    assert_non_null(strstr(text, "partition=\"9999\"} 9999\n"));
    assert_null(strstr(text, "partition=\"10000\""));
    free(text);
    char name[1001];
    memset(name, 'x', 1000);
    name[1000] = '\0';
    struct weir_counter *cut =
        weir_metrics_counter(metrics, WEIR_METRIC_ERRORS, 0, WEIR_LABELS(name, "io"));
    assert_ptr_equal(cut,
                     weir_metrics_counter(metrics, WEIR_METRIC_ERRORS, 0, WEIR_LABELS(name, "io")));
    weir_metrics_free(metrics);
}

enum { THREADS = 3, ROUNDS = 200000 };

struct job {
    struct weir_metrics *metrics;
    unsigned writer;
};

static void *job_main(void *argument)
{
    const struct job *job = argument;
    struct weir_counter *counter = weir_metrics_counter(job->metrics, WEIR_METRIC_MESSAGES,
                                                        job->writer, WEIR_LABELS("orders", "ok"));
    struct weir_histogram *time =
        weir_metrics_histogram(job->metrics, WEIR_METRIC_PROCESSING, job->writer, WEIR_NO_LABELS);
    for (int i = 0; i < ROUNDS; i++) {
        weir_counter_add(counter, 1);
        weir_histogram_add(time, i, 1);
        if (i % 1000 == 0) {
            weir_metrics_count(job->metrics, WEIR_METRIC_EPOCHS, 1, WEIR_LABELS("committed"));
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(THREADS, NULL);
    struct job jobs[THREADS];
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        jobs[i] = (struct job){metrics, i};
        assert_int_equal(pthread_create(&threads[i], NULL, job_main, &jobs[i]), 0);
    }
    int64_t before = 0;
    for (int i = 0; i < 20; i++) {
        free(rendered(metrics));
        weir_metrics_tick(metrics);
        int64_t now = weir_metrics_sum(metrics, WEIR_METRIC_MESSAGES);
        assert_true(now >= before);
        before = now;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(weir_metrics_sum(metrics, WEIR_METRIC_MESSAGES), THREADS * ROUNDS);
    assert_int_equal(weir_metrics_sum(metrics, WEIR_METRIC_PROCESSING), THREADS * ROUNDS);
    assert_int_equal(weir_metrics_sum(metrics, WEIR_METRIC_EPOCHS), THREADS * ROUNDS / 1000);
    weir_metrics_free(metrics);
}

static void test_status(void **state)
{
    (void)state;
    struct weir_metrics *metrics = weir_metrics_new(1, NULL);
    weir_metrics_count(metrics, WEIR_METRIC_ERRORS, 2, WEIR_LABELS("sink.\"k\"", "io"));
    weir_histogram_add(weir_metrics_histogram(metrics, WEIR_METRIC_EPOCH_TIME, 0, WEIR_NO_LABELS),
                       5, 3);
    struct weir_strbuf out;
    weir_strbuf_init(&out, 10000);
    weir_metrics_status(metrics, &out);
    assert_string_equal(
        out.data,
        "\"messages\":[],\"errors\":[{\"component\":\"sink.\\\"k\\\"\",\"type\":\"io\",\"count\":2}"
        "],"
        "\"epochs\":[],\"latency\":{"
        "\"processing\":{\"count\":0,\"p50_seconds\":0,\"p95_seconds\":0,\"p99_seconds\":0,"
        "\"max_seconds\":0},"
        "\"end_to_end\":{\"count\":0,\"p50_seconds\":0,\"p95_seconds\":0,\"p99_seconds\":0,"
        "\"max_seconds\":0},"
        "\"epoch\":{\"count\":3,\"p50_seconds\":0.000000005,\"p95_seconds\":0.000000005,"
        "\"p99_seconds\":0.000000005,\"max_seconds\":0.000000005},"
        "\"pause\":{\"count\":0,\"p50_seconds\":0,\"p95_seconds\":0,\"p99_seconds\":0,"
        "\"max_seconds\":0}}");
    weir_strbuf_done(&out);
    weir_metrics_free(metrics);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void test_table_keeps_the_conventions(void **state)
{
    (void)state;
    struct weir_strbuf docs;
    weir_strbuf_init(&docs, 100000);
    weir_metrics_docs(&docs);
    assert_false(docs.failed);
    for (int i = 0; i < WEIR_METRIC_COUNT; i++) {
        const struct weir_metric_row *row = weir_metric_row((enum weir_metric)i);
        for (const char *at = row->name; *at != '\0'; at++) {
            assert_true(islower((unsigned char)*at) || *at == '_');
        }
        assert_int_equal(ends_with(row->name, "_total"), row->type == WEIR_METRIC_COUNTER);
        if (row->unit == WEIR_UNIT_SECONDS) {
            assert_non_null(strstr(row->name, "_seconds"));
        }
        if (row->unit == WEIR_UNIT_BYTES) {
            assert_true(ends_with(row->name, "_bytes"));
        }
        assert_true(ends_with(row->help, "."));
        assert_null(strpbrk(row->help, "\\\n"));
        char heading[128];
        snprintf(heading, sizeof(heading), "\n## %s\n", row->name);
        assert_non_null(strstr(docs.data, heading));
        if (row->type == WEIR_METRIC_HISTOGRAM) {
            const int64_t *bounds;
            size_t count = weir_metric_bounds((enum weir_metric)i, &bounds);
            for (size_t j = 1; j < count; j++) {
                assert_true(bounds[j] > bounds[j - 1]);
            }
        }
    }
    weir_strbuf_done(&docs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counter_and_gauge),
        cmocka_unit_test(test_histogram),
        cmocka_unit_test(test_several_pipelines_form_one_family),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_extremes_of_the_histogram),
        cmocka_unit_test(test_labels_are_bounded),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_table_keeps_the_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

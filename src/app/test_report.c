/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports of `weir test`. Durations are left out: a case takes no time that means anything, and a
 * report without them is the same whenever the cases are.
 */
#include "app/test_report.h"

#include "app/test_text.h"
#include "base/alloc.h"

struct weir_test_verdict *weir_test_report_add(struct weir_test_report *report,
                                               const char *file,
                                               int line,
                                               const char *name,
                                               bool passed,
                                               const char *text)
{
    report->items = weir_realloc(report->items, report->count + 1, sizeof(*report->items));
    struct weir_test_verdict *verdict = &report->items[report->count++];
    *verdict = (struct weir_test_verdict){.file = weir_strdup(file),
                                          .name = weir_strdup(name),
                                          .line = line,
                                          .passed = passed,
                                          .text = weir_strdup(text)};
    report->failed += !passed;
    return verdict;
}

void weir_test_report_done(struct weir_test_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        weir_free(report->items[i].file);
        weir_free(report->items[i].name);
        weir_free(report->items[i].text);
    }
    weir_free(report->items);
}

void weir_test_report_put_text(const struct weir_test_verdict *verdict, struct weir_strbuf *out)
{
    if (verdict->passed) {
        weir_strbuf_printf(out, "ok    %s\n", verdict->name);
    } else {
        weir_strbuf_printf(out, "FAIL  %s (%s:%d)\n%s", verdict->name, verdict->file, verdict->line,
                           verdict->text);
    }
}

static void put_string(const char *text, struct weir_strbuf *out)
{
    weir_test_put_text(weir_slice_of(text), out);
}

void weir_test_report_put_json(const struct weir_test_report *report, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "{\"passed\":%zu,\"failed\":%zu,\"cases\":[",
                       report->count - report->failed, report->failed);
    for (size_t i = 0; i < report->count; i++) {
        const struct weir_test_verdict *verdict = &report->items[i];
        weir_strbuf_printf(out, "%s\n{\"file\":", i == 0 ? "" : ",");
        put_string(verdict->file, out);
        weir_strbuf_printf(out, ",\"line\":%d,\"name\":", verdict->line);
        put_string(verdict->name, out);
        weir_strbuf_printf(out, ",\"passed\":%s,\"difference\":",
                           verdict->passed ? "true" : "false");
        put_string(verdict->text, out);
        weir_strbuf_push(out, '}');
    }
    weir_strbuf_text(out, "]}\n");
}

/* XML 1.0 has no place for most control characters, escaped or not. */
static void put_xml(const char *text, struct weir_strbuf *out)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        switch (c) {
        case '<':
            weir_strbuf_text(out, "&lt;");
            break;
        case '>':
            weir_strbuf_text(out, "&gt;");
            break;
        case '&':
            weir_strbuf_text(out, "&amp;");
            break;
        case '"':
            weir_strbuf_text(out, "&quot;");
            break;
        default:
            weir_strbuf_push(out, c < 0x20 && c != '\n' && c != '\t' ? '?' : (char)c);
        }
    }
}

void weir_test_report_put_junit(const struct weir_test_report *report, struct weir_strbuf *out)
{
    weir_strbuf_printf(out,
                       "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                       "<testsuites tests=\"%zu\" failures=\"%zu\">\n",
                       report->count, report->failed);
    for (size_t first = 0, last; first < report->count; first = last) {
        const char *file = report->items[first].file;
        size_t failed = 0;
        for (last = first; last < report->count && strcmp(report->items[last].file, file) == 0;
             last++) {
            failed += !report->items[last].passed;
        }
        weir_strbuf_text(out, "<testsuite name=\"");
        put_xml(file, out);
        weir_strbuf_printf(out, "\" tests=\"%zu\" failures=\"%zu\">\n", last - first, failed);
        for (size_t i = first; i < last; i++) {
            const struct weir_test_verdict *verdict = &report->items[i];
            weir_strbuf_text(out, "<testcase classname=\"");
            put_xml(file, out);
            weir_strbuf_text(out, "\" name=\"");
            put_xml(verdict->name, out);
            weir_strbuf_printf(out, "\" line=\"%d\"", verdict->line);
            if (verdict->passed) {
                weir_strbuf_text(out, "/>\n");
            } else {
                weir_strbuf_text(out, "><failure message=\"the outputs differ\">");
                put_xml(verdict->text, out);
                weir_strbuf_text(out, "</failure></testcase>\n");
            }
        }
        weir_strbuf_text(out, "</testsuite>\n");
    }
    weir_strbuf_text(out, "</testsuites>\n");
}

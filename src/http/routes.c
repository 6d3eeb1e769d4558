/* SPDX-License-Identifier: Apache-2.0
 *
 * The routes. Paths are compared byte by byte and no path ever reaches the file system; an escaped
 * or doubled slash is simply another path, and unknown.
 */
#include "http/routes.h"

#include <string.h>

#include "base/quote.h"

/* {"ready":false,"reasons":["…"]}, from lines. */
static unsigned
answer_health(const char *name, bool good, struct weir_slice lines, struct weir_strbuf *out)
{
    weir_strbuf_printf(out, "{\"%s\":%s,\"reasons\":[", name, good ? "true" : "false");
    const char *separator = "";
    while (lines.size > 0) {
        const char *newline = memchr(lines.data, '\n', lines.size);
        size_t size = newline == NULL ? lines.size : (size_t)(newline - lines.data);
        if (size > 0) {
            weir_strbuf_text(out, separator);
            weir_quote_json((struct weir_slice){lines.data, size}, out);
            separator = ",";
        }
        size += newline == NULL ? 0 : 1;
        lines.data += size;
        lines.size -= size;
    }
    weir_strbuf_text(out, "]}\n");
    return good ? 200 : 503;
}

static unsigned ask_health(const char *name,
                           bool (*ask)(void *context, struct weir_strbuf *reasons),
                           void *context,
                           struct weir_strbuf *out)
{
    struct weir_strbuf reasons;
    weir_strbuf_init(&reasons, WEIR_HTTP_ANSWER_MAX / 8);
    bool good = ask == NULL || ask(context, &reasons);
    unsigned status = answer_health(name, good, weir_strbuf_view(&reasons), out);
    weir_strbuf_done(&reasons);
    return status;
}

static unsigned answer_livez(const struct weir_view *view, struct weir_strbuf *out)
{
    return ask_health("live", view->live, view->context, out);
}

static unsigned answer_readyz(const struct weir_view *view, struct weir_strbuf *out)
{
    return ask_health("ready", view->ready, view->context, out);
}

static unsigned answer_metrics(const struct weir_view *view, struct weir_strbuf *out)
{
    view->metrics(view->context, out);
    return 200;
}

static unsigned answer_status(const struct weir_view *view, struct weir_strbuf *out)
{
    view->status(view->context, out);
    weir_strbuf_push(out, '\n');
    return 200;
}

static unsigned answer_state(const struct weir_view *view, struct weir_strbuf *out)
{
    view->state(view->context, out);
    weir_strbuf_push(out, '\n');
    return 200;
}

static unsigned answer_index(const struct weir_view *view, struct weir_strbuf *out);

static const struct weir_http_route routes[] = {
    {"/", "text/plain; charset=utf-8", "This list.", answer_index, false},
    {"/livez", "application/json",
     "200 while the process works, else 503 with the reasons: restart it.", answer_livez, true},
    {"/readyz", "application/json",
     "200 when the pipeline does its work, else 503 with the reasons.", answer_readyz, true},
    {"/status", "application/json",
     "What runs: graph, partitions, positions, lag, watermarks, epochs, errors, latencies.",
     answer_status, false},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8",
     "Metrics in the Prometheus text format.", answer_metrics, true},
    {"/state", "application/json",
     "What steps keep, per step and partition: keys, bytes, clock, as of the last commit.",
     answer_state, false},
    {"/state/get", "application/x-ndjson",
     "`?key=KEY`, and `&step=NAME`: the entries of a key, as `weir state get` shows them.", NULL,
     false},
};

enum { ROUTES = sizeof(routes) / sizeof(routes[0]) };

static unsigned answer_index(const struct weir_view *view, struct weir_strbuf *out)
{
    (void)view;
    weir_strbuf_text(out, "weir " WEIR_VERSION "\n\n");
    for (size_t i = 0; i < ROUTES; i++) {
        weir_strbuf_printf(out, "%-10s %s\n", routes[i].path, routes[i].summary);
    }
    return 200;
}

const struct weir_http_route *weir_http_route_find(const char *path)
{
    for (size_t i = 0; i < ROUTES; i++) {
        if (strcmp(routes[i].path, path) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

void weir_http_docs(struct weir_strbuf *out)
{
    weir_strbuf_text(
        out,
        "# HTTP\n\n"
        "The admin server listens on 127.0.0.1:9600, or on a free port if that is taken; the log\n"
        "says which. `http: {listen: 127.0.0.1:9700}` sets it, and then a taken port is an error;\n"
        "`http: off` turns it off. It answers requests whose `Host` is a loopback address,\n"
        "`localhost` or the configured host; others get 421.\n\n"
        "Other machines reach it with `http: {listen: 0.0.0.0:9600, token: "
        "'${file:/run/secrets/t}'}`.\n"
        "Everything but `/livez`, `/readyz` and `/metrics` then asks for `Authorization: Bearer` "
        "and\n"
        "the token (else 401), and `Host` may be any IP address. An address that is not loopback\n"
        "without a guard is a configuration error. `tls: {cert: FILE, key: FILE}` encrypts, and "
        "with\n"
        "`clients: FILE` a client that shows a certificate of the authorities in it needs no "
        "token;\n"
        "`Host` may then be anything. The files are read again on SIGHUP.\n\n"
        "Methods are GET and HEAD (else 405), paths are exact (else 404). A request has 8 KiB for\n"
        "its line and headers (else 431), 64 KiB for a body, which is ignored (else 413), and "
        "five\n"
        "seconds; 32 connections are served at a time.\n\n"
        "`/state/get` searches the tables of the running pipeline while it works, at most a fifth "
        "of its\n"
        "time, for three seconds. It shows what is committed, never what an open commit has made "
        "of it;\n"
        "what is committed during the search is shown as it was before or after. 404: nothing is "
        "kept for\n"
        "the key. 503: eight others are waiting, the search took too long, or the process has no\n"
        "partitions (it stands by, restores or ends); `weir state get FILE` reads the state log "
        "instead.\n"
        "Where a process runs several pipelines, `&pipeline=NAME` says which (else 400).\n\n"
        "| path | type | answer |\n|---|---|---|\n");
    for (size_t i = 0; i < ROUTES; i++) {
        weir_strbuf_printf(out, "| `%s` | `%s` | %s |\n", routes[i].path, routes[i].type,
                           routes[i].summary);
    }
}

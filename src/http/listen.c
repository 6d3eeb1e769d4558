/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses are read with inet_pton and never looked up: whether a configuration is safe must not
 * depend on what a name server answers. "localhost" stands for 127.0.0.1.
 */
#include "http/listen.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* HOST[:PORT] or [HOST][:PORT] in two pieces; port.data == NULL: none. False: not of that form. */
static bool split(struct weir_slice text, struct weir_slice *ret_host, struct weir_slice *ret_port)
{
    const char *end = text.data + text.size;
    const char *host = text.data, *after;
    bool bracket = text.size > 0 && text.data[0] == '[';
    if (bracket) {
        host++;
        after = memchr(host, ']', (size_t)(end - host));
        if (after == NULL) {
            return false;
        }
    } else {
        after = memchr(host, ':', text.size);
        after = after == NULL ? end : after;
    }
    *ret_host = (struct weir_slice){host, (size_t)(after - host)};
    after += bracket ? 1 : 0;
    *ret_port = (struct weir_slice){0};
    if (after < end) {
        if (*after != ':') {
            return false;
        }
        *ret_port = (struct weir_slice){after + 1, (size_t)(end - after - 1)};
    }
    return !bracket || memchr(ret_host->data, ':', ret_host->size) != NULL;
}

static bool port_parse(struct weir_slice text, uint16_t *ret_port)
{
    unsigned port = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i >= 5) {
            return false;
        }
        port = port * 10 + (unsigned)(text.data[i] - '0');
    }
    *ret_port = (uint16_t)port;
    return text.size > 0 && port <= UINT16_MAX;
}

enum host_kind { HOST_LOOPBACK, HOST_ELSEWHERE, HOST_NO_ADDRESS };

static enum host_kind host_kind(const char *host)
{
    struct in_addr four;
    struct in6_addr six;
    if (strcasecmp(host, "localhost") == 0) {
        return HOST_LOOPBACK;
    }
    if (inet_pton(AF_INET, host, &four) == 1) {
        return ntohl(four.s_addr) >> 24 == 127 ? HOST_LOOPBACK : HOST_ELSEWHERE;
    }
    if (inet_pton(AF_INET6, host, &six) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&six) ? HOST_LOOPBACK : HOST_ELSEWHERE;
    }
    return HOST_NO_ADDRESS;
}

struct weir_http_listen weir_http_listen_default(void)
{
    return (struct weir_http_listen){.host = "127.0.0.1", .port = WEIR_HTTP_PORT};
}

weir_status weir_http_listen_parse(struct weir_slice text,
                                   const char *token,
                                   const struct weir_http_tls *tls,
                                   struct weir_http_listen *ret_listen,
                                   struct weir_err *err)
{
    struct weir_http_listen listen = weir_http_listen_default();
    listen.token = token;
    listen.tls = tls;
    if (weir_slice_equal(text, WEIR_SLICE("off"))) {
        listen.off = true;
        *ret_listen = listen;
        return WEIR_OK;
    }
    struct weir_slice host, port;
    if (text.size == 0 || !split(text, &host, &port) || host.size >= sizeof(listen.host) ||
        memchr(host.data, '\0', host.size) != NULL) {
        weir_fail(err, WEIR_CONFIG, "\"%.*s\" is not an address", WEIR_SLICE_ARG(text));
        weir_err_hint(err, "Write HOST:PORT, for example 127.0.0.1:9600, or off.");
        return WEIR_CONFIG;
    }
    if (port.data != NULL) {
        listen.exact = true;
        if (!port_parse(port, &listen.port)) {
            weir_fail(err, WEIR_CONFIG, "\"%.*s\" is not a port", WEIR_SLICE_ARG(port));
            weir_err_hint(err, "A port is a number from 1 to 65535; 0 takes a free one.");
            return WEIR_CONFIG;
        }
    }
    if (host.size > 0) {
        snprintf(listen.host, sizeof(listen.host), "%.*s", WEIR_SLICE_ARG(host));
    }
    switch (host_kind(listen.host)) {
    case HOST_LOOPBACK:
        break;
    case HOST_ELSEWHERE:
        listen.elsewhere = true;
        if (token == NULL && (tls == NULL || tls->clients == NULL)) {
            weir_fail(err, WEIR_CONFIG, "%s can be reached from other machines", listen.host);
            weir_err_hint(
                err,
                "Nothing guards it: set http.token, best as token: ${file:/path}, or http.tls with "
                "`clients`, or listen on 127.0.0.1 or [::1].");
            return WEIR_CONFIG;
        }
        break;
    case HOST_NO_ADDRESS:
        weir_fail(err, WEIR_CONFIG, "\"%s\" is not an address", listen.host);
        weir_err_hint(err, "Names are not looked up; write 127.0.0.1, [::1] or localhost.");
        return WEIR_CONFIG;
    }
    *ret_listen = listen;
    return WEIR_OK;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

bool weir_http_listen_equal(const struct weir_http_listen *a, const struct weir_http_listen *b)
{
    return a->off == b->off && a->port == b->port && a->exact == b->exact &&
           strcmp(a->host, b->host) == 0 && same(a->token, b->token) &&
           (a->tls == NULL || b->tls == NULL
                ? a->tls == b->tls
                : same(a->tls->cert, b->tls->cert) && same(a->tls->key, b->tls->key) &&
                      same(a->tls->clients, b->tls->clients));
}

bool weir_http_token_matches(const char *token, const char *authorization)
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof(scheme) - 1;
    const char *given = authorization;
    if (given == NULL || strncasecmp(given, scheme, skip) != 0) {
        return false;
    }
    given += skip;
    /* Every byte of what was given is looked at, so that time tells nothing of the token. */
    size_t size = strlen(token), given_size = strlen(given);
    volatile unsigned char differs = size != given_size;
    for (size_t i = 0; i < given_size; i++) {
        differs = (unsigned char)(differs | (given[i] ^ token[size == 0 ? 0 : i % size]));
    }
    return differs == 0;
}

bool weir_http_host_allowed(const struct weir_http_listen *listen, const char *host_header)
{
    struct weir_slice host, port;
    uint16_t number;
    char name[256];
    if (!split(weir_slice_of(host_header), &host, &port) || host.size >= sizeof(name) ||
        (port.size > 0 && !port_parse(port, &number))) {
        return false;
    }
    /* Which port is named does not matter: a tunnel has another, and the name is what tells. */
    snprintf(name, sizeof(name), "%.*s", WEIR_SLICE_ARG(host));
    enum host_kind kind = host_kind(name);
    return kind == HOST_LOOPBACK || (kind == HOST_ELSEWHERE && listen->elsewhere) ||
           strcasecmp(name, listen->host) == 0;
}

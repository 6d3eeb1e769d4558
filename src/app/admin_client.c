/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1.0, because its answers come in one piece and end with the connection: no lengths, no
 * chunks, nothing to reuse. TLS is left to curl, which the guide shows.
 */
#include "app/admin_client.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADERS_MAX = 64 << 10, PATIENCE_S = 10 };

void weir_admin_escape(const char *text, struct weir_strbuf *out)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text != '\0'; text++) {
        if (strchr(plain, *text) != NULL) {
            weir_strbuf_push(out, *text);
        } else {
            weir_strbuf_printf(out, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
}

/* "http://[::1]:9600/" → "::1", "9600". */
static bool split(const char *base, char host[256], char port[8])
{
    const char *at = strncmp(base, "http://", 7) == 0 ? base + 7 : base;
    size_t size = strcspn(at, "/");
    const char *colon = memrchr(at, ':', size);
    bool is_literal = at[0] == '[';
    if (strstr(at, "://") != NULL || at[size + (at[size] == '/')] != '\0' || colon == NULL) {
        return false;
    }
    size_t host_size = (size_t)(colon - at), port_size = size - host_size - 1;
    if (is_literal && (host_size < 2 || at[host_size - 1] != ']')) {
        return false;
    }
    at += is_literal;
    host_size -= is_literal ? 2 : 0;
    if (host_size == 0 || host_size > 255 || port_size == 0 || port_size > 5 ||
        strspn(colon + 1, "0123456789") != port_size) {
        return false;
    }
    snprintf(host, 256, "%.*s", (int)host_size, at);
    snprintf(port, 8, "%.*s", (int)port_size, colon + 1);
    return true;
}

static int dial(const char *host, const char *port, struct weir_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port, &hints, &found), fd = -1;
    const char *why = code == 0 ? "no address" : gai_strerror(code);
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (fd >= 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
        }
        if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0) {
            why = strerror(errno);
            close(fd);
            fd = -1;
        }
    }
    if (found != NULL) {
        freeaddrinfo(found);
    }
    if (fd < 0) {
        (void)!weir_fail(err, WEIR_UNAVAILABLE, "%s port %s: %s", host, port, why);
        weir_err_hint(err, "The log of the process says where its http server listens.");
    }
    return fd;
}

static bool talk(int fd, const struct weir_strbuf *request, struct weir_strbuf *answer)
{
    for (size_t sent = 0; sent < request->size;) {
        ssize_t size = send(fd, request->data + sent, request->size - sent, MSG_NOSIGNAL);
        if (size <= 0) {
            return false;
        }
        sent += (size_t)size;
    }
    char part[65536];
    ssize_t size;
    while ((size = recv(fd, part, sizeof(part), 0)) > 0 && !answer->failed) {
        weir_strbuf_append(answer, part, (size_t)size);
    }
    return size == 0 && !answer->failed;
}

/* The status and where the body begins; 0: this is no HTTP. */
static int read_head(const struct weir_strbuf *answer, size_t *ret_body)
{
    struct weir_slice text = weir_strbuf_view(answer);
    const char *end =
        memmem(text.data, text.size < HEADERS_MAX ? text.size : HEADERS_MAX, "\r\n\r\n", 4);
    if (end == NULL || text.size < 12 || memcmp(text.data, "HTTP/1.", 7) != 0) {
        return 0;
    }
    *ret_body = (size_t)(end + 4 - text.data);
    const char *code = text.data + 9;
    int number = 0;
    for (size_t i = 0; i < 3 && code[i] >= '0' && code[i] <= '9'; i++) {
        number = number * 10 + (code[i] - '0');
    }
    return number;
}

static weir_status judge(const char *base,
                         const struct weir_strbuf *answer,
                         struct weir_strbuf *out,
                         struct weir_err *err)
{
    size_t begin = 0;
    int code = read_head(answer, &begin);
    struct weir_slice body = {answer->data + begin, answer->size - begin};
    if (code == 200) {
        weir_strbuf_slice(out, body);
        return out->failed ? weir_fail(err, WEIR_TOO_LARGE, "the answer is too large") : WEIR_OK;
    }
    if (code == 0) {
        return weir_fail(err, WEIR_REJECTED, "%s does not speak HTTP", base);
    }
    while (body.size > 0 && body.data[body.size - 1] == '\n') {
        body.size--;
    }
    weir_status status =
        weir_fail(err, code == 401 ? WEIR_DENIED : WEIR_REJECTED, "%s: %.*s", base,
                  (int)(body.size < 200 ? body.size : 200), body.data);
    if (code == 401) {
        weir_err_hint(err, "WEIR_HTTP_TOKEN is to hold it.");
    }
    return status;
}

weir_status weir_admin_get(const char *base,
                           const char *path,
                           const char *token,
                           struct weir_strbuf *out,
                           struct weir_err *err)
{
    char host[256], port[8];
    if (!split(base, host, port)) {
        weir_status status =
            weir_fail(err, WEIR_CONFIG, "\"%.200s\" is not http://HOST:PORT", base);
        weir_err_hint(err, "With TLS: curl --cacert FILE -H 'Authorization: Bearer TOKEN' "
                           "'https://HOST:PORT/state'");
        return status;
    }
    int fd = dial(host, port, err);
    if (fd < 0) {
        return err->status;
    }
    struct weir_strbuf request, answer;
    weir_strbuf_init(&request, HEADERS_MAX);
    weir_strbuf_init(&answer, out->limit + HEADERS_MAX);
    weir_strbuf_printf(&request, "GET %s HTTP/1.0\r\nHost: ", path);
    weir_strbuf_printf(&request, strchr(host, ':') == NULL ? "%s:%s\r\n" : "[%s]:%s\r\n", host,
                       port);
    if (token != NULL) {
        weir_strbuf_printf(&request, "Authorization: Bearer %s\r\n", token);
    }
    weir_strbuf_text(&request, "\r\n");
    weir_status status =
        request.failed ? weir_fail(err, WEIR_TOO_LARGE, "the question is too large")
        : talk(fd, &request, &answer)
            ? judge(base, &answer, out, err)
            : weir_fail(err, WEIR_UNAVAILABLE, "%s: %s", base,
                        answer.failed    ? "the answer is too large"
                        : errno == EAGAIN ? "no answer within ten seconds"
                                          : "the connection broke");
    close(fd);
    explicit_bzero(request.data, request.size);
    weir_strbuf_done(&request);
    weir_strbuf_done(&answer);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * libmicrohttpd parses and sends; this file owns the socket, the thread and the clock.
 *
 * The library's own time-out starts anew with every byte, so a client that sends one byte in four
 * seconds would hold a connection for ever. Therefore the loop is ours: it waits on the library's
 * epoll descriptor, keeps a deadline per connection (from the accept, or from the end of the last
 * answer, to the end of the next), and shuts the socket down when it has passed; the library then
 * sees the end of the connection and cleans up.
 *
 * A request that is refused is answered as soon as its headers are there, and the library closes
 * the connection behind it. A body that belongs to a request we answer is read and dropped, within
 * its limit.
 */
#include "http/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/wake.h"
#include "http/routes.h"
#include "http/tls.h"

/* From its headers to the end of its answer. */
struct request {
    size_t body; /* bytes that have come */
    struct weir_inquiry *inquiry;
    bool waited; /* for its answer, as long as it may */
};

struct connection {
    bool used;
    int fd;
    int64_t deadline_ns;
    /* It waits for the engine: */
    struct MHD_Connection *waiting; /* NULL: it does not */
    struct request *request;
    int64_t patience_ns;
};

struct weir_http {
    struct weir_http_listen listen;
    char *token;                      /* listen.token */
    struct weir_http_tls_files files; /* as long as the library runs */
    bool is_encrypted, knows_clients;
    const struct weir_view *view;
    struct weir_log log;
    struct MHD_Daemon *daemon;
    int listen_fd, wake_fd;
    uint16_t port;
    bool running; /* the thread exists */
    pthread_t thread;
    struct connection connections[WEIR_HTTP_CONNECTIONS_MAX]; /* the thread's */
};

static int64_t now_ns(void)
{
    return weir_clock_monotonic_ns(weir_clock_system());
}

static int64_t next_deadline_ns(void)
{
    return now_ns() + WEIR_HTTP_TIMEOUT_MS * WEIR_NS_PER_MS;
}

/* --- connections -------------------------------------------------------------------------------*/

static int fd_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    WEIR_ASSERT(info != NULL);
    return info->connect_fd;
}

static struct connection *connection_find(struct weir_http *self, bool used, int fd)
{
    for (size_t i = 0; i < WEIR_HTTP_CONNECTIONS_MAX; i++) {
        struct connection *at = &self->connections[i];
        if (at->used == used && (!used || at->fd == fd)) {
            return at;
        }
    }
    return NULL;
}

/* --- answers -----------------------------------------------------------------------------------*/

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES) {
        weir_panic(__FILE__, __LINE__, "out of memory");
    }
}

/* Takes the buffer. */
static enum MHD_Result send_answer(struct MHD_Connection *connection,
                                   unsigned status,
                                   const char *type,
                                   struct weir_strbuf *body)
{
    static const char *const headers[][2] = {
        {"Cache-Control", "no-store"},
        {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Referrer-Policy", "no-referrer"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
    };
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        weir_strbuf_done(body);
        return MHD_NO;
    }
    add_header(response, "Content-Type", type);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        add_header(response, headers[i][0], headers[i][1]);
    }
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        add_header(response, "Allow", "GET, HEAD");
    }
    if (status == MHD_HTTP_UNAUTHORIZED) {
        add_header(response, "WWW-Authenticate", "Bearer");
    }
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
refuse(struct MHD_Connection *connection, unsigned status, const char *reason)
{
    struct weir_strbuf body;
    weir_strbuf_init(&body, 1024);
    weir_strbuf_printf(&body, "%u %s\n", status, reason);
    return send_answer(connection, status, "text/plain; charset=utf-8", &body);
}

static enum MHD_Result
count_hosts(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind, (void)value;
    *(int *)context += strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0 ? 1 : 0;
    return MHD_YES;
}

/* A browser always sends Host; the probes of load balancers in HTTP/1.0 need not. */
static bool host_allowed(struct weir_http *self, struct MHD_Connection *connection)
{
    int hosts = 0;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_hosts, &hosts);
    const char *host =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    /* With TLS no other name leads here: its certificate would not be ours. */
    return hosts == 0 || self->is_encrypted ||
           (hosts == 1 && host != NULL && weir_http_host_allowed(&self->listen, host));
}

static bool client_allowed(const struct weir_http *self,
                           struct MHD_Connection *connection,
                           const struct weir_http_route *route)
{
    if ((self->token == NULL && !self->knows_clients) || (route != NULL && route->is_open)) {
        return true;
    }
    const char *given =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    if (self->token != NULL && weir_http_token_matches(self->token, given)) {
        return true;
    }
    const union MHD_ConnectionInfo *info =
        !self->knows_clients
            ? NULL
            : MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info != NULL && weir_http_tls_knows(info->tls_session);
}

static bool body_allowed(struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length == NULL || strtoull(length, NULL, 10) <= WEIR_HTTP_BODY_MAX;
}

/* What can be refused from the headers alone. */
static enum MHD_Result check_headers(struct weir_http *self,
                                     struct MHD_Connection *connection,
                                     const char *url,
                                     const char *method)
{
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (size == NULL || size->header_size > WEIR_HTTP_HEADERS_MAX) {
        return refuse(connection, 431, "the headers are too large");
    }
    if (!host_allowed(self, connection)) {
        return refuse(connection, 421, "this host name is not served here");
    }
    if (!body_allowed(connection)) {
        return refuse(connection, 413, "the body is too large");
    }
    const struct weir_http_route *route = weir_http_route_find(url);
    if (!client_allowed(self, connection, route)) {
        return refuse(connection, MHD_HTTP_UNAUTHORIZED,
                      self->token != NULL
                          ? "send the token of http.token: Authorization: Bearer TOKEN"
                          : "show a certificate of the authorities in http.tls.clients");
    }
    if (route == NULL) {
        return refuse(connection, 404, "no such path; / lists what there is");
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return refuse(connection, 405, "only GET and HEAD");
    }
    return MHD_YES;
}

/* --- questions to the engine -------------------------------------------------------------------*/

/* Part of the query, to be freed; NULL: not there. */
static char *argument(struct MHD_Connection *connection, const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    char *copy = value == NULL ? NULL : weir_strdup(value);
    if (copy != NULL) {
        MHD_http_unescape(copy);
    }
    return copy;
}

/* The connection rests until the engine has answered (serve_waiting). */
static enum MHD_Result
ask(struct weir_http *self, struct MHD_Connection *connection, struct request *request)
{
    char *pipeline = argument(connection, "pipeline"), *step = argument(connection, "step");
    char *key = argument(connection, "key");
    unsigned status = 400;
    const char *why = "say which key: ?key=KEY";
    if (key != NULL) {
        request->inquiry =
            self->view->ask(self->view->context, pipeline, step, key, &status, &why);
    }
    weir_free(pipeline);
    weir_free(step);
    weir_free(key);
    if (request->inquiry == NULL) {
        return refuse(connection, status, why);
    }
    struct connection *at = connection_find(self, true, fd_of(connection));
    WEIR_ASSERT(at != NULL);
    at->waiting = connection;
    at->request = request;
    at->patience_ns = now_ns() + WEIR_HTTP_PATIENCE_MS * WEIR_NS_PER_MS;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static enum MHD_Result answer_inquiry(struct MHD_Connection *connection,
                                      const struct weir_http_route *route,
                                      const struct weir_inquiry *inquiry)
{
    static const char elsewhere[] = "; `weir state get FILE` reads the state log";
    char text[256];
    const char *why = "the pipeline does not answer";
    unsigned status = 503;
    switch (weir_inquiry_end(inquiry)) {
    case WEIR_INQUIRY_FOUND: {
        struct weir_strbuf body;
        weir_strbuf_init(&body, WEIR_HTTP_ANSWER_MAX);
        weir_strbuf_slice(&body, weir_strbuf_view(weir_inquiry_answer(inquiry)));
        return send_answer(connection, 200, route->type, &body);
    }
    case WEIR_INQUIRY_NOTHING:
        return refuse(connection, 404, "nothing is kept for this key");
    case WEIR_INQUIRY_LARGE:
        status = 500;
        why = "the answer is too large";
        break;
    case WEIR_INQUIRY_LATE:
        why = "there is too much to search in time";
        break;
    case WEIR_INQUIRY_IDLE:
        why = "this process has no partitions now";
        break;
    case WEIR_INQUIRY_OPEN:
        break;
    }
    snprintf(text, sizeof(text), "%s%s", why, elsewhere);
    return refuse(connection, status, text);
}

/* Wakes the connections whose answers are there, or that have waited enough (all: each); true if
 * there is one. *wait_ms: no later than that somebody is to look again. */
static bool serve_waiting(struct weir_http *self, bool all, int64_t *wait_ms)
{
    bool any = false;
    for (size_t i = 0; i < WEIR_HTTP_CONNECTIONS_MAX; i++) {
        struct connection *at = &self->connections[i];
        if (at->waiting == NULL) {
            continue;
        }
        if (!all && weir_inquiry_end(at->request->inquiry) == WEIR_INQUIRY_OPEN &&
            now_ns() < at->patience_ns) {
            bool sooner = *wait_ms < 0 || *wait_ms > WEIR_HTTP_LOOK_MS;
            *wait_ms = sooner ? WEIR_HTTP_LOOK_MS : *wait_ms;
            continue;
        }
        at->request->waited = any = true;
        struct MHD_Connection *connection = at->waiting;
        at->waiting = NULL;
        MHD_resume_connection(connection);
    }
    return any;
}

/* --- requests ----------------------------------------------------------------------------------*/

/* The library calls this once when the headers are there, then for each piece of a body, then for
 * the answer, once more when a connection that rested goes on. */
static enum MHD_Result on_request(void *context,
                                  struct MHD_Connection *connection,
                                  const char *url,
                                  const char *method,
                                  const char *version,
                                  const char *upload,
                                  size_t *upload_size,
                                  void **request)
{
    struct weir_http *self = context;
    (void)version, (void)upload;
    struct request *own = *request;
    if (own == NULL) {
        *request = weir_calloc(1, sizeof(*own)); /* until on_completed */
        return check_headers(self, connection, url, method);
    }
    if (*upload_size > 0) {
        own->body += *upload_size;
        *upload_size = 0;
        return own->body > WEIR_HTTP_BODY_MAX ? MHD_NO /* in pieces without a length: hang up */
                                              : MHD_YES;
    }
    const struct weir_http_route *route = weir_http_route_find(url);
    WEIR_ASSERT(route != NULL);
    if (route->answer == NULL) {
        return own->waited ? answer_inquiry(connection, route, own->inquiry)
                           : ask(self, connection, own);
    }
    struct weir_strbuf body;
    weir_strbuf_init(&body, WEIR_HTTP_ANSWER_MAX);
    unsigned status = route->answer(self->view, &body);
    if (body.failed) {
        weir_strbuf_done(&body);
        return refuse(connection, 500, "the answer is too large");
    }
    return send_answer(connection, status, route->type, &body);
}

/* --- the loop -----------------------------------------------------------------------------------*/

static bool connections_full(struct weir_http *self)
{
    return connection_find(self, false, -1) == NULL;
}

static void on_connection(void *context,
                          struct MHD_Connection *connection,
                          void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct weir_http *self = context;
    (void)socket_context;
    int fd = fd_of(connection);
    bool started = code == MHD_CONNECTION_NOTIFY_STARTED;
    struct connection *at = connection_find(self, !started, fd);
    WEIR_ASSERT(at != NULL);
    *at = (struct connection){.used = started, .fd = fd, .deadline_ns = next_deadline_ns()};
}

static void on_completed(void *context,
                         struct MHD_Connection *connection,
                         void **request,
                         enum MHD_RequestTerminationCode code)
{
    struct weir_http *self = context;
    struct request *own = *request;
    (void)code;
    if (own != NULL) {
        weir_inquiry_drop(own->inquiry);
        weir_free(own);
        *request = NULL;
    }
    struct connection *at = connection_find(self, true, fd_of(connection));
    if (at != NULL) {
        at->deadline_ns = next_deadline_ns();
    }
}

/* Ends the connections whose time is up; milliseconds until the next one's is, -1: none. */
static int64_t connections_expire(struct weir_http *self)
{
    int64_t now = now_ns();
    int64_t wait_ms = -1;
    for (size_t i = 0; i < WEIR_HTTP_CONNECTIONS_MAX; i++) {
        struct connection *at = &self->connections[i];
        if (!at->used || at->deadline_ns == INT64_MAX) {
            continue;
        }
        if (now >= at->deadline_ns) {
            /* What the client did not read must not stay in the kernel: close with a reset. */
            const struct linger reset = {.l_onoff = 1};
            setsockopt(at->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
            shutdown(at->fd, SHUT_RDWR);
            at->deadline_ns = INT64_MAX; /* once; the library closes it */
            continue;
        }
        int64_t left_ms = (at->deadline_ns - now + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS;
        wait_ms = wait_ms < 0 || left_ms < wait_ms ? left_ms : wait_ms;
    }
    return wait_ms;
}

static void *thread_main(void *context)
{
    struct weir_http *self = context;
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(self->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    WEIR_ASSERT(info != NULL);
    struct pollfd fds[] = {{.fd = info->epoll_fd, .events = POLLIN},
                           {.fd = self->wake_fd, .events = POLLIN}};
    for (;;) {
        int64_t wait_ms = connections_expire(self);
        bool goes_on = serve_waiting(self, false, &wait_ms);
        MHD_UNSIGNED_LONG_LONG library_ms;
        if (MHD_get_timeout(self->daemon, &library_ms) == MHD_YES &&
            (wait_ms < 0 || library_ms < (unsigned long long)wait_ms)) {
            wait_ms = (int64_t)library_ms;
        }
        int count = poll(fds, 2, goes_on ? 0 : (int)wait_ms);
        WEIR_ASSERT(count >= 0 || errno == EINTR);
        if (fds[1].revents != 0) {
            (void)serve_waiting(self, true, &wait_ms); /* the library ends none that rests */
            return NULL;
        }
        /* At its limit the library stops to listen, and begins again only in the run after the one
         * that closed a connection; nothing would wake it for that, nor for what goes on after a
         * rest, which is answered in one run and sent in the next. */
        bool full = connections_full(self);
        WEIR_ASSERT(MHD_run(self->daemon) == MHD_YES);
        if (goes_on || (full && !connections_full(self))) {
            WEIR_ASSERT(MHD_run(self->daemon) == MHD_YES);
        }
    }
}

/* --- start and stop ----------------------------------------------------------------------------*/

static const char *listen_host(const struct weir_http *self)
{
    return strcasecmp(self->listen.host, "localhost") == 0 ? "127.0.0.1" : self->listen.host;
}

/* The socket listens, or a status says why not. */
static weir_status listen_open(struct weir_http *self, uint16_t port, struct weir_err *err)
{
    const char *host = listen_host(self);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool is_six = inet_pton(AF_INET6, host, &six.sin6_addr) == 1;
    bool is_four = inet_pton(AF_INET, host, &four.sin_addr) == 1;
    WEIR_ASSERT(is_six || is_four);
    const struct sockaddr *address =
        is_six ? (const struct sockaddr *)&six : (const struct sockaddr *)&four;
    socklen_t size = is_six ? sizeof(six) : sizeof(four);
    int on = 1;
    int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, address, size) != 0 || listen(fd, WEIR_HTTP_CONNECTIONS_MAX) != 0) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        weir_status status = error == EACCES ? WEIR_DENIED : WEIR_UNAVAILABLE;
        weir_fail(err, status, "cannot listen on %s port %u: %s", host, port, strerror(error));
        weir_err_hint(err, "Set http: listen to another port, to port 0 for any free one, or off.");
        return status;
    }
    struct sockaddr_in6 bound;
    socklen_t bound_size = sizeof(bound);
    WEIR_ASSERT(getsockname(fd, (struct sockaddr *)&bound, &bound_size) == 0);
    self->port = ntohs(bound.sin6_port); /* at the same place in both families */
    self->listen_fd = fd;
    return WEIR_OK;
}

static weir_status listen_open_any(struct weir_http *self, struct weir_err *err)
{
    struct weir_err first = {0};
    weir_status status = listen_open(self, self->listen.port, &first);
    if (status == WEIR_UNAVAILABLE && !self->listen.exact && self->listen.port != 0) {
        WEIR_LOG_WARN(&self->log, "http port is taken, using a free one",
                      WEIR_F("port", self->listen.port));
        return listen_open(self, 0, err);
    }
    if (status != WEIR_OK) {
        *err = first;
    }
    return status;
}

/* Leaves escapes as they are: paths are compared byte by byte. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static void __attribute__((format(printf, 2, 0)))
on_library_log(void *context, const char *format, va_list args)
{
    const struct weir_http *self = context;
    char text[256];
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    WEIR_LOG_DEBUG(&self->log, "http library", WEIR_F("text", (const char *)text));
}

static weir_status thread_start(struct weir_http *self, struct weir_err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control thread's */
    int error = pthread_create(&self->thread, NULL, thread_main, self);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return weir_fail(err, WEIR_FATAL, "cannot start the http thread: %s", strerror(error));
    }
    self->running = true;
    pthread_setname_np(self->thread, "weir-http");
    return WEIR_OK;
}

static weir_status read_tls(struct weir_http *self, struct weir_err *err)
{
    const struct weir_http_tls *tls = self->listen.tls;
    self->listen.tls = NULL; /* the caller's; what it says is read now */
    if (tls == NULL) {
        return WEIR_OK;
    }
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        weir_status status = weir_fail(err, WEIR_CONFIG, "libmicrohttpd was built without TLS");
        weir_err_path(err, "http.tls");
        return status;
    }
    self->is_encrypted = true;
    self->knows_clients = tls->clients != NULL;
    return weir_http_tls_read(tls, &self->files, err);
}

static weir_status start(struct weir_http *self, struct weir_err *err)
{
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (self->wake_fd < 0) {
        return weir_fail(err, WEIR_FATAL, "cannot make an eventfd: %s", strerror(errno));
    }
    weir_status status = listen_open_any(self, err);
    if (status != WEIR_OK) {
        return status;
    }
    static const char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2";
    struct MHD_OptionItem tls[] = {
        {self->is_encrypted ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, self->files.cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, self->files.key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priorities},
        {self->knows_clients ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, self->files.clients},
        {MHD_OPTION_END, 0, NULL},
    };
    self->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME |
            (self->is_encrypted ? MHD_USE_TLS : 0), 0, NULL, NULL,
        on_request, self, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, self,
        MHD_OPTION_LISTEN_SOCKET, self->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)WEIR_HTTP_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)(2 * WEIR_HTTP_HEADERS_MAX), MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, self, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, self, MHD_OPTION_NOTIFY_COMPLETED, on_completed, self, MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
    if (self->daemon == NULL) {
        return weir_fail(err, WEIR_FATAL, "cannot start the http server");
    }
    self->listen_fd = -1; /* the daemon's now */
    return thread_start(self, err);
}

weir_status weir_http_start(const struct weir_http_listen *listen,
                            const struct weir_view *view,
                            const struct weir_log *log,
                            struct weir_http **ret_http,
                            struct weir_err *err)
{
    WEIR_ASSERT(!listen->off);
    struct weir_http *self = weir_calloc(1, sizeof(*self));
    self->listen = *listen;
    self->token = listen->token == NULL ? NULL : weir_strdup(listen->token);
    self->listen.token = self->token;
    self->view = view;
    self->log = weir_log_named(log, "http");
    self->listen_fd = self->wake_fd = -1;
    weir_status status = read_tls(self, err);
    status = status == WEIR_OK ? start(self, err) : status;
    if (status != WEIR_OK) {
        weir_http_stop(self);
        return status;
    }
    char address[96];
    snprintf(address, sizeof(address), strchr(listen_host(self), ':') == NULL ? "%s:%u" : "[%s]:%u",
             listen_host(self), self->port);
    WEIR_LOG_INFO(&self->log, "http server listens", WEIR_F("address", (const char *)address));
    *ret_http = self;
    return WEIR_OK;
}

uint16_t weir_http_port(const struct weir_http *http)
{
    return http->port;
}

void weir_http_stop(struct weir_http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->running) {
        weir_wake(http->wake_fd);
        pthread_join(http->thread, NULL);
    }
    if (http->daemon != NULL) {
        MHD_stop_daemon(http->daemon);
    }
    if (http->listen_fd >= 0) {
        close(http->listen_fd);
    }
    if (http->wake_fd >= 0) {
        close(http->wake_fd);
    }
    weir_http_tls_forget(&http->files);
    if (http->token != NULL) {
        explicit_bzero(http->token, strlen(http->token));
        weir_free(http->token);
    }
    weir_free(http);
}

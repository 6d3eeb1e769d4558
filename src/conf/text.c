/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts and their lines. The line table breaks where libyaml counts a line (LF, CR, CR LF, and the
 * Unicode breaks NEL, LS and PS), because places come from libyaml as line and column; a table with
 * other breaks would put carets under the wrong line. Only valid UTF-8 without NUL gets in, so that
 * everything later may treat values as C strings.
 */
#include "conf/text.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <weir/strbuf.h>

#include "base/assert.h"
#include "base/quote.h"
#include "conf/limits.h"

/* Bytes of the line break at p, 0 if there is none. */
static size_t break_length(const char *p, size_t left)
{
    if (p[0] == '\n') {
        return 1;
    }
    if (p[0] == '\r') {
        return left > 1 && p[1] == '\n' ? 2 : 1;
    }
    if (left > 1 && p[0] == '\xc2' && p[1] == '\x85') {
        return 2;
    }
    if (left > 2 && p[0] == '\xe2' && p[1] == '\x80' && (p[2] == '\xa8' || p[2] == '\xa9')) {
        return 3;
    }
    return 0;
}

static weir_status check_bytes(const char *name, struct weir_slice bytes, struct weir_err *err)
{
    int line = 1;
    for (size_t at = 0; at < bytes.size;) {
        size_t length = weir_utf8_size(bytes.data + at, bytes.size - at);
        if (length == 0 || bytes.data[at] == '\0') {
            (void)weir_fail(err, WEIR_CONFIG, "%s at line %d",
                            length == 0 ? "not valid UTF-8" : "a NUL byte", line);
            weir_err_hint(err, "Is this a YAML file?");
            if (err != NULL) {
                err->file = name;
                err->line = line;
            }
            return WEIR_CONFIG;
        }
        line += bytes.data[at] == '\n';
        at += length;
    }
    return WEIR_OK;
}

static bool find_lines(struct weir_arena *arena, struct weir_text *text)
{
    struct weir_slice bytes = text->bytes;
    size_t count = 1;
    for (size_t at = 0; at < bytes.size;) {
        size_t length = break_length(bytes.data + at, bytes.size - at);
        count += length > 0;
        at += length > 0 ? length : 1;
    }
    size_t *lines = weir_arena_calloc(arena, count, sizeof(*lines));
    if (lines == NULL) {
        return false;
    }
    size_t line = 1;
    for (size_t at = 0; at < bytes.size;) {
        size_t length = break_length(bytes.data + at, bytes.size - at);
        at += length > 0 ? length : 1;
        if (length > 0) {
            WEIR_ASSERT(line < count);
            lines[line++] = at;
        }
    }
    text->lines = lines;
    text->line_count = (int)count;
    return true;
}

/* A password in a URL (SCHEME://USER:PASSWORD@HOST) is nowhere allowed, and still not shown. */
static void mask_logins(struct weir_arena *arena, struct weir_text *text)
{
    const char *at = text->bytes.data, *end = at + text->bytes.size;
    while ((at = memmem(at, (size_t)(end - at), "://", 3)) != NULL) {
        at += 3;
        size_t size = strcspn(at, "/ \t\r\n'\"`,}");
        const char *host = memrchr(at, '@', size);
        const char *colon = host == NULL ? NULL : memchr(at, ':', (size_t)(host - at));
        if (colon != NULL && colon + 1 < host) {
            weir_text_mask_range(arena, text, (size_t)(colon + 1 - text->bytes.data),
                                 (size_t)(host - text->bytes.data));
        }
    }
}

struct weir_text *weir_text_new(struct weir_arena *arena,
                                const char *name,
                                struct weir_slice bytes,
                                struct weir_err *err)
{
    if (bytes.size >= 3 && memcmp(bytes.data, "\xef\xbb\xbf", 3) == 0) {
        bytes.data += 3;
        bytes.size -= 3;
    }
    if (bytes.size > WEIR_CONF_FILE_BYTES_MAX) {
        (void)weir_fail(err, WEIR_CONFIG, "larger than %d bytes", WEIR_CONF_FILE_BYTES_MAX);
        return NULL;
    }
    if (check_bytes(name, bytes, err) != WEIR_OK) {
        return NULL;
    }
    struct weir_text *text = weir_arena_calloc(arena, 1, sizeof(*text));
    if (text != NULL) {
        text->name = weir_arena_strdup(arena, name);
        text->bytes = weir_arena_copy(arena, bytes.data == NULL ? WEIR_SLICE("") : bytes);
    }
    if (text == NULL || text->name == NULL || text->bytes.data == NULL ||
        !find_lines(arena, text)) {
        (void)weir_fail(err, WEIR_LIMIT, "out of memory");
        return NULL;
    }
    mask_logins(arena, text);
    return text;
}

static weir_status read_all(int fd, struct weir_strbuf *buf, struct weir_err *err)
{
    char chunk[16384];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return weir_fail(err, WEIR_CONFIG, "cannot be read: %s", strerror(errno));
        }
        if (got == 0) {
            return WEIR_OK;
        }
        weir_strbuf_append(buf, chunk, (size_t)got);
        if (buf->failed) {
            return weir_fail(err, WEIR_CONFIG, "larger than %d bytes", WEIR_CONF_FILE_BYTES_MAX);
        }
    }
}

struct weir_text *weir_text_read(struct weir_arena *arena, const char *path, struct weir_err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)weir_fail(err, WEIR_CONFIG, "cannot be opened: %s", strerror(errno));
        return NULL;
    }
    struct weir_strbuf buf;
    weir_strbuf_init(&buf, WEIR_CONF_FILE_BYTES_MAX + 3);
    struct weir_text *text = NULL;
    if (read_all(fd, &buf, err) == WEIR_OK) {
        const char *name = is_stdin ? "<stdin>" : path;
        text = weir_text_new(arena, name, weir_strbuf_view(&buf), err);
    }
    struct stat info;
    if (text != NULL && fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
        text->mode = info.st_mode & 07777u;
    }
    weir_strbuf_done(&buf);
    if (!is_stdin) {
        (void)close(fd);
    }
    return text;
}

static size_t line_end(const struct weir_text *text, int line)
{
    size_t end = line < text->line_count ? text->lines[line] : text->bytes.size;
    size_t start = text->lines[line - 1];
    while (end > start &&
           (text->bytes.data[end - 1] == '\n' || text->bytes.data[end - 1] == '\r')) {
        end--;
    }
    return end;
}

void weir_text_locate(const struct weir_text *text, size_t offset, int *ret_line, int *ret_column)
{
    if (offset > text->bytes.size) {
        offset = text->bytes.size;
    }
    int low = 0;
    int high = text->line_count - 1;
    while (low < high) {
        int middle = low + (high - low + 1) / 2;
        if (text->lines[middle] <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    int column = 1;
    for (size_t at = text->lines[low]; at < offset; at++) {
        column += ((unsigned char)text->bytes.data[at] & 0xc0u) != 0x80u;
    }
    *ret_line = low + 1;
    *ret_column = column;
}

size_t weir_text_offset(const struct weir_text *text, int line, int column)
{
    if (line < 1) {
        return 0;
    }
    if (line > text->line_count) {
        return text->bytes.size;
    }
    size_t at = text->lines[line - 1];
    size_t end = line_end(text, line);
    for (int i = 1; i < column && at < end; i++) {
        at++;
        while (at < end && ((unsigned char)text->bytes.data[at] & 0xc0u) == 0x80u) {
            at++;
        }
    }
    return at;
}

struct weir_slice weir_text_line(const struct weir_text *text, int line)
{
    WEIR_ASSERT(line >= 1);
    WEIR_ASSERT(line <= text->line_count);
    size_t start = text->lines[line - 1];
    return (struct weir_slice){text->bytes.data + start, line_end(text, line) - start};
}

void weir_text_mask_range(struct weir_arena *arena,
                          struct weir_text *text,
                          size_t start,
                          size_t end)
{
    struct weir_text_mask *mask = weir_arena_calloc(arena, 1, sizeof(*mask));
    if (mask != NULL) {
        *mask = (struct weir_text_mask){start, end, text->masks};
        text->masks = mask;
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The readers of the status table, and the error on the caller's stack.
 */
#include <weir/status.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct status_row {
    const char *name, *text;
    enum weir_class class;
};

static const struct status_row status_rows[WEIR_STATUS_COUNT] = {
#define X(id, label, words, level) [WEIR_##id] = {label, words, WEIR_CLASS_##level},
    WEIR_STATUS_MAP(X)
#undef X
};

const char *weir_status_name(weir_status status)
{
    return status_rows[status].name;
}

const char *weir_status_text(weir_status status)
{
    return status_rows[status].text;
}

enum weir_class weir_status_class(weir_status status)
{
    return status_rows[status].class;
}

weir_status weir_fail(struct weir_err *err, weir_status status, const char *format, ...)
{
    if (err != NULL && err->status == WEIR_OK) {
        err->status = status;
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof(err->message), format, args);
        va_end(args);
    }
    return status;
}

void weir_err_hint(struct weir_err *err, const char *format, ...)
{
    if (err != NULL && err->hint[0] == '\0') {
        va_list args;
        va_start(args, format);
        vsnprintf(err->hint, sizeof(err->hint), format, args);
        va_end(args);
    }
}

void weir_err_path(struct weir_err *err, const char *part)
{
    if (err == NULL) {
        return;
    }
    char rest[sizeof(err->path)];
    memcpy(rest, err->path, sizeof(rest));
    snprintf(err->path, sizeof(err->path), "%s%s%.100s", part, rest[0] == '\0' ? "" : ".", rest);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Names in a key-value bucket. A key is the end of a subject, so it must neither be a wildcard nor
 * have an empty token; beyond that it is what the clients of all languages agree on.
 */
#include "nats_api.h"

bool nats_key_is_legal(struct weir_slice text)
{
    bool is_empty = true; /* the token so far */
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool is_dot = c == '.';
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '=' || c == '/' || (is_dot && !is_empty);
        if (!fits) {
            return false;
        }
        is_empty = is_dot;
    }
    return !is_empty && text.size <= NATS_NAME_MAX;
}

weir_status nats_bucket_check(const char *bucket, struct weir_err *err)
{
    for (const char *at = bucket; *at != '\0'; at++) {
        if (!((*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
              (*at >= '0' && *at <= '9') || *at == '_' || *at == '-')) {
            weir_status status =
                weir_fail(err, WEIR_CONFIG, "\"%s\" cannot be the name of a bucket", bucket);
            weir_err_hint(err, "Letters, digits, - and _.");
            weir_err_path(err, "bucket");
            return status;
        }
    }
    return WEIR_OK;
}

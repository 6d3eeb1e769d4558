/* SPDX-License-Identifier: Apache-2.0
 *
 * An entry says its size, so that the next one is found without reading it; its checksum says
 * whether that is to be believed.
 */
#include "state/log_entry.h"

#include <string.h>
#include <xxhash.h>

const char weir_log_header_magic[8] = "weirlog1";
const char weir_log_entry_magic[4] = "WEPO";

size_t weir_log_entry_span(const char *at, size_t left)
{
    if (left < WEIR_LOG_ENTRY_HEAD + WEIR_LOG_CHECKSUM ||
        memcmp(at, weir_log_entry_magic, sizeof(weir_log_entry_magic)) != 0) {
        return 0;
    }
    size_t size = weir_log_get_u32(at + 4);
    return size < WEIR_LOG_ENTRY_HEAD + WEIR_LOG_CHECKSUM || size > left ||
                   size > WEIR_LOG_ENTRY_MAX
               ? 0
               : size;
}

size_t weir_log_entry_size(const char *at, size_t left)
{
    size_t size = weir_log_entry_span(at, left);
    if (size == 0) {
        return 0;
    }
    uint64_t checksum = XXH3_64bits(at, size - WEIR_LOG_CHECKSUM);
    return checksum == weir_log_get_u64(at + size - WEIR_LOG_CHECKSUM) ? size : 0;
}

const char *weir_log_section_name(const char **at, const char *end)
{
    const char *name = *at;
    const char *stop = memchr(name, '\0', (size_t)(end - name));
    if (stop == NULL) {
        return NULL;
    }
    *at = stop + 1;
    return name;
}

const char *
weir_log_entry_next(const char *entry, size_t size, int type, const char **at, size_t *ret_size)
{
    const char *end = entry + size - WEIR_LOG_CHECKSUM;
    *at = *at == NULL ? entry + WEIR_LOG_ENTRY_HEAD : *at;
    while (end - *at >= WEIR_LOG_SECTION_HEAD) {
        const char *section = *at;
        size_t content = weir_log_get_u32(section + 1);
        if (content > (size_t)(end - section) - WEIR_LOG_SECTION_HEAD) {
            return NULL;
        }
        *at = section + WEIR_LOG_SECTION_HEAD + content;
        if (section[0] == type) {
            *ret_size = content;
            return section + WEIR_LOG_SECTION_HEAD;
        }
    }
    return NULL;
}

bool weir_log_entry_has_frames(const char *entry, size_t size)
{
    const char *at = NULL;
    size_t content;
    return weir_log_entry_next(entry, size, WEIR_LOG_FRAME, &at, &content) != NULL;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of the state log (their form is in state/state_log.h): numbers, and how an entry is
 * walked. A reader believes nothing that a checksum has not confirmed.
 */
#ifndef WEIR_STATE_LOG_ENTRY_H
#define WEIR_STATE_LOG_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include <weir/slice.h>
#include <weir/strbuf.h>

enum {
    WEIR_LOG_FORMAT = 1,
    WEIR_LOG_ENTRY_MAX = 1 << 28, /* a larger size field is damage */
    WEIR_LOG_ENTRY_HEAD = 16,     /* magic, size, epoch */
    WEIR_LOG_CHECKSUM = 8,
    WEIR_LOG_SECTION_HEAD = 5,
    WEIR_LOG_POSITION = 1, /* types of sections */
    WEIR_LOG_MARK = 2,
    WEIR_LOG_FRAME = 3,
};

extern const char weir_log_header_magic[8];
extern const char weir_log_entry_magic[4];

static inline void weir_log_put_u32(struct weir_strbuf *buf, uint32_t value)
{
    uint8_t bytes[4];
    for (int i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
    weir_strbuf_append(buf, bytes, sizeof(bytes));
}

static inline void weir_log_put_u64(struct weir_strbuf *buf, uint64_t value)
{
    weir_log_put_u32(buf, (uint32_t)value);
    weir_log_put_u32(buf, (uint32_t)(value >> 32));
}

static inline uint32_t weir_log_get_u32(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        value |= (uint32_t)(uint8_t)at[i] << (8 * i);
    }
    return value;
}

static inline uint64_t weir_log_get_u64(const char *at)
{
    return (uint64_t)weir_log_get_u32(at) | (uint64_t)weir_log_get_u32(at + 4) << 32;
}

static inline void weir_log_set_u32(struct weir_strbuf *buf, size_t at, uint32_t value)
{
    for (size_t i = 0; i < 4; i++) {
        buf->data[at + i] = (char)(uint8_t)(value >> (8 * i));
    }
}

/* The size that an entry at `at` says it has, 0 if there is none. */
size_t weir_log_entry_span(const char *at, size_t left);
/* The size of a sound entry at `at`, 0 if there is none. */
size_t weir_log_entry_size(const char *at, size_t left);
/* Of an entry that has a size. */
static inline uint64_t weir_log_entry_epoch(const char *entry)
{
    return weir_log_get_u64(entry + 8);
}

/* A name that ends within the section; NULL otherwise. Moves *at behind it. */
const char *weir_log_section_name(const char **at, const char *end);
/* The sections of a type, one after the other; NULL behind the last, or where one is torn. Start
 * with *at == NULL. */
const char *
weir_log_entry_next(const char *entry, size_t size, int type, const char **at, size_t *ret_size);
bool weir_log_entry_has_frames(const char *entry, size_t size);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Trying a server out, for `weir check --connect`. A stream that weir would make at the start is
 * not missing. What may be published a server tells only when something is: that is not asked.
 */
#include "nats_probe.h"

static weir_status probe_stream(const struct nats_probe *probe,
                                struct nats_client *client,
                                struct weir_arena *arena,
                                struct weir_err *err)
{
    bool is_made = probe->manage == NATS_MANAGE_CREATE && probe->subjects.count > 0;
    if (probe->stream == NULL || is_made) {
        return WEIR_OK;
    }
    struct weir_value info;
    const struct nats_stream_spec spec = {.name = probe->stream, .manage = probe->manage};
    weir_status status = nats_stream_ensure(client, &spec, arena, &info, err);
    if (status != WEIR_OK) {
        weir_err_path(err, "stream");
    }
    return status;
}

static weir_status probe_subject(const struct nats_probe *probe,
                                 struct nats_client *client,
                                 struct weir_arena *arena,
                                 struct weir_err *err)
{
    const char *found = NULL;
    if (probe->subject == NULL || probe->subjects.count > 0) {
        return WEIR_OK; /* records name it, or the stream that is made keeps it */
    }
    weir_status status = nats_stream_of(client, probe->subject, arena, &found, err);
    if (status == WEIR_OK && found == NULL) {
        status = weir_fail(err, WEIR_CONFIG, "no stream keeps the subject %s", probe->subject);
        weir_err_hint(err, "Write `stream` and `subjects`, from which weir makes one, or add the "
                           "subject to a stream.");
    }
    if (status != WEIR_OK) {
        weir_err_path(err, "subject");
    }
    return status;
}

weir_status nats_probe_try(const struct nats_probe *probe, struct weir_err *err)
{
    struct nats_client *client = nats_client_open(probe->address, "weir check", err);
    if (client == NULL) {
        return err->status;
    }
    struct weir_arena arena;
    weir_arena_init(&arena, 0);
    weir_status status = probe_stream(probe, client, &arena, err);
    status = status == WEIR_OK ? probe_subject(probe, client, &arena, err) : status;
    weir_arena_done(&arena);
    nats_client_free(client);
    return status;
}

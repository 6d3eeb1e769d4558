/* SPDX-License-Identifier: Apache-2.0
 *
 * Goal: after an aborted epoch the local sources deliver again what was not committed, and the file
 * sink takes back what it had written: the output is the input, once and in order. Method: real
 * pipelines with another sink whose poll fails now and then, which aborts whatever is under way.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <weir/component.h>
#include <weir/random.h>

#include "base/alloc.h"
#include "conf/compile.h"
#include "conf/diag.h"
#include "conf/pipeline.h"
#include "conf/text.h"
#include "engine/engine.h"

enum { LINES = 60000, ABORTS = 8, EVERY = 2000, NAME_BYTES = 256 };

extern const struct weir_component weir_component_file_source, weir_component_stdin_source,
    weir_component_generate_source, weir_component_file_sink;

/* --- the sink that fails -----------------------------------------------------------------------*/

struct flaky {
    _Atomic int64_t taken, taken_at_seal, seals, seals_at_abort, aborts;
};

/* It is time to fail: something was committed since the last time, and something was not. */
static bool flaky_is_due(struct flaky *self)
{
    return atomic_load(&self->aborts) < ABORTS &&
           atomic_load(&self->seals) >= atomic_load(&self->seals_at_abort) + 2 &&
           atomic_load(&self->taken) > atomic_load(&self->taken_at_seal);
}

static int64_t aborts_seen;

static weir_status
flaky_open(void *instance, const void *config, struct weir_ctx *ctx, struct weir_err *err)
{
    (void)instance;
    (void)config;
    (void)ctx;
    (void)err;
    return WEIR_OK;
}

static void flaky_close(void *instance)
{
    aborts_seen = atomic_load(&((struct flaky *)instance)->aborts);
}

static weir_status flaky_write(void *instance,
                               unsigned lane,
                               struct weir_batch *batch,
                               struct weir_record *const *records,
                               size_t count,
                               size_t *cursor,
                               struct weir_err *err)
{
    (void)lane;
    (void)batch;
    (void)records;
    (void)err;
    struct flaky *self = instance;
    /* It is the first sink, so that a batch which it does not take is not half written. */
    if (atomic_load(&self->aborts) < ABORTS &&
        atomic_load(&self->taken) - atomic_load(&self->taken_at_seal) > EVERY) {
        return WEIR_AGAIN;
    }
    atomic_fetch_add(&self->taken, (int64_t)(count - *cursor));
    *cursor = count;
    return WEIR_OK;
}

static weir_status flaky_poll(void *instance, struct weir_err *err)
{
    struct flaky *self = instance;
    if (flaky_is_due(self)) {
        atomic_store(&self->seals_at_abort, atomic_load(&self->seals));
        atomic_store(&self->taken_at_seal, atomic_load(&self->taken));
        atomic_fetch_add(&self->aborts, 1);
        return weir_fail(err, WEIR_UNAVAILABLE, "not now");
    }
    return WEIR_OK;
}

static void flaky_seal(void *instance)
{
    struct flaky *self = instance;
    atomic_fetch_add(&self->seals, 1);
    atomic_store(&self->taken_at_seal, atomic_load(&self->taken));
}

static const struct weir_sink_ops flaky_ops = {
    .write = flaky_write, .poll = flaky_poll, .seal = flaky_seal};

static const struct weir_component flaky_sink = {
    .abi = WEIR_ABI,
    .described = {.kind = WEIR_ROLE_SINK,
                  .name = "flaky",
                  .summary = "Fails now and then.",
                  .example = "flaky: {}"},
    .self_size = sizeof(struct flaky),
    .open = flaky_open,
    .close = flaky_close,
    .ops = {.sink = &flaky_ops},
};

/* --- pipelines ---------------------------------------------------------------------------------*/

static const struct weir_described *
described_at(const void *context, enum weir_role role, size_t index)
{
    (void)context;
    const struct weir_described *const all[] = {
        &weir_component_file_source.described,
        &weir_component_stdin_source.described,
        &weir_component_generate_source.described,
        &weir_component_file_sink.described,
        &flaky_sink.described,
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i]->kind == role && index-- == 0) {
            return all[i];
        }
    }
    return NULL;
}

static void run_pipeline(const char *dir, const char *source)
{
    static const struct weir_registry registry = {.at = described_at};
    static const struct weir_surroundings surroundings = {.registry = &registry,
                                                          .compiler = &weir_jq_compiler};
    struct weir_arena arena;
    struct weir_diags diags;
    struct weir_err err = {0};
    weir_arena_init(&arena, 0);
    weir_diags_init(&diags, &arena);
    char path[NAME_BYTES];
    snprintf(path, sizeof(path), "%s/pipeline.yaml", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file,
            "name: abort\nsource: {%s}\nsinks: [{flaky: {}}, {file: {path: %s/out}}]\n"
            "state: {dir: %s/state}\nhttp: off\nlanes: 2\ncommit_interval: 3ms\nbatch_size: 100\n",
            source, dir, dir);
    fclose(file);
    struct weir_loaded *loaded = weir_load_file(&surroundings, path, &diags);
    assert_non_null(loaded);
    const struct weir_engine_options options = {.seed = 1};
    struct weir_engine *engine = weir_engine_new(&loaded->config, &options, &err);
    assert_non_null(engine);
    assert_int_equal(weir_engine_run(engine), WEIR_OK);
    weir_engine_free(engine);
    weir_loaded_free(loaded);
    weir_arena_done(&arena);
    assert_int_equal(aborts_seen, ABORTS);
}

/* Each line carries its number; long ones cross blocks. */
static void make_input(const char *dir)
{
    char path[NAME_BYTES];
    snprintf(path, sizeof(path), "%s/in", dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < LINES; i++) {
        fprintf(file, "{\"n\":%d}\n", i);
    }
    fclose(file);
}

static void check_output(const char *dir)
{
    char path[NAME_BYTES], line[64], expected[64];
    snprintf(path, sizeof(path), "%s/out", dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int i = 0; i < LINES; i++) {
        assert_non_null(fgets(line, sizeof(line), file));
        snprintf(expected, sizeof(expected), "{\"n\":%d}\n", i);
        assert_string_equal(line, expected);
    }
    assert_null(fgets(line, sizeof(line), file));
    fclose(file);
}

static int enter(void **state)
{
    static char dir[NAME_BYTES / 2];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/weir-abort-XXXXXX", base == NULL ? "/tmp" : base);
    *state = mkdtemp(dir);
    if (*state == NULL) {
        return 1;
    }
    make_input(dir);
    return 0;
}

static int leave(void **state)
{
    const char *const names[] = {"in",    "out", "pipeline.yaml", "state/state.log", "state/lock",
                                 "state", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[NAME_BYTES];
        snprintf(path, sizeof(path), "%s/%s", (const char *)*state, names[i]);
        (void)remove(path); /* what a case did not make is not there */
    }
    return access(*state, F_OK) == 0;
}

/* --- tests -------------------------------------------------------------------------------------*/

static void file_reads_again(void **state)
{
    char source[NAME_BYTES];
    snprintf(source, sizeof(source), "file: {path: %s/in}", (const char *)*state);
    run_pipeline(*state, source);
    check_output(*state);
}

static void generate_makes_again(void **state)
{
    char source[NAME_BYTES];
    snprintf(source, sizeof(source), "generate: {count: %d}", LINES);
    run_pipeline(*state, source);
    check_output(*state);
}

static void stdin_delivers_again_from_its_window(void **state)
{
    char path[NAME_BYTES];
    snprintf(path, sizeof(path), "%s/in", (const char *)*state);
    int usual = dup(STDIN_FILENO);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    close(fd);
    run_pipeline(*state, "stdin: {}");
    check_output(*state);
    if (usual >= 0) {
        dup2(usual, STDIN_FILENO);
        close(usual);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(file_reads_again),
        TEST(generate_makes_again),
        TEST(stdin_delivers_again_from_its_window),
    };
    return cmocka_run_group_tests_name("abort", tests, NULL, NULL);
}

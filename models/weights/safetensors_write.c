/* Writing safetensors (weights.h), byte for byte as the reference writer lays them out. */
#include "models/weights/weights_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGN = 8, HEADER_MOST = 100 * 1000 * 1000, CHUNK = 4096, ATTEMPTS = 100 };

/* ---- what is to be written ---- */

static bool text_ok(const char *s)
{
    return s && nn_utf8((const uint8_t *)s, strlen(s));
}

static ag_code check_tensor(const char *path, const nn_to_store *s, int64_t *bytes, ag_error *err)
{
    AG_REQUIRE(text_ok(s->name) && strcmp(s->name, "__metadata__") != 0, err, AG_EINVAL,
               "'%s': a tensor's name is NULL, no UTF-8 or __metadata__", path);
    const nn_name_shown name = nn_shown(s->name);
    AG_REQUIRE(s->ndim >= 0 && s->ndim <= NN_STORED_DIMS, err, AG_EINVAL, "'%s': tensor '%s' has %d axes; expected 0 to %d", path,
               name.text, s->ndim, NN_STORED_DIMS);
    *bytes = sizeof(float);
    for (int i = 0; i < s->ndim; i++)
        AG_REQUIRE(s->shape[i] >= 0 && !__builtin_mul_overflow(*bytes, s->shape[i], bytes), err, AG_EINVAL,
                   "'%s': tensor '%s': its shape is negative or overflows at axis %d", path, name.text, i);
    AG_REQUIRE(s->data || *bytes == 0, err, AG_EINVAL, "'%s': tensor '%s' has no data", path, name.text);
    return AG_OK;
}

static int by_name(const void *a, const void *b)
{
    const nn_to_store *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* All are F32, so the writer's order, by alignment and then by name, is by name. */
static ag_code sort_tensors(const char *path, int n, const nn_to_store *tensors, const nn_to_store **sorted, ag_error *err)
{
    int64_t bytes = 0, end = 0;
    for (int i = 0; i < n; i++) {
        AG_TRY(err, check_tensor(path, &tensors[i], &bytes, err));
        AG_REQUIRE(!__builtin_add_overflow(end, bytes, &end), err, AG_EINVAL, "'%s': the tensors together overflow", path);
        sorted[i] = &tensors[i];
    }
    qsort(sorted, (size_t)n, sizeof *sorted, by_name);
    for (int i = 1; i < n; i++)
        AG_REQUIRE(strcmp(sorted[i - 1]->name, sorted[i]->name) != 0, err, AG_EINVAL,
                   "'%s': tensor '%s' is there twice; expected different names", path, nn_shown(sorted[i]->name).text);
    return AG_OK;
}

static int64_t numel(const nn_to_store *s)
{
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++)
        n *= s->shape[i];
    return n;
}

/* ---- the header ---- */

/* NULL without memory; takes nothing over. */
static json_t *describe(const nn_to_store *s, int64_t begin)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < s->ndim; i++)
        if (json_array_append_new(shape, json_integer(s->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return shape ? json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
                             (json_int_t)(begin + numel(s) * (int64_t)sizeof(float)))
                 : NULL;
}

static bool add_metadata(json_t *header, int n, const char *const (*metadata)[2])
{
    json_t *object = json_object();
    for (int i = 0; object && i < n; i++)
        if (json_object_set_new(object, metadata[i][0], json_string(metadata[i][1])) != 0) {
            json_decref(object);
            return false;
        }
    return json_object_set_new(header, "__metadata__", object) == 0;
}

static bool add_tensors(json_t *header, int n, const nn_to_store *const *sorted)
{
    int64_t begin = 0;
    for (int i = 0; i < n; i++) {
        if (json_object_set_new(header, sorted[i]->name, describe(sorted[i], begin)) != 0)
            return false;
        begin += numel(sorted[i]) * (int64_t)sizeof(float);
    }
    return true;
}

/* *text [*length] is the padded header behind its own length, freed with ag_free. */
static ag_code pad(const char *path, const json_t *header, char **text, size_t *length, ag_error *err)
{
    const size_t n = json_dumpb(header, NULL, 0, JSON_COMPACT), padded = (n + ALIGN - 1) / ALIGN * ALIGN;
    const uint64_t stored = padded;
    AG_REQUIRE(n > 0, err, AG_ENOMEM, "'%s': out of memory for the header", path);
    AG_REQUIRE(padded <= HEADER_MOST, err, AG_EINVAL, "'%s': the header would have %zu bytes; safetensors allows %d", path, padded,
               HEADER_MOST);
    char *t = ag_alloc(sizeof stored + padded);
    if (!t || json_dumpb(header, t + sizeof stored, n, JSON_COMPACT) != n) {
        ag_free(t);
        return ag_fail(err, AG_ENOMEM, "'%s': out of memory for the header", path);
    }
    memcpy(t, &stored, sizeof stored);
    memset(t + sizeof stored + n, ' ', padded - n);
    *text = t;
    *length = sizeof stored + padded;
    return AG_OK;
}

static ag_code make_header(const char *path, int n, const nn_to_store *const *sorted, int n_meta,
                           const char *const (*metadata)[2], char **text, size_t *length, ag_error *err)
{
    for (int i = 0; i < n_meta; i++)
        AG_REQUIRE(text_ok(metadata[i][0]) && text_ok(metadata[i][1]), err, AG_EINVAL,
                   "'%s': metadata %d: key or value is NULL or no UTF-8", path, i);
    json_t *header = json_object();
    bool made = header && (n_meta == 0 || add_metadata(header, n_meta, metadata)) && add_tensors(header, n, sorted);
    ag_code code = made ? pad(path, header, text, length, err) : ag_fail(err, AG_ENOMEM, "'%s': out of memory for the header", path);
    json_decref(header);
    return code;
}

/* ---- the file ---- */

/* 0 or errno */
static int write_all(int fd, const void *data, size_t n)
{
    for (const char *at = data; n > 0;) {
        ssize_t done = write(fd, at, n < 1 << 30 ? n : 1 << 30);
        if (done < 0 && errno != EINTR)
            return errno;
        if (done > 0) {
            at += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

static int write_numbers(int fd, const ag_real *data, int64_t n)
{
    float chunk[CHUNK];
    int error = 0;
    if (sizeof(ag_real) == sizeof(float))
        return write_all(fd, data, (size_t)n * sizeof(float));
    for (int64_t at = 0; at < n && error == 0; at += CHUNK) {
        int64_t k = n - at < CHUNK ? n - at : CHUNK;
        for (int64_t i = 0; i < k; i++)
            chunk[i] = (float)data[at + i];
        error = write_all(fd, chunk, (size_t)k * sizeof(float));
    }
    return error;
}

static int write_file(int fd, const char *header, size_t length, int n, const nn_to_store *const *sorted)
{
    int error = write_all(fd, header, length);
    for (int i = 0; i < n && error == 0; i++)
        error = write_numbers(fd, sorted[i]->data, numel(sorted[i]));
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    return error;
}

/* A file in path's folder under a name nobody uses: *fd, or errno. `aside` has room for path and 64 bytes. */
static int create_aside(const char *path, char *aside, int *fd)
{
    const char *slash = strrchr(path, '/');
    const int folder = slash ? (int)(slash - path) + 1 : 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        snprintf(aside, strlen(path) + 64, "%.*s.%s.tmp-%ld-%d", folder, path, path + folder, (long)getpid(), attempt);
        *fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0 || errno != EEXIST)
            break;
    }
    return *fd >= 0 ? 0 : errno;
}

static ag_code replace(const char *path, const char *header, size_t length, int n, const nn_to_store *const *sorted, ag_error *err)
{
    int fd;
    char *aside = ag_alloc(strlen(path) + 64);
    AG_REQUIRE(aside, err, AG_ENOMEM, "'%s': out of memory", path);
    int error = create_aside(path, aside, &fd);
    if (error == 0) {
        error = write_file(fd, header, length, n, sorted);
        if (error == 0 && rename(aside, path) != 0)
            error = errno;
        if (error != 0)
            unlink(aside);
    }
    ag_free(aside);
    AG_REQUIRE(error == 0, err, AG_EIO, "cannot write '%s': %s", path, strerror(error));
    return AG_OK;
}

ag_code nn_safetensors_write(const char *path, int n, const nn_to_store *tensors, int n_meta, const char *const (*metadata)[2],
                             ag_error *err)
{
    char *header = NULL;
    size_t length = 0;
    AG_REQUIRE(path && n >= 0 && (tensors || n == 0) && n_meta >= 0 && (metadata || n_meta == 0), err, AG_EINVAL,
               "nn_safetensors_write: path, tensors or metadata is NULL, or a count negative");
    const nn_to_store **sorted = ag_alloc((size_t)n * sizeof *sorted);
    AG_REQUIRE(sorted, err, AG_ENOMEM, "'%s': out of memory for %d tensors", path, n);
    ag_code code = sort_tensors(path, n, tensors, sorted, err);
    if (code == AG_OK)
        code = make_header(path, n, sorted, n_meta, metadata, &header, &length, err);
    if (code == AG_OK)
        code = replace(path, header, length, n, sorted, err);
    ag_free(header);
    ag_free(sorted);
    return code;
}

/* Opening a checkpoint, finding its tensors, its digest (weights.h). The formats are in safetensors.c, gguf.c and
 * llama2c.c, the metadata in metadata.c, the numbers in convert.c. */
#include "models/weights/weights_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utf8proc.h>
#include <xxhash.h>

/* ---- for the readers ---- */

ag_code nn_keep(nn_weights *w, size_t bytes, void *p, ag_error *err)
{
    void *taken = ag_arena_take(&w->memory, bytes ? bytes : 1);
    AG_REQUIRE(taken, err, AG_ENOMEM, "'%s': out of memory for %zu bytes about its tensors", w->path, bytes);
    memcpy(p, &taken, sizeof taken);
    return AG_OK;
}

ag_code nn_keep_text(nn_weights *w, const char *s, size_t length, const char **copy, ag_error *err)
{
    char *text = NULL;
    AG_TRY(err, nn_keep(w, length + 1, &text, err));
    if (length)
        memcpy(text, s, length);
    text[length] = '\0';
    *copy = text;
    return AG_OK;
}

bool nn_utf8(const uint8_t *s, size_t length)
{
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = s[i] < 0x80 ? 1 : utf8proc_iterate(s + i, (utf8proc_ssize_t)(length - i), &c);
        if (n <= 0)
            return false;
        i += (size_t)n;
    }
    return true;
}

nn_name_shown nn_shown(const char *name)
{
    nn_name_shown s = { "" };
    size_t n = strlen(name), most = sizeof s.text - 4;
    if (n > most)
        for (n = most; n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80;)   /* between characters */
            n--;
    for (size_t i = 0; i < n; i++)
        s.text[i] = (unsigned char)name[i] < 0x20 || name[i] == 0x7f ? '?' : name[i];
    strcpy(s.text + n, name[n] ? "..." : "");
    return s;
}

/* ---- opening ---- */

static int by_name(const void *a, const void *b)
{
    const nn_stored *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int by_key(const void *a, const void *b)
{
    const nn_meta *x = a, *y = b;
    return strcmp(x->key, y->key);
}

static ag_code index_names(nn_weights *w, ag_error *err)
{
    AG_TRY(err, nn_keep(w, (size_t)w->n * sizeof *w->by_name, &w->by_name, err));
    for (int i = 0; i < w->n; i++)
        w->by_name[i] = &w->stored[i];
    qsort(w->by_name, (size_t)w->n, sizeof *w->by_name, by_name);
    for (int i = 1; i < w->n; i++)
        AG_REQUIRE(strcmp(w->by_name[i - 1]->name, w->by_name[i]->name) != 0, err, AG_EDATA,
                   "'%s': tensor '%s' is there twice; expected different names", w->path, nn_shown(w->by_name[i]->name).text);
    if (w->n_meta > 0)
        qsort(w->meta, (size_t)w->n_meta, sizeof *w->meta, by_key);
    for (int i = 1; i < w->n_meta; i++)
        AG_REQUIRE(strcmp(w->meta[i - 1].key, w->meta[i].key) != 0, err, AG_EDATA,
                   "'%s': metadata '%s' is there twice; expected different keys", w->path, nn_shown(w->meta[i].key).text);
    return AG_OK;
}

static ag_code read_format(nn_weights *w, ag_error *err)
{
    if (w->size >= 4 && memcmp(w->data, "GGUF", 4) == 0) {
        w->format = "gguf";
        return nn_read_gguf(w, err);
    }
    if (nn_looks_like_llama2c(w->data, w->size)) {
        w->format = "llama2.c";
        return nn_read_llama2c(w, err);
    }
    w->format = "safetensors";
    return nn_read_safetensors(w, err);
}

/* Takes the mapping over, also on failure. */
static ag_code open_data(nn_weights **out, const char *path, const void *data, size_t size, bool mapped, ag_error *err)
{
    nn_weights *w = ag_alloc_zero(sizeof *w);
    char *name = ag_strdup(path);
    if (!w || !name) {
        if (mapped)
            munmap((void *)(uintptr_t)data, size);
        ag_free(name);
        ag_free(w);
        return ag_fail(err, AG_ENOMEM, "'%s': out of memory", path);
    }
    *w = (nn_weights){ .path = name, .data = data, .size = size, .mapped = mapped };
    ag_arena_init(&w->memory);
    ag_code code = read_format(w, err);
    if (code == AG_OK)
        code = index_names(w, err);
    if (code != AG_OK) {
        nn_weights_close(w);
        return ag_trail(err, code, __func__);
    }
    *out = w;
    return AG_OK;
}

ag_code nn_weights_open_bytes(nn_weights **w, const char *path, const void *data, size_t size, ag_error *err)
{
    *w = NULL;
    return open_data(w, path, data, size, false, err);
}

/* An empty file has no mapping: data NULL, size 0. */
static ag_code map_file(const char *path, const void **data, size_t *size, ag_error *err)
{
    struct stat status;
    void *map = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);   /* a pipe must not stop us */
    AG_REQUIRE(fd >= 0, err, AG_EIO, "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return ag_fail(err, AG_EIO, "'%s' is no file; expected a safetensors, GGUF or llama2.c file", path);
    }
    if (status.st_size > 0)
        map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int error = errno;
    close(fd);
    AG_REQUIRE(map != MAP_FAILED, err, AG_EIO, "cannot map '%s': %s", path, strerror(error));
    *data = map;
    *size = (size_t)status.st_size;
    return AG_OK;
}

ag_code nn_weights_open(nn_weights **w, const char *path, ag_error *err)
{
    const void *data = NULL;
    size_t size = 0;
    AG_REQUIRE(w, err, AG_EINVAL, "nn_weights_open: w is NULL");
    *w = NULL;
    AG_REQUIRE(path, err, AG_EINVAL, "nn_weights_open: path is NULL");
    AG_TRY(err, map_file(path, &data, &size, err));
    return open_data(w, path, data, size, size > 0, err);
}

void nn_weights_close(nn_weights *w)
{
    if (!w)
        return;
    if (w->mapped)
        munmap((void *)(uintptr_t)w->data, w->size);
    ag_arena_release(&w->memory);
    ag_free(w->path);
    ag_free(w);
}

/* ---- asking ---- */

const char *nn_weights_path(const nn_weights *w)
{
    return w->path;
}

const char *nn_weights_format(const nn_weights *w)
{
    return w->format;
}

int nn_weights_count(const nn_weights *w)
{
    return w->n;
}

const nn_stored *nn_weights_at(const nn_weights *w, int i)
{
    return i >= 0 && i < w->n ? &w->stored[i] : NULL;
}

const nn_stored *nn_weights_find(const nn_weights *w, const char *name)
{
    nn_stored wanted = { .name = name };
    const nn_stored *key = &wanted;
    const nn_stored **found = name ? bsearch(&key, w->by_name, (size_t)w->n, sizeof *w->by_name, by_name) : NULL;
    return found ? *found : NULL;
}

enum { NEAR_MOST = 128 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance of strings of at most NEAR_MOST bytes. */
static int distance(const char *a, int n_a, const char *b, int n_b)
{
    int row[NEAR_MOST + 1];
    for (int j = 0; j <= n_b; j++)
        row[j] = j;
    for (int i = 1; i <= n_a; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n_b; j++) {
            int replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[n_b];
}

const char *nn_weights_nearest(const nn_weights *w, const char *name)
{
    const size_t length = name ? strlen(name) : SIZE_MAX;
    const char *nearest = NULL;
    if (length > NEAR_MOST)
        return NULL;
    int best = (int)length / 3 + 1;   /* further away it is another name */
    for (int i = 0; i < w->n; i++) {
        size_t n = strlen(w->stored[i].name);
        if (n > NEAR_MOST || abs((int)n - (int)length) >= best)
            continue;
        int d = distance(name, (int)length, w->stored[i].name, (int)n);
        if (d < best) {
            best = d;
            nearest = w->stored[i].name;
        }
    }
    return nearest;
}

ag_code nn_weights_digest(const nn_weights *w, char digest[NN_DIGEST_TEXT], ag_error *err)
{
    XXH128_canonical_t bytes;
    AG_REQUIRE(w && digest, err, AG_EINVAL, "nn_weights_digest: weights or digest is NULL");
    XXH128_canonicalFromHash(&bytes, XXH3_128bits(w->data, w->size));
    for (int i = 0; i < 16; i++)
        snprintf(digest + 2 * i, 3, "%02x", bytes.digest[i]);
    return AG_OK;
}

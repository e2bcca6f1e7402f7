/* Opening, closing and asking a tokenizer. */
#include "models/tokenizer/tokenizer_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_MAX_BYTES = 1 << 30 };

/* ---- files ---- */

static ag_code read_all(FILE *f, const char *path, char **data, size_t *length, ag_error *err)
{
    struct stat st;
    AG_REQUIRE(fstat(fileno(f), &st) == 0, err, AG_EIO, "%s: %s", path, strerror(errno));
    AG_REQUIRE(S_ISREG(st.st_mode), err, AG_EIO, "%s is not a file", path);
    AG_REQUIRE(st.st_size < FILE_MAX_BYTES, err, AG_EDATA, "%s has %lld bytes, expected a tokenizer of at most %d", path,
               (long long)st.st_size, FILE_MAX_BYTES);
    *length = (size_t)st.st_size;
    *data = ag_alloc(*length + 1);
    AG_REQUIRE(*data, err, AG_ENOMEM, "no memory for %s (%zu bytes)", path, *length);
    (*data)[*length] = '\0';
    if (fread(*data, 1, *length, f) == *length)
        return AG_OK;
    ag_free(*data);
    *data = NULL;
    return ag_fail(err, AG_EIO, "%s cannot be read to its end: %s", path, ferror(f) ? strerror(errno) : "it became shorter");
}

ag_code nn_file_read(const char *path, char **data, size_t *length, ag_error *err)
{
    *data = NULL;
    FILE *f = fopen(path, "rb");
    AG_REQUIRE(f, err, AG_EIO, "%s: %s", path, strerror(errno));
    const ag_code code = read_all(f, path, data, length, err);
    fclose(f);
    return code;
}

/* ---- which reader ---- */

typedef ag_code reader(nn_tokenizer *k, const char *path, ag_error *err);
static const struct { const char *ending; reader *read; } readers[] = {
    { ".json", nn_tokenizer_read_json },
    { ".txt", nn_tokenizer_read_vocab_txt },
    { ".gguf", nn_tokenizer_read_gguf },
    { ".bin", nn_tokenizer_read_llama2c },
};

static bool ends_with(const char *s, const char *ending)
{
    const size_t n = strlen(s), m = strlen(ending);
    return n >= m && strcmp(s + n - m, ending) == 0;
}

static ag_code read_file(nn_tokenizer *k, const char *path, ag_error *err)
{
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (ends_with(path, readers[i].ending))
            return readers[i].read(k, path, err);
    return ag_fail(err, AG_EINVAL, "%s: expected a tokenizer's file, named *.json, *.txt, *.gguf or *.bin", path);
}

/* ---- folders ---- */

enum { PATH_BYTES = 4096 };

static bool join(char *out, const char *folder, const char *name)
{
    const int n = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    return n > 0 && n < PATH_BYTES;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* The first *.gguf of the folder by name. */
static bool find_gguf(const char *folder, char *out)
{
    DIR *d = opendir(folder);
    char best[256] = "";
    for (const struct dirent *e; d && (e = readdir(d));)
        if (ends_with(e->d_name, ".gguf") && strlen(e->d_name) < sizeof best && (!*best || strcmp(e->d_name, best) < 0))
            strcpy(best, e->d_name);
    if (d)
        closedir(d);
    return *best && join(out, folder, best) && is_file(out);
}

static bool find_in_folder(const char *folder, char *out)
{
    static const char *const first[] = { "tokenizer.json", "vocab.txt" };
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (join(out, folder, first[i]) && is_file(out))
            return true;
    return find_gguf(folder, out) || (join(out, folder, "tokenizer.bin") && is_file(out));
}

static ag_code read_path(nn_tokenizer *k, const char *path, ag_error *err)
{
    struct stat st;
    AG_REQUIRE(stat(path, &st) == 0, err, AG_EIO, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return read_file(k, path, err);
    char found[PATH_BYTES];
    AG_REQUIRE(find_in_folder(path, found), err, AG_EIO,
               "%s has no tokenizer: expected tokenizer.json, vocab.txt, a *.gguf or tokenizer.bin in it", path);
    return read_file(k, found, err);
}

/* ---- the tokenizer ---- */

ag_code nn_tokenizer_open(nn_tokenizer **out, const char *path, ag_error *err)
{
    AG_REQUIRE(out, err, AG_EINVAL, "nn_tokenizer_open: k is NULL");
    *out = NULL;
    AG_REQUIRE(path, err, AG_EINVAL, "nn_tokenizer_open: path is NULL");
    nn_tokenizer *k = ag_alloc_zero(sizeof *k);
    AG_REQUIRE(k, err, AG_ENOMEM, "no memory for a tokenizer");
    const ag_code code = read_path(k, path, err);
    if (code == AG_OK)
        *out = k;
    else
        nn_tokenizer_close(k);
    return code == AG_OK ? AG_OK : ag_trail(err, code, __func__);
}

void nn_tokenizer_close(nn_tokenizer *k)
{
    if (!k)
        return;
    nn_added_release(&k->added);
    nn_bpe_release(&k->bpe);
    ag_free(k->wordpiece.behind.slots);
    nn_vocab_release(&k->vocab);
    ag_free(k);
}

const char *nn_tokenizer_kind(const nn_tokenizer *k)
{
    return k->model == NN_WORDPIECE ? "wordpiece" : k->model == NN_BYTE_BPE ? "byte-level bpe" : "llama2.c bpe";
}

int64_t nn_tokenizer_size(const nn_tokenizer *k)
{
    return k->vocab.n;
}

const char *nn_tokenizer_token(const nn_tokenizer *k, int32_t id, size_t *length)
{
    size_t unused;
    return nn_vocab_token(&k->vocab, id, length ? length : &unused);
}

int32_t nn_tokenizer_id(const nn_tokenizer *k, const char *token)
{
    const size_t n = strlen(token);
    int32_t id = nn_vocab_find(&k->vocab, token, n);
    for (int64_t i = 0; id < 0 && i < k->added.n; i++) {
        const nn_span *s = &k->vocab.spans[k->added.tokens[i].id];
        if (s->length == n && memcmp(k->vocab.bytes + s->at, token, n) == 0)
            id = k->added.tokens[i].id;
    }
    return id;
}

/* Opening a network: which files, the configuration, each weight in place or converted. */
#include "models/network_config.h"
#include "models/network_source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

typedef struct files {
    char config[512], weights[512];      /* config "": the weights' file has it */
} files;

static bool exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static ag_code join(char out[512], const char *dir, int dir_length, const char *name, ag_error *err)
{
    int n = snprintf(out, 512, "%.*s/%s", dir_length, dir, name);
    AG_REQUIRE(n >= 0 && n < 512, err, AG_EINVAL, "'%.100s...': a path of more than 511 bytes", dir);
    return AG_OK;
}

/* The one .gguf of a folder. */
static ag_code find_gguf(files *f, const char *dir, ag_error *err)
{
    DIR *d = opendir(dir);
    int n = 0;
    ag_code code = AG_OK;
    AG_REQUIRE(d, err, AG_EIO, "%s: %s", dir, strerror(errno));
    for (struct dirent *e; code == AG_OK && (e = readdir(d));)
        if (ends_in(e->d_name, ".gguf") && n++ == 0)
            code = join(f->weights, dir, (int)strlen(dir), e->d_name, err);
    closedir(d);
    AG_TRY(err, code);
    AG_REQUIRE(n == 1, err, AG_EDATA, "%s: %d .gguf files and no config.json with model.safetensors; one or the other is expected", dir, n);
    return AG_OK;
}

static ag_code find_in_folder(files *f, const char *dir, ag_error *err)
{
    int n = (int)strlen(dir);
    AG_TRY(err, join(f->config, dir, n, "config.json", err));
    AG_TRY(err, join(f->weights, dir, n, "model.safetensors.index.json", err));
    AG_REQUIRE(!exists(f->weights), err, AG_EDATA, "%s: weights in several files; one model.safetensors is expected", dir);
    AG_TRY(err, join(f->weights, dir, n, "model.safetensors", err));
    if (exists(f->config) && exists(f->weights))
        return AG_OK;
    f->config[0] = '\0';
    return find_gguf(f, dir, err);
}

static ag_code find_files(files *f, const char *path, ag_error *err)
{
    struct stat s;
    memset(f, 0, sizeof *f);
    AG_REQUIRE(strlen(path) < sizeof f->weights, err, AG_EINVAL, "'%.100s...': a path of more than 511 bytes", path);
    AG_REQUIRE(stat(path, &s) == 0, err, AG_EIO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(s.st_mode))
        return find_in_folder(f, path, err);
    snprintf(f->weights, sizeof f->weights, "%s", path);
    if (!ends_in(path, ".safetensors"))
        return AG_OK;
    const char *slash = strrchr(path, '/');
    return slash ? join(f->config, path, (int)(slash - path), "config.json", err) : join(f->config, ".", 1, "config.json", err);
}

static ag_code read_config(nn_network_config *c, const files *f, const nn_weights *w, const char *architecture, ag_error *err)
{
    if (!f->config[0])
        return nn_config_from_weights(c, w, architecture, err);
    return nn_config_from_json(c, f->config, architecture, err);
}

/* ---- weights ---- */

static ag_code find_sources(nn_network *net, const nn_weights *w, nn_source *source, bool *convert, ag_error *err)
{
    for (int i = 0; i < net->n_weight; i++) {
        AG_TRY(err, nn_source_find(&source[i], net, w, i, err));
        net->weight[i].data = nn_source_in_place(&source[i]);
        convert[i] = !net->weight[i].data;
    }
    return AG_OK;
}

static ag_code convert_all(nn_network *net, const nn_source *source, const bool *convert, ag_error *err)
{
    AG_TRY(err, nn_network_reserve(net, convert, err));
    ag_real *numbers = ((nn_owned *)net->own)->numbers;
    for (int i = 0; i < net->n_weight; i++)
        if (convert[i])
            AG_TRY(err, nn_source_read(&source[i], &net->weight[i], numbers + (net->weight[i].data - numbers), err));
    return AG_OK;
}

static ag_code load(nn_network *net, const nn_weights *w, ag_error *err)
{
    nn_source *source = ag_alloc((size_t)net->n_weight * sizeof *source);
    bool *convert = ag_alloc((size_t)net->n_weight * sizeof *convert);
    ag_code code = AG_OK;
    if (!source || !convert)
        code = ag_fail(err, AG_ENOMEM, "%s: no memory for its list of weights", net->path);
    if (code == AG_OK)
        code = find_sources(net, w, source, convert, err);
    if (code == AG_OK)
        code = convert_all(net, source, convert, err);
    ag_free(source);
    ag_free(convert);
    return code;
}

/* Takes w over, also on failure. */
static ag_code open_network(nn_network **out, const char *path, const files *f, nn_weights *w, const char *architecture, ag_error *err)
{
    nn_network_config c;
    nn_network *net = NULL;
    ag_code code = read_config(&c, f, w, architecture, err);
    if (code == AG_OK)
        code = nn_network_begin(&net, &c, f->config[0] ? f->config : f->weights, err);
    if (code != AG_OK) {
        nn_weights_close(w);
        return ag_trail(err, code, __func__);
    }
    ((nn_owned *)net->own)->file = w;
    snprintf(net->path, sizeof net->path, "%s", path);
    code = load(net, w, err);
    if (code == AG_OK)
        code = nn_weights_digest(w, net->digest, err);
    if (code != AG_OK) {
        nn_network_close(net);
        return ag_trail(err, code, __func__);
    }
    *out = net;
    return AG_OK;
}

ag_code nn_network_open(nn_network **net, const char *path, const nn_network_options *o, ag_error *err)
{
    files f;
    nn_weights *w;
    AG_REQUIRE(net, err, AG_EINVAL, "nn_network_open: net is NULL");
    *net = NULL;
    AG_REQUIRE(path, err, AG_EINVAL, "nn_network_open: path is NULL");
    AG_TRY(err, find_files(&f, path, err));
    AG_TRY(err, nn_weights_open(&w, f.weights, err));
    return open_network(net, path, &f, w, o ? o->architecture : NULL, err);
}

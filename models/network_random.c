/* Networks with random weights, for tests and generated data. */
#include "models/network_internal.h"

#include "autograd/random.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool is_gamma(const nn_weight *w)
{
    return w->ndim == 1 && ends_in(w->name, ".weight");
}

static void draw(const nn_network *net, uint64_t seed, int i, ag_real *x)
{
    const nn_weight *w = &net->weight[i];
    bool gamma = is_gamma(w), beta = i > 0 && ends_in(w->name, ".bias") && is_gamma(w - 1);
    ag_random r;
    ag_random_init(&r, seed, AG_STREAM_INIT, 0, (uint64_t)i);
    for (int64_t j = 0; j < w->numel; j++)
        x[j] = gamma ? 1 : beta ? 0 : (ag_real)(0.02 * ag_random_normal(&r));
}

/* Of all weights in their order, so that an adapter of one random network is not taken for another's. */
static void set_digest(nn_network *net)
{
    XXH128_canonical_t bytes;
    XXH128_hash_t h = { 0, 0 };
    for (int i = 0; i < net->n_weight; i++)
        h = XXH3_128bits_withSeed(net->weight[i].data, (size_t)net->weight[i].numel * sizeof(ag_real), h.low64);
    XXH128_canonicalFromHash(&bytes, h);
    for (int i = 0; i < 16; i++)
        snprintf(net->digest + 2 * i, 3, "%02x", bytes.digest[i]);
}

ag_code nn_network_random(nn_network **net, const nn_network_config *c, uint64_t seed, ag_error *err)
{
    nn_network *n;
    AG_REQUIRE(net && c, err, AG_EINVAL, "nn_network_random: net or config is NULL");
    *net = NULL;
    AG_TRY(err, nn_network_begin(&n, c, "random network", err));
    ag_code code = nn_network_reserve(n, NULL, err);
    if (code != AG_OK) {
        nn_network_close(n);
        return ag_trail(err, code, __func__);
    }
    ag_real *x = ((nn_owned *)n->own)->numbers;
    for (int i = 0; i < n->n_weight; i++)
        draw(n, seed, i, x + (n->weight[i].data - x));
    snprintf(n->path, sizeof n->path, "random:%llu", (unsigned long long)seed);
    set_digest(n);
    *net = n;
    return AG_OK;
}

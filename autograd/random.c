/* Counter-based random numbers on Random123's Philox4x64-10 (random.h). */
#include "random.h"

#include <Random123/philox.h>
#include <math.h>

void ag_random_init(ag_random *r, uint64_t seed, uint64_t stream, uint64_t iteration, uint64_t task)
{
    *r = (ag_random){ .key = { seed, stream }, .counter = { 0, iteration, task, 0 }, .used = 4 };
}

uint64_t ag_random_u64(ag_random *r)
{
    if (r->used == 4) {
        philox4x64_ctr_t ctr = { { r->counter[0]++, r->counter[1], r->counter[2], r->counter[3] } };
        philox4x64_key_t key = { { r->key[0], r->key[1] } };
        philox4x64_ctr_t out = philox4x64(ctr, key);
        for (int i = 0; i < 4; i++)
            r->block[i] = out.v[i];
        r->used = 0;
    }
    return r->block[r->used++];
}

static double unit(ag_random *r)
{
    return (double)(ag_random_u64(r) >> 11) * 0x1p-53;
}

double ag_random_uniform(ag_random *r, double lo, double hi)
{
    double x = lo + (hi - lo) * unit(r);
    return x < hi || !(lo < hi) ? x : nextafter(hi, lo);   /* rounding may reach hi */
}

double ag_random_normal(ag_random *r)
{
    if (r->has_spare) {
        r->has_spare = 0;
        return r->spare;
    }
    double radius = sqrt(-2.0 * log(1.0 - unit(r)));   /* 1 - u is in (0, 1] */
    double angle = 6.283185307179586 * unit(r);
    r->spare = radius * sin(angle);
    r->has_spare = 1;
    return radius * cos(angle);
}

double ag_random_truncated_normal(ag_random *r)
{
    double z;
    do
        z = ag_random_normal(r);
    while (fabs(z) > 2.0);
    return z;
}

uint64_t ag_random_below(ag_random *r, uint64_t n)
{
    /* x * n / 2^64, with the few x redrawn that would favour some results. */
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)ag_random_u64(r) * n;
    if ((uint64_t)product < n) {
        uint64_t threshold = (0 - n) % n;
        while ((uint64_t)product < threshold)
            product = (wide)ag_random_u64(r) * n;
    }
    return (uint64_t)(product >> 64);
}

void ag_random_choose(ag_random *r, uint64_t n, uint64_t k, uint64_t *out)
{
    /* Floyd's sampling, then a shuffle: k is small against n. */
    for (uint64_t i = 0; i < k; i++) {
        uint64_t top = n - k + i;
        uint64_t pick = ag_random_below(r, top + 1);
        for (uint64_t j = 0; j < i; j++) {
            if (out[j] == pick) {
                pick = top;
                break;
            }
        }
        out[i] = pick;
    }
    for (uint64_t i = k; i > 1; i--) {
        uint64_t j = ag_random_below(r, i), swap = out[i - 1];
        out[i - 1] = out[j];
        out[j] = swap;
    }
}

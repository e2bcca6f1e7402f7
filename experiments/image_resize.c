/* Pillow's Lanczos resampling (src/libImaging/Resample.c) for one 8-bit channel: weights in double, made fixed point,
 * first along the rows, rounded to bytes, then down the columns. */
#include "experiments/image_resize.h"

#include <math.h>

enum { PRECISION = 32 - 8 - 2, LOBES = 3 };   /* bits after the point: a byte's 8 and 2 for overshoot stay above */

static double sinc(double x)
{
    double t = x * 3.14159265358979323846;
    return x == 0.0 ? 1.0 : sin(t) / t;
}

static double lanczos(double x)
{
    return x >= -LOBES && x < LOBES ? sinc(x) * sinc(x / LOBES) : 0.0;
}

/* The weights of output i into k (room for taps), scaled to a sum of 1. */
static void weights_of(xp_lanczos *f, int i, double *k)
{
    double scale = (double)f->in / f->out, stretch = scale < 1.0 ? 1.0 : scale;
    double support = LOBES * stretch, center = (i + 0.5) * scale, sum = 0;
    int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > f->in ? f->in : end;
    for (int x = 0; x < end - first; x++) {
        k[x] = lanczos((x + first - center + 0.5) * (1.0 / stretch));
        sum += k[x];
    }
    for (int x = 0; x < f->taps; x++) {
        double w = x >= end - first ? 0 : sum != 0.0 ? k[x] / sum : k[x];
        f->weight[(size_t)i * f->taps + x] = (int32_t)((w < 0 ? -0.5 : 0.5) + w * (1 << PRECISION));
    }
    f->first[i] = first;
    f->count[i] = end - first;
}

ag_code xp_lanczos_init(xp_lanczos *f, int in, int out, ag_error *err)
{
    *f = (xp_lanczos){ .in = in, .out = out };
    AG_REQUIRE(in >= 1 && in <= 32768 && out >= 1 && out <= 32768, err, AG_EINVAL,
               "xp_lanczos_init: from %d to %d pixels; expected 1 .. 32768", in, out);
    double stretch = in > out ? (double)in / out : 1.0;
    f->taps = (int)ceil(LOBES * stretch) * 2 + 1;
    f->first = ag_alloc((size_t)out * sizeof *f->first);
    f->count = ag_alloc((size_t)out * sizeof *f->count);
    f->weight = ag_alloc((size_t)out * f->taps * sizeof *f->weight);
    double *k = ag_alloc((size_t)f->taps * sizeof *k);
    if (!f->first || !f->count || !f->weight || !k) {
        ag_free(k);
        xp_lanczos_release(f);
        return ag_fail(err, AG_ENOMEM, "xp_lanczos_init: out of memory for %d outputs of %d taps", out, f->taps);
    }
    for (int i = 0; i < out; i++)
        weights_of(f, i, k);
    ag_free(k);
    return AG_OK;
}

void xp_lanczos_release(xp_lanczos *f)
{
    ag_free(f->first);
    ag_free(f->count);
    ag_free(f->weight);
    *f = (xp_lanczos){ 0 };
}

/* One output from pixels stride apart. */
static uint8_t filtered(const xp_lanczos *f, int i, const uint8_t *line, int stride)
{
    const int32_t *w = f->weight + (size_t)i * f->taps;
    const uint8_t *p = line + (ptrdiff_t)f->first[i] * stride;
    int32_t sum = 1 << (PRECISION - 1);
    for (int x = 0; x < f->count[i]; x++)
        sum += p[(ptrdiff_t)x * stride] * w[x];
    int32_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void xp_lanczos_apply(const xp_lanczos *rows, const xp_lanczos *columns, const uint8_t *picture, uint8_t *scratch,
                      uint8_t *result)
{
    int width = columns->out;
    for (int y = 0; y < rows->in; y++)
        for (int x = 0; x < width; x++)
            scratch[y * width + x] = filtered(columns, x, picture + (ptrdiff_t)y * columns->in, 1);
    for (int y = 0; y < rows->out; y++)
        for (int x = 0; x < width; x++)
            result[y * width + x] = filtered(rows, y, scratch + x, width);
}

/* Compositions: what needs no row of its own because it is a few operators. */
#include "autograd/op.h"

#include <string.h>

ag_tensor *ag_scale(ag_tape *t, ag_tensor *x, double c)
{
    return ag_affine(t, x, c, 0);
}

ag_tensor *ag_one_minus(ag_tape *t, ag_tensor *x)
{
    return ag_affine(t, x, -1, 1);
}

ag_tensor *ag_greater(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_less(t, b, a);
}

ag_tensor *ag_greater_equal(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_less_equal(t, b, a);
}

ag_tensor *ag_not_equal(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    return ag_one_minus(t, ag_equal(t, a, b));
}

/* Takes the axes of size 1 that a reduction kept away. */
static ag_tensor *drop_axes(ag_tape *t, ag_tensor *x, unsigned axes)
{
    int64_t shape[AG_MAX_DIMS];
    int ndim = 0;
    if (!x)
        return NULL;
    for (int i = 0; i < x->ndim; i++)
        if (!(axes & AG_AXIS(i)))
            shape[ndim++] = x->shape[i];
    return ag_reshape(t, x, ndim, shape);
}

ag_tensor *ag_sum(ag_tape *t, ag_tensor *x, unsigned axes)
{
    return drop_axes(t, ag_sum_keep(t, x, axes), axes);
}

ag_tensor *ag_mean_keep(ag_tape *t, ag_tensor *x, unsigned axes)
{
    int64_t count = 1;
    if (!x)
        return NULL;
    for (int i = 0; i < x->ndim; i++)
        if (axes & AG_AXIS(i))
            count *= x->shape[i];
    return ag_scale(t, ag_sum_keep(t, x, axes), 1.0 / (double)count);
}

ag_tensor *ag_mean(ag_tape *t, ag_tensor *x, unsigned axes)
{
    return drop_axes(t, ag_mean_keep(t, x, axes), axes);
}

ag_tensor *ag_max_over(ag_tape *t, ag_tensor *x, unsigned axes)
{
    return drop_axes(t, ag_max_keep(t, x, axes), axes);
}

ag_tensor *ag_logsumexp(ag_tape *t, ag_tensor *x, unsigned axes)
{
    /* ln sum exp(x - m) + m for any constant m; the largest x keeps exp within range. */
    ag_tensor *m = ag_detach(t, ag_max_keep(t, x, axes));
    return drop_axes(t, ag_add(t, ag_log(t, ag_sum_keep(t, ag_exp(t, ag_sub(t, x, m)), axes)), m), axes);
}

ag_tensor *ag_mse(ag_tape *t, ag_tensor *y, ag_tensor *target)
{
    return ag_mean(t, ag_square(t, ag_sub(t, y, target)), AG_ALL_AXES);
}

ag_tensor *ag_max_pool2d(ag_tape *t, ag_tensor *x, int64_t window, int64_t stride, bool same)
{
    ag_tensor *index = ag_max_pool2d_index(t, x, window, stride, same);
    return ag_gather(t, ag_flatten(t, x, 0), index);
}

/* gamma y + beta; gamma and beta broadcast against y and may be NULL. */
static ag_tensor *scale_and_shift(ag_tape *t, ag_tensor *y, ag_tensor *gamma, ag_tensor *beta)
{
    if (!y)
        return NULL;
    int64_t c = y->shape[y->ndim - 1];
    if (gamma && beta && gamma->ndim == 1 && beta->ndim == 1 && gamma->shape[0] == c && beta->shape[0] == c)
        return ag_scale_shift(t, y, gamma, beta);
    if (gamma)
        y = ag_mul(t, y, gamma);
    return beta ? ag_add(t, y, beta) : y;
}

/* gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and variance broadcasting against x. */
static ag_tensor *standardise(ag_tape *t, ag_tensor *centred, ag_tensor *variance, double epsilon, ag_tensor *gamma,
                              ag_tensor *beta)
{
    ag_tensor *scale = ag_rsqrt(t, ag_affine(t, variance, 1, epsilon));
    if (gamma)
        scale = ag_mul(t, scale, gamma);
    ag_tensor *y = ag_mul(t, centred, scale);
    return beta ? ag_add(t, y, beta) : y;
}

ag_tensor *ag_normalize(ag_tape *t, ag_tensor *x, unsigned axes, double epsilon, ag_tensor *gamma, ag_tensor *beta)
{
    unsigned last = x && x->ndim ? AG_AXIS(x->ndim - 1) : 0;
    axes &= 2 * last - 1;
    if (last && (axes == last || axes == last - 1))
        return scale_and_shift(t, ag_standardise(t, x, axes, epsilon), gamma, beta);
    ag_tensor *centred = ag_sub(t, x, ag_mean_keep(t, x, axes));
    return standardise(t, centred, ag_mean_keep(t, ag_square(t, centred), axes), epsilon, gamma, beta);
}

static bool has_axes(ag_tape *t, const char *name, const ag_tensor *x)
{
    return x && (x->ndim > 0 || ag_tape_fail(t, AG_ESHAPE, "%s: [] has no axis to normalise", name));
}

ag_tensor *ag_layer_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta)
{
    return has_axes(t, "layer_norm", x) ? ag_normalize(t, x, AG_AXIS(x->ndim - 1), epsilon, gamma, beta) : NULL;
}

ag_tensor *ag_batch_norm(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta,
                         ag_tensor **mean, ag_tensor **variance)
{
    if (mean)
        *mean = NULL;
    if (variance)
        *variance = NULL;
    if (!has_axes(t, "batch_norm", x))
        return NULL;
    unsigned axes = AG_AXIS(x->ndim - 1) - 1;   /* all but the last */
    if (!mean && !variance)
        return ag_normalize(t, x, axes, epsilon, gamma, beta);
    ag_tensor *m = ag_mean_keep(t, x, axes), *centred = ag_sub(t, x, m);
    ag_tensor *v = ag_mean_keep(t, ag_square(t, centred), axes);
    if (mean)
        *mean = drop_axes(t, m, axes);
    if (variance)
        *variance = drop_axes(t, v, axes);
    return standardise(t, centred, v, epsilon, gamma, beta);
}

ag_tensor *ag_batch_norm_running(ag_tape *t, ag_tensor *x, double epsilon, ag_tensor *gamma, ag_tensor *beta,
                                 ag_tensor *mean, ag_tensor *variance)
{
    return standardise(t, ag_sub(t, x, mean), variance, epsilon, gamma, beta);
}

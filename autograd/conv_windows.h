/* The convolution triad on one batch of images with one set of weights (ops/conv.c has the tasks and the rules). */
#ifndef AG_CONV_WINDOWS_H
#define AG_CONV_WINDOWS_H

#include "autograd/op.h"

/* x [n, h, w, c_in], weights [kh, kw, c_in, c_out], y [n, rows, columns, c_out]. */
typedef struct ag_conv_sizes {
    int64_t n, h, w, c_in, kh, kw, c_out, rows, columns;
    int64_t stride_h, stride_w, top, left;
} ag_conv_sizes;

/* What each of the three needs of scratch memory [bytes]. */
size_t ag_conv_scratch(const ag_conv_sizes *s);
/* y, x and weights are overwritten, row-major like the others. */
void ag_conv_forward(const ag_conv_sizes *s, const ag_real *x, const ag_real *weights, ag_real *y, void *scratch);
void ag_conv_input_grad(const ag_conv_sizes *s, const ag_real *grad, const ag_real *weights, ag_real *x, void *scratch);
void ag_conv_weight_grad(const ag_conv_sizes *s, const ag_real *x, const ag_real *grad, ag_real *weights, void *scratch);

#endif

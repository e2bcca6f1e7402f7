/* The operators, one line each: the list makes the prototypes, the table and the documentation.
 * AG_OP(name, parameters, meaning). Add an operator: one line here, one block in ops/ (docs/howto-operator.md).
 * Shapes are those of one task; see autograd.h for the task axis. */

/* elementwise, one input */
AG_OP(neg, (ag_tape *t, ag_tensor *x), "y = -x")
AG_OP(exp, (ag_tape *t, ag_tensor *x), "y = exp(x)")
AG_OP(log, (ag_tape *t, ag_tensor *x), "y = ln(x)")
AG_OP(sqrt, (ag_tape *t, ag_tensor *x), "y = sqrt(x)")
AG_OP(rsqrt, (ag_tape *t, ag_tensor *x), "y = 1 / sqrt(x)")
AG_OP(square, (ag_tape *t, ag_tensor *x), "y = x^2")
AG_OP(reciprocal, (ag_tape *t, ag_tensor *x), "y = 1 / x")
AG_OP(tanh, (ag_tape *t, ag_tensor *x), "y = tanh(x)")
AG_OP(sigmoid, (ag_tape *t, ag_tensor *x), "y = 1 / (1 + exp(-x))")
AG_OP(relu, (ag_tape *t, ag_tensor *x), "y = max(x, 0); derivative 0 at 0")
AG_OP(erf, (ag_tape *t, ag_tensor *x), "y = erf(x)")
AG_OP(gelu, (ag_tape *t, ag_tensor *x), "y = x Phi(x), exact")
AG_OP(gelu_tanh, (ag_tape *t, ag_tensor *x), "y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))")
AG_OP(silu, (ag_tape *t, ag_tensor *x), "y = x sigmoid(x)")
AG_OP(abs, (ag_tape *t, ag_tensor *x), "y = |x|; derivative 0 at 0")
AG_OP(sign, (ag_tape *t, ag_tensor *x), "y = -1, 0 or 1; not differentiable")
AG_OP(affine, (ag_tape *t, ag_tensor *x, double scale, double shift), "y = scale x + shift")
AG_OP(pow_scalar, (ag_tape *t, ag_tensor *x, double p), "y = x^p")
AG_OP(clip, (ag_tape *t, ag_tensor *x, double lo, double hi), "y = min(max(x, lo), hi); derivative 1 strictly inside")

/* elementwise, two or three inputs, broadcast by NumPy's rules */
AG_OP(add, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a + b")
AG_OP(sub, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a - b")
AG_OP(mul, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a b")
AG_OP(div, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a / b")
AG_OP(pow, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a^b, a > 0")
AG_OP(max, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = max(a, b); a tie gives each half the derivative")
AG_OP(min, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = min(a, b); a tie gives each half the derivative")
AG_OP(relu_gate, (ag_tape *t, ag_tensor *x, ag_tensor *g), "y = g where x > 0, else 0: the derivative of relu at x times g")
AG_OP(equal, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = 1 where a = b, else 0; not differentiable")
AG_OP(less, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = 1 where a < b, else 0; not differentiable")
AG_OP(less_equal, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = 1 where a <= b, else 0; not differentiable")
AG_OP(where, (ag_tape *t, ag_tensor *c, ag_tensor *a, ag_tensor *b), "y = a where c is not 0, else b")

/* shape: views of the same numbers, free of cost */
AG_OP(reshape, (ag_tape *t, ag_tensor *x, int ndim, const int64_t *shape), "the same numbers in row-major order; one size may be -1")
AG_OP(transpose, (ag_tape *t, ag_tensor *x, const int *axes), "axis i of y is axis axes[i] of x; NULL swaps the last two")
AG_OP(expand, (ag_tape *t, ag_tensor *x, int ndim, const int64_t *shape), "x repeated along new leading axes and axes of size 1")
AG_OP(slice, (ag_tape *t, ag_tensor *x, int axis, int64_t begin, int64_t end), "y = x[..., begin:end, ...] along one axis")
AG_OP(detach, (ag_tape *t, ag_tensor *x), "y = x, with derivative 0")
AG_OP(task_expand, (ag_tape *t, ag_tensor *x), "x seen by every task as its own: gradients come per task")

/* shape: copies */
AG_OP(copy, (ag_tape *t, ag_tensor *x), "y = x in memory of its own, row-major")
AG_OP(pad, (ag_tape *t, ag_tensor *x, int axis, int64_t before, int64_t after), "zeros before and after x along one axis")
AG_OP(concat, (ag_tape *t, ag_tensor *a, ag_tensor *b, int axis), "b behind a along one axis")

/* reductions: axes is a set of bits, AG_AXIS(0) | AG_AXIS(2); reduced axes stay with size 1 */
AG_OP(sum_keep, (ag_tape *t, ag_tensor *x, unsigned axes), "y = sum of x over the axes")
AG_OP(max_keep, (ag_tape *t, ag_tensor *x, unsigned axes), "y = largest x over the axes; ties share the derivative")
AG_OP(task_sum, (ag_tape *t, ag_tensor *x), "y = sum of x over the tasks, in task order; y has no task axis")
AG_OP(softmax, (ag_tape *t, ag_tensor *x), "y = exp(x) / sum exp(x) along the last axis")
AG_OP(log_softmax, (ag_tape *t, ag_tensor *x), "y = x - ln sum exp(x) along the last axis")
AG_OP(product_sum, (ag_tape *t, ag_tensor *a, ag_tensor *b, unsigned axes), "y = sum of a b over the axes, which stay with size 1")

/* normalisation: axes is the last axis or all others */
AG_OP(moments, (ag_tape *t, ag_tensor *x, unsigned axes, double epsilon), "y [2, statistics]: mean(x) and r = 1 / sqrt(variance(x) + epsilon)")
AG_OP(standardise, (ag_tape *t, ag_tensor *x, unsigned axes, double epsilon), "y = (x - mean(x)) r")
AG_OP(standardise_grad, (ag_tape *t, ag_tensor *y, ag_tensor *r, ag_tensor *v, unsigned axes), "r (v - mean(v) - y mean(y v)): the derivative of standardise times v, which is symmetric")
AG_OP(scale_shift, (ag_tape *t, ag_tensor *x, ag_tensor *gamma, ag_tensor *beta), "y = gamma x + beta, gamma and beta [c] along the last axis")

/* products */
AG_OP(matmul, (ag_tape *t, ag_tensor *a, ag_tensor *b), "y = a b: a [..., m, k]  b [..., k, n]  y [..., m, n]; leading axes broadcast")
AG_OP(conv2d, (ag_tape *t, ag_tensor *x, ag_tensor *w, const ag_conv *c), "x [n, h, w, c_in]  w [kh, kw, c_in, c_out]  y [n, h', w', c_out]")
AG_OP(conv2d_input_grad, (ag_tape *t, ag_tensor *g, ag_tensor *w, const ag_conv *c, int64_t h, int64_t wd), "adjoint of conv2d in x: g like y, result like x [n, h, wd, c_in]")
AG_OP(conv2d_weight_grad, (ag_tape *t, ag_tensor *x, ag_tensor *g, const ag_conv *c, int64_t kh, int64_t kw), "adjoint of conv2d in w: result like w [kh, kw, c_in, c_out]")
AG_OP(avg_pool2d, (ag_tape *t, ag_tensor *x, int64_t window, int64_t stride), "mean over windows of x [n, h, w, c]; no padding")
AG_OP(avg_pool2d_grad, (ag_tape *t, ag_tensor *g, int64_t window, int64_t stride, int64_t h, int64_t w), "adjoint of avg_pool2d")
AG_OP(max_pool2d_index, (ag_tape *t, ag_tensor *x, int64_t window, int64_t stride, bool same), "int32: where in x, flattened, each window's first largest value is; not differentiable")

/* indices are int32 tensors; out of range is an error of the evaluation (eager) or reads row 0 (replay) */
AG_OP(gather, (ag_tape *t, ag_tensor *x, ag_tensor *i), "y[j..., d...] = x[i[j...], d...]")
AG_OP(scatter_add, (ag_tape *t, ag_tensor *g, ag_tensor *i, int64_t n), "adjoint of gather: y [n, d...] with y[i[j]] += g[j]")
AG_OP(one_hot, (ag_tape *t, ag_tensor *i, int64_t n), "y [..., n] = 1 at i, else 0; not differentiable")
AG_OP(hit, (ag_tape *t, ag_tensor *logits, ag_tensor *labels), "y [n] = 1 where the largest of logits [n, c] is at labels [n]; not differentiable")
AG_OP(cross_entropy, (ag_tape *t, ag_tensor *logits, ag_tensor *labels), "y [n] = -ln softmax(logits [n, c])[labels [n]]  [nats]")
AG_OP(cross_entropy_grad, (ag_tape *t, ag_tensor *logits, ag_tensor *labels, ag_tensor *g), "y [n, c] = g (softmax(logits) - 1 at labels), g [n]: the adjoint of cross_entropy")
AG_OP(pick, (ag_tape *t, ag_tensor *x, ag_tensor *labels), "y [n] = x [n, c] at labels [n]")

/* random numbers: a function of the seed, an int32 tensor [2]; see random.h */
AG_OP(dropout_mask, (ag_tape *t, ag_tensor *seed, int ndim, const int64_t *shape, double p, int64_t stream), "y = 1 / (1 - p) where kept, 0 with probability p; not differentiable")

/* Uses every room of an installed metalora, and prints the gradient and the second derivative of sum tanh(x^2) at 0.5, 1
 * and 2 beside their closed forms; then what needs the libraries of file formats: a checkpoint and an adapter. */
#include "autograd/autograd.h"
#include "meta/adapter.h"
#include "meta/optimizer.h"
#include "models/model.h"
#include "models/tokenizer/tokenizer.h"

#include <math.h>
#include <stdio.h>

static int report(const char *what, const ag_real *got, const double *wanted, int n)
{
    int wrong = 0;
    for (int i = 0; i < n; i++) {
        printf("%s[%d] = %.6f, expected %.6f\n", what, i, (double)got[i], wanted[i]);
        wrong |= !(fabs((double)got[i] - wanted[i]) <= 1e-5 * fmax(1, fabs(wanted[i])));
    }
    return wrong;
}

/* y = tanh(x^2): y' = 2 x (1 - y^2), y'' = (2 - 8 x^2 y) (1 - y^2) */
static int derivatives(void)
{
    const ag_real x0[3] = { (ag_real)0.5, 1, 2 };
    double first[3], second[3];
    ag_real g1[3], g2[3];
    ag_error err = { 0 };
    for (int i = 0; i < 3; i++) {
        double x = (double)x0[i], y = tanh(x * x);
        first[i] = 2 * x * (1 - y * y);
        second[i] = (2 - 8 * x * x * y) * (1 - y * y);
    }
    ag_tape *t = ag_tape_new(NULL, &err);
    ag_tensor *x = ag_value(t, &(ag_spec){ .ndim = 1, .shape = { 3 } }, x0);
    ag_tensor *y = ag_sum(t, ag_tanh(t, ag_square(t, x)), AG_ALL_AXES), *g = NULL, *h = NULL;
    ag_grad(t, y, NULL, 1, &x, &g);
    ag_grad(t, ag_sum(t, g, AG_ALL_AXES), NULL, 1, &x, &h);
    if (ag_tape_status(t, &err) != AG_OK || ag_read(g, g1) != AG_OK || ag_read(h, g2) != AG_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    ag_tape_free(t);
    return report("first", g1, first, 3) | report("second", g2, second, 3);
}

/* A plain step of SGD on a model's initial values: values - lr * grad. */
static int step(void)
{
    nn_model m;
    meta_optimizer o;
    ag_error err = { 0 };
    nn_options options = { .kind = "linear", .x_ndim = 1, .x_shape = { 2 }, .n_out = 2 };
    ag_real values[16] = { 0 }, grad[16];
    double wanted[16];
    if (nn_model_init(&m, &options, &err) != AG_OK || m.n_value > 16
        || meta_optimizer_init(&o, &(meta_optimizer_options){ .kind = META_SGD }, m.n_value, &err) != AG_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    nn_model_draw(&m, 7, values);
    for (int64_t i = 0; i < m.n_value; i++) {
        grad[i] = (ag_real)(i + 1);
        wanted[i] = (double)values[i] - 0.5 * (double)(i + 1);
    }
    meta_optimizer_step(&o, 0.5, grad, values);
    meta_optimizer_release(&o);
    return report("value", values, wanted, (int)m.n_value);
}

/* What is written is read back. */
static int checkpoint(void)
{
    const ag_real x[2] = { 3, 4 };
    ag_real y[2] = { 0 };
    nn_weights *w = NULL;
    ag_error err = { 0 };
    const nn_to_store tensor = { "a", 1, { 2 }, x };
    if (nn_safetensors_write("consumer.safetensors", 1, &tensor, 0, NULL, &err) != AG_OK
        || nn_weights_open(&w, "consumer.safetensors", &err) != AG_OK
        || nn_stored_read(nn_weights_find(w, "a"), y, &err) != AG_OK)
        fprintf(stderr, "%s\n", err.message);
    nn_weights_close(w);
    remove("consumer.safetensors");
    return report("read", y, (const double[]){ 3, 4 }, 2);
}

/* LoRA of rank 2 on the queries and values of two layers of width 8: (8 + 8) * 2 numbers each. */
static int adapter(void)
{
    nn_network *net = NULL;
    meta_adapter *a = NULL;
    ag_error err = { 0 };
    const nn_network_config c = { .architecture = "bert", .vocab_size = 11, .hidden_size = 8, .n_layer = 2, .n_head = 2,
                                  .intermediate_size = 16, .max_position = 12, .type_vocab = 2, .norm_epsilon = 1e-12,
                                  .activation = "gelu" };
    const meta_adapter_options o = { .rank = 2, .target_regex = ".*\\.(query|value)" };
    ag_real n = 0;
    if (nn_network_random(&net, &c, 1, &err) != AG_OK || meta_adapter_new(&a, net, &o, &err) != AG_OK)
        fprintf(stderr, "%s\n", err.message);
    if (a)
        n = (ag_real)meta_adapter_values(a);
    meta_adapter_free(a);
    nn_network_close(net);
    return report("adapter's numbers", &n, (const double[]){ 4 * 32 }, 1);
}

int main(void)
{
    printf("%s\n", AG_REAL_NAME);
    return derivatives() | step() | checkpoint() | adapter();
}

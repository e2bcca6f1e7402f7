/* Only `expect`, not Check's own assertions: drivers use these too, and Check refuses to count outside a test. */
#include "tests/models/network_runs.h"

void run_init(run *r, const nn_network *net)
{
    r->tape = ag_tape_new(NULL, NULL);
    r->weight = malloc((size_t)net->n_weight * sizeof *r->weight);
    expect(r->tape && r->weight, "no memory");
    for (int i = 0; i < net->n_weight; i++) {
        const nn_weight *w = &net->weight[i];
        ag_spec spec = { .ndim = w->ndim };
        memcpy(spec.shape, w->shape, sizeof w->shape);
        r->weight[i] = ag_value(r->tape, &spec, w->data);
    }
    r->pass = (nn_pass){ .t = r->tape, .net = net, .weight = r->weight };
}

void run_release(run *r)
{
    ag_tape_free(r->tape);
    free(r->weight);
}

void run_read(run *r, ag_tensor *x, ag_real *out)
{
    ag_error err = { 0 };
    expect(ag_tape_status(r->tape, &err) == AG_OK, "%s", err.message);
    expect(ag_read(x, out) == AG_OK, "cannot be read");
}

ag_real *run_numbers(run *r, ag_tensor *x)
{
    ag_real *out = malloc((size_t)(x ? ag_numel(x) : 1) * sizeof *out);
    expect(out, "no memory");
    run_read(r, x, out);
    return out;
}

nn_network *open_network(const char *path)
{
    nn_network *net;
    ag_error err = { 0 };
    expect(nn_network_open(&net, path, NULL, &err) == AG_OK, "%s (%s)", err.message, err.trail);
    return net;
}

nn_text run_texts(run *r, const texts *x, const nn_text_shape *s)
{
    int64_t n = nn_text_numel(s);
    int32_t *packed = malloc((size_t)n * sizeof *packed);
    expect(packed, "no memory");
    nn_text_pack(s, x->ids, x->start, x->length, packed);
    ag_tensor *y = ag_value(r->tape, &(ag_spec){ .dtype = AG_INT, .ndim = 1, .shape = { n } }, packed);
    free(packed);
    return nn_text_split(r->tape, y, s);
}

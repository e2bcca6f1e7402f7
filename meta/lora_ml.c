/* PEFT-ML with LoRA and standard retraining (lora_ml.h). All tasks are one chunk. */
#include "meta/lora_ml.h"

#include "autograd/random.h"
#include "meta/learn_internal.h"

#include <math.h>
#include <string.h>

struct meta_lora_ml {
    const nn_model *model;               /* borrowed */
    meta_plan plan;
    meta_lora_ml_options options;
    int64_t n_task;
    ag_program *inner_program, *outer_program;   /* gradients for the adapters; for both */
    ag_frame *inner, *outer;
    meta_data data;
    ag_real *adapters, *g, *base_grad, *loss;    /* [n_task * n_adapted] twice, [n_task * n_shared], [n_task] */
    bool ran;                                    /* stage 0 is done */
};

static ag_code new_array(ag_real **a, int64_t n, ag_error *err)
{
    *a = ag_alloc_zero((size_t)(n > 0 ? n : 1) * sizeof **a);
    AG_REQUIRE(*a, err, AG_ENOMEM, "lora-ml: no memory for %lld numbers", (long long)n);
    return AG_OK;
}

static void draw_adapters(meta_lora_ml *l, uint64_t seed)
{
    for (int p = 0; p < l->model->n_param; p++) {
        const nn_param *param = &l->model->param[p];
        for (int64_t task = 0; l->plan.param[p].adapted && task < l->n_task; task++) {
            ag_random r;
            ag_random_init(&r, seed, AG_STREAM_ADAPTER, (uint64_t)p, (uint64_t)task);
            ag_real *to = l->adapters + l->n_task * l->plan.param[p].place + task * param->numel;
            for (int64_t i = 0; i < param->numel; i++)
                to[i] = (ag_real)(param->scale * ag_random_normal(&r));
        }
    }
}

static ag_code make_frame(meta_lora_ml *l, bool outer, ag_program **p, ag_frame **f, ag_error *err)
{
    meta_program_options o = { .n_task = l->n_task, .set = { l->options.n_support, 0 }, .shared_gradient = outer };
    AG_TRY(err, meta_compile_support(&l->plan, &o, p, err));
    AG_TRY(err, ag_frame_new(*p, f, err));
    meta_bind_data(&l->data, *f, false);
    meta_bind_frozen(&l->plan, *f);
    ag_frame_output(*f, META_OUT_LOSS, l->loss);
    int next = meta_bind_outputs(&l->plan, *f, 1, l->n_task, META_ADAPTED, l->g);
    if (outer)
        meta_bind_outputs(&l->plan, *f, next, l->n_task, META_SHARED, l->base_grad);
    return AG_OK;
}

static ag_code build(meta_lora_ml *l, const meta_batch *b, uint64_t seed, ag_error *err)
{
    int64_t adapted = l->n_task * l->plan.n_adapted;
    AG_TRY(err, meta_data_init(&l->data, &l->plan, l->n_task, (meta_set){ l->options.n_support, 0 }, (meta_set){ 0, 0 }, err));
    AG_TRY(err, meta_data_fetch(&l->data, b, 0, l->n_task, l->n_task, err));
    AG_TRY(err, new_array(&l->adapters, adapted, err));
    AG_TRY(err, new_array(&l->g, adapted, err));
    AG_TRY(err, new_array(&l->base_grad, l->n_task * l->plan.n_shared, err));
    AG_TRY(err, new_array(&l->loss, l->n_task, err));
    draw_adapters(l, seed);
    if (l->plan.n_adapted > 0)
        AG_TRY(err, make_frame(l, false, &l->inner_program, &l->inner, err));
    return make_frame(l, true, &l->outer_program, &l->outer, err);
}

ag_code meta_lora_ml_new(meta_lora_ml **out, const nn_model *m, const meta_lora_ml_options *o, const meta_batch *b, uint64_t seed,
                         ag_error *err)
{
    *out = NULL;
    AG_REQUIRE(b->n_task >= 1 && o->n_support >= 1 && o->inner_steps >= 0, err, AG_EINVAL,
               "lora-ml: %lld tasks of %lld examples, %lld inner steps; at least 1, 1 and 0 are expected", (long long)b->n_task,
               (long long)o->n_support, (long long)o->inner_steps);
    meta_lora_ml *l = ag_alloc_zero(sizeof *l);
    AG_REQUIRE(l, err, AG_ENOMEM, "lora-ml: no memory");
    l->model = m;
    l->options = *o;
    l->n_task = b->n_task;
    meta_options adapters = { .loss = META_MSE, .support_scale = o->loss_scale, .adapters_only = true };
    ag_code code = meta_plan_init(&l->plan, l->model, &adapters, err);
    if (code == AG_OK)
        code = build(l, b, seed, err);
    if (code == AG_OK)
        *out = l;
    else
        meta_lora_ml_free(l);
    return ag_trail(err, code, __func__);
}

void meta_lora_ml_free(meta_lora_ml *l)
{
    if (!l)
        return;
    ag_frame_free(l->inner);
    ag_frame_free(l->outer);
    ag_program_free(l->inner_program);
    ag_program_free(l->outer_program);
    meta_data_release(&l->data);
    meta_plan_release(&l->plan);
    ag_free(l->adapters);
    ag_free(l->g);
    ag_free(l->base_grad);
    ag_free(l->loss);
    ag_free(l);
}

/* The mean over tasks of the base's gradient, in task order. */
static void mean_base_gradient(const meta_lora_ml *l, ag_real *grad)
{
    memset(grad, 0, (size_t)l->model->n_value * sizeof *grad);
    for (int p = 0; p < l->model->n_param; p++) {
        const nn_param *param = &l->model->param[p];
        const ag_real *from = l->base_grad + l->n_task * l->plan.param[p].place;
        for (int64_t i = 0; !l->plan.param[p].adapted && i < l->n_task * param->numel; i++)
            grad[param->offset + i % param->numel] += from[i] / (ag_real)l->n_task;
    }
}

ag_code meta_lora_ml_gradient(meta_lora_ml *l, const ag_real *theta, ag_real *grad, double *loss, ag_error *err)
{
    meta_rates rates = { .fixed = (ag_real)l->options.inner_lr };
    int first_stage = l->ran ? 1 : 0;
    if (l->inner)
        meta_bind_params(&l->plan, l->inner, l->n_task, theta, l->adapters, NULL);
    for (int64_t k = 0; l->inner && k < l->options.inner_steps; k++) {
        AG_TRY(err, ag_frame_run(l->inner, k ? 1 : first_stage, 1, err));
        meta_inner_step(&l->plan, &rates, l->n_task, NULL, NULL, l->adapters, l->g, l->adapters);
    }
    meta_bind_params(&l->plan, l->outer, l->n_task, theta, l->adapters, NULL);
    AG_TRY(err, ag_frame_run(l->outer, first_stage, 1, err));
    l->ran = true;
    mean_base_gradient(l, grad);
    *loss = 0;
    for (int64_t task = 0; task < l->n_task; task++)
        *loss += (double)l->loss[task] / (double)l->n_task;
    AG_REQUIRE(isfinite(*loss), err, AG_ENAN, "task %lld: the loss is not finite", (long long)meta_lora_ml_bad_task(l));
    return AG_OK;
}

ag_real *meta_lora_ml_adapters(meta_lora_ml *l, int64_t *n)
{
    *n = l->n_task * l->plan.n_adapted;
    return l->adapters;
}

void meta_lora_ml_task(const meta_lora_ml *l, int64_t task, double *loss, double *grad_norm)
{
    double sum = 0;
    for (int p = 0; p < l->model->n_param; p++) {
        int64_t numel = l->model->param[p].numel;
        const ag_real *g = l->base_grad + l->n_task * l->plan.param[p].place + task * numel;
        for (int64_t i = 0; !l->plan.param[p].adapted && i < numel; i++)
            sum += (double)g[i] * (double)g[i];
    }
    *loss = (double)l->loss[task];
    *grad_norm = sqrt(sum);
}

int64_t meta_lora_ml_bad_task(const meta_lora_ml *l)
{
    for (int64_t task = 0; task < l->n_task; task++)
        if (!isfinite((double)l->loss[task]))
            return task;
    return -1;
}

/* Adapters: LoRA and its kin on the modules of a frozen network. The user's manual.
 *
 *     const char *targets[] = { "query", "value" };
 *     meta_adapter *a;
 *     AG_TRY(err, meta_adapter_new(&a, net, &(meta_adapter_options){ .rank = 8, .alpha = 16, .n_target = 2, .targets = targets }, err));
 *     meta_adapter_draw(a, seed, values);                                   // values [a's n_value]
 *     meta_adapter_pass with = { .adapter = a, .params = params };                        // params[i] has the shape of meta_adapter_param(a, i)
 *     nn_pass pass = { .t = tape, .net = net, .weight = weights, .adapt = meta_adapter_apply, .ctx = &with };
 *
 * Conventions are PEFT's: A [r, in], B [out, r], scale = alpha / r (rsLoRA: alpha / sqrt(r)), y = W x + b + scale B A x.
 * Only where the engine reads them otherwise A lies turned: [count, r] of an embedding, [kh, kw, in, r] of a convolution.
 * An adapter is read-only once made and may be shared between threads; the network must outlive it. */
#ifndef META_ADAPTER_H
#define META_ADAPTER_H

#include "models/model.h"
#include "models/network.h"

typedef struct meta_pattern {
    const char *pattern;         /* regular expression, matched as PEFT does: (.*\.)?(pattern)$ */
    double value;
} meta_pattern;

/* Zero is PEFT's default of every field but where said otherwise. */
typedef struct meta_adapter_options {
    const char *kind;            /* lora (default) | dora | adalora | vera */
    const char *init;            /* default (A Kaiming-uniform, B 0) | gaussian | pissa | olora | orthogonal */
    int64_t rank;                /* 0: 8 (adalora: the first budget's rank; vera: 256) */
    double alpha;                /* 0: 8 */
    bool rslora;
    double dropout;              /* of the adapter's input, while training */
    int n_target;                /* names: a module is meant whose name is one or ends in "." and one */
    const char *const *targets;  /* one "all-linear": every linear module; none: the architecture's usual ones (papers: PEFT's table) */
    const char *target_regex;    /* instead: the whole name matches */
    int n_exclude;
    const char *const *exclude;
    int n_layer;                 /* only these layers (the first number in the module's name); none: all */
    const int64_t *layers;
    int n_rank_pattern, n_alpha_pattern;   /* first match wins */
    const meta_pattern *rank_pattern, *alpha_pattern;
    double lr_ratio;             /* LoRA+: B's learning rate is this times A's; 0: 1. Kept for the optimisers */
    double vera_d_initial;       /* 0: 0.1 */
    uint64_t vera_seed;          /* of the shared, frozen random factors */
} meta_adapter_options;

typedef struct meta_adapter meta_adapter;

/* Targets that match no module are refused (AG_ECONFIG) with the nearest names; a kind that cannot be put on a module's kind
 * too (VeRA on an embedding). PiSSA and OLoRA take their factors out of the base weight (meta_adapter_weight). */
ag_code meta_adapter_new(meta_adapter **a, const nn_network *net, const meta_adapter_options *o, ag_error *err);
void meta_adapter_free(meta_adapter *a);                                   /* NULL is allowed */
const meta_adapter_options *meta_adapter_describe(const meta_adapter *a);  /* resolved; borrowed */
const nn_network *meta_adapter_network(const meta_adapter *a);

/* What is trained: "encoder.layer.0.attention.self.query.lora_A.weight", ...; offsets count within the adapter's values. */
int meta_adapter_params(const meta_adapter *a);
const nn_param *meta_adapter_param(const meta_adapter *a, int i);
int64_t meta_adapter_values(const meta_adapter *a);                        /* numbers of all of them */
/* Initial values, a pure function of the seed (and of the base, for pissa and olora). */
void meta_adapter_draw(const meta_adapter *a, uint64_t seed, ag_real *values);
/* The frozen numbers of a base weight under this adapter, where they differ from the base's own (pissa, olora); else NULL. */
const ag_real *meta_adapter_weight(const meta_adapter *a, int weight);
int meta_adapter_modules(const meta_adapter *a);
int meta_adapter_module(const meta_adapter *a, int i);                     /* index of the network's module */
/* LoRA+: what a learning rate is multiplied by for parameter i. */
double meta_adapter_rate(const meta_adapter *a, int i);

/* The hook of nn_pass. */
typedef struct meta_adapter_pass {
    const meta_adapter *adapter;
    ag_tensor *const *params;    /* [meta_adapter_params] */
    ag_tensor *seed;             /* int32 [2]: dropout's random numbers are a function of it; NULL: no dropout */
    ag_tensor *vera_a, *vera_b;  /* NULL; the first module of a recording sets them for the others */
} meta_adapter_pass;
ag_tensor *meta_adapter_apply(nn_pass *pass, int module, ag_tensor *x);

/* Merged weight of module i of the adapter: out like the base weight. AG_ECONFIG where another module has the same weight (a tied
 * lm_head and its embedding): it would change too. Unmerging is taking the base again, exact by nature;
 * merged numbers minus scale B A equal the base to rounding. */
ag_code meta_adapter_merge(const meta_adapter *a, const ag_real *values, int i, ag_real *out, ag_error *err);

/* AdaLoRA's budget: masks the singular values of least importance so that `budget` of them are left (Zhang et al. 2023,
 * eq. 8-12); ema_s, ema_u [n_value]: smoothed sensitivity and uncertainty, updated from values and grad. */
void meta_adalora_importance(const meta_adapter *a, const ag_real *values, const ag_real *grad, double beta1, double beta2,
                             ag_real *ema_s, ag_real *ema_u);
void meta_adalora_prune(const meta_adapter *a, ag_real *values, const ag_real *ema_s, const ag_real *ema_u, int64_t budget);
/* The penalty that keeps singular vectors orthogonal (Zhang et al. 2023, eq. 4, in the form of its authors' code and PEFT's):
 * weight times the mean over all A and B of |A A' - I|_F and |B' B - I|_F. Its gradient is added to grad [n_value]; may be NULL. */
double meta_adalora_penalty(const meta_adapter *a, const ag_real *values, double weight, ag_real *grad);
/* The budget at step t: from first to last by the cubic schedule between warm-up and the final phase. */
int64_t meta_adalora_budget(int64_t first, int64_t last, int64_t t, int64_t warm_up, int64_t final, int64_t steps);

/* Extra tensors that travel with an adapter (a classifier's head): PEFT's modules_to_save. */
typedef struct meta_extra {
    const char *name;            /* "classifier.weight" */
    int ndim;
    int64_t shape[4];
    const ag_real *data;
} meta_extra;

/* PEFT's folder: adapter_config.json and adapter_model.safetensors, written aside and renamed. The digest of the base stands
 * in the safetensors' metadata ("metalora.base"). A pissa or olora adapter is written as the plain LoRA of twice the rank
 * that does the same to the untouched base: s (B A - B0 A0). Fails with AG_EIO, AG_ENOMEM. */
ag_code meta_peft_save(const char *dir, const meta_adapter *a, const ag_real *values, int n_extra, const meta_extra *extra,
                       ag_error *err);
/* *values [meta_adapter_values] is freed with ag_free. Unknown fields of the config are ignored; a kind we do not have, a
 * missing, superfluous or misshapen tensor, another base (by digest, where one is recorded) are refused: AG_EDATA, named. */
ag_code meta_peft_load(meta_adapter **a, ag_real **values, const char *dir, const nn_network *net, ag_error *err);
/* An extra tensor of such a folder: x [numel of shape] is filled. Another shape or none there: AG_EDATA. */
ag_code meta_peft_load_extra(const char *dir, const char *name, int ndim, const int64_t *shape, ag_real *x, ag_error *err);

#endif

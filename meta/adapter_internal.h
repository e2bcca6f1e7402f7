/* The insides of an adapter, for its own files: adapter.c (making), adapter_match.c (which modules), adapter_init.c (first
 * values), adapter_apply.c (formulas), adapter_merge.c, adalora.c, peft.c and peft_read.c. */
#ifndef META_ADAPTER_INTERNAL_H
#define META_ADAPTER_INTERNAL_H

#include "meta/adapter.h"

typedef enum meta_kind { META_LORA, META_DORA, META_ADALORA, META_VERA, META_N_KIND } meta_kind;
typedef enum meta_start { META_DEFAULT, META_GAUSSIAN, META_PISSA, META_OLORA, META_ORTHOGONAL, META_N_START } meta_start;
extern const char *const meta_kind_names[META_N_KIND], *const meta_start_names[META_N_START];

enum { META_ORTHOGONAL_RANK = 512 };       /* the most rank of the orthogonal start: its drawing allocates nothing */

/* One adapted module. Seen as a matrix it has `in` columns and `out` rows: a convolution's in is kh kw c_in, an embedding's
 * is count. */
typedef struct meta_adapted {
    int module;                            /* of the network */
    nn_module_kind kind;
    int64_t rank, in, out;
    double scale;
    int first;                             /* its first parameter: A, B and the third, or vera's b and d */
    ag_real *residual;                     /* pissa, olora: the base without start, laid out like the base weight */
    ag_real *start;                        /* A and B behind it, as meta_adapter_draw gives them */
} meta_adapted;

struct meta_adapter {
    const nn_network *net;
    meta_adapter_options options;          /* resolved; strings in `text` */
    void *text;
    meta_kind kind;
    meta_start start;
    int n_module, n_param;
    meta_adapted *module;
    int *of_module;                        /* [net->n_module]: which adapted one; -1 */
    nn_param *param;
    int64_t n_value;
    /* vera: A [rank, wide_in], B [wide_out, rank], of which a module takes the first columns, rows */
    int64_t wide_in, wide_out;
    ag_real *wide_a, *wide_b;
};

/* lenient: names of which some match nothing are well, as in PEFT; a folder of PEFT's is read so. */
ag_code meta_adapter_make(meta_adapter **a, const nn_network *net, const meta_adapter_options *o, bool lenient, ag_error *err);

/* adapter_match.c */
typedef struct meta_regex meta_regex;
/* The whole of a text must match. Fails with AG_ECONFIG (what, where in the pattern), AG_ENOMEM. */
ag_code meta_regex_new(meta_regex **r, const char *pattern, ag_error *err);
void meta_regex_free(meta_regex *r);
ag_code meta_regex_match(const meta_regex *r, const char *text, bool *found, ag_error *err);
/* chosen [net->n_module] is filled; returns their number in *n. */
ag_code meta_adapter_choose(const nn_network *net, const meta_adapter_options *o, bool lenient, bool *chosen, int *n, ag_error *err);
/* The value of the first pattern that matches the name; `otherwise` where none does. */
ag_code meta_pattern_value(int n, const meta_pattern *patterns, const char *name, double otherwise, double *value, ag_error *err);
/* The first number of the name, between dots, and the segment before it; false: there is none. */
bool meta_layer_of(const char *name, int64_t *layer, const char **before, int *length);

/* adapter_init.c: residual and start of every module (pissa, olora), vera's shared factors. */
ag_code meta_adapter_prepare(meta_adapter *a, ag_error *err);

/* adapter_merge.c: the product of a module's factors,
 *     dW[o, i] = row[o] sum_k b[o br + k] middle[k] a[i ai + k ak]      (row and middle may be NULL: ones) times scale */
typedef struct meta_factors {
    const ag_real *a, *b, *middle, *row;
    int64_t ai, ak, br;
    int64_t rank, in, out;
    double scale;
} meta_factors;
meta_factors meta_adapter_factors(const meta_adapter *a, const ag_real *values, int i);
double meta_factors_at(const meta_factors *f, int64_t row, int64_t column);
/* Strides of a base weight, or of anything laid out so: entry (o, i) is at o *so + i *si. */
void meta_weight_strides(const meta_adapted *m, int64_t *so, int64_t *si);
void meta_a_strides(const meta_adapted *m, int64_t *ai, int64_t *ak);
const ag_real *meta_adapter_base(const meta_adapter *a, const meta_adapted *m);   /* residual or the network's own */

/* svd.c: the r largest singular values of W (entry (o, i) at w[o so + i si]) and their vectors, in float64: s [r] falling,
 * u [r, out], v [r, in]. r <= min(in, out). Fails with AG_ENOMEM, AG_ENAN. */
ag_code meta_svd_top(const ag_real *w, int64_t out, int64_t in, int64_t so, int64_t si, int64_t r, double *s, double *u, double *v,
                     ag_error *err);
/* Makes row k of q [.., n] orthogonal to the k rows before it, of length 1; returns its length before that, 0 where it was
 * dependent and is replaced by a unit vector's remainder. k < n. */
double meta_orthogonalize(double *q, int64_t k, int64_t n);

#endif

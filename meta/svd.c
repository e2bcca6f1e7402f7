/* The largest singular values and vectors of a matrix, in float64 (adapter_internal.h). Golub and Kahan's bidiagonalisation
 * with every vector made orthogonal to all before (Golub & Van Loan, "Matrix Computations", 10.4): after k steps W V = U B
 * with B upper bidiagonal [k, k], and the values of B approach the outermost of W. It goes on until the residuals of the
 * wanted ones are at rounding, which a full run of min(in, out) steps reaches for certain.
 *
 * One such run sees a repeated value once. So what was found is taken out and the run repeated from another vector, until
 * nothing larger than the smallest of the wanted comes to light. */
#include "meta/adapter_internal.h"

#include "autograd/random.h"

#include <math.h>
#include <string.h>

typedef struct matrix {
    const ag_real *w;
    int64_t out, in, so, si;
} matrix;

typedef struct lanczos {
    int64_t room, k;                       /* vectors there is room for; steps done */
    double *v, *u;                         /* [room + 1, in], [room, out] */
    double *alpha, *beta;                  /* B's diagonal, and what is right of it */
    double *b, *z;                         /* [k, k]: B turned by Jacobi, and the turns */
    double *s, *residual;                  /* [k] */
    int64_t *order;
} lanczos;

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static void add_scaled(double *y, double c, const double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] += c * x[i];
}

static void scale(double *x, double c, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= c;
}

/* y += the matrix with rows of stride `major` and columns of stride `minor` times x; the smaller stride runs innermost. */
static void multiply(const ag_real *w, int64_t rows, int64_t columns, int64_t major, int64_t minor, const double *x, double *y)
{
    memset(y, 0, (size_t)rows * sizeof *y);
    if (minor <= major) {
        for (int64_t r = 0; r < rows; r++) {
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t c = 0; c < columns; c++)
                sum += (double)w[r * major + c * minor] * x[c];
            y[r] = sum;
        }
        return;
    }
    for (int64_t c = 0; c < columns; c++)
        for (int64_t r = 0; r < rows; r++)
            y[r] += (double)w[r * major + c * minor] * x[c];
}

/* Takes the first k rows of q out of x, twice: once leaves what rounding made of nearly dependent vectors. */
static void project_out(const double *q, int64_t k, double *x, int64_t n)
{
    for (int pass = 0; pass < 2; pass++)
        for (int64_t j = 0; j < k; j++)
            add_scaled(x, -dot(q + j * n, x, n), q + j * n, n);
}

double meta_orthogonalize(double *q, int64_t k, int64_t n)
{
    double *x = q + k * n, before = sqrt(dot(x, x, n)), after;
    project_out(q, k, x, n);
    after = sqrt(dot(x, x, n));
    if (after > 1e-12 * before && after > 0) {
        scale(x, 1 / after, n);
        return after;
    }
    for (int64_t axis = 0; axis < n; axis++) {   /* some unit vector has at least 1 - k / n of its square outside */
        memset(x, 0, (size_t)n * sizeof *x);
        x[axis] = 1;
        project_out(q, k, x, n);
        after = sqrt(dot(x, x, n));
        if (after * after * (double)n >= 0.5)
            break;
    }
    scale(x, 1 / after, n);
    return 0;
}

/* ---- memory ---- */

static void lanczos_release(lanczos *l)
{
    double *all[] = { l->v, l->u, l->alpha, l->beta, l->b, l->z, l->s, l->residual };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ag_free(all[i]);
    ag_free(l->order);
}

static double *numbers(int64_t n)
{
    return ag_alloc_zero((size_t)n * sizeof(double));
}

/* Room for more steps, with what is there kept. */
static ag_code grow(lanczos *l, const matrix *m, int64_t room, ag_error *err)
{
    lanczos to = { .room = room, .k = l->k, .v = numbers((room + 1) * m->in), .u = numbers(room * m->out), .alpha = numbers(room),
                   .beta = numbers(room), .b = numbers(room * room), .z = numbers(room * room), .s = numbers(room),
                   .residual = numbers(room), .order = ag_alloc((size_t)room * sizeof *to.order) };
    if (!to.v || !to.u || !to.alpha || !to.beta || !to.b || !to.z || !to.s || !to.residual || !to.order) {
        lanczos_release(&to);
        return ag_fail(err, AG_ENOMEM, "singular values: no memory for %lld vectors", (long long)room);
    }
    if (l->room) {
        memcpy(to.v, l->v, (size_t)((l->room + 1) * m->in) * sizeof *to.v);
        memcpy(to.u, l->u, (size_t)(l->room * m->out) * sizeof *to.u);
        memcpy(to.alpha, l->alpha, (size_t)l->room * sizeof *to.alpha);
        memcpy(to.beta, l->beta, (size_t)l->room * sizeof *to.beta);
    }
    lanczos_release(l);
    *l = to;
    return AG_OK;
}

/* ---- one run ---- */

typedef struct found {
    double *s, *u, *v;                     /* [n], [n, out], [n, in] */
    int64_t n;
} found;

/* One step: column k of B. `out` has triplets that are taken out of W. */
static void step(lanczos *l, const matrix *m, const found *f)
{
    int64_t k = l->k;
    double *u = l->u + k * m->out, *v = l->v + k * m->in, *next = v + m->in;
    multiply(m->w, m->out, m->in, m->so, m->si, v, u);
    project_out(f->u, f->n, u, m->out);
    if (k > 0)
        add_scaled(u, -l->beta[k - 1], u - m->out, m->out);
    l->alpha[k] = meta_orthogonalize(l->u, k, m->out);
    multiply(m->w, m->in, m->out, m->si, m->so, u, next);
    project_out(f->v, f->n, next, m->in);
    add_scaled(next, -l->alpha[k], v, m->in);
    l->k++;
    l->beta[k] = l->k + f->n < m->in ? meta_orthogonalize(l->v, l->k, m->in) : 0;
}

/* One-sided Jacobi (Hestenes 1958): turns pairs of columns of B until all are orthogonal; their lengths are the singular
 * values. Columns are kept as rows of b, the turns as rows of z. */
static void turn(double *b, double *z, int64_t k, int64_t p, int64_t q, double cosine, double sine)
{
    double *rows[] = { b, z };
    for (int which = 0; which < 2; which++) {
        double *x = rows[which] + p * k, *y = rows[which] + q * k;
        for (int64_t i = 0; i < k; i++) {
            double old = x[i];
            x[i] = cosine * old - sine * y[i];
            y[i] = sine * old + cosine * y[i];
        }
    }
}

static bool sweep(double *b, double *z, int64_t k)
{
    bool turned = false;
    for (int64_t p = 0; p < k; p++)
        for (int64_t q = p + 1; q < k; q++) {
            double pp = dot(b + p * k, b + p * k, k), qq = dot(b + q * k, b + q * k, k), pq = dot(b + p * k, b + q * k, k);
            if (fabs(pq) <= 1e-15 * sqrt(pp * qq) || pq == 0)
                continue;
            double zeta = (qq - pp) / (2 * pq), t = copysign(1, zeta) / (fabs(zeta) + sqrt(1 + zeta * zeta));
            double cosine = 1 / sqrt(1 + t * t);
            turn(b, z, k, p, q, cosine, cosine * t);
            turned = true;
        }
    return turned;
}

/* The values of B in falling order, and how far each is from being one of W: |beta_k| times the last entry of B's left
 * vector. */
static void solve(lanczos *l)
{
    int64_t k = l->k;
    memset(l->b, 0, (size_t)(k * k) * sizeof *l->b);
    memset(l->z, 0, (size_t)(k * k) * sizeof *l->z);
    for (int64_t j = 0; j < k; j++) {
        l->b[j * k + j] = l->alpha[j];
        if (j > 0)
            l->b[j * k + j - 1] = l->beta[j - 1];
        l->z[j * k + j] = 1;
    }
    for (int count = 0; count < 60 && sweep(l->b, l->z, k); count++)
        continue;
    for (int64_t j = 0; j < k; j++) {
        l->s[j] = sqrt(dot(l->b + j * k, l->b + j * k, k));
        l->residual[j] = l->s[j] > 0 ? fabs(l->beta[k - 1] * l->b[j * k + k - 1]) / l->s[j] : 0;
        int64_t at = j;
        for (; at > 0 && l->s[l->order[at - 1]] < l->s[j]; at--)
            l->order[at] = l->order[at - 1];
        l->order[at] = j;
    }
}

/* The vectors of the r largest, behind what is found already: u = U b / s, v = V z. */
static void collect(const lanczos *l, const matrix *m, int64_t r, found *f)
{
    for (int64_t j = 0; j < r; j++, f->n++) {
        const double *b = l->b + l->order[j] * l->k, *z = l->z + l->order[j] * l->k;
        double *u = f->u + f->n * m->out, *v = f->v + f->n * m->in;
        memset(u, 0, (size_t)m->out * sizeof *u);
        memset(v, 0, (size_t)m->in * sizeof *v);
        f->s[f->n] = l->s[l->order[j]];
        for (int64_t i = 0; i < l->k; i++) {
            add_scaled(u, b[i], l->u + i * m->out, m->out);
            add_scaled(v, z[i], l->v + i * m->in, m->in);
        }
        meta_orthogonalize(f->u, f->n, m->out);   /* also of length 1 where s is 0 */
        meta_orthogonalize(f->v, f->n, m->in);
    }
}

static bool converged(const lanczos *l, int64_t r, double largest)
{
    if (l->k < r)
        return false;
    for (int64_t j = 0; j < r; j++)
        if (l->residual[l->order[j]] > 1e-13 * fmax(largest, l->s[l->order[0]]))
            return false;
    return true;
}

/* r more triplets, of W without those found. */
static ag_code run(const matrix *m, int64_t r, int64_t most, uint64_t seed, found *f, ag_error *err)
{
    lanczos l = { 0 };
    ag_random random;
    int64_t check = 2 * r + 16;
    AG_TRY(err, grow(&l, m, check < most ? check : most, err));
    ag_random_init(&random, seed, AG_STREAM_INIT, 0, 0);
    for (int64_t i = 0; i < m->in; i++)
        l.v[i] = ag_random_normal(&random);
    project_out(f->v, f->n, l.v, m->in);
    meta_orthogonalize(l.v, 0, m->in);
    ag_code code = AG_OK;
    for (bool done = false; code == AG_OK && !done;) {
        step(&l, m, f);
        done = l.k == most;
        if (l.k < l.room)
            continue;
        solve(&l);
        done = done || converged(&l, r, f->n ? f->s[0] : 0);
        if (!done)
            code = grow(&l, m, l.room * 3 / 2 < most ? l.room * 3 / 2 : most, err);
    }
    if (code == AG_OK)
        collect(&l, m, r, f);
    lanczos_release(&l);
    return code;
}

/* ---- all together ---- */

static void keep_largest(found *f, const matrix *m, int64_t r, double *s, double *u, double *v)
{
    for (int64_t j = 0; j < r; j++) {
        int64_t best = 0;
        for (int64_t i = 1; i < f->n; i++)
            if (f->s[i] > f->s[best])
                best = i;
        s[j] = f->s[best];
        memcpy(u + j * m->out, f->u + best * m->out, (size_t)m->out * sizeof *u);
        memcpy(v + j * m->in, f->v + best * m->in, (size_t)m->in * sizeof *v);
        f->s[best] = -1;
    }
}

static double smallest_wanted(const found *f, int64_t r)
{
    for (int64_t i = 0; i < f->n; i++) {
        int64_t larger = 0;
        for (int64_t j = 0; j < f->n; j++)
            larger += f->s[j] > f->s[i] || (f->s[j] == f->s[i] && j < i);
        if (larger == r - 1)
            return f->s[i];
    }
    return 0;
}

static ag_code search(const matrix *m, int64_t r, found *f, ag_error *err)
{
    AG_TRY(err, run(m, r, m->in, 1, f, err));
    for (uint64_t seed = 2; f->n < m->in; seed++) {
        double least = smallest_wanted(f, r);
        AG_TRY(err, run(m, 1, m->in - f->n, seed, f, err));
        if (f->s[f->n - 1] <= least * (1 + 1e-12) || f->n == 2 * r)
            break;
    }
    return AG_OK;
}

ag_code meta_svd_top(const ag_real *w, int64_t out, int64_t in, int64_t so, int64_t si, int64_t r, double *s, double *u, double *v,
                     ag_error *err)
{
    matrix m = in <= out ? (matrix){ w, out, in, so, si } : (matrix){ w, in, out, si, so };   /* a full run spans the shorter side */
    for (int64_t i = 0; i < out * in; i++)
        AG_REQUIRE(isfinite(w[i]), err, AG_ENAN, "singular values: number %lld of the matrix is not finite", (long long)i);
    found f = { .s = numbers(2 * r), .u = numbers(2 * r * m.out), .v = numbers(2 * r * m.in) };
    ag_code code = f.s && f.u && f.v ? search(&m, r, &f, err) : ag_fail(err, AG_ENOMEM, "singular values: no memory");
    if (code == AG_OK)
        keep_largest(&f, &m, r, s, in <= out ? u : v, in <= out ? v : u);
    ag_free(f.s);
    ag_free(f.u);
    ag_free(f.v);
    return code;
}

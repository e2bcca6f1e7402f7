/* Properties of random graphs: a replay equals evaluation bit for bit, stages and frames do not disturb each other,
 * the two modes are each other's transpose, and second derivatives do not depend on the way taken. */
#include "autograd/tape_internal.h"
#include "tests/autograd/graphs.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

#ifdef AG_DOUBLE
#define AGREE 1e-10
#else
#define AGREE 2e-3
#endif

enum { MAX_OUT = 8 + 3 * GRAPH_LEAVES };

static ag_tape *tape_of(const graph *g, bool symbolic)
{
    return ag_tape_new(&(ag_tape_options){ .n_task = g->n_task, .symbolic = symbolic }, NULL);
}

static void free_all(ag_real **data, int n)
{
    for (int i = 0; i < n; i++)
        free(data[i]);
}

static void say_well(const ag_tape *t, const graph *g)
{
    ag_error err = { 0 };
    expect(ag_tape_status(t, &err) == AG_OK, "%s: %s", graph_text(g), err.message);
}

/* Leaves x with the graph's numbers and directions v of the same specs; on a symbolic tape inputs, x then v. */
static void make_leaves(const graph *g, ag_tape *t, bool symbolic, uint64_t version, ag_tensor **x, ag_tensor **v)
{
    ag_real *numbers[GRAPH_LEAVES], *directions[GRAPH_LEAVES];
    graph_numbers(g, version, numbers);
    graph_numbers(g, version + 1000, directions);
    for (int i = 0; i < g->n_leaf; i++)
        x[i] = symbolic ? ag_input(t, &g->leaf[i]) : ag_value(t, &g->leaf[i], numbers[i]);
    for (int i = 0; i < g->n_leaf; i++)
        v[i] = symbolic ? ag_input(t, &g->leaf[i]) : ag_value(t, &g->leaf[i], directions[i]);
    free_all(numbers, g->n_leaf);
    free_all(directions, g->n_leaf);
}

/* <a, b> over entries and tasks, as a tensor without a task axis. */
static ag_tensor *inner(ag_tape *t, ag_tensor *a, ag_tensor *b)
{
    ag_tensor *sum = ag_sum(t, ag_mul(t, a, b), AG_ALL_AXES);
    return sum && ag_has_tasks(sum) ? ag_task_sum(t, sum) : sum;
}

static ag_tensor *inner_all(ag_tape *t, int n, ag_tensor *const *a, ag_tensor *const *b)
{
    ag_tensor *sum = ag_scalar(t, 0);
    for (int i = 0; i < n; i++)
        sum = ag_add(t, sum, inner(t, a[i], b[i]));
    return sum;
}

/* A graph with everything derived from it. */
typedef struct derived {
    ag_tensor *x[GRAPH_LEAVES], *v[GRAPH_LEAVES], *pool[GRAPH_POOL];
    ag_tensor *loss, *gradient[GRAPH_LEAVES], *by_reverse[GRAPH_LEAVES], *by_forward[GRAPH_LEAVES];
    int n_pool;
    int64_t forward_nodes;
} derived;

static void derive(const graph *g, ag_tape *t, bool symbolic, uint64_t version, derived *d)
{
    int n = g->n_leaf;
    make_leaves(g, t, symbolic, version, d->x, d->v);
    d->n_pool = graph_build(g, t, d->x, d->pool);
    d->loss = graph_loss(g, t, d->pool, d->n_pool);
    d->forward_nodes = ag_tape_size(t);
    ag_grad(t, d->loss, NULL, n, d->x, d->gradient);
    ag_grad(t, inner_all(t, n, d->gradient, d->v), NULL, n, d->x, d->by_reverse);
    ag_jvp(t, n, d->x, d->v, n, d->gradient, d->by_forward);
    say_well(t, g);
}

/* Two of the results, the loss, and all derivatives. */
static int outputs_of(const graph *g, const derived *d, ag_tensor **out)
{
    int n = 0;
    out[n++] = d->pool[d->n_pool - 1];
    out[n++] = d->pool[d->n_pool / 2];
    out[n++] = d->loss;
    for (int i = 0; i < g->n_leaf; i++) {
        out[n++] = d->gradient[i];
        out[n++] = d->by_reverse[i];
        out[n++] = d->by_forward[i];
    }
    return n;
}

/* ---- both modes, both ways ---- */

static double number(const ag_tensor *x)
{
    ag_real v = NAN;
    ck_assert_int_eq(ag_read(x, &v), AG_OK);
    return (double)v;
}

START_TEST(forward_and_reverse_mode_are_each_others_transpose)
{
    for (int id = 0; id < effort(300); id++) {
        graph g;
        graph_choose(&g, (uint64_t)id);
        ag_tape *t = tape_of(&g, false);
        ag_tensor *x[GRAPH_LEAVES], *v[GRAPH_LEAVES], *pool[GRAPH_POOL], *dy[2], *back[GRAPH_LEAVES];
        make_leaves(&g, t, false, 0, x, v);
        int n = graph_build(&g, t, x, pool);
        for (int k = 0; k < 2; k++) {
            ag_tensor *y = pool[k ? n - 1 : (n + g.n_leaf) / 2];
            ag_spec like = { .tasks = ag_has_tasks(y), .ndim = ag_ndim(y) };
            memcpy(like.shape, ag_shape(y), (size_t)like.ndim * sizeof *like.shape);
            ag_random r;
            ag_random_init(&r, (uint64_t)id, AG_STREAM_USER, 4, (uint64_t)k);
            ag_tensor *u = random_leaf(t, &r, &like, -1, 1, NULL);
            ag_jvp(t, g.n_leaf, x, v, 1, &y, dy);
            ag_grad(t, y, u, g.n_leaf, x, back);
            double forward = number(inner(t, u, dy[0])), reverse = number(inner_all(t, g.n_leaf, back, v));
            double scale = sqrt(number(inner(t, dy[0], dy[0])) * number(inner(t, u, u)));
            say_well(t, &g);
            expect(fabs(forward - reverse) <= AGREE * fmax(1, scale), "<u, Jv> = %.15g, <J'u, v> = %.15g in %s", forward, reverse, graph_text(&g));
        }
        ag_tape_free(t);
    }
}
END_TEST

START_TEST(reverse_over_reverse_equals_forward_over_reverse)
{
    int informative = 0, count = effort(300);
    for (int id = 0; id < count; id++) {
        graph g;
        graph_choose(&g, (uint64_t)id);
        ag_tape *t = tape_of(&g, false);
        derived d;
        derive(&g, t, false, 0, &d);
        double size = 0, scale = 1;
        for (int i = 0; i < g.n_leaf; i++)
            scale = fmax(scale, sqrt(fmax(number(inner(t, d.by_reverse[i], d.by_reverse[i])), number(inner(t, d.gradient[i], d.gradient[i])))));
        for (int i = 0; i < g.n_leaf; i++) {
            ag_real *a = read_all(d.by_reverse[i]), *b = read_all(d.by_forward[i]);
            for (int64_t j = 0; j < total_of(d.by_reverse[i]); j++) {
                size = fmax(size, fabs((double)a[j]));
                expect(fabs((double)a[j] - (double)b[j]) <= AGREE * scale, "leaf %d, entry %lld: %.15g and %.15g in %s", i, (long long)j,
                              (double)a[j], (double)b[j], graph_text(&g));
            }
            free(a);
            free(b);
        }
        informative += size > 1e-3;
        ag_tape_free(t);
    }
    ck_assert_int_ge(informative, count / 2);   /* most graphs do have a second derivative */
}
END_TEST

/* ---- programs ---- */

/* A compiled graph and one frame of it, with its own inputs and outputs. */
typedef struct replay {
    ag_frame *frame;
    ag_real *in[2 * GRAPH_LEAVES], *out[MAX_OUT];
    int64_t size[MAX_OUT];
    int n_in, n_out;
} replay;

static void replay_new(const graph *g, const ag_program *p, int n_out, ag_tensor *const *outs, uint64_t version, replay *r)
{
    ag_error err = { 0 };
    expect(ag_frame_new(p, &r->frame, &err) == AG_OK, "%s", err.message);
    r->n_in = 2 * g->n_leaf;
    r->n_out = n_out;
    graph_numbers(g, version, r->in);
    graph_numbers(g, version + 1000, r->in + g->n_leaf);
    for (int i = 0; i < r->n_in; i++)
        ag_frame_input(r->frame, i, r->in[i]);
    for (int i = 0; i < n_out; i++) {
        r->size[i] = total_of(outs[i]);
        r->out[i] = malloc((size_t)(r->size[i] + 1) * sizeof(ag_real));
        for (int64_t j = 0; j < r->size[i]; j++)
            r->out[i][j] = (ag_real)-77.5;   /* what is not written shows */
        ag_frame_output(r->frame, i, r->out[i]);
    }
}

static void replay_run(replay *r, int first, int last)
{
    ag_error err = { 0 };
    expect(ag_frame_run(r->frame, first, last, &err) == AG_OK, "%s", err.message);
}

static void replay_free(replay *r)
{
    ag_frame_free(r->frame);
    free_all(r->in, r->n_in);
    free_all(r->out, r->n_out);
}

static void same_bits(const graph *g, const char *what, int i, const ag_real *a, const ag_real *b, int64_t n)
{
    expect(memcmp(a, b, (size_t)n * sizeof *a) == 0, "%s: output %d, %s; %s", what, i, differ(a, b, n, 0), graph_text(g));
}

static void same_replays(const graph *g, const char *what, const replay *a, const replay *b)
{
    for (int i = 0; i < a->n_out; i++)
        same_bits(g, what, i, a->out[i], b->out[i], a->size[i]);
}

/* The symbolic tape's nodes applied one after the other on an eager tape. */
static void interpret(const graph *g, const ag_tape *symbolic, ag_tape *t, ag_real *const *in, ag_tensor **made)
{
    int next = 0;
    for (int64_t id = 0; id < symbolic->n_node; id++) {
        const ag_tensor *y = symbolic->node[id];
        ag_tensor *x[AG_MAX_ARITY];
        if (!y->op) {
            ag_spec spec = { .dtype = (ag_dtype)y->dtype, .tasks = y->tasks, .ndim = y->ndim };
            memcpy(spec.shape, y->shape, sizeof spec.shape);
            made[id] = ag_value(t, &spec, y->is_input ? in[next++] : y->data);
            continue;
        }
        for (int k = 0; k < y->n_in; k++)
            x[k] = made[y->in[k]->id];
        made[id] = ag_apply(t, y->op, y->n_in, x, &y->attr);
    }
    say_well(t, g);
}

typedef struct compiled {
    graph g;
    ag_tape *t;
    derived d;
    ag_tensor *out[MAX_OUT];
    int n_out;
    ag_program *p;
} compiled;

static void compiled_new(uint64_t id, compiled *c)
{
    ag_error err = { 0 };
    graph_choose(&c->g, id);
    c->t = tape_of(&c->g, true);
    derive(&c->g, c->t, true, 0, &c->d);
    c->n_out = outputs_of(&c->g, &c->d, c->out);
    expect(ag_compile(c->t, c->n_out, c->out, &c->p, &err) == AG_OK, "%s: %s", graph_text(&c->g), err.message);
}

static void compiled_free(compiled *c)
{
    ag_program_free(c->p);
    ag_tape_free(c->t);
}

START_TEST(a_replay_equals_the_evaluation_of_the_same_nodes_bit_for_bit)
{
    for (int id = 0; id < effort(300); id++) {
        compiled c;
        replay r;
        compiled_new((uint64_t)id, &c);
        replay_new(&c.g, c.p, c.n_out, c.out, 0, &r);
        replay_run(&r, 0, AG_MAX_STAGES - 1);
        ag_tape *t = tape_of(&c.g, false);
        ag_tensor **made = malloc((size_t)c.t->n_node * sizeof *made);
        interpret(&c.g, c.t, t, r.in, made);
        for (int i = 0; i < c.n_out; i++) {
            ag_real *want = read_all(made[c.out[i]->id]);
            same_bits(&c.g, "replay and evaluation", i, r.out[i], want, r.size[i]);
            free(want);
        }
        replay_run(&r, 0, AG_MAX_STAGES - 1);
        for (int i = 0; i < c.n_out; i++) {
            ag_real *want = read_all(made[c.out[i]->id]);
            same_bits(&c.g, "second replay", i, r.out[i], want, r.size[i]);
            free(want);
        }
        free(made);
        ag_tape_free(t);
        replay_free(&r);
        compiled_free(&c);
    }
}
END_TEST

static void close_to_scale(const graph *g, int i, const ag_real *a, const ag_real *b, int64_t n)
{
    double scale = 1;
    for (int64_t j = 0; j < n; j++)
        scale = fmax(scale, fabs((double)b[j]));
    for (int64_t j = 0; j < n; j++)
        expect(fabs((double)a[j] - (double)b[j]) <= AGREE * scale, "output %d: %.15g and %.15g in %s", i, (double)a[j],
                      (double)b[j], graph_text(g));
}

START_TEST(a_replay_equals_eager_recording_bit_for_bit_where_nothing_was_repeated)
{
    int exact = 0, count = effort(300);
    for (int id = 0; id < count; id++) {
        compiled c;
        replay r;
        derived d;
        ag_tensor *out[MAX_OUT];
        compiled_new((uint64_t)id, &c);
        replay_new(&c.g, c.p, c.n_out, c.out, 0, &r);
        replay_run(&r, 0, AG_MAX_STAGES - 1);
        ag_tape *t = tape_of(&c.g, false);
        derive(&c.g, t, false, 0, &d);
        outputs_of(&c.g, &d, out);
        /* A repeat is one node of a symbolic tape and two of an eager one: its gradient is added in another order. The
         * second derivatives of rules that record the same thing twice are such. */
        bool no_repeat = c.d.forward_nodes == d.forward_nodes;
        exact += no_repeat;
        for (int i = 0; i < c.n_out; i++) {
            ag_real *want = read_all(out[i]);
            bool gradient = i >= 3 && (i - 3) % 3 == 0;
            if (i < 3 || (no_repeat && gradient))
                same_bits(&c.g, "replay and eager", i, r.out[i], want, r.size[i]);
            else
                close_to_scale(&c.g, i, r.out[i], want, r.size[i]);
            free(want);
        }
        ag_tape_free(t);
        replay_free(&r);
        compiled_free(&c);
    }
    ck_assert_int_ge(exact, count / 2);
}
END_TEST

/* Inputs of stage >= first get version 7, the others keep theirs. */
static void change_inputs(const graph *g, replay *r, int first)
{
    ag_real *fresh[2 * GRAPH_LEAVES];
    graph_numbers(g, 7, fresh);
    graph_numbers(g, 1007, fresh + g->n_leaf);
    for (int i = 0; i < r->n_in; i++) {
        const ag_spec *spec = &g->leaf[i % g->n_leaf];
        if (spec->stage >= first)
            memcpy(r->in[i], fresh[i], (size_t)spec_total(spec, g->n_task) * sizeof(ag_real));
    }
    free_all(fresh, r->n_in);
}

START_TEST(rerunning_the_later_stages_equals_a_full_rerun)
{
    for (int id = 0; id < effort(200); id++) {
        compiled c;
        compiled_new((uint64_t)id, &c);
        for (int first = 1; first < AG_MAX_STAGES; first++) {
            replay part, full;
            replay_new(&c.g, c.p, c.n_out, c.out, 0, &part);
            replay_new(&c.g, c.p, c.n_out, c.out, 0, &full);
            replay_run(&part, 0, AG_MAX_STAGES - 1);
            replay_run(&part, first, AG_MAX_STAGES - 1);   /* once more, with nothing changed */
            change_inputs(&c.g, &part, first);
            change_inputs(&c.g, &full, first);
            for (int stage = first; stage < AG_MAX_STAGES; stage++)
                replay_run(&part, stage, stage);
            replay_run(&full, 0, AG_MAX_STAGES - 1);
            same_replays(&c.g, "later stages and all", &part, &full);
            replay_free(&part);
            replay_free(&full);
        }
        compiled_free(&c);
    }
}
END_TEST

START_TEST(two_frames_of_a_program_do_not_disturb_each_other)
{
    for (int id = 0; id < effort(200); id++) {
        compiled c;
        replay a, b, alone_a, alone_b;
        compiled_new((uint64_t)id, &c);
        replay_new(&c.g, c.p, c.n_out, c.out, 0, &a);
        replay_new(&c.g, c.p, c.n_out, c.out, 1, &b);
        for (int stage = 0; stage < AG_MAX_STAGES; stage++) {
            replay_run(&a, stage, stage);
            replay_run(&b, stage, stage);
        }
        replay_new(&c.g, c.p, c.n_out, c.out, 0, &alone_a);
        replay_run(&alone_a, 0, AG_MAX_STAGES - 1);
        replay_new(&c.g, c.p, c.n_out, c.out, 1, &alone_b);
        replay_run(&alone_b, 0, AG_MAX_STAGES - 1);
        same_replays(&c.g, "first frame", &a, &alone_a);
        same_replays(&c.g, "second frame", &b, &alone_b);
        replay *all[] = { &a, &b, &alone_a, &alone_b };
        for (int i = 0; i < 4; i++)
            replay_free(all[i]);
        compiled_free(&c);
    }
}
END_TEST

START_TEST(the_order_and_the_company_of_outputs_do_not_change_a_bit)
{
    for (int id = 0; id < effort(200); id++) {
        compiled c;
        replay r, turned, alone;
        ag_tensor *reversed[MAX_OUT];
        ag_program *p, *single;
        compiled_new((uint64_t)id, &c);
        for (int i = 0; i < c.n_out; i++)
            reversed[i] = c.out[c.n_out - 1 - i];
        ck_assert_int_eq(ag_compile(c.t, c.n_out, reversed, &p, NULL), AG_OK);
        ck_assert_int_eq(ag_compile(c.t, 1, &c.out[3], &single, NULL), AG_OK);
        replay_new(&c.g, c.p, c.n_out, c.out, 0, &r);
        replay_new(&c.g, p, c.n_out, reversed, 0, &turned);
        replay_new(&c.g, single, 1, &c.out[3], 0, &alone);
        replay_run(&r, 0, AG_MAX_STAGES - 1);
        replay_run(&turned, 0, AG_MAX_STAGES - 1);
        replay_run(&alone, 0, AG_MAX_STAGES - 1);
        for (int i = 0; i < c.n_out; i++)
            same_bits(&c.g, "turned outputs", i, r.out[i], turned.out[c.n_out - 1 - i], r.size[i]);
        same_bits(&c.g, "one output alone", 3, r.out[3], alone.out[0], r.size[3]);
        replay *all[] = { &r, &turned, &alone };
        for (int i = 0; i < 3; i++)
            replay_free(all[i]);
        ag_program_free(p);
        ag_program_free(single);
        compiled_free(&c);
    }
}
END_TEST

TEST_MAIN(forward_and_reverse_mode_are_each_others_transpose, reverse_over_reverse_equals_forward_over_reverse,
          a_replay_equals_the_evaluation_of_the_same_nodes_bit_for_bit,
          a_replay_equals_eager_recording_bit_for_bit_where_nothing_was_repeated, rerunning_the_later_stages_equals_a_full_rerun,
          two_frames_of_a_program_do_not_disturb_each_other, the_order_and_the_company_of_outputs_do_not_change_a_bit)

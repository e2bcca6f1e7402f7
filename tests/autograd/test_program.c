/* Programs: no allocation in a replay, buffers that do not overlap, dead and repeated work gone, bindings, outputs. */
#include "autograd/program.h"
#include "tests/autograd/graphs.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

#include <pthread.h>

/* ---- every allocation of the process is counted: ours, BLIS's, the C library's (the linker wraps these) ---- */

static _Atomic long n_malloc;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
int __real_posix_memalign(void **p, size_t alignment, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
int __wrap_posix_memalign(void **p, size_t alignment, size_t n);

void *__wrap_malloc(size_t n)
{
    n_malloc++;
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    n_malloc++;
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    n_malloc++;
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    n_malloc++;
    return __real_aligned_alloc(alignment, n);
}

int __wrap_posix_memalign(void **p, size_t alignment, size_t n)
{
    n_malloc++;
    return __real_posix_memalign(p, alignment, n);
}

/* ---- a network that uses every kind of kernel, large enough for BLIS ---- */

enum { ROWS = 70, WIDE = 144, SIDE = 12, CLASSES = 5, TASKS = 2 };

typedef struct network {
    ag_tape *t;
    ag_program *p;
    ag_tensor *w[3], *loss, *grad[3], *hvp[3];
} network;

static ag_tensor *forward(network *n, ag_tensor *x)
{
    ag_tape *t = n->t;
    ag_conv same = ag_conv_same(SIDE, SIDE, 3, 3, 1);
    ag_tensor *image = ag_reshape(t, x, 4, (int64_t[]){ ROWS, SIDE, SIDE, 1 });
    ag_tensor *h = ag_max_pool2d(t, ag_relu(t, ag_conv2d(t, image, n->w[0], &same)), 2, 2, false);
    ag_tensor *m = ag_layer_norm(t, ag_tanh(t, ag_matmul(t, ag_flatten(t, h, 1), n->w[1])), 1e-5, NULL, NULL);
    return ag_matmul(t, m, n->w[2]);
}

static void network_new(network *n)
{
    ag_error err = { 0 };
    n->t = ag_tape_new(&(ag_tape_options){ .n_task = TASKS, .symbolic = true }, NULL);
    ag_tape *t = n->t;
    ag_tensor *x = ag_input(t, &(ag_spec){ .tasks = true, SHAPE(ROWS, WIDE) });
    ag_tensor *labels = ag_input(t, &(ag_spec){ .dtype = AG_INT, .tasks = true, SHAPE(ROWS) }), *v[3];
    static const ag_spec specs[] = { { .stage = 1, SHAPE(3, 3, 1, 4) }, { .tasks = true, .stage = 1, SHAPE(144, 32) }, { .stage = 1, SHAPE(32, CLASSES) } };
    for (int i = 0; i < 3; i++) {
        n->w[i] = ag_input(t, &specs[i]);
        v[i] = ag_affine(t, n->w[i], 0.5, 1);
    }
    n->loss = ag_mean(t, ag_cross_entropy(t, forward(n, x), labels), AG_ALL_AXES);
    ag_grad(t, n->loss, NULL, 3, n->w, n->grad);
    ag_jvp(t, 3, n->w, v, 3, n->grad, n->hvp);
    ag_tensor *outs[] = { n->loss, n->grad[0], n->grad[1], n->grad[2], n->hvp[0], n->hvp[1], n->hvp[2] };
    expect(ag_compile(t, 7, outs, &n->p, &err) == AG_OK, "%s", err.message);
}

typedef struct network_frame {
    ag_frame *f;
    ag_real *x, *w[3], *out[7];
    int32_t *labels;
} network_frame;

static void network_frame_new(const network *n, uint64_t seed, network_frame *f)
{
    static const int64_t weights[] = { 36, TASKS * 144 * 32, 32 * CLASSES }, outs[] = { TASKS, 36, TASKS * 144 * 32, 32 * CLASSES, 36, TASKS * 144 * 32, 32 * CLASSES };
    ag_random r;
    ag_random_init(&r, seed, AG_STREAM_USER, 0, 0);
    ck_assert_int_eq(ag_frame_new(n->p, &f->f, NULL), AG_OK);
    f->x = random_reals(&r, TASKS * ROWS * WIDE, -1, 1);
    f->labels = malloc(TASKS * ROWS * sizeof *f->labels);
    for (int i = 0; i < TASKS * ROWS; i++)
        f->labels[i] = (int32_t)ag_random_below(&r, CLASSES);
    ag_frame_input(f->f, 0, f->x);
    ag_frame_input(f->f, 1, f->labels);
    for (int i = 0; i < 3; i++) {
        f->w[i] = random_reals(&r, weights[i], -0.5, 0.5);
        ag_frame_input(f->f, 2 + i, f->w[i]);
    }
    for (int i = 0; i < 7; i++) {
        f->out[i] = random_reals(&r, outs[i], 0, 1);
        ag_frame_output(f->f, i, f->out[i]);
    }
}

static void network_frame_free(network_frame *f)
{
    ag_frame_free(f->f);
    free(f->x);
    free(f->labels);
    for (int i = 0; i < 3; i++)
        free(f->w[i]);
    for (int i = 0; i < 7; i++)
        free(f->out[i]);
}

static void network_free(network *n)
{
    ag_program_free(n->p);
    ag_tape_free(n->t);
}

START_TEST(a_replay_allocates_nothing)
{
    network n;
    network_frame f;
    network_new(&n);
    network_frame_new(&n, 1, &f);
    ck_assert_int_eq(ag_frame_run(f.f, 0, 3, NULL), AG_OK);   /* BLIS fills its pools once */
    for (int i = 0; i < 5; i++) {
        long before = n_malloc;
        ag_code code = ag_frame_run(f.f, i % 2, 3, NULL);
        long after = n_malloc;
        ck_assert_int_eq(code, AG_OK);
        expect(after == before, "replay %d allocated %ld times", i, after - before);
    }
    free(malloc(1));
    ck_assert_int_gt(n_malloc, 0);   /* the counter counts */
    network_frame_free(&f);
    network_free(&n);
}
END_TEST

static long n_ours;

static void *counting_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    n_ours++;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void counting_release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

START_TEST(a_replay_asks_our_allocator_for_nothing)
{
    ag_set_allocator(&(ag_allocator){ counting_alloc, counting_release, NULL });
    network n;
    network_frame f;
    network_new(&n);
    network_frame_new(&n, 1, &f);
    ck_assert_int_gt(n_ours, 0);
    n_ours = 0;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(ag_frame_run(f.f, 0, 3, NULL), AG_OK);
    ck_assert_int_eq(n_ours, 0);
    network_frame_free(&f);
    network_free(&n);
    ag_set_allocator(NULL);
}
END_TEST

typedef struct worker {
    network_frame frame;
    ag_code code;
} worker;

static void *replay_often(void *p)
{
    worker *w = p;
    for (int i = 0; i < 5 && w->code == AG_OK; i++)
        w->code = ag_frame_run(w->frame.f, 0, 3, NULL);
    return NULL;
}

START_TEST(threads_share_a_program_and_get_the_bits_of_one_thread)
{
    enum { N = 4 };
    network n;
    worker w[N] = { 0 };
    pthread_t thread[N];
    network_new(&n);
    for (int i = 0; i < N; i++)
        network_frame_new(&n, (uint64_t)(i / 2), &w[i].frame);   /* pairs with equal numbers */
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, replay_often, &w[i]), 0);
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    network_frame alone;
    network_frame_new(&n, 1, &alone);
    ck_assert_int_eq(ag_frame_run(alone.f, 0, 3, NULL), AG_OK);
    for (int i = 0; i < 7; i++) {
        int64_t count = i == 0 ? TASKS : i % 3 == 1 ? 36 : i % 3 == 2 ? TASKS * 144 * 32 : 32 * CLASSES;
        ck_assert_mem_eq(w[2].frame.out[i], w[3].frame.out[i], (size_t)count * sizeof(ag_real));
        ck_assert_mem_eq(w[2].frame.out[i], alone.out[i], (size_t)count * sizeof(ag_real));
    }
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(w[i].code, AG_OK);
        network_frame_free(&w[i].frame);
    }
    network_frame_free(&alone);
    network_free(&n);
}
END_TEST

/* ---- the planner ---- */

START_TEST(buffers_that_live_together_never_overlap)
{
    enum { MOST = 120 };
    for (int trial = 0; trial < effort(400); trial++) {
        ag_buffer b[MOST];
        ag_random r;
        size_t total, sum = 0, needed = 0;
        ag_random_init(&r, (uint64_t)trial, AG_STREAM_USER, 0, 0);
        int64_t n = (int64_t)ag_random_below(&r, MOST + 1);
        for (int64_t i = 0; i < n; i++) {
            int64_t first = (int64_t)ag_random_below(&r, 60);
            b[i] = (ag_buffer){ .first = first, .last = first + (int64_t)ag_random_below(&r, 12), .bytes = ag_random_below(&r, 5) ? 1 + ag_random_below(&r, 5000) : 0 };
        }
        ck_assert_int_eq(ag_plan_buffers(n, b, &total, NULL), AG_OK);
        for (int64_t i = 0; i < n; i++) {
            sum += b[i].bytes;
            expect(b[i].offset % 64 == 0 && b[i].offset + b[i].bytes <= total, "trial %d: buffer %d at %zu", trial, (int)i, b[i].offset);
            for (int64_t j = 0; j < i; j++)
                expect(b[i].last < b[j].first || b[j].last < b[i].first || b[i].offset + b[i].bytes <= b[j].offset ||
                              b[j].offset + b[j].bytes <= b[i].offset, "trial %d: buffers %d and %d overlap", trial, (int)i, (int)j);
        }
        for (int64_t at = 0; at < 80; at++) {
            size_t live = 0;
            for (int64_t i = 0; i < n; i++)
                live += b[i].first <= at && at <= b[i].last ? b[i].bytes : 0;
            needed = live > needed ? live : needed;
        }
        ck_assert(total >= needed && total <= sum);
        expect(total <= needed + needed / 2 + 64, "trial %d: %zu bytes where %zu live at once", trial, total, needed);
    }
}
END_TEST

/* The programs' own memory: a chain of many products needs two buffers, not as many as steps. */
START_TEST(a_chain_uses_its_memory_again)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *w = ag_input(t, &(ag_spec){ SHAPE(30, 30) }), *y = w;
    ag_program *p;
    for (int i = 0; i < 50; i++)
        y = ag_matmul(t, y, w);
    ck_assert_int_eq(ag_compile(t, 1, &y, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_program_instructions(p), 50);
    ck_assert_uint_le(ag_program_bytes(p), 2 * (900 * sizeof(ag_real) + 64));
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

static int64_t count_lines(const char *text)
{
    int64_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

/* However long the chain and however large its numbers, what is in between stays in a few tiles. */
START_TEST(an_elementwise_chain_keeps_nothing_of_what_lies_between)
{
    enum { N = 1000000 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(N) }), *y = x;
    ag_program *p;
    for (int i = 0; i < 20; i++)
        y = ag_add(t, ag_tanh(t, y), x);
    ck_assert_int_eq(ag_compile(t, 1, &y, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_program_instructions(p), 40);
    char *text = ag_program_text(p);
    ck_assert_int_eq(count_lines(text), 40);
    ag_free(text);
    ck_assert_uint_le(ag_program_bytes(p), (N + 10000) * sizeof(ag_real));   /* a group has at most 24 steps, so one value lies between two */
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

/* h = w w is kept for stage 2, which reads it, exp(-h^2) and h exp(-h^2): the last two are computed anew. */
START_TEST(what_a_later_stage_can_have_again_cheaply_is_not_kept)
{
    enum { N = 100 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *w = ag_input(t, &(ag_spec){ .stage = 1, SHAPE(N, N) }), *v = ag_input(t, &(ag_spec){ .stage = 2, SHAPE(N, N) });
    ag_tensor *h = ag_matmul(t, w, w), *bell = ag_exp(t, ag_neg(t, ag_square(t, h))), *y = ag_mul(t, h, bell);
    ag_tensor *outs[] = { ag_sum(t, y, AG_ALL_AXES), ag_add(t, ag_mul(t, v, y), ag_mul(t, ag_mul(t, v, h), bell)) };
    ag_program *p;
    ag_frame *f;
    ag_real *in[2], got[2][1 + N * N], again[N * N];
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    ck_assert_int_eq(ag_compile(t, 2, outs, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_program_instructions(p), 7 + 4 + 4);       /* stage 1, what of it comes again, stage 2 */
    ck_assert_uint_le(ag_program_bytes(p), (2 * N * N + 6000) * sizeof(ag_real));   /* h, y, tiles */
    ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
    for (int i = 0; i < 2; i++) {
        in[i] = random_reals(&r, N * N, -0.3, 0.3);
        ag_frame_input(f, i, in[i]);
        ag_frame_output(f, i, got[i]);
    }
    ck_assert_int_eq(ag_frame_run(f, 0, 2, NULL), AG_OK);
    memcpy(again, got[1], sizeof again);
    in[1][7] += 1;                                                 /* stage 2 alone, from what is kept */
    ck_assert_int_eq(ag_frame_run(f, 2, 2, NULL), AG_OK);
    for (int i = 0; i < N * N; i++)
        ck_assert((got[1][i] == again[i]) == (i != 7));
    for (int i = 0; i < 2; i++)
        free(in[i]);
    ag_frame_free(f);
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

/* ---- what is left out ---- */

START_TEST(dead_code_is_gone_and_repeats_are_recorded_once)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(4) }), *unused = ag_input(t, &(ag_spec){ SHAPE(4) });
    ag_tensor *y = ag_tanh(t, x);
    for (int i = 0; i < 300; i++) {   /* more than the table of repeats first holds */
        ag_exp(t, ag_affine(t, unused, 2, i));
        ck_assert_ptr_eq(ag_tanh(t, x), y);
        ck_assert_ptr_eq(ag_affine(t, unused, 2, 0), ag_affine(t, unused, 2, 0));
    }
    ck_assert_ptr_ne(ag_affine(t, x, 2, 1), ag_affine(t, x, 2, 2));
    ag_tensor *z = ag_mul(t, ag_tanh(t, x), ag_tanh(t, x));
    ag_program *p;
    ck_assert_int_eq(ag_compile(t, 1, &z, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_program_instructions(p), 2);
    char *text = ag_program_text(p);
    ck_assert(strstr(text, "0 tanh") && strstr(text, "mul") && !strstr(text, "exp"));
    ag_free(text);
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

START_TEST(what_was_rewound_is_not_found_again_and_what_was_not_is)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tape_rewind(t, ag_tape_mark(t));   /* nothing to forget */
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(4) }), *y = ag_tanh(t, x);
    for (int round = 0; round < 5; round++) {
        ag_mark m = ag_tape_mark(t);
        ag_tensor *extra = ag_input(t, &(ag_spec){ SHAPE(4) }), *out = ag_add(t, ag_exp(t, y), extra);
        for (int i = 0; i < 300; i++)
            ag_affine(t, y, 2 + round, i);
        ck_assert_ptr_eq(ag_tanh(t, x), y);
        ag_program *p;
        ag_frame *f;
        ag_real in[8] = { 0, 0, 0, 0, 1, 2, 3, 4 }, got[4];
        ck_assert_int_eq(ag_compile(t, 1, &out, &p, NULL), AG_OK);
        ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
        ag_frame_input(f, 0, in);
        ag_frame_input(f, 1, in + 4);
        ag_frame_output(f, 0, got);
        ck_assert_int_eq(ag_frame_run(f, 0, 3, NULL), AG_OK);
        for (int i = 0; i < 4; i++)
            ck_assert(got[i] == 2 + i);
        ag_frame_free(f);
        ag_program_free(p);
        ag_tape_rewind(t, m);
    }
    ck_assert_int_eq(ag_tape_size(t), 2);
    ck_assert_ptr_eq(ag_tanh(t, x), y);
    finish(t);
}
END_TEST

/* ---- bindings and outputs ---- */

START_TEST(an_unbound_input_or_output_and_stages_that_are_not_there_are_errors)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *a = ag_input(t, &(ag_spec){ SHAPE(2) }), *b = ag_input(t, &(ag_spec){ SHAPE(2) }), *y = ag_add(t, a, b);
    ag_program *p;
    ag_frame *f;
    ag_real x[2] = { 1, 2 }, out[2];
    ag_error err = { 0 };
    ck_assert_int_eq(ag_compile(t, 1, &y, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, &err), AG_EINVAL);
    expect(strstr(err.message, "input 0"), "%s", err.message);
    ag_frame_input(f, 0, x);
    ag_error_clear(&err);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, &err), AG_EINVAL);
    expect(strstr(err.message, "input 1"), "%s", err.message);
    ag_frame_input(f, 1, x);
    ag_error_clear(&err);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, &err), AG_EINVAL);
    expect(strstr(err.message, "output 0"), "%s", err.message);
    ag_frame_output(f, 0, out);
    static const int stages[][2] = { { -1, 0 }, { 0, AG_MAX_STAGES }, { 2, 1 }, { 9, 3 } };
    for (int i = 0; i < 4; i++) {
        ag_error_clear(&err);
        ck_assert_int_eq(ag_frame_run(f, stages[i][0], stages[i][1], &err), AG_EINVAL);
        expect(strstr(err.message, "stages"), "%s", err.message);
    }
    ag_frame_input(f, 7, x);    /* there is none: nothing happens */
    ag_frame_output(f, -1, x);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, NULL), AG_OK);
    ck_assert(out[0] == 2 && out[1] == 4);
    ag_real other[2] = { 10, 20 };
    ag_frame_input(f, 1, other);   /* bound anew */
    ck_assert_int_eq(ag_frame_run(f, 0, 3, NULL), AG_OK);
    ck_assert(out[0] == 11 && out[1] == 22);
    ag_frame_free(f);
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

START_TEST(outputs_may_be_inputs_views_constants_repeated_and_empty)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .n_task = 2, .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ .tasks = true, SHAPE(2, 2) }), *none = ag_input(t, &(ag_spec){ SHAPE(0, 3) }), *y = ag_square(t, x);
    ag_tensor *constant = ag_value(t, &(ag_spec){ SHAPE(2) }, (ag_real[]){ 7, 8 });
    ag_tensor *outs[] = { x, ag_transpose(t, x, NULL), y, y, ag_transpose(t, y, NULL), constant, ag_full(t, 3, 1, (int64_t[]){ 2 }), ag_exp(t, none), none, x,
                          ag_task_expand(t, constant), ag_sum(t, none, AG_AXIS(0)), ag_slice(t, y, 0, 1, 2), ag_neg(t, y) };
    enum { N = sizeof outs / sizeof *outs };
    static const ag_real want[N][8] = { { 1, 2, 3, 4, 5, 6, 7, 8 }, { 1, 3, 2, 4, 5, 7, 6, 8 }, { 1, 4, 9, 16, 25, 36, 49, 64 },
        { 1, 4, 9, 16, 25, 36, 49, 64 }, { 1, 9, 4, 16, 25, 49, 36, 64 }, { 7, 8 }, { 3, 3 }, { 0 }, { 0 }, { 1, 2, 3, 4, 5, 6, 7, 8 },
        { 7, 8, 7, 8 }, { 0, 0, 0 }, { 9, 16, 49, 64 }, { -1, -4, -9, -16, -25, -36, -49, -64 } };
    static const int count[N] = { 8, 8, 8, 8, 8, 2, 2, 0, 0, 8, 4, 3, 4, 8 };
    ag_program *p;
    ag_frame *f;
    ag_real in[] = { 1, 2, 3, 4, 5, 6, 7, 8 }, got[N][8];
    ag_error err = { 0 };
    expect(ag_compile(t, N, outs, &p, &err) == AG_OK, "%s", err.message);
    ag_tape_free(t);   /* the program does not need it */
    ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
    ag_frame_input(f, 0, in);
    ag_frame_input(f, 1, in);
    for (int i = 0; i < N; i++)
        ag_frame_output(f, i, got[i]);
    expect(ag_frame_run(f, 0, 3, &err) == AG_OK, "%s", err.message);
    for (int i = 0; i < N; i++)
        expect(!differ(got[i], want[i], count[i], 0), "output %d: %s", i, differ(got[i], want[i], count[i], 0));
    ag_frame_free(f);
    ag_program_free(p);
}
END_TEST

START_TEST(an_index_tensor_may_be_an_output_once)
{
    ag_error err = { 0 };
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(1, 2, 4, 1) }), *i = ag_max_pool2d_index(t, x, 2, 2, false), *twice[] = { i, i };
    ag_program *p;
    ag_frame *f;
    int32_t got[2];
    ag_real in[] = { 1, 2, 3, 4, 8, 7, 6, 5 };
    ck_assert_int_eq(ag_compile(t, 1, &i, &p, &err), AG_OK);
    ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
    ag_frame_input(f, 0, in);
    ag_frame_output(f, 0, got);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, NULL), AG_OK);
    ck_assert(got[0] == 4 && got[1] == 6);
    ag_frame_free(f);
    ag_program_free(p);
    ck_assert_int_eq(ag_compile(t, 2, twice, &p, &err), AG_EINVAL);
    expect(strstr(err.message, "output 1") && !p, "%s", err.message);
    ag_tape_free(t);
}
END_TEST

START_TEST(an_index_out_of_range_in_a_replay_reads_row_0)
{
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(3) }), *i = ag_input(t, &(ag_spec){ .dtype = AG_INT, SHAPE(3) });
    ag_tensor *outs[] = { ag_gather(t, x, i), ag_scatter_add(t, x, i, 3), ag_one_hot(t, i, 3) };
    ag_program *p;
    ag_frame *f;
    ag_real in[] = { 5, 6, 7 }, got[3][9];
    static const ag_real want[3][9] = { { 5, 5, 7 }, { 11, 0, 7 }, { 1, 0, 0, 1, 0, 0, 0, 0, 1 } };
    int32_t index[] = { -1, 3, 2 };
    ck_assert_int_eq(ag_compile(t, 3, outs, &p, NULL), AG_OK);
    ck_assert_int_eq(ag_frame_new(p, &f, NULL), AG_OK);
    ag_frame_input(f, 0, in);
    ag_frame_input(f, 1, index);
    for (int k = 0; k < 3; k++)
        ag_frame_output(f, k, got[k]);
    ck_assert_int_eq(ag_frame_run(f, 0, 3, NULL), AG_OK);
    for (int k = 0; k < 3; k++)
        expect(!differ(got[k], want[k], k == 2 ? 9 : 3, 0), "output %d", k);
    ag_frame_free(f);
    ag_program_free(p);
    ag_tape_free(t);
}
END_TEST

START_TEST(what_cannot_be_compiled_is_an_error)
{
    ag_error err = { 0 };
    ag_program *p = (ag_program *)&err;
    ag_tape *t = eager(1);
    ag_tensor *x = ag_value(t, &(ag_spec){ SHAPE(1) }, (ag_real[]){ 1 });
    ck_assert_int_eq(ag_compile(t, 1, &x, &p, &err), AG_EINVAL);
    expect(!p && strstr(err.message, "symbolic"), "%s", err.message);
    ck_assert_ptr_null(ag_input(t, &(ag_spec){ SHAPE(1) }));
    ck_assert_int_eq(ag_tape_status(t, NULL), AG_EINVAL);
    ag_tape_free(t);
    t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    x = NULL;
    ag_error_clear(&err);
    ck_assert_int_eq(ag_compile(t, 1, &x, &p, &err), AG_EINVAL);
    expect(strstr(err.message, "output 0 is NULL"), "%s", err.message);
    ck_assert_int_eq(ag_compile(t, 0, NULL, &p, NULL), AG_OK);   /* nothing is a program too */
    ag_program_free(p);
    ag_value(t, &(ag_spec){ SHAPE(-1) }, NULL);
    ag_error_clear(&err);
    ck_assert_int_eq(ag_compile(t, 0, NULL, &p, &err), AG_EINVAL);   /* the tape's own error */
    expect(strstr(err.message, "leaf") && strstr(err.trail, "ag_compile"), "%s; %s", err.message, err.trail);
    ag_tape_free(t);
    ag_program_free(NULL);
    ag_frame_free(NULL);
}
END_TEST

TEST_MAIN(a_replay_allocates_nothing, a_replay_asks_our_allocator_for_nothing, threads_share_a_program_and_get_the_bits_of_one_thread,
          buffers_that_live_together_never_overlap, a_chain_uses_its_memory_again,
          an_elementwise_chain_keeps_nothing_of_what_lies_between, what_a_later_stage_can_have_again_cheaply_is_not_kept, dead_code_is_gone_and_repeats_are_recorded_once,
          what_was_rewound_is_not_found_again_and_what_was_not_is,
          an_unbound_input_or_output_and_stages_that_are_not_there_are_errors,
          outputs_may_be_inputs_views_constants_repeated_and_empty, an_index_tensor_may_be_an_output_once,
          an_index_out_of_range_in_a_replay_reads_row_0, what_cannot_be_compiled_is_an_error)

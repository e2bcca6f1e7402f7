/* The tape and its arena: mark and rewind, leaves and their errors, reading, and every allocation failing in turn. */
#include "autograd/arena.h"
#include "autograd/tape_internal.h"
#include "tests/autograd/tensors.h"
#include "tests/check.h"

#include <stdint.h>

/* ---- the arena ---- */

START_TEST(the_arena_gives_aligned_memory_that_never_moves_or_overlaps)
{
    enum { N = 200 };
    ag_arena a;
    unsigned char *p[N];
    size_t size[N];
    ag_random r;
    ag_random_init(&r, 1, AG_STREAM_USER, 0, 0);
    ag_arena_init(&a);
    for (int i = 0; i < N; i++) {
        size[i] = ag_random_below(&r, 20) ? ag_random_below(&r, 5000) : ag_random_below(&r, 500000);
        p[i] = ag_arena_take(&a, size[i]);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert_uint_eq((uintptr_t)p[i] % 64, 0);
        memset(p[i], i, size[i]);
    }
    for (int i = 0; i < N; i++)
        for (size_t j = 0; j < size[i]; j++)
            expect(p[i][j] == (unsigned char)i, "block %d, byte %zu", i, j);
    ck_assert_ptr_null(ag_arena_take(&a, SIZE_MAX / 2));
    ag_arena_release(&a);
}
END_TEST

START_TEST(rewind_returns_the_arena_to_its_mark)
{
    ag_tape *t = eager(2);
    ag_tensor *x = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(300) }, (ag_real[600]){ 1 });
    ag_tensor *first[40];
    ag_mark before = ag_tape_mark(t);
    for (int round = 0; round < 4; round++) {
        ag_tensor *y = x;
        for (int i = 0; i < 40; i++) {   /* well beyond the first chunk */
            y = ag_tanh(t, y);
            if (round == 0)
                first[i] = y;
            else
                ck_assert_ptr_eq(y, first[i]);   /* the same memory again */
        }
        ag_mark inner = ag_tape_mark(t);
        ag_exp(t, y);
        ag_tape_rewind(t, inner);
        ag_mark again = ag_tape_mark(t);
        ck_assert(again.n_node == inner.n_node && again.chunk == inner.chunk && again.used == inner.used);
        ag_tape_rewind(t, before);
        again = ag_tape_mark(t);
        ck_assert(again.n_node == before.n_node && again.chunk == before.chunk && again.used == before.used);
        ck_assert_int_eq(ag_tape_size(t), 1);
    }
    ag_real *kept = read_all(x);
    ck_assert(kept[0] == 1 && kept[599] == 0);   /* what was before the mark is untouched */
    free(kept);
    finish(t);
}
END_TEST

START_TEST(a_tape_may_be_rewound_to_its_very_beginning)
{
    ag_tape *t = eager(1);
    ag_mark start = ag_tape_mark(t);
    for (int round = 0; round < 3; round++) {
        ag_tensor *x = ag_scalar(t, 2), *y = ag_exp(t, ag_value(t, &(ag_spec){ .ndim = 0 }, (ag_real[]){ 0 }));
        ag_real v;
        ck_assert_ptr_nonnull(x);
        ck_assert_int_eq(ag_read(y, &v), AG_OK);
        ck_assert(v == 1);
        ag_tape_rewind(t, start);
        ck_assert_int_eq(ag_tape_size(t), 0);
    }
    finish(t);
}
END_TEST

/* ---- leaves, views, reading ---- */

START_TEST(a_leaf_copies_its_numbers_and_views_read_row_major)
{
    ag_tape *t = eager(2);
    ag_real data[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
    ag_tensor *x = ag_value(t, &(ag_spec){ .tasks = true, SHAPE(2, 3) }, data);
    memset(data, 0, sizeof data);
    ag_real *turned = read_all(ag_transpose(t, x, NULL)), *part = read_all(ag_slice(t, ag_transpose(t, x, NULL), 0, 1, 3));
    ck_assert_ptr_null(differ(turned, (ag_real[]){ 1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12 }, 12, 0));
    ck_assert_ptr_null(differ(part, (ag_real[]){ 2, 5, 3, 6, 8, 11, 9, 12 }, 8, 0));
    free(turned);
    free(part);
    finish(t);
}
END_TEST

START_TEST(a_leaf_that_cannot_be_is_an_error)
{
    static const ag_spec bad[] = { { .ndim = AG_MAX_DIMS + 1 }, { .ndim = -1 }, { SHAPE(-2) }, { .stage = AG_MAX_STAGES }, { .stage = -1 },
                                   { SHAPE(INT64_MAX / 2, 3) }, { SHAPE(0, INT64_MAX / 2, INT64_MAX / 2) } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ag_error err = { 0 };
        ag_tape *t = eager(1);
        ck_assert_ptr_null(ag_value(t, &bad[i], NULL));
        ck_assert_msg(ag_tape_status(t, &err) == AG_EINVAL && strstr(err.message, "leaf"), "%d: %s", (int)i, err.message);
        ag_tape_free(t);
    }
}
END_TEST

START_TEST(reading_what_has_no_numbers_is_an_error)
{
    ag_real v;
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ck_assert_int_eq(ag_read(NULL, &v), AG_EINVAL);
    ck_assert_int_eq(ag_read(ag_exp(t, ag_input(t, &(ag_spec){ .ndim = 0 })), &v), AG_EINVAL);
    finish(t);
    ck_assert_int_eq(ag_tape_status(NULL, NULL), AG_EINVAL);
    ag_tape_free(NULL);
}
END_TEST

START_TEST(a_status_that_holds_an_error_is_not_overwritten)
{
    ag_error err = { 0 };
    ag_fail(&err, AG_EIO, "older");
    ag_tape *t = eager(1);
    ag_input(t, &(ag_spec){ .ndim = 0 });
    ck_assert_int_eq(ag_tape_status(t, &err), AG_EINVAL);
    ck_assert_str_eq(err.message, "older");
    ag_tape_free(t);
}
END_TEST

/* ---- the n-th allocation fails ---- */

static long countdown, living;

static void *failing_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    if (countdown > 0 && --countdown == 0)
        return NULL;
    living++;
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

static void counting_release(void *p, void *ctx)
{
    (void)ctx;
    living--;
    free(p);
}

enum { SIDE = 40 };

/* A few layers, a convolution (scratch), gradients of gradients: enough for chunks and tables to grow. */
static ag_tensor *expression(ag_tape *t, ag_tensor *x, ag_tensor *w, ag_tensor **second)
{
    ag_conv same = ag_conv_same(SIDE, SIDE, 3, 3, 1);
    ag_tensor *h = x, *xs[] = { w, x }, *g[2], *dot;
    for (int i = 0; i < 20; i++)
        h = ag_tanh(t, ag_matmul(t, h, w));
    ag_tensor *image = ag_reshape(t, h, 4, (int64_t[]){ 1, SIDE, SIDE, 1 });
    ag_tensor *kernel = ag_reshape(t, ag_slice(t, ag_flatten(t, w, 0), 0, 0, 9), 4, (int64_t[]){ 3, 3, 1, 1 });
    ag_tensor *y = ag_mean(t, ag_square(t, ag_conv2d(t, image, kernel, &same)), AG_ALL_AXES);
    ag_grad(t, y, NULL, 2, xs, g);
    dot = ag_sum(t, ag_square(t, g[0]), AG_ALL_AXES);
    ag_grad(t, dot, NULL, 1, xs, second);
    return y;
}

typedef struct outcome {
    ag_code code;
    ag_error err;
    ag_real value, second[SIDE * SIDE];
} outcome;

static void fill(ag_real *x, ag_real *w)
{
    ag_random r;
    ag_random_init(&r, 9, AG_STREAM_USER, 0, 0);
    for (int i = 0; i < SIDE * SIDE; i++) {
        x[i] = (ag_real)ag_random_uniform(&r, -1, 1);
        w[i] = (ag_real)ag_random_uniform(&r, -0.3, 0.3);
    }
}

static const ag_spec square = { SHAPE(SIDE, SIDE) };

static void run_eager(outcome *o)
{
    ag_real x[SIDE * SIDE], w[SIDE * SIDE];
    ag_tensor *second = NULL;
    fill(x, w);
    ag_tape *t = ag_tape_new(NULL, &o->err);
    if (!t) {
        o->code = o->err.code;
        return;
    }
    ag_tensor *y = expression(t, ag_value(t, &square, x), ag_value(t, &square, w), &second);
    o->code = ag_tape_status(t, &o->err);
    if (o->code == AG_OK && (ag_read(y, &o->value) != AG_OK || ag_read(second, o->second) != AG_OK))
        o->code = AG_EINVAL;
    ag_tape_free(t);
}

static void run_compiled(outcome *o)
{
    ag_real x[SIDE * SIDE], w[SIDE * SIDE];
    ag_program *p = NULL;
    ag_frame *f = NULL;
    fill(x, w);
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, &o->err);
    if (!t) {
        o->code = o->err.code;
        return;
    }
    ag_tensor *in = ag_input(t, &square), *weights = ag_input(t, &square), *outs[2] = { NULL, NULL };
    outs[0] = expression(t, in, weights, &outs[1]);
    o->code = ag_compile(t, 2, outs, &p, &o->err);
    if (o->code == AG_OK)
        o->code = ag_frame_new(p, &f, &o->err);
    if (o->code == AG_OK) {
        ag_frame_input(f, 0, x);
        ag_frame_input(f, 1, w);
        ag_frame_output(f, 0, &o->value);
        ag_frame_output(f, 1, o->second);
        o->code = ag_frame_run(f, 0, 3, &o->err);
    }
    ag_frame_free(f);
    ag_program_free(p);
    ag_tape_free(t);
}

/* Fails every allocation in turn; returns how many there are. With some, a failure may be made good (`tolerant`). */
static long torture(void (*run)(outcome *o), bool tolerant)
{
    outcome right = { 0 };
    ag_set_allocator(&(ag_allocator){ failing_alloc, counting_release, NULL });
    countdown = living = 0;
    run(&right);
    ck_assert_msg(right.code == AG_OK && living == 0, "%s", right.err.message);
    long n = 1;
    for (;; n++) {
        outcome o = { 0 };
        countdown = n;
        run(&o);
        ck_assert_msg(living == 0, "allocation %ld failed and %ld were not freed", n, living);
        if (countdown > 0)   /* it was never reached */
            break;
        if (o.code == AG_OK)
            ck_assert_msg(tolerant && o.value == right.value && !differ(o.second, right.second, SIDE * SIDE, 0), "allocation %ld failed unnoticed", n);
        else
            ck_assert_msg(o.code == AG_ENOMEM && strstr(o.err.message, "memory"), "allocation %ld: %s '%s'", n, ag_code_name(o.code), o.err.message);
    }
    countdown = 0;
    ag_set_allocator(NULL);
    return n - 1;
}

START_TEST(whichever_allocation_fails_an_eager_tape_says_so_and_leaks_nothing)
{
    ck_assert_int_gt(torture(run_eager, false), 20);
}
END_TEST

START_TEST(whichever_allocation_fails_compiling_and_running_say_so_and_leak_nothing)
{
    ck_assert_int_gt(torture(run_compiled, true), 15);   /* without its table of repeats a tape just records more */
}
END_TEST

static bool starving;

static void *starving_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return starving && bytes >= 512 * sizeof(int64_t) && bytes % (512 * sizeof(int64_t)) == 0 && bytes < 60000 ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
}

START_TEST(a_table_of_repeats_that_could_not_grow_for_long_catches_up)
{
    ag_set_allocator(&(ag_allocator){ starving_alloc, counting_release, NULL });
    ag_tape *t = ag_tape_new(&(ag_tape_options){ .symbolic = true }, NULL);
    ag_tensor *x = ag_input(t, &(ag_spec){ SHAPE(2) }), *y = ag_exp(t, x);
    t->capacity = 0;   /* the list of nodes is made large at once, lest it starve too */
    ag_free(t->node);
    t->node = ag_alloc(100000 * sizeof *t->node);
    t->capacity = 100000;
    t->node[0] = x;
    t->node[1] = y;
    starving = true;
    for (int i = 0; i < 5000; i++)
        ag_affine(t, x, 2, i);
    starving = false;
    for (int i = 0; i < 5000; i++)
        ag_affine(t, x, 3, i);
    ck_assert_ptr_eq(ag_exp(t, x), y);
    ag_tape_rewind(t, ag_tape_mark(t));
    ck_assert_ptr_eq(ag_exp(t, x), y);
    finish(t);
    ag_set_allocator(NULL);
}
END_TEST

TEST_MAIN(the_arena_gives_aligned_memory_that_never_moves_or_overlaps, rewind_returns_the_arena_to_its_mark,
          a_tape_may_be_rewound_to_its_very_beginning, a_leaf_copies_its_numbers_and_views_read_row_major,
          a_leaf_that_cannot_be_is_an_error, reading_what_has_no_numbers_is_an_error,
          a_status_that_holds_an_error_is_not_overwritten,
          whichever_allocation_fails_an_eager_tape_says_so_and_leaks_nothing,
          whichever_allocation_fails_compiling_and_running_say_so_and_leak_nothing,
          a_table_of_repeats_that_could_not_grow_for_long_catches_up)

/* The progress bar against a clock and a stream of our own. */
#include "experiments/progress.h"
#include "tests/check.h"

#include <unistd.h>

typedef struct fake {
    double time;
    int reads;
} fake;

static double fake_clock(void *ctx)
{
    fake *f = ctx;
    f->reads++;
    return f->time;
}

typedef struct stage {
    FILE *stream;
    char *text;
    size_t size;
    fake clock;
} stage;

static void plain_environment(void)
{
    const char *const names[] = { "NO_COLOR", "LC_ALL", "LC_CTYPE", "LANG", "COLUMNS" };
    for (int i = 0; i < 5; i++)
        unsetenv(names[i]);
    setenv("TERM", "xterm", 1);
}

static xp_progress_options open_stage(stage *s, xp_progress_kind kind)
{
    plain_environment();
    *s = (stage){ .clock = { 100, 0 } };
    s->stream = open_memstream(&s->text, &s->size);
    return (xp_progress_options){ .stream = s->stream, .label = "train", .total = 1000, .tasks = 4, .kind = kind,
                                  .columns = 80, .clock = fake_clock, .clock_ctx = &s->clock };
}

static void close_stage(stage *s)
{
    fclose(s->stream);
    free(s->text);
}

/* n iterations of the given length [s]. */
static void run(xp_progress *p, stage *s, int64_t n, double seconds)
{
    for (int64_t i = 0; i < n; i++) {
        s->clock.time += seconds;
        xp_progress_update(p, p->done + 1, 0.25);
    }
}

/* The last thing drawn over the line, as it stands on the screen. */
static const char *screen(stage *s)
{
    fflush(s->stream);
    const char *last = s->text, *at = s->text;
    while ((at = strstr(at, "\r\033[K")))
        last = at += 4;
    return last;
}

START_TEST(a_bar_tells_percentage_count_times_rate_loss_and_score)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    setenv("NO_COLOR", "1", 1);
    xp_progress_init(&p, &o);
    xp_progress_score(&p, "val 97.3 %");
    run(&p, &s, 420, 0.25);
    ck_assert_str_eq(screen(&s), "train  42% ###      420/1000 01:45<02:25, 16.0 tasks/s, loss 0.25, val 97.3 %");
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(a_bar_is_wiped_at_the_end)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    xp_progress_init(&p, &o);
    run(&p, &s, 1000, 0.01);
    xp_progress_release(&p);
    ck_assert_str_eq(screen(&s), "");
    ck_assert_ptr_null(strchr(s.text, '\n'));
    close_stage(&s);
}
END_TEST

START_TEST(a_bar_never_fills_the_last_column)
{
    for (int columns = 1; columns <= 130; columns++) {
        stage s;
        xp_progress p;
        xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
        o.columns = columns;
        setenv("NO_COLOR", "1", 1);
        xp_progress_init(&p, &o);
        xp_progress_score(&p, "validation 97.3 %, the best so far at 900");
        run(&p, &s, 999, 0.2);
        ck_assert_msg(strlen(screen(&s)) < (size_t)columns, "%d columns: '%s'", columns, screen(&s));
        xp_progress_release(&p);
        close_stage(&s);
    }
}
END_TEST

START_TEST(a_bar_is_drawn_at_most_ten_times_a_second_and_the_clock_is_read_less_often_than_iterations_pass)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    o.total = 100000;
    xp_progress_init(&p, &o);
    run(&p, &s, 100000, 1e-4);   /* ten seconds */
    fflush(s.stream);
    int drawn = 0;
    for (const char *at = s.text; (at = strstr(at, "\r\033[K")); at++)
        drawn++;
    ck_assert_int_le(drawn, 100);
    ck_assert_int_ge(drawn, 80);
    ck_assert_int_lt(s.clock.reads, 100000 / 4);
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(colour_is_used_unless_no_color_is_set)
{
    for (int plain = 0; plain < 2; plain++) {
        stage s;
        xp_progress p;
        xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
        if (plain)
            setenv("NO_COLOR", "1", 1);
        xp_progress_init(&p, &o);
        run(&p, &s, 10, 1);
        fflush(s.stream);
        ck_assert_int_eq(strstr(s.text, "\033[32m") != NULL, !plain);
        xp_progress_release(&p);
        close_stage(&s);
    }
}
END_TEST

START_TEST(a_utf8_terminal_gets_cells_in_eighths)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    setenv("LANG", "en_GB.UTF-8", 1);
    setenv("NO_COLOR", "1", 1);
    o.total = 16;
    o.tasks = 0;
    o.columns = 72;
    xp_progress_init(&p, &o);
    run(&p, &s, 7, 1);
    ck_assert_msg(strstr(screen(&s), "train  43% ████████▎"), "%s", screen(&s));
    ck_assert_msg(strstr(screen(&s), "1.00 it/s"), "%s", screen(&s));
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(what_is_no_terminal_gets_a_plain_line_every_ten_seconds_and_one_at_the_end)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_AUTO);
    xp_progress_init(&p, &o);
    run(&p, &s, 100, 0.25);
    xp_progress_release(&p);
    fflush(s.stream);
    ck_assert_str_eq(s.text, "train   4% 40/1000 00:10<04:00, 16.0 tasks/s, loss 0.25\n"
                             "train   8% 80/1000 00:20<03:50, 16.0 tasks/s, loss 0.25\n"
                             "train  10% 100/1000 00:25<03:45, 16.0 tasks/s, loss 0.25\n");
    close_stage(&s);
}
END_TEST

START_TEST(quiet_writes_nothing_and_reads_no_clock)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    o.quiet = true;
    xp_progress_init(&p, &o);
    run(&p, &s, 1000, 1);
    xp_progress_line(&p, "a word");
    xp_progress_release(&p);
    fflush(s.stream);
    ck_assert_uint_eq(s.size, 0);
    ck_assert_int_eq(s.clock.reads, 0);
    close_stage(&s);
}
END_TEST

START_TEST(a_dumb_terminal_and_a_file_are_no_terminals)
{
    FILE *file = tmpfile();
    xp_progress p;
    plain_environment();
    xp_progress_init(&p, &(xp_progress_options){ .stream = file });
    ck_assert_int_eq(p.kind, XP_PROGRESS_LINES);
    setenv("TERM", "dumb", 1);
    xp_progress_init(&p, &(xp_progress_options){ .stream = file });
    ck_assert_int_eq(p.kind, XP_PROGRESS_LINES);
    xp_progress_release(&p);
    fclose(file);
}
END_TEST

START_TEST(a_line_of_its_own_stands_above_the_bar)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_BAR);
    xp_progress_init(&p, &o);
    run(&p, &s, 10, 1);
    xp_progress_line(&p, "checkpoint written");
    fflush(s.stream);
    ck_assert_ptr_nonnull(strstr(s.text, "\r\033[Kcheckpoint written\n\r\033[Ktrain"));
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(a_resumed_run_measures_its_rate_from_where_it_began)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_LINES);
    o.first = 500;
    xp_progress_init(&p, &o);
    run(&p, &s, 20, 1);
    fflush(s.stream);
    ck_assert_ptr_nonnull(strstr(s.text, "520/1000 00:20<08:00, 4.00 tasks/s"));
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(the_time_left_follows_a_change_of_speed)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_LINES);
    o.total = 100000;
    xp_progress_init(&p, &o);
    run(&p, &s, 1000, 0.01);
    run(&p, &s, 200, 1);
    ck_assert_msg(p.rate > 0.99 && p.rate < 1.01, "%g iterations/s", p.rate);
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

START_TEST(a_loss_that_is_nan_is_shown)
{
    stage s;
    xp_progress p;
    xp_progress_options o = open_stage(&s, XP_PROGRESS_LINES);
    xp_progress_init(&p, &o);
    s.clock.time += 20;
    xp_progress_update(&p, 1, NAN);
    fflush(s.stream);
    ck_assert_ptr_nonnull(strstr(s.text, "loss nan"));
    xp_progress_release(&p);
    close_stage(&s);
}
END_TEST

TEST_MAIN(a_bar_tells_percentage_count_times_rate_loss_and_score, a_bar_is_wiped_at_the_end, a_bar_never_fills_the_last_column,
          a_bar_is_drawn_at_most_ten_times_a_second_and_the_clock_is_read_less_often_than_iterations_pass,
          colour_is_used_unless_no_color_is_set, a_utf8_terminal_gets_cells_in_eighths,
          what_is_no_terminal_gets_a_plain_line_every_ten_seconds_and_one_at_the_end,
          quiet_writes_nothing_and_reads_no_clock, a_dumb_terminal_and_a_file_are_no_terminals,
          a_line_of_its_own_stands_above_the_bar, a_resumed_run_measures_its_rate_from_where_it_began,
          the_time_left_follows_a_change_of_speed, a_loss_that_is_nan_is_shown)

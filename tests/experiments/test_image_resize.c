/* Lanczos resizing against Pillow's, by digests made by golden_resize.py. */
#include "tests/check.h"

#include "experiments/image_resize.h"
#include "experiments/omniglot_cache.h"

#include <sodium.h>

static const struct golden { int h, w, oh, ow, bilevel; const char *digest; } goldens[] = {
    { 105, 105, 28, 28, 0, "4bd46f41bcc556cb736350796525820f9e147ba1533b03ce45015fb7317cb47a" },
    { 105, 105, 28, 28, 1, "bd9781cac2dda7351a7dd3ba9a30f16cabd16ad4362a87bb9e3035b50a821168" },
    { 105, 105, 84, 84, 0, "fd7af2b47d7a0a263707df25c09b6420cbd581da41a5bd531b1d95a41433c55e" },
    { 105, 105, 84, 84, 1, "ab44440137fb2b5bae2b76cbf1cb174404afbc9b7604154a0f5a8facddc74c33" },
    { 28, 28, 105, 105, 0, "75d0b1e33245cc8926ce7b8173d7425f080d90456f24bc47532eee6792993297" },
    { 28, 28, 105, 105, 1, "11ddbfaf5ea5df02c71d0f397c2f921e34f51a786243db3881ee3a39d5088b04" },
    { 40, 60, 90, 7, 0, "9a9bce8a29580dcfe96c20613239131f8bb0652100b3fb9f2e9b64792a417215" },
    { 40, 60, 90, 7, 1, "e42e65d78caf3b39ce4fb3f713cc2a7b4d0c7c8a4b9baca19e2b7a0c6128bcb6" },
    { 3, 2, 1, 1, 0, "9d1e0e2d9459d06523ad13e28a4093c2316baafe7aec5b25f30eba2e113599c4" },
    { 3, 2, 1, 1, 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
    { 33, 33, 33, 11, 0, "e782055b2980d06f72b2a2a3a5db5b42672d2a3bc8064ae0755a31e74c21c739" },
    { 33, 33, 33, 11, 1, "c627b46c19896ba3ed213e2222ec402aaa861a9b496eb3b6f9edd853ec9d8db0" },
};

static void resize_digest(const struct golden *g, char hex[65])
{
    uint8_t *picture = malloc((size_t)(g->h * g->w)), *scratch = malloc((size_t)(g->h * g->ow));
    uint8_t *result = malloc((size_t)(g->oh * g->ow));
    for (int y = 0; y < g->h; y++)
        for (int x = 0; x < g->w; x++) {
            int v = (x * x * 3 + y * 7 * x + y * y * 5) % 256;
            picture[y * g->w + x] = (uint8_t)(!g->bilevel ? v : v < 100 ? 0 : 255);
        }
    xp_lanczos rows, columns;
    ck_assert_int_eq(xp_lanczos_init(&rows, g->h, g->oh, NULL), AG_OK);
    ck_assert_int_eq(xp_lanczos_init(&columns, g->w, g->ow, NULL), AG_OK);
    xp_lanczos_apply(&rows, &columns, picture, scratch, result);
    unsigned char digest[32];
    crypto_hash_sha256(digest, result, (size_t)(g->oh * g->ow));
    xp_digest_hex(digest, hex);
    xp_lanczos_release(&rows);
    xp_lanczos_release(&columns);
    free(picture);
    free(scratch);
    free(result);
}

START_TEST(resized_pictures_are_pillows_to_the_bit)
{
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        char hex[65];
        resize_digest(&goldens[i], hex);
        ck_assert_msg(strcmp(hex, goldens[i].digest) == 0, "%d x %d -> %d x %d, bilevel %d: digest %s", goldens[i].h,
                      goldens[i].w, goldens[i].oh, goldens[i].ow, goldens[i].bilevel, hex);
    }
}
END_TEST

START_TEST(a_grey_picture_stays_grey)
{
    uint8_t picture[105 * 105], scratch[105 * 28], result[28 * 28];
    xp_lanczos f;
    ck_assert_int_eq(xp_lanczos_init(&f, 105, 28, NULL), AG_OK);
    for (int grey = 0; grey < 256; grey += 15) {
        memset(picture, grey, sizeof picture);
        xp_lanczos_apply(&f, &f, picture, scratch, result);
        for (int i = 0; i < 28 * 28; i++)
            ck_assert_int_eq(result[i], grey);
    }
    xp_lanczos_release(&f);
}
END_TEST

START_TEST(sizes_out_of_range_are_refused)
{
    xp_lanczos f;
    ag_error err = { 0 };
    ck_assert_int_eq(xp_lanczos_init(&f, 0, 28, &err), AG_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "from 0 to 28 pixels"));
    ck_assert_int_eq(xp_lanczos_init(&f, 28, 40000, NULL), AG_EINVAL);
}
END_TEST

TEST_MAIN(resized_pictures_are_pillows_to_the_bit, a_grey_picture_stays_grey, sizes_out_of_range_are_refused)

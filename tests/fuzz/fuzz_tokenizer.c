/* Tokenizer files: the first byte says which kind the rest is. One that opens must encode a text, its own last bytes among
 * them, into ids that it knows, the same ones when there is room for fewer, and decode them. */
#include "models/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDS = 4096, TAIL = 64, SHORT = 9 };

static const char text[] = " The caf\xc3\xa9's 3 \xe6\x97\xa5\xe6\x9c\xac, x\n\n\t[SEP] <s>\xf0\x9f\x98\x80 \xea\xb0\x80\xe1\x86\xa8 aaaaaaaa";

/* The kinds are told by their endings, so the file gets one. */
static const char *named(const uint8_t *data, size_t size)
{
    static const char *const endings[] = { ".json", ".txt", ".bin", ".gguf" };
    static char path[64];
    const char *plain = fuzz_file(0, data + 1, size - 1);
    snprintf(path, sizeof path, "%s%s", plain, endings[data[0] % 4]);
    fuzz_check(rename(plain, path) == 0, "cannot rename '%s'", plain);
    return path;
}

static void decode(const nn_tokenizer *k, const int32_t *ids, int64_t n)
{
    static char out[1 << 20];
    size_t length;
    ag_error err = { 0 };
    if (fuzz_answer(nn_tokenizer_decode(k, ids, n, out, sizeof out, &length, &err), &err))
        fuzz_check(length < sizeof out && !out[length], "%zu bytes decoded, and no 0 behind them", length);
}

static void encode(const nn_tokenizer *k, const char *p, size_t length)
{
    static int32_t ids[IDS], few[SHORT];
    ag_error err = { 0 };
    nn_encoding e = { .ids = ids, .max = IDS }, s = { .ids = few, .max = SHORT, .plain = true }, plain = { .ids = ids, .max = IDS, .plain = true };
    if (!fuzz_answer(nn_tokenizer_encode(k, p, length, &e, &err), &err)) {
        fuzz_check(err.code == AG_EDATA || err.code == AG_ENOMEM, "%s: %s", ag_code_name(err.code), err.message);
        return;
    }
    for (int64_t i = 0; i < e.n; i++)
        fuzz_check(nn_tokenizer_token(k, ids[i], NULL), "id %d is in no vocabulary", ids[i]);
    decode(k, ids, e.n);
    fuzz_answer(nn_tokenizer_encode(k, p, length, &plain, &err), &err);
    fuzz_answer(nn_tokenizer_encode(k, p, length, &s, &err), &err);
    fuzz_check(s.n + s.dropped == plain.n + plain.dropped, "%lld and %lld ids", (long long)(s.n + s.dropped), (long long)(plain.n + plain.dropped));
    fuzz_check(s.n <= SHORT && memcmp(few, ids, (size_t)s.n * sizeof *few) == 0, "with less room other ids");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    nn_tokenizer *k;
    ag_error err = { 0 };
    const char *path = named(data, size);
    const bool opened = fuzz_answer(nn_tokenizer_open(&k, path, &err), &err);
    unlink(path);
    fuzz_check(opened == (k != NULL), "opened and not opened");
    if (!opened)
        return 0;
    encode(k, text, sizeof text - 1);
    const size_t tail = size - 1 < TAIL ? size - 1 : TAIL;
    encode(k, (const char *)data + size - tail, tail);
    nn_tokenizer_close(k);
    return 0;
}

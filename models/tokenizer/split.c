/* Pre-tokenizers: where a text is split before the model sees it. Each is a function that measures the first piece. */
#include "models/tokenizer/tokenizer_internal.h"

#include <string.h>

/* The class of the character at p + i; past the end it is NN_CHAR_SPACE with *size 0. */
static nn_char_class class_at(const char *p, size_t n, size_t i, size_t *size)
{
    *size = 0;
    return i < n ? nn_char_classify(nn_char_at(p + i, size)) : NN_CHAR_SPACE;
}

/* Where a run of at most `most` characters of a class that starts at i ends. */
static size_t run_of(nn_char_class class, const char *p, size_t n, size_t i, int most)
{
    for (size_t size; i < n && most != 0 && class_at(p, n, i, &size) == class; most--)
        i += size;
    return i;
}

/* Apostrophe and s, t, re, ve, m, ll or d: its bytes, 0 where there is none. fold: in any case, and the long s is an s. */
static size_t contraction(const char *p, size_t n, bool fold)
{
    static const char *const endings[] = { "s", "t", "re", "ve", "m", "ll", "d" };
    if (n < 2 || p[0] != '\'')
        return 0;
    if (fold && n >= 3 && memcmp(p + 1, "\xc5\xbf", 2) == 0)
        return 3;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t m = strlen(endings[i]);
        size_t k = 0;
        while (k < m && 1 + k < n && ((unsigned char)p[1 + k] | (fold ? 0x20 : 0)) == (unsigned char)endings[i][k])
            k++;
        if (k == m)
            return 1 + m;
    }
    return 0;
}

/* \s+(?!\S)|\s+ : all of a run of spaces but the last where a word follows. */
static size_t spaces(const char *p, size_t n)
{
    size_t last = 0, end = 0;
    for (size_t size; end < n && class_at(p, n, end, &size) == NN_CHAR_SPACE; end += size)
        last = end;
    return end < n && last > 0 ? last : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static size_t gpt2(const char *p, size_t n)
{
    const size_t cut = contraction(p, n, false);
    if (cut > 0)
        return cut;
    const size_t from = p[0] == ' ' ? 1 : 0;
    size_t size;
    const nn_char_class class = class_at(p, n, from, &size);
    return class == NN_CHAR_SPACE ? spaces(p, n) : run_of(class, p, n, from, -1);
}

static size_t newlines(const char *p, size_t n, size_t i)
{
    while (i < n && (p[i] == '\r' || p[i] == '\n'))
        i++;
    return i;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t spaces_or_lines(const char *p, size_t n)
{
    size_t line = 0;
    const size_t end = run_of(NN_CHAR_SPACE, p, n, 0, -1);
    for (size_t i = 0; i < end; i++)
        if (p[i] == '\r' || p[i] == '\n')
            line = i + 1;
    return line > 0 ? line : spaces(p, n);
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static size_t llama3(const char *p, size_t n, int digits)
{
    const size_t cut = contraction(p, n, true);
    if (cut > 0)
        return cut;
    size_t size, next;
    const nn_char_class class = class_at(p, n, 0, &size), second = class_at(p, n, size, &next);
    if (class == NN_CHAR_LETTER)
        return run_of(NN_CHAR_LETTER, p, n, 0, -1);
    if (class == NN_CHAR_NUMBER)
        return run_of(NN_CHAR_NUMBER, p, n, 0, digits);
    if (second == NN_CHAR_LETTER && p[0] != '\r' && p[0] != '\n')
        return run_of(NN_CHAR_LETTER, p, n, size, -1);
    if (class == NN_CHAR_OTHER || (p[0] == ' ' && second == NN_CHAR_OTHER))
        return newlines(p, n, run_of(NN_CHAR_OTHER, p, n, p[0] == ' ' ? 1 : 0, -1));
    return spaces_or_lines(p, n);
}

/* Numbers apart from the rest. */
static size_t digits_apart(const char *p, size_t n, bool each)
{
    size_t i, size;
    const bool number = class_at(p, n, 0, &i) == NN_CHAR_NUMBER;
    if (number && each)
        return i;
    while (i < n && (class_at(p, n, i, &size) == NN_CHAR_NUMBER) == number)
        i += size;
    return i;
}

/* Between spaces, each punctuation character on its own. */
static size_t bert(const char *p, size_t n, bool *word)
{
    size_t size, i;
    int32_t c = nn_char_at(p, &i);
    *word = !nn_char_space(c);
    if (!*word || nn_char_punctuation(c))
        return i;
    for (; i < n; i += size) {
        c = nn_char_at(p + i, &size);
        if (nn_char_space(c) || nn_char_punctuation(c))
            break;
    }
    return i;
}

size_t nn_split_next(nn_split_kind kind, const char *text, size_t length, bool *word)
{
    *word = true;
    switch (kind) {
    case NN_SPLIT_BERT: return bert(text, length, word);
    case NN_SPLIT_DIGITS: return digits_apart(text, length, false);
    case NN_SPLIT_EACH_DIGIT: return digits_apart(text, length, true);
    case NN_SPLIT_GPT2: return gpt2(text, length);
    case NN_SPLIT_LLAMA3: return llama3(text, length, 3);
    case NN_SPLIT_QWEN2: return llama3(text, length, 1);
    case NN_SPLIT_PREFIX_SPACE: break;
    }
    return length;
}

bool nn_split_pattern(const char *pattern, nn_split_kind *kind)
{
    static const struct { const char *pattern; nn_split_kind kind; } known[] = {
        { "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", NN_SPLIT_GPT2 },
        { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          NN_SPLIT_LLAMA3 },
        { "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
          NN_SPLIT_QWEN2 },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(pattern, known[i].pattern) == 0) {
            *kind = known[i].kind;
            return true;
        }
    return false;
}

/* "did you mean": the nearest of a few words, the nearest key (config_values.h). */
#include "experiments/config_values.h"

#include <stdio.h>
#include <string.h>

enum { WORD_MAX = 64 };

static int least(int a, int b)
{
    return a < b ? a : b;
}

int xp_edit_distance(const char *a, const char *b)
{
    int rows[3][WORD_MAX + 1];   /* of the table d[i][j] over prefixes: rows i - 2, i - 1, i in turn */
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > WORD_MAX || m > WORD_MAX)
        return n > m ? n : m;
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *d = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        d[0] = i;
        for (int j = 1; j <= m; j++) {
            d[j] = least(least(up[j], d[j - 1]) + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[j] = least(d[j], up2[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

const char *xp_nearest(const char *word, const char *const *words, int n)
{
    const char *best = NULL;
    int length = (int)strlen(word), limit = length / 3 > 1 ? length / 3 : 1, distance = limit + 1;
    for (int i = 0; i < n; i++) {
        int d = xp_edit_distance(word, words[i]);
        if (d < distance && d < (int)strlen(words[i])) {   /* nothing in common is not near */
            distance = d;
            best = words[i];
        }
    }
    return best;
}

bool xp_is_section(const char *name)
{
    size_t n = strlen(name);
    for (int i = 0; i < xp_n_knobs; i++)
        if (n && xp_knob_section(&xp_knobs[i]) == n && strncmp(xp_knobs[i].path, name, n) == 0)
            return true;
    return false;
}

/* The words that may stand in a section ("" is the top level); returns how many. */
static int keys_of(const char *section, const char **out, char (*names)[XP_KEY_MAX])
{
    size_t n = strlen(section);
    int count = 0;
    if (!n)
        out[count++] = "defaults";
    for (int i = 0; i < xp_n_knobs; i++) {
        const xp_knob *k = &xp_knobs[i];
        size_t own = xp_knob_section(k);
        if (n && own == n && strncmp(k->path, section, n) == 0)
            out[count++] = k->path + n + 1;
        else if (!n && !own)
            out[count++] = k->path;
        else if (!n && (i == 0 || strncmp(xp_knobs[i - 1].path, k->path, own + 1) != 0)) {
            snprintf(names[count], XP_KEY_MAX, "%.*s", (int)own, k->path);
            out[count] = names[count];
            count++;
        }
    }
    return count;
}

/* "'inner.lr' or 'outer.lr'": knobs of this name in other sections; false: none. */
static bool elsewhere(const char *leaf, char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < xp_n_knobs; i++) {
        const char *dot = strchr(xp_knobs[i].path, '.');
        if (dot && strcmp(dot + 1, leaf) == 0 && used + XP_KEY_MAX < size)
            used += (size_t)snprintf(out + used, size - used, "%s'%s'", used ? " or " : "", xp_knobs[i].path);
    }
    return used > 0;
}

/* What to say after "unknown key 'section.leaf'; ". */
static void suggest_leaf(const char *section, const char *leaf, char *out, size_t size)
{
    enum { MANY = 128 };
    const char *keys[MANY];
    char names[MANY][XP_KEY_MAX], others[300];
    int n = keys_of(section, keys, names);
    const char *near = xp_nearest(leaf, keys, n), *dot = *section ? "." : "";
    if (near) {
        snprintf(out, size, "did you mean '%s%s%s'?", section, dot, near);
    } else if (elsewhere(leaf, others, sizeof others)) {
        snprintf(out, size, "did you mean %s?", others);
    } else {
        size_t used = (size_t)snprintf(out, size, "expected one of");
        for (int i = 0; i < n && used + XP_KEY_MAX < size; i++)
            used += (size_t)snprintf(out + used, size - used, "%s %s", i ? "," : "", keys[i]);
    }
}

/* An override's path may be wrong before the last dot. */
static void suggest_path(const char *path, char *out, size_t size)
{
    const char *paths[256];
    int n = 0;
    for (; n < xp_n_knobs && n < 256; n++)
        paths[n] = xp_knobs[n].path;
    const char *near = xp_nearest(path, paths, n);
    if (near)
        snprintf(out, size, "did you mean '%s'?", near);
    else
        suggest_leaf("", path, out, size);
}

void xp_suggest(const char *section, const char *leaf, char *out, size_t size)
{
    char path[2 * XP_YAML_SHOWN];
    snprintf(path, sizeof path, "%.100s.%.100s", section, leaf);
    if (*section && !xp_is_section(section))
        suggest_path(path, out, size);
    else
        suggest_leaf(section, leaf, out, size);
}

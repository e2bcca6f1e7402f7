/* Overrides of the command line, one a line, over a small configuration. */
#include "experiments/config.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

static const char base[] = "name: base\ntasks: { source: sinusoid, shot: 10, query: 10 }\nmodel: { kind: mlp, hidden: [4] }\n"
                           "inner: { lr: 0.01 }\nouter: { algorithm: maml, iterations: 10 }\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_string(data, size), *rest = text;
    const char *sets[MOST];
    int n = 0;
    for (char *line; n < MOST && (line = strtok_r(rest, "\n", &rest));)
        sets[n++] = line;
    ag_error err = { 0 };
    xp_config c;
    ag_code code = xp_config_parse(&c, base, strlen(base), "base.yaml", n, sets, &err);
    if (fuzz_answer(code, &err))
        xp_config_release(&c);
    else
        fuzz_check(code == AG_ECONFIG || code == AG_ENOMEM, "%s: %s", ag_code_name(code), err.message);
    free(text);
    return 0;
}

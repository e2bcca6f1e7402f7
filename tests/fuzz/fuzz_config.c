/* YAML configurations: refused with a message, or accepted with a resolved text that means the same again. */
#include "experiments/config.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

/* text -> what it resolves to, which must be accepted and resolve to itself. */
static void check_resolved(const xp_config *c, const char *text)
{
    ag_error err = { 0 };
    xp_config again;
    fuzz_check(xp_config_parse(&again, text, strlen(text), "resolved.yaml", 0, NULL, &err) == AG_OK,
               "the resolved configuration is refused: %s\n%s", err.message, text);
    fuzz_check(strcmp(again.resolved, c->resolved) == 0, "resolved anew it differs:\n%s---\n%s", c->resolved, again.resolved);
    xp_config_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ag_error err = { 0 };
    xp_config c;
    if (!fuzz_answer(xp_config_parse(&c, (const char *)data, size, "fuzz.yaml", 0, NULL, &err), &err)) {
        fuzz_check(err.code == AG_ECONFIG || err.code == AG_ENOMEM, "%s: %s", ag_code_name(err.code), err.message);
        return 0;
    }
    check_resolved(&c, c.resolved);
    check_resolved(&c, c.annotated);
    xp_config_release(&c);
    return 0;
}

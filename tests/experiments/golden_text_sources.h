/* Made by golden_text_sources.py; not to be edited. */
typedef struct golden_data {
    const char *name;
    int rows, classes, texts, repeated, ambiguous;
    const char *digest;
} golden_data;
static const golden_data golden_clinc150 = { "clinc150", 22500, 150, 22491, 1, 4,
    "3db4eb502850b3b6692f44356ea135c86cdf2921875a78e45a11b9de669f93c2" };
static const golden_data golden_banking77 = { "banking77", 13083, 77, 13083, 0, 0,
    "a0ae50cd2d5fe1fc27338bd5004051bc09e610f21907cdb6c636658906174f76" };
static const golden_data golden_hwu64 = { "hwu64", 11036, 64, 11036, 0, 0,
    "3231172f2b569580ee31194e72c2d9123057d997f4c61cf645742dc90a56bba2" };

/* The list of commands: one row, one function (cli_options.h). Commands of a group stand together. */
#include "experiments/cli_commands.h"

const xp_cli_command xp_cli_commands[] = {
    { .name = "run", .operands = "FILE.yaml", .options = "set out force seed threads data-dir cache-dir json quiet",
      .about = "trains and tests an experiment, writes its result file",
      .more = "Meta-trains as the configuration FILE.yaml says, tests on fresh tasks, writes everything to one HDF5 file "
              "and prints its table. The same configuration and seed give the same numbers to the last bit, with any "
              "number of threads; more threads than cores are allowed and only cost time. Ctrl-C saves what there is and "
              "ends with 130; a second Ctrl-C stops at once.",
      .example = "metalora run configs/quickstart.yaml --set inner.steps=2 --out two.h5", .run = xp_cli_run },
    { .name = "check", .operands = "FILE.yaml", .options = "set print-config seed",
      .about = "looks for mistakes in a configuration, runs nothing",
      .more = "Reads the configuration FILE.yaml as run would and prints 'FILE.yaml: ok', or the first mistake with its "
              "line and column. docs/config-reference.md lists the keys.",
      .example = "metalora check configs/quickstart.yaml --set inner.lr=0.1 --print-config", .run = xp_cli_check },
    { .name = "show", .operands = "FILE.h5", .options = "json", .about = "prints a result file as a table or as JSON",
      .more = "Prints what a run's result file holds: status, training curve, and for each test protocol the score before "
              "adaptation and after each inner step, as mean and 95% confidence interval. The digest is one over "
              "everything but wall-clock figures: two runs of the same digest gave the same bits.",
      .example = "metalora show quickstart.h5 --json", .run = xp_cli_show },
    { .name = "data list", .operands = "", .options = "cache-dir", .about = "lists the sources of tasks and which are ready",
      .more = "Prints every source that tasks.source can name. Those made of published data must be imported once; 'ready' "
              "says that this was done.",
      .example = "metalora data list", .run = xp_cli_data_list },
    { .name = "data import", .operands = "SOURCE DIR", .options = "cache-dir quiet",
      .about = "checks published data and packs them once into the cache",
      .more = "Reads the archives of SOURCE (omniglot: images_background.zip and images_evaluation.zip) in the folder DIR, "
              "verifies every one of their contents and packs them into the cache. Nothing is written unless all is well.",
      .example = "metalora data import omniglot ~/data/omniglot", .run = xp_cli_data_import },
    { .name = "data verify", .operands = "SOURCE", .options = "cache-dir",
      .about = "reads packed data again and compares digests",
      .more = "Reads the packed data of SOURCE from the cache and compares their digests with those they were published "
              "and packed with.",
      .example = "metalora data verify omniglot", .run = xp_cli_data_verify },
    { .name = "help", .operands = "[COMMAND [SUB]]", .options = "", .about = "prints help, also of one command",
      .more = "Prints the list of commands, or the page of one.", .example = "metalora help data import",
      .run = xp_cli_help },
    { .name = "reference", .operands = "", .options = "", .about = "prints docs/config-reference.md", .hidden = true,
      .more = "Prints the configuration's reference page as made from the list of its keys.",
      .example = "metalora reference >docs/config-reference.md", .run = xp_cli_reference },
};
const int xp_cli_n_commands = sizeof xp_cli_commands / sizeof *xp_cli_commands;

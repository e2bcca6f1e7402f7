# fish completion for metalora. Made by 'metalora completion fish'; do not edit.
# For this shell alone: metalora completion fish | source

# The command so far: its one word or two.
function __metalora_command
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l found
    set -l value no
    for token in $tokens
        if test $value = yes
            set value no
            continue
        end
        switch $token
            case --set --out -o --model --adapter --support --to --steps --lr --head --scale --max-tokens --text-column --label-column --text -t --seed --threads --data-dir --cache-dir --replay
                set value yes
            case '-*'
            case '*'
                set -a found $token
        end
    end
    if contains -- "$found[1]" data
        echo "$found[1..2]"
    else
        echo "$found[1]"
    end
end

function __metalora_is
    set -l command (__metalora_command)
    contains -- "$command" $argv
end

complete -c metalora -f

function __metalora_settings
    printf '%s\n' \
        'name='\t'names the run and its result file' \
        'seed='\t'of everything random in training: tasks, initial values' \
        'repeats='\t'runs with the seeds seed, seed + 1, ... in one result file' \
        'tasks.source=sinusoid'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=lora-linear'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=omniglot'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=clinc150'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=banking77'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=hwu64'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=text'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=arrays'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=caltech101'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.source=lm'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015), three sets of requests by intent (Larson et al. 2019; Casanueva et al. 2020; Liu et al. 2019), labelled texts and arrays of one\'s own, photographs (Fei-Fei et al. 2004), running text' \
        'tasks.way='\t'classes in an episode; 1 in regression' \
        'tasks.shot='\t'support examples, which the inner loop learns from' \
        'tasks.query='\t'query examples, which the outer loop learns from' \
        'tasks.amplitude='\t'sinusoid: bounds of the uniform amplitude' \
        'tasks.phase='\t'sinusoid: bounds of the uniform phase' \
        'tasks.x='\t'sinusoid: bounds of the uniform inputs' \
        'tasks.noise='\t'sinusoid: standard deviation of the noise on y' \
        'tasks.dim='\t'lora-linear: d, width and height of the matrices' \
        'tasks.n_task='\t'lora-linear: T, training tasks' \
        'tasks.true_rank='\t'lora-linear: k, rank by which tasks differ' \
        'tasks.train_samples='\t'lora-linear: N, of each training task' \
        'tasks.test_samples='\t'lora-linear: n, of the new task' \
        'tasks.noise_std='\t'lora-linear: standard deviation of the noise on y' \
        'tasks.invert=true'\t'omniglot: ink is 1 and paper 0 (the files have it the other way round)' \
        'tasks.invert=false'\t'omniglot: ink is 1 and paper 0 (the files have it the other way round)' \
        'tasks.rotate=none'\t'omniglot: no turns; each class of each episode turned by a random multiple of 90 degrees; or training characters turned by 90, 180 and 270 degrees as new classes' \
        'tasks.rotate=task'\t'omniglot: no turns; each class of each episode turned by a random multiple of 90 degrees; or training characters turned by 90, 180 and 270 degrees as new classes' \
        'tasks.rotate=classes'\t'omniglot: no turns; each class of each episode turned by a random multiple of 90 degrees; or training characters turned by 90, 180 and 270 degrees as new classes' \
        'tasks.split='\t'omniglot: training, validation and test characters, taken in the repository\'s fixed order' \
        'tasks.path='\t'text, arrays, lm: the file or folder with the examples; empty: in the data folder' \
        'tasks.text_column='\t'text: name of the texts\' column' \
        'tasks.label_column='\t'text: name of the classes\' column' \
        'tasks.domain_column='\t'text: name of the column with each class\'s domain; empty: there are no domains' \
        'tasks.x_dataset='\t'arrays: name of the inputs\' array' \
        'tasks.y_dataset='\t'arrays: name of the labels\' array' \
        'tasks.classes_from=all'\t'an episode\'s classes come from all domains, from one domain, or from one domain in 7 of 10 episodes' \
        'tasks.classes_from=domain'\t'an episode\'s classes come from all domains, from one domain, or from one domain in 7 of 10 episodes' \
        'tasks.classes_from=mixed'\t'an episode\'s classes come from all domains, from one domain, or from one domain in 7 of 10 episodes' \
        'tasks.split_domains='\t'sources with domains: training, validation and test domains' \
        'tasks.class_split='\t'training, validation and test classes; all 0: the source\'s own split' \
        'tasks.max_per_class='\t'examples kept of each class; 0: all' \
        'model.kind=mlp'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix; a pretrained network read from model.path' \
        'model.kind=conv4'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix; a pretrained network read from model.path' \
        'model.kind=linear'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix; a pretrained network read from model.path' \
        'model.kind=network'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix; a pretrained network read from model.path' \
        'model.hidden='\t'mlp: widths of the hidden layers' \
        'model.activation=relu'\t'mlp, conv4: after every hidden layer' \
        'model.activation=tanh'\t'mlp, conv4: after every hidden layer' \
        'model.init=truncated-normal'\t'mlp, conv4: initial weights (initial biases are 0)' \
        'model.init=xavier'\t'mlp, conv4: initial weights (initial biases are 0)' \
        'model.init=he'\t'mlp, conv4: initial weights (initial biases are 0)' \
        'model.init_std='\t'standard deviation of truncated-normal, cut at two of them' \
        'model.filters='\t'conv4: of every convolution' \
        'model.pooling=stride'\t'conv4: how a block halves the image, by convolving with stride 2 or by max-pooling 2x2' \
        'model.pooling=max'\t'conv4: how a block halves the image, by convolving with stride 2 or by max-pooling 2x2' \
        'model.norm=none'\t'mlp, conv4: normalisation before the activation' \
        'model.norm=batch'\t'mlp, conv4: normalisation before the activation' \
        'model.norm_scale=true'\t'the normalisation has a learned scale besides its learned shift' \
        'model.norm_scale=false'\t'the normalisation has a learned scale besides its learned shift' \
        'model.norm_epsilon='\t'added to the variance' \
        'model.adapt_norm=true'\t'scale and shift are adapted in the inner loop too' \
        'model.adapt_norm=false'\t'scale and shift are adapted in the inner loop too' \
        'model.head_init=xavier'\t'conv4, network: initial weights of the last layer; normal is N(0, 1)' \
        'model.head_init=normal'\t'conv4, network: initial weights of the last layer; normal is N(0, 1)' \
        'model.head_init=zero'\t'conv4, network: initial weights of the last layer; normal is N(0, 1)' \
        'model.path='\t'network: its folder or file; or minilm or smollm2, which \'metalora data get\' fetches' \
        'model.max_tokens='\t'network: longer texts are cut to this' \
        'model.features=mean'\t'network: a text\'s feature is the mean over its tokens, its first token or its last one' \
        'model.features=first'\t'network: a text\'s feature is the mean over its tokens, its first token or its last one' \
        'model.features=last'\t'network: a text\'s feature is the mean over its tokens, its first token or its last one' \
        'model.head=linear'\t'classifier: a layer whose start is meta-learned; nearness to the class means of the support, without parameters; a layer that starts at the class means and is adapted' \
        'model.head=prototype'\t'classifier: a layer whose start is meta-learned; nearness to the class means of the support, without parameters; a layer that starts at the class means and is adapted' \
        'model.head=centroid'\t'classifier: a layer whose start is meta-learned; nearness to the class means of the support, without parameters; a layer that starts at the class means and is adapted' \
        'model.similarity=cosine'\t'prototype, centroid: cosine, or minus the squared distance' \
        'model.similarity=euclidean'\t'prototype, centroid: cosine, or minus the squared distance' \
        'model.head_scale='\t'prototype, centroid: logits are this times the similarity' \
        'model.train='\t'network: regular expression; base weights whose whole name matches are trained too; empty: the base is frozen' \
        'adapter.kind=none'\t'what the inner loop adapts: the model\'s own parameters; the two factors of a low-rank addition (Hu et al. 2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); scales of shared random factors (Kopiczko et al. 2024)' \
        'adapter.kind=lora'\t'what the inner loop adapts: the model\'s own parameters; the two factors of a low-rank addition (Hu et al. 2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); scales of shared random factors (Kopiczko et al. 2024)' \
        'adapter.kind=dora'\t'what the inner loop adapts: the model\'s own parameters; the two factors of a low-rank addition (Hu et al. 2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); scales of shared random factors (Kopiczko et al. 2024)' \
        'adapter.kind=adalora'\t'what the inner loop adapts: the model\'s own parameters; the two factors of a low-rank addition (Hu et al. 2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); scales of shared random factors (Kopiczko et al. 2024)' \
        'adapter.kind=vera'\t'what the inner loop adapts: the model\'s own parameters; the two factors of a low-rank addition (Hu et al. 2022); those with a magnitude apart (Liu et al. 2024); with singular values that are pruned (Zhang et al. 2023); scales of shared random factors (Kopiczko et al. 2024)' \
        'adapter.rank='\t'rank while meta-training' \
        'adapter.test_rank='\t'linear: rank at test; 0: as adapter.rank' \
        'adapter.init_std='\t'linear: standard deviation of the initial factors' \
        'adapter.alpha='\t'network: the addition is scaled by alpha / rank; 0: twice the rank' \
        'adapter.init=default'\t'network: initial factors. PEFT\'s (A Kaiming-uniform, B 0); A normal, B 0; the base\'s principal components (Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones' \
        'adapter.init=gaussian'\t'network: initial factors. PEFT\'s (A Kaiming-uniform, B 0); A normal, B 0; the base\'s principal components (Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones' \
        'adapter.init=pissa'\t'network: initial factors. PEFT\'s (A Kaiming-uniform, B 0); A normal, B 0; the base\'s principal components (Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones' \
        'adapter.init=olora'\t'network: initial factors. PEFT\'s (A Kaiming-uniform, B 0); A normal, B 0; the base\'s principal components (Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones' \
        'adapter.init=orthogonal'\t'network: initial factors. PEFT\'s (A Kaiming-uniform, B 0); A normal, B 0; the base\'s principal components (Meng et al. 2024); its QR factors (Bueyuekakyuez 2024); orthogonal ones' \
        'adapter.rslora=true'\t'network: scaled by alpha / sqrt(rank) (Kalajdzievski 2023)' \
        'adapter.rslora=false'\t'network: scaled by alpha / sqrt(rank) (Kalajdzievski 2023)' \
        'adapter.dropout='\t'network: share of the adapters\' inputs dropped while training' \
        'adapter.targets='\t'network: modules adapted, by their whole names or the ends of them; all-linear: every one; empty: the architecture\'s usual ones' \
        'adapter.exclude='\t'network: modules left out of adapter.targets' \
        'adapter.layers='\t'network: only these layers, from 0; empty: all' \
        'adapter.rank_pattern='\t'network: ranks of the modules whose names end in the regular expression; the first that matches wins' \
        'adapter.alpha_pattern='\t'network: alphas, likewise' \
        'adapter.lr_ratio='\t'network: B\'s step size is this times A\'s (LoRA+, Hayou et al. 2024)' \
        'adapter.budget='\t'adalora: singular values left at the end; 0: half of the first' \
        'adapter.orthogonality='\t'adalora: weight of the penalty that keeps the singular vectors orthogonal, added to the training loss' \
        'adapter.path='\t'network: PEFT folder of the adapter to start from; empty: drawn' \
        'inner.rule=sgd'\t'update rule of the inner loop' \
        'inner.rule=adam'\t'update rule of the inner loop' \
        'inner.lr='\t'step size of the inner loop' \
        'inner.lr_query='\t'lora-linear: step size when fine-tuning on the new task; 0: as inner.lr' \
        'inner.steps='\t'inner steps while meta-training; 0: no adaptation (protonet)' \
        'inner.proximal='\t'imaml: lambda; the inner loss has lambda / 2 times the squared distance to the start' \
        'inner.lr_scope=all'\t'one step size for everything, for each tensor, or for each number' \
        'inner.lr_scope=tensor'\t'one step size for everything, for each tensor, or for each number' \
        'inner.lr_scope=element'\t'one step size for everything, for each tensor, or for each number' \
        'inner.learn_lr=true'\t'the outer loop learns the step sizes, from inner.lr on' \
        'inner.learn_lr=false'\t'the outer loop learns the step sizes, from inner.lr on' \
        'inner.loss_scale=mean'\t'the inner loss: mean over examples, or their sum divided by the shots, which is tasks.way times the mean (the code of Finn et al. 2017)' \
        'inner.loss_scale=per-shot'\t'the inner loss: mean over examples, or their sum divided by the shots, which is tasks.way times the mean (the code of Finn et al. 2017)' \
        'outer.algorithm=maml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=fomaml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=joint'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=reptile'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=anil'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=imaml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=protonet'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=multitask'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=none'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=lora-ml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=standard-retraining'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; Reptile (Nichol et al. 2018); MAML that adapts the head alone (Raghu et al. 2020); implicit MAML (Rajeswaran et al. 2019); prototypical networks (Snell et al. 2017); one linear head over all training classes, thrown away after training; no meta-training, so the start is tested; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.optimizer=adam'\t'of the outer loop' \
        'outer.optimizer=sgd'\t'of the outer loop' \
        'outer.lr='\t'step size of the outer loop' \
        'outer.beta1='\t'adam: decay of the first moment' \
        'outer.beta2='\t'adam: decay of the second moment' \
        'outer.epsilon='\t'adam: added to the root of the second moment' \
        'outer.momentum='\t'sgd: momentum' \
        'outer.schedule=constant'\t'step size over the iterations, from outer.lr to outer.lr_final' \
        'outer.schedule=linear'\t'step size over the iterations, from outer.lr to outer.lr_final' \
        'outer.schedule=cosine'\t'step size over the iterations, from outer.lr to outer.lr_final' \
        'outer.lr_final='\t'linear, cosine: step size at the end' \
        'outer.meta_batch='\t'tasks whose meta-gradients an outer step averages' \
        'outer.iterations='\t'outer steps; with outer.algorithm none 0' \
        'outer.chunk='\t'tasks computed together. Results depend on it in the last bits, and never on the number of threads' \
        'outer.keep_memory='\t'exact MAML: of each thread, to keep what inner steps leave for their second derivatives; what does not fit is computed again, which changes no result; 0: memory does not grow with inner.steps' \
        'outer.clip_value='\t'each number of the meta-gradient is cut to this; 0: off' \
        'outer.clip_norm='\t'the meta-gradient is shortened to this norm; 0: off' \
        'outer.cg_steps='\t'imaml: conjugate-gradient steps for the implicit meta-gradient' \
        'outer.weight_decay='\t'adam: decoupled (Loshchilov & Hutter 2019); each step shrinks the parameters by this times the step size' \
        'eval.episodes='\t'test episodes, the same for every method and seed' \
        'eval.steps='\t'inner steps at test' \
        'eval.score_steps='\t'inner steps that are scored, ascending, the last of them eval.steps; 0: before adaptation; empty: every one, and the start too' \
        'eval.shots='\t'support sizes to test, one table each; empty: tasks.shot' \
        'eval.query='\t'query examples at test; 0: as tasks.query' \
        'eval.protocol=transductive'\t'batch normalisation at test sees all queries of an episode together, or the support and one query at a time' \
        'eval.protocol=inductive'\t'batch normalisation at test sees all queries of an episode together, or the support and one query at a time' \
        'eval.validate_every='\t'between validations, the first before training; 0: never' \
        'eval.validation_episodes='\t'validation episodes, always the same' \
        'eval.diverged_above='\t'an episode with a greater loss, or one that is not finite, counts as diverged' \
        'eval.select=last'\t'the parameters that are tested: the last ones, or those with the best validation score' \
        'eval.select=best'\t'the parameters that are tested: the last ones, or those with the best validation score' \
        'eval.seed='\t'of the validation and test episodes: the same ones for every seed of the run' \
        'eval.checkpoint_every='\t'between checkpoints, which change no result; 0: about every ten seconds' \
        'eval.tests='\t'what is tested, such as banking77/77; empty: tasks.source with tasks.way. Of another source than tasks.source all classes are for the test' \
        'eval.head=same'\t'classifier at test; same: as model.head' \
        'eval.head=linear'\t'classifier at test; same: as model.head' \
        'eval.head=prototype'\t'classifier at test; same: as model.head' \
        'eval.head=centroid'\t'classifier at test; same: as model.head' \
        'eval.lr='\t'inner step size at test; 0: the learned ones, or inner.lr'
end

complete -c metalora -n '__metalora_is ""' -a run -d 'trains and tests an experiment, writes its result file'
complete -c metalora -n '__metalora_is ""' -a resume -d 'goes on with a run that was stopped or killed'
complete -c metalora -n '__metalora_is ""' -a check -d 'looks for mistakes in a configuration, runs nothing'
complete -c metalora -n '__metalora_is ""' -a show -d 'prints a result file as a table or as JSON'
complete -c metalora -n '__metalora_is ""' -a adapt -d 'adapts a model to a task from a few labelled texts'
complete -c metalora -n '__metalora_is ""' -a predict -d 'labels texts with an adapter that adapt wrote'
complete -c metalora -n '__metalora_is ""' -a export -d 'writes a run\'s meta-learned adapter as a folder for PEFT and adapt'
complete -c metalora -n '__metalora_is ""' -a data -d 'data list, get, import, verify'
complete -c metalora -n '__metalora_is data' -a list -d 'lists the sources of tasks and the models, and which are ready'
complete -c metalora -n '__metalora_is data' -a get -d 'downloads published data or a model, checks and packs them'
complete -c metalora -n '__metalora_is data' -a import -d 'checks published data and packs them once into the cache'
complete -c metalora -n '__metalora_is data' -a verify -d 'reads packed data again and compares digests'
complete -c metalora -n '__metalora_is ""' -a help -d 'prints help, also of one command'
complete -c metalora -n '__metalora_is ""' -a schema -d 'prints a JSON schema of configurations, for editors'
complete -c metalora -n '__metalora_is ""' -a completion -d 'prints completion for bash, zsh or fish'

complete -c metalora -n "__metalora_is 'run' 'check'" -l set -x -a '(__metalora_settings)' -d 'one key of the configuration, as in inner.lr=0.1; wins over the file. May be given many times'
complete -c metalora -n "__metalora_is 'run'" -s o -l out -x -k -a '(__fish_complete_suffix .h5)' -d 'the result file; without it NAME.h5 in the current folder, NAME being the configuration\'s'
complete -c metalora -n "__metalora_is 'adapt' 'predict' 'export'" -l model -x -a '(__fish_complete_directories)' -d 'the frozen model: a folder or file, or minilm or smollm2 as metalora data get got them; without it the one the adapter was made for'
complete -c metalora -n "__metalora_is 'adapt' 'predict'" -l adapter -x -a '(__fish_complete_directories)' -d 'the folder of an adapter, as adapt, export or PEFT wrote it'
complete -c metalora -n "__metalora_is 'adapt'" -l support -x -k -a '(__fish_complete_suffix .jsonl)' -d 'the examples: JSON lines with text and label, .csv or .tsv; - reads JSON lines from stdin'
complete -c metalora -n "__metalora_is 'adapt' 'export'" -l to -x -a '(__fish_complete_directories)' -d 'the folder to write; it must not be there yet'
complete -c metalora -n "__metalora_is 'run' 'adapt' 'export'" -s f -l force -d 'replace an existing result file or adapter'
complete -c metalora -n "__metalora_is 'adapt'" -l steps -x -d 'inner steps; 0: only the head is made'
complete -c metalora -n "__metalora_is 'adapt'" -l lr -x -d 'step size, in place of the one the adapter was trained with'
complete -c metalora -n "__metalora_is 'adapt'" -l head -x -a 'prototype centroid' -d 'prototype or centroid: whether the layer that starts at the class means is adapted'
complete -c metalora -n "__metalora_is 'adapt'" -l scale -x -d 'class scores are this times the similarity'
complete -c metalora -n "__metalora_is 'adapt'" -l max-tokens -x -d 'tokens read of a text; the rest is cut and counted'
complete -c metalora -n "__metalora_is 'adapt' 'predict'" -l text-column -x -d 'the texts\' column or key; without it text'
complete -c metalora -n "__metalora_is 'adapt'" -l label-column -x -d 'the labels\' column or key; without it label'
complete -c metalora -n "__metalora_is 'adapt'" -l no-estimate -d 'no estimate of the accuracy by leaving examples out'
complete -c metalora -n "__metalora_is 'predict'" -s t -l text -x -d 'a text to label. May be given many times'
complete -c metalora -n "__metalora_is 'predict'" -l plain -d 'the input\'s lines are texts, not JSON'
complete -c metalora -n "__metalora_is 'predict'" -l strict -d 'refuse a text of too many tokens; without it, it is cut'
complete -c metalora -n "__metalora_is 'run' 'check' 'adapt'" -l seed -x -d 'the same as --set seed=S, and wins over it; adapt: the seed of a fresh LoRA'
complete -c metalora -n "__metalora_is 'run' 'resume' 'adapt' 'predict'" -l threads -x -d 'threads to compute with; without it one a core, at most one for each chunk of tasks. Changes the time, never the result'
complete -c metalora -n "__metalora_is 'run' 'resume' 'data get' 'data verify'" -l data-dir -x -a '(__fish_complete_directories)' -d 'the folder of the data as published; without it METALORA_DATA of the environment'
complete -c metalora -n "__metalora_is 'run' 'resume' 'adapt' 'predict' 'export' 'data list' 'data get' 'data import' 'data verify'" -l cache-dir -x -a '(__fish_complete_directories)' -d 'the folder of packed data; without it metalora in XDG_CACHE_HOME or ~/.cache'
complete -c metalora -n "__metalora_is 'data get'" -l offline -d 'never use the network: fail, naming what is missing'
complete -c metalora -n "__metalora_is 'run'" -l replay -x -d 'compute one task of one training iteration (from 1; tasks from 0) and tell its losses; from the checkpoint of a failed run if there is one, else after training up to it. Writes nothing'
complete -c metalora -n "__metalora_is 'run' 'resume' 'show' 'adapt' 'predict'" -l json -d 'JSON in place of a table'
complete -c metalora -n "__metalora_is 'run' 'resume' 'adapt' 'export' 'data get' 'data import'" -s q -l quiet -d 'no progress, no table, only errors (and what --json asks for)'
complete -c metalora -n "__metalora_is 'check'" -l print-config -d 'print every key with its value and where that came from, as YAML'
complete -c metalora -s h -l help -d 'print help, also of a command: metalora run --help'
complete -c metalora -n "__metalora_is ''" -s V -l version -d 'print the version, the kernels chosen and the libraries'

complete -c metalora -n "__metalora_is 'run'" -k -a '(__fish_complete_suffix .yaml)'
complete -c metalora -n "__metalora_is 'resume'" -k -a '(__fish_complete_suffix .h5)'
complete -c metalora -n "__metalora_is 'check'" -k -a '(__fish_complete_suffix .yaml)'
complete -c metalora -n "__metalora_is 'show'" -k -a '(__fish_complete_suffix .h5)'
complete -c metalora -n "__metalora_is 'predict'" -k -a '(__fish_complete_suffix .jsonl)'
complete -c metalora -n "__metalora_is 'export'" -k -a '(__fish_complete_suffix .h5)'
complete -c metalora -n "__metalora_is 'data get'" -a 'omniglot minilm smollm2'
complete -c metalora -n "__metalora_is 'data import'" -a 'omniglot minilm smollm2'
complete -c metalora -n "__metalora_is 'data import'" -a '(__fish_complete_directories)'
complete -c metalora -n "__metalora_is 'data verify'" -a 'omniglot minilm smollm2'
complete -c metalora -n "__metalora_is 'help'" -a 'run resume check show adapt predict export data help schema completion'
complete -c metalora -n "__metalora_is 'help'" -a 'list get import verify'
complete -c metalora -n "__metalora_is 'completion'" -a 'bash zsh fish'

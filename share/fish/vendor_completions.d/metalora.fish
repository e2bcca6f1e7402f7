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
            case --set --out -o --seed --threads --data-dir --cache-dir --replay
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
        'tasks.source=sinusoid'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015)' \
        'tasks.source=lora-linear'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015)' \
        'tasks.source=omniglot'\t'where tasks come from: sine waves (Finn et al. 2017), matrices a low rank apart (Block et al. 2024), handwritten characters (Lake et al. 2015)' \
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
        'model.kind=mlp'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix' \
        'model.kind=conv4'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix' \
        'model.kind=linear'\t'fully connected layers; four 3x3 convolutions and a linear head; one matrix' \
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
        'model.head_init=xavier'\t'conv4: initial weights of the last layer; normal is N(0, 1)' \
        'model.head_init=normal'\t'conv4: initial weights of the last layer; normal is N(0, 1)' \
        'adapter.kind=none'\t'what the inner loop adapts: the model\'s own parameters, or the two factors of a low-rank addition' \
        'adapter.kind=lora'\t'what the inner loop adapts: the model\'s own parameters, or the two factors of a low-rank addition' \
        'adapter.rank='\t'lora: rank while meta-training' \
        'adapter.test_rank='\t'lora: rank at test; 0: as adapter.rank' \
        'adapter.init_std='\t'lora: standard deviation of the initial factors' \
        'inner.rule=sgd'\t'update rule of the inner loop' \
        'inner.lr='\t'step size of the inner loop' \
        'inner.lr_query='\t'lora-linear: step size when fine-tuning on the new task; 0: as inner.lr' \
        'inner.steps='\t'inner steps while meta-training' \
        'inner.lr_scope=all'\t'one step size for everything, for each tensor, or for each number' \
        'inner.lr_scope=tensor'\t'one step size for everything, for each tensor, or for each number' \
        'inner.lr_scope=element'\t'one step size for everything, for each tensor, or for each number' \
        'inner.learn_lr=true'\t'the outer loop learns the step sizes, from inner.lr on' \
        'inner.learn_lr=false'\t'the outer loop learns the step sizes, from inner.lr on' \
        'inner.loss_scale=mean'\t'the inner loss: mean over examples, or their sum divided by the shots, which is tasks.way times the mean (the code of Finn et al. 2017)' \
        'inner.loss_scale=per-shot'\t'the inner loss: mean over examples, or their sum divided by the shots, which is tasks.way times the mean (the code of Finn et al. 2017)' \
        'outer.algorithm=maml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=fomaml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=joint'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=lora-ml'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
        'outer.algorithm=standard-retraining'\t'exact second-order MAML; first-order MAML; plain training on all tasks together; lora-linear: a matrix trained under private adapters (Block et al. 2024), or without them' \
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
        'outer.iterations='\t'outer steps' \
        'outer.chunk='\t'tasks computed together. Results depend on it in the last bits, and never on the number of threads' \
        'outer.clip_value='\t'each number of the meta-gradient is cut to this; 0: off' \
        'outer.clip_norm='\t'the meta-gradient is shortened to this norm; 0: off' \
        'eval.episodes='\t'test episodes, the same for every method and seed' \
        'eval.steps='\t'inner steps at test; every one is scored, and the start too' \
        'eval.shots='\t'support sizes to test, one table each; empty: tasks.shot' \
        'eval.query='\t'query examples at test; 0: as tasks.query' \
        'eval.protocol=transductive'\t'batch normalisation at test sees all queries of an episode together, or the support and one query at a time' \
        'eval.protocol=inductive'\t'batch normalisation at test sees all queries of an episode together, or the support and one query at a time' \
        'eval.validate_every='\t'between validations; 0: never' \
        'eval.validation_episodes='\t'validation episodes, always the same' \
        'eval.diverged_above='\t'an episode with a greater loss, or one that is not finite, counts as diverged' \
        'eval.select=last'\t'the parameters that are tested: the last ones, or those with the best validation score' \
        'eval.select=best'\t'the parameters that are tested: the last ones, or those with the best validation score' \
        'eval.seed='\t'of the validation and test episodes: the same ones for every seed of the run' \
        'eval.checkpoint_every='\t'between checkpoints, which change no result; 0: about every ten seconds'
end

complete -c metalora -n '__metalora_is ""' -a run -d 'trains and tests an experiment, writes its result file'
complete -c metalora -n '__metalora_is ""' -a resume -d 'goes on with a run that was stopped or killed'
complete -c metalora -n '__metalora_is ""' -a check -d 'looks for mistakes in a configuration, runs nothing'
complete -c metalora -n '__metalora_is ""' -a show -d 'prints a result file as a table or as JSON'
complete -c metalora -n '__metalora_is ""' -a data -d 'data list, get, import, verify'
complete -c metalora -n '__metalora_is data' -a list -d 'lists the sources of tasks and which are ready'
complete -c metalora -n '__metalora_is data' -a get -d 'downloads published data, checks and packs them'
complete -c metalora -n '__metalora_is data' -a import -d 'checks published data and packs them once into the cache'
complete -c metalora -n '__metalora_is data' -a verify -d 'reads packed data again and compares digests'
complete -c metalora -n '__metalora_is ""' -a help -d 'prints help, also of one command'
complete -c metalora -n '__metalora_is ""' -a schema -d 'prints a JSON schema of configurations, for editors'
complete -c metalora -n '__metalora_is ""' -a completion -d 'prints completion for bash, zsh or fish'

complete -c metalora -n "__metalora_is 'run' 'check'" -l set -x -a '(__metalora_settings)' -d 'one key of the configuration, as in inner.lr=0.1; wins over the file. May be given many times'
complete -c metalora -n "__metalora_is 'run'" -s o -l out -x -k -a '(__fish_complete_suffix .h5)' -d 'the result file; without it NAME.h5 in the current folder, NAME being the configuration\'s'
complete -c metalora -n "__metalora_is 'run'" -s f -l force -d 'replace an existing result file'
complete -c metalora -n "__metalora_is 'run' 'check'" -l seed -x -d 'the same as --set seed=S, and wins over it'
complete -c metalora -n "__metalora_is 'run' 'resume'" -l threads -x -d 'threads to compute with; without it one a core, at most one for each chunk of tasks. Changes the time, never the result'
complete -c metalora -n "__metalora_is 'run' 'resume' 'data get' 'data verify'" -l data-dir -x -a '(__fish_complete_directories)' -d 'the folder of the data as published; without it METALORA_DATA of the environment'
complete -c metalora -n "__metalora_is 'run' 'resume' 'data list' 'data get' 'data import' 'data verify'" -l cache-dir -x -a '(__fish_complete_directories)' -d 'the folder of packed data; without it metalora in XDG_CACHE_HOME or ~/.cache'
complete -c metalora -n "__metalora_is 'data get'" -l offline -d 'never use the network: fail, naming what is missing'
complete -c metalora -n "__metalora_is 'run'" -l replay -x -d 'compute one task of one training iteration (from 1; tasks from 0) and tell its losses; from the checkpoint of a failed run if there is one, else after training up to it. Writes nothing'
complete -c metalora -n "__metalora_is 'run' 'resume' 'show'" -l json -d 'JSON in place of a table'
complete -c metalora -n "__metalora_is 'run' 'resume' 'data get' 'data import'" -s q -l quiet -d 'no progress, no table, only errors (and what --json asks for)'
complete -c metalora -n "__metalora_is 'check'" -l print-config -d 'print every key with its value and where that came from, as YAML'
complete -c metalora -s h -l help -d 'print help, also of a command: metalora run --help'
complete -c metalora -n "__metalora_is ''" -s V -l version -d 'print the version, the kernels chosen and the libraries'

complete -c metalora -n "__metalora_is 'run'" -k -a '(__fish_complete_suffix .yaml)'
complete -c metalora -n "__metalora_is 'resume'" -k -a '(__fish_complete_suffix .h5)'
complete -c metalora -n "__metalora_is 'check'" -k -a '(__fish_complete_suffix .yaml)'
complete -c metalora -n "__metalora_is 'show'" -k -a '(__fish_complete_suffix .h5)'
complete -c metalora -n "__metalora_is 'data get'" -a 'omniglot'
complete -c metalora -n "__metalora_is 'data import'" -a 'omniglot'
complete -c metalora -n "__metalora_is 'data import'" -a '(__fish_complete_directories)'
complete -c metalora -n "__metalora_is 'data verify'" -a 'omniglot'
complete -c metalora -n "__metalora_is 'help'" -a 'run resume check show data help schema completion'
complete -c metalora -n "__metalora_is 'help'" -a 'list get import verify'
complete -c metalora -n "__metalora_is 'completion'" -a 'bash zsh fish'

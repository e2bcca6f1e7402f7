#!/usr/bin/env python3
"""metalora adapt, predict and export against PEFT and PyTorch, running now, on small random networks: PEFT loads the folders
unchanged, the probabilities that predict prints are those of PEFT's model with the layer applied to the pooled features, and
the steps that adapt takes are those of PyTorch's autograd from the start that export wrote.

    METALORA_BUILD=build python3 live_adapt.py

Fails (exit code 1) where two probabilities differ by more than 1e-4."""
import json
import os
import subprocess
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import torch
import transformers
from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.simplefilter("ignore", FutureWarning)
BUILD = os.path.abspath(os.environ.get("METALORA_BUILD", "build"))
TOLERANCE = 1e-4
STEPS, LR = 3, 0.02
SUPPORT = [("call my phone", "telephone"), ("pay the bank", "finance"), ("is the sun for me", "sky"), ("ring the phone now", "telephone"),
           ("what is my money", "finance"), ("what is the weather", "sky"), ("please ring me", "telephone"), ("rain now ?", "sky")]
ASKED = ["call me please", "money for the bank", "the rain", "play a song", "is it my weather now ?", "xylophone"]
LABELS = ["telephone", "finance", "sky"]
RUN = """name: small
tasks: {source: text, path: tasks.csv, way: 2, shot: 2, query: 2, class_split: [4, 2, 3]}
model: {kind: network, path: %s, max_tokens: 24, head: centroid, head_scale: 5.0}
adapter: {kind: lora, rank: 2}
inner: {lr: 0.02, steps: 1}
outer: {algorithm: maml, meta_batch: 2, iterations: 4, lr: 0.01}
eval: {episodes: 2, steps: 3, query: 2}
"""


def program(*words, text=None):
    done = subprocess.run([os.path.join(BUILD, "metalora"), *words], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"metalora {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def with_layer(model, way):
    """Names as the folder has them: the layer stands beside the network's own modules."""
    model.classifier = torch.nn.Linear(model.config.hidden_size, way)
    return model


def base(folder, name):
    kind = transformers.BertModel if name == "bert" else transformers.LlamaForCausalLM
    extra = {"add_pooling_layer": False} if name == "bert" else {}
    return kind.from_pretrained(folder, attn_implementation="eager", **extra).eval()


class Task:
    """Features of texts, and a card's head on them."""

    def __init__(self, folder, tokenizer, adapter, name, layer):
        self.card = json.load(open(os.path.join(adapter, "metalora.json"), encoding="utf-8"))
        self.tokenizer = tokenizer
        model = base(folder, name)
        if layer:
            model = with_layer(model, len(self.card["labels"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)    # a key that is missing or too many is only a warning
            self.model = peft.PeftModel.from_pretrained(model, adapter, is_trainable=True)
        self.model.eval()

    def features(self, texts):
        rows = []
        for text in texts:
            ids = torch.tensor([self.tokenizer.encode(text).ids[:self.card["max_tokens"]]])
            rows.append(self.model(input_ids=ids, output_hidden_states=True).hidden_states[-1].mean(1))
        f = torch.cat(rows)
        return f / f.norm(dim=1, keepdim=True)

    def scores(self, f, w, b):
        return self.card["head_scale"] * f @ w.T + b


def predicted(adapter):
    answers = [json.loads(line) for line in program("predict", "--adapter", adapter, "--plain", text="\n".join(ASKED) + "\n").splitlines()]
    return torch.tensor([[a["probabilities"][label] for label in LABELS] for a in answers])


def compare(what, ours, theirs):
    worst = (ours - theirs).abs().max().item()
    print(f"{what}: largest difference of {ours.numel()} probabilities {worst:.2e}")
    return worst <= TOLERANCE


def adapted_by_torch(task):
    """The centroid layer from the class means, then gradient steps on it and on the adapter."""
    y = torch.tensor([LABELS.index(label) for _, label in SUPPORT])
    texts = [text for text, _ in SUPPORT]
    with torch.no_grad():
        f = task.features(texts)
        w = torch.stack([f[y == k].mean(0) for k in range(len(LABELS))])
        w = w / w.norm(dim=1, keepdim=True)
    w, b = w.requires_grad_(), torch.zeros(len(LABELS), requires_grad=True)
    moved = [w, b] + [p for n, p in task.model.named_parameters() if "lora_" in n]
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(task.scores(task.features(texts), w, b), y)
        grads = torch.autograd.grad(loss, moved)
        with torch.no_grad():
            for p, g in zip(moved, grads):
                p -= LR * g
    with torch.no_grad():
        return task.scores(task.features(ASKED), w, b).softmax(1)


def loaded_by_peft(task):
    layer = task.model.base_model.model.classifier
    layer = layer.modules_to_save["default"] if hasattr(layer, "modules_to_save") else layer
    with torch.no_grad():
        return task.scores(task.features(ASKED), layer.weight, layer.bias).softmax(1)


def check(name, scratch):
    os.chdir(scratch)
    folder = name
    subprocess.run([os.path.join(BUILD, "tests", "experiments_adapt"), "network", folder, name], check=True)
    tokenizer = BertWordPieceTokenizer(os.path.join(folder, "vocab.txt"), lowercase=True)
    words = [text for text, _ in SUPPORT] + ASKED
    with open("tasks.csv", "w", encoding="ascii") as f:
        f.write("text,label\n" + "".join(f"{words[(c + i) % len(words)]} {words[c]},c{c}\n" for c in range(9) for i in range(6)))
    with open("run.yaml", "w", encoding="ascii") as f:
        f.write(RUN % folder)
    start, task, run = name + "-start", name + "-task", name + ".h5"
    program("run", "run.yaml", "--out", run, "--quiet")
    program("export", run, "--to", start, "--quiet")
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in SUPPORT)
    program("adapt", "--adapter", start, "--support", "-", "--to", task, "--steps", str(STEPS), "--lr", str(LR), "--quiet", text=lines)
    moved = max(t.abs().max().item() for key, t in load_file(os.path.join(start, "adapter_model.safetensors")).items() if "lora_B" in key)
    ours = predicted(task)
    good = compare(f"{name}: what adapt wrote, loaded by PEFT", ours, loaded_by_peft(Task(folder, tokenizer, task, name, True)))
    good &= compare(f"{name}: {STEPS} steps of PyTorch from what export wrote (B up to {moved:.3f})", ours,
                    adapted_by_torch(Task(folder, tokenizer, start, name, False)))
    return good and moved > 1e-3


def main():
    good = True
    for name in ("bert", "llama"):
        with tempfile.TemporaryDirectory() as scratch:
            good &= check(name, scratch)
            os.chdir("/")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Adapters against PEFT (huggingface/peft), running now, on tiny random models of transformers: a folder this build writes is
loaded by PEFT and one that PEFT writes is read by this build, and both give the same hidden states and logits.

    METALORA_BUILD=build python3 live_peft.py [--only WORD]

Fails (exit code 1) when two outputs differ by more than 1e-5 of the largest, or PEFT finds a key missing or too many."""
import argparse
import os
import subprocess
import sys
import tempfile
import warnings
from collections import OrderedDict

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import peft
import torch
import transformers
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = 1e-5
PROGRAM = None
IDS = torch.tensor([[1, 7, 3, 10, 0], [5, 2, 2, 9, 4], [8, 8, 1, 6, 10]])


# ---- models ----

class Convolution(torch.nn.Module):
    """What models/convolution.c says it is."""

    def __init__(self, dimensions, in_channels, channels, kernel, layers):
        super().__init__()
        kind = [None, torch.nn.Conv1d, torch.nn.Conv2d][dimensions]
        self.layers = torch.nn.Sequential(*[torch.nn.Sequential(OrderedDict(
            conv=kind(in_channels if l == 0 else channels, channels, kernel, stride=2, padding=kernel // 2),
            act=torch.nn.ReLU())) for l in range(layers)])

    def forward(self, x):
        return self.layers(x).flatten(2).mean(2)


def make_model(name):
    torch.manual_seed(11)
    sizes = dict(vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=32)
    if name == "bert":
        model = transformers.BertModel(transformers.BertConfig(**sizes), add_pooling_layer=False)
    elif name == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=False))
    elif name == "llama-tied":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=True))
    elif name == "gpt2":
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=4, n_positions=32))
    else:
        model = Convolution(int(name[4]), 3, 8, 3, 2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model.eval()


def write_model(name, model, folder):
    if not name.startswith("conv"):
        model.save_pretrained(folder)
        return
    os.makedirs(folder, exist_ok=True)
    save_file(model.state_dict(), os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    with open(os.path.join(folder, "config.json"), "w", encoding="ascii") as f:
        f.write('{"model_type": "%s", "num_hidden_layers": 2, "hidden_size": 8, "kernel_size": 3, "in_channels": 3}' % name)


def model_input(name):
    torch.manual_seed(12)
    if name == "conv1d":
        return torch.randn(2, 3, 9)
    return torch.randn(2, 3, 7, 6) if name == "conv2d" else IDS


def write_input(name, x, path):
    with open(path, "w", encoding="ascii") as f:
        if not name.startswith("conv"):
            f.write("ids %d %d " % tuple(x.shape))
        else:
            x = (x.unsqueeze(2) if name == "conv1d" else x).permute(0, 2, 3, 1)
            f.write("x %d %d %d %d " % tuple(x.shape))
        f.write(" ".join("%.9g" % v for v in x.flatten().tolist()))


@torch.no_grad()
def outputs(name, model, x):
    model.eval()
    if name.startswith("conv"):
        return [model(x).flatten().numpy(), np.zeros(0)]
    if name == "bert":
        return [model(input_ids=x).last_hidden_state.flatten().numpy(), np.zeros(0)]
    out = model(input_ids=x, output_hidden_states=True)
    return [out.hidden_states[-1].flatten().numpy(), out.logits.flatten().numpy()]


# ---- our program ----

def ours(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    lines = done.stdout.strip("\n").split("\n")
    return [np.array([float(v) for v in line.split()[1:]]) for line in lines]


WORST = 0.0


def compare(what, a, b, base=None, tolerance=TOLERANCE):
    global WORST
    for x, y in zip(a, b):
        if x.shape != y.shape:
            sys.exit(f"{what}: {x.size} numbers and {y.size}")
        if x.size:
            difference = float(np.max(np.abs(x - y)) / max(1.0, np.max(np.abs(y))))
            WORST = max(WORST, difference * TOLERANCE / tolerance)
            if not difference <= tolerance:
                sys.exit(f"{what}: differ by {difference:.2e}")
    if base is not None and max(float(np.max(np.abs(x - y))) for x, y in zip(a, base) if x.size) < 1e-3:
        sys.exit(f"{what}: the adapter does nothing, so nothing is compared")


# ---- the cases ----

LINEAR = {"bert": ["query", "value", "dense"], "llama": ["q_proj", "v_proj", "down_proj"], "gpt2": ["c_attn", "c_fc", "c_proj"]}
EMBEDDING = {"bert": ["word_embeddings", "query"], "llama": ["embed_tokens", "q_proj"], "gpt2": ["wte", "c_attn"]}
CONV = {"conv1d": ["conv"], "conv2d": ["conv"]}


def cases():
    """name, model, options of ours, config of PEFT's (None: only ours is written)"""
    lora = lambda targets, **more: peft.LoraConfig(target_modules=targets, **{"r": 4, "lora_alpha": 6, **more})
    for m, t in LINEAR.items():
        names = "targets=" + ",".join(t)
        fan = {"fan_in_fan_out": m == "gpt2"}
        yield "lora", m, [names, "rank=4", "alpha=6"], lora(t, **fan)
        yield "defaults", m, ["rank=2"], peft.LoraConfig(r=2, task_type=None, **fan)
        yield "rslora", m, [names, "rank=4", "alpha=6", "rslora=1"], lora(t, use_rslora=True, **fan)
        yield "dora", m, [names, "kind=dora", "rank=3", "alpha=5"], lora(t, r=3, use_dora=True, **fan)
        yield "gaussian", m, [names, "init=gaussian"], lora(t, init_lora_weights="gaussian", **fan)
        yield "orthogonal", m, [names, "rank=4", "init=orthogonal"], lora(t, init_lora_weights="orthogonal", **fan)
        yield "all-linear", m, ["targets=all-linear", "rank=3"], peft.LoraConfig(target_modules="all-linear", r=3, **fan)
        yield "embedding", m, ["targets=" + ",".join(EMBEDDING[m]), "rank=3"], lora(EMBEDDING[m], r=3, **fan)
        yield "embedding dora", m, ["targets=" + ",".join(EMBEDDING[m]), "kind=dora", "rank=3"], lora(EMBEDDING[m], use_dora=True, **fan)
        yield "adalora", m, [names, "kind=adalora", "rank=5", "alpha=7"], peft.AdaLoraConfig(
            target_modules=t, init_r=5, target_r=2, lora_alpha=7, total_step=10, tinit=1, tfinal=1, **fan)
        yield "vera", m, [names, "kind=vera", "rank=6"], peft.VeraConfig(target_modules=t, r=6, **fan)
        yield "pissa", m, [names, "init=pissa", "rank=3", "alpha=5"], lora(t, r=3, init_lora_weights="pissa", **fan)
        yield "pissa dora", m, [names, "kind=dora", "init=pissa", "rank=3", "alpha=5"], None
        yield "pissa rslora", m, [names, "init=pissa", "rank=3", "rslora=1"], lora(t, r=3, init_lora_weights="pissa", use_rslora=True, **fan)
        yield "olora", m, [names, "init=olora", "rank=3"], lora(t, r=3, init_lora_weights="olora") if m != "gpt2" else None
    for m, t in CONV.items():
        for word, more in (("lora", {}), ("dora", {"use_dora": True}), ("rslora", {"use_rslora": True})):
            yield word, m, ["targets=conv", "rank=3", "alpha=5", *{"dora": ["kind=dora"], "rslora": ["rslora=1"]}.get(word, [])], lora(t, r=3, **more)
    yield "adalora", "conv2d", ["targets=conv", "kind=adalora", "rank=4", "noise=0.5"], peft.AdaLoraConfig(
        target_modules=["conv"], init_r=4, target_r=2, total_step=10, tinit=1, tfinal=1)
    # PEFT sorts its files' keys, so only patterns in alphabetical order mean the same to it before and after.
    patterns = {"rank_pattern": {"layers.0.self_attn.[qv]_proj": 2, "v_.*": 5}, "alpha_pattern": {"1.self_attn.q_proj": 3, "v_proj": 9}}
    yield "patterns", "llama", ["targets=q_proj,v_proj,up_proj", "rank=4", "alpha=6", "rank_pattern=layers.0.self_attn.[qv]_proj:2,v_.*:5",
                                "alpha_pattern=1.self_attn.q_proj:3,v_proj:9"], lora(["q_proj", "v_proj", "up_proj"], **patterns)
    yield "patterns pissa", "llama", ["targets=q_proj,v_proj", "init=pissa", "rank=3", "rank_pattern=layers.0.self_attn.q_proj:2",
                                      "alpha_pattern=v_proj:9"], None
    yield "layers", "bert", ["targets=query,dense", "layers=1"], lora(["query", "dense"], layers_to_transform=[1])
    yield "layers", "gpt2", ["targets=c_attn", "layers=1"], lora(["c_attn"], layers_to_transform=1, fan_in_fan_out=True)
    yield "layers and names in full", "llama", ["targets=q_proj,model.layers.0.mlp.up_proj", "layers=1"], lora(
        ["q_proj", "model.layers.0.mlp.up_proj"], layers_to_transform=[1], layers_pattern="layers")
    yield "regex", "llama", [r"regex=.*layers\.[1-9]\.(self_attn\.[qk]_proj|mlp\..*_proj)"], lora(r".*layers\.[1-9]\.(self_attn\.[qk]_proj|mlp\..*_proj)")
    yield "exclude", "bert", ["targets=query,dense", "exclude=0.output.dense"], lora(["query", "dense"], exclude_modules=["0.output.dense"])
    yield "exclude by regex", "bert", ["targets=query"], lora(["query", "dense"], exclude_modules=r"encoder\.layer\.0\..*")
    yield "embedding tied", "llama-tied", ["targets=embed_tokens,q_proj"], lora(["embed_tokens", "q_proj"])
    yield "head", "llama", ["targets=lm_head"], lora(["lm_head"])
    yield "head tied", "llama-tied", ["targets=lm_head"], lora(["lm_head"])
    yield "saved modules", "llama", ["targets=q_proj"], lora(["q_proj", "up_proj"], modules_to_save=["lm_head"])


def fresh(name):
    return make_model(name)


def load_in_peft(name, folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*(missing|unexpected).*")
        model = peft.PeftModel.from_pretrained(fresh(name), folder)
    return model


def change(model, noise):
    torch.manual_seed(13)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.requires_grad and "modules_to_save" not in n and "ranknum" not in n:
                p.add_(torch.randn_like(p) * noise)


def prune(name, model, x):
    """One AdaLoRA step that leaves triplets out."""
    model.train()
    out = model(input_ids=x) if not name.startswith("conv") else model(x)
    out = out if name.startswith("conv") else out.last_hidden_state if name == "bert" else out.logits
    out.square().sum().backward()
    model.base_model.update_and_allocate(5)
    model.eval()


def check_case(word, name, options, config, scratch):
    what = f"{name} {word}"
    x = model_input(name)
    folder, given = os.path.join(scratch, name), os.path.join(scratch, name + ".txt")
    if not os.path.exists(folder):
        write_model(name, fresh(name), folder)
        write_input(name, x, given)
        compare(f"{what}: the base", ours("run", folder, given, "-"), outputs(name, fresh(name), x))
    base = outputs(name, fresh(name), x)
    written = os.path.join(scratch, what.replace(" ", "-"))
    mine = ours("save", folder, given, written, *options)
    compare(f"{what}: our folder in PEFT", mine, outputs(name, load_in_peft(name, written), x), base)
    compare(f"{what}: our folder read again", mine, ours("run", folder, given, written))
    drawn = ours("save-drawn", folder, given, written + "-drawn", *options)
    compare(f"{what}: as drawn, the base", drawn, base)
    if config is None:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(fresh(name), config)
        if word.startswith("pissa") or word == "olora":
            model.save_pretrained(written + "-start")
        change(model, 0.5 if "noise=0.5" in options else 0.05)
        if word == "adalora":
            prune(name, model, x)
        theirs = outputs(name, model, x)
        model.save_pretrained(written + "-peft")
    # The base of an unconverted PiSSA is made again on both sides; PEFT's float32 SVD leaves 1e-7 over the gap of the values.
    compare(f"{what}: PEFT's folder here", ours("run", folder, given, written + "-peft"), theirs, base, 1e-4 if word.startswith("pissa") else TOLERANCE)
    if word.startswith("pissa") or word == "olora":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save_pretrained(written + "-plain", path_initial_model_for_weight_conversion=written + "-start")
        compare(f"{what}: PEFT's conversion here", ours("run", folder, given, written + "-plain"), theirs, base)


def main():
    global PROGRAM
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--only", default="", help="cases whose name has this in it")
    only = p.parse_args().only
    build = os.path.abspath(os.environ.get("METALORA_BUILD", os.path.join(HERE, "..", "..", "build")))
    PROGRAM = os.path.join(build, "tests", "meta_peft")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    n = 0
    with tempfile.TemporaryDirectory() as scratch:
        for word, name, options, config in cases():
            if only in f"{name} {word}":
                check_case(word, name, options, config, scratch)
                n += 1
    print(f"PEFT {peft.__version__}: {n} adapters both ways, largest difference {WORST:.1e}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Networks of this build against PyTorch and transformers, now.

    METALORA_BUILD=build METALORA_MODELS=FOLDER METALORA_DATA=FOLDER python3 live_networks.py [--seed N]

1. The committed golden networks are made anew from their seed: no number may differ by more than 1e-9 of the largest of its tensor.
2. The test programs run on golden networks of a fresh seed.
3. With METALORA_MODELS: hidden states of minilm/ and hidden states and logits of smollm2/ for some English sentences, against
   transformers in float32. The measure is the largest difference over the root mean square of transformers' tensor; 1e-4 passes.
4. With METALORA_DATA: the greedy text of stories260K is that of models/stories260K/SOURCE_stories260K.md.
Fails with exit code 1."""
import argparse
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file

import golden_networks

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("METALORA_BUILD", os.path.join(HERE, "..", "..", "build")))
TOLERANCE, REAL_TOLERANCE = 1e-9, 1e-4
SENTENCES = ["Hi!", "What is the balance of my savings account, and how do I transfer 300 dollars to it?",
             "The quick brown fox jumps over the lazy dog while the naïve café owner watches.", "play some jazz", "Yes",
             "In 1905 Einstein published four papers; the one on light quanta would later earn him the Nobel Prize in physics."]


def compare_committed(folder):
    worst = 0.0
    for case in sorted(os.listdir(folder)):
        for file in "model", "golden":
            fresh, committed = (load_file(os.path.join(at, case, file + ".safetensors")) if case != "llama-tied" or file == "golden" else {}
                                for at in (folder, os.path.join(HERE, "golden_networks")))
            if fresh.keys() != committed.keys():
                sys.exit(f"{case}/{file}.safetensors: tensors differ: {sorted(fresh.keys() ^ committed.keys())}")
            for name, x in fresh.items():
                scale = max(float(np.max(np.abs(x))), 1e-30)
                worst = max(worst, float(np.max(np.abs(x - committed[name].astype(x.dtype)))) / scale)
    return worst


def fresh_networks(seed):
    """The test programs read the networks beside their sources, so they get a second source folder."""
    with tempfile.TemporaryDirectory() as scratch:
        golden_networks.make(os.path.join(scratch, "golden_networks"), seed)
        for program in ("models_networks", "models_networks64"):
            sys.stdout.flush()
            if subprocess.run([os.path.join(BUILD, "tests", program)], env=dict(os.environ, NETWORKS_DIR=scratch)).returncode:
                sys.exit(f"{program} fails with the networks of seed {seed}")


def ours(path, texts, width, vocab):
    lines = "".join(f"{len(t)} {' '.join(map(str, t))}\n" for t in texts)
    run = subprocess.run([os.path.join(BUILD, "tests", "models_networks"), "run", path], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    x, n = np.frombuffer(run.stdout), sum(map(len, texts))
    hidden, logits = x[:n * width].reshape(n, width), x[n * width:]
    return hidden, logits.reshape(n, vocab) if logits.size else None


def measure(name, is_, want):
    worst = float(np.max(np.abs(is_ - want)) / np.sqrt(np.mean(np.square(want))))
    print(f"{name}: largest difference {worst:.1e} of the root mean square")
    if not worst <= REAL_TOLERANCE:
        sys.exit(f"{name}: further than {REAL_TOLERANCE} from transformers")


def minilm(path):
    from transformers import AutoModel, AutoTokenizer
    texts = [AutoTokenizer.from_pretrained(path)(s)["input_ids"] for s in SENTENCES]
    model = AutoModel.from_pretrained(path, dtype=torch.float32).eval()
    with torch.no_grad():
        want = torch.cat([model(torch.tensor([t])).last_hidden_state[0] for t in texts]).double().numpy()
    measure("MiniLM hidden states", ours(path, texts, want.shape[1], 0)[0], want)


def smollm2(path):
    from transformers import AutoModelForCausalLM, AutoTokenizer
    file = next(f for f in sorted(os.listdir(path)) if f.endswith(".gguf"))
    tokenizer = AutoTokenizer.from_pretrained(path, gguf_file=file)
    texts = [tokenizer(s)["input_ids"] for s in SENTENCES]
    model = AutoModelForCausalLM.from_pretrained(path, gguf_file=file, dtype=torch.float32).eval()
    hidden, logits = [], []
    with torch.no_grad():
        for t in texts:
            out = model(torch.tensor([t]), output_hidden_states=True)
            hidden.append(out.hidden_states[-1][0])
            logits.append(out.logits[0])
    hidden, logits = torch.cat(hidden).double().numpy(), torch.cat(logits).double().numpy()
    is_hidden, is_logits = ours(path, texts, hidden.shape[1], logits.shape[1])
    measure("SmolLM2 hidden states", is_hidden, hidden)
    measure("SmolLM2 logits", is_logits, logits)


def stories(folder):
    with open(os.path.join(folder, "tok512.bin"), "rb") as f:
        data = f.read()
    pieces, at = [], 4
    while at < len(data):
        n = struct.unpack_from("<i", data, at + 4)[0]
        pieces.append(data[at + 8:at + 8 + n])
        at += 8 + n
    run = subprocess.run([os.path.join(BUILD, "tests", "models_networks"), "generate", os.path.join(folder, "stories260K.bin"), "256"],
                         stdout=subprocess.PIPE, check=True)
    tokens = [pieces[int(i)] for i in run.stdout.split()]
    text = b"".join(bytes([int(t[3:5], 16)]) if re.fullmatch(rb"<0x..>", t) else t for t in tokens).decode().removeprefix(" ")
    with open(os.path.join(folder, "SOURCE_stories260K.md"), encoding="utf-8") as f:
        want = re.search(r"-t 0\.0\n(.*?)\n```", f.read(), re.S).group(1)
    if text != want:
        sys.exit(f"stories260K tells:\n{text}\nits authors print:\n{want}")
    print(f"stories260K: {len(tokens)} greedy tokens, word for word")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, help="of the fresh networks; by default drawn")
    seed = p.parse_args().seed or random.SystemRandom().randrange(1000, 1 << 30)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    scratch = tempfile.mkdtemp()
    try:
        golden_networks.make(scratch, 1)
        worst = compare_committed(scratch)
    finally:
        shutil.rmtree(scratch)
    print(f"golden_networks: largest difference from PyTorch now {worst:.1e}")
    if not worst <= TOLERANCE:
        sys.exit(f"golden_networks are further than {TOLERANCE} from what PyTorch gives: ./dev golden makes them anew")
    print(f"fresh networks from seed {seed}")
    fresh_networks(seed)
    torch.set_default_dtype(torch.float32)
    models, data = os.environ.get("METALORA_MODELS"), os.environ.get("METALORA_DATA")
    if models:
        minilm(os.path.join(models, "minilm"))
        smollm2(os.path.join(models, "smollm2"))
    else:
        print("SKIPPED: METALORA_MODELS is not set, MiniLM and SmolLM2 are not compared")
    if data:
        stories(os.path.join(data, "models", "stories260K"))
    else:
        print("SKIPPED: METALORA_DATA is not set, stories260K is not heard")


if __name__ == "__main__":
    main()

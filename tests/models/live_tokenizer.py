#!/usr/bin/env python3
"""The ids of this build against the `tokenizers` package, now.

    METALORA_BUILD=build [METALORA_DATA=... METALORA_MODELS=...] python3 live_tokenizer.py [--seed N]

Always: the small tokenizers of tokenizers/ on fresh random texts, and every Unicode character. With METALORA_DATA and
METALORA_MODELS: MiniLM's tokenizer.json and vocab.txt and SmolLM2's GGUF on 10,000 sentences people wrote; with
METALORA_DATA alone stories260K's tokenizer.bin on the same. Fails (exit code 1) where one id or one decoded byte differs."""
import argparse
import csv
import glob
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer

import golden_tokenizer as golden

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("METALORA_BUILD", os.path.join(HERE, "..", "..", "build")))
SENTENCES = 10000


def ours(tokenizer, texts):
    """[(ids, plain ids, decoded bytes)], and the milliseconds of opening and of encoding all."""
    with tempfile.NamedTemporaryFile(suffix=".texts") as f:
        for text in texts:
            data = text.encode("utf-8")
            f.write(struct.pack("<I", len(data)) + data)
        f.flush()
        run = subprocess.run([os.path.join(BUILD, "tests", "models_tokenizer"), "encode", tokenizer, f.name], stdout=subprocess.PIPE, check=True)
    *lines, times = run.stdout.decode("ascii").splitlines()
    results = []
    for line in lines:
        ids, plain, decoded = line.split(";")
        results.append(([int(i) for i in ids.split()], [int(i) for i in plain.split()], bytes.fromhex(decoded)))
    return results, [float(t) for t in times.split()]


def compare(name, path, functions, texts):
    encode, plain, decode = functions
    results, (opened, encoding) = ours(path, texts)
    if len(results) != len(texts):
        sys.exit(f"{name}: {len(results)} results for {len(texts)} texts")
    total = 0
    for text, (ids, without, decoded) in zip(texts, results):
        expected = encode(text)
        if (ids, without, decoded) != (expected, plain(text), decode(expected)):
            sys.exit(f"{name}: {text!r}\n  here {ids}\n       {without}\n       {decoded}\n  there {expected}\n       {plain(text)}\n       {decode(expected)}")
        total += len(ids)
    print(f"{name}: {len(texts)} texts, {total} ids, all equal; opened in {opened:.1f} ms, encoded in {encoding:.1f} ms")


def random_texts(seed, count):
    draw = random.Random(seed)
    words = " ".join(golden.CORPUS).split() + ["<|im_start|>", "[SEP]", "<mask>", "<both>", "[UNK]", "İ", "'s", "'LL", "  ", "\n", "\t", "\u00a0"]
    ranges = [(0, 0x7f), (0x80, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0x97f), (0x2000, 0x206f), (0x3000, 0x30ff),
              (0x4e00, 0x4e40), (0xac00, 0xac40), (0x1f600, 0x1f64f), (0x1100, 0x11ff)]

    def piece():
        if draw.random() < 0.5:
            return draw.choice(words) + draw.choice(["", " ", " "])
        return "".join(chr(draw.randint(*draw.choice(ranges))) for _ in range(draw.randint(1, 4)))

    return ["".join(piece() for _ in range(draw.randint(1, 20))) for _ in range(count)]


def every_character():
    """Each between letters, some to a text. Only those that both utf8proc's and Python's Unicode have: what is younger may be
    known to one of utf8proc and the package only."""
    listed = subprocess.run([os.path.join(BUILD, "tests", "models_tokenizer"), "characters"], stdout=subprocess.PIPE, check=True).stdout
    chars = [c for c in map(chr, map(int, listed.split())) if unicodedata.category(c) != "Cn"]
    for start in range(0, len(chars), 64):
        yield "".join(f"a{c}b {c} 1" for c in chars[start:start + 64])


def character_tokenizer(folder):
    """Every character that may be left of a text, alone and within a word, has an id of its own."""
    kept = sorted({d for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")
                   for d in unicodedata.normalize("NFD", chr(c)) + chr(c).lower() if not d.isspace() and d != "\0"})
    words = ["[UNK]", *kept, *("##" + c for c in kept)]
    names = []
    for name, make in (("all-uncased", golden.wordpiece), ("all-cased", golden.accents_only), ("all-lower", golden.cased)):
        file = json.loads(make().to_str())
        file["added_tokens"], file["post_processor"] = [], None
        file["model"].update(vocab={w: i for i, w in enumerate(golden.unique(words))}, max_input_chars_per_word=1000)
        names.append((name, os.path.join(folder, name + ".json")))
        with open(names[-1][1], "w", encoding="utf-8") as f:
            json.dump(file, f)
    return names


def package(path):
    t = Tokenizer.from_file(path)
    t.no_truncation()
    t.no_padding()
    return (lambda s: t.encode(s).ids, lambda s: t.encode(s, add_special_tokens=False).ids, lambda ids: t.decode(ids).encode("utf-8"))


def functions_of(path):
    if path.endswith(".bin"):
        with open(path, "rb") as f:
            return golden.llama2c_oracle(f.read())
    return golden.vocab_oracle(path) if path.endswith(".txt") else golden.gguf_oracle(path) if path.endswith(".gguf") else package(path)


def sentences(data):
    texts = []
    for name in ("train.csv", "test.csv"):
        with open(os.path.join(data, "banking77", name), encoding="utf-8", newline="") as f:
            texts += [row[0] for row in list(csv.reader(f))[1:]]
    with open(os.path.join(data, "clinc150", "data_full.json"), encoding="utf-8") as f:
        texts += [row[0] for rows in json.load(f).values() for row in rows]
    with open(os.path.join(data, "hwu64", "hwu64_10fold.csv"), encoding="utf-8", newline="") as f:
        texts += [row["text"] for row in csv.DictReader(f)]
    return random.Random(1).sample(sorted(set(texts)), SENTENCES)


def real(data, folder):
    texts = sentences(data) + golden.TEXTS
    path = os.path.join(data, "models", "stories260K", "tok512.bin")
    if os.path.exists(path):
        compare("stories260K tok512.bin", path, functions_of(path), texts[-1000:])
    if not folder:
        print("SKIPPED MiniLM and SmolLM2: METALORA_MODELS is not set")
        return
    minilm = os.path.join(folder, "minilm")
    compare("MiniLM tokenizer.json", os.path.join(minilm, "tokenizer.json"), package(os.path.join(minilm, "tokenizer.json")), texts)
    compare("MiniLM vocab.txt", os.path.join(minilm, "vocab.txt"), golden.vocab_oracle(os.path.join(minilm, "vocab.txt")), texts)
    for path in glob.glob(os.path.join(folder, "smollm2", "*.gguf")):
        compare("SmolLM2 GGUF", path, golden.gguf_oracle(path), texts)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, help="of the random texts; by default drawn")
    seed = p.parse_args().seed or 1 + int.from_bytes(os.urandom(2), "little")
    print(f"random texts from seed {seed}")
    for name in sorted(os.listdir(golden.FOLDER)):
        path = os.path.join(golden.FOLDER, name)
        if name == "golden.txt":
            continue
        compare(name, path, functions_of(path), golden.TEXTS + random_texts(seed, 200 if name.endswith(".bin") else 2000))
    with tempfile.TemporaryDirectory() as folder:
        for name, path in character_tokenizer(folder):
            compare(name, path, package(path), list(every_character()))
    if os.environ.get("METALORA_DATA"):
        real(os.environ["METALORA_DATA"], os.environ.get("METALORA_MODELS"))
    else:
        print("SKIPPED real sentences: METALORA_DATA is not set")


if __name__ == "__main__":
    main()

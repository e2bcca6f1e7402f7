#!/usr/bin/env python3
"""Checkpoints against the safetensors and gguf packages, running now.

    METALORA_BUILD=build python3 live_weights.py [--seed N]

Golden checkpoints of a fresh seed go through the test programs; a file that these wrote is read by the safetensors package
and is byte for byte what that package writes; and with METALORA_MODELS every tensor of the real models is compared."""
import argparse
import glob
import os
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import safetensors
import safetensors.numpy

import golden_weights

HERE = pathlib.Path(__file__).resolve().parent


def run(build, program, **env):
    code = subprocess.run([build / "tests" / program], env={**os.environ, **{k: str(v) for k, v in env.items()}}, check=False).returncode
    if code != 0:
        sys.exit(f"{program} failed with {env} (exit code {code})")


def check_golden(build, scratch, seed):
    print(f"fresh checkpoints from seed {seed}", flush=True)
    golden_weights.write(scratch, seed)
    for program in ("models_weights", "models_weights64"):
        run(build, program, METALORA_WEIGHTS_GOLDEN=scratch)


def check_written(build, scratch):
    written = scratch / "written.safetensors"
    for program in ("models_safetensors", "models_safetensors64"):
        run(build, program, METALORA_WRITTEN=written)
        data = written.read_bytes()
        tensors = safetensors.numpy.load(data)
        with safetensors.safe_open(written, "numpy") as f:
            again = safetensors.numpy.save(tensors, metadata=f.metadata())
        if again != data:
            sys.exit(f"{program} wrote {len(data)} bytes that differ from the safetensors package's {len(again)}")
        i = np.arange(10007)
        wanted = (np.sin(i) * 10.0 ** (i % 60 - 30)).astype(np.float32)
        if not np.allclose(tensors["z.weight"], wanted, rtol=1e-6, atol=0) or tensors["number"] != 5:
            sys.exit(f"{program} wrote other numbers")
    print(f"{written.name}: {len(data)} bytes, the same as the safetensors package writes")


def sum_bits(values):
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32).ravel().astype(np.uint64)
    with np.errstate(over="ignore"):
        return int(np.sum(bits * (2 * np.arange(bits.size, dtype=np.uint64) + np.uint64(1)), dtype=np.uint64))


def real_tensors(models):
    with safetensors.safe_open(models / "minilm" / "model.safetensors", "numpy") as f:
        for name in f.keys():
            yield "safetensors", name, f.get_tensor(name)
    for t in gguf.GGUFReader(glob.glob(str(models / "smollm2" / "*.gguf"))[0]).tensors:
        yield "gguf", t.name, gguf.dequantize(t.data, t.tensor_type)


def check_real(build, scratch, models):
    sums = scratch / "sums.txt"
    run(build, "models_weights", METALORA_WEIGHTS_SUMS=sums)
    ours = {tuple(line.split()[:2]): tuple(map(int, line.split()[2:])) for line in sums.read_text(encoding="utf-8").splitlines()}
    compared = 0
    for kind, name, values in real_tensors(models):
        theirs = (values.size, sum_bits(values))
        if ours.pop((kind, name), None) != theirs:
            sys.exit(f"{kind} '{name}' differs")
        compared += values.size
    if ours:
        sys.exit(f"tensors that the packages do not have: {sorted(ours)}")
    print(f"real models: {compared} numbers, all the same bits")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, help="of the fresh checkpoints; by default drawn")
    seed = p.parse_args().seed or int.from_bytes(os.urandom(4), "little")
    build = pathlib.Path(os.environ.get("METALORA_BUILD", HERE.parent.parent / "build")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        check_golden(build, scratch, seed)
        check_written(build, scratch)
        if os.environ.get("METALORA_MODELS"):
            check_real(build, scratch, pathlib.Path(os.environ["METALORA_MODELS"]))
        else:
            print("METALORA_MODELS is not set: no real models")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The meta-gradients of this build against JAX, now: the committed golden file is made anew and compared with, and then
the test programs are held against JAX on fresh parameters and examples.

    METALORA_BUILD=build python3 live_maml.py [--seed N]

Fails (exit code 1) when a number of the committed file is further than 1e-9 from JAX's, or a test program fails."""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np

import golden_maml

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = 1e-9


def read(path):
    records = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            name, n = line.split()
            records[name] = np.array([float(next(f)) for _ in range(int(n))])
    return records


def compare(committed, fresh):
    """The largest difference, relative to the number or the root mean square of its record."""
    if committed.keys() != fresh.keys():
        sys.exit(f"records differ: {sorted(committed.keys() ^ fresh.keys())}")
    worst = 0.0
    for name, values in fresh.items():
        if values.shape != committed[name].shape:
            sys.exit(f"{name}: {values.size} numbers, {committed[name].size} are committed")
        scale = np.maximum(np.abs(values), np.sqrt(np.mean(values**2)))
        worst = max(worst, float(np.max(np.abs(values - committed[name]) / np.where(scale > 0, scale, 1))))
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--seed", type=int, help="first seed of the fresh data, 1000 to 65000; by default drawn")
    seed = p.parse_args().seed or 1000 + int.from_bytes(os.urandom(2), "little") % 64000
    build = os.path.abspath(os.environ.get("METALORA_BUILD", os.path.join(HERE, "..", "..", "build")))

    worst = compare(read(os.path.join(HERE, "golden_maml.txt")), golden_maml.compute())
    print(f"golden_maml.txt: largest difference from JAX now {worst:.1e}")
    if not worst <= TOLERANCE:
        sys.exit(f"golden_maml.txt is further than {TOLERANCE} from what JAX gives: ./dev golden makes it anew")

    print(f"fresh parameters and examples from seed {seed}")
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "golden.txt")
        golden_maml.write(golden_maml.compute(first_seed=seed), path)
        for program in ("meta_golden", "meta_golden64"):
            sys.stdout.flush()
            code = subprocess.run([os.path.join(build, "tests", program)], env={**os.environ, "METALORA_GOLDEN": path},
                                  check=False).returncode
            if code != 0:
                sys.exit(f"{program} failed on seed {seed} (exit code {code}); again with: live_maml.py --seed {seed}")


if __name__ == "__main__":
    main()

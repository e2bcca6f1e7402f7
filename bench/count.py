"""Instructions of fixed small cases, counted by valgrind and compared with bench/baseline.json; called by ./dev bench count.

    ./dev bench count            fails where a case needs 5 % more or fewer than the baseline says
    ./dev bench count CONV       only the cases whose name has this in it
    ./dev bench count --write    makes the baseline anew

Counted is what our own program does, C library left out (its variants differ by processor), in bench_steady, the replays
after everything has been made and run once; a count is that of one meta-iteration. valgrind 3.19 shows programs a processor
with AVX2 and without AVX-512, whatever the machine has beyond AVX2: so our AVX2 kernels are counted everywhere."""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

import measure
import workloads

BAND, ITERATIONS = 0.05, 4
SMALL_CONV = dict(workloads.OMNIGLOT, tasks=2, query=1, filters=16, chunk=2)
SMALL_POOL = dict(workloads.IMAGENET, size=32, tasks=1, query=1, filters=8, steps=3)
SMALL_LORA = dict(workloads.LORA, way=2, shot=1, query=1, tasks=1, steps=2, layers=2, width=64, tokens=16)
CASES = {
    "sinusoid": workloads.SINUSOID,
    "sinusoid, first order, 5 steps": dict(workloads.SINUSOID, algorithm="fomaml", steps=5),
    "conv4-16": SMALL_CONV,
    "conv4-16, 20-way, first order": dict(SMALL_CONV, way=20, algorithm="fomaml"),
    "conv4-16, Reptile": dict(SMALL_CONV, algorithm="reptile", steps=3, inner_lr=1e-3),
    "conv4-8, max-pooling, 3 steps": SMALL_POOL,
    "LoRA on q, v": SMALL_LORA,
    "LoRA on all linear maps, first order": dict(SMALL_LORA, algorithm="fomaml", targets="query,key,value,dense"),
}
BASELINE = f"{measure.HERE}/baseline.json"


def own_cost(path, program):
    """Instructions that callgrind's file charges to functions of the program's own object, calls from it not included."""
    total, ours, called, names = 0, False, False, {}
    with open(path) as f:
        for line in f:
            place = re.match(r"(c?)ob=(\(\d+\))?\s*(.*)", line)   # cob: of a function that is called from here
            if place:
                callee, number, name = place.groups()
                if number and name:
                    names[number] = name   # in full at the first time, then by number alone
                if not callee:
                    ours = os.path.basename(names[number] if number else name) == program
            elif line.startswith("calls="):
                called = True   # the next line's cost is the callee's
            elif line[0] in "0123456789+-*":
                total += int(line.split()[1]) if ours and not called else 0
                called = False
    return total


def count(build, name, row, folder):
    program, case = f"{build}/bench_workload", f"{folder}/case.safetensors"
    workloads.write_case(case, row)
    out = f"{folder}/callgrind.out"
    command = ["valgrind", "--tool=callgrind", "--toggle-collect=bench_steady*", f"--callgrind-out-file={out}", "--quiet", program, case,
               "--iterations", str(1 + ITERATIONS), "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        measure.fail(f"count: {name}: {done.stderr.strip()}")
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if answer["kernels"] != "avx2":
        measure.fail(f"count: under valgrind the program chose its {answer['kernels']} kernels; the baseline is of avx2")
    return own_cost(out, "bench_workload") // ITERATIONS


def compiler(build):
    with open(f"{build}/CMakeCache.txt") as f:
        path = next(line.split("=", 1)[1].strip() for line in f if line.startswith("CMAKE_C_COMPILER:"))
    return subprocess.run([path, "--version"], capture_output=True, text=True).stdout.splitlines()[0]


def main():
    p = argparse.ArgumentParser(prog="./dev bench count", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("part", nargs="?", default="", help="only cases whose name has this in it")
    p.add_argument("--write", action="store_true", help="make bench/baseline.json anew")
    a = p.parse_args()
    counts, wrong, here = {}, 0, compiler(a.build)
    known = {"compiler": here, "instructions": {}}
    cases = {n: row for n, row in CASES.items() if a.part.lower() in n.lower()}
    if not cases:
        measure.fail(f"count: '{a.part}' is in none of: {'; '.join(CASES)}")
    if os.path.exists(BASELINE):
        with open(BASELINE) as f:
            known = json.load(f)
    elif not a.write:
        measure.fail(f"count: no {BASELINE}; --write makes it")
    for name, row in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            counts[name] = count(a.build, name, row, folder)
        before = known["instructions"].get(name)
        verdict = "new"
        if before:
            change = counts[name] / before - 1
            verdict = f"{100 * change:+.2f} %"
            if abs(change) > BAND:
                verdict += f": the baseline is {before:,}, and {100 * BAND:.0f} % either way is allowed"
        failed = not a.write and (not before or abs(counts[name] / before - 1) > BAND)
        wrong += failed
        print(f"{'FAILED ' if failed else '       '}{name:40}{counts[name]:>16,}  {verdict}", flush=True)
    if a.write:
        with open(BASELINE, "w") as f:
            kept = {**known["instructions"], **counts}
            json.dump({"compiler": here, "kernels": "avx2", "what": "instructions of one meta-iteration",
                       "instructions": {n: kept[n] for n in CASES if n in kept}}, f, indent=1)
            f.write("\n")
    elif wrong:
        if known["compiler"] != here:
            measure.say(f"count: the baseline is of {known['compiler']}, this is {here}")
        measure.fail(f"count: {wrong} of {len(cases)} cases left the band; after a change that means it: ./dev bench count --write")
    return 0


if __name__ == "__main__":
    sys.exit(main())

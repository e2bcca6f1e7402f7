"""Our workloads beside the peers', alternating; called by ./dev bench. docs/performance.md says what is measured.

    ./dev bench                      all workloads, then how cost grows
    ./dev bench w2 w4-all            some of them: their rows of bench/results/workloads.* are made anew
    ./dev bench scaling              only how cost grows
    ./dev bench --quick              w1, two short rounds: does everything still run and compute the same?
    ./dev bench report               the tables and pictures from the JSON at hand

    --torch PYTHON, --jax PYTHON     interpreters that have the peers; else .venv-torch and .venv-jax, where they are there
    --install                        makes those two from bench/peers/requirements-*.txt
    --threads N                      instead of the workload's own; on a shared machine 1 and processor time say most
    --rounds N, --seconds S          how often each program runs (3), and for how long"""
import argparse
import json
import os
import subprocess
import sys

import measure
import report
import scaling
import workloads

ROOT = os.path.dirname(measure.HERE)


def install(peer):
    python = f"{ROOT}/.venv-{peer}/bin/python"
    measure.say(f"installing {peer} into .venv-{peer}/")
    subprocess.run([sys.executable, "-m", "venv", f"{ROOT}/.venv-{peer}"], check=True, stdout=sys.stderr)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", f"{measure.HERE}/peers/requirements-{peer}.txt"],
                   check=True, stdout=sys.stderr)
    return python


def interpreter(peer, given, wanted):
    own = f"{ROOT}/.venv-{peer}/bin/python"
    if given:
        return given
    if os.path.exists(own):
        return own
    if wanted:
        return install(peer)
    measure.say(f"no {peer} beside ours: --{peer} PYTHON names an interpreter that has it, --install makes one")
    return None


def machine():
    with open("/proc/cpuinfo") as f:
        lines = f.read().splitlines()
    flags = next((x for x in lines if x.startswith("flags")), "").split()
    return {"cpu": next((x.split(": ", 1)[1] for x in lines if x.startswith("model name")), "unknown"), "processors": os.cpu_count(),
            "vectors": "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "other"}


def load(path):
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return json.load(f)


def store(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.part", "w") as f:
        json.dump(value, f, indent=1, sort_keys=True)
        f.write("\n")
    os.replace(f"{path}.part", path)


def arguments():
    p = argparse.ArgumentParser(prog="./dev bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, usage=argparse.SUPPRESS)
    p.add_argument("names", nargs="*")
    p.add_argument("--build", required=True, help=argparse.SUPPRESS)
    p.add_argument("--results", default=f"{measure.HERE}/results", help="the folder that gets the JSON, the tables and the pictures")
    p.add_argument("--torch", help=argparse.SUPPRESS)
    p.add_argument("--jax", help=argparse.SUPPRESS)
    p.add_argument("--install", action="store_true", help=argparse.SUPPRESS)
    p.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    p.add_argument("--rounds", type=int, default=3, help=argparse.SUPPRESS)
    p.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    p.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    known = [*workloads.WORKLOADS, "scaling", "report"]
    for name in a.names:
        if name not in known:
            p.error(f"'{name}' is none of: {', '.join(known)}")
    if a.quick:
        a.names, a.rounds, a.seconds = a.names or ["w1"], 2, 0.3
        a.results = f"{a.build}/bench-quick" if a.results == f"{measure.HERE}/results" else a.results
    a.names = a.names or known[:-1]
    return a


def main():
    a = arguments()
    path, grown = f"{a.results}/workloads.json", f"{a.results}/scaling.json"
    wanted = [n for n in a.names if n in workloads.WORKLOADS]
    peers = {p: interpreter(p, getattr(a, p), a.install) if wanted else None for p in ("torch", "jax")}
    programs = measure.Programs(a.build, **peers)
    for name in wanted:
        record = measure.workload(programs, name, a.rounds, a.seconds, a.threads)
        known = load(path)   # after each, so that nothing is lost when a later one fails
        known[name] = {**record, "machine": machine()}
        store(path, known)
    if "scaling" in a.names:
        for name, curve in scaling.curves(programs):
            store(grown, {"machine": machine(), "curves": {**load(grown).get("curves", {}), name: curve}})
    report.write(a.results, load(path), load(grown))
    if a.quick:
        print(json.dumps({n: measure.summary(r) for n, r in load(path).items()}, indent=1))


if __name__ == "__main__":
    main()

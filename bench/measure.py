"""Running our program and the peers', one process each, and comparing what they computed."""
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

import workloads

HERE = os.path.dirname(os.path.abspath(__file__))
# Relative difference of the meta-gradients and of the first loss that float32 explains. A row may say its own: after several
# steps through kinks of relu and pooling, one that some program's rounding crosses moves the whole gradient (docs/performance.md).
GRADIENT_TOLERANCE, LOSS_TOLERANCE = 2e-3, 1e-4


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def fail(text):
    say(text)
    raise SystemExit(1)


def busy_seconds():
    """Processor time of all programs since the machine started."""
    with open("/proc/stat") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def run(command, **environment):
    """A process's line of JSON, with cold_s, from its start to the end of the first meta-iteration, and other_cores, the
    processors that other programs used meanwhile."""
    start, busy, own = time.monotonic(), busy_seconds(), os.times()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    if done.returncode:
        fail(f"{' '.join(command)} ended with {done.returncode}")
    now = os.times()
    used = now.children_user + now.children_system - own.children_user - own.children_system
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if "first_end" in answer:
        answer["cold_s"] = answer.pop("first_end") - start
    answer["other_cores"] = max(0.0, (busy_seconds() - busy - used) / (time.monotonic() - start))
    return answer


class Programs:
    """Where ours and the peers' interpreters are; a peer without an interpreter is left out."""

    def __init__(self, build, torch, jax):
        self.build, self.python = build, {"torch": torch, "jax": jax}

    def command(self, name, case, threads, *more):
        if name == "metalora":
            return [f"{self.build}/bench_workload", case, "--threads", str(threads), *more]
        peer, mode = name.split()
        return [self.python[peer], f"{HERE}/peers/{peer}_peer.py", case, mode, "--threads", str(threads), *more]

    def have(self, name):
        return name == "metalora" or bool(self.python[name.split()[0]])

    def case(self, name, row):
        folder = f"{self.build}/bench-cases"
        os.makedirs(folder, exist_ok=True)
        path = f"{folder}/{name}.safetensors"
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(workloads.__file__):
            workloads.write_case(path, row)
        return path


def gemm_peak(programs, threads):
    """GFLOP/s of processor time of `threads` threads at 1024^3: the best of ours, BLIS with either kernels, and PyTorch."""
    found = {}
    for label, environment in (("BLIS", {}), ("BLIS skx", {"BLIS_ARCH_TYPE": "0"})):
        p = run([f"{programs.build}/bench_peak", str(threads)], **environment)
        if label == "BLIS" or p["kernels"] == "avx512":
            found[label] = p["blis"]
        found["metalora"] = max(p["ours"], found.get("metalora", 0))
    if programs.python["torch"]:
        found["torch"] = run(programs.command("torch eager", "peak", threads))["gflops"]
    return found


def compare(name, row, results, gradients):
    """The greatest relative differences from ours; ends the program where they are not the same work."""
    tolerance = row.get("tolerance", GRADIENT_TOLERANCE)
    ours, worst = np.fromfile(gradients["metalora"], np.float32), {"gradient": 0.0, "loss0": 0.0, "loss": 0.0}
    if not np.isfinite(ours).all() or not np.linalg.norm(ours) > 0:
        fail(f"{name}: our meta-gradient is zero or not finite")
    for peer, path in gradients.items():
        theirs = np.fromfile(path, np.float32)
        if theirs.shape != ours.shape:
            fail(f"{name}: {peer}'s meta-gradient has {theirs.size} numbers, ours {ours.size}")
        distance = float(np.linalg.norm(theirs.astype(float) - ours) / np.linalg.norm(ours.astype(float)))
        loss = {k: abs(results[peer][k] / results["metalora"][k] - 1) for k in ("loss0", "loss")}
        if not distance <= tolerance or not loss["loss0"] <= LOSS_TOLERANCE:
            fail(f"{name}: {peer} does not do the same work: meta-gradients differ by {distance:.1e} (up to {tolerance:g} is rounding), "
                 f"losses are {results[peer]['loss0']:.7g} and {results['metalora']['loss0']:.7g}")
        worst = {"gradient": max(worst["gradient"], distance), "loss0": max(worst["loss0"], loss["loss0"]), "loss": max(worst["loss"], loss["loss"])}
    return worst


def workload(programs, name, rounds, seconds, threads=None):
    """All programs of a workload, alternating. The record that the table is made from."""
    what, row, own_threads, peers = workloads.WORKLOADS[name]
    threads = threads or own_threads
    if threads == 1:
        peers = [p.replace("pmap", "map") for p in peers if not (p == "jax map" and "jax pmap" in peers)]
    names = ["metalora"] + [p for p in peers if programs.have(p)]
    case, record, gradients = programs.case(name, row), {n: [] for n in names}, {}
    checked = None
    for r in range(rounds):
        for n in names:
            more = ["--seconds", str(seconds or row["seconds"])]
            if r == 0:
                gradients[n] = f"{case}.{n.replace(' ', '-')}.gradient"
                more += ["--gradient", gradients[n]]
            record[n].append(run(programs.command(n, case, threads, *more)))
            x = record[n][-1]
            say(f"{name}: {n}: {x['ms']:.3g} ms, {x['cpu_ms']:.3g} ms of processors, {x['peak_mb']:.0f} MB, first after {x['cold_s']:.2f} s")
        if r == 0:
            checked = compare(name, row, {n: record[n][0] for n in names}, gradients)
    peak = gemm_peak(programs, threads)
    for path in gradients.values():
        os.remove(path)
    return {"what": what, "threads": threads, "gflop": workloads.gflop(row), "date": time.strftime("%Y-%m-%d"), "peak": peak, "differences": checked,
            "programs": record}


def summary(record):
    """Medians over the rounds; ratios are of the best peer of the same round to ours."""
    def medians(n, key):
        return statistics.median(x[key] for x in record["programs"][n])

    ours, peers = record["programs"]["metalora"], [n for n in record["programs"] if n != "metalora"]
    best_peak = max(record["peak"].values()) / record["threads"]   # of one thread
    s = {"ms": medians("metalora", "ms"), "cpu_ms": medians("metalora", "cpu_ms"), "peak_mb": medians("metalora", "peak_mb"),
         "cold_s": medians("metalora", "cold_s"), "other_cores": statistics.mean(x["other_cores"] for p in record["programs"].values() for x in p)}
    s["gflops"] = record["gflop"] / s["ms"] * 1e3
    s["share"] = record["gflop"] / s["cpu_ms"] * 1e3 / best_peak
    if peers:
        for key in ("ms", "cpu_ms"):
            best = min(peers, key=lambda n: medians(n, key))
            ratios = [t[key] / o[key] for t, o in zip(record["programs"][best], ours)]
            s[f"best_{key}"] = {"peer": best, key: medians(best, key), "ratio": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}
        s["least_mb"] = min(medians(n, "peak_mb") for n in peers)
        s["least_cold_s"] = min(medians(n, "cold_s") for n in peers)
    return s

"""What the peers share: arguments, the case, timing, the line of JSON. bench/workload/main.c does the same for metalora."""
import argparse
import ctypes
import json
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import workloads  # noqa: E402

MAX_ITERATIONS = 20000


def arguments(modes):
    p = argparse.ArgumentParser()
    p.add_argument("case", help="a case of bench/workloads.py, or 'peak': a large matrix product")
    p.add_argument("mode", choices=modes)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--steps", type=int)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--iterations", type=int)
    p.add_argument("--gradient", help="the first meta-gradient goes into this file, float32, in the case's layout")
    a = p.parse_args()
    if a.threads == 1:   # libraries that ask for the number of processors see one
        os.sched_setaffinity(0, {ctypes.CDLL(None).sched_getcpu()})   # where the scheduler has just put us
    return a


class Case:
    """Parameters and batches as NumPy arrays, settings as attributes."""

    def __init__(self, a):
        arrays, metadata = workloads.read_safetensors(a.case)
        for name, kind in (("model", str), ("algorithm", str), ("steps", int), ("tasks", int), ("inner_lr", float), ("outer_lr", float), ("check", int)):
            setattr(self, name, kind(metadata[name]))
        self.steps = a.steps or self.steps
        self.max_pool = metadata.get("max_pool") == "1"
        self.params = [arrays[n] for n in sorted(arrays) if n.startswith("param.")]
        sets = [arrays[n] for n in ("support_x", "support_y", "query_x", "query_y")]
        self.batches = [tuple(s[i] for s in sets) for i in range(len(sets[0]))]
        if self.model == "lora":
            self.targets = metadata["targets"].split(",")
            folder = os.path.join(os.path.dirname(a.case), metadata["network"])
            self.encoder, _ = workloads.read_safetensors(f"{folder}/model.safetensors")


def peak_mb():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) / 1024


def run(a, case, implementation, step, gradient):
    """step(i-th batch) does one meta-iteration and returns its loss as a float; gradient() after the first one gives its
    meta-gradient as a list of arrays in the case's layout."""
    times, loss, loss0, n = [], None, None, len(case.batches)
    least, most = (a.iterations, a.iterations) if a.iterations else (case.check + 1, MAX_ITERATIONS)
    start = None
    while len(times) < least or (len(times) < most and time.monotonic() - start < a.seconds):
        begin = time.perf_counter()
        now = step(len(times) % n)
        times.append(1e3 * (time.perf_counter() - begin))
        if len(times) <= case.check + 1:
            loss = now
        if start is None:
            first_end, loss0 = time.monotonic(), now
            if a.gradient:
                with open(a.gradient, "wb") as f:
                    for g in gradient():
                        f.write(g.astype("float32").tobytes())
            start, cpu = time.monotonic(), time.process_time()
    cpu = 1e3 * (time.process_time() - cpu) / max(1, len(times) - 1)
    kept = times[2:] if len(times) > 4 else times[1:] or times
    print(json.dumps(dict(implementation=implementation, algorithm=case.algorithm, threads=a.threads, steps=case.steps, n=len(kept),
                          ms=statistics.median(kept), ms_min=min(kept), ms_max=max(kept), cpu_ms=cpu, first_ms=times[0], first_end=first_end,
                          loss0=loss0, loss=loss, peak_mb=peak_mb())))


def peak(a, implementation, product):
    """GFLOP/s of a 1024^3 product by `threads` threads, the best of many: how fast the machine can be at all."""
    best = min(product() for _ in range(30))
    print(json.dumps(dict(implementation=implementation, threads=a.threads, gflops=2 * 1024 ** 3 / best * 1e-9)))

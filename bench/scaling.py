"""How the cost of ours grows: with tasks, inner steps, classes, adapters, threads. Processor time, which other programs disturb
little, but for threads."""
import time

import measure
import workloads

ONE_QUERY = dict(workloads.OMNIGLOT, query=1)
ADAPTERS = dict(workloads.LORA, tasks=1, steps=1)
STEPS = [1, 3, 10, 100, 1000]
TASKS = [1, 2, 4, 8, 16, 32, 64]
WAYS = [2, 5, 10, 20]
TARGETS = ["query", "query,value", "query,key,value", "query,key,value,dense"]


def point(programs, name, row, x, *more, threads=1, seconds=1.0):
    long = ["--seconds", str(seconds)] if seconds else ["--iterations", "3"]
    r = measure.run(programs.command("metalora", programs.case(name, row), threads, *long, *more))
    measure.say(f"{name} {' '.join(more)} {threads} thread(s): {r['ms']:.4g} ms, {r['cpu_ms']:.4g} ms of processors, {r['peak_mb']:.1f} MB")
    return {"x": x, "ms": r["ms"], "cpu_ms": r["cpu_ms"], "peak_mb": r["peak_mb"]}


def curves(programs):
    """name, curve: one after the other, the quick ones first."""
    def curve(name, title, label, points):
        return name, {"title": title, "label": label, "points": points, "date": time.strftime("%Y-%m-%d")}

    yield curve("steps", "sinusoid, 25 tasks, chunks of 5", "inner steps",
                [point(programs, "w1", workloads.SINUSOID, n, "--steps", str(n)) for n in STEPS])
    yield curve("steps computed again", "sinusoid, nothing kept of inner steps", "inner steps",
                [point(programs, "w1", workloads.SINUSOID, n, "--steps", str(n), "--keep", "0") for n in STEPS])
    yield curve("tasks", "conv4-64, 5-way, 1 query", "tasks",
                [point(programs, "scaling-one-query", ONE_QUERY, n, "--tasks", str(n)) for n in TASKS])
    yield curve("ways", "conv4-64, 8 tasks, 1 query", "classes",
                [point(programs, f"scaling-way-{n}", dict(ONE_QUERY, way=n, tasks=8), n) for n in WAYS])
    yield curve("threads", "conv4-64, 5-way, 1 query, 32 tasks", "threads",
                [point(programs, "scaling-one-query", ONE_QUERY, n, threads=n, seconds=4) for n in (1, 2)])
    yield curve("targets", "LoRA, 1 task, 1 step", "linear maps with an adapter",
                [point(programs, f"scaling-lora-{t.replace(',', '-')}", dict(ADAPTERS, targets=t),
                       sum(name in t.split(",") for _, name in workloads.LINEAR) * workloads.LAYERS, seconds=0) for t in TARGETS])
    yield curve("lora steps", "LoRA on q, v, 1 task of 2 classes, 1 shot", "inner steps",
                [point(programs, "scaling-lora", dict(ADAPTERS, way=2, shot=1, query=1), n, "--steps", str(n), seconds=0) for n in STEPS[:4]])

"""The tables and pictures of bench/results/ from its JSON."""
import math
import os

import measure

INK, PALE, OURS, THEIRS = "#333", "#ddd", "#1b6ca8", "#c8553d"


def store(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def short(x):
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"


def ratio(best):
    return f"{best['ratio']:.2f} ({best['min']:.2f}–{best['max']:.2f})"


def row(name, record):
    s = measure.summary(record)
    cells = [f"{name}: {record['what']}", str(record["threads"]), short(record["gflop"]), short(s["ms"]), short(s["cpu_ms"]), f"{100 * s['share']:.0f} %"]
    if "best_ms" in s:
        b, c = s["best_ms"], s["best_cpu_ms"]
        cells += [f"{b['peer']} {short(b['ms'])}", ratio(b), f"{c['peer']} {short(c['cpu_ms'])}", ratio(c)]
    else:
        cells += ["–"] * 4
    cells += [f"{s['peak_mb']:.0f} / {s['least_mb']:.0f}" if "least_mb" in s else f"{s['peak_mb']:.0f}",
              f"{s['cold_s']:.2f} / {s['least_cold_s']:.1f}" if "least_cold_s" in s else f"{s['cold_s']:.2f}", f"{s['other_cores']:.1f}"]
    return "| " + " | ".join(cells) + " |"


def table(records):
    head = ["workload", "threads", "GFLOP", "ms", "processor ms", "of GEMM peak", "best peer, ms", "ratio (min–max)", "best peer, processor ms",
            "ratio (min–max)", "MB, least peer's", "cold start s, least peer's", "others' cores"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + [row(n, r) for n, r in records.items()]) + "\n"


def all_programs(records):
    lines = ["| workload | program | ms | min | processor ms | MB | cold start s |", "|---|---|---|---|---|---|---|"]
    for name, record in records.items():
        for program, runs in record["programs"].items():
            def medians(key, runs=runs):
                return sorted(x[key] for x in runs)[len(runs) // 2]
            lines.append(f"| {name} | {program} | {short(medians('ms'))} | {short(min(x['ms_min'] for x in runs))} | {short(medians('cpu_ms'))} | "
                         f"{medians('peak_mb'):.0f} | {medians('cold_s'):.2f} |")
    return "\n".join(lines) + "\n"


def agreement(records):
    lines = ["| workload | meta-gradient | first loss | loss at the check |", "|---|---|---|---|"]
    for name, r in records.items():
        d = r["differences"]
        lines.append(f"| {name} | {d['gradient']:.1e} | {d['loss0']:.1e} | {d['loss']:.1e} |")
    return "\n".join(lines) + "\n"


def curves_table(grown):
    lines = ["| grows | at | ms | processor ms | MB |", "|---|---|---|---|---|"]
    for name, c in grown["curves"].items():
        lines += [f"| {name}: {c['title']} | {p['x']} | {short(p['ms'])} | {short(p['cpu_ms'])} | {p['peak_mb']:.1f} |" for p in c["points"]]
    return "\n".join(lines) + "\n"


# ---- pictures ----

def text(x, y, s, anchor="middle", size=11, fill=INK):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{s}</text>'


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">\n'
            f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")


def bars(records):
    """Processor time against the best peer's: one bar a workload, its whisker from the least round to the greatest."""
    rows = [(n, measure.summary(r)) for n, r in records.items()]
    rows = [(n, s["best_cpu_ms"]) for n, s in rows if "best_cpu_ms" in s]
    if not rows:
        return None
    left, width, step = 130, 640, 26
    most = max(b["max"] for _, b in rows) * 1.08
    height = 60 + step * len(rows)

    def at(v):
        return left + (width - left - 140) * v / most

    parts = [text(left, 22, "times as fast as the best peer (processor time of a meta-iteration; whiskers: rounds)", "start", 12)]
    for i, (n, b) in enumerate(rows):
        y = 40 + step * i
        parts += [text(left - 8, y + 13, n, "end"), f'<rect x="{left}" y="{y}" width="{at(b["ratio"]) - left:.1f}" height="17" fill="{OURS}"/>',
                  f'<path d="M{at(b["min"]):.1f} {y + 8.5}H{at(b["max"]):.1f}" stroke="{INK}"/>',
                  text(at(b["max"]) + 6, y + 13, f'{b["ratio"]:.2g}x {b["peer"]}', "start")]
    parts.append(f'<path d="M{at(1):.1f} 34V{height - 22}" stroke="{THEIRS}" stroke-dasharray="4 3"/>')
    parts.append(text(at(1), height - 8, "the peer", fill=THEIRS))
    return svg(width, height, parts)


def panel(x0, y0, w, h, curve, key, unit, color):
    """Both axes logarithmic; the dashed line is proportional growth from the first point."""
    points = [(p["x"], p[key]) for p in curve["points"]]
    lx = [math.log10(x) for x, _ in points]
    ly = [math.log10(y) for _, y in points]
    low, high = math.floor(min(ly)), max(math.ceil(max(ly)), math.floor(min(ly)) + 1)

    def at(x, y):
        return x0 + w * (x - lx[0]) / (lx[-1] - lx[0] or 1), y0 + h - h * (y - low) / (high - low)

    parts = [f'<rect x="{x0}" y="{y0}" width="{w}" height="{h}" fill="none" stroke="{PALE}"/>']
    for d in range(low, high + 1):
        parts += [f'<path d="M{x0} {at(lx[0], d)[1]:.1f}h{w}" stroke="{PALE}"/>', text(x0 - 4, at(lx[0], d)[1] + 4, f"{10.0 ** d:g}", "end", 9)]
    parts += [text(at(x, low)[0], y0 + h + 12, points[i][0], size=9) for i, x in enumerate(lx)]
    end = min(lx[-1], lx[0] + high - ly[0])
    (ax, ay), (bx, by) = at(lx[0], ly[0]), at(end, ly[0] + end - lx[0])
    parts.append(f'<path d="M{ax:.1f} {ay:.1f}L{bx:.1f} {by:.1f}" stroke="{INK}" stroke-dasharray="3 3" opacity="0.4"/>')
    parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="2" points="{" ".join("%.1f,%.1f" % at(x, y) for x, y in zip(lx, ly))}"/>')
    parts += [f'<circle cx="{at(x, y)[0]:.1f}" cy="{at(x, y)[1]:.1f}" r="3" fill="{color}"/>' for x, y in zip(lx, ly)]
    return parts + [text(x0 + w / 2, y0 - 6, f'{unit} by {curve["label"]}', size=10), text(x0 + w / 2, y0 + h + 25, curve["title"], size=9, fill="#777")]


def growth(grown):
    shown = [("tasks", "cpu_ms", "processor ms"), ("steps", "cpu_ms", "processor ms"), ("steps", "peak_mb", "MB"), ("lora steps", "peak_mb", "MB"),
             ("ways", "cpu_ms", "processor ms"), ("targets", "cpu_ms", "processor ms"), ("threads", "ms", "ms")]
    parts = []
    for i, (name, key, unit) in enumerate(s for s in shown if s[0] in grown["curves"]):
        parts += panel(50 + 250 * (i % 4), 30 + 200 * (i // 4), 180, 120, grown["curves"][name], key, unit, THEIRS if key == "peak_mb" else OURS)
    return svg(1020, 400, parts)


def write(folder, records, grown):
    order = list(measure.workloads.WORKLOADS)
    records = {n: records[n] for n in order if n in records}
    if records:
        machines = sorted({f"{r['machine']['cpu']}, {r['machine']['processors']} processors, {r['machine']['vectors']}, {r['date']}" for r in records.values()})
        peaks = {r["threads"]: r["peak"] for r in records.values()}
        text_of = [f"Measured on: {'; '.join(machines)}.", ""]
        text_of += [f"GEMM peak, {t} thread(s), GFLOP/s of processor time: {', '.join(f'{k} {v:.0f}' for k, v in peaks[t].items())}." for t in sorted(peaks)]
        store(f"{folder}/workloads.md", "\n".join([*text_of, "", table(records), "Each program:", "", all_programs(records),
                                                   "Greatest relative differences between the programs' numbers:", "", agreement(records)]))
        picture = bars(records)
        if picture:
            store(f"{folder}/workloads.svg", picture)
    if grown:
        store(f"{folder}/scaling.md", curves_table(grown))
        store(f"{folder}/scaling.svg", growth(grown))

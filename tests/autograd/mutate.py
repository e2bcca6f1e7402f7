#!/usr/bin/env python3
"""Breaks every line of every differentiation rule, one at a time, and sees whether the tests notice.

    python3 tests/autograd/mutate.py             all mutants; fails for survivors that are not listed and for listed ones
                                                 that are killed or gone
    python3 tests/autograd/mutate.py softmax     only those whose file, function or line contains the word

Lines mutated: those inside functions named *_rule, *_vjp, *_jvp, and the helpers of HELPERS. Only the broken file is
compiled anew and linked before the static library. Survivors are listed with their reasons in mutation_survivors.txt:
a line beginning with # is the reason of the entries below it, an entry is what this script prints.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIST = pathlib.Path(__file__).with_name("mutation_survivors.txt")
BUILD = ROOT / "build-mutate"
HELPERS = {"share", "winners", "excess", "shaped", "fit", "accumulate", "finished", "reshaped_constant"}
TESTS = ["autograd_ops64", "autograd_grad64", "autograd_broadcast64", "autograd_compose64", "autograd_properties64"]
WORKERS = 2
TIMEOUT = 60   # [s] a mutant that loops is noticed too

SWAPS = [("ag_add(", "ag_sub("), ("ag_sub(", "ag_add("), ("ag_mul(", "ag_div("), ("ag_div(", "ag_mul("),
         ("ag_exp(", "ag_square("), ("ag_square(", "ag_exp("), ("ag_tanh(", "ag_sigmoid("), ("ag_sigmoid(", "ag_tanh("),
         ("ag_erf(", "ag_tanh("), ("ag_log(", "ag_exp("), ("ag_sign(", "ag_abs("), ("ag_less(", "ag_less_equal("),
         ("ag_less_equal(", "ag_less("), ("ag_equal(", "ag_less("), ("ag_sum_keep(", "ag_max_keep("),
         ("ag_softmax(", "ag_log_softmax("), ("ag_one_minus(", "ag_neg("), (" + ", " - "), (" - ", " + "), (" * ", " + "),
         ("k == 0", "k == 1"), ("k == 1", "k == 0"), ("1 - k", "k"), ("[k]", "[1 - k]"), (" == ", " != "), (" != ", " == "),
         (" || ", " && "), (" && ", " || "), (" < ", " <= "), (" <= ", " < "), (" |= ", " = "), ("(!", "("), ("|| !", "|| "), ("&& !", "&& ")]
# Calls that can be dropped: which arguments may stand for the whole.
KEEP = {"ag_mul": (1, 2), "ag_div": (1,), "ag_add": (1, 2), "ag_sub": (1, 2), "ag_scale": (1,), "ag_neg": (1,),
        "ag_sum_keep": (1,), "ag_sum": (1,), "ag_one_minus": (1,), "ag_affine": (1,), "ag_square": (1,), "ag_task_sum": (1,),
        "ag_task_expand": (1,), "ag_reshape": (1,), "ag_expand": (1,), "ag_transpose": (1,), "ag_pow_scalar": (1,),
        "ag_relu_gate": (2,), "ag_less": (1, 2), "ag_exp": (1,), "ag_softmax": (1,)}
NUMBERS = {"0": "1", "1": "2", "2": "3", "3": "2"}


def strip_comment(line):
    return re.sub(r"\s*/\*.*?\*/", "", line).rstrip()


def functions(text):
    """Yields (name, gradient's name, [indices of body lines]) of the functions to mutate."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        head = re.match(r"static ag_tensor \*(\w+)\((.*)\)", line)
        if not head or lines[i + 1] != "{":
            continue
        name = head.group(1)
        if not (re.search(r"_(rule|vjp|jvp)$", name) or name in HELPERS):
            continue
        gradient = re.findall(r"ag_tensor \*(\w+)", head.group(2))
        end = lines.index("}", i)
        yield name, gradient[-1] if gradient else None, range(i + 2, end)


def arguments(code, at):
    """The top-level arguments of the call whose opening parenthesis is at code[at], and the index behind it."""
    depth, start, args = 0, at + 1, []
    for j in range(at, len(code)):
        if code[j] in "([{":
            depth += 1
        elif code[j] in ")]}":
            depth -= 1
            if depth == 0:
                return args + [code[start:j].strip()], j + 1
        elif code[j] == "," and depth == 1:
            args.append(code[start:j].strip())
            start = j + 1
    return None, at


def mutations(code, gradient):
    """Every broken form of one line of code."""
    found = []
    for old, new in SWAPS:
        at = code.find(old)
        while at >= 0:
            found.append(code[:at] + new + code[at + len(old):])
            at = code.find(old, at + len(old))
    for call in re.finditer(r"\b(ag_\w+)\(", code):
        args, end = arguments(code, call.end() - 1)
        for keep in KEEP.get(call.group(1), ()) if args else ():
            if keep < len(args):
                found.append(code[:call.start()] + args[keep] + code[end:])
    for number in re.finditer(r"(?<![\w.\[])(\d+(?:\.\d+)?)(?![\w.\]])", code):
        text = number.group(1)
        found.append(code[:number.start()] + NUMBERS.get(text, f"(1.5 * {text})") + code[number.end():])
    for name in re.finditer(r"\b[A-Z][A-Z0-9_]*SQRT[A-Z0-9_]*\b", code):
        found.append(code[:name.start()] + f"(1.5 * {name.group(0)})" + code[name.end():])
    for index in re.finditer(r"\b(f|i|shape)\[(\d)\]", code):
        other = "1" if index.group(2) == "0" else "0"
        found.append(code[:index.start()] + f"{index.group(1)}[{other}]" + code[index.end():])
    answer = re.match(r"(\s*)return (.*);$", code)
    if answer and answer.group(2) != "NULL":
        found.append(f"{answer.group(1)}return NULL;")
        if gradient and answer.group(2) != gradient:
            found.append(f"{answer.group(1)}return {gradient};")
    choice = re.match(r"(.*(?:return|=) )(.*) \? (.*) : (.*);$", code)
    if choice:
        found.append(f"{choice.group(1)}{choice.group(2)} ? {choice.group(4)} : {choice.group(3)};")
    branch = re.match(r"(\s*)if \((.*)\)$", code)
    if branch:
        found.append(f"{branch.group(1)}if (!({branch.group(2)}))")
    return [m for m in dict.fromkeys(found) if m != code]


def all_mutants():
    """Yields (name of the mutant, file, text of the whole broken file)."""
    files = sorted((ROOT / "autograd/ops").glob("*.c")) + [ROOT / "autograd/grad.c"]
    for path in files:
        text = path.read_text()
        lines = text.split("\n")
        for function, gradient, body in functions(text):
            for i in body:
                code = strip_comment(lines[i])
                if not code.strip() or code.strip().startswith("(void)") or "snprintf" in code or "text" in code:
                    continue
                for broken in mutations(code, gradient):
                    name = f"{path.relative_to(ROOT / 'autograd')} {function}: {code.strip()} => {broken.strip()}"
                    yield name, path, "\n".join(lines[:i] + [broken] + lines[i + 1:])


def run(command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def must(command):
    done = run(command)
    if done.returncode:
        sys.exit(f"mutate: {shlex.join(map(str, command))} failed:\n{done.stdout}")
    return done.stdout


def prepare():
    """Builds the tests once; returns how to compile each source and how to link each test."""
    must(["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS_DEBUG=-O1 -DAG_NO_CLONES",
          "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON"])
    must(["ninja", "-C", BUILD, "-j", str(WORKERS), *TESTS])
    compile_of = {}
    for entry in json.loads((BUILD / "compile_commands.json").read_text()):
        if "metalora_autograd64.dir" in entry["command"]:
            compile_of[pathlib.Path(entry["file"])] = shlex.split(entry["command"])
    link_of = {}
    for test in TESTS:
        last = must(["ninja", "-C", BUILD, "-t", "commands", test]).strip().split("\n")[-1]
        link_of[test] = shlex.split(re.sub(r"^: && | && :$", "", last))
    return compile_of, link_of


class Trial:
    """Compiles, links and tests mutants, each in a folder of its own."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.compile_of, self.link_of = prepare()
        self.environment = dict(os.environ, CK_FORK="no", METALORA_TEST_EFFORT="10")

    def compile(self, path, text, here):
        command = list(self.compile_of[path])
        (here / path.name).write_text(text)
        command[command.index("-c") + 1] = str(here / path.name)
        command[command.index("-o") + 1] = str(here / "mutant.o")
        command = [c for c in command if c not in ("-MD", "-g") and c != "-Werror"]
        for flag in ("-MT", "-MF"):
            if flag in command:
                at = command.index(flag)
                del command[at:at + 2]
        return run(command + ["-w", "-O0"], cwd=BUILD).returncode == 0

    def noticed(self, test, here):
        """True if the test fails with the mutant linked in."""
        command = list(self.link_of[test])
        command[command.index("-o") + 1] = str(here / test)
        at = next(i for i, c in enumerate(command) if c.endswith(".o"))
        command.insert(at, str(here / "mutant.o"))
        linked = run(command, cwd=BUILD)
        if linked.returncode:
            raise RuntimeError(f"{test} does not link:\n{linked.stdout}")
        try:
            failed = run([str(here / test)], env=self.environment, cwd=here, timeout=TIMEOUT).returncode != 0
        except subprocess.TimeoutExpired:
            failed = True
        (here / test).unlink()
        return failed

    def verdict(self, mutant):
        name, path, text = mutant
        with tempfile.TemporaryDirectory(dir=self.folder) as here:
            here = pathlib.Path(here)
            if not self.compile(path, text, here):
                return name, "stillborn"
            for test in TESTS:
                if self.noticed(test, here):
                    return name, "killed"
        return name, "survived"


def listed():
    """The survivors of the list; every one stands under a reason."""
    entries, reason = [], None
    for line in LIST.read_text().split("\n") if LIST.exists() else []:
        if line.startswith("#"):
            reason = line
        elif line.strip():
            if not reason:
                sys.exit(f"mutate: no reason stands above '{line}'")
            entries.append(line.strip())
    return set(entries)


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    began = time.time()
    mutants = [m for m in all_mutants() if word in m[0]]
    known = {entry for entry in listed() if word in entry}
    counts, survivors = {"killed": 0, "survived": 0, "stillborn": 0}, []
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        trial = Trial(folder)
        for done, (name, verdict) in enumerate(pool.map(trial.verdict, mutants), 1):
            counts[verdict] += 1
            if verdict == "survived":
                survivors.append(name)
                if name not in known:
                    print(f"survived: {name}", flush=True)
            if done % 100 == 0:
                print(f"{done} of {len(mutants)} mutants, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
    stale = sorted(known - set(survivors))
    for name in stale:
        print(f"listed, but killed or gone: {name}")
    unlisted = set(survivors) - known
    print(f"{counts['killed']} mutants killed, {counts['survived']} survived ({len(survivors) - len(unlisted)} listed with a reason), "
          f"{counts['stillborn']} did not compile; {time.time() - began:.0f} s")
    sys.exit(1 if unlisted or stale else 0)


if __name__ == "__main__":
    main()

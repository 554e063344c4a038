#!/usr/bin/env python3
"""This package against mpi4py, on the same MPI library and in one run: each side by turns, ROUNDS times, the median of each.

    python3 runtime/mpi/benches/compare.py [ROUNDS]        prints a table, and exits with 1 where a target is missed

Builds the program, and installs mpi4py into target/mpi4py, both if need be. Take figures on a machine that does nothing else.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
VENV = ROOT / "target" / "mpi4py"
# What must be reached, as ours against theirs: times as fast.
TARGETS = {
    "ping-pong 64 B, objects": 2,
    "ping-pong 1 MiB, objects": 2,
    "bcast 16 MiB, objects": 2,
    "ping-pong 64 B, buffers": 0.9,
    "ping-pong 1 MiB, buffers": 0.9,
    "bcast 16 MiB, buffers": 0.9,
    "pool of tiny tasks, chunk 1": 10,
    "pool of 10 us tasks, chunk 1": 10,
}
MPIRUN = ["mpirun", "--oversubscribe", "--bind-to", "none"]
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")


def measure(ranks, options, command):
    """The figures that one job prints."""
    job = ["timeout", "-k", "5", "120", *MPIRUN, *options, "-n", str(ranks), *map(str, command)]
    lines = subprocess.run(job, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return {line["what"]: (line["unit"], line["value"]) for line in map(json.loads, lines)}


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    build = ["cargo", "build", "--release", "--quiet", "-p", "offspring-mpi", "--example", "bench_ranks"]
    subprocess.run(build, cwd=ROOT, check=True)
    ours = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / "bench_ranks"
    python = VENV / "bin" / "python"
    if not python.exists():
        venv.create(VENV, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "mpi4py"], check=True)
    polite = ["--mca", "mpi_yield_when_idle", "1"]
    found = {}
    for _ in range(rounds):
        for side, figures in [
            ("ours", measure(2, [], [ours, "comm"])),
            ("theirs", measure(2, [], [python, HERE / "peer.py", "comm"])),
            ("ours", measure(3, polite, [ours, "pool"])),
            ("theirs", measure(3, polite, [python, "-m", "mpi4py.futures", HERE / "peer.py", "pool"])),
        ]:
            for what, (unit, value) in figures.items():
                found.setdefault(what, {"unit": unit}).setdefault(side, []).append(value)
    missed = []
    print(f"{'what':40} {'unit':8} {'offspring':>12} {'mpi4py':>12} {'times':>7}  target")
    for what, figures in found.items():
        mine = statistics.median(figures["ours"])
        if "theirs" not in figures:
            print(f"{what:40} {figures['unit']:8} {mine:12,.1f}")
            continue
        other = statistics.median(figures["theirs"])
        times = other / mine if figures["unit"] == "us" else mine / other
        target = TARGETS.get(what)
        verdict = "" if target is None else f"{target:g} {'reached' if times >= target else 'MISSED'}"
        missed += [what] if target and times < target else []
        print(f"{what:40} {figures['unit']:8} {mine:12,.1f} {other:12,.1f} {times:7.2f}  {verdict}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

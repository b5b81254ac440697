"""What a collection costs beside the tools that it runs, in processor time, which other work does not change.

    python -m benchmarks.collecting [--space kws] [--count 96] [--device NAME ...]

Alone: one process builds the networks and runs the tools' own entry points in a plain loop. The collection is
run twice, with `count` networks and with a quarter of them; the difference is what the others cost once
everything has started. The ratio is collection / alone: 1.10 means 10 % above what the tools take.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from api.workflows.collect import Collection, collect
from benchmarks.profilers import quiet, tflm_alone, vela_alone
from dataset.spaces import get_space
from dataset.store import Store

DEVICES = ["tflm", "ethos-u55-32", "ethos-u55-128", "ethos-u55-256", "ethos-u65-512", "ethos-u85-256"]
DEVICES += ["ethos-u85-1024"]


def cpu_seconds() -> float:
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def alone(space: str, seeds: range, devices: list[str]) -> float:
    """CPU seconds of building and of the tools, without what starting them takes."""
    loops = [tflm_alone(name) if name == "tflm" else vela_alone(name) for name in devices]
    sampler = get_space(space)
    with quiet():
        for loop in loops:
            loop([sampler.build(0, "int8").data])
        before = cpu_seconds()
        for seed in seeds:
            data = sampler.build(seed, "int8").data
            for loop in loops:
                loop([data])
        return cpu_seconds() - before


def collection(space: str, seeds: range, devices: list[str]) -> tuple[float, float, float, float]:
    """CPU seconds, wall seconds, peak MB of the parent and bytes of the database a network."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nets.db"
        before, begin = cpu_seconds(), time.perf_counter()
        with Store.open(path) as store:
            request = Collection(spaces=(space,), count=len(seeds), seed=seeds.start, devices=tuple(devices))
            collect(request, store)
            networks = store.stats().networks
        spent = cpu_seconds() - before, time.perf_counter() - begin
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return *spent, peak_mb, path.stat().st_size / networks


def in_new_process(count: int, options: argparse.Namespace) -> list[float]:
    """Run this file again, so that neither measurement inherits the other's memory or imports."""
    command = [sys.executable, "-m", "benchmarks.collecting", "--space", options.space]
    command += ["--one", str(count), "--seed", str(options.seed), "--device", *options.device]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--space", default="kws")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--seed", type=int, default=50_000)
    parser.add_argument("--device", nargs="*", default=DEVICES)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(*collection(options.space, range(options.seed, options.seed + options.one), options.device))
        return
    few, count = options.count // 4, options.count
    seeds = range(options.seed + few, options.seed + count)
    tools = alone(options.space, seeds, options.device)
    small, large = in_new_process(few, options), in_new_process(count, options)
    ours, wall = large[0] - small[0], large[1] - small[1]
    pairs = len(seeds) * len(options.device)
    print(f"alone      {tools:8.2f} CPU s, {pairs / tools:8.1f} labels/CPU s")
    print(f"collection {ours:8.2f} CPU s, {pairs / ours:8.1f} labels/CPU s, ratio {ours / tools:.3f}")
    print(f"busy       {ours / wall:8.2f} cores of {len(os.sched_getaffinity(0))}")
    print(f"memory     {small[2]:8.0f} MB with {few} networks, {large[2]:.0f} MB with {count}")
    print(f"database   {large[3]:8.0f} bytes a network")


if __name__ == "__main__":
    main()

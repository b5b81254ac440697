"""Labels per second of each tool through a profiler and its worker, beside the tool alone in a plain loop.

Run as `python -m benchmarks.profilers [--count 60] [--device NAME ...]`. One worker each. Both sides get the
same models, take the minimum of `--rounds` rounds, and do not count the first model (imports, start-up).
Reading the graph is not counted: collecting reads it once for all devices.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dataset.spaces import get_space
from perfsage.graph import read_graph
from profilers import Model, Plan, open_profiler

Alone = Callable[[Sequence[bytes]], None]
HOST_PLAN = Plan(visits=5, visit_ms=20.0)


def vela_alone(name: str) -> Alone:
    from ethosu import regor

    from profilers.npu.configuration import parse_configuration
    from profilers.npu.tasks import _settings

    configuration = parse_configuration(name)
    text, options = _settings(configuration, False)
    core = "Ethos" + configuration.family.upper()

    def loop(files: Sequence[bytes]) -> None:
        for data in files:
            report = regor.compile(core, data, "TFLITE", text, options=options, verbose=False).perf_report
            if report.cpuOps and report.totalCycles:  # as the profiler does, to list the operators
                _, layers = _settings(configuration, True)
                regor.compile(core, data, "TFLITE", text, options=layers, verbose=False)

    return loop


def tflm_alone(name: str) -> Alone:
    from tflite_micro.python.tflite_micro import runtime

    def loop(files: Sequence[bytes]) -> None:
        for data in files:
            try:
                runtime.Interpreter.from_bytes(data, arena_size=64 << 20).print_allocations()
            except RuntimeError:
                continue

    return loop


def litert_alone(name: str) -> Alone:
    from ai_edge_litert.interpreter import Interpreter

    def loop(files: Sequence[bytes]) -> None:
        interpreters = [Interpreter(model_content=data, num_threads=1) for data in files]
        for interpreter in interpreters:
            interpreter.allocate_tensors()
            interpreter.invoke()
        for _ in range(HOST_PLAN.visits):
            for interpreter in interpreters:
                end = time.perf_counter() + HOST_PLAN.visit_ms * 1e-3
                while time.perf_counter() < end:
                    interpreter.invoke()

    return loop


@contextmanager
def quiet() -> Iterator[None]:
    """Send what native code prints to a file, as a worker does."""
    saved = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            for target, descriptor in zip((1, 2), saved, strict=True):
                os.dup2(descriptor, target)
                os.close(descriptor)


def alone_rate(make: Callable[[str], Alone], name: str, models: Sequence[Model], rounds: int) -> float:
    files = [model.data for model in models]
    loop = make(name)
    with quiet():
        loop(files[:1])
        return len(files) / min(_seconds(lambda: loop(files)) for _ in range(rounds))


def profiler_rate(name: str, models: Sequence[Model], rounds: int) -> float:
    profiler = open_profiler(name)
    plan = HOST_PLAN if name == "host-cpu" else Plan()
    list(profiler.profile(models[:1], plan))
    seconds = min(_seconds(lambda: list(profiler.profile(models, plan))) for _ in range(rounds))
    profiler.close()
    return len(models) / seconds


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--space", default="kws")
    default = ["tflm", "ethos-u55-128", "ethos-u85-256", "host-cpu"]
    parser.add_argument("--device", nargs="*", default=default)
    options = parser.parse_args()
    space = get_space(options.space)
    files = [space.build(seed, "int8").data for seed in range(options.count)]
    models = [Model(data, read_graph(data)) for data in files]
    print(f"{'device':<20}{'alone/s':>10}{'profiler/s':>12}{'ratio':>8}")
    for name in options.device:
        make = {"tflm": tflm_alone, "host-cpu": litert_alone}.get(name, vela_alone)
        alone = alone_rate(make, name, models, options.rounds)
        ours = profiler_rate(name, models, options.rounds)
        print(f"{name:<20}{alone:>10.1f}{ours:>12.1f}{ours / alone:>8.2f}", flush=True)


if __name__ == "__main__":
    main()

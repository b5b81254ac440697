"""How long costs, lifetimes, memory plan, arena and reordering take, beside running TFLM for the same figure.

    python benchmarks/memory_plan.py [MODEL.tflite]

Without a model, a chain of residual blocks with about 100 operators is built.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from perfsage.graph import Graph, read_graph
from perfsage.graph.costs import operator_costs
from perfsage.graph.lifetimes import lifetimes
from perfsage.graph.memory_arena import estimate_arena
from perfsage.graph.memory_plan import plan_memory
from perfsage.graph.reorder import reorder

REPEATS = 30


def residual_network(blocks: int = 24) -> bytes:
    from dataset.builder import Builder

    b = Builder(seed=0)
    x = b.conv(b.input((1, 32, 32, 3)), 8)
    for _ in range(blocks):
        x = b.add(x, b.conv(b.depthwise(b.conv(x, 16, kernel=1)), 8, kernel=1))
    b.output(b.softmax(b.fully_connected(b.mean(x), 10)))
    return b.finish()


def milliseconds(action: Callable[[], object]) -> float:
    """Return the least of several runs, the first left out."""
    action()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def milliseconds_fresh(data: bytes, action: Callable[[Graph], object]) -> float:
    """Like `milliseconds`, on a graph just read each time: nothing is cached from the run before."""
    times = []
    for _ in range(REPEATS):
        graph = read_graph(data)
        start = time.perf_counter()
        action(graph)
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


def run_tflm(data: bytes) -> None:
    from tflite_micro.python.tflite_micro import runtime

    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            recording = runtime.InterpreterConfig.kAllocationRecording
            made = runtime.Interpreter.from_bytes(data, arena_size=4 << 20, intrepreter_config=recording)
            made.print_allocations()
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def main() -> None:
    data = Path(sys.argv[1]).read_bytes() if len(sys.argv) > 1 else residual_network()
    graph = read_graph(data)
    subgraph = graph.subgraphs[0]
    print(f"{len(subgraph.operators)} operators, {len(subgraph.tensors)} tensors; least of {REPEATS} runs")
    rows = {
        "operator_costs": lambda: operator_costs(subgraph),
        "lifetimes": lambda: lifetimes(subgraph),
        "plan_memory": lambda: plan_memory(graph),
        "estimate_arena": lambda: estimate_arena(graph),
        "reorder (with reading and writing)": lambda: reorder(data),
        "TFLM, recording interpreter": lambda: run_tflm(data),
    }
    for name, action in rows.items():
        print(f"{name:36s} {milliseconds(action):8.3f} ms")
    fresh = milliseconds_fresh(data, lambda graph: operator_costs(graph.subgraphs[0]))
    print(f"{'operator_costs, graph just read':36s} {fresh:8.3f} ms")


if __name__ == "__main__":
    main()

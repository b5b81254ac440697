"""Time of one prediction, features given: ONNX Runtime as shipped, beside plain torch and torch with DGL.

Then the whole way from bytes to all devices of the shipped predictor, beside Vela's estimate for one of them:
networks a second, and how many times Vela's own time that is. A batch holds networks of the same shapes with
other weights, so that the cycles of their operators are known after the first one, as in a search.

python -m benchmarks.predict [--operators 100] [--devices 16]

Where features are given, the network has its default size and random weights; time does not depend on them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dataset.builder import Builder
from perfsage.features import batch_features, extract_features
from perfsage.graph import Graph, read_graph
from perfsage.models.gnn import GraphNetwork, NetworkOptions, index_neighbours
from perfsage.models.physics import term_columns
from perfsage.models.session import NetworkSession
from perfsage.predictor import load_predictor
from perfsage.training.corpus import to_tensors
from perfsage.training.export import export_onnx
from perfsage.training.neighbours import dgl_neighbours
from perfsage.training.options import TrainingOptions
from profilers.profiler import Model, Plan
from profilers.registry import open_profiler

BATCH = 256
ALL = "bytes to all devices and metrics"
SHARELESS = "the same without operators' shares"
BATCHED = f"without shares, {BATCH} graphs a call"
ONE_DEVICE = f"one device, {BATCH} graphs a call"


def residual_network(operators: int, seed: int = 0) -> bytes:
    """Return an int8 network of about `operators` operators: convolutions, depthwise ones and additions."""
    b = Builder(dtype="int8", seed=seed)
    x = b.conv(b.input((1, 32, 32, 3)), 32, stride=2, activation="relu6")
    while b.operator_count < operators - 3:
        y = b.depthwise(x, kernel=3, activation="relu6")
        x = b.add(x, b.conv(y, 32, kernel=1))
    b.output(b.softmax(b.fully_connected(b.mean(x), 10)))
    return b.finish()


@dataclass(frozen=True)
class Repeated:
    """A call that does the same `times` times."""

    call: Callable[[], object]
    times: int

    def __call__(self) -> object:
        return self.call()


def median_ms(call: Callable[[], object], repeats: int = 300) -> float:
    for _ in range(min(10, repeats)):
        call()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(times) / (call.times if isinstance(call, Repeated) else 1)


def network_rows(graph: Graph, devices: int) -> dict[str, Callable[[], object]]:
    """Return the network alone, features given: as it ships, and in torch without and with DGL."""
    batch = batch_features([extract_features(graph)])
    options = TrainingOptions()
    network = GraphNetwork(
        NetworkOptions(
            node_columns=batch.node.shape[1],
            descriptor_columns=20,
            devices=devices,
            width=options.width,
            described_width=options.described_width,
            layers=options.layers,
        )
    ).eval()
    inputs = to_tensors(batch, term_columns(batch.physical).astype(np.float32), torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(network, Path(folder) / "model.onnx")
        session = NetworkSession(Path(folder) / "model.onnx")

    def by_index() -> object:
        neighbours = index_neighbours(inputs.source, inputs.target, len(inputs.type_index))
        return network(inputs, neighbours)

    return {
        "ONNX Runtime, 1 thread": lambda: session.run(batch),
        "torch, index_add, 1 thread": by_index,
        "torch + DGL, 1 thread": lambda: network(inputs, dgl_neighbours(inputs)),
    }


def byte_rows(data: bytes, graph: Graph, operators: int) -> dict[str, Callable[[], object]]:
    """Return the steps from a file's bytes to answers, and the whole way for one network and for many."""
    shipped = load_predictor()
    many = [residual_network(operators, seed) for seed in range(BATCH)]
    return {
        "read_graph": lambda: read_graph(data),
        "features of shapes": lambda: extract_features(graph, weights=False, arena=False),
        "features of shapes and memory plan": lambda: extract_features(graph, weights=False),
        "features, weights read (first time)": lambda: extract_features(read_graph(data), arena=False),
        "bytes to NPU latencies": lambda: shipped.predict(data, ["ethos-u55-128"], ["latency_ms"]),
        ALL: lambda: shipped.predict(data),
        SHARELESS: lambda: shipped.predict(data, operators=False),
        BATCHED: Repeated(lambda: shipped.predict(many, operators=False), BATCH),
        ONE_DEVICE: Repeated(lambda: shipped.predict(many, ["ethos-u55-128"], operators=False), BATCH),
    }


def vela_ms(data: bytes, graph: Graph) -> float:
    """Return the time of Vela's own estimate for one device."""
    profiler = open_profiler("ethos-u55-128")
    try:
        return median_ms(lambda: list(profiler.profile([Model(data, graph)], Plan())), 10)
    finally:
        profiler.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--operators", type=int, default=100)
    parser.add_argument("--devices", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = residual_network(arguments.operators)
    graph = read_graph(data)
    rows = network_rows(graph, arguments.devices) | byte_rows(data, graph, arguments.operators)
    print(f"{len(graph.subgraphs[0].operators)} operators, {arguments.devices} devices, 4 metrics; median ms")
    with torch.no_grad():
        times = {
            name: median_ms(call, 5 if isinstance(call, Repeated) else 300) for name, call in rows.items()
        }
    vela = vela_ms(data, graph)
    for name, time_ms in [*times.items(), ("Vela, one device", vela)]:
        print(f"{name:36s} {time_ms:8.3f}")
    for name in (ALL, SHARELESS, BATCHED, ONE_DEVICE):
        print(f"{name:36s} {1e3 / times[name]:8.0f} graphs/s, {vela / times[name]:5.1f} x as fast as Vela")


if __name__ == "__main__":
    main()

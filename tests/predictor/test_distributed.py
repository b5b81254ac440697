"""Training by two processes over gloo, as `torchrun` starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

WORKER = """
import dataclasses, sys
import numpy as np, torch
torch.set_num_threads(1)
from dataset.spaces import get_space
from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.metrics import Metric
from perfsage.training import Example
from perfsage.training.corpus import Corpus
from perfsage.training.distributed import process, processes, team
from perfsage.training.loop import fit
from perfsage.training.options import TrainingOptions
from profilers.registry import describe

def example(seed):
    features = extract_features(read_graph(get_space("kws").build(seed, "int8").data), arena=False)
    latency = 1e-3 + 1e-6 * features.cost("macs").sum()
    return Example(features=features, labels={("ethos-u55-128", Metric.LATENCY_MS): latency})

options = TrainingOptions(epochs=12, batch_graphs=4, width=16, layers=1, accelerator="cpu", time_limit_s=99.0)
device = describe("ethos-u55-128")
with team(torch.device("cpu")):
    assert processes() == 2
    losses = []
    network, epochs = fit(Corpus([example(seed) for seed in range(25)], [device.name]), [device], options,
                          None, lambda progress: losses.append(progress.loss))
    arrays = {name: value.numpy() for name, value in network.state_dict().items()}
    np.savez(f"{sys.argv[1]}/{process()}.npz", epochs=epochs, losses=losses, **arrays)
"""


def test_two_processes_learn_the_same_network(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    started = [
        subprocess.Popen(command, env={**shared, "RANK": str(rank)}, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    for worker in started:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors
    first, second = (np.load(tmp_path / f"{rank}.npz", allow_pickle=False) for rank in range(2))
    assert int(first["epochs"]) == 12
    for name in set(first.files) - {"losses"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert first["losses"][-1] < first["losses"][0]
    assert (first["losses"] != second["losses"]).any()

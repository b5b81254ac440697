"""Two published graph networks as baselines: the original PerfSAGE, and the GCN of BRP-NAS.

Architectures and optimizers are the published ones (github.com/ARM-software/perfsage, "first drop" of 2021;
github.com/SamsungLabs/eagle); both read operators alone as nodes, with the same columns, and train for
`epochs` or until `seconds` have passed, whichever comes first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from perfsage.features import NODE_COLUMNS, TYPE_COUNT, FeatureBatch, GraphFeatures, batch_features

Array = NDArray[np.float64]

_COLUMNS = "out_n out_h out_w out_c in_c kernel_h kernel_w stride_h stride_w padding_valid depth_multiplier"
NUMBERS = [NODE_COLUMNS.index(name) for name in _COLUMNS.split()]
SLOTS = 200
"""PerfSAGE averages over this many nodes, however many there are."""


class OriginalPerfSAGE(nn.Module):
    """Two mean-SAGE layers of 128 + 128, an embedding of 32 a type, vectors of length 1, sum / 200."""

    learning_rate, batch_graphs, weight_decay = 0.01, 64, 0.0

    def __init__(self) -> None:
        super().__init__()
        width = 32 + len(NUMBERS)
        self.types = nn.Embedding(TYPE_COUNT, 32)
        self.own = nn.ModuleList([nn.Linear(width, 128, bias=False), nn.Linear(256, 128, bias=False)])
        self.others = nn.ModuleList([nn.Linear(width, 128, bias=False), nn.Linear(256, 128, bias=False)])
        self.last = nn.Linear(256, 1)

    def forward(self, types: Tensor, numbers: Tensor, batch: FeatureBatch) -> Tensor:
        """Return one value a graph, [g]."""
        x = torch.cat([self.types(types), numbers], dim=1)
        source, target = torch.from_numpy(batch.source), torch.from_numpy(batch.target)
        for layer, (own, others) in enumerate(zip(self.own, self.others, strict=True)):
            mean = _mean(x, target, source)  # consumers tell producers, as in the original
            x = torch.cat([own(x), others(mean)], dim=1)
            x = torch.relu(x) if layer == 0 else x
        x = nn.functional.normalize(x, dim=1)
        graph = torch.from_numpy(batch.graph)
        summed = torch.zeros(batch.graphs, x.shape[1]).index_add(0, graph, x) / SLOTS
        return torch.as_tensor(self.last(summed).squeeze(1))

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Return the mean absolute relative error."""
        return ((predicted - truth).abs() / truth).mean()


class BrpNas(nn.Module):
    """Four GCN layers of 600 with a global node, whose vector gives the value."""

    learning_rate, batch_graphs, weight_decay = 4e-4, 16, 5e-4

    def __init__(self) -> None:
        super().__init__()
        widths = [TYPE_COUNT + 1 + len(NUMBERS), 600, 600, 600, 600]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(widths)])
        self.norms = nn.ModuleList([nn.LayerNorm(600) for _ in range(4)])
        self.last = nn.Linear(600, 1)

    def forward(self, types: Tensor, numbers: Tensor, batch: FeatureBatch) -> Tensor:
        """Return one value a graph, [g]; the global nodes come after all others."""
        nodes, graphs = len(types), batch.graphs
        one_hot = nn.functional.one_hot(types, TYPE_COUNT + 1).float()
        x = torch.cat([one_hot, numbers], dim=1)
        hubs = torch.zeros(graphs, x.shape[1])
        hubs[:, TYPE_COUNT] = 1.0
        x = torch.cat([x, hubs])
        hub = nodes + torch.from_numpy(batch.graph)
        own = torch.arange(nodes + graphs)
        source = torch.cat([torch.from_numpy(batch.source), torch.arange(nodes), own])
        target = torch.cat([torch.from_numpy(batch.target), hub, own])
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = nn.functional.dropout(torch.relu(norm(_mean(layer(x), source, target))), 0.002, self.training)
        return torch.as_tensor(self.last(x[nodes:]).squeeze(1))

    def loss(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Return the mean absolute error."""
        return (predicted - truth).abs().mean()


def _mean(x: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Return the mean of the sources' rows for each target, zeros where there are none."""
    summed = torch.zeros_like(x).index_add(0, target, x.index_select(0, source))
    count = torch.zeros(len(x)).index_add(0, target, torch.ones(len(target)))
    return summed / count.clamp(min=1.0)[:, None]


class NetworkBaseline:
    """A published network as a baseline: `make` builds it, `epochs` and `seconds` bound its training."""

    def __init__(
        self,
        make: type[OriginalPerfSAGE] | type[BrpNas],
        *,
        epochs: int = 200,
        seconds: float = 60.0,
        seed: int = 0,
    ) -> None:
        self._make, self._epochs, self._seconds, self._seed = make, epochs, seconds, seed

    def fit(
        self, items: Sequence[GraphFeatures], values: Array, operators: Sequence[Array | None] | None = None
    ) -> None:
        """Train from scratch."""
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            self._network = self._make()
            self._scale = float(np.median(values))
            rows = np.concatenate([item.node[:, NUMBERS] for item in items])
            self._centre, self._spread = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-3)
            self._train(items, values / self._scale)

    def _train(self, items: Sequence[GraphFeatures], values: Array) -> None:
        network = self._network
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=network.learning_rate, weight_decay=network.weight_decay
        )
        random = np.random.default_rng(self._seed)
        end = time.monotonic() + self._seconds
        network.train()
        for _ in range(self._epochs):
            order = random.permutation(len(items))
            for begin in range(0, len(order), network.batch_graphs):
                chosen = order[begin : begin + network.batch_graphs]
                predicted = self._run([items[i] for i in chosen])
                loss = network.loss(predicted, torch.from_numpy(values[chosen]).float())
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_value_(network.parameters(), 5.0)
                optimizer.step()
                if time.monotonic() > end:
                    return

    def _run(self, items: Sequence[GraphFeatures]) -> Tensor:
        batch = batch_features(items)
        numbers = torch.from_numpy((batch.node[:, NUMBERS] - self._centre) / self._spread)
        return torch.as_tensor(self._network(torch.from_numpy(batch.type_index), numbers.float(), batch))

    def predict(self, items: Sequence[GraphFeatures]) -> Array:
        """Return float64[len(items)], never negative."""
        self._network.eval()
        with torch.no_grad():
            parts = [self._run(items[i : i + 64]) for i in range(0, len(items), 64)]
        values = torch.cat(parts).double().numpy() * self._scale
        return np.asarray(np.maximum(values, 1e-3 * self._scale))

"""The graph network: two trunks for all devices, additive and peak readouts that know the physics.

Shapes: n operators and e edges of g graphs laid end to end, d devices, m metrics, w both trunks' widths.
Trunks see no device. Each device multiplies the operators' embeddings with its own vectors, which come from
an embedding and from its descriptors, so that a device known only by its descriptors can be predicted. One
trunk is for accelerators that formulas describe, the other one for everything else: their labels ask for
unlike things, and the many of the former would drown the few of the latter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from perfsage.features.types import TYPE_COUNT
from perfsage.models.physics import TERMS, concurrent_terms
from perfsage.models.readout import READOUTS, DeviceTable, Outputs, read_out

Neighbours = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps operator rows [n, w] to the mean over producers and the mean over consumers, each [n, w]."""

FEATURE_LIMIT = 6.0
"""Standardised features are clipped here: beyond, the network would extrapolate freely."""


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Sizes of the network; `described_width` is that of the trunk of described accelerators.

    Formulas leave them little to learn, so that it may be narrow.
    """

    node_columns: int
    descriptor_columns: int
    devices: int
    width: int = 96
    described_width: int = 96
    layers: int = 3
    type_width: int = 16
    device_hidden: int = 64

    @property
    def widths(self) -> tuple[int, int]:
        """The widths of the trunks, in the order of `Trunks`."""
        return self.described_width, self.width


class Trunk(nn.Module):
    """Operators -> embeddings, by bidirectional mean aggregation with residual connections."""

    def __init__(self, options: NetworkOptions, width: int) -> None:
        super().__init__()
        self.types = nn.Embedding(TYPE_COUNT, options.type_width)
        self.enter = nn.Linear(options.node_columns + options.type_width, width)
        self.layers = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(options.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(options.layers))
        self.leave = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.LayerNorm(width))
        nn.init.normal_(self.types.weight, std=0.1)

    def forward(self, type_index: Tensor, scaled: Tensor, neighbours: Neighbours) -> Tensor:
        """Return float32[n, width] of standardised features."""
        hidden = torch.relu(self.enter(torch.cat([scaled, self.types(type_index)], dim=1)))
        for linear, norm in zip(self.layers, self.norms, strict=True):
            producers, consumers = neighbours(hidden)
            hidden = hidden + torch.relu(norm(linear(torch.cat([hidden, producers, consumers], dim=1))))
        result: Tensor = self.leave(hidden)
        return result


class Trunks(nn.Module):
    """Two trunks side by side, that of described accelerators first."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.zeros(options.node_columns))
        self.deviation = nn.Buffer(torch.ones(options.node_columns))
        self.parts = nn.ModuleList(Trunk(options, width) for width in options.widths)

    def forward(self, type_index: Tensor, node: Tensor, neighbours: Neighbours) -> Tensor:
        """Return float32[n, w]."""
        scaled = ((node - self.mean) / self.deviation).clamp(-FEATURE_LIMIT, FEATURE_LIMIT)
        return torch.cat([part(type_index, scaled, neighbours) for part in self.parts], dim=1)


class DeviceBank(nn.Module):
    """Devices -> the vectors that turn embeddings into corrections, and the physical constants."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.width = sum(options.widths)
        size = len(READOUTS) * (self.width + 1)
        self.seen = nn.Buffer(torch.ones(options.devices, self.width))
        """1 where a device may look at the embeddings, 0 where they are of the other trunk."""
        self.descriptors = nn.Buffer(torch.zeros(options.devices, options.descriptor_columns))
        self.log_rates = nn.Buffer(torch.zeros(options.devices, 4, len(TERMS)))
        self.log_limits = nn.Buffer(torch.zeros(options.devices))
        self.concurrent = nn.Buffer(torch.tensor(concurrent_terms({})).repeat(options.devices, 1))
        self.shared_rates = nn.Parameter(torch.zeros(4, len(TERMS)))
        self.own_rates = nn.Parameter(torch.zeros(options.devices, 4, len(TERMS)))
        self.embedding = nn.Parameter(torch.zeros(options.devices, size))
        self.describe = nn.Sequential(
            nn.Linear(options.descriptor_columns + 1, options.device_hidden),
            nn.Tanh(),
            nn.Linear(options.device_hidden, size),
        )
        nn.init.normal_(self.embedding, std=0.02)

    def forward(self, keep: Tensor | None = None) -> DeviceTable:
        """Return every device's table; rows where `keep` [d] is 0 rely on their descriptors alone."""
        described = (self.descriptors.abs().sum(dim=1, keepdim=True) > 0).to(self.descriptors.dtype)
        known = torch.ones_like(described[:, 0]) if keep is None else keep
        own = self.embedding * known[:, None]
        rates = described[:, :, None] * self.shared_rates + known[:, None, None] * self.own_rates
        vectors = own + self.describe(torch.cat([self.descriptors, described], dim=1)) * 0.1
        shaped = vectors.view(len(vectors), len(READOUTS), self.width + 1)
        return DeviceTable(
            vectors=shaped[..., :-1] * self.seen[:, None],
            biases=shaped[..., -1],
            log_rates=self.log_rates + rates,
            log_limits=self.log_limits,
            concurrent=self.concurrent,
        )


class GraphNetwork(nn.Module):
    """Trunks, devices, readouts and the head that says how far to trust them."""

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.options = options
        self.trunk = Trunks(options)
        self.devices = DeviceBank(options)
        self.spread = nn.Linear(2 * sum(options.widths), options.devices * 4)

    def forward(
        self,
        inputs: GraphTensors,
        neighbours: Neighbours,
        keep: Tensor | None = None,
    ) -> Outputs:
        """Predict every device and metric of every graph; `keep` as in `DeviceBank`."""
        hidden = self.trunk(inputs.type_index, inputs.node, neighbours)
        return read_out(hidden, inputs, self.devices(keep), self.spread)


@dataclass(frozen=True, slots=True)
class GraphTensors:
    """A FeatureBatch as tensors.

    `terms` float32[n, len(TERMS)] as in physics.TERMS; `sizes` float32[g] is how many operators a graph has.
    """

    type_index: Tensor
    node: Tensor
    terms: Tensor
    sizes: Tensor
    graph: Tensor
    source: Tensor
    target: Tensor


def index_neighbours(source: Tensor, target: Tensor, rows: int) -> Neighbours:
    """Return mean aggregation by index addition: equal to DGL's, and exportable to ONNX."""
    receivers = torch.cat([target, source + rows])
    senders = torch.cat([source, target])
    counts = torch.zeros(2 * rows, dtype=torch.float32, device=source.device)
    counts = counts.index_add(0, receivers, torch.ones_like(receivers, dtype=torch.float32))
    scale = (1.0 / counts.clamp(min=1.0))[:, None]

    def aggregate(hidden: Tensor) -> tuple[Tensor, Tensor]:
        sums = torch.zeros(2 * rows, hidden.shape[1], dtype=hidden.dtype, device=hidden.device)
        means = sums.index_add(0, receivers, hidden.index_select(0, senders)) * scale
        return means[:rows], means[rows:]

    return aggregate

"""Cut a network between a device and a server so that an answer comes soonest, or costs least energy.

The first part runs on the device, the tensors that cross are sent, the second part runs on the server
(Neurosurgeon, SPINN, DynO). The latency of a part is the sum of the predicted shares of its operators; what
is sent takes `latency_ms` of the link and its bytes at the link's bandwidth. Answers come back for free:
they are small beside what is sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric
from perfsage.planning.cuts import Cut, find_cuts
from perfsage.prediction import SCHEMA_VERSION, Interval, Prediction

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.predictor import ModelSource, Predictor

Objective = Literal["latency", "energy"]
TRANSFER_BITS = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What joins device and server; the energy of sending is the radio's, per byte, where it is known.

    `transfer_bits` sends elements quantized to so many bits; None sends tensors as they are. It never makes
    a tensor larger.
    """

    bandwidth_mbit_s: float
    latency_ms: float = 0.0
    transfer_bits: int | None = None
    nj_per_byte: float | None = None

    def __post_init__(self) -> None:
        """Refuse links that send nothing."""
        if not (self.bandwidth_mbit_s > 0 and self.bandwidth_mbit_s < float("inf")):
            raise InvalidInputError(f"a bandwidth of {self.bandwidth_mbit_s} Mbit/s cannot be used")
        if not 0 <= self.latency_ms < float("inf"):
            raise InvalidInputError(f"a link's latency of {self.latency_ms} ms cannot be used")
        if self.nj_per_byte is not None and not 0 <= self.nj_per_byte < float("inf"):
            raise InvalidInputError(f"{self.nj_per_byte} nJ a byte cannot be used")
        if self.transfer_bits is not None and self.transfer_bits not in TRANSFER_BITS:
            hint = f"Use {', '.join(map(str, TRANSFER_BITS))}."
            raise InvalidInputError(f"tensors cannot be sent in {self.transfer_bits} bits", hint=hint)

    def sent_bytes(self, cut: Cut) -> int:
        """Return the bytes that cross the link at a cut."""
        if self.transfer_bits is None:
            return cut.tensor_bytes
        return min(cut.tensor_bytes, -(-cut.elements * self.transfer_bits // 8))

    def transfer_ms(self, sent_bytes: int) -> float:
        """Return how long so many bytes take: the link's latency, and its bandwidth."""
        return self.latency_ms + sent_bytes * 8e-3 / self.bandwidth_mbit_s


@dataclass(frozen=True, slots=True)
class Split:
    """What one cut costs; energies are None where a device has none."""

    cut: Cut
    sent_bytes: int
    device_ms: float
    transfer_ms: float
    server_ms: float
    device_mj: float | None
    transfer_mj: float | None
    server_mj: float | None

    @property
    def latency_ms(self) -> float:
        """From input to answer."""
        return self.device_ms + self.transfer_ms + self.server_ms

    @property
    def energy_mj(self) -> float | None:
        """What the device's battery gives: its part and the radio; None where its own part is unknown."""
        return None if self.device_mj is None else self.device_mj + (self.transfer_mj or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        names = ("sent_bytes", "device_ms", "transfer_ms", "server_ms", "latency_ms")
        energies = ("device_mj", "transfer_mj", "server_mj", "energy_mj")
        return {
            "after": self.cut.after,
            "tensors": list(self.cut.tensors),
            "tensor_bytes": self.cut.tensor_bytes,
            **{name: getattr(self, name) for name in names + energies},
        }


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """All cuts of a network between a device and a server, and the best of them."""

    device: str
    server: str
    link: Link
    objective: Objective
    splits: tuple[Split, ...]
    best: Split
    energy_reason: str | None = None
    """Why there is no energy, where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form; the first split is the server alone, the last the device alone."""
        link = self.link
        return {
            "schema_version": SCHEMA_VERSION,
            "device": self.device,
            "server": self.server,
            "link": {
                "bandwidth_mbit_s": link.bandwidth_mbit_s,
                "latency_ms": link.latency_ms,
                "transfer_bits": link.transfer_bits,
                "nj_per_byte": link.nj_per_byte,
            },
            "objective": self.objective,
            "mode": "predicted",
            "energy_reason": self.energy_reason,
            "best": self.best.to_dict(),
            "splits": [split.to_dict() for split in self.splits],
        }


def plan_split(
    predictor: Predictor,
    model: ModelSource,
    *,
    device: str,
    server: str,
    link: Link,
    objective: Objective = "latency",
) -> SplitPlan:
    """Return what every cut of a network costs.

    UnknownNameError for devices that the predictor does not know; InvalidInputError for a network that
    cannot be cut, or an objective that the device cannot give.

    >>> plan = plan_split(predictor, "model.tflite", device="host-cpu", server="ethos-u85-1024",
    ...                   link=Link(bandwidth_mbit_s=20, latency_ms=5))       # doctest: +SKIP
    >>> plan.best.cut.after                                                   # doctest: +SKIP
    """
    graph = as_graph(model)
    cuts = find_cuts(graph)
    near, far = predictor.predict(graph, devices=[device, server]).predictions
    splits = _splits(cuts, _Part(near, graph), _Part(far, graph), link)
    reason = _energy_reason(near)
    if objective == "energy" and reason is not None:
        raise InvalidInputError(f"the energy on {device} cannot be predicted: {reason}", where="objective")
    best = min(splits, key=lambda s: s.latency_ms if objective == "latency" else s.energy_mj or 0.0)
    return SplitPlan(device, server, link, objective, splits, best, reason)


def as_graph(model: ModelSource) -> Graph:
    """Return the graph of a model given in any form."""
    from perfsage.graph import Graph, read_graph

    return model if isinstance(model, Graph) else read_graph(model)


class _Part:
    """Latency and energy of every first part of a network on one device, operators + 1 sums each."""

    def __init__(self, prediction: Prediction, graph: Graph) -> None:
        self.latency_ms = cumulative_latency(prediction, graph)
        energy = prediction.metrics[Metric.ENERGY_MJ]
        whole = self.latency_ms[-1]
        self.energy_mj = (
            [energy.value * part / whole for part in self.latency_ms]
            if isinstance(energy, Interval) and whole > 0
            else None
        )


def cumulative_latency(prediction: Prediction, graph: Graph) -> list[float]:
    """Return the latency of the first 0, 1, ... operators; InvalidInputError where there is none."""
    latency = prediction.metrics[Metric.LATENCY_MS]
    if not isinstance(latency, Interval):
        raise InvalidInputError(
            f"the latency on {prediction.device} cannot be predicted: {latency.reason}",
            hint="Choose another device.",
        )
    costs = {(cost.subgraph, cost.index): cost.latency_ms for cost in prediction.operators}
    sums = [0.0]
    for index in range(len(graph.subgraphs[0].operators)):
        sums.append(sums[-1] + costs.get((0, index), 0.0))
    return sums


def _energy_reason(prediction: Prediction) -> str | None:
    energy = prediction.metrics[Metric.ENERGY_MJ]
    return None if isinstance(energy, Interval) else energy.reason


def _splits(cuts: Sequence[Cut], near: _Part, far: _Part, link: Link) -> tuple[Split, ...]:
    return tuple(_split(cut, near, far, link, is_last=cut is cuts[-1]) for cut in cuts)


def _split(cut: Cut, near: _Part, far: _Part, link: Link, *, is_last: bool) -> Split:
    """Price one cut; after the last operator nothing is sent."""
    sent = 0 if is_last else link.sent_bytes(cut)
    server_mj = None if far.energy_mj is None else far.energy_mj[-1] - far.energy_mj[cut.after]
    return Split(
        cut=cut,
        sent_bytes=sent,
        device_ms=near.latency_ms[cut.after],
        transfer_ms=0.0 if is_last else link.transfer_ms(sent),
        server_ms=max(0.0, far.latency_ms[-1] - far.latency_ms[cut.after]),
        device_mj=None if near.energy_mj is None else near.energy_mj[cut.after],
        transfer_mj=None if link.nj_per_byte is None else 1e-6 * link.nj_per_byte * sent,
        server_mj=None if server_mj is None else max(0.0, server_mj),
    )

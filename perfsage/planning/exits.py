"""What leaving a network early would cost, at every place where a head could be attached.

A candidate exit is a cut that a single image crosses (HAPI, MESS): there a small head, a mean over the image
and a fully connected layer, can answer for easy inputs. The head's own cost is given as MACs and parameters,
which the file's operators do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from perfsage.errors import InvalidInputError
from perfsage.graph.costs import graph_macs, operator_costs
from perfsage.metrics import Metric
from perfsage.planning.cuts import Cut, find_cuts
from perfsage.planning.split import as_graph, cumulative_latency
from perfsage.prediction import SCHEMA_VERSION, Interval

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.predictor import ModelSource, Predictor

_IMAGE_RANK = 4


@dataclass(frozen=True, slots=True)
class Exit:
    """A place to leave: after so many operators, with what was spent until there, and what a head would add.

    `latency_ms` and `energy_mj` are without the head. `saved` is the share of the latency that an input
    saves which leaves here.
    """

    after: int
    tensor: int
    shape: tuple[int, ...]
    type: str
    macs: int
    macs_share: float
    latency_ms: float
    energy_mj: float | None
    saved: float
    head_macs: int
    head_parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        names = (
            "after", "tensor", "type", "macs", "macs_share", "latency_ms", "energy_mj", "saved", "head_macs",
            "head_parameters",
        )  # fmt: skip
        return {**{name: getattr(self, name) for name in names}, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class ExitPlan:
    """The candidate exits of a network on a device; `latency_ms` and `energy_mj` are those of all of it."""

    device: str
    classes: int
    latency_ms: float
    energy_mj: float | None
    exits: tuple[Exit, ...]

    def expected_latency_ms(self, policy: Sequence[tuple[int, float]]) -> float:
        """Return the mean latency when the share `p` of all inputs leaves after operator `after`.

        `policy` is a list of (after, p); the rest runs to the end. Heads are not counted.
        """
        known = {candidate.after: candidate.latency_ms for candidate in self.exits}
        shares = [share for _, share in policy]
        if any(share < 0 for share in shares) or sum(shares) > 1 + 1e-9:
            raise InvalidInputError("the shares of a policy lie between 0 and 1, and so does their sum")
        if unknown := [after for after, _ in policy if after not in known]:
            raise InvalidInputError(f"there is no exit after operator {unknown[0]}")
        early = sum(share * known[after] for after, share in policy)
        return early + (1 - sum(shares)) * self.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema_version": SCHEMA_VERSION,
            "device": self.device,
            "classes": self.classes,
            "mode": "predicted",
            "latency_ms": self.latency_ms,
            "energy_mj": self.energy_mj,
            "exits": [candidate.to_dict() for candidate in self.exits],
        }


def plan_exits(
    predictor: Predictor, model: ModelSource, *, device: str, classes: int | None = None
) -> ExitPlan:
    """Return every candidate exit with its cost; `classes` is that of the network's output without it.

    UnknownNameError for a device that the predictor does not know; InvalidInputError for a network with
    control flow.
    """
    graph = as_graph(model)
    cuts = find_cuts(graph)
    [prediction] = predictor.predict(graph, devices=[device]).predictions
    sums = cumulative_latency(prediction, graph)
    chosen = classes if classes is not None else _classes(graph)
    if chosen < 1:
        raise InvalidInputError(f"a head of {chosen} classes cannot be built", where="classes")
    energy = prediction.metrics[Metric.ENERGY_MJ]
    energy_mj = energy.value if isinstance(energy, Interval) else None
    exits = _exits(graph, cuts, sums, energy_mj, chosen)
    return ExitPlan(device, chosen, sums[-1], energy_mj, exits)


def _exits(
    graph: Graph, cuts: Sequence[Cut], sums: Sequence[float], energy_mj: float | None, classes: int
) -> tuple[Exit, ...]:
    costs = operator_costs(graph.subgraphs[0]).macs.clip(min=0)
    total = max(graph_macs(graph)[0], 1)
    found, macs, whole = [], 0, sums[-1] or 1.0
    for cut in cuts[1:-1]:
        macs += int(costs[cut.after - 1])
        shape = _image(graph, cut)
        if shape is None:
            continue
        part = sums[cut.after] / whole
        tensor = graph.subgraphs[0].tensors[cut.tensors[0]]
        found.append(
            Exit(
                after=cut.after, tensor=cut.tensors[0], shape=shape, type=tensor.type, macs=macs,
                macs_share=macs / total, latency_ms=sums[cut.after],
                energy_mj=None if energy_mj is None else energy_mj * part, saved=1 - part,
                head_macs=shape[0] * shape[3] * classes, head_parameters=(shape[3] + 1) * classes,
            )
        )  # fmt: skip
    return tuple(found)


def _image(graph: Graph, cut: Cut) -> tuple[int, ...] | None:
    """Return the shape of the one image that crosses a cut and was not there at the start."""
    subgraph = graph.subgraphs[0]
    if len(cut.tensors) != 1 or cut.tensors[0] in subgraph.inputs:
        return None
    shape = subgraph.tensors[cut.tensors[0]].shape
    return tuple(shape) if shape is not None and len(shape) == _IMAGE_RANK else None


def _classes(graph: Graph) -> int:
    subgraph = graph.subgraphs[0]
    shape = subgraph.tensors[subgraph.outputs[0]].shape if subgraph.outputs else None
    if not shape:
        raise InvalidInputError("the network's output has no shape", hint="Say how many classes there are.")
    return int(shape[-1])

"""From operator embeddings to latency, energy, memory and storage.

Latency, energy and storage are sums over operators of roofline times exp(bounded correction), so each
operator's share is known. Memory is a peak over time plus a sum of persistent bytes: the largest of the
operators' live bytes, up to what a device has. Where formulas are exact, nothing here may blur them: maxima
are maxima, and small corrections next to none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perfsage.models.physics import COMMON_TERMS, FITTED_TERMS, KEPT_TERMS, LIVE_COLUMNS, TERMS

if TYPE_CHECKING:
    from perfsage.models.gnn import GraphTensors

READOUTS = ("latency", "energy", "storage", "peak", "persistent")
METRIC_ORDER = ("latency_ms", "energy_mj", "peak_memory_bytes", "storage_bytes")
CORRECTION_LIMIT = 6.0
"""A correction stays within exp(+-6): a fused operator may cost next to nothing, a slow one 400 rooflines."""
DOUBT = 0.03
"""A correction of this size is halved, smaller ones nearly vanish: what the network cannot tell from noise
is left to the formulas."""
KEPT = [TERMS.index(name) for name in KEPT_TERMS]
TINY = 1e-30
OVERLAP = 4
"""The exponent of the power mean of the common terms of a latency."""
TERM_SCALE, MOST_SCALED = 1e-6, 1e5
"""Keep fourth powers of terms, and what their gradients are multiplied with, within the range of float32."""
NO_PEAK = -60.0
"""The logarithm of the bytes of no operator at all."""
LEAST_WORK = 1e-24
"""Added to the fourth power of milliseconds: the gradient of what takes no time at all stays finite."""


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """Per device: `vectors` [d, 5, w], `biases` [d, 5], `log_rates` [d, 4, terms], `log_limits` [d] in bytes.

    Rates are those of latency, energy, storage and memory; `concurrent` int64[d, 3] are the terms of which
    the slowest counts.
    """

    vectors: Tensor
    biases: Tensor
    log_rates: Tensor
    log_limits: Tensor
    concurrent: Tensor


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network says, in log units but for `operator_latency` in ms.

    `log_values` and `log_spread` [g, d, 4] in METRIC_ORDER, `operator_latency` [n, d], `pooled` [g, 2w],
    `corrections` [n, d, 5] in the order of READOUTS.
    """

    log_values: Tensor
    log_spread: Tensor
    operator_latency: Tensor
    pooled: Tensor
    corrections: Tensor


def read_out(hidden: Tensor, inputs: GraphTensors, table: DeviceTable, spread: nn.Linear) -> Outputs:
    """Return the totals of each graph and the latency of each operator.

    Everything that is summed over a graph is summed in one call: on small graphs calls cost more than sums.
    """
    devices, width, graphs = table.log_limits.shape[0], hidden.shape[1], inputs.sizes.shape[0]
    corrections = _corrections(hidden, table)
    costs = _costs(inputs, table, corrections[:, :, :3])
    kept = inputs.terms[:, KEPT] @ table.log_rates[:, 3, KEPT].exp().T
    persistent = kept * corrections[:, :, 4].exp()
    sums = torch.cat([costs.flatten(1), persistent, hidden, hidden * hidden], dim=1)
    sums = torch.zeros(graphs, sums.shape[1], device=sums.device).index_add(0, inputs.graph, sums)
    parts = torch.split(sums, [3 * devices, devices, width, width], dim=1)
    log_costs = (parts[0].view(-1, devices, 3) + TINY).log()
    memory = torch.logaddexp(_peaks(inputs, table, corrections[:, :, 3]), (parts[1] + TINY).log())
    values = torch.stack([log_costs[..., 0], log_costs[..., 1], memory, log_costs[..., 2]], dim=2)
    count = inputs.sizes[:, None]
    pooled = torch.cat([parts[2] / count, (parts[3] / count + TINY).sqrt()], dim=1)
    log_spread = spread(pooled.detach()).view(-1, devices, 4).clamp(-9.0, 3.0)
    return Outputs(values, log_spread, costs[:, :, 0], pooled, corrections)


def _corrections(hidden: Tensor, table: DeviceTable) -> Tensor:
    """Return bounded log factors, [n, d, 5] in the order of READOUTS."""
    raw = hidden @ table.vectors.flatten(0, 1).T + table.biases.flatten()
    bounded = CORRECTION_LIMIT * torch.tanh(raw / CORRECTION_LIMIT)
    sure = bounded * bounded.abs() / (bounded.abs() + DOUBT)
    return sure.view(-1, table.log_limits.shape[0], len(READOUTS))


def _costs(inputs: GraphTensors, table: DeviceTable, corrections: Tensor) -> Tensor:
    """Return latency, energy and storage of each operator, [n, d, 3]."""
    rates = table.log_rates.exp()
    sums = inputs.terms @ rates[:, 1:3].flatten(0, 1).T
    latency = _latency(inputs.terms, rates[:, 0], table.concurrent)
    roofline = torch.cat([latency[:, :, None], sums.view(-1, table.log_limits.shape[0], 2)], dim=2)
    return (roofline + TINY) * corrections.exp()


def _latency(terms: Tensor, rates: Tensor, concurrent: Tensor) -> Tensor:
    """Return the milliseconds of each operator before correction, [n, d], from `rates` [d, terms].

    What takes time goes on at the same time. Of what an accelerator's compiler says of it the largest counts,
    of common terms a power mean, both after an overhead; what a CPU does comes one after the other.
    """
    common = len(COMMON_TERMS)
    work = (terms[:, 1 : len(FITTED_TERMS)] * TERM_SCALE).clamp(max=MOST_SCALED)
    scaled = rates[:, 1 : len(FITTED_TERMS)] / TERM_SCALE
    limits = work[:, : common - 1].pow(OVERLAP) @ scaled[:, : common - 1].pow(OVERLAP).T
    limits = limits + (work[:, common - 1 :] @ scaled[:, common - 1 :].T).pow(OVERLAP)
    slowest = (terms[:, concurrent] * rates.gather(1, concurrent)).amax(dim=2)
    return terms[:, :1] * rates[:, 0] + torch.maximum((limits + LEAST_WORK).pow(1 / OVERLAP), slowest)


def _peaks(inputs: GraphTensors, table: DeviceTable, corrections: Tensor) -> Tensor:
    """Return the logarithm of the largest corrected live bytes of each graph, [g, d]."""
    count = len(LIVE_COLUMNS)
    live = inputs.terms[:, -count:] @ table.log_rates[:, 3, -count:].exp().T
    live = torch.minimum((live + 1.0).log(), table.log_limits) + corrections
    graphs = inputs.graph[:, None].expand(-1, live.shape[1])
    none = torch.full((inputs.sizes.shape[0], live.shape[1]), NO_PEAK, device=live.device)
    return none.scatter_reduce(0, graphs, live, "amax")

"""From operator embeddings to latency, energy, memory and storage.

Latency, energy and storage are sums over operators of roofline times exp(bounded correction), so each
operator's share is known. Memory is a peak over time plus a sum of persistent bytes: a soft maximum over
operators of their live bytes, up to what a device has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perfsage.models.physics import MEMORY_TERMS

if TYPE_CHECKING:
    from perfsage.models.gnn import GraphTensors

READOUTS = ("latency", "energy", "storage", "peak", "persistent")
METRIC_ORDER = ("latency_ms", "energy_mj", "peak_memory_bytes", "storage_bytes")
CORRECTION_LIMIT = 6.0
"""A correction stays within exp(+-6): a fused operator may cost next to nothing, a slow one 400 rooflines."""
PEAK_SHARPNESS, MOST_EXPONENT = 32.0, 60.0
"""An operator that keeps a tenth less than the peak weighs a thirtieth; exponents stay within float32."""
PERSISTENT_BYTES = 64.0
TINY = 1e-30
OVERLAP = 4
"""The exponent of the power mean of the terms of a latency."""
TERM_SCALE, MOST_SCALED = 1e-6, 1e5
"""Keep fourth powers of terms, and what their gradients are multiplied with, within the range of float32."""
LEAST_WORK = 1e-24
"""Added to the fourth power of milliseconds: the gradient of what takes no time at all stays finite."""


@dataclass(frozen=True, slots=True)
class DeviceTable:
    """Per device: `vectors` [d, 5, w], `biases` [d, 5], `log_rates` [d, 4, terms], `log_limits` [d] in bytes.

    Rates are those of latency, energy, storage and memory.
    """

    vectors: Tensor
    biases: Tensor
    log_rates: Tensor
    log_limits: Tensor


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
    devices, width, graphs = table.log_limits.shape[0], hidden.shape[1], inputs.live_peak.shape[0]
    corrections = _corrections(hidden, table)
    costs = _costs(inputs, table, corrections[:, :, :3])
    live, weight = _peaks(inputs, table, corrections[:, :, 3])
    persistent = PERSISTENT_BYTES * corrections[:, :, 4].exp()
    ones = torch.ones_like(hidden[:, :1])
    summed = [costs.flatten(1), weight, weight * live, persistent, hidden, hidden * hidden, ones]
    sums = torch.cat(summed, dim=1)
    sums = torch.zeros(graphs, sums.shape[1], device=sums.device).index_add(0, inputs.graph, sums)
    parts = torch.split(sums, [3 * devices, devices, devices, devices, width, width, 1], dim=1)
    log_costs = (parts[0].view(-1, devices, 3) + TINY).log()
    memory = torch.logaddexp(parts[2] / (parts[1] + TINY), (parts[3] + TINY).log())
    values = torch.stack([log_costs[..., 0], log_costs[..., 1], memory, log_costs[..., 2]], dim=2)
    count = parts[6].clamp(min=1.0)
    pooled = torch.cat([parts[4] / count, (parts[5] / count + TINY).sqrt()], dim=1)
    log_spread = spread(pooled.detach()).view(-1, devices, 4).clamp(-9.0, 3.0)
    return Outputs(values, log_spread, costs[:, :, 0], pooled, corrections)


def _corrections(hidden: Tensor, table: DeviceTable) -> Tensor:
    """Return bounded log factors, [n, d, 5] in the order of READOUTS."""
    raw = hidden @ table.vectors.flatten(0, 1).T + table.biases.flatten()
    return (CORRECTION_LIMIT * torch.tanh(raw / CORRECTION_LIMIT)).view(
        -1, table.log_limits.shape[0], len(READOUTS)
    )


def _costs(inputs: GraphTensors, table: DeviceTable, corrections: Tensor) -> Tensor:
    """Return latency, energy and storage of each operator, [n, d, 3].

    What takes time goes on at the same time: the largest term counts, by a power mean, after an overhead.
    """
    rates = table.log_rates.exp()
    sums = inputs.terms @ rates[:, 1:3].flatten(0, 1).T
    work = (inputs.terms[:, 1:] * TERM_SCALE).clamp(max=MOST_SCALED).pow(OVERLAP)
    limits = work @ (rates[:, 0, 1:] / TERM_SCALE).pow(OVERLAP).T
    latency = inputs.terms[:, :1] * rates[:, 0, 0] + (limits + LEAST_WORK).pow(1 / OVERLAP)
    roofline = torch.cat([latency[:, :, None], sums.view(-1, table.log_limits.shape[0], 2)], dim=2)
    return (roofline + TINY) * corrections.exp()


def _peaks(inputs: GraphTensors, table: DeviceTable, corrections: Tensor) -> tuple[Tensor, Tensor]:
    """Return each operator's corrected log live bytes and its weight in the soft maximum, [n, d]."""
    rates = table.log_rates[:, 3].exp().T
    live = _limited(inputs.terms @ rates, table) + corrections
    # Relative to the graph's largest live size exponents are small: no maximum is needed.
    reference = _limited(inputs.live_peak @ rates[MEMORY_TERMS], table).index_select(0, inputs.graph)
    exponent = (PEAK_SHARPNESS * (live - reference)).clamp(-MOST_EXPONENT, MOST_EXPONENT)
    return live, exponent.exp()


def _limited(live: Tensor, table: DeviceTable) -> Tensor:
    """Return the logarithm of bytes, at most what the devices have."""
    return torch.minimum((live + 1.0).log(), table.log_limits)

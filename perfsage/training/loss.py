"""The loss: mean absolute log-ratio, which for small errors is the mean absolute percentage error."""

from __future__ import annotations

import torch
from torch import Tensor

from perfsage.models.readout import METRIC_ORDER, READOUTS, Outputs
from perfsage.training.corpus import Batch

CORRECTION_WEIGHT = 0.1
"""What nothing speaks against stays at the formulas: rates and corrections cannot drift apart. An operator's
correction weighs about a fiftieth of its error."""
MEASURED_LATENCY_WEIGHT = 6.0
"""Latencies that no formula describes are learned by a trunk whose other labels are mostly exact to begin
with: weighing as much as these, they were a fifth further off in short trainings."""
_HELD = [READOUTS.index(name) for name in ("latency", "energy", "peak")]


def label_weights(formulas: Tensor) -> Tensor:
    """Return what a label of each device and metric weighs, float32[d, 4].

    `formulas` float32[d] is 1 for the accelerators that formulas describe, 0 for everything else.
    """
    weights = torch.ones(len(formulas), len(METRIC_ORDER), device=formulas.device)
    latency = METRIC_ORDER.index("latency_ms")
    weights[:, latency] = torch.where(formulas > 0, 1.0, MEASURED_LATENCY_WEIGHT)
    return weights


def batch_loss(
    outputs: Outputs, batch: Batch, weights: Tensor, operator_weight: float
) -> tuple[Tensor, float]:
    """Return the loss to minimise, and the mean absolute log-ratio to show; `weights` as in `label_weights`.

    Labels weigh alike: means per device would make much of the few labels of rare ones. The spread learns the
    scale of a Laplace distribution of the errors without moving the predictions.
    """
    known = torch.isfinite(batch.log_labels)
    error = torch.where(known, outputs.log_values - torch.nan_to_num(batch.log_labels), 0.0).abs()
    labels = known.sum().clamp(min=1)
    likelihood = outputs.log_spread + error.detach() * (-outputs.log_spread).exp()
    spread = torch.where(known, likelihood, 0.0).sum() / labels
    held = outputs.corrections[..., _HELD].square().mean()
    loss = (error * weights).sum() / labels + 0.01 * spread + CORRECTION_WEIGHT * held
    if batch.operator_labels is not None and operator_weight > 0:
        loss = loss + operator_weight * _operator_loss(outputs.operator_latency, batch)
    return loss, float(error.detach().sum() / labels)


def _operator_loss(predicted: Tensor, batch: Batch) -> Tensor:
    """Return the absolute error of the operators' shares, relative to the graph's own latency.

    Fused operators have a label of zero, which a log-ratio could not take.
    """
    assert batch.operator_labels is not None
    known = torch.isfinite(batch.operator_labels)
    truth = torch.nan_to_num(batch.operator_labels)
    graphs = batch.log_labels.shape[0]
    totals = torch.zeros(graphs, truth.shape[1], device=truth.device).index_add(0, batch.inputs.graph, truth)
    relative = (predicted - truth).abs() / totals[batch.inputs.graph].clamp(min=1e-12)
    labelled = (totals > 0).sum().clamp(min=1)
    return torch.where(known, relative, 0.0).sum() / labelled

"""All examples laid end to end once, so that a batch is one gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from perfsage.features import FeatureBatch, batch_features
from perfsage.models.gnn import GraphTensors
from perfsage.models.physics import term_columns
from perfsage.training.examples import Example, label_tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of some graphs, `log_labels` [g, d, 4] (NaN: no label) and `operator_labels` [n, d] or None."""

    inputs: GraphTensors
    log_labels: torch.Tensor
    operator_labels: torch.Tensor | None


class Corpus:
    """Examples as flat arrays, with batches by index."""

    def __init__(self, examples: Sequence[Example], devices: Sequence[str]) -> None:
        self.flat = batch_features([example.features for example in examples])
        self.terms = term_columns(self.flat.physical).astype(np.float32)
        with np.errstate(divide="ignore"):
            logs = np.log(label_tensor(examples, devices))
        self.log_labels = np.where(np.isfinite(logs), logs, np.nan).astype(np.float32)
        self.operator_labels = _operator_labels(examples, devices)
        edges = [len(example.features.source) for example in examples]
        self.edge_offsets = np.concatenate([[0], np.cumsum(edges)]).astype(np.int64)

    def __len__(self) -> int:
        return self.flat.graphs

    def term_totals(self) -> NDArray[np.float64]:
        """Return the term sums of each graph, float64[graphs, terms]."""
        totals = np.zeros((len(self), self.terms.shape[1]))
        np.add.at(totals, self.flat.graph, self.terms.astype(np.float64))
        return totals

    def batch(self, indices: NDArray[np.int64], device: torch.device) -> Batch:
        """Gather the graphs `indices` onto `device`."""
        rows, sizes = _ranges(self.flat.offsets, indices)
        edges, edge_counts = _ranges(self.edge_offsets, indices)
        shift = np.concatenate([[0], np.cumsum(sizes)[:-1]]) - self.flat.offsets[indices]
        edge_shift = np.repeat(shift, edge_counts)
        part = FeatureBatch(
            type_index=self.flat.type_index[rows],
            node=self.flat.node[rows],
            physical=self.flat.physical[rows],
            source=self.flat.source[edges] + edge_shift,
            target=self.flat.target[edges] + edge_shift,
            graph=np.repeat(np.arange(len(indices)), sizes),
            totals=self.flat.totals[indices],
            offsets=np.concatenate([[0], np.cumsum(sizes)]),
        )
        operators = self.operator_labels
        return Batch(
            inputs=to_tensors(part, self.terms[rows], device),
            log_labels=torch.from_numpy(self.log_labels[indices]).to(device),
            operator_labels=None if operators is None else torch.from_numpy(operators[rows]).to(device),
        )


def to_tensors(batch: FeatureBatch, terms: NDArray[np.float32], device: torch.device) -> GraphTensors:
    """Return the network's inputs for a batch of features."""

    def tensor(values: NDArray[np.generic]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    return GraphTensors(
        type_index=tensor(batch.type_index),
        node=tensor(batch.node),
        terms=tensor(terms),
        sizes=tensor(np.diff(batch.offsets).astype(np.float32)),
        graph=tensor(batch.graph),
        source=tensor(batch.source),
        target=tensor(batch.target),
    )


def _ranges(
    offsets: NDArray[np.int64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the flat rows of the segments `indices`, and how many each has."""
    starts, sizes = offsets[indices], offsets[indices + 1] - offsets[indices]
    before = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(starts - before, sizes), sizes


def _operator_labels(examples: Sequence[Example], devices: Sequence[str]) -> NDArray[np.float32] | None:
    if not any(example.operator_latency_ms for example in examples):
        return None
    parts = []
    for example in examples:
        missing = np.full(example.features.operators, np.nan)
        parts.append(np.stack([example.operator_latency_ms.get(d, missing) for d in devices], axis=1))
    return np.concatenate(parts).astype(np.float32)

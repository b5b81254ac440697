"""Top-1 accuracy and the area under the ROC curve, from what a board answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answer:
    """A file's label and the mean of the board's results over its windows."""

    file: str
    label: int
    scores: tuple[float, ...]


def top1(answers: Sequence[Answer]) -> float:
    """Return the share of files whose largest score is their label's."""
    return float(np.mean([int(np.argmax(answer.scores)) == answer.label for answer in answers]))


def mean_auc(answers: Sequence[Answer]) -> float | None:
    """Return the mean area over the classes, one against all; None when only one class was seen.

    A single score an answer is an anomaly score: class 1 against class 0.
    """
    labels = np.array([answer.label for answer in answers])
    scores = np.array([answer.scores for answer in answers])
    classes = [1] if scores.shape[1] == 1 else range(scores.shape[1])
    areas = [_auc(scores[:, -1 if scores.shape[1] == 1 else c], labels == c) for c in classes]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _auc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """Return the chance that a positive scores above a negative, ties counting half (Mann-Whitney)."""
    above, below = scores[positive], np.sort(scores[~positive])
    if not len(above) or not len(below):
        return None
    lower, upper = np.searchsorted(below, above, "left"), np.searchsorted(below, above, "right")
    return float(np.mean((lower + upper) / 2) / len(below))

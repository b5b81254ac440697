"""Predict models that have names: files on the command line, parts of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from api.workflows.models import read_graph_file

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from perfsage.prediction import Report
    from perfsage.predictor import Predictor

Named = tuple[str | None, "Graph"]
"""A graph and the name that its predictions carry as the model's path."""


def predict_files(
    paths: Sequence[Path],
    *,
    predictor: str,
    devices: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> Report:
    """Predict every file with the predictor of that name or folder.

    Devices and metrics default to all that the predictor knows. PredictorError when the predictor cannot
    be used, UnknownNameError for devices and metrics, InvalidModelError or InvalidInputError for a file.
    """
    from perfsage.predictor import load_predictor

    loaded = load_predictor(predictor)
    graphs = [(str(path), read_graph_file(path)) for path in paths]
    return predict_graphs(loaded, graphs, devices=devices, metrics=metrics)


def predict_graphs(
    predictor: Predictor,
    graphs: Sequence[Named],
    *,
    devices: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> Report:
    """Predict all graphs at once; the predictions of each carry its name as the model's path."""
    report = predictor.predict([graph for _, graph in graphs], _distinct(devices), _distinct(metrics))
    per_graph = len(report.predictions) // len(graphs)
    names = [name for name, _ in graphs for _ in range(per_graph)]
    named = (
        replace(prediction, model=replace(prediction.model, path=name))
        for name, prediction in zip(names, report.predictions, strict=True)
    )
    return replace(report, predictions=tuple(named))


def _distinct(names: Sequence[str] | None) -> list[str] | None:
    return list(dict.fromkeys(names)) if names else None

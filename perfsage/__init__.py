"""What a neural network will cost on an edge device: latency, energy and memory.

>>> import perfsage
>>> predictor = perfsage.load_predictor("my-predictor")      # doctest: +SKIP
>>> report = predictor.predict("model.tflite")               # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perfsage.client import AsyncClient as AsyncClient
    from perfsage.client import Client as Client
    from perfsage.device import Device
    from perfsage.errors import PerfsageError
    from perfsage.graph import Graph, read_graph
    from perfsage.metrics import Metric
    from perfsage.prediction import (
        Interval,
        ModelSummary,
        OperatorCost,
        Prediction,
        PredictorInfo,
        Report,
        Unavailable,
    )
    from perfsage.predictor import Predictor, load_predictor

_HOMES = {
    "AsyncClient": "perfsage.client",
    "Client": "perfsage.client",
    "Device": "perfsage.device",
    "Graph": "perfsage.graph",
    "Interval": "perfsage.prediction",
    "Metric": "perfsage.metrics",
    "ModelSummary": "perfsage.prediction",
    "OperatorCost": "perfsage.prediction",
    "PerfsageError": "perfsage.errors",
    "Prediction": "perfsage.prediction",
    "Predictor": "perfsage.predictor",
    "PredictorInfo": "perfsage.prediction",
    "Report": "perfsage.prediction",
    "Unavailable": "perfsage.prediction",
    "load_predictor": "perfsage.predictor",
    "read_graph": "perfsage.graph",
}

__all__ = [
    "Device",
    "Graph",
    "Interval",
    "Metric",
    "ModelSummary",
    "OperatorCost",
    "PerfsageError",
    "Prediction",
    "Predictor",
    "PredictorInfo",
    "Report",
    "Unavailable",
    "load_predictor",
    "read_graph",
]
"""Without the clients, which need the extra `client`, so that `from perfsage import *` works without it."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import perfsage` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

"""The exported network on ONNX Runtime: no torch, no DGL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from perfsage.errors import PredictorError
from perfsage.features import FeatureBatch
from perfsage.models.physics import term_columns

INPUT_NAMES = ("type_index", "node", "terms", "sizes", "graph", "source", "target")
OUTPUT_NAMES = ("log_values", "log_spread", "operator_latency", "pooled")


@dataclass(frozen=True, slots=True)
class RawOutputs:
    """What the network says, before calibration, for g graphs of n operators on d devices.

    `log_values` float32[g, d, 4] and `log_spread` likewise, in METRIC_ORDER; `operator_latency` float32[n, d]
    in ms; `pooled` float32[g, 2w] places each graph among the others.
    """

    log_values: NDArray[np.float32]
    log_spread: NDArray[np.float32]
    operator_latency: NDArray[np.float32]
    pooled: NDArray[np.float32]


class NetworkSession:
    """An ONNX Runtime session over a predictor's `model.onnx`, on one thread.

    With two, ONNX Runtime 1.32 adds up rows of the same graph at the same time and loses some: totals of a
    call of 64 graphs were up to a half too low.
    """

    def __init__(self, path: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
            raise PredictorError(
                f"the network cannot be loaded: {error}", where=str(path), hint="Get the predictor again."
            ) from error
        if {value.name for value in self._session.get_inputs()} != set(INPUT_NAMES):
            raise PredictorError("the network has other inputs than this version feeds", where=str(path))

    def run(self, batch: FeatureBatch) -> RawOutputs:
        """Predict every graph of `batch` on every device, in one call."""
        return RawOutputs(*self._session.run(list(OUTPUT_NAMES), network_inputs(batch)))


def network_inputs(batch: FeatureBatch) -> dict[str, NDArray[np.generic]]:
    """Return the network's inputs by name.

    Accelerators that were not estimated cost nothing: who predicts for one has asked for it.
    """
    return {
        "type_index": batch.type_index,
        "node": batch.node,
        "terms": np.nan_to_num(term_columns(batch.physical).astype(np.float32), copy=False, nan=0.0),
        "sizes": np.diff(batch.offsets).astype(np.float32),
        "graph": batch.graph,
        "source": batch.source,
        "target": batch.target,
    }

"""What Vela says of single operators, beside the formulas alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from perfsage.features import extract_features
from perfsage.graph import read_graph
from perfsage.models.physics import FITTED_TERMS, term_columns, unit_rates
from profilers.npu.configuration import parse_configuration
from profilers.npu.tasks import compile_model


def operator_cycles(device: str, data: bytes) -> tuple[NDArray[np.str_], NDArray[np.float64], dict[int, int]]:
    """Return types and our cycles of all operators, and Vela's by operator.

    Ours are the most of cycles and of what memories take.
    """
    configuration = parse_configuration(device)
    rates = unit_rates(configuration.descriptors())
    assert rates is not None
    features = extract_features(read_graph(data))
    each = term_columns(features.physical) * rates * configuration.clock_hz / 1e3
    layers = compile_model(data, {"device": device, "layers": True})["layers"]
    theirs = {index: cycles for index, cycles, _ in layers}
    return features.type_names, each[:, len(FITTED_TERMS) :].max(axis=1), theirs

"""NASWOT: how well an untrained network tells inputs apart, a proxy for the accuracy it could be trained to.

It is a proxy, not an accuracy: it ranks networks of one space and says nothing absolute. Larger networks
score higher, since they have more units. "Neural Architecture Search without Training" (arXiv:2006.04647):
each ReLU unit is on or off for an input; two inputs are alike in as many units as agree; the score is the
logarithm of the determinant of that kernel.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import InvalidInputError, MissingExtraError
from perfsage.graph import read_graph

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as error:
    raise MissingExtraError("ai-edge-litert", "nas") from error

_RELUS = ("RELU", "RELU6", "RELU_N1_TO_1")
_FUSED = (1, 2, 3)
"""The numbers of these activations where they are fused into another operator."""


def naswot(model: bytes, *, inputs: int = 16, seed: int = 0) -> float:
    """Return the score of a float32 model with one input, over `inputs` draws from a normal distribution.

    Minus infinity when two inputs cannot be told apart. InvalidInputError for a model without ReLU.
    """
    units = _relu_outputs(model)
    if not units:
        raise InvalidInputError("the model has no ReLU, which NASWOT counts", hint="Use another proxy.")
    codes = _codes(model, units, inputs, seed)
    alike = codes @ codes.T + (1 - codes) @ (1 - codes).T
    sign, logarithm = np.linalg.slogdet(alike)
    return float(logarithm) if sign > 0 else -math.inf


def _relu_outputs(model: bytes) -> list[int]:
    main = read_graph(model).subgraphs[0]
    return [
        operator.outputs[0]
        for operator in main.operators
        if operator.type in _RELUS or operator.attributes.get("fused_activation_function") in _FUSED
    ]


def _codes(model: bytes, units: list[int], inputs: int, seed: int) -> NDArray[np.float64]:
    """Return which units are on, 0 or 1 [inputs, units]."""
    interpreter = Interpreter(
        model_content=model,
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    [entry] = interpreter.get_input_details()
    if entry["dtype"] is not np.float32:
        raise InvalidInputError("NASWOT needs a float32 model", hint="Build the candidate as float32.")
    draws = np.random.default_rng(seed)
    return np.stack([_code(interpreter, entry, units, draws) for _ in range(inputs)])


def _code(
    interpreter: Any, entry: dict[str, Any], units: list[int], draws: np.random.Generator
) -> NDArray[np.float64]:
    interpreter.set_tensor(entry["index"], draws.standard_normal(entry["shape"]).astype(np.float32))
    interpreter.invoke()
    return np.concatenate([(interpreter.get_tensor(unit) > 0).ravel() for unit in units]).astype(np.float64)

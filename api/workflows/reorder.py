"""Reorder a model, and run it and the original to see that they answer the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from perfsage.errors import InvalidInputError
from perfsage.graph import reorder as operators
from perfsage.graph.reorder import Reordering
from profilers.workers import Job, WorkerPool

RUN_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class CheckedReordering:
    """A reordering; `unchecked` says why the two models' outputs could not be compared, None if they were."""

    reordering: Reordering
    unchecked: str | None


def reorder_checked(data: bytes) -> CheckedReordering:
    """Return the reordered model, whose outputs for random inputs are bit-identical to the original's.

    Raises InvalidInputError where they are not, and where `perfsage.graph.reorder.reorder` does.
    """
    found = operators.reorder(data)
    if found.data == data:
        return CheckedReordering(found, None)
    if find_spec("ai_edge_litert") is None:
        return CheckedReordering(found, "LiteRT is not installed (pip install 'perfsage[profilers]')")
    with WorkerPool(1, name="reorder") as pool:
        before, after = (pool.run(_job(model)) for model in (data, found.data))
    if before.value is None or after.value is None:
        reason = before.failure or before.unsupported or after.failure or after.unsupported
        return CheckedReordering(found, reason)
    first, second = before.value["digests"]
    if first != second:
        return CheckedReordering(found, "the model answers differently each time")
    if after.value["digests"][0] != first:
        raise InvalidInputError(
            "the reordered model computes something else, so it was not written",
            where="LiteRT's reference kernels",
            hint="Please report this model: its operators depend on each other in a way that was not seen.",
        )
    return CheckedReordering(found, None)


def _job(model: bytes) -> Job:
    return Job(tool="LiteRT", task="api.workflows.reorder:run_twice", data=model, timeout_s=RUN_TIMEOUT_S)


def run_twice(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """In a worker: run a model on the same random inputs in two interpreters; the digests of the outputs."""
    return {"digests": [_digest(data), _digest(data)]}


def _digest(data: bytes) -> str:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from profilers.host.inputs import input_arrays

    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for index, array in input_arrays(interpreter.get_input_details()).items():
        interpreter.set_tensor(index, array)
    interpreter.invoke()
    digest = hashlib.sha256()
    for detail in interpreter.get_output_details():
        digest.update(interpreter.get_tensor(detail["index"]).tobytes())
    return digest.hexdigest()

"""Measuring with LiteRT inside the one worker process of the host profiler.

A model is loaded once (`load`), which also measures its start and its heap, and then visited several times
between visits of other models (`visit`), until it is dropped. When the process was replaced in between,
because another model crashed it, `visit` answers `missing` and the parent loads the model again.
"""

from __future__ import annotations

import ctypes
import gc
import time
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

from profilers.host.inputs import input_arrays
from profilers.host.rapl import read_energy_uj
from profilers.worker import UnsupportedError

_loaded: dict[str, Interpreter] = {}
_warm = False
_MAX_SLOW_RUN_S = 1.0
_ADVICE = "See instructions: https://www.tensorflow.org/lite/guide/ops_custom"


class _MallInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc's malloc.h."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def load(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Load a model under `key` and run it once; return times in ms and heap bytes.

    `heap_bytes` is the most that glibc's heap held after loading, planning and the first inference, above
    what it held before; it does not count the file's own bytes, which LiteRT uses in place. The first model
    of a process is loaded twice, so that the runtime's own one-time allocations are not counted.
    """
    global _warm
    if not _warm:
        _load(data, arguments)
        _warm = True
    interpreter, answer = _load(data, arguments)
    _loaded[arguments["key"]] = interpreter
    return answer


def visit(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run the model under `key` for `visit_ms`, twice at least; return the fastest run in ms.

    A model that takes more than a second an inference is run once.
    """
    interpreter = _loaded.get(arguments["key"])
    if interpreter is None:
        return {"missing": True}
    runs: list[int] = []
    energy_before = read_energy_uj()
    begin = time.perf_counter_ns()
    end = begin + int(arguments["visit_ms"] * 1e6)
    while not runs or ((len(runs) < 2 or time.perf_counter_ns() < end) and runs[0] < _MAX_SLOW_RUN_S * 1e9):
        start = time.perf_counter_ns()
        interpreter.invoke()
        runs.append(time.perf_counter_ns() - start)
    answer: dict[str, Any] = {"best_ms": min(runs) * 1e-6, "runs": len(runs)}
    energy_after = read_energy_uj()
    if energy_before is not None and energy_after is not None and energy_after >= energy_before:
        answer["energy_mj"] = (energy_after - energy_before) * 1e-3 / len(runs)
    return answer


def drop(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Forget a model."""
    _loaded.pop(arguments["key"], None)
    return {}


def _load(data: bytes, arguments: dict[str, Any]) -> tuple[Interpreter, dict[str, Any]]:
    heap = [_heap_bytes()]
    begin = time.perf_counter_ns()
    interpreter = Interpreter(
        model_content=data,
        num_threads=arguments["threads"],
        experimental_op_resolver_type=_resolver(arguments["xnnpack"]),
    )
    notes = _resize_dynamic(interpreter)
    _allocate(interpreter)
    init_ns = time.perf_counter_ns() - begin
    heap.append(_heap_bytes())
    arrays = input_arrays(interpreter.get_input_details())
    heap.append(_heap_bytes())
    for index, array in arrays.items():
        interpreter.set_tensor(index, array)
    begin = time.perf_counter_ns()
    interpreter.invoke()
    first_ns = time.perf_counter_ns() - begin
    inputs_bytes = heap[2] - heap[1]
    used = max(heap[1], _heap_bytes() - inputs_bytes) - heap[0]
    partitions = sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())
    return interpreter, {
        "init_ms": init_ns * 1e-6,
        "first_inference_ms": first_ns * 1e-6,
        "heap_bytes": max(0, used),
        "delegate_partitions": partitions,
        "notes": notes,
    }


def _allocate(interpreter: Interpreter) -> None:
    """Plan the tensors; an operator without a kernel is the model's fault, not the tool's."""
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        reason = " ".join(str(error).replace(_ADVICE, "").split())
        raise UnsupportedError(f"LiteRT refuses the model: {reason}") from None


def _resize_dynamic(interpreter: Interpreter) -> list[str]:
    """Set every dynamic dimension of an input to 1, and say so."""
    notes = []
    for detail in interpreter.get_input_details():
        signature = [int(size) for size in detail["shape_signature"]]
        if any(size < 0 for size in signature):
            shape = [1 if size < 0 else size for size in signature]
            if shape != [int(size) for size in detail["shape"]]:
                interpreter.resize_tensor_input(detail["index"], shape)
            notes.append(f"input {detail['name']!r} has dynamic dimensions {signature}: measured at {shape}")
    return notes


def _resolver(xnnpack: bool) -> Any:
    return OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES


def _heap_bytes() -> int:
    info = _mallinfo2()
    return int(info.uordblks + info.hblkhd)


# A collection in the middle of a measurement would take time and lower the heap; a full one takes as long as
# half a visit. References are counted, and the process is renewed before its few cycles matter.
gc.disable()
_mallinfo2 = ctypes.CDLL(None).mallinfo2
_mallinfo2.restype = _MallInfo

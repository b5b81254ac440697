"""Planning a model's memory with TensorFlow Lite Micro, inside a worker process."""

from __future__ import annotations

import re
from typing import Any

from tflite_micro.python.tflite_micro import runtime

from profilers.worker import UnsupportedError, printed

_TOTAL = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
_TOO_SMALL = re.compile(r"Failed to (?:resize|allocate)|[Aa]rena size is too small|Requested: \d+, available")
_MISSING = re.compile(r"(?:Didn't find op for builtin opcode '|registration from op code )(\w+)")


def plan_memory(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the bytes of the arena that TFLM uses: total, head and tail.

    The arena grows fourfold until the model fits or `max_arena_bytes` is reached.
    """
    arena = int(arguments["arena_bytes"])
    while True:
        try:
            return _plan(data, arena, int(arguments["resource_variables"]))
        except RuntimeError as error:
            said = printed()
            if not _TOO_SMALL.search(said) or arena >= arguments["max_arena_bytes"]:
                raise _refusal(said, error) from None
        arena = min(4 * arena, int(arguments["max_arena_bytes"]))


def _plan(data: bytes, arena: int, resource_variables: int) -> dict[str, Any]:
    """Load the model and read what the recording allocator prints.

    `runtime.Interpreter` would parse the whole file in Python to count the resource variables, which takes
    longer than all the rest; the graph knows the number already.
    """
    recording = runtime._ENUM_TRANSLATOR[runtime.InterpreterConfig.kAllocationRecording]
    wrapper = runtime._runtime.InterpreterWrapper
    interpreter = wrapper(data, [], arena, resource_variables, recording, 0)
    interpreter.PrintAllocations()
    said = printed()
    return {name: int(size) for name, size in _TOTAL.findall(said)}


def _refusal(said: str, error: RuntimeError) -> Exception:
    missing = sorted(set(_MISSING.findall(said)))
    if missing:
        return UnsupportedError(f"TFLM has no kernel for {', '.join(missing)}")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    detail = "; ".join(dict.fromkeys(lines[:3])) or str(error)
    return UnsupportedError(f"TFLM refuses the model: {detail[:300]}")

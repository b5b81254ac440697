"""TensorFlow Lite Micro (the `tflite-micro` wheel) as the engine of a virtual board."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np

from perfsage.errors import MissingExtraError

ARENA_LINE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")
FAILED_NODE = re.compile(r"(?:Node (\S+) \(number \d+f?\)|builtin opcode '(\w+)'|op code (\w+))")


class EngineError(Exception):
    """The engine refuses a model: `kind` is the word of the protocol, `text` says why."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        super().__init__(f"{kind} {text}")


class TflmEngine:
    """One model in TFLM, with an arena of a given size."""

    def __init__(self, arena_bytes: int) -> None:
        self.arena_bytes = arena_bytes
        self._interpreter: Any = None
        self._runtime = _tflm()
        self.arena: dict[str, int] = {}
        self.inputs: list[dict[str, Any]] = []
        """Type, shape and quantization of every input of the model."""

    @property
    def name(self) -> str:
        """The engine and its version."""
        return f"tflm {version('tflite_micro')}"

    @property
    def loaded(self) -> bool:
        """Whether a model is there to run."""
        return self._interpreter is not None

    def build(self, model: bytes) -> None:
        """Allocate a model and run it once, since kernels take their last memory then."""
        self._interpreter, self.inputs = None, []
        with stderr_text() as said:
            try:
                interpreter = self._runtime.Interpreter.from_bytes(
                    model,
                    arena_size=self.arena_bytes,
                    intrepreter_config=self._runtime.InterpreterConfig.kAllocationRecording,
                )
                self._interpreter = interpreter
                # Asking for one more input than there are prints to stderr, hence in here.
                self.inputs = list(self._details(interpreter.get_input_details))
                self.set_inputs(bytes(self.input_bytes))
                interpreter.invoke()
                interpreter.print_allocations()
            except (RuntimeError, ValueError) as error:
                self._interpreter = None
                said.append(str(error))
        if self._interpreter is None:
            raise _refusal("\n".join(said))
        self.arena = {m[1]: int(m[2]) for m in ARENA_LINE.finditer("\n".join(said))}

    def set_inputs(self, data: bytes) -> None:
        """Cut `data` into the input tensors, in order; what is missing stays as it is."""
        offset = 0
        for index, detail in enumerate(self.inputs):
            dtype, shape = np.dtype(detail["dtype"]), tuple(int(n) for n in detail["shape"])
            size = dtype.itemsize * int(np.prod(shape))
            part = data[offset : offset + size]
            offset += size
            if len(part) == size:
                self._interpreter.set_input(np.frombuffer(part, dtype).reshape(shape), index)

    def invoke(self) -> None:
        """Run one inference."""
        self._interpreter.invoke()

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs together."""
        return sum(np.dtype(d["dtype"]).itemsize * int(np.prod(d["shape"])) for d in self.inputs)

    def output(self, index: int) -> bytes:
        """Return the bytes of an output tensor."""
        return bytes(np.ascontiguousarray(self._interpreter.get_output(index)).tobytes())

    def results(self) -> list[float]:
        """Return the first output as real numbers, dequantized."""
        values = np.asarray(self._interpreter.get_output(0), dtype=np.float64).ravel()
        detail = self._interpreter.get_output_details(0)["quantization_parameters"]
        if len(detail["scales"]) == 1:
            values = (values - float(detail["zero_points"][0])) * float(detail["scales"][0])
        return [float(value) for value in values]

    def _details(self, get: Any) -> Iterator[dict[str, Any]]:
        index = 0
        while True:
            try:
                yield get(index)
            except (IndexError, RuntimeError, ValueError):
                return
            index += 1


def _refusal(said: str) -> EngineError:
    lines = " ".join(line.strip() for line in said.splitlines() if "Recording" not in line)
    text = re.sub(r"[\[\]%]|[^ -~]", "", lines)[:300]
    if "Failed to resize buffer" in text or "Arena size is too small" in text or "Failed to allocate" in text:
        return EngineError("px-arena", text)
    node = FAILED_NODE.search(text)
    if node is not None:
        return EngineError("px-operator", f"{node[1] or node[2] or node[3]} {text}")
    return EngineError("px-model", text or "the model cannot be read")


def _tflm() -> Any:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ModuleNotFoundError as error:
        raise MissingExtraError("tflite-micro", "profilers") from error
    return runtime


@contextmanager
def stderr_text() -> Iterator[list[str]]:
    """Catch what C++ writes to descriptors 1 and 2 while the block runs; the list fills when it ends."""
    caught: list[str] = []
    with tempfile.TemporaryFile() as file:
        saved = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield caught
        finally:
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)
            file.seek(0)
            caught.insert(0, file.read(1 << 20).decode("utf-8", "replace"))

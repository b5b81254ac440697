"""LiteRT's C API, as far as its profiler of operators needs it, by ctypes.

The Python API gives no times of operators; the library inside the same wheel does. Its C API is documented
in litert/c/*.h, but the layout of an event (`ProfiledEventData` of litert/c/litert_profiler_event.h) and the
names of the options can change with any release: the version is checked, and others give no profile.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
from ctypes import byref, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from profilers.worker import UnsupportedError

_KNOWN_VERSION = "2.3.0"
_ACCELERATOR_CPU = 1
_LOCK_FOR_WRITING = 1
_MAX_RANK = 8  # LITERT_TENSOR_MAX_RANK of litert/c/litert_layout.h
_TENSOR_TYPE_BYTES = 512  # room for LiteRtRankedTensorType, which the API fills in
CPU_OPERATOR = 2
DELEGATE_KERNEL = 8


class Event(ctypes.Structure):
    """One event of 104 bytes: `index` is the operator's, or the kernel's within its delegate partition."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("type", c_int),
        ("start_us", c_uint64),
        ("elapsed_us", c_uint64),
        ("memory", c_int64 * 6),
        ("index", c_uint64),
        ("subgraph", c_uint64),
        ("source", c_int),
    ]


class CompiledModel:
    """A model compiled for the CPU with its profiler; `close` frees all of it."""

    def __init__(self, data: bytes, *, threads: int, xnnpack: bool) -> None:
        self._library = _library()
        self._freed_by: list[tuple[str, c_void_p]] = []
        self._data = data  # the library reads it in place
        self._libc = ctypes.CDLL(None)
        self._environment = self._create("LiteRtCreateEnvironment", "LiteRtDestroyEnvironment", 0, None)
        buffer, size = ctypes.cast(ctypes.c_char_p(data), c_void_p), c_size_t(len(data))
        self._model = self._create(
            "LiteRtCreateModelFromBuffer",
            "LiteRtDestroyModel",
            self._environment,
            buffer,
            size,
        )
        options = self._options(threads, xnnpack)
        self._compiled = self._create(
            "LiteRtCreateCompiledModel", "LiteRtDestroyCompiledModel", self._environment, self._model, options
        )
        self._subgraph = c_void_p()
        self._call("LiteRtGetModelSubgraph", self._model, c_size_t(0), byref(self._subgraph))
        self._inputs = self._buffers("Input")
        for handle in self._inputs:
            self._fill_with_zeros(c_void_p(handle))
        self._outputs = self._buffers("Output")
        self._profiler = c_void_p()
        self._call("LiteRtCompiledModelGetProfiler", self._compiled, byref(self._profiler))

    def run(self) -> None:
        """Run one inference."""
        inputs, outputs = self._inputs, self._outputs
        self._call(
            "LiteRtRunCompiledModel",
            self._compiled,
            c_size_t(0),
            c_size_t(len(inputs)),
            inputs,
            c_size_t(len(outputs)),
            outputs,
        )

    def profiled_run(self) -> list[Event]:
        """Run one inference and return its events, in order."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, byref(count))
        events = (Event * max(1, count.value))()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return list(events[: count.value])

    def close(self) -> None:
        """Free everything, last made first."""
        while self._freed_by:
            name, handle = self._freed_by.pop()
            function = getattr(self._library, name)
            function.restype = None
            function(handle)

    def _options(self, threads: int, xnnpack: bool) -> c_void_p:
        options = self._create("LiteRtCreateOptions", "LiteRtDestroyOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _ACCELERATOR_CPU)
        self._add_text(options, b"runtime_options_string", b"enable_profiling = true\n")
        # kernel_mode 0 is the delegate, 2 the built-in kernels (litert_cpu_options.h).
        mode = 0 if xnnpack else 2
        self._add_text(options, b"xnnpack", b"num_threads = %d\nkernel_mode = %d\n" % (threads, mode))
        return options

    def _add_text(self, options: c_void_p, name: bytes, text: bytes) -> None:
        self._libc.strdup.restype = c_void_p
        copy = c_void_p(self._libc.strdup(text))
        free = ctypes.cast(self._libc.free, c_void_p)
        opaque = c_void_p()
        self._call("LiteRtCreateOpaqueOptions", ctypes.c_char_p(name), copy, free, byref(opaque))
        self._call("LiteRtAddOpaqueOptions", options, opaque)

    def _buffers(self, side: str) -> Any:
        count = c_size_t()
        self._call(f"LiteRtGetNumSubgraph{side}s", self._subgraph, byref(count))
        handles = (c_void_p * count.value)()
        for index in range(count.value):
            tensor, needs = c_void_p(), c_void_p()
            kind = ctypes.create_string_buffer(_TENSOR_TYPE_BYTES)
            self._call(f"LiteRtGetSubgraph{side}", self._subgraph, c_size_t(index), byref(tensor))
            self._call("LiteRtGetRankedTensorType", tensor, kind)
            _fix_dynamic_dimensions(kind)
            place = (self._compiled, c_size_t(0), c_size_t(index), byref(needs))
            self._call(f"LiteRtGetCompiledModel{side}BufferRequirements", *place)
            handles[index] = self._create(
                "LiteRtCreateManagedTensorBufferFromRequirements",
                "LiteRtDestroyTensorBuffer",
                self._environment,
                kind,
                needs,
            ).value
        return handles

    def _fill_with_zeros(self, buffer: c_void_p) -> None:
        """Give an input defined contents: whatever lies in memory would make wild indices and NaNs."""
        size, address = c_size_t(), c_void_p()
        self._call("LiteRtGetTensorBufferSize", buffer, byref(size))
        self._call("LiteRtLockTensorBuffer", buffer, byref(address), c_int(_LOCK_FOR_WRITING))
        ctypes.memset(address, 0, size.value)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _create(self, name: str, destroy: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self._call(name, *arguments, byref(handle))
        self._freed_by.append((destroy, handle))
        return handle

    def _call(self, name: str, *arguments: Any) -> None:
        function = getattr(self._library, name)
        function.restype = c_int
        if status := function(*arguments):
            raise UnsupportedError(f"LiteRT's C API refuses the model: {name} gave status {status}")


def _fix_dynamic_dimensions(kind: ctypes.Array[ctypes.c_char]) -> None:
    """Set dynamic dimensions to 1: they follow the element type and the rank, of 4 bytes each."""
    dimensions = (ctypes.c_int32 * _MAX_RANK).from_buffer(kind, 8)
    for index in range(_MAX_RANK):
        dimensions[index] = 1 if dimensions[index] == -1 else dimensions[index]


@cache
def _library() -> ctypes.CDLL:
    version = importlib.metadata.version("ai-edge-litert")
    spec = importlib.util.find_spec("ai_edge_litert")
    if version != _KNOWN_VERSION or spec is None or spec.origin is None:
        raise UnsupportedError(f"operators are profiled with LiteRT {_KNOWN_VERSION} only, not {version}")
    return ctypes.CDLL(str(Path(spec.origin).with_name("libLiteRt.so")))

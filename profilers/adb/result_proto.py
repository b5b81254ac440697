"""Decodes tflite.tools.benchmark.BenchmarkResult, the file that `--result_file_path` writes.

No package carries this message's generated code; it is four messages of plain numbers, declared here from
LiteRT's tflite/tools/benchmark/proto/benchmark_result.proto (fields numbered from 1, in that order).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from perfsage.errors import StableDeviceError
from profilers.adb.benchmark_log import BenchmarkReport

LATENCY = (
    "mean_ms",
    "min_ms",
    "max_ms",
    "std_ms",
    "median_ms",
    "p5_ms",
    "p95_ms",
    "init_ms",
    "first_ms",
    "warmup_mean_ms",
)
MEMORY = ("init_footprint_kb", "overall_footprint_kb", "peak_rss_mb")
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Field = tuple[int, int | float | bytes]


def decode_benchmark_result(data: bytes) -> BenchmarkReport:
    """Return the figures of a serialized BenchmarkResult; StableDeviceError where it is damaged."""
    try:
        parts = {number: value for number, value in _fields(data) if isinstance(value, bytes)}
        latency = _named(parts.get(2, b""), LATENCY)
        memory = _named(parts.get(3, b""), MEMORY)
        misc = dict(_fields(parts.get(4, b"")))
    except (struct.error, IndexError, ValueError) as error:
        raise StableDeviceError(f"the result file of the benchmark is damaged: {error}") from error
    if "mean_ms" not in latency:
        raise StableDeviceError("the result file of the benchmark holds no inference time")
    runs = misc.get(2)
    return BenchmarkReport(
        format="result_proto",
        runs=int(runs) if isinstance(runs, int) else None,
        init_footprint_mb=_mb(memory.get("init_footprint_kb")),
        overall_footprint_mb=_mb(memory.get("overall_footprint_kb")),
        peak_rss_mb=memory["peak_rss_mb"] if memory.get("peak_rss_mb", 0.0) > 0 else None,
        **latency,  # type: ignore[arg-type]  # gathered by field name
    )


def _mb(kilobytes: float | None) -> float | None:
    return None if kilobytes is None else kilobytes / 1024


def _named(data: bytes, names: tuple[str, ...]) -> dict[str, float]:
    return {
        names[number - 1]: float(value)
        for number, value in _fields(data)
        if number <= len(names) and not isinstance(value, bytes)
    }


def _fields(data: bytes) -> Iterator[Field]:
    """Yield (field number, value) of a message in protobuf's wire format."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        value: int | float | bytes
        if kind == VARINT:
            value, position = _varint(data, position)
        elif kind == FIXED64:
            (value,) = struct.unpack_from("<d", data, position)
            position += 8
        elif kind == FIXED32:
            (value,) = struct.unpack_from("<f", data, position)
            position += 4
        elif kind == BYTES:
            length, position = _varint(data, position)
            value = data[position : position + length]
            position += length
            if position > len(data):
                raise ValueError(f"field {number} ends beyond the file")
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        yield number, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number is longer than 10 bytes")

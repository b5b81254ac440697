"""Reads per-operator profiles of benchmark_model: CSV in both layouts, the printed table, and the proto."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from perfsage.errors import MissingExtraError, StableDeviceError

_NODE = re.compile(r":(\d+)\s*$")
_SECTION = re.compile(r"=+ (?P<name>[A-Za-z ]+) =+")


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """Mean time of one node of the graph that really ran; `node` is its index there.

    A delegate replaces operators by a node of its own, whose index lies beyond the model's operators.
    """

    type: str
    name: str
    node: int | None
    mean_ms: float
    calls: int
    subgraph: int = 0


def parse_operator_csv(text: str) -> tuple[OperatorTime, ...]:
    """Return the operators of the regular runs, in run order.

    Columns are found by the header, since `start` was dropped in 2023; the text of the printed table
    (`[node type]`, tabs) is understood too. StableDeviceError where there is no such table.
    """
    lines = text.splitlines()
    begins = [i for i, line in enumerate(lines) if "Regular Benchmark Runs" in line]
    rows = list(_run_order(lines[begins[-1] if begins else 0 :]))
    if not rows:
        raise StableDeviceError(
            "the operator profile holds no operators",
            hint="Update benchmark_model, or measure without per-operator.",
        )
    return tuple(rows)


def _run_order(lines: list[str]) -> Iterator[OperatorTime]:
    inside = False
    columns: dict[str, int] = {}
    for line in lines:
        if section := _SECTION.search(line):
            if inside and columns:
                return
            inside = section["name"] == "Run Order"
        elif inside and line.strip():
            cells = _cells(line)
            if not columns:
                columns = {name: index for index, name in enumerate(_header(cells))}
            elif len(cells) >= len(columns):
                yield _row(cells, columns)


def _cells(line: str) -> list[str]:
    # In CSV, commas of a name are written as tabs; in the table, tabs are what separates.
    separator = "\t" if line.startswith("\t") or ("\t" in line and ", " not in line) else ", "
    return [cell.strip() for cell in line.strip("\n").lstrip("\t").split(separator)]


def _header(cells: list[str]) -> list[str]:
    return [cell.strip("[] ").lower().replace(" ", "_") for cell in cells]


def _row(cells: list[str], columns: dict[str, int]) -> OperatorTime:
    name = cells[columns["name"]].replace("\t", ",")
    node = _NODE.search(name)
    return OperatorTime(
        type=cells[columns["node_type"]],
        name=name[: node.start()].strip("[]") if node else name,
        node=int(node[1]) if node else None,
        mean_ms=float(cells[columns["avg_ms"]]),
        calls=int(float(cells[columns["times_called"]])),
    )


def parse_operator_proto(data: bytes) -> tuple[OperatorTime, ...]:
    """Return the operators in a serialized tflite.profiling.BenchmarkProfilingData, in run order."""
    try:
        from ai_edge_litert import profiling_info_pb2
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingExtraError("ai-edge-litert", "profilers") from None
    try:
        profile = profiling_info_pb2.BenchmarkProfilingData.FromString(data)
    except DecodeError as error:
        raise StableDeviceError(f"the operator profile cannot be decoded: {error}") from error
    return tuple(
        _from_proto(entry, part.subgraph_index)
        for part in profile.runtime_profile.subgraph_profiles
        for entry in sorted(part.per_op_profiles, key=lambda entry: int(entry.run_order))
    )


def _from_proto(entry: object, subgraph: int) -> OperatorTime:
    node = _NODE.search(entry.name)  # type: ignore[attr-defined]  # generated code carries no types
    times = entry.inference_microseconds  # type: ignore[attr-defined]
    mean_us = times.sum / times.count if times.count else float(times.avg)
    return OperatorTime(
        type=entry.node_type,  # type: ignore[attr-defined]
        name=entry.name,  # type: ignore[attr-defined]
        node=int(node[1]) if node else None,
        mean_ms=mean_us / 1e3,
        calls=int(entry.times_called),  # type: ignore[attr-defined]
        subgraph=int(subgraph),
    )

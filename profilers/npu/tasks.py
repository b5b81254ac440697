"""Compiling a model with Vela, inside a worker process; answers plain numbers."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from ethosu import regor
from ethosu.vela import vela
from ethosu.vela.nn_graph import TensorAllocator

from profilers.npu.configuration import Configuration, parse_configuration

# Operators that cost no cycles, because they only rename or move data within other layers.
_VIEWS = frozenset(
    {"Reshape", "Squeeze", "ExpandDims", "Split", "SplitV", "Unpack", "Pack", "Concat", "Slice"}
)


def compile_model(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Compile for `device`; with `layers`, or where operators stay on the CPU, report every layer.

    Writing Vela's table of layers costs about a tenth of the time, so a model that needs it only because of
    operators left on the CPU is compiled a second time.
    """
    configuration = parse_configuration(arguments["device"])
    compiled = _compile(configuration, data, bool(arguments["layers"]))
    report = compiled.perf_report
    if report.cpuOps and report.totalCycles and not arguments["layers"]:
        compiled = _compile(configuration, data, True)
    answer = _totals(compiled.perf_report)
    if compiled.opt_database is not None:
        answer.update(_layers(compiled.opt_database.tables))
    return answer


def _compile(configuration: Configuration, data: bytes, layers: bool) -> Any:
    text, options = _settings(configuration, layers)
    core = "Ethos" + configuration.family.upper()
    return regor.compile(core, data, "TFLITE", text, options=options, verbose=False)


@cache
def _settings(configuration: Configuration, layers: bool) -> tuple[str, str]:
    """Return Vela's two configuration texts, with what its command line defaults to."""
    names = inspect.signature(vela.get_compiler_config).parameters
    options: dict[str, Any] = dict.fromkeys(names, False)
    options.update(
        optimize="Performance",
        arena_cache_size=configuration.arena_cache_bytes,
        verbose_performance=layers,
        output_format="tflite",
        cop_format="COP1",
        cpu_tensor_alignment=16,
        tensor_allocator=TensorAllocator.HillClimb,
        softmax_int16_neg_exp_range=10.0,
        ignore_ops="",
    )
    return configuration.regor_text(), vela.get_compiler_config(**options)


def _totals(report: Any) -> dict[str, Any]:
    return {
        "total_cycles": report.totalCycles,
        "npu_cycles": report.npuCycles,
        "macs": report.macCount,
        "cpu_operators": report.cpuOps,
        "npu_operators": report.npuOps,
        "original_weight_bytes": report.originalWeights,
        "encoded_weight_bytes": report.encodedWeights,
        "read_only_bytes": report.readOnlyPeakUsage,
        "memories": {
            name.lower(): {
                "peak_bytes": memory.peakUsage,
                "access_cycles": memory.totalAccessCycles,
                "read_bytes": sum(access.bytesRead for access in memory.accesses.values()),
                "written_bytes": sum(access.bytesWritten for access in memory.accesses.values()),
            }
            for name, memory in report.memories.items()
        },
    }


def _layers(tables: Any) -> dict[str, Any]:
    """Return cycles and MACs by source operator index, and the indices of operators on the CPU.

    Vela numbers source operators from 1 and keeps their index in the file as `ext_key`. A layer runs on the
    NPU when its optimised operator is in the command queue, or is fused into one that is (`group`).
    """
    source = {row["id"]: int(row["ext_key"]) for row in _rows(tables, "source")}
    queued = {row["optimised_id"] for row in _rows(tables, "queue")}
    fused = {row["id"] for row in _rows(tables, "group")}
    cycles: dict[int, list[int]] = {}
    orphans = [0, 0]
    cpu: set[int] = set()
    for row in _rows(tables, "perf"):
        index = source.get(row["source_id"])
        if index is not None and row["optimised_id"] not in queued and row["id"] not in fused:
            cpu.add(index)
            continue
        entry = orphans if index is None else cycles.setdefault(index, [0, 0])
        entry[0] += int(row["op_cycles"])
        entry[1] += int(row["mac_count"])
    if orphans[0]:
        orphans = _adopt(tables, cycles, cpu, orphans)
    layers = [[index, *entry] for index, entry in sorted(cycles.items())]
    return {"layers": layers, "cpu_indices": sorted(cpu), "unmapped_cycles": orphans[0]}


def _adopt(tables: Any, cycles: dict[int, list[int]], cpu: set[int], orphans: list[int]) -> list[int]:
    """Give layers without a source operator to the only operator that has no layers; return what is left.

    Vela 5.2 forgets the source of what it makes of an ARG_MAX.
    """
    childless = [
        int(row["ext_key"])
        for row in _rows(tables, "source")
        if int(row["ext_key"]) not in cycles
        and int(row["ext_key"]) not in cpu
        and row["operator"] not in _VIEWS
    ]
    if len(childless) != 1:
        return orphans
    cycles[childless[0]] = orphans
    return [0, 0]


def _rows(tables: Any, name: str) -> Any:
    if name not in tables:
        return
    table = tables[name]
    for row in table.data:
        yield dict(zip(table.header, row, strict=False))

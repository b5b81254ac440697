"""Arm Ethos-U NPUs, as Vela's performance estimate sees them.

Vela compiles the model and estimates cycles layer by layer; nothing runs. Operators that Vela leaves to the
CPU are not in its figures: they are listed in the notes and in the condition `cpu_operators`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from perfsage.device import Device
from perfsage.measurement import Mode, OperatorRef
from perfsage.metrics import Metric
from profilers.npu.configuration import Configuration, parse_configuration, vela_version
from profilers.npu.energy import EnergyTable, load_energy_table
from profilers.outcomes import Recorder, without_values
from profilers.pooled import PooledProfiler
from profilers.profiler import Model, Outcome, Plan
from profilers.workers import WorkerPool


def describe_ethos_u(name: str) -> Device:
    """Return the device of an Ethos-U configuration, without importing or starting Vela."""
    configuration = parse_configuration(name)
    accelerator = configuration.accelerator.replace("ethos-u", "Ethos-U")
    return Device(
        name=name,
        kind="npu",
        description=f"Arm {accelerator}, {configuration.system_config}, {configuration.memory_mode}",
        metrics={
            Metric.LATENCY_MS: "estimate",
            Metric.ENERGY_MJ: "estimate",
            Metric.PEAK_MEMORY_BYTES: "sram_peak",
            Metric.STORAGE_BYTES: "flash",
        },
        descriptors=configuration.descriptors(),
        tool="vela",
        tool_version=vela_version(),
    )


class EthosUProfiler(PooledProfiler):
    """Compiles with Vela in worker processes.

    Headline figures: latency = total cycles / core clock; energy = estimate from `energy_table`; memory =
    peak SRAM; storage = read-only data (encoded weights, scales, tables) in bytes.
    `plan.per_operator` adds each source operator's latency on the NPU.
    """

    tool = "Vela"
    task = "profilers.npu.tasks:compile_model"
    mode = Mode.SIMULATED

    def __init__(
        self,
        name: str,
        *,
        pool: WorkerPool | None = None,
        workers: int = 1,
        energy_table: EnergyTable | None = None,
    ) -> None:
        super().__init__(describe_ethos_u(name), pool=pool, workers=workers)
        self._configuration: Configuration = parse_configuration(name)
        self._energy = energy_table or load_energy_table()

    def arguments(self, model: Model, plan: Plan) -> dict[str, Any]:
        """Name the configuration, and ask for layers if the plan wants operators."""
        return {"device": self._device.name, "layers": plan.per_operator}

    def record(self, recorder: Recorder, answer: dict[str, Any], plan: Plan) -> Outcome:
        """Turn Vela's numbers into measurements."""
        if not answer["npu_operators"] or not answer["total_cycles"]:
            return without_values(recorder, _all_on_cpu(recorder), failed=False)
        recorder.conditions = {
            "system_config": self._configuration.system_config,
            "memory_mode": self._configuration.memory_mode,
            "cpu_operators": answer["cpu_operators"],
        }
        self._headlines(recorder, answer)
        _memories(recorder, answer)
        for index, cycles, macs in answer.get("layers", ()) if plan.per_operator else ():
            recorder.add(
                Metric.LATENCY_MS,
                self._milliseconds(cycles),
                operator=OperatorRef(0, index),
                conditions={"cycles": cycles, "macs": macs},
            )
        return recorder.outcome(notes=_notes(answer, recorder))

    def _headlines(self, recorder: Recorder, answer: dict[str, Any]) -> None:
        memories = answer["memories"]
        recorder.add(
            Metric.LATENCY_MS,
            self._milliseconds(answer["total_cycles"]),
            conditions={
                "clock_hz": self._configuration.clock_hz,
                **_counts(answer),
                **_left_out(recorder, answer),
            },
        )
        recorder.add(
            Metric.ENERGY_MJ,
            self._energy.millijoules(answer["macs"], memories),
            conditions={"energy_table": self._energy.label, "energy_excludes": self._energy.excludes},
        )
        recorder.add(Metric.PEAK_MEMORY_BYTES, self._sram_peak(answer))
        recorder.add(Metric.STORAGE_BYTES, answer["read_only_bytes"])

    def _sram_peak(self, answer: dict[str, Any]) -> int:
        """Peak SRAM without constants, which Vela counts in where they share it."""
        peak = int(answer["memories"].get("sram", {}).get("peak_bytes", 0))
        return peak - int(answer["read_only_bytes"]) if self._configuration.constants_in_sram else peak

    def _milliseconds(self, cycles: int) -> float:
        return 1e3 * cycles / self._configuration.clock_hz


def _counts(answer: dict[str, Any]) -> dict[str, int]:
    """Cycles, MACs, and bytes by memory: what an estimate of another system would start from."""
    names = ("total_cycles", "npu_cycles", "macs", "original_weight_bytes", "encoded_weight_bytes")
    counts = {name: int(answer[name]) for name in names}
    for memory, moved in sorted(answer["memories"].items()):
        for direction in ("read_bytes", "written_bytes"):
            if moved[direction]:
                counts[f"{memory}_{direction}"] = int(moved[direction])
    return counts


def _memories(recorder: Recorder, answer: dict[str, Any]) -> None:
    """Add the DRAM peak where there is DRAM; it counts constants and activations together."""
    dram = answer["memories"].get("dram")
    if dram:
        recorder.add(Metric.PEAK_MEMORY_BYTES, dram["peak_bytes"], definition="dram_peak")


def _all_on_cpu(recorder: Recorder) -> str:
    types = Counter(operator.type for operator in recorder.model.graph.operators)
    names = ", ".join(name for name, _ in types.most_common(5))
    inputs = recorder.model.graph.subgraphs[0]
    kinds = sorted({inputs.tensors[index].type for index in inputs.inputs if index >= 0})
    return f"every operator stays on the CPU: {names} (inputs of type {', '.join(kinds) or 'unknown'})"


def _left_out(recorder: Recorder, answer: dict[str, Any]) -> dict[str, str]:
    names = _cpu_names(recorder, answer)
    return {"cpu_operator_list": names[:300]} if names else {}


def _cpu_names(recorder: Recorder, answer: dict[str, Any]) -> str:
    operators = recorder.model.graph.subgraphs[0].operators
    indices = [index for index in answer.get("cpu_indices", ()) if index < len(operators)]
    return ", ".join(f"{operators[index].type} (operator {index})" for index in indices)


def _notes(answer: dict[str, Any], recorder: Recorder) -> tuple[str, ...]:
    notes = []
    if answer["cpu_operators"]:
        names = _cpu_names(recorder, answer)
        notes.append(f"left to the CPU, and not in these figures: {names}")
    if answer.get("unmapped_cycles"):
        share = answer["unmapped_cycles"] / answer["total_cycles"]
        notes.append(f"{share:.0%} of the cycles belong to no source operator that Vela names")
    return tuple(notes)

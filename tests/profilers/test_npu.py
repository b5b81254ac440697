"""Ethos-U by Vela, compared with Vela's own command line."""

from __future__ import annotations

import csv
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from perfsage.errors import InvalidInputError
from perfsage.metrics import Metric
from profilers import Model, Outcome, Plan, Profiler, WorkerPool, device_names, open_profiler
from profilers.npu.configuration import parse_configuration
from profilers.npu.energy import load_energy_table
from profilers.npu.ethos_u import EthosUProfiler
from profilers.testing import ProfilerConformance
from tests.profilers.networks import keyword_spotter, real, small

CONFIGURATIONS = [name for name in device_names() if name.startswith("ethos-")]


class TestEthosU(ProfilerConformance):
    exact_metrics = frozenset(Metric)
    hostile_sizes = (0.0, 0.5)

    @classmethod
    def open(cls) -> Profiler:
        return open_profiler("ethos-u55-128")

    @classmethod
    def make_models(cls) -> list[Model]:
        return [keyword_spotter(), small()]

    @classmethod
    def make_float_model(cls) -> Model:
        return keyword_spotter("float32")


@pytest.mark.slow
class TestEthosU65(TestEthosU):
    @classmethod
    def open(cls) -> Profiler:
        return open_profiler("ethos-u65-512")


@pytest.mark.slow
class TestEthosU85(TestEthosU):
    @classmethod
    def open(cls) -> Profiler:
        return open_profiler("ethos-u85-1024")


def measure(name: str, *models: Model, per_operator: bool = False) -> list[Outcome]:
    profiler = open_profiler(name)
    try:
        return list(profiler.profile(models, Plan(per_operator=per_operator)))
    finally:
        profiler.close()


def headline(outcome: Outcome, metric: Metric) -> float:
    (found,) = [
        m
        for m in outcome.measurements
        if m.metric is metric and m.definition != "dram_peak" and m.operator is None
    ]
    assert found.value is not None, found.unavailable
    return found.value


def vela_cli(model: Model, name: str, folder: Path) -> dict[str, str]:
    """Run Vela's own command line and return the row of its summary."""
    configuration = parse_configuration(name)
    path = folder / "model.tflite"
    path.write_bytes(model.data)
    command = [str(Path(sys.executable).with_name("vela")), str(path), "--output-dir", str(folder)]
    command += ["--accelerator-config", configuration.accelerator, "--config", "Arm/vela.ini"]
    command += ["--system-config", configuration.system_config, "--memory-mode", configuration.memory_mode]
    subprocess.run(command, check=True, capture_output=True)
    with (folder / f"model_summary_{configuration.system_config}.csv").open(encoding="utf-8") as file:
        return next(csv.DictReader(file))


def compare(model: Model, name: str, folder: Path) -> None:
    (outcome,) = measure(name, model)
    theirs = vela_cli(model, name, folder)
    latency = next(m for m in outcome.measurements if m.metric is Metric.LATENCY_MS)
    assert latency.conditions["total_cycles"] == int(theirs["cycles_total"])
    assert latency.conditions["macs"] == int(theirs["nn_macs"])
    assert headline(outcome, Metric.LATENCY_MS) == pytest.approx(1e3 * float(theirs["inference_time"]))
    sram_kib = headline(outcome, Metric.PEAK_MEMORY_BYTES) / 1024
    assert sram_kib == pytest.approx(float(theirs["sram_memory_used"]))


def test_equals_the_command_line(tmp_path: Path) -> None:
    compare(keyword_spotter(), "ethos-u55-128", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *CONFIGURATIONS,
        "ethos-u55-128@Ethos_U55_Deep_Embedded,Sram_Only",
        "ethos-u65-256@Ethos_U65_Client_Server,Dedicated_Sram_256KB",
    ],
)
def test_equals_the_command_line_in_every_configuration(name: str, tmp_path: Path) -> None:
    for model in (keyword_spotter(), real("google-coral_test_data__mobilenet_v1_0.25")):
        compare(model, name, tmp_path)


@pytest.mark.parametrize("name", ["ethos-u55-32", "ethos-u65-512", "ethos-u85-1024"])
def test_other_configurations(name: str) -> None:
    slow, fast = measure(name, keyword_spotter(), small())
    assert headline(slow, Metric.LATENCY_MS) > headline(fast, Metric.LATENCY_MS) > 0


def test_operators_add_up_to_the_total() -> None:
    (outcome,) = measure("ethos-u55-128", keyword_spotter(), per_operator=True)
    total = next(m for m in outcome.measurements if m.metric is Metric.LATENCY_MS and m.operator is None)
    parts = [m for m in outcome.measurements if m.operator is not None]
    assert sum(int(m.conditions["cycles"]) for m in parts) == total.conditions["total_cycles"]
    assert sum(m.value or 0.0 for m in parts) == pytest.approx(total.value)


def test_per_operator_changes_no_total() -> None:
    (with_layers,) = measure("ethos-u85-256", small(), per_operator=True)
    (without,) = measure("ethos-u85-256", small())
    assert headline(with_layers, Metric.LATENCY_MS) == headline(without, Metric.LATENCY_MS)


def test_a_float_graph_is_unavailable_and_says_why() -> None:
    (outcome,) = measure("ethos-u55-128", small("float32"))
    assert outcome.failure is None
    assert len(outcome.measurements) == 4
    for measurement in outcome.measurements:
        assert str(measurement.unavailable).startswith("every operator stays on the CPU: ")
        assert "FLOAT32" in str(measurement.unavailable)


def test_operators_left_to_the_cpu_are_listed() -> None:
    (outcome,) = measure("ethos-u55-128", real("google-coral_test_data__posenet_mobilenet_v1_075_353"))
    assert outcome.notes == ("left to the CPU, and not in these figures: PosenetDecoderOp (operator 37)",)
    assert {m.conditions["cpu_operators"] for m in outcome.measurements} == {1}


@pytest.mark.slow  # Vela makes 65,000 layers of one ARG_MAX
def test_layers_without_a_source_go_to_the_one_operator_without_layers() -> None:
    (outcome,) = measure(
        "ethos-u55-128", real("google-coral_test_data__deeplabv3_mnv2_dm05"), per_operator=True
    )
    total = next(m for m in outcome.measurements if m.metric is Metric.LATENCY_MS and m.operator is None)
    parts = {m.operator.index: m for m in outcome.measurements if m.operator is not None}
    types = [operator.type for operator in outcome.model.graph.operators]
    assert sum(int(m.conditions["cycles"]) for m in parts.values()) == total.conditions["total_cycles"]
    assert types[max(parts, key=lambda index: parts[index].value or 0.0)] == "ARG_MAX"


def test_a_crash_is_recorded_with_its_reason() -> None:
    broken = dataclasses.replace(small(), data=small().data[:500])
    good, bad, after = measure("ethos-u55-128", small(), broken, keyword_spotter())
    assert good.failure is None and after.failure is None
    assert str(bad.failure).startswith("Vela crashed with SIGSEGV")
    assert {m.unavailable for m in bad.measurements} == {bad.failure}


def test_energy_is_an_estimate_from_a_named_table() -> None:
    (outcome,) = measure("ethos-u55-128", small())
    energy = next(m for m in outcome.measurements if m.metric is Metric.ENERGY_MJ)
    counts = next(m for m in outcome.measurements if m.metric is Metric.LATENCY_MS).conditions
    moved = int(counts["sram_read_bytes"]) + int(counts["sram_written_bytes"])
    assert energy.value == pytest.approx((0.3 * int(counts["macs"]) + 12.5 * moved) * 1e-9)
    assert energy.conditions["energy_table"] == "horowitz-45nm version 1"


def test_the_energy_table_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name="mine"\nversion="3"\nsource="a chip"\nmac_pj=1.0\n[bytes_pj]\nsram=0.0\n')
    profiler = EthosUProfiler("ethos-u55-128", energy_table=load_energy_table(path))
    try:
        (outcome,) = profiler.profile([small()], Plan())
    finally:
        profiler.close()
    energy = next(m for m in outcome.measurements if m.metric is Metric.ENERGY_MJ)
    assert energy.conditions["energy_table"] == "mine version 3"


@pytest.mark.parametrize(
    "text",
    ["", "not toml", 'name="x"', 'name="x"\nversion="1"\nsource="s"\nmac_pj=-1\n[bytes_pj]\n', "mac_pj=nan"],
)
def test_a_damaged_energy_table_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match="energ"):
        load_energy_table(path)


def test_profilers_share_a_pool() -> None:
    with WorkerPool(1) as pool:
        profilers = [open_profiler(name, pool=pool) for name in ("ethos-u55-64", "tflm", "ethos-u85-512")]
        for profiler in profilers:
            (outcome,) = profiler.profile([small()], Plan())
            assert outcome.failure is None
            profiler.close()

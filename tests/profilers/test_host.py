"""The CPU of this machine, by LiteRT."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perfsage.measurement import Mode, Statistic
from perfsage.metrics import Metric
from profilers import Model, Outcome, Plan, Profiler, open_profiler
from profilers.host.alignment import Kernel, matches, operator_times
from profilers.host.rapl import read_energy_uj
from profilers.testing import ProfilerConformance
from tests.profilers.networks import keyword_spotter, real, small

QUICK = Plan(visits=2, visit_ms=2, options={"spread_s": 0.0})


class TestHost(ProfilerConformance):
    exact_metrics = frozenset({Metric.STORAGE_BYTES})
    plan = QUICK

    @classmethod
    def open(cls) -> Profiler:
        return open_profiler("host-cpu")

    @classmethod
    def make_models(cls) -> list[Model]:
        return [keyword_spotter(), small()]

    @classmethod
    def make_float_model(cls) -> Model:
        return keyword_spotter("float32")


def measure(*models: Model, plan: Plan = QUICK) -> list[Outcome]:
    profiler = open_profiler("host-cpu")
    try:
        return list(profiler.profile(models, plan))
    finally:
        profiler.close()


def test_latency_is_the_minimum_of_spread_visits() -> None:
    plan = Plan(visits=3, visit_ms=2, options={"spread_s": 0.1})
    (outcome,) = measure(small(), plan=plan)
    latency = outcome.measurements[0]
    assert (latency.metric, latency.definition) == (Metric.LATENCY_MS, "wall_clock")
    assert (latency.mode, latency.statistic) == (Mode.MEASURED, Statistic.MIN)
    assert len(latency.samples) == 3
    assert latency.value == min(latency.samples) > 0
    assert 0.05 <= float(latency.conditions["visit_spacing_s"]) < 5
    assert float(latency.conditions["noise"]) >= 0
    assert {"cpu_model", "load_average", "threads", "delegate", "runs", "visit_cv"} <= set(latency.conditions)


def test_start_and_first_inference_are_further_definitions() -> None:
    (outcome,) = measure(small())
    values = {m.definition: m.value for m in outcome.measurements if m.metric is Metric.LATENCY_MS}
    assert set(values) == {"wall_clock", "init", "first_inference"}
    assert all(values.values())


def test_heap_is_nearly_the_same_whatever_ran_before() -> None:
    def heap(outcome: Outcome) -> float:
        return next(m.value or 0.0 for m in outcome.measurements if m.definition == "heap_peak")

    (alone,) = measure(keyword_spotter())
    *_, last = measure(small(), small("float32"), keyword_spotter())
    assert heap(last) == pytest.approx(heap(alone), rel=0.01)


def test_without_xnnpack() -> None:
    plan = dataclasses.replace(QUICK, options={**QUICK.options, "xnnpack": False}, per_operator=True)
    (outcome,) = measure(small(), plan=plan)
    assert outcome.measurements[0].conditions["delegate"] == "none"
    assert outcome.measurements[0].conditions["delegate_partitions"] == 0
    indices = {m.operator.index for m in outcome.measurements if m.operator is not None}
    assert indices == set(range(len(outcome.model.graph.subgraphs[0].operators)))


def test_two_threads() -> None:
    (outcome,) = measure(small(), plan=dataclasses.replace(QUICK, threads=2))
    assert outcome.measurements[0].conditions["threads"] == 2


def test_operators_make_most_of_the_latency() -> None:
    plan = dataclasses.replace(QUICK, visits=5, per_operator=True)
    (outcome,) = measure(real("google-coral_test_data__mobilenet_v1_0.25"), plan=plan)
    parts = [m for m in outcome.measurements if m.operator is not None]
    total = outcome.measurements[0]
    assert len(parts) >= 28
    assert sum(m.value or 0.0 for m in parts) > 0.4 * (total.value or 0.0)
    assert int(total.conditions["delegated_operators"]) >= 27


def test_a_dynamic_batch_is_measured_at_one() -> None:
    (outcome,) = measure(real("mlcommons_tiny__kws_ref_model.tflite"))
    assert "measured at [1, 49, 10, 1]" in outcome.notes[0]
    assert outcome.failure is None


def test_an_unknown_custom_operator_is_unavailable() -> None:
    (outcome,) = measure(real("google-coral_test_data__posenet_mobilenet_v1_075_353"))
    assert outcome.failure is None
    assert "PosenetDecoderOp" in str(outcome.measurements[0].unavailable)
    assert "http" not in str(outcome.measurements[0].unavailable)


def test_no_visits_is_said() -> None:
    (outcome,) = measure(small(), plan=Plan(visits=0))
    assert "no visit was made" in str(outcome.failure)


def test_a_hang_costs_one_model() -> None:
    plan = Plan(visits=1, visit_ms=1, timeout_s=0.001)
    (outcome,) = measure(real("google-coral_test_data__tf2_mobilenet_v2"), plan=plan)
    assert outcome.failure == "LiteRT did not finish within 0.001 s"


def test_energy_counters(tmp_path: Path) -> None:
    """A folder laid out like powercap's stands in for it: few machines that run tests have the real one."""
    assert read_energy_uj(tmp_path) is None
    for package, reading in ((0, "1500"), (1, "2500\n")):
        folder = tmp_path / f"intel-rapl:{package}"
        folder.mkdir()
        (folder / "energy_uj").write_text(reading)
    assert read_energy_uj(tmp_path) == 4000


@pytest.mark.parametrize(
    ("tag", "operator", "expected"),
    [
        ("Convolution (NHWC, QC8) IGEMM", "CONV_2D", True),
        ("Convolution (NHWC, QC8) DWConv", "DEPTHWISE_CONV_2D", True),
        ("Convolution (NHWC, QC8) DWConv", "CONV_2D", False),
        ("Fully Connected (NC, QS8, QC8W) GEMM", "CONV_2D", True),
        ("Static Reshape (NC)", "RESHAPE", True),
        ("Resize Bilinear (NHWC)", "RESIZE_BILINEAR", True),
        ("Add (ND)", "ADD", True),
        ("Add (ND)", "MUL", False),
        ("Softmax (NC, F32)", "SOFTMAX", True),
    ],
)
def test_kinds_of_kernels(tag: str, operator: str, expected: bool) -> None:
    assert matches(tag, operator) is expected


def test_alignment_counts_extra_kernels_towards_the_next_operator() -> None:
    kernels = [
        Kernel("Convert (NC)", True, 0, 1.0),
        Kernel("Convolution (NHWC, QC8) IGEMM", True, 1, 5.0),
        Kernel("AVERAGE_POOL_2D", False, 1, 2.0),
        Kernel("Fully Connected (NC, QS8) GEMM", True, 0, 3.0),
    ]
    times, left = operator_times(kernels, ["CONV_2D", "AVERAGE_POOL_2D", "FULLY_CONNECTED"])
    assert [(t.index, t.microseconds, t.delegated) for t in times] == [
        (0, 6.0, True),
        (1, 2.0, False),
        (2, 3.0, True),
    ]
    assert left == 0

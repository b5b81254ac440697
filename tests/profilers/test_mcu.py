"""TensorFlow Lite Micro."""

from __future__ import annotations

import struct

import pytest

from dataset.builder import Builder
from perfsage.metrics import Metric
from profilers import Model, Outcome, Plan, Profiler, describe, open_profiler
from profilers.mcu.tflm import TflmProfiler
from profilers.testing import ProfilerConformance
from tests.profilers.networks import keyword_spotter, model, real, small


class TestTflm(ProfilerConformance):
    exact_metrics = frozenset(Metric)

    @classmethod
    def open(cls) -> Profiler:
        return open_profiler("tflm")

    @classmethod
    def make_models(cls) -> list[Model]:
        return [keyword_spotter(), small()]

    @classmethod
    def make_float_model(cls) -> Model:
        return small("float32")


def measure(*models: Model, plan: Plan | None = None) -> list[Outcome]:
    profiler = open_profiler("tflm")
    try:
        return list(profiler.profile(models, plan or Plan()))
    finally:
        profiler.close()


def arena(outcome: Outcome) -> dict[str, float | None]:
    return {m.definition: m.value for m in outcome.measurements if m.metric is Metric.PEAK_MEMORY_BYTES}


def test_head_and_tail_make_the_total() -> None:
    (outcome,) = measure(keyword_spotter())
    parts = arena(outcome)
    assert parts["arena_total"] == (parts["arena_head"] or 0) + (parts["arena_tail"] or 0)


def test_storage_is_the_file() -> None:
    (outcome,) = measure(small())
    assert [m.value for m in outcome.measurements if m.metric is Metric.STORAGE_BYTES] == [len(small().data)]


def test_time_and_energy_are_unavailable() -> None:
    unavailable = open_profiler("tflm").describe().unavailable
    assert "microcontroller" in unavailable[Metric.LATENCY_MS]
    assert "microcontroller" in unavailable[Metric.ENERGY_MJ]


def test_the_arena_grows_until_the_model_fits() -> None:
    (small_first,) = measure(keyword_spotter(), plan=Plan(options={"arena_bytes": 16384}))
    (large_first,) = measure(keyword_spotter(), plan=Plan(options={"arena_bytes": 8 << 20}))
    assert arena(small_first) == arena(large_first)


def test_equals_the_package_s_own_interface(capfd: pytest.CaptureFixture[str]) -> None:
    from tflite_micro.python.tflite_micro import runtime

    (outcome,) = measure(keyword_spotter())
    config = runtime.InterpreterConfig.kAllocationRecording
    interpreter = runtime.Interpreter.from_bytes(keyword_spotter().data, intrepreter_config=config)
    interpreter.print_allocations()
    said = capfd.readouterr().err
    for part, bytes_used in arena(outcome).items():
        assert f"Arena allocation {part.removeprefix('arena_')} {bytes_used:.0f} bytes" in said


def test_a_known_model() -> None:
    (outcome,) = measure(real("mlcommons_tiny__kws_ref_model.tflite"))
    assert arena(outcome)["arena_head"] == 16000


def test_operators_without_a_kernel_are_named() -> None:
    custom, tile = measure(
        real("google-coral_test_data__posenet_mobilenet_v1_075_353"),
        real("google-coral_test_data__deeplab_mobilenet_edgetpu"),
    )
    assert custom.measurements[0].unavailable == "TFLM has no kernel for CUSTOM (PosenetDecoderOp)"
    assert tile.measurements[0].unavailable == "TFLM has no kernel for TILE"
    assert custom.failure is None


def test_an_abort_costs_one_model() -> None:
    """TFLM aborts on a SOFTMAX whose input scale is 2^-26 or less."""
    bad, good = measure(_softmax_with_a_tiny_scale(), small())
    assert str(bad.failure).startswith("TFLM crashed with SIGABRT")
    assert good.failure is None


class NonsenseProfiler(TflmProfiler):
    """Its task answers as a worker might that a model has taken over."""

    task = "tests.profilers.misbehaviour:echo"


def test_an_answer_that_makes_no_sense_is_a_failure() -> None:
    profiler = NonsenseProfiler(describe("tflm"))
    (outcome,) = profiler.profile([small()], Plan())
    profiler.close()
    assert str(outcome.failure).startswith("TFLM answered nonsense: KeyError")
    assert {m.unavailable for m in outcome.measurements} == {outcome.failure}


def _softmax_with_a_tiny_scale() -> Model:
    b = Builder(dtype="int8", seed=1)
    b.output(b.softmax(b.input((1, 10))))
    data = bytearray(b.finish())
    scale = model(bytes(data)).graph.subgraphs[0].tensors[0].quantization
    assert scale is not None
    packed = struct.pack("<f", scale.scale[0])
    assert packed in data
    return model(bytes(data.replace(packed, struct.pack("<f", 2.0**-30))))

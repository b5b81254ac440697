"""The virtual board passes what every profiler must pass."""

from __future__ import annotations

from perfsage.metrics import Metric
from profilers.profiler import Model, Plan
from profilers.serial import BoardSettings
from profilers.serial.board import SerialProfiler
from profilers.serial.emulate import EmulatedPort, start_tflm
from profilers.testing import ProfilerConformance
from tests.profilers.networks import small


class TestVirtualBoard(ProfilerConformance):
    exact_metrics = frozenset({Metric.PEAK_MEMORY_BYTES, Metric.STORAGE_BYTES})
    plan = Plan(timeout_s=20.0)
    port: EmulatedPort

    @classmethod
    def open(cls) -> SerialProfiler:
        settings = BoardSettings(
            name="serial:virtual", address=cls.port.address, window_s=0.01, replug_s=2.0, boot_s=20.0
        )
        return SerialProfiler(settings)

    @classmethod
    def make_models(cls) -> list[Model]:
        return [small(), small(seed=2)]

    @classmethod
    def make_float_model(cls) -> Model:
        return small("float32")

    @classmethod
    def setup_class(cls) -> None:
        cls.port = start_tflm()
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.port.close()

"""Networks, a device and measurements to store."""

import hashlib
from datetime import UTC, datetime

from dataset.records import Network
from perfsage.device import Device
from perfsage.measurement import Measurement, Mode, OperatorRef, Statistic
from perfsage.metrics import Metric

DEVICE = Device(
    name="npu-a",
    kind="npu",
    description="a test device",
    metrics={Metric.LATENCY_MS: "compute", Metric.PEAK_MEMORY_BYTES: "sram_peak"},
    unavailable={Metric.ENERGY_MJ: "no table of energies"},
    descriptors={"macs_per_cycle": 128.0},
    tool="vela",
    tool_version="5.2.0",
    source="test",
)
WHEN = datetime(2025, 3, 1, 12, 0, 5, tzinfo=UTC)


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def network(number: int) -> Network:
    return Network(
        graph_id=sha(("graph", number)),
        model_id=sha(("model", number)),
        dtype="int8",
        operators=12,
        file_bytes=1000 + number,
        macs=None if number % 5 == 0 else 10**10 + number,
        space="kws",
        seed=number,
        family="ds_cnn",
        architecture='{"n":"a, \\"b\\""}',
    )


def measurement(number: int, **changes: object) -> Measurement:
    values: dict[str, object] = {
        "model_id": sha(("model", number)),
        "graph_id": sha(("graph", number)),
        "device": "npu-a",
        "metric": Metric.LATENCY_MS,
        "definition": "compute",
        "mode": Mode.SIMULATED,
        "statistic": Statistic.EXACT,
        "tool": "vela",
        "tool_version": "5.2.0",
        "value": 0.1 + number / 3,
        "conditions": {"memory_mode": "Shared_Sram", "clock_hz": 5e8},
        "measured_at": WHEN,
    }
    return Measurement(**(values | changes))  # type: ignore[arg-type]


def outcome(number: int) -> list[Measurement]:
    """A value, one with samples, one unavailable, and two operators."""
    sampled = {"statistic": Statistic.MIN, "samples": (1.5, 1.25, 2.0, 1.125), "value": 1.125}
    failed = {"metric": Metric.PEAK_MEMORY_BYTES, "value": None, "unavailable": 'crashed, "badly"\nSIGSEGV'}
    return [
        measurement(number),
        measurement(number, **sampled),
        measurement(number, **failed),
        measurement(number, operator=OperatorRef(0, 0), value=0.25),
        measurement(number, operator=OperatorRef(0, 1), value=None, unavailable="on the CPU"),
    ]

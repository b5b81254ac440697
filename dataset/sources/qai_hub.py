"""Qualcomm AI Hub: published runs of TFLite models on Snapdragon devices."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataset.records import Network
from dataset.sources.networks import Row, named_network
from dataset.sources.source import Found, Options, Source, imported, number, slug
from dataset.sources.tables import numbers, read_table
from perfsage.device import Device
from perfsage.measurement import Measurement, Statistic
from perfsage.metrics import Metric

_COLUMNS = (
    "model", "precision", "component", "device", "runtime", "latency_ms", "peak_memory_mb_max",
    "compute_unit", "npu", "gpu", "cpu",
)  # fmt: skip
_BYTES_A_MB = 1 << 20
_DTYPES = {"float": "float32", "w8a8": "int8"}


class QaiHub:
    """Reads a table of runs."""

    source = Source(
        name="qai-hub",
        title="Qualcomm AI Hub Models",
        url="https://pypi.org/project/qai_hub_models/",
        licence="BSD-3-Clause",
        files=("a .csv or .parquet with the columns " + ", ".join(_COLUMNS),),
        note="There are no graphs: networks are stored by model, component and precision. Memory is the "
        "upper end of the published range, in MB of 2**20 bytes.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return one network a model, component and precision."""
        frame = read_table(path, _COLUMNS)
        for row, value in enumerate(numbers(frame, "latency_ms", path), 1):
            number(value, f"row {row}: latency_ms", path)
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for entry in frame.to_dict("records"):
            groups[f"{entry['model']}/{entry['component']}/{entry['precision']}"].append(entry)
        devices = {str(name): _device(str(name)) for name in frame["device"].unique()}
        return Found(tuple(devices.values()), len(groups), _rows(groups, devices))


def _device(name: str) -> Device:
    return Device(
        name=f"qai-hub-{slug(name)}",
        kind="phone" if "Samsung" in name else "board",
        description=name,
        metrics={Metric.LATENCY_MS: "whole_network", Metric.PEAK_MEMORY_BYTES: "estimated_peak"},
        unavailable=dict.fromkeys((Metric.ENERGY_MJ, Metric.STORAGE_BYTES), "the source does not have it"),
        tool="Qualcomm AI Hub",
    )


def _rows(groups: Mapping[str, list[dict[str, Any]]], devices: Mapping[str, Device]) -> Iterator[Row]:
    for name, entries in groups.items():
        precision = str(entries[0]["precision"])
        network = named_network(
            "Qualcomm AI Hub", name, _DTYPES.get(precision, precision), entries[0]["model"]
        )
        seen: Counter[str] = Counter()
        measurements: list[Measurement] = []
        for entry in entries:
            seen[entry["device"]] += 1
            measurements += _measurements(network, devices[entry["device"]], entry, seen[entry["device"]])
        yield network, tuple(measurements)


def _measurements(
    network: Network, device: Device, entry: Mapping[str, Any], repeat: int
) -> Iterator[Measurement]:
    conditions: dict[str, str | int | float | bool] = {
        "runtime": str(entry["runtime"]),
        "compute_unit": str(entry["compute_unit"]),
        **{
            f"{unit}_layers": int(entry[unit]) for unit in ("npu", "gpu", "cpu") if entry[unit] == entry[unit]
        },
    }
    if repeat > 1:
        conditions["repeat"] = repeat
    yield imported(network, device, Metric.LATENCY_MS, float(entry["latency_ms"]), conditions)
    peak_bytes = float(entry["peak_memory_mb_max"]) * _BYTES_A_MB
    yield imported(
        network,
        device,
        Metric.PEAK_MEMORY_BYTES,
        peak_bytes if peak_bytes > 0 else None,
        conditions,
        statistic=Statistic.PEAK,
        reason="the source states no peak",
    )


QAI_HUB = QaiHub()

"""EdgeMark: 29 models and their variants on two microcontrollers under four toolchains."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dataset.records import Network
from dataset.sources.edgemark_workbook import WORKBOOK, read_runs
from dataset.sources.networks import Row, file_network, named_network
from dataset.sources.source import Found, Options, Source, imported, number, slug
from dataset.sources.tables import numbers, read_table
from perfsage.device import Device
from perfsage.measurement import Measurement
from perfsage.metrics import Metric

_COLUMNS = ("setup", "model", "variant", "flash_kb", "ram_kb", "runs", "latency_ms_mean", "latency_ms_std")
_BYTES_A_KB = 1024
"""All values of the set times 1024 are whole bytes."""
_BOARDS = {"Renesas": "RX65N", "CCRX": "RX65N", "STM": "STM32L4R5 (Cortex-M4)"}


class EdgeMark:
    """Reads the set's own workbook of results, or a table made of it."""

    source = Source(
        name="edgemark",
        title="EdgeMark",
        url="https://github.com/Black3rror/EdgeMark",
        licence="MIT",
        files=(WORKBOOK,),
        note="The models are not part of the set: give the .tflite files that you have with "
        "--model MODEL/VARIANT=FILE; the others are stored by name, without a graph.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return one network a model and variant, of a checkout, its workbook, or a table."""
        left_out: Counter[str] = Counter()
        own = path.is_dir() or path.suffix == ".xlsx"
        rows = read_runs(path, left_out) if own else _table(path)
        for place, row in enumerate(rows, 1):
            for column in ("latency_ms_mean", "flash_kb", "runs"):
                number(row[column], f"run {place}: {column}", path)
        devices = {setup: _device(setup) for setup in dict.fromkeys(str(row["setup"]) for row in rows)}
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            groups[f"{row['model']}/{row['variant']}"].append(row)
        return Found(tuple(devices.values()), len(groups), _rows(groups, devices, options), left_out)


def _table(path: Path) -> list[dict[str, Any]]:
    frame = read_table(path, _COLUMNS).astype({"setup": str})
    for column in ("flash_kb", "ram_kb", "runs", "latency_ms_mean"):
        numbers(frame, column, path)
    return [
        {str(key): None if value != value else value for key, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _device(setup: str) -> Device:
    board = next((text for key, text in _BOARDS.items() if key in setup), "RX65N")
    return Device(
        name=f"edgemark-{slug(setup)}",
        kind="mcu",
        description=f"{board}, {setup}",
        metrics={
            Metric.LATENCY_MS: "whole_network",
            Metric.PEAK_MEMORY_BYTES: "ram_of_the_firmware",
            Metric.STORAGE_BYTES: "flash_of_the_firmware",
        },
        unavailable={Metric.ENERGY_MJ: "the source measured no energy"},
        tool="EdgeMark",
    )


def _rows(
    groups: Mapping[str, list[dict[str, Any]]], devices: Mapping[str, Device], options: Options
) -> Iterator[Row]:
    for name, rows in groups.items():
        model, _, variant = name.partition("/")
        if name in options.models:
            network = file_network(options.models[name], model)
        else:
            network = named_network("EdgeMark", name, _dtype(variant), model)
        repeats: Counter[str] = Counter()
        measurements: list[Measurement] = []
        for row in rows:
            repeats[row["setup"]] += 1
            measurements += _measurements(network, devices[row["setup"]], row, repeats[row["setup"]])
        yield network, tuple(measurements)


def _dtype(variant: str) -> str:
    return "int8" if variant.startswith(("q_full_int", "q_16x8")) else "float32"


def _measurements(
    network: Network, device: Device, row: Mapping[str, Any], repeat: int
) -> Iterator[Measurement]:
    latency_ms = float(row["latency_ms_mean"])
    conditions: dict[str, str | int | float | bool] = {
        "runs": int(row["runs"]),
        "variant": str(row["variant"]),
    }
    if isinstance(row["latency_ms_std"], int | float):
        conditions["noise"] = round(row["latency_ms_std"] / latency_ms, 6)
    if repeat > 1:
        conditions["repeat"] = repeat
    yield imported(network, device, Metric.LATENCY_MS, latency_ms, conditions)
    flash_bytes = float(round(row["flash_kb"] * _BYTES_A_KB))
    yield imported(network, device, Metric.STORAGE_BYTES, flash_bytes, conditions)
    ram_bytes = None if row["ram_kb"] is None else float(round(row["ram_kb"] * _BYTES_A_KB))
    yield imported(network, device, Metric.PEAK_MEMORY_BYTES, ram_bytes, conditions)


EDGEMARK = EdgeMark()

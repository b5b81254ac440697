"""Compare stored labels with what the vendors' own programs print for networks built again.

Vela runs as from its command line, with a file and options, and its summary is read from the CSV that it
writes; TFLM is asked through its public interpreter. Energy is not compared: no vendor's tool states one.
"""

from __future__ import annotations

import csv
import math
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perfsage.errors import DatasetError
from perfsage.metrics import Metric
from profilers.npu.configuration import parse_configuration
from profilers.workers import Job, WorkerPool

if TYPE_CHECKING:
    from dataset.store import Store

TOLERANCE = 1e-6
"""Vela prints KiB and seconds with more digits than this; everything else is equal."""
Quantity = tuple[str, str]
_COLUMNS = ("network", "device", "metric", "definition", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A stored label that is not what the vendor's program says now, or that it could not say."""

    network: int
    device: str
    metric: str
    definition: str
    stored: float
    vendor: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VendorReport:
    """How many networks and labels were compared, and which differ."""

    networks: int
    labels: int
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


def compare_with_vendor(
    store: Store, *, count: int = 200, seed: int = 0, workers: int | None = None
) -> VendorReport:
    """Compare the labels of `count` random (network, simulated device) pairs.

    DatasetError when the dataset has no label that a vendor's program can repeat.
    """
    rows = _comparable(store)
    pairs = rows[["network", "device"]].drop_duplicates()
    if pairs.empty:
        raise DatasetError("no label comes from a tool that can be asked again", where=store.url)
    chosen = pairs.sample(min(count, len(pairs)), random_state=np.random.default_rng(seed))
    labels = rows.merge(chosen, on=["network", "device"])
    groups = [
        (int(network), str(device), group)
        for (network, device), group in labels.groupby(["network", "device"])
    ]
    differences: list[Difference] = []
    with WorkerPool(workers or len(os.sched_getaffinity(0)), name="vendor") as pool:
        for (network, device, group), reply in pool.map(lambda item: _job(store, item[0], item[1]), groups):
            said = {} if reply.value is None else reply.value
            differences += _differences(network, device, group, said, reply.failure or reply.unsupported)
    return VendorReport(
        networks=int(chosen["network"].nunique()), labels=len(labels), differences=tuple(differences)
    )


def _comparable(store: Store) -> Any:
    """Return the rows of networks with a seed that Vela or TFLM gave."""
    import pandas as pd

    frames = [pd.DataFrame(columns=list(_COLUMNS))]
    for device in store.devices():
        if device.name == "tflm" or device.name.startswith("ethos-"):
            frame = store.frame(device=device.name)
            asked = [
                (metric, definition) in (_TFLM_NAMES if device.name == "tflm" else _VELA_COLUMNS)
                for metric, definition in zip(frame["metric"], frame["definition"], strict=True)
            ]
            known = frame["value"].notna() & frame["seed"].notna() & np.array(asked, bool)
            frames.append(frame.loc[known, list(_COLUMNS)])
    return pd.concat(frames)


def _job(store: Store, network: int, device: str) -> Job:
    task = "tflm_job" if device == "tflm" else "vela_job"
    return Job(
        tool="the vendor's program",
        task=f"api.workflows.vendor_check:{task}",
        data=store.rebuild(network),
        arguments={"device": device},
    )


def _differences(
    network: int, device: str, group: Any, said: dict[str, float], failure: str | None
) -> Iterator[Difference]:
    for metric, definition, stored in zip(group["metric"], group["definition"], group["value"], strict=True):
        vendor = said.get(f"{metric} {definition}")
        if vendor is None or not math.isclose(stored, vendor, rel_tol=TOLERANCE):
            yield Difference(
                network=network,
                device=device,
                metric=metric,
                definition=definition,
                stored=stored,
                vendor=vendor,
                reason=failure,
            )


_VELA_COLUMNS: dict[Quantity, tuple[str, float]] = {
    (Metric.LATENCY_MS.value, "estimate"): ("inference_time", 1e3),
    (Metric.PEAK_MEMORY_BYTES.value, "sram_peak"): ("sram_memory_used", 1024.0),
    (Metric.PEAK_MEMORY_BYTES.value, "dram_peak"): ("dram_memory_used", 1024.0),
}
_TFLM_NAMES: dict[Quantity, str] = {
    (Metric.PEAK_MEMORY_BYTES.value, f"arena_{name}"): name for name in ("total", "head", "tail")
}


def vela_job(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Run Vela's command line inside a worker and return the figures of its summary."""
    from ethosu.vela import vela

    configuration = parse_configuration(arguments["device"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(data)
        vela.main([str(path), *_options(configuration, folder)])
        summary = Path(folder) / f"model_summary_{configuration.system_config}.csv"
        with summary.open(encoding="utf-8") as file:
            row = next(csv.DictReader(file))
    return {
        f"{metric} {definition}": float(row[column]) * scale
        for (metric, definition), (column, scale) in _VELA_COLUMNS.items()
        if column in row
    }


def _options(configuration: Any, folder: str) -> Sequence[str]:
    return (
        *("--output-dir", folder),
        *("--accelerator-config", configuration.accelerator),
        *("--config", "Arm/vela.ini"),
        *("--system-config", configuration.system_config),
        *("--memory-mode", configuration.memory_mode),
    )


def tflm_job(data: bytes, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ask TFLM's interpreter inside a worker and return the sizes of its arena."""
    from tflite_micro.python.tflite_micro import runtime

    from profilers.worker import printed

    recording = runtime.InterpreterConfig.kAllocationRecording
    interpreter = runtime.Interpreter.from_bytes(data, arena_size=1 << 28, intrepreter_config=recording)
    interpreter.print_allocations()
    sizes = dict(re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", printed()))
    return {
        f"{metric} {definition}": float(sizes[name]) for (metric, definition), name in _TFLM_NAMES.items()
    }

"""ncnn's own benchmark: about 35 networks on a hundred phones, boards and computers."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.sources.networks import Row, named_network
from dataset.sources.source import Found, Options, Source, imported, number, slug, wrong
from dataset.sources.tables import numbers, read_table
from perfsage.device import Device
from perfsage.measurement import Measurement, Statistic
from perfsage.metrics import Metric

_COLUMNS = ("device", "threads", "gpu", "powersave", "model", "latency_ms_min", "latency_ms_mean")
_HEADING = re.compile(r"^###\s+(.{1,200}?)\s*$")
_SETTING = re.compile(r"^(num_threads|powersave|gpu_device) = (-?[0-9]{1,4})\s*$")
_TIMING = re.compile(r"^\s*([\w.-]{1,60})\s+min =\s*([0-9.]{1,20})\s+max =.{1,40}avg =\s*([0-9.]{1,20})")
_LARGEST_FILE_BYTES = 64 << 20
_NO_GPU_NUMBER = "rows that do not say whether a CPU or a GPU ran"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One line of the benchmark's output; `gpu` is -1 where the CPU ran."""

    device: str
    threads: int
    powersave: int
    gpu: int
    model: str
    min_ms: float
    mean_ms: float

    @property
    def device_name(self) -> str:
        """The device, and which of its processors."""
        return f"ncnn-{slug(self.device)}" + ("" if self.gpu < 0 else f"-gpu{self.gpu}")


class Ncnn:
    """Reads benchmark/README.md of the repository, or a table made of it."""

    source = Source(
        name="ncnn",
        title="ncnn benchmark",
        url="https://github.com/Tencent/ncnn",
        licence="BSD-3-Clause",
        files=("benchmark/README.md",),
        note="Networks are stored by name, without a graph: their .param files are ncnn's own, and the "
        "runtime is ncnn, not TensorFlow Lite.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return one network a model."""
        if path.is_dir():
            path = path / "benchmark" / "README.md"
        left_out: Counter[str] = Counter()
        timings = _readme(path) if path.suffix == ".md" else _table(path, left_out)
        if not timings:
            raise wrong("there is no timing of ncnn's benchmark", path, "Is this the right file?")
        groups: dict[str, list[Timing]] = defaultdict(list)
        for timing in timings:
            groups[timing.model.replace("-", "_")].append(timing)
        devices = {timing.device_name: _device(timing) for timing in timings}
        return Found(tuple(devices.values()), len(groups), _rows(groups, devices), left_out)


def _table(path: Path, left_out: Counter[str]) -> list[Timing]:
    frame = read_table(path, _COLUMNS)
    unclear = frame["gpu"].isna()
    if unclear.any():
        left_out[_NO_GPU_NUMBER] = int(unclear.sum())
        frame = frame[~unclear]
    times = zip(numbers(frame, "latency_ms_min", path), numbers(frame, "latency_ms_mean", path), strict=True)
    return [
        Timing(
            device=str(row["device"]), threads=int(row["threads"]), powersave=int(row["powersave"]),
            gpu=int(row["gpu"]), model=str(row["model"]),
            min_ms=number(least, "latency_ms_min", path), mean_ms=number(mean, "latency_ms_mean", path),
        )
        for row, (least, mean) in zip(frame.to_dict("records"), times, strict=True)
    ]  # fmt: skip


def _readme(path: Path) -> list[Timing]:
    if not path.is_file():
        raise wrong("there is no such file", path)
    with path.open("rb") as file:
        lines = file.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace").splitlines()
    return list(_timings(lines, path))


def _timings(lines: Sequence[str], path: Path) -> Iterator[Timing]:
    device, settings = "", dict[str, int]()
    for line in lines:
        if heading := _HEADING.match(line):
            device, settings = heading[1], {}
        elif setting := _SETTING.match(line):
            settings[setting[1]] = int(setting[2])
        elif (timing := _TIMING.match(line)) and device and {"num_threads", "gpu_device"} <= settings.keys():
            yield Timing(
                device=device, threads=settings["num_threads"], powersave=settings.get("powersave", 0),
                gpu=settings["gpu_device"], model=timing[1],
                min_ms=number(float(timing[2]), f"min of {timing[1]}", path),
                mean_ms=number(float(timing[3]), f"avg of {timing[1]}", path),
            )  # fmt: skip


def _device(timing: Timing) -> Device:
    return Device(
        name=timing.device_name,
        kind="cpu" if timing.gpu < 0 else "gpu",
        description=timing.device + (", CPU" if timing.gpu < 0 else f", GPU {timing.gpu}"),
        metrics={Metric.LATENCY_MS: "whole_network"},
        unavailable={m: "the source has latency only" for m in Metric if m is not Metric.LATENCY_MS},
        tool="benchncnn",
    )


def _rows(groups: Mapping[str, list[Timing]], devices: Mapping[str, Device]) -> Iterator[Row]:
    for model, timings in groups.items():
        dtype = "int8" if model.endswith("_int8") else "float32"
        network = named_network("ncnn", model, dtype, model.removesuffix("_int8"))
        seen: Counter[tuple[str, int, int]] = Counter()
        measurements: list[Measurement] = []
        for timing in timings:
            key = (timing.device_name, timing.threads, timing.powersave)
            seen[key] += 1
            conditions: dict[str, str | int | float | bool] = {
                "runtime": "ncnn",
                "threads": timing.threads,
                "powersave": timing.powersave,
            }
            if seen[key] > 1:
                conditions["repeat"] = seen[key]
            device, metric = devices[timing.device_name], Metric.LATENCY_MS
            measurements += [
                imported(network, device, metric, timing.min_ms, conditions, statistic=Statistic.MIN),
                imported(network, device, metric, timing.mean_ms, conditions, definition="mean_of_the_loop"),
            ]
        yield network, tuple(measurements)


NCNN = Ncnn()

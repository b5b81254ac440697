"""MLPerf Tiny: latency and energy of four reference networks on microcontrollers and accelerators."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset.records import Network
from dataset.sources.mlperf_tiny_files import read_results
from dataset.sources.networks import Row, file_network, named_network
from dataset.sources.source import Found, Options, Source, imported, number, slug, wrong
from dataset.sources.tables import numbers, read_table
from perfsage.device import Device
from perfsage.measurement import Measurement, Statistic
from perfsage.metrics import Metric

TASKS = {"ad": "ad", "ic": "ic", "kws": "kws", "vww": "vww", "anomaly_detection": "ad",
         "image_classification": "ic", "keyword_spotting": "kws", "visual_wake_words": "vww"}  # fmt: skip
_COLUMNS = ("round", "division", "submitter", "board", "task", "inferences_per_s", "energy_uj_per_inference")
_UJ_A_MJ = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One submission's result for one task."""

    round: str
    division: str
    submitter: str
    board: str
    task: str
    inferences_per_s: float
    energy_uj: float | None

    @property
    def device_name(self) -> str:
        """Board and submitter, since the software that a submitter brings decides as much as the board."""
        board, _, last = self.board.rpartition("/")
        return f"mlperf-tiny-{slug(self.submitter)}-{slug(board if last in TASKS else self.board)}"

    @property
    def network(self) -> str:
        """The task of a reference network (closed division), or the submitter's own network."""
        if self.division == "closed" and self.task in TASKS:
            return TASKS[self.task]
        return f"{self.division}/{self.submitter}/{self.task}"


class MlperfTiny:
    """Reads a checkout of a results repository, or a table of results."""

    source = Source(
        name="mlperf-tiny",
        title="MLPerf Tiny results",
        url="https://github.com/mlcommons/tiny_results_v1.1 (and the other rounds)",
        licence="Apache-2.0",
        files=(
            "closed/*/results/*/TASK/performance/results.txt",
            "closed/*/results/*/TASK/energy/results.txt",
            "open/*/results/...",
        ),
        note="Give the reference networks, which stand in github.com/mlcommons/tiny, with "
        "--model ad=FILE --model ic=FILE --model kws=FILE --model vww=FILE; a network that is not given is "
        "stored by name, without a graph, and so are the open division's own networks.",
    )

    def read(self, path: Path, options: Options) -> Found:
        """Return one network a task."""
        unknown = sorted(set(options.models) - set(TASKS.values()))
        if unknown:
            raise wrong(f"there is no task {unknown[0]!r}", path, "Tasks: ad, ic, kws, vww.")
        results = [Result(**each) for each in read_results(path)] if path.is_dir() else _table(path)
        if not results:
            raise wrong("there is no result of MLPerf Tiny", path, "Is this the right folder?")
        groups: dict[str, list[Result]] = defaultdict(list)
        for result in results:
            groups[result.network].append(result)
        devices = {name: _device(name, of) for name, of in _by_device(results).items()}
        return Found(tuple(devices.values()), len(groups), _rows(groups, devices, options))


def _table(path: Path) -> list[Result]:
    frame = read_table(path, _COLUMNS)
    speeds = numbers(frame, "inferences_per_s", path)
    energies = numbers(frame, "energy_uj_per_inference", path)
    return [
        Result(
            round=str(row["round"]), division=str(row["division"]), submitter=str(row["submitter"]),
            board=str(row["board"]), task=str(row["task"]),
            inferences_per_s=number(speed, "inferences_per_s", path), energy_uj=energy,
        )
        for row, speed, energy in zip(frame.to_dict("records"), speeds, energies, strict=True)
    ]  # fmt: skip


def _by_device(results: Sequence[Result]) -> dict[str, list[Result]]:
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.device_name].append(result)
    return groups


def _device(name: str, results: Sequence[Result]) -> Device:
    metrics = {Metric.LATENCY_MS: "whole_network"}
    unavailable = {
        Metric.PEAK_MEMORY_BYTES: "the source has latency and energy only",
        Metric.STORAGE_BYTES: "the source has latency and energy only",
    }
    if any(result.energy_uj for result in results):
        metrics[Metric.ENERGY_MJ] = "energy_per_inference"
    else:
        unavailable[Metric.ENERGY_MJ] = "the submitter measured no energy"
    return Device(
        name=name,
        kind="mcu",
        description=f"{results[0].board}, submitted by {results[0].submitter}",
        metrics=metrics,
        unavailable=unavailable,
        tool="MLPerf Tiny",
    )


def _rows(
    groups: Mapping[str, list[Result]], devices: Mapping[str, Device], options: Options
) -> Iterator[Row]:
    for name, results in groups.items():
        if name in options.models:
            network = file_network(options.models[name], f"mlperf-tiny-{name}")
        else:
            network = named_network("MLPerf Tiny", name, "unknown", f"mlperf-tiny-{name.split('/')[0]}")
        seen: Counter[tuple[str, str, str]] = Counter()
        measurements: list[Measurement] = []
        for result in results:
            key = (result.device_name, result.round, result.division)
            seen[key] += 1
            measurements += _measurements(network, devices[result.device_name], result, seen[key])
        yield network, tuple(measurements)


def _measurements(network: Network, device: Device, result: Result, repeat: int) -> Iterator[Measurement]:
    conditions: dict[str, str | int | float | bool] = {"round": result.round, "division": result.division}
    if repeat > 1:
        conditions["repeat"] = repeat
    latency_ms = 1000 / result.inferences_per_s
    yield imported(network, device, Metric.LATENCY_MS, latency_ms, conditions, statistic=Statistic.MEDIAN)
    if result.energy_uj is not None:
        energy_mj = result.energy_uj / _UJ_A_MJ
        yield imported(network, device, Metric.ENERGY_MJ, energy_mj, conditions, statistic=Statistic.MEDIAN)


MLPERF_TINY = MlperfTiny()

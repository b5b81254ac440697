"""How far the formulas for Ethos-U accelerators are from Vela by themselves, with nothing learned.

Latency, the peak of SRAM, the bytes of flash (or of constants in DRAM), and energy by the table that ships.

Run as `python -m benchmarks.npu_formulas [--count 3] [--space NAME] [--device NAME] [MODEL.tflite ...]`.
The formulas are what a predictor starts from (decisions 7 and 9 to 11). Networks of a space are those from
`--first` on, which no shipped label is of; with models, these take the place of all spaces.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset.spaces import get_space
from perfsage.errors import PerfsageError
from perfsage.features import GraphFeatures, extract_features
from perfsage.graph import read_graph
from perfsage.models.physics import (
    energy_columns,
    memory_limit_bytes,
    memory_rates,
    storage_rates,
    term_columns,
    unit_rates,
)
from profilers.npu.configuration import parse_configuration
from profilers.npu.energy import load_energy_table
from profilers.npu.tasks import compile_model

SPACES = ("classification", "detection", "kws", "super_resolution", "operators")
METRICS = ("cycles", "sram", "flash", "energy")
DEVICES = ("ethos-u55-32", "ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024")


def main() -> None:
    """Print the median and the mean distance of each metric for each device and space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--first", type=int, default=2_000_000)
    parser.add_argument("--space", action="append", choices=SPACES)
    parser.add_argument("--device", action="append", choices=DEVICES)
    options = parser.parse_args()
    places = ["files"] if options.models else options.space or SPACES
    print(f"{'':24}" + "".join(f"{place:>24}" for place in places))
    found = {place: list(networks(place, options)) for place in places}
    for device in options.device or DEVICES:
        errors = {place: distances(device, found[place]) for place in places}
        for row, metric in enumerate(METRICS):
            texts = [_summary([error[row] for error in errors[place]]) for place in places]
            print(f"{device:16}{metric:8}" + "".join(f"{text:>24}" for text in texts))


def networks(place: str, options: argparse.Namespace) -> Iterator[tuple[bytes, GraphFeatures]]:
    """Yield each network of a space, or each file, with its features, but for what cannot be read."""
    seeds = range(options.first, options.first + options.count)
    for file in options.models or seeds:
        try:
            data = file.read_bytes() if isinstance(file, Path) else get_space(place).build(file, "int8").data
            yield data, extract_features(read_graph(data))
        except (OSError, PerfsageError) as error:
            print(f"left out: {file}: {error}")


def distances(device: str, found: list[tuple[bytes, GraphFeatures]]) -> list[list[float]]:
    """Return the relative distance from Vela in each of METRICS, for each network that Vela compiles."""
    made = []
    for data, features in found:
        theirs = vela(device, data)
        if theirs:
            made.append(
                [
                    abs(mine / its - 1) if its else np.nan
                    for mine, its in zip(ours(device, features), theirs, strict=True)
                ]
            )
    return made


def ours(device: str, features: GraphFeatures) -> list[float]:
    """Return what the formulas give: cycles, bytes of SRAM and of constants, and millijoules."""
    configuration = parse_configuration(device)
    descriptors = configuration.descriptors()
    rates, stored = unit_rates(descriptors), storage_rates(descriptors)
    assert rates is not None and stored is not None
    terms = term_columns(features.physical)
    # The first term is added, the largest of the others is what an operator waits for.
    latency = terms * rates
    cycles = (latency[:, 0] + latency[:, 1:].max(axis=1)).sum() * configuration.clock_hz / 1e3
    live = min(float((terms @ memory_rates(descriptors)).max()), memory_limit_bytes(descriptors))
    return [float(cycles), live, float((terms @ stored).sum()), _millijoules(descriptors, terms)]


def _millijoules(descriptors: dict[str, float], terms: NDArray[np.float64]) -> float:
    columns, table = energy_columns(descriptors), load_energy_table()
    assert columns is not None
    counts = {name: int(terms[:, column].sum()) for name, column in columns.items()}
    macs = counts.pop("macs")
    memories = {name: {"read_bytes": bytes_, "written_bytes": 0} for name, bytes_ in counts.items()}
    return table.millijoules(macs, memories)


def vela(device: str, data: bytes) -> list[float] | None:
    """Return what Vela says; None where it leaves all to the CPU, or fails."""
    try:
        made = compile_model(data, {"device": device, "layers": False})
    except (PerfsageError, RuntimeError):
        return None
    if not made["total_cycles"]:
        return None
    sram = made["memories"].get("sram", {}).get("peak_bytes", 0)
    energy = load_energy_table().millijoules(made["macs"], made["memories"])
    return [float(made["total_cycles"]), float(sram), float(made["read_only_bytes"]), energy]


def _summary(errors: list[float]) -> str:
    there = np.array(errors)[np.isfinite(errors)] if errors else np.empty(0)
    if not len(there):
        return "-"
    return f"{100 * np.median(there):.2f} ({100 * np.mean(there):.1f}) % of {len(there)}"


if __name__ == "__main__":
    main()

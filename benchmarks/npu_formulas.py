"""How far the formulas for Ethos-U accelerators are from Vela by themselves, with nothing learned.

Run as `python -m benchmarks.npu_formulas [--count 3] [--space NAME] [--device NAME] [MODEL.tflite ...]`.
The formulas are what a predictor starts from (decision 7). Networks of a space are those from `--first` on,
which no shipped label is of; with models, these take the place of all spaces.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataset.spaces import get_space
from perfsage.errors import PerfsageError
from perfsage.features import GraphFeatures, extract_features
from perfsage.graph import read_graph
from perfsage.models.physics import term_columns, unit_rates
from profilers.npu.configuration import parse_configuration
from profilers.npu.tasks import compile_model

SPACES = ("classification", "detection", "kws", "super_resolution", "operators")
DEVICES = ("ethos-u55-32", "ethos-u55-128", "ethos-u65-512", "ethos-u85-256", "ethos-u85-1024")


def main() -> None:
    """Print the median and the mean distance for each device and space."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--first", type=int, default=2_000_000)
    parser.add_argument("--space", action="append", choices=SPACES)
    parser.add_argument("--device", action="append", choices=DEVICES)
    options = parser.parse_args()
    places = ["files"] if options.models else options.space or SPACES
    print(f"{'':16}" + "".join(f"{place:>24}" for place in places))
    found = {place: list(networks(place, options)) for place in places}
    for device in options.device or DEVICES:
        print(f"{device:16}" + "".join(f"{distance(device, found[place]):>24}" for place in places))


def networks(place: str, options: argparse.Namespace) -> Iterator[tuple[bytes, GraphFeatures]]:
    """Yield each network of a space, or each file, with its features, but for what cannot be read."""
    files = options.models or range(options.first, options.first + options.count)
    for file in files:
        try:
            data = file.read_bytes() if options.models else get_space(place).build(file, "int8").data
            yield data, extract_features(read_graph(data))
        except (OSError, PerfsageError) as error:
            print(f"left out: {file}: {error}")


def distance(device: str, found: list[tuple[bytes, GraphFeatures]]) -> str:
    """Return the median and the mean distance from Vela, in percent, over what it compiles for an NPU."""
    configuration = parse_configuration(device)
    rates = unit_rates(configuration.descriptors())
    assert rates is not None
    errors = []
    for data, features in found:
        cycles = vela_cycles(device, data)
        if cycles:
            terms = term_columns(features.physical) * rates
            # The first term is added, the largest of the others is what an operator waits for.
            ours_ms = (terms[:, 0] + terms[:, 1:].max(axis=1)).sum()
            errors.append(abs(ours_ms / (cycles / configuration.clock_hz * 1e3) - 1))
    if not errors:
        return "-"
    return f"{100 * np.median(errors):.2f} ({100 * np.mean(errors):.1f}) % of {len(errors)}"


def vela_cycles(device: str, data: bytes) -> float:
    """Return the cycles that Vela estimates; 0 where it leaves all to the CPU, or fails."""
    try:
        return float(compile_model(data, {"device": device, "layers": False})["total_cycles"] or 0)
    except (PerfsageError, RuntimeError):
        return 0.0


if __name__ == "__main__":
    main()

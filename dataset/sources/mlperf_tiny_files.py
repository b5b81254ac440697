"""Read the results.txt files of a checkout of MLPerf Tiny's results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataset.sources.source import number, wrong

_SPEED = re.compile(r"Median throughput is\s+([0-9.]{1,30})\s+inf\./sec\.")
_ENERGY = re.compile(r"Median energy cost is\s+([0-9.]{1,30})\s+uJ/inf\.")
_ROUND = re.compile(r"tiny_results_v([0-9.]{1,10})")
_LARGEST_FILE_BYTES = 16 << 20


def read_results(root: Path) -> Iterator[dict[str, Any]]:
    """Yield every result with a performance run; energy is None where there was no energy run."""
    found = _ROUND.search(root.resolve().name)
    round_ = found[1] if found else "unknown"
    for division in ("closed", "open"):
        for path in sorted((root / division).glob("*/results/**/performance/results.txt")):
            parts = path.relative_to(root / division).parts
            submitter, board, task = parts[0], "/".join(parts[2:-3]), parts[-3]
            speed = _value(path, _SPEED)
            if speed is None:
                raise wrong("the file states no median throughput", path)
            energy = path.parent.parent / "energy" / "results.txt"
            yield {
                "round": round_,
                "division": division,
                "submitter": submitter,
                "board": board,
                "task": task,
                "inferences_per_s": speed,
                "energy_uj": _value(energy, _ENERGY) if energy.is_file() else None,
            }


def _value(path: Path, pattern: re.Pattern[str]) -> float | None:
    with path.open("rb") as file:
        text = file.read(_LARGEST_FILE_BYTES).decode("utf-8", "replace")
    found = pattern.findall(text)
    try:
        return number(float(found[-1]), "the median", path) if found else None
    except ValueError as error:
        raise wrong(f"the median is {found[-1]!r}, which is no number", path) from error

"""EdgeMark's own file of results: one sheet a setup, one row a run, under a heading of two rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dataset.sources.source import wrong
from dataset.sources.workbook import Rows, read_workbook

WORKBOOK = "benchmarking_results/Experiments.xlsx"
_HEADINGS = {"Model Name": "model", "Model Type": "variant", "Flash (kB)": "flash_kb", "RAM (kB)": "ram_kb"}
_TIME = "Execution Time (ms)"
_TIME_HEADINGS = {"n tests": "runs", "average": "latency_ms_mean", "std": "latency_ms_std"}
_TEXTS = ("model", "variant")
_NEEDED = ("model", "flash_kb", "runs", "latency_ms_mean")


def read_runs(path: Path, left_out: Counter[str]) -> list[dict[str, Any]]:
    """Return the runs of a workbook, or of the one in a checkout, with the keys of EdgeMark's table.

    `left_out` counts runs without a latency or a size, which are those that failed.
    """
    file = path / WORKBOOK if path.is_dir() else path
    if not file.is_file():
        raise wrong("there is no such file", file, "The checkout must have it; a .csv can be read as well.")
    runs: list[dict[str, Any]] = []
    for setup, rows in read_workbook(file).items():
        for run in _runs(rows):
            if all(key in run for key in _NEEDED):
                runs.append(
                    {"setup": setup, "variant": "basic", "latency_ms_std": None, "ram_kb": None} | run
                )
            else:
                left_out["runs without a latency or a size"] += 1
    if not runs:
        raise wrong("no sheet holds results of EdgeMark", file, "Is this the right file?")
    return runs


def _runs(rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield the rows of one sheet that name a model; none where the headings are not those of results."""
    columns = _columns(rows)
    if not {"model", "latency_ms_mean"} <= set(columns.values()):
        return
    for number in sorted(rows):
        cells = {columns[letters]: cell for letters, cell in rows[number].items() if letters in columns}
        run = {key: cell for key, cell in cells.items() if isinstance(cell, str) == (key in _TEXTS)}
        if number > 2 and "model" in run and len(run) > 1:
            yield run


def _columns(rows: Rows) -> dict[str, str]:
    """Return what each column holds. The first heading of the execution time spans three columns."""
    first, second = rows.get(1, {}), rows.get(2, {})
    columns = {letters: _HEADINGS[str(text)] for letters, text in first.items() if text in _HEADINGS}
    starts = [letters for letters, text in first.items() if text == _TIME]
    if starts:
        following = sorted((c for c in second if _order(c) >= _order(starts[0])), key=_order)
        names = zip(following, _TIME_HEADINGS.items(), strict=False)
        columns |= {letters: key for letters, (text, key) in names if second[letters] == text}
    return columns


def _order(letters: str) -> tuple[int, str]:
    return len(letters), letters

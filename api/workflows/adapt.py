"""Add a device to a predictor from a table of measurements."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from api.workflows.models import read_graph_file
from perfsage.device import Device
from perfsage.errors import InvalidInputError, MissingExtraError
from perfsage.metrics import Metric

if TYPE_CHECKING:
    from perfsage.training.adapt import AdaptReport, Measured

LARGEST_TABLE_BYTES = 16 << 20
LONGEST_NAME = 100
MODEL_COLUMN = "model"
KINDS = ("cpu", "gpu", "npu", "mcu", "phone", "board", "accelerator")


def adapt_files(*, predictor: str, device: str, kind: str, measurements: Path, output: Path) -> AdaptReport:
    """Write a predictor to `output` that also knows `device`, from the networks named in `measurements`.

    PredictorError when the predictor cannot be used, InvalidInputError for the table, a model in it or the
    output folder.
    """
    try:
        from perfsage.training.adapt import adapt
    except ImportError as error:
        raise MissingExtraError(error.name or "scipy", "train") from error
    from perfsage.predictor import load_predictor

    _check_device(device, kind)
    loaded = load_predictor(predictor)
    described = Device(
        name=device,
        kind=kind,
        description=f"added from {measurements.name}",
        metrics={},
        source="measurements of the user",
    )
    return adapt(loaded, described, read_measurements(measurements), output)


def read_measurements(path: Path) -> list[Measured]:
    """Return the rows of a CSV file with a column `model` and any metrics; empty cells are not measured.

    Models are found relative to the file. InvalidInputError names the line that cannot be used.
    """
    from perfsage.training.adapt import MOST, Measured

    rows = _rows(path)
    if len(rows) > MOST:
        raise InvalidInputError(
            f"there are {len(rows)} measurements, and adapting takes {MOST} at most",
            where=str(path),
            hint="With as many, train a predictor: perfsage train",
        )
    return [
        Measured(read_graph_file(path.parent / row[MODEL_COLUMN]), _values(row, f"{path}, line {line}"))
        for line, row in rows
    ]


def _check_device(name: str, kind: str) -> None:
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InvalidInputError(
            f"{name[:LONGEST_NAME]!r} is no name for a device",
            hint=f"Use up to {LONGEST_NAME} printable characters.",
        )
    if kind not in KINDS:
        raise InvalidInputError(f"{kind!r} is no kind of device", hint=f"Kinds: {', '.join(KINDS)}.")


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        if path.stat().st_size > LARGEST_TABLE_BYTES:
            raise InvalidInputError("the table is absurdly large", where=str(path), hint="See docs/adapt.md.")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(list(reader.fieldnames or ()), path)
            return [(reader.line_num, _row(row, f"{path}, line {reader.line_num}")) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(
            f"the table cannot be read: {error}", where=str(path), hint="It must be CSV in UTF-8."
        ) from error


def _check_header(names: list[str], path: Path) -> None:
    metrics = [metric.value for metric in Metric]
    if MODEL_COLUMN not in names or not set(metrics) & set(names):
        raise InvalidInputError(
            f"the table has the columns {', '.join(names) or 'none'}",
            where=str(path),
            hint=f"It needs {MODEL_COLUMN!r} (the path of a .tflite file) and any of {', '.join(metrics)}.",
        )
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise InvalidInputError(f"the column {repeated[0]!r} is there twice", where=str(path))


def _row(row: dict[str, str | None], where: str) -> dict[str, str]:
    if None in row or not (row[MODEL_COLUMN] or "").strip():
        raise InvalidInputError("the line has no model, or too many cells", where=where)
    return {name: (text or "").strip() for name, text in row.items()}


def _values(row: dict[str, str], where: str) -> dict[Metric, float]:
    values = {}
    for metric in Metric:
        text = row.get(metric.value, "")
        if text:
            values[metric] = _number(text, metric, where)
    return values


def _number(text: str, metric: Metric, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InvalidInputError(
            f"{text!r} is not a positive number of {metric.unit}",
            where=f"{where}, {metric.value}",
            hint="Leave the cell empty where nothing was measured.",
        )
    return value

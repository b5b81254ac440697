"""A predictor on disk: a folder with `manifest.json`, `model.onnx`, `arrays.npz`, checked when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.device import Device
from perfsage.errors import PredictorError
from perfsage.features import FEATURE_SCHEMA, NODE_COLUMNS
from perfsage.features.npz import read_npz
from perfsage.metrics import Metric

FORMAT = "perfsage-predictor"
FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"
NETWORK_NAME = "model.onnx"
ARRAYS_NAME = "arrays.npz"
MANIFEST_LIMIT_BYTES = 16 << 20
ARRAYS_LIMIT_BYTES = 256 << 20
_GET_AGAIN = "Train it again, or get it again from where it came."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceEntry:
    """A device as a predictor knows it.

    `exact` maps a metric to the graph total that it equalled in training wherever that total is known.
    `labels` counts the graphs that each metric was learned from. `float_reason` is set on a device that
    cannot run float operators. An `inferred` device was never measured: what is predicted for it follows
    from its descriptors alone.
    """

    device: Device
    labels: Mapping[Metric, int]
    exact: Mapping[Metric, str] = field(default_factory=dict)
    float_reason: str | None = None
    inferred: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return {
            **asdict(self.device),
            "labels": dict(self.labels),
            "exact": dict(self.exact),
            "float_reason": self.float_reason,
            "inferred": self.inferred,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DeviceEntry:
        """Return what `to_dict` gave; KeyError, TypeError or ValueError where it is something else."""
        rest = dict(data)
        labels = {Metric(name): int(count) for name, count in rest.pop("labels").items()}
        exact = {Metric(name): str(column) for name, column in rest.pop("exact").items()}
        reason, inferred = rest.pop("float_reason"), bool(rest.pop("inferred"))
        for name in ("metrics", "unavailable"):
            rest[name] = {Metric(metric): str(text) for metric, text in rest[name].items()}
        return cls(device=Device(**rest), labels=labels, exact=exact, float_reason=reason, inferred=inferred)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything about a predictor that is not a weight."""

    name: str
    created_at: str
    devices: tuple[DeviceEntry, ...]
    training: Mapping[str, Any]
    evaluation: tuple[Mapping[str, Any], ...]
    files: Mapping[str, str]
    feature_schema: str = FEATURE_SCHEMA
    node_columns: tuple[str, ...] = NODE_COLUMNS
    adapted_devices: tuple[DeviceEntry, ...] = ()
    """Devices that were added from measurements: see `perfsage.models.adapted`."""

    @property
    def trained_on_graphs(self) -> int:
        """The number of graphs that the weights were fitted to."""
        return int(self.training.get("graphs", {}).get("train", 0))

    def to_json(self) -> str:
        """Return the file's text."""
        data = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "created_at": self.created_at,
            "feature_schema": self.feature_schema,
            "node_columns": list(self.node_columns),
            "devices": [entry.to_dict() for entry in self.devices],
            "training": self.training,
            "evaluation": list(self.evaluation),
            "files": dict(self.files),
            "adapted_devices": [entry.to_dict() for entry in self.adapted_devices],
        }
        return json.dumps(data, indent=1, allow_nan=False) + "\n"


def read_manifest(folder: Path) -> tuple[Manifest, str]:
    """Return the manifest in `folder` and its version (a hash); PredictorError says what is wrong with it."""
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > MANIFEST_LIMIT_BYTES:
            raise PredictorError("the manifest is absurdly large", where=str(path), hint=_GET_AGAIN)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PredictorError("there is no readable manifest", where=str(path), hint=_GET_AGAIN) from error
    try:
        data = json.loads(text)
        _check_versions(data, path)
        manifest = _from_data(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PredictorError(
            f"the manifest is damaged: {error!r}", where=str(path), hint=_GET_AGAIN
        ) from error
    return manifest, hashlib.sha256(text.encode()).hexdigest()[:16]


def _from_data(data: Mapping[str, Any]) -> Manifest:
    return Manifest(
        name=str(data["name"]),
        created_at=str(data["created_at"]),
        devices=tuple(DeviceEntry.from_dict(entry) for entry in data["devices"]),
        training=dict(data["training"]),
        evaluation=tuple(data["evaluation"]),
        files={str(name): str(digest) for name, digest in data["files"].items()},
        feature_schema=str(data["feature_schema"]),
        node_columns=tuple(data["node_columns"]),
        adapted_devices=tuple(DeviceEntry.from_dict(entry) for entry in data.get("adapted_devices", ())),
    )


def _check_versions(data: Mapping[str, Any], path: Path) -> None:
    if data.get("format") != FORMAT:
        raise PredictorError("this is not a predictor's manifest", where=str(path), hint=_GET_AGAIN)
    found, features = data.get("format_version"), data.get("feature_schema")
    if found != FORMAT_VERSION or features != FEATURE_SCHEMA or tuple(data["node_columns"]) != NODE_COLUMNS:
        raise PredictorError(
            f"the predictor has format {found} and feature schema {features}; "
            f"this version reads {FORMAT_VERSION} and {FEATURE_SCHEMA}",
            where=str(path),
            hint="Train it again with this version.",
        )


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check every file against its hash; PredictorError names the one that differs."""
    missing = {NETWORK_NAME, ARRAYS_NAME} - set(manifest.files)
    if missing:
        raise PredictorError(
            f"the manifest lists no {sorted(missing)[0]}", where=str(folder), hint=_GET_AGAIN
        )
    for name, expected in manifest.files.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise PredictorError(f"the file {name!r} is missing", where=str(folder), hint=_GET_AGAIN)
        if file_hash(folder / name) != expected:
            raise PredictorError("the file differs from its hash", where=str(folder / name), hint=_GET_AGAIN)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of an .npz file, never unpickling anything."""
    try:
        return read_npz(path, ARRAYS_LIMIT_BYTES)
    except ValueError as error:
        raise PredictorError(
            f"the arrays cannot be read: {error}", where=str(path), hint=_GET_AGAIN
        ) from error

"""What a scan finds: an archive, the models in it, and what is known of each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataset.apps.manifest import Manifest
from dataset.apps.sdks import SdkUse
from dataset.apps.tasks import Task

READ, RECOGNIZED, UNREADABLE, ENCRYPTED = "read", "recognized", "unreadable", "encrypted"
"""States of a model: fully parsed; known by its content; of a known kind but broken; promised by its name
with content that looks like noise."""


@dataclass(frozen=True, slots=True)
class TensorSummary:
    """An input or output."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A constant's weights: a fingerprint of the data [16 bytes] and their size."""

    fingerprint: bytes
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteFacts:
    """What a full parse of a TFLite model tells.

    `macs` leaves out `unknown_costs` operators. `sparsity` and `entropy_bits` (per element) are means over
    the constants, weighted by their elements; None for a model without any. `structure` is the model
    without weights, as `dataset.records.Network` keeps it.
    """

    graph_id: str
    operators: Mapping[str, int]
    subgraphs: int
    macs: int
    unknown_costs: int
    parameters: int
    quantization: str
    sparsity: float | None
    entropy_bits: float | None
    inputs: tuple[TensorSummary, ...]
    outputs: tuple[TensorSummary, ...]
    metadata: Mapping[str, str]
    task: Task
    layers: tuple[Layer, ...]
    structure: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file that is a model or promises to be one; `model_id` is the sha256 of its content, in hex."""

    model_id: str
    format: str
    framework: str
    state: str
    evidence: str
    bytes: int
    reason: str | None = None
    tflite: TfliteFacts | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A model at a place: `path` goes through nested archives with `!/` in between."""

    path: str
    model: ModelFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """One archive as scanned. `status` is complete, partial (it was given up for `reason`) or refused."""

    fingerprint: str
    path: str
    kind: str
    bytes: int
    status: str
    reason: str | None
    entries: int
    manifest: Manifest
    problems: Mapping[str, int]
    sdks: tuple[SdkUse, ...]
    findings: tuple[Finding, ...]

"""Added devices on disk: entries in the manifest, arrays in `adapted.npz`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import PredictorError
from perfsage.metrics import Metric
from perfsage.models.adapted import AdaptedMetric, check_shapes
from perfsage.models.adapted_columns import GROUP_TERMS, SHAPE_EXTRAS, TOTALS
from perfsage.models.manifest import DeviceEntry, Manifest, read_arrays
from perfsage.models.physics import COMMON_TERMS

ADAPTED_NAME = "adapted.npz"


@dataclass(frozen=True, slots=True)
class AdaptedDevice:
    """A device that was added: its entry, and the fit of each metric that was measured."""

    entry: DeviceEntry
    metrics: Mapping[Metric, AdaptedMetric]


def load_adapted(folder: Path, manifest: Manifest) -> tuple[AdaptedDevice, ...]:
    """Return the devices that were added to the predictor in `folder`, none for most predictors.

    PredictorError where their arrays are missing or do not fit.
    """
    if not manifest.adapted_devices:
        return ()
    if ADAPTED_NAME not in manifest.files:
        raise PredictorError(f"the manifest lists no {ADAPTED_NAME}", where=str(folder), hint=_ADAPT_AGAIN)
    arrays = read_arrays(folder / ADAPTED_NAME)
    try:
        return tuple(
            _device(arrays, number, entry, len(manifest.devices))
            for number, entry in enumerate(manifest.adapted_devices)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PredictorError(
            f"the added devices are damaged: {error!r}", where=str(folder), hint=_ADAPT_AGAIN
        ) from error


_ADAPT_AGAIN = "Adapt it again from the measurements."


def _device(
    arrays: Mapping[str, NDArray[np.generic]], number: int, entry: DeviceEntry, bases: int
) -> AdaptedDevice:
    made = {}
    for metric in entry.labels:
        if metric not in entry.exact:
            made[metric] = AdaptedMetric.from_arrays(arrays, f"{number}/{metric.value}")
            check_shapes(
                made[metric], bases, (len(COMMON_TERMS), len(GROUP_TERMS), len(TOTALS), SHAPE_EXTRAS)
            )
    return AdaptedDevice(entry, made)


def save_adapted(folder: Path, devices: tuple[AdaptedDevice, ...]) -> None:
    """Write the arrays of all added devices."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, device in enumerate(devices):
        for metric, fitted in device.metrics.items():
            arrays |= fitted.to_arrays(f"{number}/{metric.value}")
    with (folder / ADAPTED_NAME).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)

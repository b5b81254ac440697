"""Where the values of each device come from: measured here, predicted, or imported before."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from perfsage.errors import DeviceError, MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from api.study.run import Tally
    from api.study.spec import Spec
    from dataset.store import Store
    from perfsage.device import Device
    from perfsage.predictor import Predictor

_WITH_THREADS = ("cpu", "phone")


class Source(StrEnum):
    """How a device's values are had."""

    ATTACHED = "attached"
    PREDICTED = "predicted"
    IMPORTED = "imported"


@dataclass(frozen=True, slots=True)
class Place:
    """A device of a study."""

    device: Device
    source: Source

    @property
    def has_threads(self) -> bool:
        """Whether threads and delegates change anything: on a CPU that is really there."""
        return self.source is Source.ATTACHED and self.device.kind in _WITH_THREADS


def find_places(spec: Spec, store: Store) -> tuple[list[Place], Predictor | None, Tally]:
    """Return each device's place; one that is known but not there now is in the tally's `missing`.

    UnknownNameError for a device that neither this machine nor the predictor nor the database knows.
    """
    from api.study.run import Tally

    predictor = _predictor(spec)
    predictable = {} if predictor is None else {device.name: device for device in predictor.devices}
    imported = {device.name: device for device in store.devices() if device.source}
    tally, places = Tally(), []
    for name in spec.devices:
        device, reason = _attached(name)
        if device is not None:
            places.append(Place(device, Source.ATTACHED))
        elif name in predictable:
            places.append(Place(predictable[name], Source.PREDICTED))
        elif name in imported:
            places.append(Place(imported[name], Source.IMPORTED))
        elif isinstance(reason, UnknownNameError):
            raise reason
        else:
            tally.missing[name] = str(reason)
    return places, predictor, tally


def _attached(name: str) -> tuple[Device | None, Exception | None]:
    from profilers.registry import describe

    try:
        return describe(name), None
    except (UnknownNameError, MissingExtraError, DeviceError) as error:
        return None, error


def _predictor(spec: Spec) -> Predictor | None:
    if spec.predictor is None:
        return None
    from perfsage.predictor import load_predictor

    beside = spec.folder / spec.predictor
    return load_predictor(beside if (beside / "manifest.json").is_file() else spec.predictor)

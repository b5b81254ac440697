"""Which devices there are: those of the profilers on this machine, and those of a predictor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from perfsage.device import Device
from perfsage.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device, and whether it can be measured here and predicted."""

    device: Device
    measurable: bool
    predictable: bool

    @property
    def abilities(self) -> str:
        """Say in words what can be done with the device."""
        words = [word for word, able in self._pairs() if able]
        return " and ".join(words) or "neither"

    def _pairs(self) -> Iterable[tuple[str, bool]]:
        return (("measured", self.measurable), ("predicted", self.predictable))


def known_devices(predictor: str | None = None) -> list[KnownDevice]:
    """Return every device; without the profilers' packages, those of the predictor alone."""
    measurable = _measurable()
    predictable = _predictable(predictor)
    return [
        KnownDevice(
            device=measurable.get(name) or predictable[name],
            measurable=name in measurable,
            predictable=name in predictable,
        )
        for name in measurable | predictable
    ]


def _measurable() -> dict[str, Device]:
    from profilers.registry import describe, device_names

    found: dict[str, Device] = {}
    for name in device_names():
        try:
            found[name] = describe(name)
        except MissingExtraError:
            continue
    return found


def _predictable(predictor: str | None) -> dict[str, Device]:
    if predictor is None:
        return {}
    from perfsage.predictor import load_predictor

    return {device.name: device for device in load_predictor(predictor).devices}

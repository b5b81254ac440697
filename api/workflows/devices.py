"""Which devices there are: those of the profilers here, attached ones, and those of a predictor."""

from __future__ import annotations

from dataclasses import dataclass

from perfsage.device import Device
from perfsage.errors import MissingExtraError
from perfsage.measurement import Mode


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device, how its figures can be had here (None: they cannot), and whether it can be predicted."""

    device: Device
    mode: Mode | None
    predictable: bool

    @property
    def measurable(self) -> bool:
        """Whether `perfsage profile` takes it, which for a simulated device means that a tool is asked."""
        return self.mode is not None

    @property
    def abilities(self) -> str:
        """Say in words what can be done with the device."""
        words = [self.mode.value] if self.mode else []
        return " and ".join([*words, "predicted"] if self.predictable else words)


def known_devices(predictor: str | None = None) -> list[KnownDevice]:
    """Return every device; without the profilers' packages, those of the predictor alone."""
    from profilers.registry import mode_of

    measurable = _measurable()
    predictable = _predictable(predictor)
    return [
        KnownDevice(
            device=measurable.get(name) or predictable[name],
            mode=mode_of(name) if name in measurable else None,
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
    return found | _attached()


def _attached() -> dict[str, Device]:
    """Return the devices of the inventory, and phones at USB ports."""
    from profilers.lab import find_lab
    from profilers.lab_attached import attached_devices

    try:
        return {device.name: device for device in attached_devices(find_lab())}
    except MissingExtraError:
        return {}


def _predictable(predictor: str | None) -> dict[str, Device]:
    if predictor is None:
        return {}
    from perfsage.predictor import load_predictor

    return {device.name: device for device in load_predictor(predictor).devices}

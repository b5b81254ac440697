"""The fields of lab.toml, checked by pydantic: it is a file that people write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from profilers.adb.address import Address
from profilers.adb.conditions import Cooling
from profilers.adb.control import Controls
from profilers.adb.settings import EnergySettings, PhoneSettings, RunnerSettings
from profilers.lab import Phone
from profilers.power.energy import IdleBand


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunnerEntry(_Strict):
    """`[devices.NAME.runner]`"""

    path: Path | None = None
    library: Path | None = None
    delegate: str = ""
    require_full_delegation: bool = False
    runs: int = Field(default=50, ge=1, le=1_000_000)
    min_s: float = Field(default=1.0, ge=0.0, le=3600.0)
    max_s: float = Field(default=150.0, gt=0.0, le=7200.0)
    warmup_runs: int = Field(default=1, ge=0, le=1_000_000)
    warmup_min_s: float = Field(default=0.5, ge=0.0, le=3600.0)
    cpu_mask: str = Field(default="", pattern=r"^[0-9a-fA-F]{0,16}$")
    flags: tuple[str, ...] = ()

    @field_validator("flags")
    @classmethod
    def _are_flags(cls, flags: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [flag for flag in flags if not flag.startswith("--")]:
            raise ValueError(f"{wrong[0]!r} is not a flag; flags begin with --")
        return flags

    def settings(self, base: Path) -> RunnerSettings:
        """Return the settings; relative paths are from the inventory's folder."""
        found = self.model_dump()
        for key in ("path", "library"):
            if found[key] is not None:
                found[key] = base / found[key].expanduser()
        return RunnerSettings(**found)


_SOURCE_OPTIONS = {
    "battery": frozenset({"interval_s", "current_unit", "sign"}),
    "odpm": frozenset({"interval_s", "rails"}),
}
"""What each source on the phone can be told; instruments have their options under [monitors.NAME]."""


class EnergyEntry(_Strict):
    """`[devices.NAME.energy]`"""

    monitor: str | None = None
    window_s: float = Field(default=10.0, ge=0.5, le=3600.0)
    idle_s: float = Field(default=5.0, ge=0.5, le=3600.0)
    settle_s: float = Field(default=0.5, ge=0.0, le=60.0)
    idle_band_w: tuple[float, float] | None = None
    rails: tuple[str, ...] | None = None
    interval_s: float | None = Field(default=None, ge=0.02, le=60.0)
    current_unit: Literal["uA", "mA"] | None = None
    sign: Literal[1, -1] | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        fitting = _SOURCE_OPTIONS.get(self.monitor or "", frozenset())
        if wrong := sorted(self.options().keys() - fitting):
            monitor = f"the monitor {self.monitor!r}" if self.monitor else "a phone without a monitor"
            raise ValueError(f"{', '.join(wrong)} is nothing for {monitor}")
        return self

    def settings(self) -> EnergySettings:
        """Return how energy is measured."""
        return EnergySettings(
            window_s=self.window_s,
            idle_s=self.idle_s,
            settle_s=self.settle_s,
            idle_band=IdleBand(*self.idle_band_w) if self.idle_band_w else None,
        )

    def options(self) -> dict[str, Any]:
        """Return what a source on the phone is told."""
        return self.model_dump(include={"rails", "interval_s", "current_unit", "sign"}, exclude_none=True)


class UsbSwitchEntry(_Strict):
    """`[devices.NAME.usb_switch]`"""

    kind: Literal["uhubctl", "ykush"]
    location: str = ""
    port: int = Field(ge=1, le=32)
    serial: str = ""


class ControlsEntry(_Strict):
    """`[devices.NAME.controls]`"""

    fixed_performance: bool = False
    screen_off: bool = False
    airplane_mode: bool = False


class CoolingEntry(_Strict):
    """`[devices.NAME.cooling]`"""

    max_status: int = Field(default=0, ge=0, le=6)
    max_temperature_c: float | None = Field(default=None, ge=0.0, le=120.0)
    limit_s: float = Field(default=600.0, ge=0.0, le=86400.0)
    pause_s: float = Field(default=5.0, gt=0.0, le=600.0)


class DeviceEntry(_Strict):
    """`[devices.NAME]` of kind `adb`"""

    kind: Literal["adb"] = "adb"
    address: str
    host: str | None = None
    key_path: Path | None = None
    runner: RunnerEntry = RunnerEntry()
    controls: ControlsEntry = ControlsEntry()
    cooling: CoolingEntry = CoolingEntry()
    energy: EnergyEntry = EnergyEntry()
    usb_switch: UsbSwitchEntry | None = None
    idle_between_models_s: float = Field(default=1.0, ge=0.0, le=3600.0)
    idle_between_visits_s: float = Field(default=1.0, ge=0.0, le=3600.0)
    patience_s: float = Field(default=30.0, ge=1.0, le=3600.0)
    absence_s: float = Field(default=900.0, ge=1.0, le=86400.0)
    tcpip_port: int | None = Field(default=None, ge=1, le=65535)
    attempts: int = Field(default=3, ge=1, le=10)

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        try:
            Address.parse(text)
        except Exception as error:
            raise ValueError(str(error)) from None
        return text

    def phone(self, name: str, base: Path) -> Phone:
        """Return the phone that this entry describes."""
        settings = PhoneSettings(
            name=name,
            address=self.address,
            key_path=base / self.key_path.expanduser() if self.key_path else None,
            runner=self.runner.settings(base),
            controls=Controls(**self.controls.model_dump()),
            cooling=Cooling(**self.cooling.model_dump()),
            energy=self.energy.settings(),
            idle_between_models_s=self.idle_between_models_s,
            idle_between_visits_s=self.idle_between_visits_s,
            patience_s=self.patience_s,
            absence_s=self.absence_s,
            tcpip_port=self.tcpip_port,
            attempts=self.attempts,
        )
        return Phone(
            settings,
            monitor=self.energy.monitor,
            monitor_options=self.energy.options(),
            usb_switch=self.usb_switch.model_dump() if self.usb_switch else None,
            host=self.host,
        )


class MonitorEntry(BaseModel):
    """`[monitors.NAME]`: a kind, and that kind's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str


class LabFile(_Strict):
    """The whole file."""

    devices: dict[str, dict[str, Any]] = {}
    monitors: dict[str, dict[str, Any]] = {}

    @field_validator("devices", "monitors")
    @classmethod
    def _are_names(cls, entries: dict[str, Any]) -> dict[str, Any]:
        for name in entries:
            if not name.replace("-", "").replace("_", "").isalnum() or len(name) > 64:
                raise ValueError(f"{name!r} is not a name: letters, digits, - and _")
        return entries

    @field_validator("monitors")
    @classmethod
    def _have_kinds(cls, entries: dict[str, Any]) -> dict[str, Any]:
        return {name: MonitorEntry.model_validate(entry).model_dump() for name, entry in entries.items()}

    def phones(self) -> dict[str, DeviceEntry]:
        """Return the devices of kind `adb`, checked; errors name the field."""
        chosen = {name: entry for name, entry in self.devices.items() if entry.get("kind", "adb") == "adb"}
        checked = TypeAdapter(dict[str, DeviceEntry])
        return checked.validate_python(chosen)

"""What a phone is measured with: how it is reached, its benchmark, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from profilers.adb.conditions import Cooling
from profilers.adb.control import Controls
from profilers.power.energy import IdleBand


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """Which program measures, and how it is told to.

    `path` is benchmark_model itself, or a folder that holds it with its libraries. Without a path,
    PerfSAGE's own runner is built and pushed together with `library`, LiteRT's libLiteRt.so.
    """

    path: Path | None = None
    library: Path | None = None
    delegate: str = ""
    """Empty (as built), `xnnpack`, `no-xnnpack`, `gpu`, `nnapi[:ACCELERATOR]`, `hexagon`, `npu` or
    `external:PATH`, a library on the phone."""
    require_full_delegation: bool = False
    runs: int = 50
    min_s: float = 1.0
    max_s: float = 150.0
    warmup_runs: int = 1
    warmup_min_s: float = 0.5
    cpu_mask: str = ""
    """Cores to run on, as taskset's hexadecimal mask: `f0` is cores 4 to 7."""
    flags: tuple[str, ...] = ()
    """More flags of benchmark_model, such as `--signature_to_run_for=serving_default`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySettings:
    """How energy is measured: one long run a model between two idle windows."""

    window_s: float = 10.0
    idle_s: float = 5.0
    settle_s: float = 0.5
    """Left out at either side of an idle window, while processes start and end."""
    idle_band: IdleBand | None = None
    """The idle power to believe; None takes the source's own band (`energy_run.IDLE_BANDS`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneSettings:
    """One phone or Linux board."""

    name: str
    address: str
    key_path: Path | None = None
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    controls: Controls = field(default_factory=Controls)
    cooling: Cooling = field(default_factory=Cooling)
    energy: EnergySettings = field(default_factory=EnergySettings)
    idle_between_models_s: float = 1.0
    idle_between_visits_s: float = 1.0
    patience_s: float = 30.0
    """How long a phone that does not answer is waited for between commands."""
    absence_s: float = 900.0
    """How long it may be away while a model runs on it, such as behind a USB port without power."""
    tcpip_port: int | None = None
    """For a phone at a cable: ADB moves to this port of its network when it is taken, so that the cable's
    power can be cut, and back when it is let go."""
    attempts: int = 3

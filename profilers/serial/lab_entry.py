"""`[devices.NAME]` of kind `serial` in lab.toml, checked by pydantic: it is a file that people write."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perfsage.errors import InvalidInputError, MissingExtraError
from profilers.serial.settings import BoardSettings

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError
except ModuleNotFoundError as error:
    raise MissingExtraError("pydantic", "serial") from error

if TYPE_CHECKING:
    from profilers.serial.windows import EdgeMonitor


class BoardEntry(BaseModel):
    """The fields; those of `BoardSettings` mean the same here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["serial"]
    address: str
    bauds: tuple[int, ...] = Field(default=(115200, 9600), min_length=1, max_length=8)
    io_manager: bool = False
    window_s: float | None = Field(default=None, gt=0, le=3600)
    inputs: int = Field(default=5, ge=1, le=1000)
    warmups: int = Field(default=10, ge=0, le=1_000_000)
    timeout_s: float | None = Field(default=None, gt=0, le=86400)
    clock_hz: int | None = Field(default=None, ge=1)
    cycles_per_instruction: float = Field(default=1.0, gt=0, le=1000)
    holds_model: Path | None = None
    """The .tflite file that firmware without the upload extension was built with."""
    boot_s: float = Field(default=5.0, gt=0, le=120)
    replug_s: float = Field(default=10.0, ge=0, le=86400)
    monitor: str | None = None
    """A name of `[monitors]`."""


def board_entry(
    name: str, entry: dict[str, Any], monitors: dict[str, dict[str, Any]], folder: Path | None
) -> tuple[BoardSettings, EdgeMonitor | None]:
    """Return the settings and the opened monitor that an entry describes."""
    try:
        checked = BoardEntry.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInputError(
            f"devices.{name}.{place}: {first['msg']}",
            where="lab.toml",
            hint="docs/serial.md lists the fields.",
        ) from None
    fields = checked.model_dump(exclude={"kind", "holds_model", "monitor"})
    model_id = _model_id(checked.holds_model, folder) if checked.holds_model else None
    settings = BoardSettings(name=f"serial:{name}", holds_model_id=model_id, **fields)
    return settings, _monitor(name, checked.monitor, monitors)


def _model_id(path: Path, folder: Path | None) -> str:
    full = (folder or Path()) / path.expanduser()
    try:
        return hashlib.sha256(full.read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInputError(f"holds_model cannot be read: {error.strerror}", where=str(full)) from error


def _monitor(board: str, name: str | None, monitors: dict[str, dict[str, Any]]) -> EdgeMonitor | None:
    if name is None:
        return None
    from profilers.power.instruments import open_instrument

    if name not in monitors:
        raise InvalidInputError(
            f"devices.{board}.monitor: there is no monitor {name!r}",
            where="lab.toml",
            hint=f"Known: {', '.join(monitors) or 'none'}.",
        )
    options = dict(monitors[name])
    monitor: Any = open_instrument(options.pop("kind"), options)
    if not hasattr(monitor, "edges_s"):
        raise InvalidInputError(
            f"the monitor {name!r} does not see a board's timestamp pin",
            where="lab.toml",
            hint="Use an LPM01A, a Joulescope, a PPK2 or an Otii.",
        )
    found: EdgeMonitor = monitor
    return found

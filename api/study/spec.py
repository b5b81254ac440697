"""A study as its author writes it: a TOML file of networks, devices and settings."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from dataset.zoo import get_network
from dataset.zoo.registry import MAX_BATCH
from perfsage.errors import InvalidInputError

_LARGEST_SPEC_BYTES = 1 << 20
_MOST_CELLS = 100_000
_KEYS = {
    "name", "networks", "dtypes", "devices", "threads", "batch", "delegates", "visits", "visit_ms",
    "per_operator", "predictor", "timeout_s",
}  # fmt: skip
DELEGATES = ("default", "none")
"""The runtime's own choice (XNNPACK in LiteRT), or its built-in kernels."""
DTYPES = ("int8", "float32")


@dataclass(frozen=True, slots=True)
class Setting:
    """How a network is run; devices without threads or delegates have the first setting only."""

    threads: int = 1
    delegate: str = "default"


@dataclass(frozen=True, slots=True)
class Subject:
    """A network of the study: one of the zoo by name, or a file with the type and batch that it has."""

    network: str
    dtype: str = ""
    batch: int = 1
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One thing to measure: a network on a device in a setting."""

    subject: Subject
    device: str
    setting: Setting

    @property
    def key(self) -> str:
        """What identifies the cell in a database, apart from its study and device."""
        s = self.subject
        return f"{s.network}|{s.dtype}|{s.batch}|{self.setting.threads}|{self.setting.delegate}"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A study. Lists are in the order of the report; `predictor` answers for devices that are not there."""

    name: str
    networks: tuple[str, ...]
    devices: tuple[str, ...]
    dtypes: tuple[str, ...] = ("int8",)
    threads: tuple[int, ...] = (1,)
    batch: tuple[int, ...] = (1,)
    delegates: tuple[str, ...] = ("default",)
    visits: int = 5
    visit_ms: float = 20.0
    timeout_s: float = 300.0
    per_operator: bool = False
    predictor: str | None = None
    folder: Path = Path()

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Every network in every type and batch; files have those that they have."""
        found: list[Subject] = []
        for name in self.networks:
            if name.endswith(".tflite"):
                paths = sorted(self.folder.glob(name)) if not Path(name).is_absolute() else [Path(name)]
                if not paths:
                    raise InvalidInputError(f"no file matches {name!r}", where="networks")
                found += [Subject(path.stem, path=path) for path in paths]
            else:
                get_network(name)
                found += [Subject(name, dtype, batch) for dtype in self.dtypes for batch in self.batch]
        return tuple(found)

    def settings(self, *, has_threads: bool) -> tuple[Setting, ...]:
        """Return the settings of a device."""
        if not has_threads:
            return (Setting(),)
        return tuple(Setting(count, delegate) for delegate in self.delegates for count in self.threads)

    def cells(self, device: str, *, has_threads: bool) -> Iterator[Cell]:
        """Yield what is to be measured on a device.

        Further batches are for devices with threads, and there only in the first setting.
        """
        settings = self.settings(has_threads=has_threads)
        for setting in settings:
            for subject in self.subjects:
                first = subject.path is not None or subject.batch == self.batch[0]
                if first or (has_threads and setting == settings[0]):
                    yield Cell(subject, device, setting)


def ready_studies() -> dict[str, Path]:
    """Return the studies that ship with the package, by name."""
    folder = Path(str(resources.files("api.study")))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_spec(path: Path) -> Spec:
    """Read a study's file, or one that ships by its name; InvalidInputError names the line or key."""
    if not path.is_file():
        ready = ready_studies()
        if str(path) not in ready:
            hint = f"Give a TOML file, or a ready study: {', '.join(ready)}."
            raise InvalidInputError("there is no such study", where=str(path), hint=hint)
        path = ready[str(path)]
    if path.stat().st_size > _LARGEST_SPEC_BYTES:
        raise InvalidInputError("the study's file is larger than 1 MB", where=str(path))
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return _spec(values, path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"the file is not TOML: {error}", where=str(path)) from error
    except InvalidInputError as error:
        error.where = f"{path}, {error.where}" if error.where else str(path)
        raise


def _spec(values: Mapping[str, Any], path: Path) -> Spec:
    if unknown := sorted(values.keys() - _KEYS):
        raise InvalidInputError(f"unknown key {unknown[0]!r}", hint=f"Keys: {', '.join(sorted(_KEYS))}.")
    spec = Spec(
        name=_value(values, "name", str, path.stem),
        networks=_list(values, "networks", str),
        devices=_list(values, "devices", str),
        dtypes=_list(values, "dtypes", str, ("int8",)),
        threads=_list(values, "threads", int, (1,)),
        batch=_list(values, "batch", int, (1,)),
        delegates=_list(values, "delegates", str, ("default",)),
        visits=_value(values, "visits", int, 5),
        visit_ms=float(_value(values, "visit_ms", (int, float), 20.0)),
        timeout_s=float(_value(values, "timeout_s", (int, float), 300.0)),
        per_operator=_value(values, "per_operator", bool, False),
        predictor=_value(values, "predictor", str, None),
        folder=path.parent,
    )
    _check(spec)
    return spec


def _check(spec: Spec) -> None:
    limits: dict[str, tuple[tuple[Any, ...], Callable[[Any], bool], str]] = {
        "dtypes": (spec.dtypes, lambda value: value in DTYPES, f"Use {' or '.join(DTYPES)}."),
        "delegates": (spec.delegates, lambda value: value in DELEGATES, f"Use {' or '.join(DELEGATES)}."),
        "threads": (spec.threads, lambda value: 1 <= value <= 256, "Use 1 to 256."),
        "batch": (spec.batch, lambda value: 1 <= value <= MAX_BATCH, f"Use 1 to {MAX_BATCH}."),
        "visits": ((spec.visits,), lambda value: 1 <= value <= 1000, "Use 1 to 1000."),
    }
    for key, (values, fits, hint) in limits.items():
        for value in values:
            if not fits(value):
                raise InvalidInputError(f"{value!r} cannot be used", where=key, hint=hint)
    cells = len(spec.subjects) * len(spec.devices) * len(spec.threads) * len(spec.delegates)
    if cells > _MOST_CELLS:
        raise InvalidInputError(f"the study has {cells:,} cells, more than {_MOST_CELLS:,}")


def _list(values: Mapping[str, Any], key: str, kind: type, default: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    found = values.get(key, list(default))
    if not isinstance(found, list) or not found or not all(type(item) is kind for item in found):
        raise InvalidInputError(f"{key} is a list of at least one {kind.__name__}", where=key)
    return tuple(dict.fromkeys(found))


def _value(values: Mapping[str, Any], key: str, kind: Any, default: Any) -> Any:
    found = values.get(key, default)
    if found is not default and (
        not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool)
    ):
        raise InvalidInputError(f"{key} has the wrong type", where=key)
    return found

"""Machine-learning libraries and services that an app uses, by a table that users can extend."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from dataset.apps.dex import classes_with
from dataset.apps.elf import dynamic_strings
from perfsage.errors import InvalidInputError

KINDS = ("runtime", "vendor", "bundle", "cloud")
_LISTS = ("native", "classes", "symbols", "features")


@dataclass(frozen=True, slots=True)
class Sdk:
    """One line of the table; the file itself says what the fields mean."""

    name: str
    kind: str
    source: str
    native: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class SdkUse:
    """That an app uses an SDK, by which kind of evidence, and the evidence."""

    sdk: str
    kind: str
    how: str
    evidence: str


class SdkTable:
    """The table, arranged by what is looked for."""

    def __init__(self, sdks: Iterable[Sdk]) -> None:
        self.sdks = tuple(sdks)

    @classmethod
    def load(cls, extra: Path | None = None) -> SdkTable:
        """Return the table that ships with PerfSAGE, with the user's own lines behind it."""
        own = _read(Path(__file__).with_name("sdks.toml"))
        return cls((*own, *(_read(extra) if extra is not None else ())))

    @cached_property
    def _by_class(self) -> dict[str, list[Sdk]]:
        found: dict[str, list[Sdk]] = {}
        for sdk in self.sdks:
            for prefix in sdk.classes:
                found.setdefault(prefix, []).append(sdk)
        return found

    def by_name(self, name: str) -> Iterator[SdkUse]:
        """Yield what the name of an archive's entry betrays: a library, or a class in a jar."""
        if name.endswith(".so"):
            file = name.rpartition("/")[2]
            for sdk in self.sdks:
                if any(fnmatchcase(file, pattern) for pattern in sdk.native):
                    yield SdkUse(sdk.name, sdk.kind, "library", file)
        elif name.endswith(".class"):
            for prefix, sdks in self._by_class.items():
                if name.startswith(prefix):
                    yield from (SdkUse(sdk.name, sdk.kind, "class", prefix) for sdk in sdks)

    def by_dex(self, data: memoryview) -> Iterator[SdkUse]:
        """Yield what the classes in a dex file betray."""
        for prefix in classes_with(data, self._by_class):
            yield from (SdkUse(sdk.name, sdk.kind, "class", prefix) for sdk in self._by_class[prefix])

    def by_symbols(self, library: memoryview) -> Iterator[SdkUse]:
        """Yield what a native library's dynamic symbols betray, also when the library was renamed."""
        strings = dynamic_strings(library)
        for sdk in self.sdks if strings else ():
            for symbol in sdk.symbols:
                if b"\0" + symbol.encode() + b"\0" in strings:
                    yield SdkUse(sdk.name, sdk.kind, "symbol", symbol)

    def by_features(self, features: Iterable[str]) -> Iterator[SdkUse]:
        """Yield what the manifest's meta-data betray."""
        for feature in features:
            for sdk in self.sdks:
                if any(feature.startswith(start) for start in sdk.features):
                    yield SdkUse(sdk.name, sdk.kind, "manifest", feature[:128])


def _read(path: Path) -> tuple[Sdk, ...]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"the table of SDKs cannot be read: {error}", where=str(path)) from None
    lines = document.get("sdk")
    if not isinstance(lines, list):
        raise InvalidInputError("the table of SDKs has no [[sdk]]", where=str(path))
    return tuple(_line(line, f"{path}, sdk {number}") for number, line in enumerate(lines, 1))


def _line(line: object, where: str) -> Sdk:
    if not isinstance(line, dict) or not all(
        isinstance(line.get(k), str) for k in ("name", "kind", "source")
    ):
        raise InvalidInputError("an SDK needs a name, a kind and a source", where=where)
    if line["kind"] not in KINDS:
        raise InvalidInputError(f"the kind {line['kind']!r} is none of {', '.join(KINDS)}", where=where)
    unknown = line.keys() - {"name", "kind", "source", *_LISTS}
    texts = {key: line.get(key, []) for key in _LISTS}
    if unknown or any(
        not isinstance(v, list) or not all(isinstance(t, str) for t in v) for v in texts.values()
    ):
        raise InvalidInputError(
            f"an SDK's evidence is lists of texts called {', '.join(_LISTS)}", where=where
        )
    return Sdk(
        line["name"], line["kind"], line["source"], **{key: tuple(value) for key, value in texts.items()}
    )

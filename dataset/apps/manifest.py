"""Who an app is: its package, name and version, from any of the four ways in which that is written."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from xml.parsers import expat

from dataset.apps import protobuf
from dataset.apps.resources import Element, Reference, Value, elements, look_up

MAX_BYTES = 16 << 20
_MAX_ELEMENTS = 20_000
_MAX_KEPT = 1_000
_MAX_DEPTH = 64
_MAX_FIELDS = 20_000


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says; None where it does not. `features` are names of meta-data and their values."""

    package: str | None = None
    label: str | None = None
    version_name: str | None = None
    version_code: int | None = None
    min_sdk: int | None = None
    target_sdk: int | None = None
    features: tuple[str, ...] = field(default=())


def read_manifest(data: memoryview, resources: Callable[[], memoryview | None]) -> Manifest | None:
    """Return what an AndroidManifest.xml says: binary (APK), protobuf (AAB) or text (AAR).

    `resources` gives the resource table that the app's name may stand in. None when nothing can read it.
    """
    if len(data) > MAX_BYTES:
        return None
    for read in (elements, _text_elements, _protobuf_elements):
        try:
            found = _collect(read(data))
        except (ValueError, struct.error, IndexError, expat.ExpatError):
            continue
        if found is not None:
            return _manifest(found, resources)
    return None


def read_xapk(data: memoryview) -> Manifest | None:
    """Return what the manifest.json of an XAPK says, None when it is something else."""
    try:
        found = json.loads(bytes(data[: 1 << 20]))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("package_name"), str):
        return None
    texts = {key: found[key] for key in ("name", "version_name") if isinstance(found.get(key), str)}
    return Manifest(
        package=_text(found["package_name"]),
        label=_text(texts.get("name")),
        version_name=_text(texts.get("version_name")),
        version_code=_number(found.get("version_code")),
        min_sdk=_number(found.get("min_sdk_version")),
        target_sdk=_number(found.get("target_sdk_version")),
    )


def _collect(found: Iterator[Element]) -> list[Element] | None:
    """Return the elements that matter, None when the first is no manifest."""
    kept: list[Element] = []
    for count, element in enumerate(found):
        if count == 0 and element.name != "manifest":
            return None
        if count >= _MAX_ELEMENTS:
            break
        if element.name in ("manifest", "uses-sdk", "application", "meta-data") and len(kept) < _MAX_KEPT:
            kept.append(element)
    return kept or None


def _manifest(found: list[Element], resources: Callable[[], memoryview | None]) -> Manifest:
    first = {element.name: element.attributes for element in reversed(found)}
    root, sdk, application = (first.get(name, {}) for name in ("manifest", "uses-sdk", "application"))

    def text(value: Value | Reference) -> str | None:
        if isinstance(value, Reference):
            table = resources()
            value = look_up(table, value) if table is not None else None
        return _text(value)

    return Manifest(
        package=_text(root.get("package")),
        label=text(application.get("label")),
        version_name=text(root.get("versionName")),
        version_code=_number(root.get("versionCode")),
        min_sdk=_number(sdk.get("minSdkVersion")),
        target_sdk=_number(sdk.get("targetSdkVersion")),
        features=tuple(_features(found)),
    )


def _features(found: list[Element]) -> Iterator[str]:
    for element in found:
        if element.name == "meta-data":
            name, value = (element.attributes.get(key) for key in ("name", "value"))
            if isinstance(name, str):
                yield f"{name}={value}" if isinstance(value, str) else name


def _text(value: object) -> str | None:
    if value is None or isinstance(value, Reference):
        return None
    return str(value).encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:256]


def _number(value: object) -> int | None:
    """Return a whole number that any database takes."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def _text_elements(data: memoryview) -> Iterator[Element]:
    """Yield the elements of a text manifest; entities are refused, so they cannot multiply."""
    found: list[Element] = []
    parser = expat.ParserCreate()

    def refuse(*_: object) -> None:
        raise ValueError("a manifest declares no entities")

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(found) > _MAX_ELEMENTS:
            raise ValueError("too many elements")
        found.append(Element(name, {key.rpartition(":")[2]: value for key, value in attributes.items()}))

    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.Parse(bytes(data), True)
    yield from found


def _protobuf_elements(
    data: memoryview, start: int = 0, end: int | None = None, depth: int = 0
) -> Iterator[Element]:
    """Yield the elements of an app bundle's manifest: aapt2's XmlNode messages."""
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    for node in protobuf.fields(data, start, end):
        if node.number == 1 and node.wire == protobuf.LENGTH:
            parts = list(islice(protobuf.fields(data, node.start, node.end), _MAX_FIELDS))
            names = [protobuf.text(data, part) for part in parts if part.number == 3]
            attributes = dict(_protobuf_attribute(data, part) for part in parts if part.number == 4)
            yield Element(names[0] or "" if names else "", attributes)
            for part in parts:
                if part.number == 5:
                    yield from _protobuf_elements(data, part.start, part.end, depth + 1)


def _protobuf_attribute(data: memoryview, attribute: protobuf.Field) -> tuple[str, Value | Reference]:
    parts = {part.number: part for part in protobuf.fields(data, attribute.start, attribute.end)}
    name = protobuf.text(data, parts[2]) if 2 in parts else None
    value = protobuf.text(data, parts[3], 4096) if 3 in parts else None
    return name or "", value

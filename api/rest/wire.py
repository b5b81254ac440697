"""JSON and MessagePack: which one an answer has, and how bodies of either are read within limits.

A body that is small can still stand for millions of objects, so both readers bound what they build: JSON by
counting its commas and brackets first, MessagePack by measuring every value before it is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgpack
import orjson
from starlette.responses import Response

from perfsage.errors import InvalidInputError

JSON = "application/json"
MSGPACK = "application/vnd.msgpack"
MSGPACK_TYPES = (MSGPACK, "application/msgpack", "application/x-msgpack")

MAX_JSON_VALUES = 400_000
MAX_PACKED_BYTES = 64 << 10
"""A MessagePack container below the list of models (an architecture, a measurement) is this large at most."""
_LISTS = ("models", "measurements")
_CONTAINERS = (*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF)


def wants_msgpack(accept: str) -> bool:
    """Return whether an Accept header prefers MessagePack to JSON; JSON wins where both are as welcome."""
    best, packed = 0.0, 0.0
    for media_type, quality in _preferences(accept):
        if media_type in MSGPACK_TYPES:
            packed = max(packed, quality)
        elif media_type in (JSON, "application/*", "*/*"):
            best = max(best, quality)
    return packed > 0 and (packed > best or (packed == best and not _names_json(accept)))


def _names_json(accept: str) -> bool:
    return any(media_type == JSON for media_type, _ in _preferences(accept))


def _preferences(accept: str) -> Iterator[tuple[str, float]]:
    for part in accept[:1024].split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            yield media_type, min(max(float(quality), 0.0), 1.0)
        except ValueError:
            continue


def respond(
    value: Any, *, packed: bool, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return `value` as MessagePack or JSON; caches are told that the Accept header decided."""
    body, media_type = (msgpack.packb(value), MSGPACK) if packed else (orjson.dumps(value), JSON)
    return Response(body, status, {"Vary": "Accept", **(headers or {})}, media_type)


def read_json(data: bytes) -> dict[str, Any]:
    """Return a JSON object; InvalidInputError for anything else, for deep nesting and for too many values."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_JSON_VALUES:
        raise _invalid(f"has more than {MAX_JSON_VALUES:,} values", "Send several requests, or MessagePack.")
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _invalid(f"is not JSON: {error.msg} at byte {error.pos}", "Check the syntax.") from None
    return _object(value)


def read_msgpack(data: bytes) -> dict[str, Any]:
    """Return a MessagePack map; InvalidInputError for anything else and for values beyond the limits."""
    unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    try:
        found = {}
        for _ in range(unpacker.read_map_header()):
            key = _value(unpacker, data)
            found[key] = _list(unpacker, data) if key in _LISTS else _value(unpacker, data)
    except (msgpack.UnpackException, ValueError, TypeError, IndexError, RecursionError) as error:
        raise _invalid(f"is not MessagePack: {str(error) or type(error).__name__}", "It is a map.") from None
    if unpacker.tell() != len(data):
        raise _invalid("goes on after the MessagePack map", "Send one map.")
    return _object(found)


def _list(unpacker: Any, data: bytes) -> list[dict[str, Any]]:
    """Read a list of maps one by one, without building anything that is too large."""
    maps = []
    for _ in range(unpacker.read_array_header()):
        if not _is_map(data[unpacker.tell()]):
            raise ValueError("the entries of a list are maps")
        maps.append(
            {_value(unpacker, data): _value(unpacker, data) for _ in range(unpacker.read_map_header())}
        )
    return maps


def _is_map(lead: int) -> bool:
    return 0x80 <= lead < 0x90 or lead in (0xDE, 0xDF)


def _value(unpacker: Any, data: bytes) -> Any:
    start = unpacker.tell()
    unpacker.skip()
    end = unpacker.tell()
    if data[start] in _CONTAINERS and end - start > MAX_PACKED_BYTES:
        raise ValueError(f"a value has {end - start} bytes, of at most {MAX_PACKED_BYTES}")
    return msgpack.unpackb(memoryview(data)[start:end])


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _invalid("is not an object with named members", "See /openapi.json.")
    return value


def _invalid(what: str, hint: str) -> InvalidInputError:
    return InvalidInputError(f"the body {what}", where="body", hint=hint)

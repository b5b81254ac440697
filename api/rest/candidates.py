"""What a request asks for: models in any of their forms, devices, metrics."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.rest.body import MULTIPART, OBJECT_TYPES, Body
from api.rest.errors import Refusal
from api.rest.wire import JSON, read_json, read_msgpack
from perfsage.errors import InvalidInputError, PerfsageError

MEMBERS = ("models", "devices", "metrics", "operators")
FORMS = ("sha256", "tflite", "structure", "space")
_HINT = (
    "A model is {sha256}, {tflite}, {structure}, {space, architecture} or {space, seed}, with a name or not."
)
_MAX_NAME = 1024
_MAX_ARCHITECTURE = 16 << 10


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model to predict: its file or structure as bytes, the hash of an uploaded one, or a blueprint.

    `key` is the same for the same bytes, hash or blueprint: what is known of it need not be read again.
    """

    name: str | None
    key: bytes
    data: bytes | None = None
    sha256: str | None = None
    blueprint: Blueprint | None = None


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A network of a search space, by its architecture or by its seed."""

    space: str
    dtype: str
    architecture: str | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A whole request: every model, or why it cannot be one; `single` when the body itself is the model."""

    models: Sequence[Candidate | PerfsageError]
    names: Sequence[str | None]
    devices: Sequence[str]
    metrics: Sequence[str]
    operators: bool = True
    single: bool = False


def parse(body: Body, max_models: int) -> Wanted:
    """Return what the body asks for; InvalidInputError or Refusal 422 where it cannot be understood."""
    if body.media_type == MULTIPART:
        if not body.parts:
            hint = "Send each .tflite file as a file part."
            raise Refusal(422, "The form has no model.", where="body", hint=hint)
        models = [from_bytes(name, data) for name, data in body.parts]
        return Wanted(models, [model.name for model in models], body.devices, body.metrics)
    if body.media_type in OBJECT_TYPES:
        return _wanted(
            read_json(body.data) if body.media_type == JSON else read_msgpack(body.data), max_models
        )
    return Wanted([from_bytes(None, body.data)], [None], (), (), single=True)


def from_bytes(name: str | None, data: bytes) -> Candidate:
    """Return the candidate of a .tflite file or of a weightless structure."""
    return Candidate(name, hashlib.blake2b(data, digest_size=24).digest(), data=data)


def from_hash(name: str | None, sha256: str) -> Candidate:
    """Return the candidate of an uploaded model; InvalidInputError for what is no sha256 in hex."""
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise InvalidInputError("a sha256 is 64 hexadecimal digits in lower case", hint=_HINT)
    return Candidate(name, bytes.fromhex(sha256), sha256=sha256)


def _wanted(value: Mapping[str, Any], max_models: int) -> Wanted:
    if unknown := sorted(set(value) - set(MEMBERS)):
        raise InvalidInputError(
            f"the body has an unknown member {unknown[0]!r}",
            where="body",
            hint=f"Members: {', '.join(MEMBERS)}.",
        )
    entries, operators = value.get("models"), value.get("operators", True)
    if not isinstance(entries, list) or not 0 < len(entries) <= max_models:
        raise InvalidInputError(f"`models` is a list of 1 to {max_models} models", where="models", hint=_HINT)
    if not isinstance(operators, bool):
        raise InvalidInputError("`operators` is true or false", where="operators")
    models = [_candidate(entry) for entry in entries]
    return Wanted(
        models,
        [_name_of(entry) for entry in entries],
        names(value, "devices"),
        names(value, "metrics"),
        operators,
    )


def names(value: Mapping[str, Any], member: str) -> list[str]:
    """Return a list of names that may be left out; InvalidInputError when it is anything else."""
    found = value.get(member) or []
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InvalidInputError(f"`{member}` is a list of names", where=member, hint="Leave it out for all.")
    return found


def _name_of(entry: Any) -> str | None:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


def _candidate(entry: Any) -> Candidate | PerfsageError:
    """Return one model of a batch, or the error that is its alone."""
    try:
        return _read_entry(entry)
    except PerfsageError as error:
        return error


def _read_entry(entry: Any) -> Candidate:
    given = [form for form in FORMS if form in entry] if isinstance(entry, dict) else []
    if len(given) != 1:
        raise InvalidInputError("a model has exactly one of its forms", hint=_HINT)
    name = entry.get("name")
    if name is not None and not (isinstance(name, str) and len(name) <= _MAX_NAME):
        raise InvalidInputError(f"a model's name is a text of at most {_MAX_NAME} characters")
    form = given[0]
    rest = set(entry) - {"name", form} - ({"architecture", "seed", "dtype"} if form == "space" else set())
    if rest:
        raise InvalidInputError(f"a model by {form} has no member {sorted(map(str, rest))[0]!r}", hint=_HINT)
    if form == "sha256":
        return from_hash(name, entry[form])
    return _blueprint(name, entry) if form == "space" else from_bytes(name, _decoded(entry[form], form))


def _decoded(value: Any, form: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise InvalidInputError(f"`{form}` is base64 in JSON, and bytes in MessagePack", hint=_HINT)


def _blueprint(name: str | None, entry: Mapping[str, Any]) -> Candidate:
    space, dtype, seed = entry["space"], entry.get("dtype", "int8"), entry.get("seed")
    if not isinstance(space, str) or dtype not in ("int8", "float32"):
        raise InvalidInputError("a space is a name, and its dtype is int8 or float32", hint=_HINT)
    if (seed is None) == (entry.get("architecture") is None):
        raise InvalidInputError("a model of a space has an architecture or a seed", hint=_HINT)
    if seed is not None and not (type(seed) is int and 0 <= seed < 1 << 62):
        raise InvalidInputError("a seed is a whole number from 0", hint=_HINT)
    architecture = entry.get("architecture")
    if architecture is not None and not (
        isinstance(architecture, str) and len(architecture) <= _MAX_ARCHITECTURE
    ):
        raise InvalidInputError(f"an architecture is a text of at most {_MAX_ARCHITECTURE} characters")
    blueprint = Blueprint(space, dtype, architecture, seed)
    text = f"{space}\0{dtype}\0{seed}\0{architecture}".encode(errors="surrogatepass")
    return Candidate(name, hashlib.blake2b(text, digest_size=24).digest(), blueprint=blueprint)

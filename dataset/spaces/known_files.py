"""Write the networks of a known space as files: one .tflite a line of a list, and a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dataset.builder import Dtype
from dataset.spaces.known import KnownNetwork, known_space
from perfsage.errors import InvalidInputError, InvalidModelError
from perfsage.graph import read_graph

MANIFEST = "manifest.jsonl"
_LARGEST_LIST_BYTES = 256 << 20
_FORMAT = 1
"""Part of every file's name: files of a text may only change together with this number."""


@dataclass(slots=True)
class Written:
    """What `write_networks` did: files built now, and those that an earlier run had left."""

    total: int
    built: int = 0
    reused: int = 0


def read_architectures(path: Path, space: str) -> list[tuple[str, KnownNetwork]]:
    """Return each line of `path` with its network; InvalidInputError names the line that is wrong."""
    return [(line, _parse(space, line, f"{path}, line {n}")) for n, line in enumerate(_lines(path), 1)]


def _lines(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_LIST_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(
            f"the list of architectures cannot be read: {error.strerror}", where=str(path)
        ) from error
    if len(data) > _LARGEST_LIST_BYTES:
        raise InvalidInputError(f"the list is larger than {_LARGEST_LIST_BYTES >> 20} MB", where=str(path))
    try:
        lines = data.decode("utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInputError("the list is not UTF-8 text", where=f"{path}, line {line}") from error
    if not lines:
        raise InvalidInputError("the list of architectures is empty", where=str(path))
    return lines


def _parse(space: str, line: str, where: str) -> KnownNetwork:
    try:
        return known_space(space).parse(line)
    except InvalidInputError as error:
        raise InvalidInputError(error.what, where=where, hint=error.hint) from error


def write_networks(
    space: str,
    architectures: Path,
    output: Path,
    dtype: Dtype,
    on_progress: Callable[[Written], None] = lambda _: None,
) -> Written:
    """Write one .tflite a line of `architectures` into `output`, and manifest.jsonl in the same order.

    Every line is checked before anything is written. Files appear whole or not at all, the manifest last;
    run again after an interruption, only what is missing is built.
    """
    networks = read_architectures(architectures, space)
    output.mkdir(parents=True, exist_ok=True)
    written = Written(total=len(networks))
    lines = _written(networks, output, dtype, written, on_progress)
    _replace(output / MANIFEST, "".join(f"{json.dumps(line)}\n" for line in lines).encode())
    return written


def _written(
    networks: list[tuple[str, KnownNetwork]],
    output: Path,
    dtype: Dtype,
    written: Written,
    on_progress: Callable[[Written], None],
) -> Iterator[dict[str, str]]:
    for number, (line, network) in enumerate(networks, 1):
        path = output / f"{number:06d}-{_digest(network, dtype)}.tflite"
        graph_id = _graph_id(path)
        if graph_id is None:
            data = network.build(dtype).data
            _replace(path, data)
            graph_id = read_graph(data).graph_id
            written.built += 1
        else:
            written.reused += 1
        on_progress(written)
        yield {"architecture": line.strip(), "path": path.name, "graph_id": graph_id}


def _digest(network: KnownNetwork, dtype: Dtype) -> str:
    key = f"{_FORMAT} {network.space} {dtype} {network.text}"
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def _graph_id(path: Path) -> str | None:
    """Return the graph id of a file that an earlier run has written, None where there is none to trust."""
    try:
        return read_graph(path.read_bytes()).graph_id
    except (FileNotFoundError, InvalidModelError):
        return None


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise

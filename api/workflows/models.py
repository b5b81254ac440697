"""Model files that the user names, read with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from perfsage.errors import InvalidInputError, InvalidModelError

if TYPE_CHECKING:
    from perfsage.graph import Graph
    from profilers.profiler import Model


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Add the file to errors about its bytes; a file that cannot be opened is an InvalidInputError."""
    try:
        yield
    except InvalidModelError as error:
        error.where = f"{path}, {error.where}" if error.where else path
        raise
    except OSError as error:
        reason = error.strerror or "not readable"
        raise InvalidInputError(
            f"the file cannot be read: {reason}", where=path, hint="Check its path."
        ) from error


def read_graph_file(path: Path) -> Graph:
    """Read one model's graph; large files are mapped, not copied."""
    from perfsage.graph import read_graph

    with naming(str(path)):
        return read_graph(path)


def read_models(paths: Sequence[Path]) -> list[Model]:
    """Read every model with its bytes, to be measured."""
    from perfsage.graph import read_graph
    from profilers.profiler import Model

    models = []
    for path in paths:
        with naming(str(path)):
            data = path.read_bytes()
            models.append(Model(data=data, graph=read_graph(data), path=path))
    return models

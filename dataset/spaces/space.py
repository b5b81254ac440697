"""The protocol of a search space, and how to find one by name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

from dataset.builder import Dtype
from perfsage.errors import UnknownNameError

Architecture = dict[str, Any]
"""What a network is, in JSON's types."""

_MODULES = {
    "classification": "dataset.spaces.classification",
    "detection": "dataset.spaces.detection",
    "fbnet": "dataset.spaces.fbnet",
    "kws": "dataset.spaces.kws",
    "nasbench201": "dataset.spaces.nasbench201",
    "operators": "dataset.spaces.operators",
    "super_resolution": "dataset.spaces.super_resolution",
}


@dataclass(frozen=True, slots=True)
class BuiltNetwork:
    """A network drawn from a space: its .tflite file, what it is, and its family within the space."""

    data: bytes
    architecture: Architecture
    family: str


class Space(Protocol):
    """A set of networks numbered by seed; the same seed gives the same bytes everywhere, for ever."""

    name: str

    def sample(self, seed: int) -> Architecture:
        """Return the architecture of that number."""
        ...

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number as int8 or float32."""
        ...


def space_names() -> tuple[str, ...]:
    """Return the names of all spaces."""
    return tuple(sorted(_MODULES))


def get_space(name: str) -> Space:
    """Return the space called `name`; UnknownNameError names those that exist."""
    if name not in _MODULES:
        known = ", ".join(space_names())
        raise UnknownNameError(f"there is no search space {name!r}", hint=f"Known spaces: {known}.")
    space: Space = importlib.import_module(_MODULES[name]).SPACE
    return space

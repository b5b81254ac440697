"""Spaces whose networks others have measured: an architecture's published text gives the network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, cast

from dataset.builder import Dtype
from dataset.spaces.space import Architecture, BuiltNetwork, Space, get_space
from perfsage.errors import UnknownNameError

KNOWN_SPACES = ("fbnet", "nasbench201")


class KnownNetwork(Protocol):
    """A network that its text describes completely, apart from the weights."""

    @property
    def space(self) -> str:
        """The name of its space."""
        ...

    @property
    def text(self) -> str:
        """The architecture as it was published, in normal spelling."""
        ...

    def build(self, dtype: Dtype) -> BuiltNetwork:
        """Return the network; its weights depend on its text and nothing else."""
        ...


class KnownSpace(Space, Protocol):
    """A search space whose architectures have a published spelling."""

    def parse(self, text: str) -> KnownNetwork:
        """Return the network of that text; InvalidInputError names the position that is wrong."""
        ...

    def seed_of(self, text: str) -> int | None:
        """Return the number of that network, where a number is enough to build it again."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """What every network of a known space carries: the space, its text, and how both look as JSON."""

    space: str
    text: str

    @property
    def architecture(self) -> Architecture:
        """What the database keeps."""
        return {"space": self.space, "text": self.text}

    @property
    def weights_seed(self) -> int:
        """The seed of the weights."""
        digest = hashlib.sha256(f"{self.space} {self.text}".encode()).digest()
        return int.from_bytes(digest[:8], "little")


def known_space(name: str) -> KnownSpace:
    """Return the known space called `name`; UnknownNameError names those that exist."""
    if name not in KNOWN_SPACES:
        raise UnknownNameError(
            f"there is no known space {name!r}", hint=f"Known spaces: {', '.join(KNOWN_SPACES)}."
        )
    return cast(KnownSpace, get_space(name))

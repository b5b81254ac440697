"""FBNet for CIFAR-100: 22 blocks, each chosen from nine, as measured for HW-NAS-Bench and HELP.

Stages, channels and strides follow "FBNet" (arXiv:1812.03443), adapted to 32x32 pixels as in HW-NAS-Bench
(arXiv:2103.10584): stem and head 16 and 1504 channels, strides 1, 1, 2, 2, 1, 2, 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces.known import Named
from dataset.spaces.space import Architecture, BuiltNetwork
from perfsage.errors import InvalidInputError

STEM, HEAD, CLASSES = 16, 1504, 100
CHANNELS = (16, 24, 32, 64, 112, 184, 352)
LAYERS = (1, 4, 4, 4, 4, 4, 1)
STRIDES = (1, 1, 2, 2, 1, 2, 1)


@dataclass(frozen=True, slots=True)
class Block:
    """An inverted residual: expansion, depthwise convolution, projection; both 1x1 ones in `groups`."""

    kernel: int
    expansion: int
    groups: int = 1


BLOCKS: dict[str, Block | None] = {
    "k3_e1": Block(3, 1),
    "k3_e1_g2": Block(3, 1, 2),
    "k3_e3": Block(3, 3),
    "k3_e6": Block(3, 6),
    "k5_e1": Block(5, 1),
    "k5_e1_g2": Block(5, 1, 2),
    "k5_e3": Block(5, 3),
    "k5_e6": Block(5, 6),
    "skip": None,
}
"""In the order in which HW-NAS-Bench and HELP number them."""
BLOCK_COUNT = sum(LAYERS)
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class BlockNetwork(Named):
    """The network of 22 block names."""

    names: tuple[str, ...]

    def build(self, dtype: Dtype) -> BuiltNetwork:
        """Return the network."""
        b = Builder(dtype=dtype, seed=self.weights_seed, description=f"fbnet {self.text}")
        x = b.conv(b.input((1, 32, 32, 3)), STEM, activation="relu")
        for name, (channels, stride) in zip(self.names, _layers(), strict=True):
            x = _add_block(b, x, BLOCKS[name], channels, stride)
        x = b.conv(x, HEAD, kernel=1, activation="relu")
        b.output(b.fully_connected(b.mean(x), CLASSES))
        return BuiltNetwork(b.finish(), self.architecture, self.space)


def _layers() -> Iterator[tuple[int, int]]:
    """Yield channels and stride of each block: only a stage's first block may have a stride."""
    for channels, count, stride in zip(CHANNELS, LAYERS, STRIDES, strict=True):
        yield channels, stride
        yield from [(channels, 1)] * (count - 1)


def _add_block(b: Builder, x: Tensor, block: Block | None, channels: int, stride: int) -> Tensor:
    keeps_shape = stride == 1 and x.shape[-1] == channels
    if block is None:
        return x if keeps_shape else b.conv(x, channels, kernel=1, stride=stride, activation="relu")
    wide = x.shape[-1] * block.expansion
    y = b.conv(x, wide, kernel=1, groups=block.groups, activation="relu")
    if block.groups > 1:
        y = _shuffle(b, y, block.groups)
    y = b.depthwise(y, kernel=block.kernel, stride=stride, activation="relu")
    y = b.conv(y, channels, kernel=1, groups=block.groups)
    return b.add(x, y) if keeps_shape else y


def _shuffle(b: Builder, x: Tensor, groups: int) -> Tensor:
    """Interleave the channels of the groups."""
    batch, height, width, channels = x.shape
    y = b.reshape(x, (batch, height, width, groups, channels // groups))
    return b.reshape(b.transpose(y, (0, 1, 2, 4, 3)), x.shape)


class FbNet:
    """The space `fbnet`: 9 to the power of 22 networks, drawn by seed."""

    name = "fbnet"

    def parse(self, text: str) -> BlockNetwork:
        """Return the network of 22 block names; InvalidInputError names the block that is wrong."""
        if len(text) > _LONGEST_TEXT:
            raise _wrong(f"a text of {len(text)} characters is no FBNet")
        names = tuple(text.split())
        if len(names) != BLOCK_COUNT:
            raise _wrong(f"an FBNet has {BLOCK_COUNT} blocks, and this text has {len(names)}")
        for number, name in enumerate(names, 1):
            if name not in BLOCKS:
                raise _wrong(f"block {number} of {BLOCK_COUNT} is {name!r}, which does not exist")
        return BlockNetwork(self.name, " ".join(names), names)

    def sample(self, seed: int) -> Architecture:
        """Return the network of that number."""
        return self._drawn(seed).architecture

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        return self._drawn(seed).build(dtype)

    def seed_of(self, text: str) -> None:
        """Return None: there are more networks than seeds, so a drawn number is not found again."""
        self.parse(text)

    def _drawn(self, seed: int) -> BlockNetwork:
        draws = Draws(f"fbnet {seed}")
        return self.parse(" ".join(draws.choice(tuple(BLOCKS)) for _ in range(BLOCK_COUNT)))


def _wrong(what: str) -> InvalidInputError:
    return InvalidInputError(what, where="fbnet", hint=f"Blocks: {', '.join(BLOCKS)}.")


SPACE = FbNet()

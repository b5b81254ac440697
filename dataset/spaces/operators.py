"""Single operators and short chains of them, as benchmarks of kernels measure them.

A network is an operator with shapes drawn far beyond what networks have, perhaps repeated, perhaps followed
by others. Predictors learn from these what an operator costs by itself, at the ends of a graph and beside
equal ones.
"""

from __future__ import annotations

from collections.abc import Callable

from dataset.builder import Builder, Dtype, Tensor
from dataset.draws import Draws
from dataset.spaces.blocks import Block
from dataset.spaces.classification import draw_weights
from dataset.spaces.space import Architecture, BuiltNetwork

_FORMAT = 1
"""Part of every label: networks of a seed may only change together with this number."""
_CHANNELS = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
_SIDES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 224)
_MOST_ELEMENTS = 400_000
_MOST_WEIGHTS = 400_000
_MOST_MACS = 150_000_000
_MOST_PARTS = 16
_MOST_ROWS = 4096

Step = Callable[[Builder, Tensor, Block], Tensor]


def _conv(b: Builder, x: Tensor, p: Block) -> Tensor:
    height, width, channels = x.shape[1:]
    kernel = _window(x, p)
    area = kernel[0] * kernel[1] * channels
    filters = min(p["filters"], _MOST_WEIGHTS // area, _MOST_MACS // (area * height * width))
    wide = p["stride"] > 1 or min(height, width) <= p["dilation"] * max(kernel)
    return b.conv(
        x, max(1, filters), kernel=kernel, stride=p["stride"], dilation=1 if wide else p["dilation"],
        padding=p["padding"], activation=p["activation"],
    )  # fmt: skip


def _window(x: Tensor, p: Block) -> tuple[int, int]:
    """Return a kernel that is not larger than the image."""
    return min(p["kernel"][0], x.shape[1]), min(p["kernel"][1], x.shape[2])


def _depthwise(b: Builder, x: Tensor, p: Block) -> Tensor:
    kernel = _window(x, p)
    return b.depthwise(x, kernel=kernel, stride=p["stride"], padding=p["padding"], activation=p["activation"])


def _dense(b: Builder, x: Tensor, p: Block) -> Tensor:
    rows = x.shape[1] * x.shape[2]
    flat = b.reshape(x, (rows, x.shape[3])) if rows <= _MOST_ROWS else b.mean(x)
    units = max(1, min(p["filters"], _MOST_WEIGHTS // flat.shape[-1]))
    y = b.fully_connected(flat, units, activation=p["activation"])
    return b.reshape(y, (1, y.shape[0], 1, y.shape[1]))


def _enlarge(b: Builder, x: Tensor, p: Block) -> Tensor:
    factor = 2 if 16 * x.shape[1] * x.shape[2] * x.shape[3] > _MOST_ELEMENTS else p["factor"]
    size = (x.shape[1] * factor, x.shape[2] * factor)
    if p["way"] == "transpose_conv":
        filters = max(1, min(p["filters"], 64, _MOST_MACS // (9 * x.shape[3] * size[0] * size[1])))
        return b.transpose_conv(x, filters, kernel=3, stride=2)
    resize = b.resize_bilinear if p["way"] == "bilinear" else b.resize_nearest
    return resize(x, size, half_pixel=p["half_pixel"])


def _pool(b: Builder, x: Tensor, p: Block) -> Tensor:
    kernel = _window(x, p)
    pool = b.max_pool if p["way"] == "max" else b.average_pool
    return pool(x, kernel=kernel, stride=p["stride"], padding=p["padding"])


def _arithmetic(b: Builder, x: Tensor, p: Block) -> Tensor:
    shape = x.shape if not p["broadcast"] else (1, 1, 1, x.shape[-1])
    other = b.input(shape)
    ways = {"add": b.add, "sub": b.sub, "mul": b.mul, "maximum": b.maximum, "minimum": b.minimum}
    return ways[p["way"]](x, other)


def _function(b: Builder, x: Tensor, p: Block) -> Tensor:
    ways = {
        **{"relu": b.relu, "relu6": b.relu6, "leaky_relu": b.leaky_relu, "hard_swish": b.hard_swish},
        **{"gelu": b.gelu, "logistic": b.logistic, "tanh": b.tanh, "softmax": b.softmax},
    }
    made: Tensor = ways[p["way"]](x)
    return made


def _shape(b: Builder, x: Tensor, p: Block) -> Tensor:
    height, width, channels = x.shape[1:]
    way = p["way"]
    if way == "pad":
        return b.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    if way == "transpose":
        return b.transpose(x, p["order"])
    if way == "concat":
        return b.concat([x, b.input((1, height, width, p["filters"]))])
    if way == "split" and channels % 2 == 0:
        parts = b.split(x, 2)
        return b.concat(parts[::-1])
    if way == "slice" and height > 1:
        return b.strided_slice(x, (0, 0, 0, 0), (1, height // 2, width, channels))
    if way == "pack":
        return b.reshape(b.pack([x, x], axis=1), (1, 2 * height, width, channels))
    if way == "unpack" and 1 < height <= _MOST_PARTS:
        return b.concat(b.unpack(x), axis=1) if width > 1 else x
    return b.reshape(x, (1, width, height, channels))


def _reduce(b: Builder, x: Tensor, p: Block) -> Tensor:
    if p["way"] == "mean":
        return b.mean(x, keep_dims=True)
    if p["way"] == "mean_channels":
        return b.mean(x, axes=(3,), keep_dims=True)
    return b.reduce_max(x)


def _product(b: Builder, x: Tensor, p: Block) -> Tensor:
    rows = x.shape[1] * x.shape[2]
    if rows > 1024 or rows * p["filters"] * x.shape[3] > _MOST_MACS:
        return b.tanh(x)
    left = b.reshape(x, (1, rows, x.shape[3]))
    y = b.batch_matmul(left, b.input((1, x.shape[3], p["filters"])))
    return b.reshape(y, (1, rows, 1, p["filters"]))


_STEPS: dict[str, Step] = {
    "conv": _conv,
    "depthwise": _depthwise,
    "dense": _dense,
    "enlarge": _enlarge,
    "pool": _pool,
    "arithmetic": _arithmetic,
    "function": _function,
    "shape": _shape,
    "reduce": _reduce,
    "product": _product,
}
_ANY_RANK = ("arithmetic", "function", "reduce")
"""The other steps need images, and what was unpacked is none."""
_WEIGHTS = (9, 5, 4, 4, 3, 4, 4, 4, 2, 1)
_WAYS: dict[str, tuple[str, ...]] = {
    "enlarge": ("transpose_conv", "bilinear", "bilinear", "nearest"),
    "pool": ("max", "average"),
    "arithmetic": ("add", "add", "mul", "sub", "maximum", "minimum"),
    "function": ("relu", "relu6", "leaky_relu", "hard_swish", "gelu", "logistic", "tanh", "softmax"),
    "shape": ("pad", "transpose", "concat", "split", "slice", "pack", "unpack", "reshape"),
    "reduce": ("mean", "mean_channels", "max"),
}


class Operators:
    """The space `operators`."""

    name = "operators"

    def sample(self, seed: int) -> Architecture:
        """Return an input and one to eight steps; the first one names the family."""
        draws = Draws(f"operators {_FORMAT} {seed}")
        steps = [_step(draws)]
        if draws.chance(0.5):
            more = draws.between(1, draws.choice((2, 7)))
            steps += [steps[0] if draws.chance(0.5) else _step(draws) for _ in range(more)]
        shape = [draws.choice(_SIDES), draws.choice(_SIDES), draws.choice(_CHANNELS)]
        while shape[0] * shape[1] * shape[2] > _MOST_ELEMENTS:
            shape = [max(1, side // 2) for side in shape[:2]] + shape[2:]
        last = "arg_max" if draws.chance(0.08) else "none"
        return {
            "input": shape, "family": steps[0]["kind"], **draw_weights(draws), "steps": steps, "last": last,
        }  # fmt: skip

    def build(self, seed: int, dtype: Dtype) -> BuiltNetwork:
        """Return the network of that number."""
        architecture = self.sample(seed)
        weights = {name: architecture[name] for name in ("sparsity", "spread")}
        b = Builder(dtype=dtype, seed=seed, description=f"operators {seed}", **weights)
        x = b.input((1, *architecture["input"]))
        for step in architecture["steps"]:
            if step["kind"] not in _ANY_RANK and len(x.shape) == 3:
                x = b.reshape(x, (1, x.shape[1], 1, x.shape[2]))
            x = _STEPS[step["kind"]](b, x, step)
        b.output(b.arg_max(x) if architecture["last"] == "arg_max" else x)
        return BuiltNetwork(b.finish(), architecture, architecture["family"])


def _step(draws: Draws) -> Block:
    kind = draws.choice(tuple(_STEPS), _WEIGHTS)
    side = draws.choice((1, 2, 3, 4, 5, 7, 9), (8, 1, 10, 1, 4, 2, 1))
    return {
        "kind": kind,
        "way": draws.choice(_WAYS.get(kind, ("",))),
        "filters": draws.choice(_CHANNELS),
        "kernel": [side, side if draws.chance(0.8) else draws.choice((1, 2, 3, 5))],
        "stride": draws.choice((1, 2, 3), (10, 4, 1)),
        "dilation": draws.choice((1, 2, 4), (12, 1, 1)),
        "padding": draws.choice(("same", "valid"), (3, 1)),
        "activation": draws.choice(("none", "relu", "relu6"), (3, 3, 1)),
        "factor": draws.choice((2, 4)),
        "half_pixel": draws.chance(0.5),
        "broadcast": draws.chance(0.3),
        "order": list(draws.choice(((0, 2, 1, 3), (0, 3, 1, 2), (0, 1, 3, 2)))),
    }


SPACE = Operators()

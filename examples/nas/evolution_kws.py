"""Evolve a keyword spotting network of depthwise separable blocks, as in "Hello Edge" (arXiv:1711.07128).

The candidate is built here and sent without its weights; a plain evolutionary loop looks for the best one
within the budgets, 10 ms and 256 KiB unless told otherwise:

    python examples/nas/evolution_kws.py --predictor demo/predictor --budget "tflm:peak_memory_bytes<=64KiB"
"""

from __future__ import annotations

from typing import Any

from common import arguments, costs, tell

from dataset.builder import Builder, Dtype
from perfsage.nas import Search, evolve
from perfsage.nas.naswot import naswot

BLOCKS = 4
CHOICES = {
    "stem": (16, 32, 48, 64, 96),
    "kernel": (3, 5),
    **{f"width{number}": (16, 32, 48, 64, 96, 128) for number in range(BLOCKS)},
    **{f"stride{number}": (1, 2) for number in range(BLOCKS)},
    "depth": tuple(range(1, BLOCKS + 1)),
}


def build(choice: Any, dtype: Dtype = "int8") -> bytes:
    """Return the network of a choice as a .tflite file."""
    b = Builder(dtype=dtype, seed=0)
    x = b.conv(b.input((1, 49, 10, 1)), choice["stem"], kernel=(10, 4), stride=2, activation="relu")
    for number in range(choice["depth"]):
        stride = choice[f"stride{number}"]
        x = b.depthwise(x, kernel=choice["kernel"], stride=stride, activation="relu")
        x = b.conv(x, choice[f"width{number}"], kernel=1, activation="relu")
    b.output(b.softmax(b.fully_connected(b.mean(x), 12)))
    return b.finish()


def main() -> None:
    """Search and tell what was found."""
    options = arguments(__doc__.splitlines()[0], candidates=320).parse_args()
    search = Search(
        choices=CHOICES,
        model=build,
        score=lambda choice: naswot(build(choice, "float32")),
        costs=costs(options),
    )
    generations = max(1, options.candidates // options.batch) - 1
    found = evolve(
        search,
        generations=generations,
        population=options.batch,
        seed=options.seed,
        progress=lambda number, best: print(f"generation {number}: {best.score or 0:.1f}"),
    )
    best = found.best
    tell(best, dict(best.choice) if best else None, found.looked_at)


if __name__ == "__main__":
    main()

"""Damages models and looks at everything that a reader shows of them.

`python -m tests.graph.reader_mutations 100000` runs the full campaign.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter

from perfsage.errors import InvalidModelError
from perfsage.graph import Graph, read_graph, strip_weights
from tests.graph.reader_models import MADE, REAL_FILES, pack

NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    10_000_000,
)
MAX_SEED_BYTES = 60_000


def seeds() -> list[bytes]:
    """Return the models to damage: made ones, small real ones, and a structure."""
    made = [pack(make()) for make in MADE.values()]
    real = [path.read_bytes() for path in REAL_FILES if path.stat().st_size <= MAX_SEED_BYTES]
    return [*made, *real, strip_weights(made[0]), strip_weights(made[2], compress=True)]


def mutate(data: bytes, chance: random.Random) -> bytes:
    """Return `data` with a few bytes, words or stretches changed, or cut short."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        where = chance.randrange(len(damaged))
        kind = chance.randrange(6)
        if kind == 0:
            damaged[where] = chance.randrange(256)
        elif kind == 1:
            damaged[where] ^= 1 << chance.randrange(8)
        elif kind == 2:
            word = where & ~3
            damaged[word : word + 4] = chance.choice(NUMBERS).to_bytes(4, "little")
        elif kind == 3:
            other, count = chance.randrange(len(damaged)), chance.randrange(1, 64)
            damaged[where : where + count] = damaged[other : other + count]
        elif kind == 4:
            del damaged[where : where + chance.choice((1, 4, 64))]
        elif chance.random() < 0.2:
            del damaged[where + 1 :]
        if not damaged:
            break
    return bytes(damaged)


def look_at_everything(graph: Graph) -> None:
    """Read every field of a graph, also those that are read only on demand."""
    readers = (
        lambda: [(o.type, o.inputs, o.attributes, o.custom_options) for o in graph.operators],
        lambda: [o.mutating_variable_inputs for o in graph.operators],
        lambda: [(t.name, t.quantization, t.has_rank) for sub in graph.subgraphs for t in sub.tensors],
        lambda: [sub.columns.tensor_is_dynamic for sub in graph.subgraphs],
        lambda: [sub.columns.attribute("stride_w") for sub in graph.subgraphs],
        lambda: [sub.columns.tensor_statistics for sub in graph.subgraphs],
        lambda: [bytes(graph.buffer(index)) for index in range(graph.buffers)],
        lambda: (graph.signatures, graph.metadata, graph.description, graph.version),
        lambda: [sub.name for sub in graph.subgraphs],
        lambda: graph.graph_id,
        lambda: graph.has_weights and strip_weights(graph),
    )
    for read in readers:
        try:
            read()
        except InvalidModelError:
            continue


def campaign(count: int, seed: int, limit_s: float) -> Counter[str]:
    """Damage `count` models; anything but a graph or InvalidModelError, and anything slow, is raised."""
    chance, models, outcomes = random.Random(seed), seeds(), Counter[str]()
    for number in range(count):
        data = mutate(chance.choice(models), chance)
        start = time.process_time()
        try:
            graph = read_graph(data)
            look_at_everything(graph)
            outcomes["read"] += 1
        except InvalidModelError:
            outcomes["refused"] += 1
        except Exception as error:
            error.add_note(f"mutation {number} of seed {seed}")
            raise
        spent = time.process_time() - start
        assert spent < limit_s, f"mutation {number} of seed {seed} took {spent:.2f} s"
    return outcomes


if __name__ == "__main__":
    began = time.monotonic()
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    print(dict(campaign(total, 1, 2.0)), f"{time.monotonic() - began:.0f} s")

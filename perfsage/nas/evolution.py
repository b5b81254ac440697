"""A plain evolutionary loop: tournaments, crossover, mutation, and the best of parents and children."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from perfsage.nas.search import Genome, Search, Trial

_TOURNAMENT = 3
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Evolution:
    """How a search went: the last population, best first, and how many candidates were looked at."""

    population: tuple[Trial, ...]
    looked_at: int

    @property
    def best(self) -> Trial | None:
        """The best candidate within all budgets, None when there is none."""
        first = self.population[0]
        return first if first.cost.is_within else None


def evolve(
    search: Search,
    *,
    generations: int = 20,
    population: int = 32,
    seed: int = 0,
    progress: Callable[[int, Trial], None] | None = None,
) -> Evolution:
    """Search for the best candidate within the budgets; each generation's costs are one call.

    `progress(generation, best)` is called after each generation. The same seed gives the same search.
    """
    draws = random.Random(seed)
    sizes = [len(options) for options in search.choices.values()]
    seen: set[Genome] = set()
    kept: list[Trial] = []
    for generation in range(generations + 1):
        born = [_child(kept, sizes, seen, draws) for _ in range(population)]
        fresh = [genome for genome in dict.fromkeys(born) if genome not in seen]
        seen.update(fresh)
        kept = sorted([*kept, *search.evaluate(fresh)], key=lambda trial: trial.rank, reverse=True)
        kept = kept[:population]
        if progress:
            progress(generation, kept[0])
    return Evolution(tuple(kept), len(seen))


def _child(parents: list[Trial], sizes: list[int], seen: set[Genome], draws: random.Random) -> Genome:
    """Return a genome that was not seen yet, where one is found soon."""
    genome: Genome = ()
    for _ in range(_ATTEMPTS):
        genome = _bred(parents, sizes, draws) if parents else tuple(draws.randrange(size) for size in sizes)
        if genome not in seen:
            break
    return genome


def _bred(parents: list[Trial], sizes: list[int], draws: random.Random) -> Genome:
    mother, father = (_winner(parents, draws).genome for _ in range(2))
    genes = [draws.choice(pair) for pair in zip(mother, father, strict=True)]
    place = draws.randrange(len(genes))
    genes[place] = draws.randrange(sizes[place])
    return tuple(genes)


def _winner(parents: list[Trial], draws: random.Random) -> Trial:
    return max(draws.choices(parents, k=_TOURNAMENT), key=lambda trial: trial.rank)

"""A search: what can be chosen, how good a choice is, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perfsage.nas.costs import Cost, Costs

Genome = tuple[int, ...]
"""For each name of the choices, which of its options was taken."""
Choice = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate that was looked at; `score` is None where only its costs were needed."""

    genome: Genome
    choice: Choice
    cost: Cost
    score: float | None

    @property
    def excess(self) -> float:
        """The sum of what budgets are exceeded by; 0 when all hold."""
        return sum(max(0.0, excess) for excess in self.cost.excess)

    @property
    def rank(self) -> tuple[bool, float]:
        """Larger is better: within the budgets by score, beyond them by how little they are exceeded."""
        if self.cost.is_within and self.score is not None:
            return True, self.score
        return False, -self.excess


@dataclass(kw_only=True)
class Search:
    """Candidates are built by `model` from a choice, and scored by `score`: more is better.

    `model` returns whatever `costs` can predict: bytes, a path, a graph, or a service's `Candidate`.
    Candidates and scores are remembered, so that a choice is paid for once.
    """

    choices: Mapping[str, Sequence[Any]]
    model: Callable[[Choice], Any]
    score: Callable[[Choice], float]
    costs: Costs
    _costs: dict[Genome, Cost] = field(default_factory=dict, init=False, repr=False)
    _scores: dict[Genome, float] = field(default_factory=dict, init=False, repr=False)

    def choice(self, genome: Genome) -> Choice:
        """Return what a genome stands for."""
        return {
            name: options[gene] for gene, (name, options) in zip(genome, self.choices.items(), strict=True)
        }

    def evaluate(self, genomes: Sequence[Genome], *, score_all: bool = False) -> list[Trial]:
        """Return a trial for each genome; all costs are asked for at once.

        Candidates beyond a budget are not scored, unless `score_all` says so: proxies take longer than costs.
        """
        new = [genome for genome in dict.fromkeys(genomes) if genome not in self._costs]
        if new:
            found = self.costs([self.model(self.choice(genome)) for genome in new])
            self._costs.update(zip(new, found, strict=True))
        return [self._trial(genome, score_all) for genome in genomes]

    def _trial(self, genome: Genome, score_all: bool) -> Trial:
        cost, choice = self._costs[genome], self.choice(genome)
        if genome not in self._scores and cost.error is None and (score_all or cost.is_within):
            self._scores[genome] = self.score(choice)
        return Trial(genome, choice, cost, self._scores.get(genome))

"""A search as pymoo's vectorized Problem: a population is evaluated in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perfsage.errors import MissingExtraError
from perfsage.nas.costs import Quantity
from perfsage.nas.search import Genome, Search

try:
    from pymoo.core.problem import Problem
except ImportError as error:
    raise MissingExtraError("pymoo", "nas") from error

_BEYOND = 1e9


class SearchProblem(Problem):  # type: ignore[misc]
    """Minimises the negative score, then each of `objectives`; budgets are inequality constraints.

    A solution x int[variables] holds, for each name of the search's choices, which option was taken.
    """

    def __init__(self, search: Search, *, objectives: Sequence[Quantity] = ()) -> None:
        self.search, self._objectives = search, tuple(objectives)
        sizes = np.asarray([len(options) for options in search.choices.values()])
        super().__init__(
            n_var=len(sizes),
            n_obj=1 + len(self._objectives),
            n_ieq_constr=len(search.costs.budgets),
            xl=np.zeros(len(sizes), dtype=np.int64),
            xu=sizes - 1,
            vtype=int,
        )

    def genomes(self, solutions: NDArray[Any]) -> list[Genome]:
        """Return the genomes of solutions [n, variables]."""
        return [tuple(row) for row in np.rint(np.atleast_2d(solutions)).astype(int).tolist()]

    def _evaluate(self, x: NDArray[Any], out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        trials = self.search.evaluate(self.genomes(x), score_all=True)
        scores = [[-trial.score if trial.score is not None else _BEYOND] for trial in trials]
        costs = [[trial.cost.value(*quantity) for quantity in self._objectives] for trial in trials]
        out["F"] = _finite(np.hstack([np.asarray(scores), np.asarray(costs).reshape(len(trials), -1)]))
        out["G"] = _finite(np.asarray([trial.cost.excess for trial in trials]))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(values, -_BEYOND, _BEYOND)

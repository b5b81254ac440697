"""Architecture search under budgets: the best network under 10 ms and 256 KB, and what it would cost.

>>> from perfsage.nas import Costs, Search, evolve, parse_budget
>>> costs = Costs(predictor, [parse_budget("tflm:peak_memory_bytes<=256KiB")])           # doctest: +SKIP
>>> search = Search(choices={"width": (8, 16, 32)}, model=build, score=proxy, costs=costs)  # doctest: +SKIP
>>> evolve(search, generations=10).best.choice                                           # doctest: +SKIP

`perfsage.nas.optuna` and `perfsage.nas.pymoo` hand a search to these libraries, `perfsage.nas.naswot` scores
networks that were never trained.
"""

from __future__ import annotations

from perfsage.nas.budget import Budget, parse_budget
from perfsage.nas.costs import Cost, Costs
from perfsage.nas.evolution import Evolution, evolve
from perfsage.nas.search import Search, Trial

__all__ = ["Budget", "Cost", "Costs", "Evolution", "Search", "Trial", "evolve", "parse_budget"]

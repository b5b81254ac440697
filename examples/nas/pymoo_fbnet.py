"""Search FBNet with pymoo's NSGA-II: 22 blocks, a high proxy score and a low latency, within budgets.

python examples/nas/pymoo_fbnet.py --predictor demo/predictor --candidates 256
"""

from __future__ import annotations

from typing import Any

from common import arguments, budgets, costs, tell
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.pm import PolynomialMutation
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import IntegerRandomSampling
from pymoo.optimize import minimize

from dataset.builder import Dtype
from dataset.spaces.fbnet import BLOCK_COUNT, BLOCKS
from dataset.spaces.known import known_space
from perfsage.metrics import Metric
from perfsage.nas import Search
from perfsage.nas.naswot import naswot
from perfsage.nas.pymoo import SearchProblem

PLACES = [f"block{number}" for number in range(BLOCK_COUNT)]


def text(choice: Any) -> str:
    """Return the network's blocks as published."""
    return " ".join(choice[place] for place in PLACES)


def build(choice: Any, dtype: Dtype) -> bytes:
    """Return the network as a .tflite file."""
    return known_space("fbnet").parse(text(choice)).build(dtype).data


def main() -> None:
    """Search and tell the front that keeps the budgets."""
    options = arguments(__doc__.splitlines()[0], candidates=256).parse_args()
    latency = (budgets(options)[0].device, Metric.LATENCY_MS)
    search = Search(
        choices={place: tuple(BLOCKS) for place in PLACES},
        model=lambda choice: build(choice, "int8"),
        score=lambda choice: naswot(build(choice, "float32"), inputs=8),
        costs=costs(options, also=[latency]),
    )
    problem = SearchProblem(search, objectives=[latency])
    algorithm = NSGA2(
        pop_size=options.batch,
        sampling=IntegerRandomSampling(),
        crossover=TwoPointCrossover(),
        mutation=PolynomialMutation(vtype=float, repair=RoundingRepair()),
        eliminate_duplicates=True,
    )
    found = minimize(problem, algorithm, ("n_eval", options.candidates), seed=options.seed)
    if found.X is None:
        tell(None, None, options.candidates)
        return
    for trial in search.evaluate(problem.genomes(found.X)[:5]):
        tell(trial, text(trial.choice), options.candidates)


if __name__ == "__main__":
    main()

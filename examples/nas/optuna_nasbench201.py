"""Search NAS-Bench-201 with Optuna: a high proxy score and a low latency, within budgets.

With --url the service builds each candidate from its text: no file is written or sent.

    python examples/nas/optuna_nasbench201.py --url http://127.0.0.1:8000 --candidates 500
"""

from __future__ import annotations

from typing import Any

import optuna
from common import arguments, budgets, costs, tell

from dataset.builder import Dtype
from dataset.spaces.known import known_space
from perfsage.metrics import Metric
from perfsage.nas import Search
from perfsage.nas.naswot import naswot
from perfsage.nas.optuna import optimise, within_budgets

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ("1~0", "2~0", "2~1", "3~0", "3~1", "3~2")


def cell(choice: Any) -> str:
    """Return the cell's text in the benchmark's spelling."""
    nodes = {to: [edge for edge in EDGES if edge.startswith(to)] for to in "123"}
    parts = ["".join(f"|{choice[edge]}~{edge[2]}" for edge in edges) + "|" for edges in nodes.values()]
    return "+".join(parts)


def build(choice: Any, dtype: Dtype) -> bytes:
    """Return the network of a cell as a .tflite file."""
    return known_space("nasbench201").parse(cell(choice)).build(dtype).data


def score(choice: Any) -> float:
    """Return NASWOT of the untrained network; a cell that leads nowhere is worth nothing."""
    return naswot(build(choice, "float32"), inputs=8) if _leads_somewhere(choice) else 0.0


def _leads_somewhere(choice: Any) -> bool:
    """Return whether the input reaches the output."""
    reached = {"0"}
    for edge in EDGES:
        if edge[2] in reached and choice[edge] != "none":
            reached.add(edge[0])
    return "3" in reached


def main() -> None:
    """Search and tell the front that keeps the budgets."""
    options = arguments(__doc__.splitlines()[0], candidates=200).parse_args()
    latency = (budgets(options)[0].device, Metric.LATENCY_MS)
    asked = costs(options, also=[latency])
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def model(choice: Any) -> Any:
        if not options.url:
            return build(choice, "int8")
        from perfsage.client import Candidate

        return Candidate("nasbench201", architecture=cell(choice))

    search = Search(choices=dict.fromkeys(EDGES, OPERATIONS), model=model, score=score, costs=asked)
    study = optimise(
        search, objectives=[latency], trials=options.candidates, batch=options.batch, seed=options.seed
    )
    front = within_budgets(study)
    for trial in sorted(front, key=lambda trial: trial.values[0], reverse=True)[:5]:
        [found] = search.evaluate([tuple(trial.params[edge] for edge in EDGES)])
        tell(found, cell(found.choice), len(study.trials))
    if not front:
        tell(None, None, len(study.trials))


if __name__ == "__main__":
    main()

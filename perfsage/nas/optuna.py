"""A search as an Optuna study: several objectives, budgets as constraints, costs asked for in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from perfsage.errors import MissingExtraError
from perfsage.nas.costs import Quantity
from perfsage.nas.search import Search, Trial

try:
    import optuna
except ImportError as error:
    raise MissingExtraError("optuna", "nas") from error

Direction = Literal["minimize", "maximize"]
_BEYOND = 1e9
"""What an infinite excess or cost becomes: samplers calculate with these numbers."""


def optimise(
    search: Search,
    *,
    objectives: Sequence[Quantity] = (),
    trials: int = 200,
    batch: int = 32,
    seed: int = 0,
    sampler: optuna.samplers.BaseSampler | None = None,
) -> optuna.Study:
    """Maximise the score and minimise each of `objectives` within the search's budgets.

    Each batch's costs are one call. The sampler is NSGA-II, unless another one is given.
    """
    sampler = sampler or optuna.samplers.NSGAIISampler(population_size=batch, seed=seed)
    costs: list[Direction] = ["minimize" for _ in objectives]
    study = optuna.create_study(directions=["maximize", *costs], sampler=sampler)
    space: dict[str, Any] = {
        name: optuna.distributions.CategoricalDistribution(list(range(len(options))))
        for name, options in search.choices.items()
    }
    while len(study.trials) < trials:
        asked = [study.ask(space) for _ in range(min(batch, trials - len(study.trials)))]
        genomes = [tuple(trial.params[name] for name in search.choices) for trial in asked]
        for trial, found in zip(asked, search.evaluate(genomes, score_all=True), strict=True):
            for budget, excess in zip(search.costs.budgets, found.cost.excess, strict=True):
                trial.set_constraint(str(budget), min(excess, _BEYOND))
            _tell(study, trial, found, objectives)
    return study


def _tell(study: optuna.Study, trial: optuna.Trial, found: Trial, objectives: Sequence[Quantity]) -> None:
    if found.score is None:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    costs = [min(found.cost.value(*quantity), _BEYOND) for quantity in objectives]
    study.tell(trial, [max(found.score, -_BEYOND), *costs])


def within_budgets(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials of the Pareto front that keep every budget."""
    return [trial for trial in study.best_trials if all(excess <= 0 for excess in trial.constraints.values())]

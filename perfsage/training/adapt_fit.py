"""Fit one metric of a new device to 5 to a few hundred measured networks.

Non-negative least squares on relative errors explains the values by sums of costs: by plain totals, by
kind of operator, by what the predictor says of devices that it knows, or by both; leaving each network out
in turn says which. A Gaussian process then learns what is left over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perfsage.metrics import Metric
from perfsage.models.adapted import LARGEST_CORRECTION, AdaptedMetric, Facts, squared_exponential
from perfsage.models.adapted_columns import GROUP_TERMS, Array, shape_columns

ADDITIVE = (Metric.LATENCY_MS, Metric.ENERGY_MJ)
FOLDS = 50
RIDGE = 1e-3
"""Keeps columns that say the same apart; relative to a column that explains everything."""
PENALTIES = (0.3, 0.03, RIDGE)
"""How dearly kinds of operator get rates of their own, on top of what all operators pay."""
BALANCE_ROUNDS = 4
LOWEST_AT_FIRST = 1.0
OUTLIER_DEVIATIONS, SMALLEST_OUTLIER = 8.0, 2.3
"""A value ten times off, and far beyond what the others show, is left out of a fit."""
SHARPNESS, SMALLEST_WEIGHT, TINY_ERROR = 6.0, 0.05, 1e-6
"""Sets of columns count by this power of their error, unless that makes them next to nothing."""
LENGTH, SIGNAL_SHARE = 1.0, 0.75
"""The process's length and its share of the residuals' variance: the best of 7 settings on NAS-Bench-201
devices that nothing is reported for (docs/experiments.md)."""
FEWEST_FOR_PROCESS = 12
SMALLEST = 1e-3
"""Predictions for networks left out are at least this share of the smallest value."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of blocks of columns, and how dearly rates of kinds are bought."""

    names: tuple[str, ...]
    penalty: float = RIDGE


PLAIN = Choice(("constant", "terms"))


@dataclass(frozen=True, slots=True)
class Design:
    """The columns of n networks, by block: the constant, terms, kinds, totals, base devices.

    `kind_terms` float64[n, kinds, terms] parts the terms by kind.
    """

    kinds: tuple[str, ...]
    blocks: Mapping[str, Array]
    kind_terms: Array

    @classmethod
    def of(cls, facts: Sequence[Facts], usable: Array) -> Design:
        """Return the columns; only base devices where `usable` float64[d] is 1 take part."""
        kinds = tuple(sorted({kind for fact in facts for kind in fact.columns.kinds.tolist()}))
        blocks = {
            "constant": np.ones((len(facts), 1)),
            "terms": np.stack([fact.columns.sum_terms() for fact in facts]),
            "kinds": np.stack([fact.columns.sum_kinds(kinds).ravel() for fact in facts]),
            "totals": np.stack([fact.totals for fact in facts]),
            "base": np.stack([fact.base for fact in facts]) * usable,
        }
        return cls(kinds, blocks, np.stack([_kind_terms(fact, kinds) for fact in facts]))

    def matrix(self, choice: Choice) -> Array:
        """Return the columns of a choice, side by side."""
        return np.concatenate([self.blocks[name] for name in choice.names], axis=1)

    def penalties(self, choice: Choice) -> Array:
        """Return the penalty of each column."""
        return np.concatenate(
            [
                np.full(self.blocks[name].shape[1], choice.penalty if name == "kinds" else RIDGE)
                for name in choice.names
            ]
        )

    def split(self, choice: Choice, rates: Array) -> dict[str, Array]:
        """Return the rates by block, zeros for blocks that were not chosen."""
        parts = {name: np.zeros(block.shape[1]) for name, block in self.blocks.items()}
        begin = 0
        for name in choice.names:
            width = self.blocks[name].shape[1]
            parts[name], begin = rates[begin : begin + width], begin + width
        return parts


def _kind_terms(fact: Facts, kinds: Sequence[str]) -> Array:
    rows, _ = fact.columns.places(kinds)
    sums = np.zeros((len(kinds), fact.columns.terms.shape[1]))
    np.add.at(sums, rows, fact.columns.terms)
    return sums


def candidates(metric: Metric, has_base: bool) -> list[Choice]:
    """Return the sets of columns to choose from, the plainest first."""
    if metric in ADDITIVE:
        names = ("constant", "terms", "kinds")
        plain = [PLAIN, *(Choice(names, penalty) for penalty in PENALTIES)]
        with_base = [Choice(("constant", "base")), *(Choice((*names, "base"), p) for p in PENALTIES[:2])]
    else:
        plain = [Choice(("constant", "totals")), Choice(("constant", "totals", "terms"))]
        with_base = [Choice(("constant", "base")), Choice(("constant", "totals", "terms", "base"))]
    return plain + (with_base if has_base else [])


def non_negative(columns: Array, values: Array, penalties: Array | float = RIDGE) -> Array:
    """Return positive rates that make the sums of columns closest to `values` in relative terms.

    Errors are divided by the geometric mean of value and prediction, which treats too much and too little
    alike; that takes some rounds.
    """
    from scipy.optimize import nnls

    # First, values far below the usual count as if they were near it: one of them must not outweigh the rest.
    weights = np.minimum(1.0, values / (LOWEST_AT_FIRST * float(np.median(values))))
    relative = columns / values[:, None]
    scale = (relative * weights[:, None]).mean(axis=0)
    used = scale > 0
    rates = np.zeros(columns.shape[1])
    if not used.any():
        return rates
    scaled = relative[:, used] / scale[used]
    ridge = np.diag(np.broadcast_to(penalties, used.shape)[used])
    for _ in range(BALANCE_ROUNDS):
        system = np.concatenate([scaled * weights[:, None], ridge])
        shares = nnls(system, np.concatenate([weights, np.zeros(len(ridge))]), maxiter=100 * len(ridge))[0]
        ratios = np.clip(scaled @ shares, 0.01, 100.0)
        weights = (~_outliers(np.log(ratios))) / np.sqrt(np.clip(ratios, 0.1, 10.0))
    rates[used] = shares / scale[used]
    return rates


def _outliers(errors: Array) -> NDArray[np.bool_]:
    """Return which errors in log space are large and far beyond the others, as of a failed measurement."""
    usual = 1.4826 * float(np.median(np.abs(errors)))
    return np.asarray(np.abs(errors) > max(OUTLIER_DEVIATIONS * usual, SMALLEST_OUTLIER))


def folds(count: int) -> list[NDArray[np.bool_]]:
    """Return masks of the networks to leave out: each alone, or in FOLDS parts where there are many."""
    part = np.arange(count) % min(count, FOLDS)
    return [part == number for number in range(part.max() + 1)]


def left_out(design: Design, choice: Choice, values: Array) -> Array:
    """Return the sum predicted for each network from the others."""
    columns, penalties = design.matrix(choice), design.penalties(choice)
    predicted = np.empty(len(values))
    for out in folds(len(values)):
        rates = non_negative(columns[~out], values[~out], penalties)
        predicted[out] = columns[out] @ rates + _surcharge(design, choice, values, out, rates)
    return np.asarray(np.maximum(predicted, SMALLEST * values.min()))


def _surcharge(
    design: Design, choice: Choice, values: Array, out: NDArray[np.bool_], rates: Array
) -> Array | float:
    """Return what operators of kinds that only networks left out have cost more than all operators pay."""
    unseen = design.kind_terms[~out][:, :, 0].sum(axis=0) == 0
    if "kinds" not in choice.names or not unseen.any():
        return 0.0
    plain = design.split(PLAIN, non_negative(design.matrix(PLAIN)[~out], values[~out]))["terms"]
    missing = design.kind_terms[out][:, unseen].sum(axis=1)
    return np.asarray(missing @ (plain - design.split(choice, rates)["terms"]))


def blend(design: Design, metric: Metric, values: Array) -> tuple[list[tuple[Choice, float]], Array]:
    """Return the sets of columns that predict networks left out well, with weights that add up to 1.

    With them, what they predict together for each network left out, float64[n].
    """
    options = candidates(metric, bool(design.blocks["base"].any()))
    sums = np.stack([left_out(design, choice, values) for choice in options])
    errors = np.minimum(np.abs(np.log(sums / values)), 1.0).mean(axis=1) + TINY_ERROR
    weights = (errors.min() / errors) ** SHARPNESS
    weights = np.where(weights < SMALLEST_WEIGHT, 0.0, weights)
    weights /= weights.sum()
    chosen = [(choice, float(w)) for choice, w in zip(options, weights, strict=True) if w > 0]
    return chosen, np.asarray(weights @ sums)


def process_weights(shapes: Array, residuals: Array) -> Array:
    """Return the weights of the process, for n networks of float64[n, q]."""
    return np.asarray(SIGNAL_SHARE * np.linalg.solve(_covariance(shapes), residuals))


def process_left_out(shapes: Array, residuals: Array) -> Array:
    """Return what the process predicts for each network from the others, in closed form."""
    inverse = np.linalg.inv(_covariance(shapes))
    return np.asarray(residuals - (inverse @ residuals) / np.diag(inverse))


def _covariance(shapes: Array) -> Array:
    signal = squared_exponential(shapes, shapes, LENGTH)
    return np.asarray(SIGNAL_SHARE * signal + (1.0 - SIGNAL_SHARE) * np.eye(len(shapes)))


def fit_metric(
    facts: Sequence[Facts], values: Array, metric: Metric, usable: Array, level: float
) -> AdaptedMetric:
    """Return the fit; `values` float64[n] are positive, `usable` float64[d] is 1 for base devices to use."""
    design = Design.of(facts, usable)
    chosen, sums_left_out = blend(design, metric, values)
    parts, columns_sums = _fit(design, chosen, values)
    terms = design.blocks["terms"]
    process = _Process.of(facts, design.kinds, values, columns_sums)
    errors = np.log(values / (sums_left_out * (1.0 + process.left_out)))
    return AdaptedMetric(
        kinds=design.kinds,
        constant=float(parts["constant"][0]),
        term_rates=parts["terms"],
        kind_rates=parts["kinds"].reshape(len(design.kinds), len(GROUP_TERMS)),
        total_rates=parts["totals"],
        base_rates=parts["base"],
        unknown_rates=parts["unknown"],
        shapes=process.shapes,
        centre=process.centre,
        scale=process.scale,
        weights=process.weights,
        length=LENGTH,
        half_width=half_width(errors, level),
        largest=terms.max(axis=0),
        smallest=terms.min(axis=0),
        error_percent=float(100.0 * np.median(np.abs(np.expm1(errors)))),
    )


def _fit(
    design: Design, chosen: Sequence[tuple[Choice, float]], values: Array
) -> tuple[dict[str, Array], Array]:
    """Return the rates of all sets of columns together, by block, and the sums that they give.

    `unknown` are the terms' rates for kinds that were never measured: of the fit that knows no kinds.
    """
    plain = design.split(PLAIN, non_negative(design.matrix(PLAIN), values))["terms"]
    parts: dict[str, Array] = {"unknown": np.zeros(len(plain))}
    sums = np.zeros(len(values))
    for choice, weight in chosen:
        columns = design.matrix(choice)
        rates = non_negative(columns, values, design.penalties(choice))
        sums += weight * (columns @ rates)
        for name, part in design.split(choice, rates).items():
            parts[name] = parts.get(name, np.zeros(len(part))) + weight * part
        unknown = plain if "kinds" in choice.names else design.split(choice, rates)["terms"]
        parts["unknown"] = parts["unknown"] + weight * unknown
    return parts, sums


@dataclass(frozen=True, slots=True)
class _Process:
    """The process over what the sums leave, and what it predicts for each network from the others."""

    shapes: Array
    centre: Array
    scale: Array
    weights: Array
    left_out: Array

    @classmethod
    def of(cls, facts: Sequence[Facts], kinds: Sequence[str], values: Array, sums: Array) -> _Process:
        raw = np.stack([shape_columns(fact.features, fact.columns, kinds) for fact in facts])
        centre, scale = raw.mean(axis=0), np.where(raw.std(axis=0) > 1e-6, raw.std(axis=0), 1.0)
        shapes = (raw - centre) / scale
        if len(values) < FEWEST_FOR_PROCESS:
            return cls(shapes[:0], centre, scale, np.zeros(0), np.zeros(len(values)))
        relative = values / np.maximum(sums, SMALLEST * values.min()) - 1.0
        residuals = np.clip(relative, -LARGEST_CORRECTION, LARGEST_CORRECTION)
        bound = np.clip(process_left_out(shapes, residuals), -LARGEST_CORRECTION, LARGEST_CORRECTION)
        return cls(shapes, centre, scale, process_weights(shapes, residuals), bound)


def half_width(errors: Array, level: float) -> float:
    """Return the half width of the interval in log space, from errors of networks left out.

    The conformal quantile; with fewer errors than it needs (9 for 90 %), Student's t takes its place.
    """
    from scipy.stats import t

    count = len(errors)
    rank = math.ceil((count + 1) * level)
    spread = float(np.sqrt((errors**2).mean()))
    guess = float(t.ppf(0.5 + level / 2, max(count - 1, 1))) * spread * math.sqrt(1 + 1 / count)
    return float(np.sort(np.abs(errors))[rank - 1]) if rank <= count else guess

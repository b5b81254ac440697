"""What the examples share: where costs come from, and how a result is told."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from perfsage import load_predictor
from perfsage.client import Client
from perfsage.nas import Budget, Costs, Trial, parse_budget
from perfsage.nas.costs import Quantity
from perfsage.predictor import Predictor

DEFAULT_BUDGETS = ("ethos-u55-128:latency_ms<=10", "tflm:peak_memory_bytes<=256KiB")


def arguments(description: str, *, candidates: int) -> argparse.ArgumentParser:
    """Return the options that every example takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", help="a running service, such as http://127.0.0.1:8000")
    parser.add_argument("--key", help="the service's API key")
    parser.add_argument("--predictor", default="default", help="a predictor to ask where there is no --url")
    parser.add_argument("--budget", action="append", help="DEVICE:METRIC<=LIMIT; may be repeated")
    parser.add_argument("--candidates", type=int, default=candidates, help="how many networks to look at")
    parser.add_argument("--batch", type=int, default=32, help="how many are predicted in one call")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def source(options: argparse.Namespace) -> Predictor | Client:
    """Return the service's client where there is an address, the predictor in this process otherwise."""
    return Client(options.url, key=options.key) if options.url else load_predictor(options.predictor)


def costs(options: argparse.Namespace, *, also: Sequence[Quantity] = ()) -> Costs:
    """Return what asks for costs under the budgets of the command line."""
    return Costs(source(options), budgets(options), also=also)


def budgets(options: argparse.Namespace) -> list[Budget]:
    """Return the budgets of the command line, or those of the examples."""
    return [parse_budget(text) for text in options.budget or DEFAULT_BUDGETS]


def tell(trial: Trial | None, name: Any, looked_at: int) -> None:
    """Print one result: what it is, its proxy's score, and its predicted costs."""
    if trial is None:
        print(f"None of {looked_at} candidates keeps every budget.")
        return
    print(f"{name}\n  NASWOT {trial.score:.1f} (a proxy, no accuracy)")
    for (device, metric), found in trial.cost.values.items():
        text = f"{found.value:,.4g} {metric.unit}" if hasattr(found, "value") else found.reason
        print(f"  {metric.value} on {device}: {text}")
    if not trial.cost.in_distribution:
        print("  unlike what the predictor learned from: take these figures with care")

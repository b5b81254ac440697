"""Plans made from predictions: where to cut a network between two machines, where to leave it early."""

from __future__ import annotations

from perfsage.planning.cuts import Cut, find_cuts
from perfsage.planning.exits import Exit, ExitPlan, plan_exits
from perfsage.planning.split import Link, Split, SplitPlan, plan_split

__all__ = [
    "Cut",
    "Exit",
    "ExitPlan",
    "Link",
    "Split",
    "SplitPlan",
    "find_cuts",
    "plan_exits",
    "plan_split",
]

"""Real model files beside sampled networks: which operators does a collection not show to a predictor?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from api.workflows.models import naming, read_graph_file
from perfsage.errors import InvalidInputError

if TYPE_CHECKING:
    from dataset.builder import Dtype
    from dataset.coverage import OperatorCoverage, Sampled, TypeCoverage

TASK_SPACES = ("classification", "detection", "kws", "super_resolution")


@dataclass(frozen=True, slots=True)
class ModelCoverage:
    """The operators of one file, in file order, with the distance of the nearest sampled one."""

    path: Path
    operators: tuple[OperatorCoverage, ...]

    @property
    def never_sampled(self) -> tuple[str, ...]:
        """The types that no sampled network has, in order of their first use."""
        return tuple(dict.fromkeys(o.type for o in self.operators if o.distance is None))

    @property
    def median_distance(self) -> float | None:
        """The median over operators of sampled types; None where there are none."""
        known = [o.distance for o in self.operators if o.distance is not None]
        return median(known) if known else None

    @property
    def farthest(self) -> OperatorCoverage | None:
        """The operator of a sampled type that is farthest from all sampled ones."""
        known = [(o.distance, o) for o in self.operators if o.distance is not None]
        return max(known, key=lambda pair: pair[0])[1] if known else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        farthest = self.farthest
        return {
            "path": str(self.path),
            "median_distance": self.median_distance,
            "never_sampled": list(self.never_sampled),
            "farthest": farthest and asdict(farthest),
            "operators": [asdict(operator) for operator in self.operators],
        }


@dataclass(frozen=True, slots=True)
class CoverageReport:
    """Operators by type, in real and sampled networks, and every real file."""

    networks: int
    types: tuple[TypeCoverage, ...]
    models: tuple[ModelCoverage, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "networks": self.networks,
            "types": [asdict(one) for one in self.types],
            "models": [model.to_dict() for model in self.models],
        }


def measure_coverage(
    models: Sequence[Path],
    *,
    spaces: Sequence[str],
    dtypes: Sequence[Dtype],
    count: int,
    seed: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> CoverageReport:
    """Compare real files with `count` networks of each space and dtype, numbered from `seed` on.

    Raises InvalidModelError for a file that is no model, UnknownNameError for a space that does not exist.
    """
    from dataset.coverage import by_type

    graphs = [read_graph_file(path) for path in models]
    sampled = _sample(spaces, dtypes, count, seed, on_progress)
    covered = []
    for path, graph in zip(models, graphs, strict=True):
        with naming(str(path)):
            covered.append(ModelCoverage(path, sampled.distances(graph)))
    types = by_type((model.operators for model in covered), sampled.counts)
    return CoverageReport(sampled.networks, types, tuple(covered))


def _sample(
    names: Sequence[str],
    dtypes: Sequence[Dtype],
    count: int,
    seed: int,
    on_progress: Callable[[int, int], None],
) -> Sampled:
    from dataset.coverage import Sampled
    from dataset.spaces import get_space
    from perfsage.graph import read_graph

    if count < 1 or seed < 0:
        raise InvalidInputError("--count begins at 1, --seed at 0", where=f"{count}, {seed}")
    spaces = [get_space(name) for name in names]
    sampled, total = Sampled(), len(spaces) * len(dtypes) * count
    for number, space, dtype in product(range(seed, seed + count), spaces, dtypes):
        sampled.add(read_graph(space.build(number, dtype).data))
        on_progress(sampled.networks, total)
    return sampled

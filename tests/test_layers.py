"""The structure of the project, read from its imports: lower rooms never import upper ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "perfsage": {"perfsage"},
    "dataset": {"dataset", "perfsage"},
    "profilers": {"profilers", "perfsage"},
    "api": {"api", "dataset", "profilers", "perfsage"},
}
HEAVY = {
    "torch",
    "dgl",
    "sklearn",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "alembic",
    "ai_edge_litert",
    "ethosu",
    "tflite_micro",
    "fastapi",
    "uvicorn",
    "onnx",
}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_those_below_it(layer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in sorted((ROOT / layer).rglob("*.py"))
        for line, module in _imports(path)
        if module.partition(".")[0] in ALLOWED.keys() - ALLOWED[layer]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "import perfsage",
        "from perfsage import load_predictor, read_graph",
        "import perfsage.predictor",
        "import perfsage.prediction, perfsage.measurement, perfsage.device",
        "import profilers.registry; profilers.registry.device_names()",
        "import dataset, profilers",
        "import api.cli.main",
    ],
)
def test_heavy_packages_are_loaded_only_where_they_are_needed(statement: str) -> None:
    program = f"{statement}\nimport sys\nprint(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_nothing_unpickles() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for layer in ALLOWED
        for path in sorted((ROOT / layer).rglob("*.py"))
        for line, module in _imports(path)
        if module.partition(".")[0]
        in {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    ]
    assert wrong == []

"""One adaptation, in a process of its own: what learning needs of memory is given back when it ends.

`python -m api.rest.adapt_job FOLDER` reads `job.json` and structures in FOLDER, and writes `result.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from api.problems import problem_of
from perfsage.device import Device
from perfsage.errors import MissingExtraError, PerfsageError
from perfsage.metrics import Metric


def main(folder: Path) -> None:
    """Run the job and write what came of it: the device's scores, or a problem."""
    job = json.loads((folder / "job.json").read_text())
    try:
        result = {"result": _run(folder, job)}
    except PerfsageError as error:
        result = {"problem": problem_of(error, status=422)}
    (folder / "result.json").write_text(json.dumps(result))


def _run(folder: Path, job: dict[str, Any]) -> dict[str, Any]:
    from perfsage.graph import read_graph
    from perfsage.predictor import load_predictor

    try:
        from perfsage.training.adapt import Measured, adapt
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "train") from error
    measured = [
        Measured(
            read_graph(folder / f"{model_id}.structure"),
            {Metric(name): value for name, value in values.items()},
        )
        for model_id, values in job["values"].items()
    ]
    device = Device(
        **job["device"] | {"metrics": {Metric(n): t for n, t in job["device"]["metrics"].items()}}
    )
    report = adapt(load_predictor(job["predictor"]), device, measured, Path(job["output"]))
    scores = [
        {
            "metric": score.metric.value,
            "networks": score.n,
            "error_percent": score.error_percent,
            "half_width_percent": score.half_width_percent,
            "exact": score.exact,
        }
        for score in report.scores
    ]
    return {"predictor": report.output_dir.name, "device": device.name, "scores": scores}


if __name__ == "__main__":
    main(Path(sys.argv[1]))

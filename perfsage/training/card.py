"""Write the model card of a predictor, README.md in its folder, from its manifest.

python -m perfsage.training.card FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perfsage.models.manifest import DeviceEntry, Manifest, read_manifest

CARD_NAME = "README.md"

_INTRODUCTION = """\
# Predictor `{name}`

Predicts what a .tflite network costs on the devices below, with a 90 % interval and the reasons to doubt it.
A graph network over operators; latency, energy and storage are sums over operators, memory is a peak.
Made {created} by `perfsage train`; feature schema {schema}. Licence: Apache-2.0.

## Training data

{graphs} networks sampled from search spaces, with weights drawn to look like trained ones; {epochs} epochs.
{held} more networks calibrated the intervals, and {test} others were kept for the table below.

Labels of Ethos-U and of `tflm` come from tools and not from chips: Arm's Vela compiler (its estimate, no
simulation of the hardware) and TensorFlow Lite Micro's recording interpreter. Those of CPUs were measured
with LiteRT on the CPU that the table of devices names. Another CPU has other latencies: `perfsage adapt`
learns them from a few measurements.
"""
_LIMITS = """\
## Limits

- Latency and energy on Ethos-U are predictions of Vela's estimates. Vela's own documentation calls these
  approximate; energy is counted from MACs and bytes by a published table, without leakage, flash and the CPU.
- The splits are random by graph, so the table says how well networks of the same spaces are predicted. Others
  are predicted less well: look at `in_distribution`, `warnings` and the width of the interval.
- Operators that an NPU leaves to the CPU are not in the labels, and so not in the predictions.
- Figures marked exact are computed from the file, not learned.
"""


def write_card(folder: Path) -> Path:
    """Write the card; PredictorError where the folder holds no predictor."""
    manifest, _ = read_manifest(folder)
    path = folder / CARD_NAME
    path.write_text(card_text(manifest), encoding="utf-8")
    return path


def card_text(manifest: Manifest) -> str:
    """Return the card in Markdown."""
    training = manifest.training
    graphs = training["graphs"]
    introduction = _INTRODUCTION.format(
        name=manifest.name,
        created=manifest.created_at[:10],
        schema=manifest.feature_schema,
        graphs=f"{graphs['train']:,}",
        held=f"{graphs['calibration']:,}",
        test=f"{graphs['test']:,}",
        epochs=training["epochs"],
    )
    spaces = _table(("space", "networks"), sorted(training["spaces"].items()))
    devices = _table(("device", "what it is", "networks with a label", ""), _devices(manifest.devices))
    scores = [score for score in manifest.evaluation if score["space"] == "all"]
    evaluation = "## Errors on networks that took no part in training\n\n" + _table(
        (
            "device",
            "metric",
            "n",
            "MAPE %",
            "median %",
            "within 10 %",
            "Spearman",
            "coverage",
            "best baseline %",
        ),
        [_score(score) for score in scores],
    )
    return "\n".join([introduction, spaces, "## Devices\n", devices, evaluation, _LIMITS])


def _devices(entries: Iterable[DeviceEntry]) -> list[tuple[object, ...]]:
    return [
        (
            entry.device.name,
            entry.device.description,
            max(entry.labels.values(), default=0),
            "from its parameters alone" if entry.inferred else "",
        )
        for entry in entries
    ]


def _score(score: Mapping[str, Any]) -> tuple[object, ...]:
    rho = "-" if score["spearman"] is None else f"{score['spearman']:.4f}"
    baselines = [value for value in score["baseline_mape"].values() if value is not None]
    return (
        score["device"],
        score["metric"],
        score["n"],
        "exact" if score["mape"] == 0 else f"{score['mape']:.2f}",
        f"{score['median_ape']:.2f}",
        f"{score['within_10']:.0%}",
        rho,
        f"{score['coverage']:.0%}",
        f"{min(baselines):.1f}" if baselines else "-",
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(write_card(Path(sys.argv[1])))

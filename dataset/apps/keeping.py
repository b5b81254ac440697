"""Keep the TFLite models that a scan reads, under names of our own."""

from __future__ import annotations

import os
from pathlib import Path

from dataset.apps.records import TfliteFacts

_LETTERS = 12


def keep_model(folder: Path, model_id: str, facts: TfliteFacts, data: memoryview) -> None:
    """Write a model as `TASK-ID.tflite` unless the folder has it; it appears whole or not at all.

    The name comes from the table of tasks and the model's SHA-256, never from the archive.
    """
    mark = model_id[:_LETTERS]
    if any(folder.glob(f"*-{mark}.tflite")):
        return
    unfinished = folder / f".{mark}.{os.getpid()}"
    unfinished.write_bytes(data)
    unfinished.replace(folder / f"{facts.task.name.replace(' ', '-')}-{mark}.tflite")

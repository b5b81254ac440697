"""Runs TFLM's recording interpreter in processes of their own, since it can abort."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SCRIPT = r"""
import json, os, re, sys, tempfile
from tflite_micro.python.tflite_micro import runtime

def record(path):
    with tempfile.TemporaryFile() as log:
        saved = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            interpreter = runtime.Interpreter.from_file(
                path, arena_size=64 << 20, intrepreter_config=runtime.InterpreterConfig.kAllocationRecording)
            interpreter.print_allocations()
        except RuntimeError:
            return None
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        log.seek(0)
        text = log.read().decode()
    return [int(re.search(rf"allocation {part} (\d+)", text).group(1)) for part in ("head", "tail", "total")]

for path in sys.argv[1:]:
    print(json.dumps([path, record(path)]), flush=True)
"""


class Arena(NamedTuple):
    """What TFLM recorded, in bytes."""

    head: int
    tail: int
    total: int


def recorded(paths: Sequence[Path]) -> dict[Path, Arena | None]:
    """Return the arena of each model; None where TFLM refuses it or aborts."""
    found: dict[Path, Arena | None] = {}
    left = list(paths)
    while left:
        command = [sys.executable, "-c", SCRIPT, *map(str, left)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        for line in done.stdout.splitlines():
            path, arena = json.loads(line)
            found[Path(path)] = Arena(*arena) if arena else None
        left = left[len(done.stdout.splitlines()) :]
        if done.returncode and left:
            found[left.pop(0)] = None
    return found

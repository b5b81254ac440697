"""The Python that has TensorFlow: its versions of common packages rule out one environment with PerfSAGE."""

import importlib.util
import os
import sys

import pytest

VARIABLE = "PERFSAGE_TENSORFLOW_PYTHON"


def python_with_tensorflow() -> str:
    """Return the program that the variable names, or this one; skip the test where neither has TensorFlow."""
    chosen = os.environ.get(VARIABLE)
    if chosen is None and importlib.util.find_spec("tensorflow") is None:
        pytest.skip(f"TensorFlow is not installed: set {VARIABLE} to a Python that has it")
    return chosen or sys.executable

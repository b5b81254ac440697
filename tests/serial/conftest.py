from __future__ import annotations

from collections.abc import Iterator

import pytest

from profilers.serial.emulate import EmulatedPort, start_tflm


@pytest.fixture(scope="module")
def board() -> Iterator[EmulatedPort]:
    """A virtual board: TFLM behind a pseudo-terminal, in processes of its own."""
    with start_tflm() as port:
        yield port

from __future__ import annotations

from collections.abc import Iterator

import pytest

from profilers.serial.emulate import EmulatedPort, start_tflm
from profilers.serial.link import Link, LinkSettings

BOOT_S = 30.0


@pytest.fixture(scope="module")
def board() -> Iterator[EmulatedPort]:
    """A virtual board: TFLM behind a pseudo-terminal, in processes of its own."""
    with start_tflm() as port:
        # On a busy machine TFLM takes seconds to load; tests of silence must not meet a board that boots.
        link = Link(port.address, LinkSettings(bauds=(115200,), boot_s=BOOT_S))
        link.open()
        link.close()
        yield port
